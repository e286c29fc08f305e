#include "tools/daybook/read_cursor.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/file.h"
#include "segment/cursor.h"
#include "tools/daybook/history.h"

enum { COMMIT_EVERY_NS = 1000000000 };

struct read_cursor {
    struct segment_cursor *cursor;
    uint64_t noted;
    int64_t committed_ns; /* monotonic */
};

static enum error_code check(const char *name, const struct segment_cursor *cursor,
                             struct history *history, struct error *error)
{
    const struct segment_cursor_state *state = segment_cursor_state(cursor);
    if (state->kind != CURSOR_SINGLE)
        return error_set(error, ERROR_INVALID,
                         "the cursor '%s' belongs to a group: consume it through the daemon, or "
                         "take another name",
                         name);
    return segment_cursor_check_position(name, state, history_watermark(history), error);
}

/* A new one begins before the first event. */
static enum error_code open_or_create(int log_fd, const char *name, const uint8_t *log_id,
                                      struct segment_cursor **cursor_out, struct error *error)
{
    enum error_code code = segment_cursor_open(log_fd, name, log_id, cursor_out, error);
    if (code != ERROR_NOT_FOUND)
        return code;
    return segment_cursor_create(log_fd, name, log_id, CURSOR_SINGLE, 0, clock_realtime_ns(),
                                 cursor_out, error);
}

enum error_code read_cursor_open(const char *directory, const char *name, struct history *history,
                                 struct read_cursor **cursor_out, struct error *error)
{
    int log_fd = -1;
    struct read_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor)
        return error_set(error, ERROR_MEMORY, "no memory for the cursor '%s'", name);
    enum error_code code = file_open_directory(directory, false, &log_fd, error);
    if (!code)
        code = open_or_create(log_fd, name, history_log_id(history), &cursor->cursor, error);
    if (!code)
        code = check(name, cursor->cursor, history, error);
    file_close(&log_fd);
    if (code) {
        read_cursor_close(cursor);
        return code;
    }
    cursor->noted = read_cursor_position(cursor);
    cursor->committed_ns = clock_monotonic_ns();
    *cursor_out = cursor;
    return OK;
}

void read_cursor_close(struct read_cursor *cursor)
{
    if (!cursor)
        return;
    segment_cursor_close(cursor->cursor);
    free(cursor);
}

uint64_t read_cursor_position(const struct read_cursor *cursor)
{
    return segment_cursor_state(cursor->cursor)->position;
}

void read_cursor_note(struct read_cursor *cursor, uint64_t sequence)
{
    cursor->noted = sequence;
}

bool read_cursor_is_due(const struct read_cursor *cursor)
{
    return cursor->noted > read_cursor_position(cursor) &&
           clock_monotonic_ns() - cursor->committed_ns >= COMMIT_EVERY_NS;
}

enum error_code read_cursor_commit(struct read_cursor *cursor, struct error *error)
{
    if (cursor->noted <= read_cursor_position(cursor))
        return OK;
    cursor->committed_ns = clock_monotonic_ns();
    return segment_cursor_commit(cursor->cursor, cursor->noted, clock_realtime_ns(), error);
}
