/* The beginning and the end of a case of the fault campaign, and what must hold afterwards. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "segment/verify.h"
#include "tests/campaigns/faults.h"

enum { SMALL = 65536 };

void faults_case_prepare(struct faults_case *c, struct faults_ledger *start)
{
    static const struct faults_plan nothing = {.kind = FAULTS_KINDS};

    c->ledger = (struct faults_ledger){0};
    c->state = c->seed;
    c->plan = nothing;
    faults_place_clear(c->place);
    file_calls_use(faults_start(faults_place_calls(c->place), &c->plan));
    if (c->scenario->prepare)
        c->scenario->prepare(c);
    else
        faults_place_keep(c->place);
    file_calls_use(faults_place_calls(c->place));
    faults_stop();
    *start = c->ledger;
}

void faults_case_begin(struct faults_case *c, const struct faults_ledger *start)
{
    faults_place_restore(c->place);
    c->ledger = *start;
    c->state = c->seed;
    c->refused = c->broken = false;
    atomic_store(&c->hits, 0);
    atomic_store(&c->failed_hits, 0);
    atomic_store(&c->latched, false);
}

/* D8: the disk is well again, and nevertheless nothing is acknowledged by this log. */
static void check_latch(struct faults_case *c)
{
    struct error error = {0};
    struct segment_log *log = c->log;

    while (!segment_log_failure(log, &error))
        usleep(100);
    if (!strstr(error.text, ".seg"))
        faults_case_blame(c, "the failure does not name the segment: %s", error.text);
    if (segment_log_appended(log) > segment_log_durable(log)) {
        enum error_code code = segment_log_wait(log, segment_log_appended(log), &error);
        if (!code || !strstr(error.text, "unknown"))
            faults_case_blame(c, "who waits is not told that the outcome is unknown: %s",
                              error.text);
    }
    if (faults_case_append(c, 100))
        faults_case_blame(c, "an event is taken after the first error");
    if (segment_log_durable(log) != atomic_load(&c->durable_then))
        faults_case_blame(c,
                          "after the first error events up to %" PRIu64 " instead of %" PRIu64
                          " are called durable",
                          segment_log_durable(log), atomic_load(&c->durable_then));
    faults_case_check_events(c, "while the log has failed");
}

static void check_balance(struct faults_case *c)
{
    struct faults_counts counts;

    faults_count(&counts);
    if (counts.fds_open || counts.maps_open)
        faults_case_blame(c, "%" PRIu64 " descriptors and %" PRIu64 " maps are left open",
                          counts.fds_open, counts.maps_open);
}

/* An event whose outcome is not known is sent again, under the same number. */
static void send_again(struct faults_case *c, uint64_t id)
{
    uint8_t *payload = faults_case_payload(id, c->ledger.events[id].bytes);
    struct event event = {
        .time_ns = (int64_t)id * 1000000000,
        .topic = "again",
        .topic_bytes = 5,
        .payload = payload,
        .payload_bytes = c->ledger.events[id].bytes,
        .producer = "someone",
        .producer_bytes = 7,
        .number = id,
    };
    enum segment_log_outcome outcome;
    struct error error = {0};
    uint64_t sequence;
    enum error_code code = segment_log_append(c->log, &event, &outcome, &sequence, &error);

    free(payload);
    if (!faults_case_took(c, code, &error))
        return;
    if ((outcome == LOG_DUPLICATE) != c->ledger.events[id].seen)
        faults_case_blame(c, "event number %" PRIu64 " is %s the log, and a retry of it %s", id,
                          c->ledger.events[id].seen ? "in" : "not in",
                          outcome == LOG_DUPLICATE ? "is called a duplicate" : "is stored again");
    if (outcome != LOG_APPENDED)
        return;
    for (uint64_t other = 1; other <= c->ledger.count; other++)
        if (c->ledger.events[other].seen && c->ledger.events[other].sequence == sequence)
            faults_case_blame(c, "sequence %" PRIu64 " is given twice", sequence);
    c->ledger.events[id].sequence = sequence;
}

static void no_finding(void *context, const struct segment_verify_finding *finding)
{
    faults_case_blame(context, "the recovered log is damaged: %s", finding->text);
}

static void check_reopened(struct faults_case *c)
{
    struct segment_verify_totals totals;
    struct error error = {0};

    faults_case_check_events(c, "before it is opened again");
    if (!faults_case_open(c, SMALL))
        return;
    faults_case_check_events(c, "after recovery");
    uint64_t last = c->ledger.count;
    while (last > 0 && !c->ledger.events[last].seen)
        last--;
    /* A lost one before others that are there counts as a duplicate: numbers only go up. */
    for (uint64_t id = last ? last : 1; id <= c->ledger.count; id++)
        if (c->ledger.events[id].sequence > 0 && !c->ledger.events[id].acknowledged &&
            !c->ledger.events[id].retired)
            send_again(c, id);
    if (faults_case_append(c, 50) && faults_case_append(c, 5000))
        faults_case_commit(c);
    faults_case_close(c);
    faults_case_check_events(c, "after it was opened again");
    faults_case_took(
        c, segment_verify_log(faults_place_path(c->place), no_finding, NULL, c, &totals, &error),
        &error);
    if (c->scenario->check)
        c->scenario->check(c);
}

/* The log is closed, or its process killed, or the power cut; the case chooses. */
enum faults_end faults_case_finish(struct faults_case *c)
{
    uint64_t way = (c->plan.number + c->plan.kind + c->plan.for_ever + c->seed) % 3;

    if (c->log)
        faults_case_note_acks(c);
    faults_case_note_bound(c);
    if (c->log && atomic_load(&c->latched))
        check_latch(c);
    /* A full block is committed without being waited for. */
    if (way > 0 && c->log && faults_place_freezes_slowly(c->place))
        segment_log_settle(c->log);
    if (way > 0)
        faults_place_freeze(c->place);
    struct faults_ledger then = c->ledger;
    faults_case_close(c);
    check_balance(c);
    if (way > 0)
        c->ledger = then;
    file_calls_use(faults_place_calls(c->place));
    faults_stop();
    enum faults_end end = way > 0 ? FAULTS_KILLED : FAULTS_STOPPED;
    if (way == 2 && faults_place_after_power_cut(c->place, c->seed + c->plan.number))
        end = FAULTS_CUT;
    if (end == FAULTS_KILLED)
        faults_place_after_kill(c->place);
    atomic_store(&c->failed_hits, 0);
    check_reopened(c);
    return end;
}
