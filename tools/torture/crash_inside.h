/*
 * tools/torture/crash_inside.h - what the files crash*.c share.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CRASH_INSIDE_H
#define DAYBOOK_TOOLS_TORTURE_CRASH_INSIDE_H

#include "tools/torture/crash.h"
#include "tools/torture/crash_seen.h"

#define CRASH_MOUNT "/simulated"
#define CRASH_PATH  CRASH_MOUNT "/log"

/* How a state came about; enough to make it again. */
struct crash_cause {
    bool kill;  /* else a power cut */
    bool exact; /* the `seed`-th of all cuts, else by chance */
    struct torture_power power;
    uint64_t seed;
    unsigned depth; /* 1: the first crash */
    /* Of this crash or an earlier one: */
    bool torn;       /* damage may be found */
    bool power_lost; /* the first crash took the machine's memory with it */
    uint64_t boot;   /* of the machine after the crash */
    enum torture_disk_kind kind;
    uint64_t operation;
};

struct crash_campaign;
/* Judge one state and free its disk. False: *failure is set. */
typedef bool (*crash_judgement)(struct crash_campaign *campaign, struct torture_disk *disk,
                                const struct torture_mark *mark, const struct crash_cause *cause);

struct crash_campaign {
    struct torture_crash_options options;
    crash_judgement judge;
    void *judge_context;
    struct torture_crash_counts counts;
    struct error *failure;
    struct crash_seen seen;
    double started;
    /* Of the workload at hand: */
    uint64_t number;
    uint64_t chance;
    uint64_t content_seed;
    struct segment_log_options log;
    struct torture_oracle *oracle;
};

/* A rule by chance. */
struct torture_power crash_choose_power(uint64_t *chance);
/* The disk that a crash leaves. */
struct torture_disk *crash_make_disk(const struct torture_snapshot *snapshot,
                                     const struct crash_cause *cause);
/* Open the log in CRASH_PATH as a writer does, and leave it at once. */
enum error_code crash_recover(struct crash_campaign *campaign,
                              struct segment_recovery_report *report_out, struct error *error);
/* Judge one state, and those that a second crash makes of it. */
bool crash_judge(struct crash_campaign *campaign, struct torture_disk *disk,
                 const struct torture_mark *mark, const struct crash_cause *cause);
/* Make states and hand them to campaign->judge, until it is over. */
bool crash_run(struct crash_campaign *campaign);
/* The state was wrong: complete the failure by how to get there. Returns false. */
bool crash_blame(struct crash_campaign *campaign, const struct crash_cause *cause);

#endif
