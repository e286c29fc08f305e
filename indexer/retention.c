#include "indexer/retention.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "indexer/clock_guard.h"
#include "indexer/database.h"
#include "indexer/follower.h"
#include "indexer/retention_hold.h"
#include "segment/bound.h"
#include "segment/lock.h"
#include "segment/set.h"

struct run {
    const char *path;
    const struct indexer_retention_options *options;
    void (*deleted)(void *context, const struct indexer_retention_segment *segment);
    void *context;
    int log_fd;
    int segments_fd;
    int lock_fd;
    struct segment_set set;
    struct indexer_retention_holds holds;
    struct indexer_retention_totals totals;
};

static void open_nothing(struct run *run)
{
    run->log_fd = run->segments_fd = run->lock_fd = -1;
}

static enum error_code open_log(struct run *run, struct error *error)
{
    enum error_code code = file_open_directory(run->path, false, &run->log_fd, error);
    if (!code)
        code = file_open_directory_at(run->log_fd, "segments", false, &run->segments_fd, error);
    /* Looking harms nobody: a dry run needs no lock. */
    if (!code && !run->options->dry_run)
        code = segment_lock_take(run->log_fd, LOCK_RETENTION, &run->lock_fd, error);
    if (!code)
        code = segment_set_load(run->log_fd, run->segments_fd, &run->set, error);
    if (!code)
        code = indexer_retention_holds_load(run->log_fd, &run->set, &run->holds, error);
    return code;
}

static void close_log(struct run *run)
{
    indexer_retention_holds_release(&run->holds);
    segment_set_free(&run->set);
    file_close(&run->lock_fd);
    file_close(&run->segments_fd);
    file_close(&run->log_fd);
}

/* What the log last saw of time. Sealed segments say it; of the active one we know the beginning.
 */
static int64_t newest_arrival(const struct segment_set *set)
{
    int64_t newest = INT64_MIN;
    for (size_t i = set->dead_count; i < set->count; i++) {
        const struct segment_set_segment *segment = &set->segments[i];
        if (segment->header_verdict == FORMAT_VALID && segment->header.created_ns > newest)
            newest = segment->header.created_ns;
        if (segment->sealed && segment->trailer.arrival_last_ns > newest)
            newest = segment->trailer.arrival_last_ns;
    }
    return newest;
}

/*
 * The moment before which an arrival is too old; INT64_MIN: nothing is. With a clock that is not to
 * be believed nothing is either.
 */
static enum error_code age_limit(struct run *run, int64_t *limit_out, struct error *error)
{
    const struct indexer_retention_options *options = run->options;
    *limit_out = INT64_MIN;
    if (!options->max_age_ns)
        return OK;
    int64_t now = options->now_ns;
    if (!now) {
        struct indexer_clock_reading reading;
        indexer_clock_read(&reading);
        now = reading.realtime_ns;
        struct error why = {0};
        enum error_code code = indexer_clock_guard_check(
            run->log_fd, &reading, newest_arrival(&run->set), options->dry_run, &why);
        if (code == ERROR_INVALID) {
            snprintf(run->totals.frozen, sizeof run->totals.frozen, "%.250s", why.text);
            return OK;
        }
        if (code)
            return error_set(error, code, "%s", why.text);
    }
    if (now >= INT64_MIN + options->max_age_ns)
        *limit_out = now - options->max_age_ns;
    return OK;
}

/*
 * What speaks against deleting a segment that is not the last one, which the writer has; NULL:
 * nothing. A segment is sealed before the next one gets its name.
 */
static const char *obstacle(const struct segment_set *set, size_t i)
{
    const struct segment_set_segment *segment = &set->segments[i];
    if (segment_set_check_version(segment, NULL))
        return "it was written by a newer Daybook";
    if (segment->header_verdict != FORMAT_VALID)
        return "its header cannot be read";
    if (!segment->sealed)
        return "it is not sealed, or its trailer is damaged";
    if (segment->trailer.sequence_last >= set->segments[i + 1].sequence_first)
        return "it reaches into the segment behind it";
    return NULL;
}

/*
 * Has everything in a segment arrived before `moment`? Its trailer says so; where there is none,
 * so does a later segment that was begun before.
 */
static bool is_older(const struct segment_set *set, size_t i, int64_t moment)
{
    if (set->segments[i].sealed)
        return set->segments[i].trailer.arrival_last_ns < moment;
    for (size_t later = i + 1; later < set->count; later++)
        if (set->segments[later].header_verdict == FORMAT_VALID)
            return set->segments[later].header.created_ns < moment;
    return false;
}

static uint64_t live_bytes(const struct segment_set *set)
{
    uint64_t bytes = 0;
    for (size_t i = set->dead_count; i < set->count; i++)
        bytes += set->segments[i].size_bytes;
    return bytes;
}

/*
 * Is a segment that is not the last one, with everything behind it `bytes`, kept for a consumer? In
 * that case nothing behind it goes either.
 */
static bool is_held(struct run *run, size_t i, uint64_t bytes)
{
    const struct segment_set_segment *segment = &run->set.segments[i];
    const struct segment_cursors_cursor *cursor = indexer_retention_holds_find(
        &run->holds, run->set.segments[i + 1].sequence_first - 1, bytes);
    if (!cursor)
        return false;
    snprintf(run->totals.held, sizeof run->totals.held,
             "segment %s is kept for the cursor '%s', which has done all up to %" PRIu64,
             segment->name, cursor->name, cursor->look.state.needed - 1);
    return true;
}

/* The first segment that stays. Everything before it goes: retention has no holes. */
static enum error_code choose(struct run *run, size_t *keep_out, struct error *error)
{
    int64_t too_old;
    enum error_code code = age_limit(run, &too_old, error);
    if (code)
        return code;
    const struct segment_set *set = &run->set;
    uint64_t bytes = live_bytes(set);
    size_t keep = set->dead_count;
    for (; keep + 1 < set->count; keep++) {
        const struct segment_set_segment *segment = &set->segments[keep];
        bool large = run->options->max_bytes && bytes > run->options->max_bytes;
        if (!large && !is_older(set, keep, too_old))
            break;
        if (is_held(run, keep, bytes))
            break;
        const char *why = obstacle(set, keep);
        if (why) {
            snprintf(run->totals.blocked, sizeof run->totals.blocked,
                     "segment %s cannot be deleted: %s", segment->name, why);
            break;
        }
        bytes -= segment->size_bytes;
    }
    *keep_out = keep;
    return OK;
}

static void report(struct run *run, size_t i)
{
    const struct segment_set_segment *segment = &run->set.segments[i];
    struct indexer_retention_segment gone = {
        .sequence_first = segment->sequence_first,
        .sequence_last = i + 1 < run->set.count ? run->set.segments[i + 1].sequence_first - 1
                                                : segment->sequence_first - 1,
        .bytes = segment->size_bytes,
        .arrival_last_ns = INT64_MIN,
        .unfinished = i < run->set.dead_count,
    };
    if (segment->sealed) {
        gone.sequence_last = segment->trailer.sequence_last;
        gone.arrival_last_ns = segment->trailer.arrival_last_ns;
    }
    memcpy(gone.name, segment->name, sizeof segment->name);
    run->totals.segments_deleted++;
    run->totals.bytes_deleted += segment->size_bytes;
    if (run->deleted)
        run->deleted(run->context, &gone);
}

/* Oldest first, so that what is left is always one piece. */
static enum error_code unlink_before(struct run *run, size_t keep, struct error *error)
{
    for (size_t i = 0; i < keep; i++) {
        if (!run->options->dry_run) {
            const char *name = run->set.segments[i].name;
            enum error_code code = file_unlink(run->segments_fd, name, error);
            if (code && code != ERROR_NOT_FOUND)
                return code;
        }
        report(run, i);
    }
    if (run->options->dry_run || !keep)
        return OK;
    return file_sync_directory(run->segments_fd, "segments", error);
}

/* The ballast is gone as well. What can always be made anew may go. */
static enum error_code store_bound(const struct run *run, struct error *error)
{
    enum error_code code = segment_bound_store(run->log_fd, run->totals.bound, error);
    if (code != ERROR_NO_SPACE || !error)
        return code;
    struct error why = *error;
    return error_set(error, code,
                     "%s: deleting needs a little room itself; free some elsewhere, or stop the "
                     "daemon and delete '" INDEXER_DATABASE_NAME "' and what begins with that "
                     "name, which is made anew from the log",
                     why.text);
}

static enum error_code delete_segments(struct run *run, struct error *error)
{
    struct segment_set *set = &run->set;
    size_t keep;
    enum error_code code = choose(run, &keep, error);
    if (code)
        return code;
    run->totals.bound = set->bound;
    /* After this line the segments are dead, whoever unlinks them. */
    if (keep > set->dead_count) {
        run->totals.bound = set->segments[keep].sequence_first;
        indexer_retention_holds_tell(&run->holds, set->bound, run->totals.bound, run->options,
                                     run->context);
        if (!run->options->dry_run)
            code = store_bound(run, error);
    }
    if (!code)
        code = unlink_before(run, keep, error);
    for (size_t i = keep; i < set->count; i++) {
        run->totals.segments_left++;
        run->totals.bytes_left += set->segments[i].size_bytes;
    }
    return code;
}

/* Is there an index at all? Retention does not make one. */
static bool has_index(const struct run *run)
{
    struct stat status;
    return !fstatat(run->log_fd, INDEXER_DATABASE_NAME, &status, AT_SYMLINK_NOFOLLOW);
}

static enum indexer_retention_index retire_rows(struct run *run, struct error *error)
{
    if (run->options->dry_run)
        return INDEXER_RETENTION_INDEX_SKIPPED;
    if (!has_index(run))
        return INDEXER_RETENTION_INDEX_NONE;
    struct indexer_follower *follower = NULL;
    enum error_code code = indexer_follower_open(run->path, &follower, error);
    if (code == ERROR_BUSY)
        return INDEXER_RETENTION_INDEX_BUSY;
    if (!code)
        code = indexer_follower_catch_up(follower, error);
    indexer_follower_close(follower);
    return code ? INDEXER_RETENTION_INDEX_FAILED : INDEXER_RETENTION_INDEX_DONE;
}

enum error_code indexer_retention_run(
    const char *path, const struct indexer_retention_options *options,
    void (*deleted)(void *context, const struct indexer_retention_segment *segment), void *context,
    struct indexer_retention_totals *totals_out, struct error *error)
{
    struct run run = {.path = path, .options = options, .deleted = deleted, .context = context};
    open_nothing(&run);
    enum error_code code = open_log(&run, error);
    if (!code)
        code = delete_segments(&run, error);
    if (!code) {
        /* The segments are gone; an index that cannot follow now is told, not failed for. */
        struct error why = {0};
        snprintf(run.totals.damaged_cursor, sizeof run.totals.damaged_cursor, "%.500s",
                 run.holds.damage.text);
        run.totals.index = retire_rows(&run, &why);
        if (run.totals.index == INDEXER_RETENTION_INDEX_FAILED)
            snprintf(run.totals.index_error, sizeof run.totals.index_error, "%.250s", why.text);
        *totals_out = run.totals;
    }
    close_log(&run);
    if (code)
        error_prefix(error, "retention in '%s'", path);
    return code;
}
