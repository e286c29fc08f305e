#include "tools/daybook/damage.h"

#include <sqlite3.h>
#include <stddef.h>

#include "core/file.h"
#include "indexer/query.h"
#include "indexer/schema.h"
#include "indexer/witness.h"
#include "segment/lock.h"
#include "segment/reader.h"
#include "segment/recovery.h"
#include "segment/set.h"
#include "tools/daybook/verb.h"

static bool index_has_unrepaired_gaps(const char *directory)
{
    sqlite3 *database = NULL;
    sqlite3_stmt *statement = NULL;
    if (indexer_query_open(directory, &database, NULL))
        return false;
    bool seen = sqlite3_prepare_v2(database,
                                   "SELECT 1 FROM gaps WHERE producer IS NULL AND cause = '"
                                   INDEXER_GAP_UNREPAIRED "'",
                                   -1, &statement, NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW;
    sqlite3_finalize(statement);
    sqlite3_close_v2(database);
    return seen;
}

/* Without a writer the last segment can be judged as the next writer will do it. */
static bool recovery_would_complain(int segments_fd, const struct segment_set *set,
                                    uint64_t witness)
{
    if (set->count == set->dead_count)
        return false;
    const struct segment_set_segment *last = &set->segments[set->count - 1];
    struct segment_recovery_scan scan;
    int fd = -1;
    if (file_open(segments_fd, last->name, FILE_READ, &fd, NULL))
        return false;
    enum error_code code =
        segment_recovery_scan(fd, last, last->sealed, witness, NULL, NULL, &scan, NULL);
    file_close(&fd);
    if (code)
        return code == ERROR_DAMAGED || code == ERROR_IO;
    return scan.verdict == RECOVERY_CORRUPT || scan.verdict == RECOVERY_DAMAGED_TAIL;
}

static bool files_are_damaged(int log_fd, int segments_fd, uint64_t witness)
{
    bool written = true, written_after = true;
    struct segment_set set = {0};
    if (segment_lock_is_held(log_fd, LOCK_WRITER, &written, NULL) ||
        segment_set_load(log_fd, segments_fd, &set, NULL))
        return false;
    enum error_code code = segment_set_check(&set, NULL);
    bool seen = code == ERROR_DAMAGED || code == ERROR_FOREIGN;
    if (!seen && !code && !written) {
        seen = recovery_would_complain(segments_fd, &set, witness);
        /* A writer that has come meanwhile was met in the middle of its work. */
        if (segment_lock_is_held(log_fd, LOCK_WRITER, &written_after, NULL) || written_after)
            seen = false;
    }
    segment_set_free(&set);
    return seen;
}

bool damage_is_seen(const char *directory, uint64_t durable)
{
    uint64_t witness = 0;
    int log_fd = -1, segments_fd = -1;
    if (indexer_witness(directory, &witness, NULL))
        witness = 0;
    if (witness < durable)
        witness = durable;
    bool seen = index_has_unrepaired_gaps(directory);
    if (!seen && !file_open_directory_to_read(directory, &log_fd, NULL) &&
        !file_open_directory_to_read_at(log_fd, "segments", &segments_fd, NULL))
        seen = files_are_damaged(log_fd, segments_fd, witness) &&
               files_are_damaged(log_fd, segments_fd, witness); /* a roll or retention between */
    file_close(&segments_fd);
    file_close(&log_fd);
    return seen;
}

/* For who has no reader of the log open. */
static bool is_seen_now(const char *directory)
{
    struct segment_reader *reader = NULL;
    uint64_t durable = 0;
    if (!segment_reader_open(directory, &reader, NULL))
        durable = segment_reader_watermark(reader);
    segment_reader_close(reader);
    return damage_is_seen(directory, durable);
}

void damage_warn_of_deleting(const char *verb, const char *directory)
{
    if (is_seen_now(directory))
        verb_say(verb,
                 "warning: the log is damaged: what is deleted cannot be repaired any more; see "
                 "'daybook verify -D %s --repair --dry-run'",
                 directory);
}

int damage_tell(const char *verb, const char *directory)
{
    if (!is_seen_now(directory))
        return STATUS_OK;
    verb_say(verb,
             "the log is damaged: the index may count events that can no longer be read; 'daybook "
             "verify -D %s' names what is damaged",
             directory);
    return STATUS_DAMAGE;
}
