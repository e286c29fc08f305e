#include "segment/topics_last.h"

#include "core/file.h"
#include "segment/reader.h"
#include "segment/set.h"
#include "segment/view.h"

struct search {
    const char *path;
    uint64_t through;
    segment_topics_last_visit visit;
    void *context;
    int log_fd, segments_fd;
    struct segment_set set;
    uint64_t known_above;
};

/* Of a segment without a footer: every event says its topic. ERROR_DAMAGED: some could not. */
static enum error_code read_events(struct search *search, uint64_t first, struct error *error)
{
    struct segment_reader *reader;
    struct event event;
    enum error_code code = segment_reader_open(search->path, &reader, error);

    if (code)
        return code;
    code = segment_reader_seek(reader, first, error);
    segment_reader_stop_behind(reader, search->through);
    while (!code && (code = segment_reader_next(reader, &event, error)) == OK)
        code = search->visit(search->context, event.topic, event.topic_bytes, event.sequence,
                             error);
    segment_reader_close(reader);
    return code == ERROR_END ? OK : code;
}

/* ERROR_END: its footer does not tell. */
static enum error_code read_footer(struct search *search, const struct segment_set_segment *segment,
                                   struct error *error)
{
    struct segment_view view = {0};
    struct segment_seal seal = {0};
    enum error_code code = segment_view_open(&view, search->segments_fd, segment,
                                             segment->header.log_id, error);

    if (!code)
        code = segment_view_seal(&view, &seal, error);
    bool told = !code && seal.topics_complete;
    for (size_t i = 0; told && !code && i < seal.topic_count; i++)
        code = search->visit(search->context, seal.topics[i].name, seal.topics[i].name_bytes,
                             seal.topics[i].sequence_last, error);
    segment_seal_release(&seal);
    segment_view_release(&view);
    if (!told && code != ERROR_MEMORY)
        return ERROR_END;
    return code;
}

/* From the last segment back, as far as they tell. */
static enum error_code look_back(struct search *search, struct error *error)
{
    const struct segment_set *set = &search->set;
    size_t left = set->count;
    enum error_code code = OK;

    if (left > set->dead_count && !set->segments[left - 1].sealed) {
        uint64_t first = set->segments[left - 1].sequence_first;
        if (first <= search->through)
            code = read_events(search, first, error);
        if (code)
            return code == ERROR_DAMAGED ? OK : code;
        search->known_above = first - 1;
        left--;
    }
    while (left > set->dead_count) {
        const struct segment_set_segment *segment = &set->segments[left - 1];
        code = read_footer(search, segment, error);
        if (code)
            return code == ERROR_END ? OK : code;
        search->known_above = segment->sequence_first - 1;
        left--;
    }
    return OK;
}

enum error_code segment_topics_last(const char *path, uint64_t through,
                                    segment_topics_last_visit visit, void *context,
                                    uint64_t *known_above_out, struct error *error)
{
    struct search search = {
        .path = path,
        .through = through,
        .visit = visit,
        .context = context,
        .log_fd = -1,
        .segments_fd = -1,
        .known_above = through,
    };
    enum error_code code = file_open_directory_to_read(path, &search.log_fd, error);

    if (!code)
        code = file_open_directory_to_read_at(search.log_fd, "segments", &search.segments_fd,
                                              error);
    if (!code)
        code = segment_set_load(search.log_fd, search.segments_fd, &search.set, error);
    if (!code)
        code = look_back(&search, error);
    segment_set_free(&search.set);
    file_close(&search.segments_fd);
    file_close(&search.log_fd);
    if (!code)
        *known_above_out = search.known_above;
    return code;
}
