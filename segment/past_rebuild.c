#include "segment/past_rebuild.h"

#include "segment/block.h"
#include "segment/walk.h"

/* The table again, as it went from the first segment that is left to the last one. */
struct rebuilding {
    struct segment_past *past;
    struct segment_producers *producers;
};

static enum error_code note(struct rebuilding *rebuilding,
                            const struct segment_producers_entry *entry, struct error *error)
{
    enum error_code code =
        segment_past_note(rebuilding->past, rebuilding->producers, entry, error);
    /* Nothing is complete before the end, and so this says. */
    if (!code && segment_past_wants_write(rebuilding->past))
        code = segment_past_write(rebuilding->past, 0, error);
    return code;
}

static enum error_code note_list(struct rebuilding *rebuilding, const uint8_t *raw, size_t size,
                                 struct error *error)
{
    struct segment_producers_entry entry;
    size_t position = 0;
    enum error_code code;

    while ((code = segment_producers_next(raw, size, &position, &entry, error)) == OK) {
        code = note(rebuilding, &entry, error);
        if (code)
            return code;
    }
    return code == ERROR_END ? OK : code;
}

static enum error_code note_events(struct rebuilding *rebuilding,
                                   const struct segment_format_block_header *header,
                                   const uint8_t *raw, struct error *error)
{
    struct segment_block_cursor cursor;
    struct event event;
    enum error_code code = OK;

    segment_block_cursor_init(&cursor, header, raw);
    while (!code && (code = segment_block_cursor_next(&cursor, &event, error)) == OK) {
        struct segment_producers_entry entry = {event.producer, event.producer_bytes, event.number,
                                                event.sequence};
        if (event.producer_bytes > 0)
            code = note(rebuilding, &entry, error);
    }
    return code == ERROR_END ? OK : code;
}

static enum error_code walk_all(struct rebuilding *rebuilding, struct segment_walk *walk,
                                struct error *doubt_out, struct error *error)
{
    struct segment_format_block_header header;
    const uint8_t *raw;

    for (;;) {
        enum error_code code = segment_walk_next(walk, &header, &raw, error);
        if (code == ERROR_END)
            return OK;
        if (code == ERROR_DAMAGED) { /* it was told once, and is passed now */
            *doubt_out = *error;
            continue;
        }
        if (!code && header.kind == FORMAT_BLOCK_PRODUCERS)
            code = note_list(rebuilding, raw, header.raw_bytes, error);
        else if (!code && header.kind == FORMAT_BLOCK_EVENTS)
            code = note_events(rebuilding, &header, raw, error);
        if (code)
            return code;
    }
}

static enum error_code walk_log(struct rebuilding *rebuilding, int log_fd, int segments_fd,
                                uint64_t through, struct error *doubt_out, struct error *error)
{
    struct segment_walk walk;
    enum error_code code = segment_walk_init(&walk, log_fd, segments_fd, error);

    if (code)
        return code;
    walk.gives_producers = true;
    walk.last = through - 1;
    code = walk_all(rebuilding, &walk, doubt_out, error);
    segment_walk_release(&walk);
    return code;
}

bool segment_past_needs_rebuild(const struct segment_past *past,
                                const struct segment_producers *producers, uint64_t through,
                                const struct error *doubt)
{
    bool somebody_left = segment_producers_is_full(producers) || !segment_past_is_empty(past);

    return doubt->code || (somebody_left && segment_past_through(past) < through);
}

enum error_code segment_past_rebuild(struct segment_past *past, int log_fd, int segments_fd,
                                     uint64_t through, struct error *doubt_out,
                                     struct error *error)
{
    struct rebuilding rebuilding = {.past = past};
    bool given_up = false;

    *doubt_out = (struct error){0};
    enum error_code code = segment_producers_create(&rebuilding.producers, error);
    if (!code)
        code = segment_past_reset(past, error);
    segment_past_set_lossy(past, true, &given_up);
    if (!code)
        code = walk_log(&rebuilding, log_fd, segments_fd, through, doubt_out, error);
    if (!code)
        code = segment_past_write(past, through, error);
    segment_past_set_lossy(past, false, &given_up);
    segment_producers_free(rebuilding.producers);
    if (!code && given_up)
        error_set(doubt_out, ERROR_FULL, "there are more than can be told apart, and those who "
                                         "were silent for longest are forgotten");
    return code ? error_prefix(error, "list the producers of the past anew") : OK;
}
