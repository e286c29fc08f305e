#include "indexer/witness.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "indexer/connection.h"
#include "indexer/database.h"
#include "indexer/schema.h"
#include "segment/bound.h"
#include "segment/set.h"

#define POLL_NS (INT64_C(10) * 1000000)
/* How long a database that is just being made may look like a broken one. */
#define MAKING_NS (INT64_C(1000) * 1000000)

static enum error_code read_state(const char *path, struct indexer_schema_state *state_out,
                                  struct error *error)
{
    sqlite3 *database = NULL;
    enum error_code code = indexer_connection_open(path, &database, error);
    if (code)
        return code;
    code = indexer_schema_load_state(database, state_out, error);
    sqlite3_close_v2(database);
    return code;
}

/* Is the index of the log that the segments belong to? Where no segment can be read, it may be. */
static enum error_code check_same_log(const char *path, const struct indexer_schema_state *state,
                                      bool *same_out, struct error *error)
{
    int log_fd = -1, segments_fd = -1;
    struct segment_set set = {0};
    *same_out = true;
    enum error_code code = file_open_directory_to_read(path, &log_fd, error);
    if (!code)
        code = file_open_directory_to_read_at(log_fd, "segments", &segments_fd, error);
    if (!code) {
        segment_set_read_soon(segments_fd);
        code = segment_set_load(log_fd, segments_fd, &set, error);
    }
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    if (!code && !segment_set_identify(&set, log_fd, log_id, NULL))
        *same_out = !memcmp(log_id, state->log_id, sizeof log_id);
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
    return code;
}

/*
 * A number alone may be one that a flipped bit has made: it counts as far as there are rows, of
 * events or of gaps, or a bound, that it can have come from.
 */
static enum error_code read_supported(const char *path, struct indexer_schema_state *state_out,
                                      struct error *error)
{
    sqlite3 *database = NULL;
    int64_t supported = 0;
    enum error_code code = indexer_connection_open(path, &database, error);
    if (code)
        return code;
    code = indexer_schema_load_state(database, state_out, error);
    if (!code)
        code = indexer_database_number(
            database,
            "SELECT max(ifnull((SELECT max(seq) FROM event_rows), 0),"
            " ifnull((SELECT max(last_seq) FROM gap_rows), 0), bound - 1) FROM state",
            0, &supported, error);
    if (!code && supported >= 0 && (uint64_t)supported < state_out->last_sequence)
        state_out->last_sequence = (uint64_t)supported;
    sqlite3_close_v2(database);
    return code;
}

enum error_code indexer_testify(const char *path, struct indexer_testimony *testimony_out,
                                struct error *error)
{
    struct indexer_schema_state state;
    enum error_code code = read_supported(path, &state, error);
    bool same = false;
    if (!code)
        code = check_same_log(path, &state, &same, error);
    *testimony_out = (struct indexer_testimony){0};
    if (code == ERROR_MEMORY)
        return code;
    /* Whatever else is wrong: a witness that cannot be heard does not stop the log. */
    if (code || !same || state.last_sequence >= EVENT_SEQUENCE_END)
        return OK;
    testimony_out->there = true;
    testimony_out->last_sequence = state.last_sequence;
    testimony_out->bound = state.bound;
    memcpy(testimony_out->log_id, state.log_id, sizeof testimony_out->log_id);
    return OK;
}

enum error_code indexer_witness(const char *path, uint64_t *sequence_out, struct error *error)
{
    struct indexer_testimony testimony;
    enum error_code code = indexer_testify(path, &testimony, error);
    if (!code)
        *sequence_out = testimony.last_sequence;
    return code;
}

/* What somebody waits for. */
struct wish {
    uint64_t last_sequence;
    uint64_t bound;
};

static enum error_code tell_lateness(const char *path, const struct wish *wish,
                                     const struct indexer_schema_state *state, int timeout_ms,
                                     struct error *error)
{
    if (state->last_sequence < wish->last_sequence)
        return error_set(error, ERROR_BUSY,
                         "the index of '%s' is at %llu of %llu and has not caught up within %d ms",
                         path, (unsigned long long)state->last_sequence,
                         (unsigned long long)wish->last_sequence, timeout_ms);
    return error_set(error, ERROR_BUSY,
                     "the index of '%s' begins at %llu, not yet at %llu, after %d ms", path,
                     (unsigned long long)state->bound, (unsigned long long)wish->bound, timeout_ms);
}

static enum error_code wait_for(const char *path, const struct wish *wish, int timeout_ms,
                                struct error *error)
{
    int64_t began = clock_monotonic_ns();
    int64_t deadline = began + (int64_t)timeout_ms * 1000000;
    for (;;) {
        struct indexer_schema_state state;
        enum error_code code = read_state(path, &state, error);
        /*
         * A follower that is just making or replacing the index is no failure. Between its files'
         * coming and going SQLite has many names for what it finds.
         */
        if (code && code != ERROR_NOT_FOUND && code != ERROR_BUSY &&
            clock_monotonic_ns() - began >= MAKING_NS)
            return code;
        if (!code && state.last_sequence >= wish->last_sequence && state.bound >= wish->bound)
            return OK;
        int64_t now = clock_monotonic_ns();
        if (now >= deadline)
            return code ? code : tell_lateness(path, wish, &state, timeout_ms, error);
        clock_sleep_until_ns(now + POLL_NS < deadline ? now + POLL_NS : deadline);
    }
}

enum error_code indexer_wait_for_sequence(const char *path, uint64_t sequence, int timeout_ms,
                                          struct error *error)
{
    struct wish wish = {.last_sequence = sequence};
    return wait_for(path, &wish, timeout_ms, error);
}

enum error_code indexer_wait_for_bound(const char *path, int timeout_ms, struct error *error)
{
    int log_fd = -1;
    struct wish wish = {0};
    enum error_code code = file_open_directory_to_read(path, &log_fd, error);
    if (!code)
        code = segment_bound_load(log_fd, &wish.bound, error);
    file_close(&log_fd);
    return code ? code : wait_for(path, &wish, timeout_ms, error);
}
