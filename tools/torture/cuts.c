#include "tools/torture/cuts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "segment/log.h"
#include "tools/torture/chance.h"
#include "tools/torture/clock.h"
#include "tools/torture/disk.h"
#include "tools/torture/oracle.h"
#include "tools/torture/transfer.h"
#include "tools/torture/workload.h"

#define MOUNT     "/simulated"
#define SIMULATED MOUNT "/log"
enum { PICKS_MAX = 12, STEPS_MAX = 20 };

struct pick {
    struct torture_snapshot *snapshot;
    struct torture_mark mark;
};

struct torture_cuts {
    char *path; /* where the real logs are made */
    uint64_t seed, chance;
    uint64_t workloads;
    struct segment_log_options log;
    struct torture_oracle *oracle;
    /* Instants of the workload at hand, by chance; those before pick_next are used up. */
    struct pick picks[PICKS_MAX];
    size_t pick_count, pick_next;
    uint64_t operations;
    struct torture_cuts_counts counts;
};

enum error_code torture_cuts_create(const char *path, uint64_t seed, struct torture_cuts **cuts_out,
                                    struct error *error)
{
    struct torture_cuts *cuts = calloc(1, sizeof *cuts);

    if (cuts)
        cuts->path = strdup(path);
    if (!cuts || !cuts->path) {
        free(cuts);
        return error_set(error, ERROR_MEMORY, "no memory for the power cuts");
    }
    cuts->seed = cuts->chance = seed;
    *cuts_out = cuts;
    return OK;
}

static void forget_workload(struct torture_cuts *cuts)
{
    for (size_t i = 0; i < cuts->pick_count; i++)
        torture_snapshot_free(cuts->picks[i].snapshot);
    cuts->pick_count = cuts->pick_next = 0;
    cuts->operations = 0;
    torture_oracle_free(cuts->oracle);
    cuts->oracle = NULL;
}

void torture_cuts_free(struct torture_cuts *cuts)
{
    if (!cuts)
        return;
    forget_workload(cuts);
    free(cuts->path);
    free(cuts);
}

void torture_cuts_count(const struct torture_cuts *cuts, struct torture_cuts_counts *counts_out)
{
    *counts_out = cuts->counts;
}

/* Each operation has the same chance to be among the picks. */
static void watch(void *context, struct torture_workload *workload,
                  const struct torture_disk_operation *operation)
{
    struct torture_cuts *cuts = context;
    uint64_t met = cuts->operations++;
    uint64_t slot = met < PICKS_MAX ? met : chance_below(&cuts->chance, met + 1);

    (void)operation;
    if (slot >= PICKS_MAX)
        return;
    if (slot < cuts->pick_count)
        torture_snapshot_free(cuts->picks[slot].snapshot);
    else
        cuts->pick_count++;
    cuts->picks[slot].snapshot = torture_workload_snapshot(workload, &cuts->picks[slot].mark);
}

static bool run_steps(struct torture_cuts *cuts, struct torture_disk *disk, struct error *error)
{
    struct torture_workload_start start = {
        .oracle = cuts->oracle,
        .disk = disk,
        .path = SIMULATED,
        .seed = chance_draw(&cuts->chance),
        .content_seed = chance_draw(&cuts->chance),
        .options = cuts->log,
        .mark = {.bound_durable = 1, .bound_wanted = 1},
        .watcher = watch,
        .context = cuts,
    };
    struct torture_workload *workload = torture_workload_open(&start, NULL, error);
    bool good = workload != NULL;

    for (uint64_t left = 3 + chance_below(&cuts->chance, STEPS_MAX); good && left > 0; left--)
        good = torture_workload_step(workload, error);
    if (good && chance_happens(&cuts->chance, 25))
        good = torture_workload_stop(workload, error);
    torture_disk_watch(disk, NULL, NULL);
    torture_workload_free(workload);
    return good;
}

/* A log that is used for a while, on a new simulated disk. */
static enum error_code run_workload(struct torture_cuts *cuts, struct error *error)
{
    static const uint32_t aligns[] = {8, 8, 512, 4096};

    forget_workload(cuts);
    cuts->workloads++;
    cuts->oracle = torture_oracle_create();
    cuts->log = (struct segment_log_options){
        .segment_bytes = FORMAT_SEGMENT_BYTES_MIN,
        .segment_age_ns = TORTURE_CLOCK_NEVER_NS,
        .write_path = chance_happens(&cuts->chance, 35) ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
        .commit_align = aligns[chance_below(&cuts->chance, 4)],
    };
    struct torture_disk *disk = torture_disk_create(0);
    file_calls_use(torture_disk_calls());
    torture_clock_use(cuts->seed + cuts->workloads);
    torture_disk_mount(disk, MOUNT);
    bool good = run_steps(cuts, disk, error);
    torture_disk_mount(NULL, MOUNT);
    torture_disk_free(disk);
    torture_clock_release();
    file_calls_use(NULL);
    return good ? OK : error_prefix(error, "workload %" PRIu64, cuts->workloads);
}

/* Cut, and put what is left into `path` on the real disk. *left_out: was there any log? */
static enum error_code cut(struct torture_cuts *cuts, const struct pick *pick, const char *path,
                           bool *left_out, struct error *error)
{
    static const uint32_t units[] = {512, 512, 4096, 4096, 1 << 20};
    static const unsigned percents[] = {0, 10, 50, 90, 100};
    struct torture_power power = {
        .unit_bytes = units[chance_below(&cuts->chance, 5)],
        .survive_percent = percents[chance_below(&cuts->chance, 5)],
        .size_first = chance_happens(&cuts->chance, 50),
        .names = chance_happens(&cuts->chance, 50) ? TORTURE_NAMES_EACH : TORTURE_NAMES_ORDERED,
        .names_survive_percent = percents[chance_below(&cuts->chance, 5)],
    };
    struct torture_disk *disk =
        torture_disk_after_power_cut(pick->snapshot, &power, chance_draw(&cuts->chance));

    torture_disk_mount(disk, MOUNT);
    enum error_code code = torture_transfer_tree(torture_disk_calls(), SIMULATED, path, error);
    torture_disk_mount(NULL, MOUNT);
    torture_disk_free(disk);
    *left_out = code != ERROR_NOT_FOUND;
    return code == ERROR_NOT_FOUND ? OK : code;
}

static enum error_code broken(struct error *error, enum error_code code, const char *when)
{
    /* What is wrong with the machine is not the log's fault. */
    if (code == ERROR_NO_SPACE || code == ERROR_MEMORY)
        return error_prefix(error, "%s", when);
    error->code = ERROR_DAMAGED;
    return error_prefix(error, "%s", when);
}

static enum error_code recover(struct torture_cuts *cuts, const char *path,
                               struct segment_recovery_report *report_out, struct error *error)
{
    struct segment_log *log = NULL;
    enum error_code code = segment_log_open(path, &cuts->log, &log, report_out, error);

    return code ? code : segment_log_close(log, error);
}

static enum error_code judge(struct torture_cuts *cuts, const struct pick *pick, const char *path,
                             struct error *error)
{
    const struct torture_mark *mark = &pick->mark;
    struct torture_reading before, after;
    struct segment_recovery_report report;

    if (!torture_oracle_read(cuts->oracle, mark, path, false, &before, error))
        return broken(error, error->code, "reading what the power cut left");
    enum error_code code = recover(cuts, path, &report, error);
    if (code)
        return broken(error, code, "recovering");
    if (report.verdict == RECOVERY_DAMAGED_TAIL)
        return error_set(error, ERROR_DAMAGED, "recovery calls an honest torn end damage");
    if (report.sequence_next <= mark->written)
        return error_set(error, ERROR_DAMAGED,
                         "the next sequence is %" PRIu64 ", but up to %" PRIu64 " all were given",
                         report.sequence_next, mark->sequence_given);
    if (!torture_oracle_read(cuts->oracle, mark, path, false, &after, error))
        return broken(error, error->code, "reading after recovery");
    if (before.hash != after.hash || before.events != after.events)
        return error_set(error, ERROR_DAMAGED, "recovery gives other events than reading alone");
    cuts->counts.states++;
    cuts->counts.torn += report.verdict == RECOVERY_TORN;
    cuts->counts.acknowledged += mark->acknowledged;
    return OK;
}

enum error_code torture_cuts_once(struct torture_cuts *cuts, struct error *error)
{
    char path[PATH_MAX];
    bool left = false;
    enum error_code code = OK;

    if (cuts->pick_next == cuts->pick_count)
        code = run_workload(cuts, error);
    if (code)
        return code;
    const struct pick *pick = &cuts->picks[cuts->pick_next++];
    snprintf(path, sizeof path, "%s/log", cuts->path);
    code = cut(cuts, pick, path, &left, error);
    if (!code && left)
        code = judge(cuts, pick, path, error);
    if (!code && left)
        code = torture_transfer_delete(path, error);
    return code;
}
