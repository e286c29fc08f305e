#include "indexer/retention_hold.h"

enum error_code indexer_retention_holds_load(int log_fd, const struct segment_set *set,
                                             struct indexer_retention_holds *holds_out,
                                             struct error *error)
{
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    struct indexer_retention_holds holds = {0};
    /* Where nothing tells which log this is, a cursor's word is taken for it. */
    bool known = !segment_set_identify(set, log_fd, log_id, NULL);
    enum error_code code =
        segment_cursors_load(log_fd, known ? log_id : NULL, &holds.cursors, error);
    for (size_t i = 0; !code && i < holds.cursors.count; i++) {
        const struct error *trouble = &holds.cursors.list[i].trouble;
        if (trouble->code == ERROR_DAMAGED && !holds.damage.code)
            holds.damage = *trouble;
        else if (trouble->code && trouble->code != ERROR_FOREIGN && trouble->code != ERROR_DAMAGED)
            code = error_set(error, trouble->code, "%s; it may hold segments", trouble->text);
    }
    if (code)
        indexer_retention_holds_release(&holds);
    else
        *holds_out = holds;
    return code;
}

void indexer_retention_holds_release(struct indexer_retention_holds *holds)
{
    segment_cursors_free(&holds->cursors);
}

static bool has_hold(const struct segment_cursors_cursor *cursor)
{
    return !cursor->trouble.code && cursor->look.state.hold_bytes > 0;
}

const struct segment_cursors_cursor *
indexer_retention_holds_find(const struct indexer_retention_holds *holds, uint64_t sequence_last,
                             uint64_t bytes)
{
    for (size_t i = 0; i < holds->cursors.count; i++) {
        const struct segment_cursors_cursor *cursor = &holds->cursors.list[i];
        if (has_hold(cursor) && cursor->look.state.needed <= sequence_last &&
            bytes <= cursor->look.state.hold_bytes)
            return cursor;
    }
    return NULL;
}

void indexer_retention_holds_tell(const struct indexer_retention_holds *holds, uint64_t bound_old,
                                  uint64_t bound,
                                  const struct indexer_retention_options *options, void *context)
{
    for (size_t i = 0; i < holds->cursors.count; i++) {
        const struct segment_cursors_cursor *cursor = &holds->cursors.list[i];
        uint64_t first = cursor->look.state.needed > bound_old ? cursor->look.state.needed
                                                               : bound_old;
        if (!has_hold(cursor) || first >= bound || !options->overrun)
            continue;
        struct indexer_retention_overrun overrun = {
            .cursor = cursor->name,
            .sequence_first = first,
            .sequence_last = bound - 1,
            .hold_bytes = cursor->look.state.hold_bytes,
        };
        options->overrun(context, &overrun);
    }
}
