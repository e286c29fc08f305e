#include "segment/pack.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/check.h"
#include "segment/replacement.h"

struct packing {
    const struct segment_pack_place *place;
    const struct segment_set_segment *old;
    struct segment_view view; /* of the old file, whatever its name comes to mean */
    struct segment_check check;
    char finding[300];
    struct segment_block_builder builder;
    struct segment_replacement *replacement;
    struct segment_replacement_sum sum; /* of the old file */
    uint64_t expected;
    bool stopped;
};

bool segment_pack_wants(const struct segment_set *set, size_t i)
{
    if (i < set->dead_count || i + 1 >= set->count)
        return false;
    const struct segment_set_segment *segment = &set->segments[i];
    return segment->header_verdict == FORMAT_VALID && segment->sealed && !segment->header.packed &&
           segment->trailer.sequence_last >= segment->sequence_first &&
           set->segments[i + 1].header_verdict == FORMAT_VALID;
}

enum error_code segment_pack_clean(int segments_fd, struct error *error)
{
    enum error_code code = file_unlink(segments_fd, PACK_FILE_NAME, error);
    return code == ERROR_NOT_FOUND ? OK : code;
}

static bool is_stopped(struct packing *packing)
{
    const struct segment_pack_place *place = packing->place;
    if (!packing->stopped && place->stopped)
        packing->stopped = place->stopped(place->context);
    return packing->stopped;
}

static bool stop_asked(void *context)
{
    return is_stopped(context);
}

static void note_finding(void *context, const struct segment_verify_finding *finding)
{
    struct packing *packing = context;
    if (!packing->finding[0])
        snprintf(packing->finding, sizeof packing->finding, "%s", finding->text);
}

static void note_progress(void *context, uint64_t bytes)
{
    struct packing *packing = context;
    (void)bytes;
    if (is_stopped(packing))
        error_set(&packing->check.ended, ERROR_END, "it was stopped");
}

/* Every byte of the old file: packing must not do away with what a repair would need. */
static enum error_code check_old(struct packing *packing, struct error *error)
{
    struct segment_check *check = &packing->check;
    enum error_code code =
        segment_view_open(&packing->view, packing->place->segments_fd, packing->old,
                          packing->old->header.log_id, error);
    if (code)
        return code;
    segment_check_init(check, &packing->view, packing->old->header.log_id);
    check->found = note_finding;
    check->progress = note_progress;
    check->context = packing;
    check->must_seal = true;
    check->must_last = packing->old->trailer.sequence_last;
    code = segment_check_run(check, error);
    if (!code && packing->finding[0])
        code = error_set(error, ERROR_DAMAGED, "%s", packing->finding);
    return code;
}

static enum error_code put_gathered(struct packing *packing, struct error *error)
{
    struct segment_block_builder *builder = &packing->builder;
    struct segment_salvage_block block = {
        .kind = FORMAT_BLOCK_EVENTS,
        .sequence_first = builder->sequence_first,
        .sequence_last = builder->sequence_first + builder->event_count - 1,
        .event_count = builder->event_count,
        .time_min_ns = builder->time_min_ns,
        .time_max_ns = builder->time_max_ns,
        .arrival_ns = builder->arrival_ns,
        .raw = builder->raw.data,
        .raw_bytes = builder->raw.size,
    };
    if (builder->event_count == 0)
        return OK;
    enum error_code code = segment_replacement_put(packing->replacement, &block, error);
    segment_block_builder_reset(builder, FORMAT_BLOCK_RAW_MAX);
    return code;
}

static enum error_code gather(struct packing *packing, const struct event *event,
                              int64_t arrival_ns, struct error *error)
{
    struct segment_block_builder *builder = &packing->builder;
    enum error_code code = segment_block_builder_add(builder, event, PACK_RAW_BYTES, error);
    if (code == ERROR_FULL) {
        code = put_gathered(packing, error);
        if (!code)
            code = segment_block_builder_add(builder, event, PACK_RAW_BYTES, error);
    }
    if (!code && builder->event_count == 1) {
        builder->sequence_first = event->sequence;
        builder->arrival_ns = arrival_ns;
    }
    return code;
}

static enum error_code gather_block(struct packing *packing,
                                    const struct segment_salvage_block *block, struct error *error)
{
    struct segment_format_block_header header = {.sequence_first = block->sequence_first,
                                                 .event_count = block->event_count,
                                                 .raw_bytes = (uint32_t)block->raw_bytes};
    struct segment_block_cursor cursor;
    struct event event;
    enum error_code code = OK;
    segment_block_cursor_init(&cursor, &header, block->raw);
    while (!code && (code = segment_block_cursor_next(&cursor, &event, error)) == OK)
        code = gather(packing, &event, block->arrival_ns, error);
    return code == ERROR_END ? OK : code;
}

/* What was sound a moment ago is not any more; a disk that fails once may succeed the next time. */
static enum error_code tell_lost(const struct packing *packing,
                                 const struct segment_salvage *salvage, struct error *error)
{
    const struct error *trouble = &salvage->trouble;
    return error_set(error, trouble->code == ERROR_IO ? ERROR_IO : ERROR_DAMAGED,
                     "event %" PRIu64 " cannot be read again as it was a moment ago%s%s",
                     packing->expected, trouble->code ? ": " : "",
                     trouble->code ? trouble->text : "");
}

static enum error_code take_block(struct packing *packing, const struct segment_salvage *salvage,
                                  const struct segment_salvage_block *block, struct error *error)
{
    if (is_stopped(packing))
        return error_set(error, ERROR_END, "it was stopped");
    if (block->sequence_first != packing->expected)
        return tell_lost(packing, salvage, error);
    segment_replacement_add(&packing->sum, block);
    packing->expected = block->sequence_last + 1;
    if (block->kind == FORMAT_BLOCK_EVENTS)
        return gather_block(packing, block, error);
    enum error_code code = put_gathered(packing, error);
    return code ? code : segment_replacement_put(packing->replacement, block, error);
}

/* What was sound a moment ago is read again: whatever is missing now shows in the sequences. */
static enum error_code feed(void *context, struct segment_replacement *replacement,
                            struct error *error)
{
    struct packing *packing = context;
    struct segment_salvage salvage = {0};
    struct segment_salvage_block block;
    packing->replacement = replacement;
    packing->expected = packing->old->sequence_first;
    enum error_code code =
        segment_salvage_open(&salvage, packing->place->segments_fd, packing->old,
                             packing->old->header.log_id, packing->check.must_last, error);
    while (!code && (code = segment_salvage_next(&salvage, &block, error)) == OK)
        code = take_block(packing, &salvage, &block, error);
    segment_salvage_release(&salvage);
    if (code != ERROR_END || packing->stopped)
        return code;
    if (packing->expected != packing->check.must_last + 1 ||
        packing->sum.events != packing->check.event_count || salvage.begins_bad)
        return tell_lost(packing, &salvage, error);
    return put_gathered(packing, error);
}

/* Both files are there for a while, beside the next segment, which comes first. */
static enum error_code check_room(const struct packing *packing, struct error *error)
{
    struct file_space space;
    enum error_code code = file_space(packing->place->segments_fd, "segments", &space, error);
    uint64_t needed = 3 * packing->old->size_bytes;
    if (code || space.total_bytes == 0 || space.free_bytes >= needed)
        return code;
    return error_set(error, ERROR_NO_SPACE,
                     "packing it takes %" PRIu64 " free bytes for a while, which are not there",
                     needed);
}

/* Below the bound it is dead: if retention was faster, what was just written goes as well. */
static enum error_code follow_retention(const struct packing *packing,
                                        const struct segment_set_segment *written,
                                        struct error *error)
{
    uint64_t bound = 0;
    if (segment_bound_load(packing->place->log_fd, &bound, NULL) ||
        bound <= written->trailer.sequence_last)
        return OK;
    enum error_code code = file_unlink(packing->place->segments_fd, written->name, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    return error_set(error, ERROR_NOT_FOUND, "retention has deleted it meanwhile");
}

static enum error_code publish(const struct packing *packing, struct segment_set_segment *written,
                               struct error *error)
{
    int segments_fd = packing->place->segments_fd;
    if (!file_is_named(packing->view.map.fd, segments_fd, packing->old->name))
        return error_set(error, ERROR_NOT_FOUND, "it is gone, or another one has its name");
    enum error_code code = segment_replacement_publish(segments_fd, written, error);
    /* Also where its name is not known to be durable. */
    enum error_code retained =
        code && code != ERROR_IO ? OK : follow_retention(packing, written, code ? NULL : error);
    return code ? code : retained;
}

static enum error_code pack(struct packing *packing, const struct segment_set_segment *next,
                            struct segment_pack_result *result_out, struct error *error)
{
    enum error_code code = segment_set_check_pair(packing->old, next, error);
    if (!code)
        code = check_room(packing, error);
    if (!code)
        code = check_old(packing, error);
    if (code)
        return code;
    struct segment_replacement_start start = {
        .segments_fd = packing->place->segments_fd,
        .name = PACK_FILE_NAME,
        .header = packing->old->header,
        .effort = BLOCK_TIGHT,
        .arrival_ns = INT64_MIN,
        .arrival_last_ns = packing->old->trailer.arrival_last_ns,
        .feed = feed,
        .stopped = stop_asked,
        .context = packing,
    };
    start.header.packed = true;
    start.header.epoch = packing->check.epoch;
    start.header.replaces = next->header.predecessor;
    struct segment_set_segment written;
    struct segment_replacement_sum sum;
    code = segment_replacement_write(&start, &written, &sum, error);
    if (!code)
        code = segment_replacement_prove(&start, &written, &packing->sum, error);
    if (!code)
        code = publish(packing, &written, error);
    if (!code)
        *result_out = (struct segment_pack_result){
            .events = packing->sum.events,
            .bytes_before = packing->old->size_bytes,
            .bytes_after = written.size_bytes,
        };
    return code;
}

enum error_code segment_pack(const struct segment_pack_place *place, const struct segment_set *set,
                             size_t i, struct segment_pack_result *result_out, struct error *error)
{
    struct packing packing = {.place = place, .old = &set->segments[i]};
    enum error_code code = pack(&packing, &set->segments[i + 1], result_out, error);
    if (code)
        segment_pack_clean(place->segments_fd, NULL);
    segment_block_builder_release(&packing.builder);
    segment_view_release(&packing.view);
    return code ? error_prefix(error, "pack segment %s", packing.old->name) : OK;
}
