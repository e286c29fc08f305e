/*
 * indexer/retention.h - delete the oldest whole segments of a log, by age, by size, or both.
 *
 * Order: the new lower bound becomes durable, then each file is unlinked, then the directory is
 * synced, then the index rows go. A run that was killed anywhere is finished by the next one, which
 * begins with the files below the bound.
 *
 * Never deleted: the last segment, a segment whose header or trailer cannot be read, and anything
 * behind one of those (totals.blocked tells). Nor what a cursor holds (segment/cursor.h;
 * totals.held), up to the size of its hold; beyond that it goes, and overrun is called. Works beside a writing daemon and beside
 * readers, which keep what they have open.
 */
#ifndef DAYBOOK_INDEXER_RETENTION_H
#define DAYBOOK_INDEXER_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* A cursor whose hold is used up loses events that are not done. */
struct indexer_retention_overrun {
    const char *cursor;
    uint64_t sequence_first, sequence_last; /* that go (or would) */
    uint64_t hold_bytes;
};

struct indexer_retention_options {
    int64_t max_age_ns; /* delete what arrived longer ago than this; 0: no limit */
    uint64_t max_bytes; /* keep at most so many bytes of segment files; 0: no limit */
    bool dry_run;       /* only say what would be deleted */
    /*
     * What time it is. 0: ask the clock, and distrust it: when it has jumped by more than an hour
     * (indexer/clock_guard.h), nothing is deleted by age and totals.frozen says why.
     */
    int64_t now_ns;
    /* Called for each cursor that loses events that it held, before they go. May be NULL. */
    void (*overrun)(void *context, const struct indexer_retention_overrun *overrun);
};

/* One segment that was deleted (or would be). */
struct indexer_retention_segment {
    char name[32];
    uint64_t sequence_first;
    uint64_t sequence_last; /* sequence_first - 1: it held no event */
    uint64_t bytes;
    int64_t arrival_last_ns; /* when its last event arrived; INT64_MIN: not known */
    bool unfinished;         /* left over by an earlier run that was interrupted */
};

enum indexer_retention_index {
    INDEXER_RETENTION_INDEX_NONE,    /* there is no index */
    INDEXER_RETENTION_INDEX_DONE,    /* the rows are gone too */
    INDEXER_RETENTION_INDEX_BUSY,    /* the daemon removes the rows: indexer_wait_for_bound */
    INDEXER_RETENTION_INDEX_FAILED,  /* see index_error; the next follower removes the rows */
    INDEXER_RETENTION_INDEX_SKIPPED, /* dry run */
};

struct indexer_retention_totals {
    uint64_t segments_deleted; /* with dry_run: would be */
    uint64_t bytes_deleted;
    uint64_t segments_left;
    uint64_t bytes_left;
    uint64_t bound; /* the first sequence that is left */
    enum indexer_retention_index index;
    char index_error[256];
    char frozen[256]; /* why nothing was deleted by age although it was asked for; "" usually */
    /* The segment that was asked for but cannot be deleted, and why; "" usually. */
    char blocked[256];
    /* The segment that was asked for but is held, and by which cursor; "" usually. */
    char held[256];
    /* A cursor that is damaged: what it held, if anything, is not known. "" usually. */
    char damaged_cursor[512];
};

/*
 * `deleted` (may be NULL) is called for each segment, oldest first, after it is gone; with dry_run,
 * for each that would go. ERROR_BUSY: another retention runs. ERROR_DAMAGED: the lower bound is
 * damaged. On an error part of the work may be done; run again.
 */
enum error_code indexer_retention_run(
    const char *path, const struct indexer_retention_options *options,
    void (*deleted)(void *context, const struct indexer_retention_segment *segment), void *context,
    struct indexer_retention_totals *totals_out, struct error *error);

#endif
