/*
 * tools/torture/crash.h - the crash-state campaign: random workloads on a simulated disk, cut off
 * at their operations, and every state that can be left behind judged.
 *
 * For each state: reading alone gives nothing but true events and every acknowledged one; recovery
 * says no false alarm and gives the same; recovering again changes nothing; a second crash, inside
 * of that recovery, obeys the same; appending afterwards works, retries are duplicates, and no
 * sequence is given twice. On disks that may tear what is on its way, loss must be loud.
 *
 * A workload is reproduced by the campaign's seed and its own number.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CRASH_H
#define DAYBOOK_TOOLS_TORTURE_CRASH_H

#include "core/error.h"
#include "segment/recovery.h"
#include "tools/torture/disk.h"
#include "tools/torture/workload.h"

struct torture_crash_counts {
    uint64_t workloads, generations;
    uint64_t states;                       /* judged: no two have the same names and bytes */
    uint64_t repeated;                     /* met again, and not judged again */
    uint64_t by_kind[TORTURE_DISK_KINDS];  /* cut right after such an operation */
    uint64_t by_unit[3];                   /* 512 bytes, 4 KiB, 1 MiB */
    uint64_t kills, exhaustive, exhausted; /* the last: snapshots of which all subsets were tried */
    uint64_t second, third;                /* crashes inside of a recovery, and again */
    uint64_t names_lost, units_lost, units_between, units_torn, lengths_lost; /* states with such */
    uint64_t by_verdict[RECOVERY_CORRUPT + 1];
    uint64_t refused;          /* damage found, writing refused: only on disks that tear */
    uint64_t loud_by_align[3]; /* of the next, by commit_align */
    uint64_t loud_losses;      /* states where that cost acknowledged events */
    uint64_t appended_after;   /* states in which the log was used again */
    uint64_t by_map;           /* states left by stores through a map */
    uint64_t by_align[3];      /* 8, 512, 4096 */
    uint64_t after_retention;
    struct torture_workload_counts workload;
};

struct torture_crash_options {
    uint64_t seed;
    uint64_t states;   /* stop after so many; 0: no limit */
    double seconds;    /* or after so long; 0: no limit */
    uint64_t workload; /* run this one alone; 0: all, from 1 */
    /* Called now and then, with the counts so far; false stops. May be NULL. */
    bool (*progress)(void *context, const struct torture_crash_counts *counts);
    void *context;
};

/* False: *failure_out tells the promise that was broken, and how to repeat it. */
bool torture_crash_run(const struct torture_crash_options *options,
                       struct torture_crash_counts *counts_out, struct error *failure_out);

#endif
