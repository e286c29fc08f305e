/*
 * tests/campaigns/clocks.c - clocks that jump: ten years and two hours, forward and back, a second
 * to and fro, in the middle of appends, rolls, retention and restarts.
 *
 * Each case is a life of one log on a real disk under a clock that lies by an error which the case
 * changes; the campaign keeps what was appended, and when it truly was. Asserted: events come back
 * in the order of their sequences, with the times that they were given; arrival never goes
 * backwards; a search by time gives what comparing every event gives; retention by age deletes
 * nothing that is truly younger than asked, whatever the clock says, and does delete what is older
 * when the clock has always been right. Not asked for is what no log can see: a clock that was set
 * forward while the machine was off, or that was wrong when the log was begun; how long the machine
 * was off before its clock came back far behind, and therefore whether what such a clock is then
 * set to is right or too far ahead.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "indexer/follower.h"
#include "indexer/retention.h"
#include "segment/block.h"
#include "segment/log.h"
#include "segment/reader.h"
#include "tests/campaigns/campaign.h"

#define SECOND_NS INT64_C(1000000000)
#define HOUR_NS   (3600 * SECOND_NS)
#define DAY_NS    (24 * HOUR_NS)
#define YEAR_NS   (365 * DAY_NS)
#define START_NS  (INT64_C(1750000000) * SECOND_NS)

enum { STEPS = 24, EVENTS_MAX = 2000, SEGMENT_BYTES = 64 << 10, PAYLOAD_BYTES = 3000 };

static struct campaign campaign = {.cases = 25, .seed = 1};
static uint64_t events_checked, searches, retentions, frozen, segments_deleted, jumps;

/* ---- The clock: what it truly is, and by how much it lies ---- */

static _Atomic int64_t true_ns, error_ns, jitter_ns;
static atomic_int boot;

static int64_t lying_realtime(void)
{
    return atomic_load(&true_ns) + atomic_load(&error_ns) + atomic_load(&jitter_ns);
}

/* Threads sleep by the machine's own. */
static int64_t right_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void numbered_boot(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 7, CLOCK_BOOT_ID_SIZE);
    boot_id_out[0] = (uint8_t)atomic_load(&boot);
}

static const struct clock_source clock_that_lies = {
    .realtime_ns = lying_realtime,
    .monotonic_ns = right_monotonic,
    .boot_id = numbered_boot,
};

/* ---- One life of a log ---- */

struct remembered {
    int64_t time_ns;    /* what a reader must be told */
    int64_t arrival_ns; /* by the clock, never going backwards */
    int64_t truly_ns;
};

struct life {
    char path[600];
    uint64_t number;
    uint64_t dice;
    struct segment_log *log;
    struct remembered *events; /* [0] is sequence 1 */
    uint64_t count;
    int64_t arrival_ns;
    int64_t block_arrival_ns; /* of the last block, as far as it was looked at */
    uint64_t bound;
    bool ever_wrong;       /* the clock has lied in this life */
    bool came_back_behind; /* since the last boot: nothing tells how far ahead it may be set */
    int64_t max_age_ns;    /* of the retention that runs */
    uint64_t too_young;    /* events deleted that should not be */
    uint64_t deleted_to;   /* the last sequence deleted by this run */
};

static uint64_t roll(struct life *life, uint64_t sides)
{
    life->dice ^= life->dice << 13;
    life->dice ^= life->dice >> 7;
    life->dice ^= life->dice << 17;
    return (life->dice >> 11) % sides;
}

static void fail(const struct life *life, const char *what, const char *detail)
{
    campaign_say(&campaign, false, "%s (--seed %" PRIu64 ", case %" PRIu64 "): %s", what,
                 campaign.seed, life->number, detail);
    exit(1);
}

static void expect(const struct life *life, enum error_code code, const char *what,
                   const struct error *error)
{
    if (code)
        fail(life, what, error->text);
}

static void follow(struct life *life)
{
    struct indexer_follower *follower = NULL;
    struct error error;
    expect(life, indexer_follower_open(life->path, &follower, &error), "open the index", &error);
    expect(life, indexer_follower_catch_up(follower, &error), "fill the index", &error);
    indexer_follower_close(follower);
}

static struct segment_reader *open_reader(const struct life *life)
{
    struct segment_reader *reader = NULL;
    struct error error;
    expect(life, segment_reader_open(life->path, &reader, &error), "open a reader", &error);
    return reader;
}

/*
 * Arrival is kept for each block, not for each event: after a restart it goes on from there, also
 * when retention has deleted that block.
 */
static void note_arrival_of_last_block(struct life *life)
{
    struct segment_reader *reader = open_reader(life);
    struct segment_reader_block block;
    while (segment_reader_next_block(reader, &block, NULL) == OK)
        if (block.header.kind == FORMAT_BLOCK_EVENTS)
            life->block_arrival_ns = life->events[block.header.sequence_first - 1].arrival_ns;
    segment_reader_close(reader);
}

/* As the daemon does: the log, and beside it the index. */
static void open_log(struct life *life)
{
    if (life->count > 0) {
        note_arrival_of_last_block(life);
        life->arrival_ns = life->block_arrival_ns;
    }
    struct segment_log_options options = {.segment_bytes = SEGMENT_BYTES};
    struct error error;
    expect(life, segment_log_open(life->path, &options, &life->log, NULL, &error), "open the log",
           &error);
    follow(life);
}

static void close_log(struct life *life)
{
    struct error error;
    expect(life, segment_log_close(life->log, &error), "close the log", &error);
    life->log = NULL;
}

static void append(struct life *life)
{
    static uint8_t payload[3 + PAYLOAD_BYTES] = {0xc5, PAYLOAD_BYTES >> 8, PAYLOAD_BYTES & 0xff};
    for (size_t i = 3; i < sizeof payload; i++)
        payload[i] = (uint8_t)roll(life, 256);
    struct event event = {
        .topic = "clock",
        .topic_bytes = 5,
        .time_ns = EVENT_TIME_NONE,
        .payload = payload,
        .payload_bytes = sizeof payload,
    };
    int64_t now_ns = lying_realtime();
    if (now_ns > life->arrival_ns)
        life->arrival_ns = now_ns;
    if (roll(life, 3) == 0) /* A producer has a clock of its own. */
        event.time_ns = START_NS + ((int64_t)roll(life, 2000) - 1000) * HOUR_NS;
    /* While the clock is behind, an event counts as arrived with the newest before it. */
    int64_t truly_ns = atomic_load(&true_ns);
    struct remembered *kept = &life->events[life->count];
    *kept = (struct remembered){
        .time_ns = event.time_ns == EVENT_TIME_NONE ? life->arrival_ns : event.time_ns,
        .arrival_ns = life->arrival_ns,
        .truly_ns = truly_ns < life->arrival_ns ? truly_ns : life->arrival_ns,
    };
    enum segment_log_outcome outcome;
    uint64_t sequence;
    struct error error;
    expect(life, segment_log_append(life->log, &event, &outcome, &sequence, &error), "append",
           &error);
    if (sequence != ++life->count)
        fail(life, "sequences are given in order", "one was left out");
}

static void append_some(struct life *life)
{
    uint64_t more = 1 + roll(life, 60);
    for (uint64_t i = 0; i < more && life->count < EVENTS_MAX; i++) {
        if (atomic_load(&jitter_ns))
            atomic_store(&jitter_ns, ((int64_t)roll(life, 3) - 1) * SECOND_NS);
        append(life);
        if (roll(life, 8) == 0)
            segment_log_kick(life->log);
        atomic_fetch_add(&true_ns, SECOND_NS / 1000);
    }
    struct error error;
    expect(life, segment_log_wait(life->log, life->count, &error), "commit", &error);
}

/* ---- What must hold ---- */

static void check_one(const struct life *life, const struct event *event, uint64_t expected)
{
    char detail[160];
    if (event->sequence != expected) {
        snprintf(detail, sizeof detail, "after %" PRIu64 " came %" PRIu64, expected - 1,
                 event->sequence);
        fail(life, "events come back in the order of their sequences", detail);
    }
    if (event->time_ns != life->events[expected - 1].time_ns) {
        snprintf(detail, sizeof detail, "event %" PRIu64 " has %" PRId64 ", not %" PRId64, expected,
                 event->time_ns, life->events[expected - 1].time_ns);
        fail(life, "events keep the times that they were given", detail);
    }
    events_checked++;
}

static void check_order(const struct life *life)
{
    struct segment_reader *reader = open_reader(life);
    struct event event;
    struct error error;
    enum error_code code;
    uint64_t expected = life->bound;
    while ((code = segment_reader_next(reader, &event, &error)) == OK)
        check_one(life, &event, expected++);
    if (code != ERROR_END || expected != life->count + 1)
        fail(life, "every event is there", code == ERROR_END ? "some are missing" : error.text);
    segment_reader_close(reader);
}

static void check_arrival(const struct life *life)
{
    struct segment_reader *reader = open_reader(life);
    struct segment_reader_block block;
    struct error error;
    int64_t before_ns = INT64_MIN;
    while (segment_reader_next_block(reader, &block, &error) == OK) {
        if (block.header.arrival_ns < before_ns)
            fail(life, "arrival never goes backwards", "it did");
        before_ns = block.header.arrival_ns;
        uint64_t first = block.header.sequence_first;
        if (block.header.kind == FORMAT_BLOCK_EVENTS &&
            before_ns != life->events[first - 1].arrival_ns)
            fail(life, "a block keeps the arrival of its first event", "it is another");
    }
    segment_reader_close(reader);
}

/* A search skips what cannot hold a match; whatever it skips, it must find them all. */
static void check_search(struct life *life)
{
    const struct remembered *some = &life->events[roll(life, life->count)];
    int64_t since_ns = some->time_ns - (int64_t)roll(life, 10) * HOUR_NS;
    int64_t until_ns = since_ns + (int64_t)roll(life, 400) * HOUR_NS;
    uint64_t wanted = 0, found = 0;
    for (uint64_t n = life->bound; n <= life->count; n++)
        wanted +=
            life->events[n - 1].time_ns >= since_ns && life->events[n - 1].time_ns <= until_ns;
    struct segment_reader *reader = open_reader(life);
    segment_reader_hint_times(reader, since_ns, until_ns);
    struct event event;
    struct error error;
    while (segment_reader_next(reader, &event, &error) == OK)
        found += event.time_ns >= since_ns && event.time_ns <= until_ns;
    segment_reader_close(reader);
    searches++;
    if (found != wanted) {
        char detail[120];
        snprintf(detail, sizeof detail, "%" PRIu64 " events instead of %" PRIu64, found, wanted);
        fail(life, "a search by time finds what looking at every event finds", detail);
    }
}

static void note_deleted(void *context, const struct indexer_retention_segment *segment)
{
    struct life *life = context;
    int64_t now_ns = atomic_load(&true_ns);
    for (uint64_t n = segment->sequence_first; n <= segment->sequence_last; n++)
        life->too_young += now_ns - life->events[n - 1].truly_ns < life->max_age_ns - 2 * SECOND_NS;
    life->deleted_to = segment->sequence_last;
    segments_deleted++;
}

/* With a clock that was always right, retention does what it is there for. */
static void check_zeal(const struct life *life, const struct indexer_retention_totals *totals)
{
    if (life->ever_wrong || totals->frozen[0] || totals->segments_left < 3)
        return;
    const struct remembered *oldest = &life->events[life->bound - 1];
    /* A segment is as young as its last event, and holds fewer than a hundred. */
    uint64_t last = life->bound + 99 < life->count ? life->bound + 99 : life->count;
    const struct remembered *young = &life->events[last - 1];
    int64_t now_ns = atomic_load(&true_ns);
    if (now_ns - oldest->truly_ns > life->max_age_ns + HOUR_NS &&
        now_ns - young->truly_ns > life->max_age_ns + HOUR_NS)
        fail(life, "with the right time old segments are deleted", "the oldest one is there");
}

static void retain(struct life *life)
{
    struct indexer_retention_totals totals;
    struct error error;
    life->max_age_ns = (int64_t)(1 + roll(life, 10)) * DAY_NS;
    struct indexer_retention_options options = {.max_age_ns = life->max_age_ns};
    life->deleted_to = 0;
    note_arrival_of_last_block(life);
    expect(life, indexer_retention_run(life->path, &options, note_deleted, life, &totals, &error),
           "retention", &error);
    retentions++;
    frozen += totals.frozen[0] != '\0';
    if (life->deleted_to)
        life->bound = life->deleted_to + 1;
    if (life->too_young) {
        char detail[120];
        snprintf(detail, sizeof detail,
                 "%" PRIu64 " events of it are too young for it; the clock "
                 "is wrong by %" PRId64 " s",
                 life->too_young, atomic_load(&error_ns) / SECOND_NS);
        fail(life, "retention deletes nothing that is too young", detail);
    }
    check_zeal(life, &totals);
}

/* ---- What happens ---- */

static void jump(struct life *life)
{
    static const int64_t errors_ns[] = {0,           10 * YEAR_NS, -10 * YEAR_NS, DAY_NS, -DAY_NS,
                                        2 * HOUR_NS, -2 * HOUR_NS, 40 * DAY_NS,   0};
    int64_t lie_ns = errors_ns[roll(life, sizeof errors_ns / sizeof *errors_ns)];
    if (life->came_back_behind && lie_ns > 0)
        lie_ns = 0;
    jumps += lie_ns != atomic_load(&error_ns);
    life->ever_wrong = life->ever_wrong || lie_ns != 0;
    atomic_store(&error_ns, lie_ns);
}

/* Off for some days; the clock comes back right, or far behind, as without a battery. */
static void reboot(struct life *life)
{
    close_log(life);
    atomic_fetch_add(&boot, 1);
    atomic_fetch_add(&true_ns, (int64_t)roll(life, 8 * 24) * HOUR_NS);
    bool behind = life->ever_wrong && roll(life, 4) == 0;
    life->came_back_behind = behind;
    atomic_store(&error_ns, behind ? -10 * YEAR_NS : 0);
    open_log(life);
}

static void step(struct life *life, bool may_lie)
{
    switch (roll(life, 9)) {
    case 0:
        if (may_lie)
            jump(life);
        append_some(life); /* in the middle of a segment, and often over its end */
        break;
    case 1:
        atomic_store(&jitter_ns, atomic_load(&jitter_ns) ? 0 : SECOND_NS);
        append_some(life);
        break;
    case 2:
        close_log(life);
        open_log(life);
        break;
    case 3:
    case 4:
        reboot(life);
        break;
    case 5:
        if (may_lie && roll(life, 2))
            jump(life);
        retain(life);
        break;
    case 6:
        follow(life);
        check_search(life);
        break;
    default:
        append_some(life);
    }
}

static void remove_log(const struct life *life)
{
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", life->path);
    if (system(command) != 0)
        fail(life, "the log can be removed", life->path);
}

static void live(uint64_t number)
{
    static struct remembered events[EVENTS_MAX];
    struct life life = {.number = number,
                        .dice = (campaign.seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
                                (number + 1) * 0x2545f491,
                        .events = events,
                        .arrival_ns = INT64_MIN,
                        .bound = 1};
    snprintf(life.path, sizeof life.path, "%s/log", campaign_directory());
    atomic_store(&true_ns, START_NS);
    atomic_store(&error_ns, 0);
    atomic_store(&jitter_ns, 0);
    atomic_fetch_add(&boot, 1);
    bool may_lie = number % 5 != 0;
    open_log(&life);
    append_some(&life);
    for (int i = 0; i < STEPS; i++)
        step(&life, may_lie);
    check_order(&life);
    check_arrival(&life);
    check_search(&life);
    close_log(&life);
    check_order(&life);
    remove_log(&life);
}

int main(int count, char **arguments)
{
    campaign_parse(&campaign, count, arguments);
    clock_use(&clock_that_lies);
    uint64_t lived = 0;
    for (; lived < campaign.cases; lived++) {
        if (right_monotonic() >= campaign.deadline_ns)
            break;
        live(lived);
    }
    rmdir(campaign_directory());
    campaign_say(&campaign, true,
                 "events keep their order and their times under a clock that jumps");
    campaign_say(&campaign, true, "arrival never goes backwards, and searches by time find all");
    campaign_say(&campaign, frozen > 0 && segments_deleted > 0,
                 "retention deletes nothing that is too young: it deleted %" PRIu64
                 " segments and stood still %" PRIu64 " times",
                 segments_deleted, frozen);
    campaign_count(lived, "lives of a log under a clock that jumps");
    campaign_count(jumps, "jumps of the clock");
    campaign_count(retentions, "runs of retention by age");
    campaign_count(searches, "searches by time");
    campaign_count(events_checked, "events compared");
    return campaign.failures > 0;
}
