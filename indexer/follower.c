#include "indexer/follower.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/file.h"
#include "indexer/clock_guard.h"
#include "indexer/database.h"
#include "indexer/field_keeper.h"
#include "indexer/relocator.h"
#include "indexer/retire.h"
#include "indexer/store.h"
#include "indexer/witness.h"
#include "indexer/writer.h"
#include "segment/bound.h"
#include "segment/lock.h"
#include "segment/reader.h"

enum {
    /* Events of one transaction, give or take a block: large enough for speed, small in memory. */
    EVENTS_PER_STEP = 65536,
    /* After so many unreadable places in a row the reader is not getting anywhere. */
    DAMAGED_PER_STEP_MAX = 64,
    /* An index that is damaged again and again before it is complete lies on a bad disk. */
    REBUILDS_MAX = 3,
};
/* How often the follower looks at what others change: the lower bound, and the name of its file. */
#define LOOK_NS (INT64_C(100) * 1000000)

struct indexer_follower {
    char *path;
    const char *name; /* of the database */
    int log_fd;
    int segments_fd;
    int lock_fd;
    struct segment_reader *reader;
    sqlite3 *database;
    struct stat file; /* the database's, when it was opened */
    struct indexer_writer *writer;
    uint64_t last_sequence;
    uint64_t bound;        /* what the index has done about retention */
    uint64_t bound_wanted; /* the log's */
    int64_t looked_ns;
    struct indexer_relocator relocator;
    struct indexer_field_keeper fields;
    bool working_on_fields; /* rows of theirs are to be filled or removed */
    int64_t stepped_ns;
    bool must_seek;    /* the reader is not behind last_sequence */
    uint64_t unknown_before; /* what was before this sequence the index has never seen; 0: nothing */
    uint64_t doubted;  /* at this sequence damage was met once, and looked at again */
    bool log_at_fault; /* the error on its way up is the log's, not the database's */
    unsigned rebuilds; /* since the index was last complete */
    char rebuilt[INDEXER_STORE_REASON_BYTES];
    char notice[sizeof((struct error *)0)->text];
};

static enum error_code blame_log(struct indexer_follower *follower, enum error_code code)
{
    follower->log_at_fault = true;
    return code;
}

static void close_database(struct indexer_follower *follower)
{
    indexer_writer_free(follower->writer);
    follower->writer = NULL;
    indexer_field_keeper_release(&follower->fields);
    sqlite3_close(follower->database);
    follower->database = NULL;
}

/*
 * Where an empty index begins: at the lower bound, for what is below was never its business. When
 * that file says nothing nobody knows, and what the reader takes instead, the first segment that is
 * there, must not look like something that the index had seen by itself.
 */
static uint64_t fresh_bound(const struct indexer_follower *follower)
{
    uint64_t bound = 1;
    segment_bound_load(follower->log_fd, &bound, NULL); /* leaves it alone when it fails */
    return bound;
}

static enum error_code rebuild_database(struct indexer_follower *follower, const char *reason,
                                        struct error *error);

static enum error_code prepare_database(struct indexer_follower *follower, struct error *error)
{
    enum error_code code = indexer_field_keeper_open(&follower->fields, follower->log_fd,
                                                     follower->path, follower->database, error);
    if (!code)
        code = indexer_writer_create(follower->database, follower->segments_fd,
                                     &follower->fields.set, &follower->writer, error);
    if (!code && fstatat(follower->log_fd, follower->name, &follower->file, AT_SYMLINK_NOFOLLOW))
        code = error_set_errno(error, errno, "look at '%s/%s'", follower->path, follower->name);
    return code;
}

static enum error_code open_database(struct indexer_follower *follower, struct error *error)
{
    struct indexer_store_place place = {follower->log_fd, follower->path, follower->name};
    struct indexer_schema_state fresh = {.bound = fresh_bound(follower)}, state;
    fresh.last_sequence = fresh.bound - 1;
    memcpy(fresh.log_id, segment_reader_log_id(follower->reader), sizeof fresh.log_id);

    enum error_code code =
        indexer_store_open(&place, &fresh, &follower->database, &state, follower->rebuilt, error);
    if (code)
        return code;
    struct error why = {0};
    code = prepare_database(follower, &why);
    if (code == ERROR_DAMAGED && !follower->rebuilt[0])
        return rebuild_database(follower, why.text, error);
    if (code) {
        close_database(follower);
        return error_set(error, code, "%s", why.text);
    }
    follower->last_sequence = state.last_sequence;
    follower->bound = state.bound;
    follower->bound_wanted = state.bound;
    follower->looked_ns = 0;
    follower->relocator = (struct indexer_relocator){0};
    follower->working_on_fields = true;
    follower->must_seek = true;
    bool begins_late = state.bound > 1 && state.last_sequence == state.bound - 1;
    follower->unknown_before = begins_late ? state.bound : 0;
    return OK;
}

static enum error_code rebuild_database(struct indexer_follower *follower, const char *reason,
                                        struct error *error)
{
    /* Both are copies: `reason` may live in what is closed here. */
    char why[INDEXER_STORE_REASON_BYTES];
    snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, reason);
    close_database(follower);
    enum error_code code = indexer_database_remove(follower->log_fd, follower->name, error);
    if (!code)
        code = open_database(follower, error);
    memcpy(follower->rebuilt, why, sizeof why);
    return code;
}

/*
 * The index only takes in what was durable. When it has more than the log, the log has lost
 * something: that must be looked at, not covered up by a new index (D7).
 */
static enum error_code check_not_ahead(struct indexer_follower *follower, uint64_t indexed,
                                       struct error *error)
{
    bool live = segment_reader_is_live(follower->reader);
    bool held = false;
    enum error_code code = segment_lock_is_held(follower->log_fd, LOCK_WRITER, &held, error);
    if (code)
        return code;
    uint64_t watermark = segment_reader_watermark(follower->reader);
    if (indexed <= watermark || indexed < follower->bound)
        return OK;
    if (held && !live)
        return error_set(error, ERROR_BUSY, "the log is being recovered; try again");
    return error_set(error, ERROR_DAMAGED,
                     "evidence of lost log data: '%s/%s' has indexed events up to %llu, which were "
                     "durable, but the log ends at %llu; 'daybook verify' names what is missing, "
                     "'daybook verify --repair --accept-loss' puts it on record and goes on with "
                     "what is left",
                     follower->path, INDEXER_DATABASE_NAME, (unsigned long long)indexed,
                     (unsigned long long)watermark);
}

enum { LAST_FIRST, LAST_SEGMENT, LAST_OFFSET, LAST_CHECKSUM, LAST_PACKED, LAST_COLUMNS };

/* Where the index believes its last block to be. ERROR_NOT_FOUND: it has none. */
static enum error_code find_last_block(sqlite3 *database, uint64_t block_out[LAST_COLUMNS],
                                       struct error *error)
{
    sqlite3_stmt *select = NULL;
    enum error_code code =
        indexer_database_prepare(database,
                                 "SELECT b.first_seq, segment, offset, checksum, seal IS NOT NULL"
                                 " FROM block_rows b"
                                 " LEFT JOIN segment_rows s ON s.first_seq = b.segment"
                                 " ORDER BY b.first_seq DESC LIMIT 1",
                                 &select, error);
    if (code)
        return code;
    int result = sqlite3_step(select);
    for (int i = 0; i < LAST_COLUMNS; i++)
        block_out[i] = (uint64_t)sqlite3_column_int64(select, i);
    if (result == SQLITE_DONE)
        code = ERROR_NOT_FOUND;
    else if (result != SQLITE_ROW)
        code = indexer_database_error(database, result, error);
    sqlite3_finalize(select);
    return code;
}

/*
 * A log and an index that were copied at different times can have the same identity and different
 * events. Compare the last block that the index knows; when the log's is gone or unreadable, or in
 * a segment that was packed since, that is no reason to distrust the index.
 */
static enum error_code check_last_block(struct indexer_follower *follower, bool *same_out,
                                        struct error *error)
{
    uint64_t known[LAST_COLUMNS];
    *same_out = true;
    enum error_code code = find_last_block(follower->database, known, error);
    if (code)
        return code == ERROR_NOT_FOUND ? OK : code;
    struct segment_reader_block block;
    if (segment_reader_seek_block(follower->reader, known[LAST_SEGMENT], known[LAST_OFFSET],
                                  known[LAST_FIRST], NULL) ||
        segment_reader_next_block(follower->reader, &block, NULL) ||
        (block.packed && !known[LAST_PACKED]))
        return OK;
    *same_out = block.header.sequence_first != known[LAST_FIRST] ||
                block.header.checksum == known[LAST_CHECKSUM];
    return OK;
}

static enum error_code check_against_log(struct indexer_follower *follower, struct error *error)
{
    enum error_code code = check_not_ahead(follower, follower->last_sequence, error);
    bool same = true;
    if (!code)
        code = check_last_block(follower, &same, error);
    if (!code && !same)
        code = rebuild_database(follower, "its last block is not the log's", error);
    return code;
}

static enum error_code open_log(struct indexer_follower *follower, struct error *error)
{
    enum error_code code = file_open_directory(follower->path, false, &follower->log_fd, error);
    if (!code)
        code = file_open_directory_at(follower->log_fd, "segments", false, &follower->segments_fd,
                                      error);
    if (!code)
        code = segment_lock_take(follower->log_fd, LOCK_INDEXER, &follower->lock_fd, error);
    if (!code)
        code = segment_reader_open(follower->path, &follower->reader, error);
    if (code)
        return code;
    segment_reader_read_ahead(follower->reader);
    segment_reader_give_producers(follower->reader);
    return OK;
}

static enum error_code create(const char *path, const char *name,
                              struct indexer_follower **follower_out, struct error *error)
{
    struct indexer_follower *follower = calloc(1, sizeof *follower);
    if (!follower)
        return error_set(error, ERROR_MEMORY, "no memory for the index's follower");
    follower->log_fd = follower->segments_fd = follower->lock_fd = -1;
    follower->name = name;
    follower->path = strdup(path);
    enum error_code code = follower->path ? open_log(follower, error)
                                          : error_set(error, ERROR_MEMORY, "no memory for a path");
    if (code) {
        indexer_follower_close(follower);
        return code;
    }
    *follower_out = follower;
    return OK;
}

enum error_code indexer_follower_open(const char *path, struct indexer_follower **follower_out,
                                      struct error *error)
{
    struct indexer_follower *follower = NULL;
    enum error_code code = create(path, INDEXER_DATABASE_NAME, &follower, error);
    if (!code)
        code = open_database(follower, error);
    if (!code)
        code = check_against_log(follower, error);
    if (code) {
        indexer_follower_close(follower);
        error_prefix(error, "index of '%s'", path);
        return code;
    }
    indexer_clock_guard_begin(follower->log_fd);
    *follower_out = follower;
    return OK;
}

enum error_code indexer_follower_open_rebuild(const char *path,
                                              struct indexer_follower **follower_out,
                                              struct error *error)
{
    struct indexer_follower *follower = NULL;
    enum error_code code = create(path, INDEXER_REBUILD_NAME, &follower, error);
    if (!code)
        code = indexer_database_remove(follower->log_fd, INDEXER_REBUILD_NAME, error);
    if (!code)
        code = open_database(follower, error);
    /* The old index goes; what only it knows of the log must not go with it. */
    uint64_t indexed = 0;
    if (!code && !indexer_witness(path, &indexed, NULL))
        code = check_not_ahead(follower, indexed, error);
    if (code) {
        indexer_follower_close(follower);
        error_prefix(error, "index of '%s'", path);
        return code;
    }
    *follower_out = follower;
    return OK;
}

const char *indexer_follower_rebuilt(const struct indexer_follower *follower)
{
    return follower->rebuilt[0] ? follower->rebuilt : NULL;
}

void indexer_follower_close(struct indexer_follower *follower)
{
    if (!follower)
        return;
    close_database(follower);
    segment_reader_close(follower->reader);
    file_close(&follower->lock_fd);
    file_close(&follower->segments_fd);
    file_close(&follower->log_fd);
    free(follower->path);
    free(follower);
}

/*
 * The old database goes before the new one gets its name: its WAL must never be found beside the
 * new one. A crash in between leaves no index, which the next follower makes.
 */
static enum error_code replace_database(struct indexer_follower *follower, struct error *error)
{
    enum error_code code =
        indexer_database_exec(follower->database, "PRAGMA wal_checkpoint(TRUNCATE)", error);
    if (code)
        return code;
    close_database(follower);
    code = indexer_database_remove(follower->log_fd, INDEXER_DATABASE_NAME, error);
    if (!code)
        code = file_rename(follower->log_fd, INDEXER_REBUILD_NAME, INDEXER_DATABASE_NAME, error);
    if (!code)
        code = file_sync_directory(follower->log_fd, follower->path, error);
    return code;
}

enum error_code indexer_follower_finish_rebuild(struct indexer_follower *follower,
                                                struct error *error)
{
    enum error_code code = replace_database(follower, error);
    if (code)
        error_prefix(error, "index of '%s'", follower->path);
    indexer_follower_close(follower);
    return code;
}

static void notice(struct indexer_follower *follower, struct indexer_step *step, const char *text)
{
    snprintf(follower->notice, sizeof follower->notice, "%s", text);
    step->notice = follower->notice;
}

/* Everything after last_sequence and before `next` is missing; retention is no damage. */
static enum error_code account_for_missing(struct indexer_follower *follower,
                                           const struct segment_reader_block *block,
                                           struct error *error)
{
    uint64_t hole_first, hole_last;
    if (segment_reader_hole(follower->reader, &hole_first, &hole_last) &&
        hole_last > follower->last_sequence) {
        follower->last_sequence = hole_last;
        follower->unknown_before = hole_last + 1;
    }
    uint64_t next = block->header.sequence_first;
    if (next <= follower->last_sequence + 1)
        return OK;
    enum error_code code =
        indexer_writer_add_gap(follower->writer, block, follower->last_sequence + 1, next - 1,
                               INDEXER_GAP_UNREPAIRED, error);
    /* Whatever the block is: a gap is told once, and the next one begins behind it. */
    if (!code)
        follower->last_sequence = next - 1;
    return code;
}

static enum error_code take_gap(struct indexer_follower *follower,
                                const struct segment_reader_block *block, struct error *error)
{
    struct segment_format_gap gap;
    enum error_code code =
        segment_format_decode_gap(block->raw, block->header.raw_bytes, &gap, error);
    if (code)
        return blame_log(follower, code);
    code =
        indexer_writer_add_gap(follower->writer, block, gap.sequence_first, gap.sequence_last,
                               segment_format_gap_cause_text(gap.cause), error);
    if (!code && gap.sequence_last > follower->last_sequence)
        follower->last_sequence = gap.sequence_last;
    return code;
}

/*
 * The producers as they were when the segment began: of use where that is where the index begins,
 * or goes on behind what retention took too early. Elsewhere it knows better.
 */
static enum error_code take_producers(struct indexer_follower *follower,
                                      const struct segment_reader_block *block,
                                      struct error *error)
{
    if (block->header.sequence_first != follower->unknown_before)
        return OK;
    return indexer_writer_add_producers(follower->writer, block, error);
}

static enum error_code take_block(struct indexer_follower *follower,
                                  const struct segment_reader_block *block, struct error *error)
{
    enum error_code code = account_for_missing(follower, block, error);
    if (code)
        return code;
    if (block->header.kind == FORMAT_BLOCK_GAP)
        return take_gap(follower, block, error);
    if (block->header.kind == FORMAT_BLOCK_PRODUCERS)
        return take_producers(follower, block, error);
    uint64_t last = block->header.sequence_first + block->header.event_count - 1;
    if (block->header.kind != FORMAT_BLOCK_EVENTS || last <= follower->last_sequence)
        return OK;
    code = indexer_writer_add_events(follower->writer, block, follower->last_sequence, error);
    if (!code)
        follower->last_sequence = last;
    return code;
}

/*
 * A gap in the index is for good, and a read that fails once may succeed the next time: what counts
 * as damaged is met twice. *again_out: the reader stands before it again.
 */
static enum error_code doubt_damage(struct indexer_follower *follower, bool *again_out,
                                    struct error *error)
{
    uint64_t next = follower->last_sequence + 1;
    *again_out = follower->doubted != next;
    follower->doubted = next;
    return *again_out ? segment_reader_seek(follower->reader, next, error) : OK;
}

/* Read on until a transaction is full or everything durable has been read. */
static enum error_code gather(struct indexer_follower *follower, struct indexer_step *step,
                              struct error *error)
{
    while (indexer_writer_events(follower->writer) < EVENTS_PER_STEP) {
        struct segment_reader_block block;
        struct error damage = {0};
        enum error_code code = segment_reader_next_block(follower->reader, &block, &damage);
        if (code == ERROR_END) {
            step->caught_up = true;
            return OK;
        }
        bool again = false;
        if (code == ERROR_DAMAGED && doubt_damage(follower, &again, error))
            return blame_log(follower, ERROR_DAMAGED);
        if (again)
            continue;
        if (code == ERROR_DAMAGED && ++step->damaged <= DAMAGED_PER_STEP_MAX) {
            notice(follower, step, damage.text);
            continue;
        }
        if (code)
            return blame_log(follower, error_set(error, code, "%s", damage.text));
        code = take_block(follower, &block, error);
        if (code)
            return code;
    }
    return OK;
}

/* One transaction; on failure everything is as if it had not been begun. */
static enum error_code index_some(struct indexer_follower *follower, struct indexer_step *step,
                                  struct error *error)
{
    uint64_t before = follower->last_sequence;
    enum error_code code = OK;
    if (follower->must_seek)
        code = segment_reader_seek(follower->reader, before + 1, error);
    if (!code) {
        follower->must_seek = false;
        code = gather(follower, step, error);
    }
    uint64_t events = indexer_writer_events(follower->writer);
    if (!code)
        code = indexer_writer_commit(follower->writer, follower->last_sequence, error);
    if (code) {
        indexer_writer_rollback(follower->writer);
        follower->last_sequence = before;
        follower->must_seek = true;
        return code;
    }
    step->events = events;
    return OK;
}

static enum error_code look_for_bound(struct indexer_follower *follower, struct error *error)
{
    uint64_t bound = follower->bound_wanted;
    enum error_code code = segment_bound_load(follower->log_fd, &bound, error);
    /* While it is damaged nothing can be retired; readers of the log tell. */
    if (code && code != ERROR_DAMAGED && code != ERROR_FOREIGN)
        return blame_log(follower, code);
    if (bound > follower->bound_wanted)
        follower->bound_wanted = bound;
    return OK;
}

/* SQLite would go on writing to a file without a name, for nobody. */
static bool has_lost_file(const struct indexer_follower *follower)
{
    struct stat now;
    if (fstatat(follower->log_fd, follower->name, &now, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT;
    return now.st_dev != follower->file.st_dev || now.st_ino != follower->file.st_ino;
}

/*
 * Anybody may delete the index at any time: that costs only the time to build it anew. A file that
 * was put in its place goes, too: the WAL beside it is that of the old one.
 */
static enum error_code look_for_file(struct indexer_follower *follower, struct indexer_step *step,
                                     struct error *error)
{
    if (!has_lost_file(follower))
        return OK;
    notice(follower, step, "its file was deleted or replaced; it is built anew");
    return rebuild_database(follower, "its file was deleted or replaced", error);
}

static enum error_code look_for_packed(struct indexer_follower *follower, struct error *error)
{
    bool log_at_fault = false;
    enum error_code code =
        indexer_relocator_look(&follower->relocator, follower->database, follower->log_fd,
                               follower->segments_fd, follower->last_sequence, &log_at_fault,
                               error);
    return code && log_at_fault ? blame_log(follower, code) : code;
}

static enum error_code look_for_fields(struct indexer_follower *follower, struct error *error)
{
    bool changed;
    enum error_code code = indexer_field_keeper_look(&follower->fields, &changed, error);
    if (changed) {
        indexer_writer_forget_names(follower->writer);
        follower->working_on_fields = true;
    }
    return code;
}

static enum error_code look_around(struct indexer_follower *follower, struct indexer_step *step,
                                   struct error *error)
{
    int64_t now = clock_monotonic_ns();
    if (follower->looked_ns && now - follower->looked_ns < LOOK_NS &&
        !follower->relocator.relocating)
        return OK;
    enum error_code code = look_for_file(follower, step, error);
    if (!code)
        code = look_for_bound(follower, error);
    if (!code)
        code = look_for_packed(follower, error);
    if (!code)
        code = look_for_fields(follower, error);
    if (!code)
        follower->looked_ns = now;
    return code;
}

static enum error_code retire_some(struct indexer_follower *follower, struct indexer_step *step,
                                   struct error *error)
{
    if (follower->bound_wanted <= follower->bound)
        return OK;
    bool done;
    enum error_code code = indexer_retire_some(follower->database, follower->bound_wanted,
                                               &step->retired, &done, error);
    if (code || !done)
        return code;
    indexer_writer_forget_names(follower->writer);
    follower->bound = follower->bound_wanted;
    if (follower->last_sequence < follower->bound - 1) {
        follower->last_sequence = follower->bound - 1;
        follower->unknown_before = follower->bound;
        follower->must_seek = true;
    }
    return OK;
}

/* Behind everything else: whoever asks for new events waits for those, and nobody for these. */
static enum error_code work_on_fields(struct indexer_follower *follower, struct indexer_step *step,
                                      struct error *error)
{
    if (!step->caught_up || follower->bound < follower->bound_wanted)
        return OK;
    uint64_t removed = 0;
    enum error_code code =
        indexer_field_keeper_work(&follower->fields, follower->bound, &removed, &step->filled,
                                  &follower->working_on_fields, error);
    step->retired += removed;
    return code;
}

static enum error_code step_once(struct indexer_follower *follower, struct indexer_step *step,
                                 struct error *error)
{
    enum error_code code = look_around(follower, step, error);
    if (!code)
        code = retire_some(follower, step, error);
    if (!code)
        code = index_some(follower, step, error);
    if (!code)
        code = work_on_fields(follower, step, error);
    if (follower->fields.notice[0]) {
        notice(follower, step, follower->fields.notice);
        follower->fields.notice[0] = '\0';
    }
    if (follower->bound < follower->bound_wanted || follower->relocator.relocating ||
        follower->working_on_fields)
        step->caught_up = false;
    return code;
}

/* Start afresh where the database, not the log, is damaged. */
static enum error_code recover_database(struct indexer_follower *follower,
                                        struct indexer_step *step, struct error *error)
{
    if (++follower->rebuilds > REBUILDS_MAX)
        return error_prefix(error, "damaged again after being built anew");
    *step = (struct indexer_step){0};
    char text[sizeof error->text];
    snprintf(text, sizeof text, "the index is damaged and will be built anew: %.600s", error->text);
    notice(follower, step, text);
    return rebuild_database(follower, error->text, error);
}

enum error_code indexer_follower_step(struct indexer_follower *follower,
                                      struct indexer_step *step_out, struct error *error)
{
    struct indexer_step step = {0};
    struct error why = {0};
    enum error_code code = OK;
    follower->log_at_fault = false;
    /* A rebuild that failed half way (no space, say) is tried again by each step. */
    if (!follower->writer)
        code = open_database(follower, &why);
    if (!code)
        code = step_once(follower, &step, &why);
    if (code == ERROR_DAMAGED && !follower->log_at_fault)
        code = recover_database(follower, &step, &why);
    follower->stepped_ns = clock_monotonic_ns();
    if (code)
        return error_set(error, code, "index of '%s': %s", follower->path, why.text);
    if (step.caught_up)
        follower->rebuilds = 0;
    step.relocating = follower->relocator.relocating;
    step.working_on_fields = follower->working_on_fields;
    step.last_sequence = follower->last_sequence;
    step.watermark = segment_reader_watermark(follower->reader);
    *step_out = step;
    return OK;
}

enum error_code indexer_follower_catch_up(struct indexer_follower *follower, struct error *error)
{
    uint64_t target = segment_reader_watermark(follower->reader);
    struct indexer_step step;
    do {
        follower->looked_ns = follower->relocator.reload_ns = 0;
        enum error_code code = indexer_follower_step(follower, &step, error);
        if (code)
            return code;
    } while (!step.caught_up &&
             (step.last_sequence < target || follower->bound < follower->bound_wanted ||
              step.relocating || step.working_on_fields));
    /* Packed segments that had to be indexed first: now they are. */
    do {
        follower->looked_ns = follower->relocator.reload_ns = 0;
        enum error_code code =
            follower->relocator.relocated ? OK : look_for_packed(follower, error);
        if (code)
            return code;
    } while (follower->relocator.relocating);
    return OK;
}

void indexer_follower_wait(struct indexer_follower *follower, int timeout_ms)
{
    if (timeout_ms > INDEXER_GATHER_MS)
        timeout_ms = INDEXER_GATHER_MS; /* the lower bound wants to be looked at, too */
    int64_t now = clock_monotonic_ns();
    int64_t deadline = now + (int64_t)timeout_ms * 1000000;
    segment_reader_wait(follower->reader, timeout_ms);

    int64_t gathered = follower->stepped_ns + (int64_t)INDEXER_GATHER_MS * 1000000;
    if (gathered > deadline)
        gathered = deadline;
    if (clock_monotonic_ns() < gathered)
        clock_sleep_until_ns(gathered);
}
