#include "tools/daybook/cursors_change.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/units.h"
#include "segment/cursor.h"
#include "segment/lock.h"
#include "segment/reader.h"

/* The sequence before the first event, in the order of the log, that is of this time or later. */
static enum error_code find_time(struct segment_reader *reader, int64_t time_ns,
                                 uint64_t *position_out, struct error *error)
{
    struct event event;
    segment_reader_hint_times(reader, time_ns, INT64_MAX);
    enum error_code code = segment_reader_seek(reader, 1, error);
    do {
        if (!code || code == ERROR_DAMAGED)
            code = segment_reader_next(reader, &event, error);
    } while (code == ERROR_DAMAGED || (!code && event.time_ns < time_ns));
    segment_reader_hint_times(reader, INT64_MIN, INT64_MAX);
    if (code && code != ERROR_END)
        return code;
    *position_out = code ? segment_reader_watermark(reader) : event.sequence - 1;
    return OK;
}

static enum error_code find_target(struct segment_reader *reader,
                                   const struct cursors_request *request, uint64_t *position_out,
                                   struct error *error)
{
    uint64_t last = segment_reader_watermark(reader);
    switch (request->target) {
    case CURSORS_EARLIEST:
        *position_out = segment_reader_bound(reader) - 1;
        return OK;
    case CURSORS_LATEST:
        *position_out = last;
        return OK;
    case CURSORS_SEQUENCE:
        if (request->sequence > last)
            return error_set(error, ERROR_INVALID,
                             "--reset-to %" PRIu64 ": the log ends with %" PRIu64
                             ", and what is not there cannot be done",
                             request->sequence, last);
        *position_out = request->sequence;
        return OK;
    case CURSORS_TIME:
        break;
    }
    return find_time(reader, request->time_ns, position_out, error);
}

/* What a cursor moves from, where to, and what becomes of the events of which that changes it. */
struct move {
    uint64_t from, to;
    uint64_t again;   /* they were done, and are to be given again */
    uint64_t skipped; /* they were not done, and are never given */
};

static void count_events(const struct segment_cursor *cursor, uint64_t bound, uint64_t last,
                         struct move *move)
{
    const struct segment_cursor_state *state = segment_cursor_state(cursor);
    const struct segment_cursor_pending *pending = segment_cursor_pending(cursor);
    uint64_t first = move->to + 1 < bound ? bound : move->to + 1;
    uint64_t done = move->from < last ? move->from : last;
    move->again = done >= first ? done - first + 1 : 0;
    move->skipped = move->to > move->from ? move->to - move->from : 0;
    for (uint32_t i = 0; i < state->pending_count; i++) {
        if (pending[i].sequence <= move->to)
            move->skipped++;
        else if (pending[i].sequence >= first && move->again > 0)
            move->again--;
    }
}

static void say_move(const char *name, const struct move *move, bool dry_run)
{
    char again[UNITS_TEXT_SIZE + 8], skipped[UNITS_TEXT_SIZE + 8];
    units_format_count(move->again, again);
    units_format_count(move->skipped, skipped);
    printf("%s %s: %" PRIu64 " -> %" PRIu64 ", %s to come again, %s skipped\n",
           dry_run ? "would move" : "moved", name, move->from, move->to, again, skipped);
}

static void say_hold(const char *name, const struct cursors_request *request)
{
    char size[UNITS_TEXT_SIZE];
    const char *would = request->dry_run ? "would hold" : "holds";
    units_format_size(request->hold_bytes, size);
    if (request->hold_bytes)
        printf("%s: %s retention back, at most %s of segments\n", name, would, size);
    else
        printf("%s: %s nothing\n", name, would);
}

/* A person's order: of what a group has pending nothing is left, it is before or behind now. */
static enum error_code change_open(struct segment_cursor *cursor, struct segment_reader *reader,
                                   const char *name, const struct cursors_request *request,
                                   struct error *error)
{
    const struct segment_cursor_state *state = segment_cursor_state(cursor);
    struct segment_cursor_change change = {
        .position = state->position,
        .hold_bytes = request->hold ? request->hold_bytes : state->hold_bytes,
        .committed_ns = state->committed_ns,
        .letters = state->letters,
        .pending = segment_cursor_pending(cursor),
        .pending_count = state->pending_count,
    };
    struct move move = {.from = state->position, .to = state->position};
    enum error_code code = OK;
    if (request->reset) {
        code = find_target(reader, request, &move.to, error);
        if (code)
            return code;
        count_events(cursor, segment_reader_bound(reader), segment_reader_watermark(reader),
                     &move);
        change.position = move.to;
        change.committed_ns = clock_realtime_ns();
        change.pending_count = 0;
    }
    if (!request->dry_run)
        code = segment_cursor_store(cursor, &change, error);
    if (!code && request->reset)
        say_move(name, &move, request->dry_run);
    if (!code && request->hold)
        say_hold(name, request);
    return code;
}

/*
 * Retention looks at holds once, and deletes then: one that is set meanwhile would be told to hold
 * what is about to go. So that is not done at the same time.
 */
static enum error_code change(int log_fd, struct segment_reader *reader, const char *name,
                              const struct cursors_request *request, struct error *error)
{
    struct segment_cursor *cursor = NULL;
    int retention_fd = -1;
    enum error_code code = OK;
    if (request->hold && !request->dry_run)
        code = segment_lock_take(log_fd, LOCK_RETENTION, &retention_fd, error);
    if (!code)
        code = segment_cursor_open(log_fd, name, segment_reader_log_id(reader), &cursor, error);
    if (!code)
        code = change_open(cursor, reader, name, request, error);
    segment_cursor_close(cursor);
    file_close(&retention_fd);
    return code;
}

/* Damaged or another log's: it can be removed whatever it is, as long as nobody uses it. */
static enum error_code remove_cursor(int log_fd, const char *name, bool dry_run,
                                     struct error *error)
{
    struct segment_cursor_look look;
    enum error_code code = OK;
    if (dry_run)
        code = segment_cursor_look(log_fd, name, NULL, &look, error);
    else
        code = segment_cursor_remove(log_fd, name, error);
    if (dry_run && code != ERROR_NOT_FOUND)
        code = OK;
    if (!code)
        printf("%s %s\n", dry_run ? "would remove" : "removed", name);
    return code;
}

enum error_code cursors_change(const char *directory, struct segment_reader *reader,
                               const char *name, const struct cursors_request *request,
                               struct error *error)
{
    int log_fd = -1;
    enum error_code code = file_open_directory(directory, false, &log_fd, error);
    if (!code && request->remove)
        code = remove_cursor(log_fd, name, request->dry_run, error);
    else if (!code)
        code = change(log_fd, reader, name, request, error);
    file_close(&log_fd);
    return code;
}
