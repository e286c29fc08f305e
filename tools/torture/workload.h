/*
 * tools/torture/workload.h - a log in use on a simulated disk, driven by a seed: producers that
 * publish and retry, commits of one and of many blocks, idle times, rolls, retention, packing,
 * clean stops.
 *
 * The log's threads take turns with the caller at known points, so that a seed gives the same
 * operations in the same order.
 *
 * Needs file_calls_use(torture_disk_calls()) and torture_clock_use.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_WORKLOAD_H
#define DAYBOOK_TOOLS_TORTURE_WORKLOAD_H

#include "segment/log.h"
#include "tools/torture/disk.h"
#include "tools/torture/oracle.h"

struct torture_workload;

struct torture_workload_counts {
    uint64_t appended, acknowledged, duplicates, commits, rolls, idles, retentions, packed, stops;
    uint64_t many_blocks; /* commits of more than one block */
};

/*
 * Called at each operation on the disk; see torture_disk_watch. May take snapshots by
 * torture_workload_snapshot.
 */
typedef void (*torture_workload_watcher)(void *context, struct torture_workload *workload,
                                         const struct torture_disk_operation *operation);

/* Borrows everything. The log is in `path`, on a disk that is mounted. */
struct torture_workload_start {
    struct torture_oracle *oracle;
    struct torture_disk *disk;
    const char *path;
    uint64_t seed;         /* of the steps */
    uint64_t content_seed; /* of the events: the same one after a crash, for retries */
    struct segment_log_options options;
    struct torture_mark mark; /* where the log stands before it is opened */
    torture_workload_watcher watcher;
    void *context;
};
/* Opens the log. NULL: *failure_out says what was wrong. */
struct torture_workload *torture_workload_open(const struct torture_workload_start *start,
                                               struct segment_recovery_report *report_out,
                                               struct error *failure_out);
/* One random step. False: something promised did not hold. */
bool torture_workload_step(struct torture_workload *workload, struct error *failure_out);
/* How far the log is. */
void torture_workload_mark(struct torture_workload *workload, struct torture_mark *mark_out);
/*
 * For the watcher: the disk at this instant, and how far the log was. Another thread may store
 * through a map meanwhile: *mark_out has what was acknowledged before, and what was appended then.
 */
struct torture_snapshot *torture_workload_snapshot(struct torture_workload *workload,
                                                   struct torture_mark *mark_out);
void torture_workload_count(const struct torture_workload *workload,
                            struct torture_workload_counts *counts_out);
/* Stop the log in order. */
bool torture_workload_stop(struct torture_workload *workload, struct error *failure_out);
/* After a stop, or instead of it: whatever becomes of this log and its disk does not matter. */
void torture_workload_free(struct torture_workload *workload);

#endif
