/* Scenarios of the fault campaign: a log is made, written, rolled, sealed, stopped. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/packer.h"
#include "segment/preparer.h"
#include "tests/campaigns/faults.h"

enum { SMALL = 65536, LARGE = 4 * SMALL };

/* A log that was stopped cleanly, with a few events in it. */
static void prepare_few(struct faults_case *c)
{
    if (faults_case_open(c, SMALL))
        for (uint64_t i = 2 + faults_case_random(c, 4); i > 0; i--)
            faults_case_append(c, 30 + faults_case_random(c, 3000));
    faults_case_commit(c);
    faults_case_close(c);
    faults_place_keep(c->place);
}

static void prepare_empty(struct faults_case *c)
{
    faults_case_open(c, SMALL);
    faults_case_close(c);
    faults_place_keep(c->place);
}

static void make_log(struct faults_case *c)
{
    faults_case_open(c, SMALL);
}

/* A producer that waits, as the daemon's clients do, for something that it did not send last. */
struct waiter {
    struct faults_case *c;
    uint64_t sequence;
    enum error_code code;
    struct error error;
    pthread_t thread;
};

static void *wait_for_it(void *context)
{
    struct waiter *waiter = context;
    waiter->code = segment_log_wait(waiter->c->log, waiter->sequence, &waiter->error);
    return NULL;
}

static void check_waiter(struct faults_case *c, const struct waiter *waiter)
{
    if (waiter->code && !strstr(waiter->error.text, "unknown"))
        faults_case_blame(c, "a waiting producer is not told that the outcome is unknown: %s",
                          waiter->error.text);
    if (!waiter->code && segment_log_durable(c->log) < waiter->sequence)
        faults_case_blame(c, "a wait ends well although nothing is durable");
    faults_case_took(c, waiter->code, &waiter->error);
}

/* Nothing here needs a new segment, so no wait is without an end. */
static void append_and_commit(struct faults_case *c)
{
    enum { GROUPS = 4, WAITERS = 2 };

    if (!faults_case_open(c, SMALL))
        return;
    for (int group = 0; group < GROUPS && !c->refused; group++) {
        struct waiter waiters[WAITERS];
        int count = 0;
        for (; count < WAITERS && faults_case_append(c, 40 + faults_case_random(c, 900)); count++)
            waiters[count] = (struct waiter){.c = c, .sequence = segment_log_appended(c->log)};
        faults_case_exempt++;
        for (int i = 0; i < count; i++)
            if (pthread_create(&waiters[i].thread, NULL, wait_for_it, &waiters[i]))
                abort();
        faults_case_exempt--;
        for (int i = 0; i < count; i++)
            pthread_join(waiters[i].thread, NULL);
        for (int i = 0; i < count; i++)
            check_waiter(c, &waiters[i]);
        faults_case_note_acks(c);
    }
}

static void write_many_blocks(struct faults_case *c)
{
    if (!faults_case_open(c, LARGE))
        return;
    for (int group = 0; group < 5; group++) {
        for (int i = 0; i < 20; i++)
            if (!faults_case_append(c, 1000 + faults_case_random(c, 5000)))
                return;
        if (!faults_case_commit(c))
            return;
    }
}

static void roll(struct faults_case *c)
{
    if (!faults_case_open(c, SMALL))
        return;
    for (int i = 0; i < 20; i++)
        if (!faults_case_append(c, 6000 + faults_case_random(c, 6000)) || !faults_case_commit(c))
            return;
}

static bool has_rolled(struct faults_case *c)
{
    struct segment_log_counters counters;
    segment_log_count(c->log, &counters);
    return counters.rolls > 0;
}

static void seal_by_age(struct faults_case *c)
{
    if (!faults_case_open(c, SMALL) || !faults_case_append(c, 500) || !faults_case_commit(c))
        return;
    faults_case_wait_until(c, has_rolled);
    if (faults_case_append(c, 500))
        faults_case_commit(c);
}

/* One sync at the opening's end or before, one of the commit, and then the mark's. */
static bool has_marked(struct faults_case *c)
{
    (void)c;
    return faults_case_calls(FAULTS_FILE_SEGMENT, FAULTS_WRITE) >= 2 &&
           faults_case_calls(FAULTS_FILE_SEGMENT, FAULTS_SYNC_DATA) >= 3;
}

static void mark_when_idle(struct faults_case *c)
{
    if (!faults_case_open(c, SMALL) || !faults_case_append(c, 500) || !faults_case_commit(c))
        return;
    faults_case_wait_until(c, has_marked);
    if (faults_case_append(c, 500))
        faults_case_commit(c);
}

static void stop_and_go_on(struct faults_case *c)
{
    for (int i = 0; i < 3 && !c->refused; i++) {
        if (!faults_case_open(c, SMALL))
            return;
        if (faults_case_append(c, 100))
            faults_case_commit(c);
        faults_case_close(c);
    }
}

static void append_a_large_one(struct faults_case *c)
{
    if (!faults_case_open(c, SMALL))
        return;
    if (faults_case_append(c, 2 * SMALL + faults_case_random(c, 9000)))
        faults_case_commit(c);
}

/* The disk is full for a while, and the log goes on by itself. */
static void space_returns(struct faults_case *c)
{
    roll(c);
    if (!c->log)
        return;
    faults_heal();
    uint64_t told = c->ledger.count;
    while (!segment_log_failure(c->log, NULL)) {
        /* A refused event is sent again under its number: new numbers would all be used up where
         * this thread is quicker than the one that looks for space. */
        c->ledger.count = told;
        if (faults_case_append(c, 9000) && faults_case_commit(c))
            return;
        sched_yield();
    }
}

static void prepare_segments(struct faults_case *c)
{
    int log_fd = -1, segments_fd = -1, fd = -1;
    struct segment_preparer *preparer = NULL;
    struct error error = {0};
    uint64_t size = 0;
    enum error_code code = file_open_directory(faults_place_path(c->place), false, &log_fd, &error);

    if (!code)
        code = file_open_directory_at(log_fd, "segments", false, &segments_fd, &error);
    struct segment_preparer_start start = {.log_fd = log_fd, .segments_fd = segments_fd};
    if (!code)
        code = segment_preparer_create(&start, &preparer, &error);
    for (int i = 0; !code && i < 3; i++) {
        if (i != 1)
            segment_preparer_request(preparer, SMALL);
        code = segment_preparer_take(preparer, SMALL, SMALL, &fd, &size, &error);
        file_close(&fd);
        if (!code)
            code = file_unlink(segments_fd, PREPARER_FILE_NAME, &error);
    }
    faults_case_took(c, code, &error);
    segment_preparer_free(preparer);
    file_close(&segments_fd);
    file_close(&log_fd);
}

/* Segments that are sealed, of many small blocks. */
static void prepare_sealed(struct faults_case *c)
{
    if (faults_case_open(c, SMALL))
        for (int i = 0; i < 60; i++) {
            faults_case_append(c, 3000);
            faults_case_commit(c);
        }
    faults_case_close(c);
    faults_place_keep(c->place);
}

static void take_left(void *context, const struct segment_set_segment *segment,
                      const struct error *why)
{
    (void)segment;
    faults_case_took(context, why->code, why);
}

static void pack(struct faults_case *c)
{
    struct segment_packer_watcher watcher = {.left = take_left, .context = c};
    struct segment_packer_totals totals;
    struct error error;
    enum error_code code =
        segment_packer_run(faults_place_path(c->place), &watcher, &totals, &error);
    faults_case_took(c, code, &error);
    if (!code && !c->refused && totals.segments_packed == 0)
        faults_case_blame(c, "nothing was packed");
}

const struct faults_scenario faults_log_scenarios[] = {
    {.title = "a new log is made", .run = make_log},
    {.title = "events are appended and waited for",
     .prepare = prepare_few,
     .run = append_and_commit},
    {.title = "many blocks are written", .prepare = prepare_few, .run = write_many_blocks},
    {.title = "segments are rolled", .prepare = prepare_few, .run = roll},
    {.title = "segments are written by a map", .by_map = true, .prepare = prepare_few, .run = roll},
    {.title = "a segment is sealed because of its age",
     .fast_clock = true,
     .age_ns = INT64_C(1000000000),
     .prepare = prepare_few,
     .run = seal_by_age},
    {.title = "an idle log is marked",
     .fast_clock = true,
     .prepare = prepare_few,
     .run = mark_when_idle},
    {.title = "a log is stopped and goes on", .prepare = prepare_few, .run = stop_and_go_on},
    {.title = "an event needs a larger segment",
     .prepare = prepare_empty,
     .run = append_a_large_one},
    {.title = "the disk is full for a while",
     .fast_clock = true,
     .prepare = prepare_few,
     .run = space_returns},
    {.title = "the next segment is prepared", .prepare = prepare_few, .run = prepare_segments},
    {.title = "sealed segments are packed", .prepare = prepare_sealed, .run = pack},
};
const size_t faults_log_scenario_count =
    sizeof faults_log_scenarios / sizeof faults_log_scenarios[0];
