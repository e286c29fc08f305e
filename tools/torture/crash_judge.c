/* One state after a crash: read, recovered, recovered again, used again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "segment/opening.h"
#include "tools/torture/chance.h"
#include "tools/torture/clock.h"
#include "tools/torture/crash_inside.h"

enum { DEPTH_MAX = 3, RECOVERY_OPERATIONS = 28, APPEND_PERCENT = 6, SECOND_PERCENT = 50 };

struct torture_power crash_choose_power(uint64_t *chance)
{
    static const uint32_t units[] = {512, 512, 4096, 4096, 1 << 20};
    static const unsigned percents[] = {0, 10, 50, 50, 90, 100};
    return (struct torture_power){
        .unit_bytes = units[chance_below(chance, 5)],
        .survive_percent = percents[chance_below(chance, 6)],
        .torn = chance_happens(chance, 12),
        .size_first = chance_happens(chance, 50),
        .names = chance_happens(chance, 50) ? TORTURE_NAMES_EACH : TORTURE_NAMES_ORDERED,
        .names_survive_percent = percents[chance_below(chance, 6)],
    };
}

struct torture_disk *crash_make_disk(const struct torture_snapshot *snapshot,
                                     const struct crash_cause *cause)
{
    if (cause->kill)
        return torture_disk_after_kill(snapshot);
    return cause->exact ? torture_disk_after_nth_cut(snapshot, &cause->power, cause->seed)
                        : torture_disk_after_power_cut(snapshot, &cause->power, cause->seed);
}

bool crash_blame(struct crash_campaign *campaign, const struct crash_cause *cause)
{
    char how[96] = "a kill";
    if (!cause->kill)
        snprintf(how, sizeof how,
                 "a power cut (unit %" PRIu32 ", %u %% survive%s%s, %s %" PRIu64 ")",
                 cause->power.unit_bytes, cause->power.survive_percent,
                 cause->power.torn ? ", torn" : "",
                 cause->power.names == TORTURE_NAMES_EACH ? ", names each" : "",
                 cause->exact ? "subset" : "seed", cause->seed);
    error_prefix(campaign->failure,
                 "seed %" PRIu64 ", workload %" PRIu64 ", %s after operation %" PRIu64
                 ", crash number %u",
                 campaign->options.seed, campaign->number, how, cause->operation, cause->depth);
    return false;
}

static bool blame(struct crash_campaign *campaign, const struct crash_cause *cause,
                  const char *what)
{
    error_set(campaign->failure, ERROR_DAMAGED, "%s", what);
    return crash_blame(campaign, cause);
}

static bool read_log(struct crash_campaign *campaign, const struct torture_mark *mark,
                     const struct crash_cause *cause, const char *when,
                     struct torture_reading *reading_out)
{
    if (torture_oracle_read(campaign->oracle, mark, CRASH_PATH, cause->torn, reading_out,
                            campaign->failure))
        return true;
    error_prefix(campaign->failure, "%s", when);
    return crash_blame(campaign, cause);
}

/* The operation of a recovery after which the second crash comes. */
struct second_crash {
    uint64_t wanted;
    struct torture_snapshot *snapshot;
    enum torture_disk_kind kind;
};

static void watch_recovery(void *context, struct torture_disk *disk,
                           const struct torture_disk_operation *operation)
{
    struct second_crash *second = context;
    if (operation->number != second->wanted)
        return;
    second->snapshot = torture_disk_snapshot(disk);
    second->kind = operation->kind;
}

enum error_code crash_recover(struct crash_campaign *campaign,
                              struct segment_recovery_report *report, struct error *error)
{
    struct segment_opening opening;
    enum error_code code = segment_opening_run(CRASH_PATH, &campaign->log, &opening, report, error);
    if (!code)
        segment_opening_release(&opening);
    return code;
}

/*
 * Acknowledged events were lost, loudly, as a disk that tears may have it. But not when every
 * commit has pages of its own, unless the disk tears more than a page or recovery was rewriting
 * them.
 */
static bool judge_loss(struct crash_campaign *campaign, const struct crash_cause *cause,
                       uint64_t missing_acked)
{
    uint32_t align = campaign->log.commit_align;
    if (missing_acked == 0)
        return true;
    campaign->counts.loud_losses++;
    campaign->counts.loud_by_align[align == 8 ? 0 : align == 512 ? 1 : 2]++;
    if (align < 4096 || cause->depth > 1 || cause->power.unit_bytes > 4096)
        return true;
    return blame(campaign, cause, "commit_align is 4096, and a torn page cost acknowledged events");
}

/*
 * Acknowledged events are missing from the middle, or all of them, and no word of it. Of the last
 * ones a disk that tears may leave no trace at all.
 */
static bool is_silent(const struct torture_reading *reading)
{
    return reading->missing_acked > 0 && reading->damage == 0 &&
           (reading->events == 0 || reading->missing_first < reading->sequence_last);
}

/* Recovery refused: right only on a disk that tears, and then readers hear of it as well. */
static bool judge_refusal(struct crash_campaign *campaign, const struct crash_cause *cause,
                          const struct torture_reading *before, const struct error *why)
{
    if (!cause->torn || why->code != ERROR_DAMAGED) {
        error_set(campaign->failure, why->code, "a false alarm: %s", why->text);
        return crash_blame(campaign, cause);
    }
    campaign->counts.refused++;
    if (is_silent(before)) {
        error_set(campaign->failure, ERROR_DAMAGED,
                  "reading is silent about %" PRIu64
                  " acknowledged events that are lost, while writing is refused: %s",
                  before->missing_acked, why->text);
        return crash_blame(campaign, cause);
    }
    return judge_loss(campaign, cause, before->missing_acked);
}

static bool judge_report(struct crash_campaign *campaign, const struct torture_mark *mark,
                         const struct crash_cause *cause,
                         const struct segment_recovery_report *report,
                         const struct torture_reading *after)
{
    uint64_t used = mark->written;
    bool damaged = report->verdict == RECOVERY_DAMAGED_TAIL;
    campaign->counts.by_verdict[report->verdict]++;
    if (damaged && !cause->torn)
        return blame(campaign, cause, "a false alarm: the verdict is 'damaged tail'");
    if (report->sequence_next <= used) {
        error_set(campaign->failure, ERROR_DAMAGED,
                  "the next sequence is %" PRIu64 ", but up to %" PRIu64
                  " all may have been told (D6)",
                  report->sequence_next, used);
        return crash_blame(campaign, cause);
    }
    if (after->missing_acked > 0 && !damaged && after->damage == 0) {
        error_set(campaign->failure, ERROR_DAMAGED,
                  "the verdict is '%s', nothing was reported, and %" PRIu64
                  " acknowledged events are gone",
                  segment_recovery_verdict_text(report->verdict), after->missing_acked);
        return crash_blame(campaign, cause);
    }
    return judge_loss(campaign, cause, after->missing_acked);
}

/* Recovering what was recovered changes nothing, on this boot or the next. */
static bool judge_again(struct crash_campaign *campaign, const struct torture_mark *mark,
                        const struct crash_cause *cause, const struct torture_reading *first)
{
    struct segment_recovery_report report;
    struct torture_reading again;
    struct error why;
    if (chance_happens(&campaign->chance, 50))
        torture_clock_reboot();
    enum error_code code = crash_recover(campaign, &report, &why);
    if (code) {
        error_set(campaign->failure, code, "recovering a second time: %s", why.text);
        return crash_blame(campaign, cause);
    }
    if (!read_log(campaign, mark, cause, "after a second recovery", &again))
        return false;
    if (again.hash != first->hash || again.events != first->events)
        return blame(campaign, cause, "a second recovery gives other events than the first");
    return true;
}

/* Use the log: publish, retry, stop, read. */
static bool use(struct crash_campaign *campaign, struct torture_disk *disk,
                struct torture_oracle *oracle, const struct torture_mark *mark)
{
    struct torture_workload_start start = {
        .oracle = oracle,
        .disk = disk,
        .path = CRASH_PATH,
        .seed = chance_draw(&campaign->chance),
        .content_seed = campaign->content_seed,
        .options = campaign->log,
        .mark = *mark,
    };
    struct segment_recovery_report report;
    struct torture_workload *workload = torture_workload_open(&start, &report, campaign->failure);
    struct torture_mark end;
    struct torture_reading reading;
    bool good = workload != NULL;
    for (int i = 0; good && i < 2; i++)
        good = torture_workload_step(workload, campaign->failure);
    if (good)
        good = torture_workload_stop(workload, campaign->failure);
    if (good)
        torture_workload_mark(workload, &end);
    torture_workload_free(workload);
    return good &&
           torture_oracle_read(oracle, &end, CRASH_PATH, false, &reading, campaign->failure);
}

static bool judge_use(struct crash_campaign *campaign, struct torture_disk *disk,
                      const struct torture_mark *mark, const struct crash_cause *cause)
{
    struct torture_oracle *oracle = torture_oracle_copy(campaign->oracle);
    bool good = torture_oracle_go_on(oracle, mark, mark->written, CRASH_PATH, campaign->failure) &&
                use(campaign, disk, oracle, mark);
    torture_oracle_free(oracle);
    campaign->counts.appended_after++;
    if (good)
        return true;
    error_prefix(campaign->failure, "using the log after recovery");
    return crash_blame(campaign, cause);
}

static bool judge_second(struct crash_campaign *campaign, const struct torture_mark *mark,
                         const struct crash_cause *cause, const struct second_crash *second)
{
    for (int i = 0; i < 2; i++) {
        struct crash_cause next = {
            .kill = chance_happens(&campaign->chance, 15),
            .power = crash_choose_power(&campaign->chance),
            .seed = chance_draw(&campaign->chance),
            .depth = cause->depth + 1,
            .torn = cause->torn,
            .power_lost = cause->power_lost,
            .boot = cause->boot,
            .kind = second->kind,
            .operation = second->wanted,
        };
        next.power.torn &= cause->torn;
        next.boot += !next.kill;
        struct torture_disk *disk = crash_make_disk(second->snapshot, &next);
        if (!crash_judge(campaign, disk, mark, &next))
            return crash_blame(campaign, cause);
    }
    return true;
}

static void count(struct torture_crash_counts *counts, const struct torture_disk *disk,
                  const struct torture_mark *mark, const struct crash_cause *cause,
                  const struct segment_log_options *log)
{
    struct torture_disk_losses losses;
    torture_disk_read_losses(disk, &losses);
    counts->states++;
    counts->by_kind[cause->kind]++;
    counts->kills += cause->kill;
    if (!cause->kill)
        counts->by_unit[cause->power.unit_bytes == 512    ? 0
                        : cause->power.unit_bytes == 4096 ? 1
                                                          : 2]++;
    counts->exhaustive += cause->exact;
    counts->second += cause->depth == 2;
    counts->third += cause->depth > 2;
    counts->names_lost += losses.names_lost > 0;
    counts->units_lost += losses.units_lost > 0;
    counts->units_between += losses.units_between > 0;
    counts->units_torn += losses.units_torn > 0;
    counts->lengths_lost += losses.lengths_lost > 0;
    counts->by_map += log->write_path == LOG_WRITE_MMAP;
    counts->by_align[log->commit_align == 8 ? 0 : log->commit_align == 512 ? 1 : 2]++;
    counts->after_retention += mark->bound_wanted > 1;
}

static bool judge_mounted(struct crash_campaign *campaign, struct torture_disk *disk,
                          const struct torture_mark *mark, const struct crash_cause *cause)
{
    struct torture_reading before, after;
    struct segment_recovery_report report;
    struct error why;
    struct second_crash second = {0};
    if (cause->depth < DEPTH_MAX && chance_happens(&campaign->chance, SECOND_PERCENT))
        second.wanted = 1 + chance_below(&campaign->chance, RECOVERY_OPERATIONS);

    torture_clock_set_boot(cause->boot);
    if (!read_log(campaign, mark, cause, "reading before recovery", &before))
        return false;
    torture_disk_watch(disk, watch_recovery, &second);
    enum error_code code = crash_recover(campaign, &report, &why);
    torture_disk_watch(disk, NULL, NULL);
    bool good;
    if (code) {
        good = judge_refusal(campaign, cause, &before, &why);
    } else {
        good = read_log(campaign, mark, cause, "after recovery", &after) &&
               judge_report(campaign, mark, cause, &report, &after);
        if (good && cause->power_lost && cause->depth == 1 && !cause->torn &&
            (after.hash != before.hash || after.events != before.events))
            good = blame(campaign, cause, "recovery gives other events than reading alone");
        if (good)
            good = judge_again(campaign, mark, cause, &after);
        if (good && !cause->torn && chance_happens(&campaign->chance, APPEND_PERCENT))
            good = judge_use(campaign, disk, mark, cause);
    }
    torture_disk_mount(NULL, CRASH_MOUNT);
    if (good && second.snapshot)
        good = judge_second(campaign, mark, cause, &second);
    torture_snapshot_free(second.snapshot);
    return good;
}

/*
 * Chance and time go on as they were: what comes later must not depend on whether this state was
 * met before, or a workload alone would not repeat what it did among others.
 */
bool crash_judge(struct crash_campaign *campaign, struct torture_disk *disk,
                 const struct torture_mark *mark, const struct crash_cause *cause)
{
    bool good = true;
    if (crash_seen_add(&campaign->seen, torture_disk_hash(disk))) {
        uint64_t chance = campaign->chance;
        struct torture_clock_moment moment = torture_clock_save();
        campaign->chance = cause->seed ^ cause->depth;
        count(&campaign->counts, disk, mark, cause, &campaign->log);
        torture_disk_mount(disk, CRASH_MOUNT);
        good = judge_mounted(campaign, disk, mark, cause);
        campaign->chance = chance;
        torture_clock_restore(&moment);
    } else {
        campaign->counts.repeated++;
    }
    torture_disk_free(disk);
    return good;
}
