/*
 * The bus (tools/daybookd/bus.h), round by round: whoever subscribes gets every event once it is
 * durable, once, in order, whatever happens between.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "indexer/retention.h"
#include "segment/packer.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tests/tools/bus_stage.h"
#include "tools/daybookd/progress.h"

enum { ALL = 1 << 30, SMALL = 65536 };

static struct error error;
static struct stage_client client;

/* No commit becomes durable until it is let go. */
static sem_t keeper_goes;

static void wait_to_go(struct keeper_task *task)
{
    (void)task;
    while (sem_wait(&keeper_goes))
        continue;
}

static void went(struct keeper_task *task)
{
    (void)task;
}

static void hold_the_keeper(void)
{
    static struct keeper_task hold = {.work = wait_to_go, .done = went};
    sem_init(&keeper_goes, 0, 0);
    keeper_give(stage_bus->keeper, &hold);
}

static void let_the_keeper_go(void)
{
    sem_post(&keeper_goes);
}

static void teardown(void)
{
    let_the_keeper_go(); /* a test that has failed did not */
    if (stage_bus)
        stage_close();
}
TestSuite(bus, .fini = teardown);

static const struct wire_subscribe LATEST = {0};

static struct wire_subscribe after(uint64_t sequence)
{
    return (struct wire_subscribe){.start = WIRE_START_AFTER, .after = sequence};
}

/* Events with even sequences have that topic. */
static struct wire_subscribe even_after(uint64_t sequence)
{
    struct wire_subscribe subscribe = after(sequence);
    subscribe.topics[0] = (struct wire_text){"even", 4};
    subscribe.topic_count = 1;
    return subscribe;
}

static void settle_and_read(struct stage_client *subscriber)
{
    uint64_t before;
    do {
        before = subscriber->bytes;
        stage_settle();
        stage_read(subscriber, ALL);
    } while (before != subscriber->bytes);
}

static void expect_all(struct stage_client *subscriber)
{
    settle_and_read(subscriber);
    cr_assert_eq(subscriber->last, segment_log_durable(stage_log),
                 "%" PRIu64 " of %" PRIu64 ", error '%s' %s", subscriber->last,
                 segment_log_durable(stage_log), subscriber->error_code, subscriber->error_text);
    cr_assert(subscriber->caught_up);
    cr_assert_eq(subscriber->received->size, 0);
}

static void expect_error(struct stage_client *subscriber, const char *code, const char *text)
{
    settle_and_read(subscriber);
    cr_assert_str_eq(subscriber->error_code, code, "'%s', not '%s', with '%s'",
                     subscriber->error_code, code, text);
    cr_assert_not_null(strstr(subscriber->error_text, text), "%s", subscriber->error_text);
    cr_assert(subscriber->closed, "after '%s'", subscriber->error_text);
}

/* ---- The seam ---- */

/* A log of blocks of 1, 2, 3 … events, again and again, up to `last`. */
static void make_blocks(uint64_t last, unsigned largest, size_t bytes)
{
    for (unsigned size = 1; segment_log_durable(stage_log) < last; size = size % largest + 1) {
        stage_append(size, bytes);
        stage_commit();
    }
}

/* Every position in every block, and more becomes durable at every step on the way to live. */
static void cross_the_seam(bool somebody_is_live, unsigned publish_before_round, unsigned count)
{
    struct stage_client live;
    stage_open(0);
    make_blocks(30, 5, 40);
    if (somebody_is_live) {
        stage_connect(&live, false, 0);
        stage_subscribe(&live, &LATEST);
        stage_settle();
    }
    uint64_t end = segment_log_durable(stage_log);
    for (uint64_t position = 0; position <= end; position++) {
        struct wire_subscribe from = after(position);
        stage_connect(&client, false, 0);
        stage_subscribe(&client, &from);
        for (unsigned round = 0; round < 6; round++) {
            if (round == publish_before_round) {
                stage_append(count, 40);
                stage_commit();
            }
            stage_round();
            stage_read(&client, ALL);
        }
        expect_all(&client);
        cr_assert_eq(client.events, segment_log_durable(stage_log) - position);
        stage_hang_up(&client);
    }
    if (somebody_is_live)
        expect_all(&live);
}

static void cross_at_every_round(bool somebody_is_live)
{
    for (unsigned round = 0; round < 6; round++)
        for (unsigned count = 1; count <= 4; count += 3) {
            cross_the_seam(somebody_is_live, round, count);
            stage_close();
        }
}

Test(bus, history_meets_the_end_of_the_log_at_every_position_of_every_block)
{
    cross_at_every_round(false);
}

Test(bus, history_meets_a_live_feed_at_every_position_of_every_block)
{
    cross_at_every_round(true);
}

static void pack(void)
{
    struct segment_packer_totals totals;
    cr_assert_eq(segment_packer_run(stage_bus->options.directory,
                                    &(struct segment_packer_watcher){0}, &totals, &error),
                 OK, "%s", error.text);
}

static void retain(uint64_t bytes)
{
    struct indexer_retention_totals totals;
    const struct indexer_retention_options options = {.max_bytes = bytes};
    cr_assert_eq(indexer_retention_run(stage_bus->options.directory, &options, NULL, NULL, &totals,
                                       &error),
                 OK, "%s", error.text);
}

static unsigned random_below(unsigned end)
{
    return (unsigned)rand() % end;
}

/* One step of anything that can happen between two rounds. */
static void do_something(struct stage_client *subscribers, unsigned count, bool retains)
{
    struct stage_client *subscriber = &subscribers[random_below(count)];
    switch (random_below(12)) {
    case 0:
        stage_append(1 + random_below(40), random_below(300));
        break;
    case 1:
        stage_append(1, random_below(20) ? random_below(30000) : 900000);
        break;
    case 2:
    case 3:
        stage_commit();
        break;
    case 4:
        if (random_below(8) == 0)
            pack();
        break;
    case 5:
        if (retains && random_below(12) == 0)
            retain(600000);
        break;
    case 6:
        stage_credit(subscriber, random_below(30));
        break;
    case 7:
        stage_read(subscriber, random_below(20000));
        break;
    case 8:
        stage_read(subscriber, ALL);
        break;
    case 9:
        stage_pass(400000000);
        break;
    default:
        stage_round();
    }
}

/*
 * Whoever was in the middle of a frame whose events retention has taken was cut off: there is no
 * other way to end it. It comes again, behind the last that it has got whole.
 */
static void come_again(struct stage_client *subscriber)
{
    struct stage_client before = *subscriber;
    struct wire_subscribe subscribe =
        before.only_even ? even_after(before.last) : after(before.last);
    stage_hang_up(&before);
    stage_connect(subscriber, false, 0);
    stage_subscribe(subscriber, &subscribe);
    subscriber->events = before.events;
}

static void finish(struct stage_client *subscriber, bool retains)
{
    stage_credit(subscriber, 1000000);
    settle_and_read(subscriber);
    if (retains && subscriber->closed)
        come_again(subscriber);
    expect_all(subscriber);
}

/* Segments roll, are packed and deleted; clients are slow, have credit or not: in any order. */
static void play(unsigned seed, bool retains, bool slow)
{
    enum { SUBSCRIBERS = 6, STEPS = 700 };
    struct stage_client subscribers[SUBSCRIBERS];
    srand(seed);
    stage_open(SMALL * 4);
    make_blocks(1 + random_below(300), 1 + random_below(30), 1 + random_below(2000));
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        uint64_t position = random_below((unsigned)segment_log_durable(stage_log) + 1);
        struct wire_subscribe subscribe = i % 2 ? even_after(position) : after(position);
        subscribe.limited = i % 3 == 2;
        stage_connect(&subscribers[i], false, i % 2 ? 4096 : 0);
        stage_subscribe(&subscribers[i], &subscribe);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        /* Of a slow machine, turns end in the middle of what a quick one reads in one. */
        stage_look_takes(slow && random_below(2) ? random_below(600000) : 0);
        do_something(subscribers, SUBSCRIBERS, retains);
    }
    stage_look_takes(0);
    stage_commit();
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        finish(&subscribers[i], retains);
        for (unsigned k = 0; k < subscribers[i].lost_count; k++)
            cr_assert_str_eq(subscribers[i].lost[k].cause, "retention");
        cr_assert(retains || subscribers[i].lost_count == 0);
        stage_hang_up(&subscribers[i]);
    }
    stage_close();
}

Test(bus, loses_and_doubles_nothing_whatever_happens_between_two_rounds)
{
    for (unsigned seed = 1; seed <= 40; seed++)
        play(seed, false, seed % 2);
}

Test(bus, tells_of_what_retention_has_taken_and_of_nothing_else)
{
    for (unsigned seed = 1; seed <= 40; seed++)
        play(seed, true, seed % 2);
}

/* ---- Where a subscription begins ---- */

static void subscribe_with(const struct wire_subscribe *subscribe)
{
    stage_connect(&client, false, 0);
    stage_subscribe(&client, subscribe);
}

Test(bus, begins_where_it_was_asked_to)
{
    stage_open(0);
    make_blocks(20, 3, 10);
    uint64_t durable = segment_log_durable(stage_log);
    const struct {
        struct wire_subscribe subscribe;
        uint64_t after;
    } cases[] = {
        {{0}, durable},
        {{.start = WIRE_START_LATEST}, durable},
        {{.start = WIRE_START_EARLIEST}, 0},
        {{.start = WIRE_START_AFTER, .after = 7}, 7},
        {{.start = WIRE_START_AFTER, .after = durable}, durable},
        /* Event n is of second n. */
        {{.start = WIRE_START_SINCE, .since_ns = INT64_C(9000000000)}, 8},
        {{.start = WIRE_START_SINCE, .since_ns = INT64_C(9000000001)}, 9},
        {{.start = WIRE_START_SINCE, .since_ns = 0}, 0},
        {{.start = WIRE_START_SINCE, .since_ns = INT64_C(9000000000000)}, durable},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        subscribe_with(&cases[i].subscribe);
        expect_all(&client);
        cr_assert_eq(client.after, cases[i].after, "case %zu: %" PRIu64, i, client.after);
        cr_assert_eq(client.events, durable - cases[i].after);
        stage_hang_up(&client);
    }
}

/* More of them than can read the log at a time, and each turn has time for one step only. */
Test(bus, searches_by_time_in_pieces_while_others_are_served)
{
    enum { SEARCHERS = BUS_HISTORIES + 3 };
    struct stage_client searchers[SEARCHERS], live;
    struct wire_subscribe future = {.start = WIRE_START_SINCE, .since_ns = INT64_MAX};
    struct wire_subscribe past = {.start = WIRE_START_SINCE, .since_ns = 0};
    stage_open(SMALL);
    stage_connect(&live, false, 0);
    stage_subscribe(&live, &LATEST);
    for (int i = 0; i < 40; i++) {
        stage_append(500, 1);
        stage_commit();
        stage_settle();
        stage_read(&live, ALL);
    }
    for (int i = 0; i < SEARCHERS; i++) {
        stage_connect(&searchers[i], false, 0);
        stage_subscribe(&searchers[i], i == 0 ? &past : &future);
    }
    stage_look_takes(2 * BUS_BEHIND_NS);
    stage_round();
    stage_look_takes(0);
    unsigned searching = 0;
    for (struct list_link *link = stage_bus->all.next; link != &stage_bus->all; link = link->next)
        searching += LIST_MEMBER(link, struct subscriber, in_all)->searching;
    cr_assert_geq(searching, SEARCHERS - 1, "%u: one turn was one piece", searching);
    stage_look_takes(2 * BUS_BEHIND_NS);
    for (int i = 0; i < 400; i++)
        stage_round();
    stage_look_takes(0);
    stage_append(3, 1);
    stage_commit();
    expect_all(&live);
    for (int i = 0; i < SEARCHERS; i++) {
        expect_all(&searchers[i]);
        cr_assert_eq(searchers[i].after, i == 0 ? 0 : 20000, "%d: %" PRIu64, i,
                     searchers[i].after);
    }
}

Test(bus, refuses_what_is_wrong_and_says_what)
{
    stage_open(0);
    make_blocks(5, 1, 10);
    struct wire_subscribe future = after(99), pattern = {.topic_count = 1}, where = {0}, name = {0};
    pattern.topics[0] = (struct wire_text){"a.>.b", 5};
    where.where = (struct wire_text){"n >", 3};
    struct wire_subscribe many = {.topic_count = 64};
    char long_topic[129];
    memset(long_topic, 'a', sizeof long_topic);
    for (int i = 0; i < 64; i++)
        many.topics[i] = (struct wire_text){long_topic, 129};
    name.cursor = (struct wire_text){".x", 2};
    const struct {
        const struct wire_subscribe *subscribe;
        const char *text;
    } cases[] = {
        {&future, "the last event that is durable here is"},
        {&pattern, "pattern"},
        {&where, "where: incomplete input"},
        {&many, "8256 bytes in all, more than 8192"},
        {&name, "cursor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        subscribe_with(cases[i].subscribe);
        expect_error(&client, "invalid", cases[i].text);
        stage_hang_up(&client);
    }
}

Test(bus, takes_no_second_subscribe_no_pub_and_no_frame_that_is_too_large)
{
    static const uint8_t pub[] = {0, 0, 0, 7, 0x93, 0xa3, 'p', 'u', 'b', 1, 0x90};
    static const uint8_t large[] = {0, 16, 0, 0};
    struct buffer bytes = {.data = (uint8_t *)pub, .size = sizeof pub};
    stage_open(0);
    subscribe_with(&LATEST);
    stage_subscribe(&client, &LATEST);
    expect_error(&client, "malformed", "a second subscribe");
    subscribe_with(&LATEST);
    stage_send(&client, &bytes);
    expect_error(&client, "unsupported", "does nothing else");
    subscribe_with(&LATEST);
    bytes = (struct buffer){.data = (uint8_t *)large, .size = sizeof large};
    stage_send(&client, &bytes);
    expect_error(&client, "too_large", "1048576");
    subscribe_with(&LATEST);
    stage_commit_cursor(&client, 0);
    expect_error(&client, "invalid", "no cursor");
}

/* ---- Filters ---- */

static unsigned even_up_to(uint64_t sequence)
{
    return (unsigned)(sequence / 2);
}

Test(bus, gives_what_matches_and_says_how_far_it_has_looked)
{
    struct wire_subscribe subscribe = after(0);
    subscribe.topics[subscribe.topic_count++] = (struct wire_text){"even", 4};
    stage_open(0);
    make_blocks(50, 7, 10);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.events, even_up_to(segment_log_durable(stage_log)));
}

Test(bus, where_nothing_matches_one_frame_a_second_tells_so)
{
    struct wire_subscribe subscribe = after(0);
    subscribe.topics[subscribe.topic_count++] = (struct wire_text){"other.>", 7};
    stage_open(0);
    make_blocks(50, 7, 10);
    stage_connect(&client, false, 0);
    client.only_even = true;
    stage_subscribe(&client, &subscribe);
    settle_and_read(&client);
    cr_assert_eq(client.events, 0);
    cr_assert_eq(client.frames, 1); /* before it is told to have caught up */
    cr_assert(client.caught_up);
    for (int i = 0; i < 20; i++) {
        stage_append(1, 10);
        stage_commit();
        stage_settle();
    }
    stage_read(&client, 4096);
    cr_assert_eq(client.frames, 1);
    stage_pass(1100000000);
    stage_settle();
    stage_pass(1100000000);
    stage_settle();
    stage_read(&client, 4096);
    cr_assert_eq(client.frames, 2);
    cr_assert_eq(client.times_caught_up, 1);
}

Test(bus, a_where_is_asked_of_each_event_and_ends_the_subscription_when_it_fails)
{
    struct stage_client other;
    struct wire_subscribe subscribe = after(0);
    subscribe.where = (struct wire_text){"n % 2 = 0", 9};
    stage_open(0);
    make_blocks(20, 3, 10);
    stage_connect(&client, false, 0);
    stage_subscribe(&client, &subscribe);
    client.only_even = true;
    expect_all(&client);
    cr_assert_eq(client.events, even_up_to(segment_log_durable(stage_log)));
    stage_connect(&other, false, 0);
    subscribe.where = (struct wire_text){"seq < 22 OR json_extract(topic, '$') = 1", 40};
    stage_subscribe(&other, &subscribe);
    settle_and_read(&other);
    cr_assert_str_eq(other.error_code, "");
    stage_append(12, 10);
    stage_commit();
    expect_error(&other, "invalid", "malformed JSON");
    cr_assert_geq(other.last, 21);
    expect_all(&client);
}

Test(bus, subscribers_with_one_filter_share_one_feed)
{
    struct stage_client many[10];
    struct bus_counters counters;
    stage_open(0);
    for (int i = 0; i < 10; i++) {
        struct wire_subscribe subscribe = {0};
        subscribe.topics[subscribe.topic_count++] = (struct wire_text){"even", 4};
        if (i >= 8)
            subscribe.topics[subscribe.topic_count++] = (struct wire_text){"x", 1};
        stage_connect(&many[i], false, 0);
        stage_subscribe(&many[i], &subscribe);
    }
    stage_settle();
    bus_count(stage_bus, &counters);
    cr_assert_eq(counters.feeds, 2);
    cr_assert_eq(counters.subscribers, 10);
    stage_append(4, 10);
    stage_commit();
    stage_settle();
    bus_count(stage_bus, &counters);
    cr_assert_eq(counters.delivered, 20);
    for (int i = 0; i < 10; i++)
        stage_hang_up(&many[i]);
    stage_settle();
    bus_count(stage_bus, &counters);
    cr_assert_eq(counters.feeds, 0);
    cr_assert_eq(counters.subscribers, 0);
}

static struct feed *only_feed(void)
{
    return LIST_MEMBER(stage_bus->feeds.next, struct feed, in_feeds);
}

Test(bus, a_filter_that_takes_too_long_is_served_from_the_log_until_it_has_paid)
{
    stage_open(0);
    subscribe_with(&LATEST);
    stage_settle();
    cr_assert(only_feed()->live);
    only_feed()->debt_ns = INT64_C(1000000000);
    for (int i = 0; i < 30; i++) {
        stage_append(3, 100);
        stage_commit();
        stage_settle();
        cr_assert_not(only_feed()->live);
        stage_read(&client, ALL);
        cr_assert_eq(client.last, segment_log_durable(stage_log));
    }
    cr_assert_eq(client.times_caught_up, 1);
    stage_pass(INT64_C(10000000000));
    for (int i = 0; i < 3; i++) {
        stage_append(1, 100);
        stage_commit();
        expect_all(&client);
    }
    cr_assert(only_feed()->live);
}

/* Items of nothing but a number, which any filter without patterns lets through. */
static size_t take_of(size_t count, int64_t look_ns, int64_t time_ns)
{
    static struct log_stream_item items[LOG_STREAM_BATCH];
    struct ring ring = {0};
    struct buffer scratch = {0};
    size_t taken = 0;
    for (size_t i = 0; i < count; i++)
        items[i].event = (struct event){.sequence = i + 1,
                                        .topic = "t",
                                        .topic_bytes = 1,
                                        .payload = "\xc0",
                                        .payload_bytes = 1};
    struct feed *feed = feed_create(&(struct filter){0}, NULL);
    const struct feed_limits limits = {.ring_bytes = SIZE_MAX, .ring_entries = UINT64_MAX,
                                       .deadline_ns = clock_monotonic_ns() + time_ns};
    stage_look_takes(look_ns);
    cr_assert_eq(feed_take(feed, &ring, items, count, &limits, &scratch, &taken, &error), OK);
    stage_look_takes(0);
    ring_release(&ring);
    buffer_release(&scratch);
    feed_free(feed);
    return taken;
}

/* Who takes a millisecond for each item is asked about the time behind each. */
Test(bus, a_filter_that_is_slow_is_stopped_behind_the_item_that_was_too_late)
{
    enum { MS = 1000000 };
    stage_open(0);
    cr_assert_eq(take_of(200, 0, 0), 1, "one is always taken");
    cr_assert_leq(take_of(200, MS, 5 * MS), 5);
    cr_assert_eq(take_of(200, 0, INT64_C(1000000) * MS), 200);
}

/* In the middle of a batch: nothing of it is left out, and nothing comes twice. */
Test(bus, a_batch_that_takes_too_long_goes_on_from_the_log)
{
    struct stage_client other;
    struct wire_subscribe even = {.topic_count = 1};
    even.topics[0] = (struct wire_text){"even", 4};
    stage_open(0);
    stage_connect(&other, false, 0);
    stage_subscribe(&other, &even);
    other.only_even = true;
    subscribe_with(&LATEST);
    stage_settle();
    cr_assert_eq(stage_bus->live_count, 2);
    stage_append(100, 50);
    stage_commit();
    stage_look_takes(BUS_BATCH_NS / 16);
    stage_round();
    stage_look_takes(0);
    cr_assert_eq(stage_bus->live_count, 0, "they were stopped");
    expect_all(&client);
    expect_all(&other);
    cr_assert_eq(client.events, 100);
    cr_assert_eq(other.events, 50);
}

Test(bus, who_was_slow_is_asked_last_the_next_time)
{
    struct stage_client other;
    struct wire_subscribe even = {.topic_count = 1};
    even.topics[0] = (struct wire_text){"even", 4};
    stage_open(0);
    subscribe_with(&LATEST);
    stage_settle();
    stage_connect(&other, false, 0);
    stage_subscribe(&other, &even);
    other.only_even = true;
    stage_settle();
    struct feed *first = LIST_MEMBER(stage_bus->live.next, struct feed, in_live);
    first->slow = true; /* as if it had just taken long */
    stage_append(2, 10);
    stage_commit();
    expect_all(&client);
    expect_all(&other);
    cr_assert_eq(stage_bus->live.previous, &first->in_live);
    cr_assert_not(first->slow);
    cr_assert_eq(stage_bus->live_count, 2);
}

Test(bus, more_filters_than_can_be_live_get_everything_all_the_same)
{
    enum { FILTERS = BUS_LIVE_MAX + 20 };
    static struct stage_client many[FILTERS];
    stage_open(0);
    for (int i = 0; i < FILTERS; i++) {
        char other[16];
        struct wire_subscribe subscribe = {.topic_count = 2};
        snprintf(other, sizeof other, "x%d", i);
        subscribe.topics[0] = (struct wire_text){"*", 1};
        subscribe.topics[1] = (struct wire_text){other, strlen(other)};
        stage_connect(&many[i], false, 0);
        stage_subscribe(&many[i], &subscribe);
    }
    stage_settle();
    cr_assert_eq(stage_bus->live_count, BUS_LIVE_MAX);
    for (int i = 0; i < 5; i++) {
        stage_append(7, 10);
        stage_commit();
        stage_settle();
    }
    for (int i = 0; i < FILTERS; i++) {
        expect_all(&many[i]);
        cr_assert_eq(many[i].events, 35);
    }
}

/* ---- Credit, and who does not read ---- */

Test(bus, sends_never_more_than_credit_was_given_for)
{
    struct wire_subscribe subscribe = after(0);
    subscribe.limited = true;
    stage_open(0);
    make_blocks(40, 6, 10);
    subscribe_with(&subscribe);
    for (unsigned given = 0; given < 60; given++) {
        settle_and_read(&client);
        cr_assert_eq(client.events, given);
        if (given > 30) {
            stage_append(1, 10);
            stage_commit();
        }
        stage_credit(&client, 1);
    }
    stage_credit(&client, UINT64_MAX);
    stage_credit(&client, UINT64_MAX);
    expect_all(&client);
}

/* One event more, so that it is known whether there is any. */
Test(bus, reads_no_more_history_than_credit_was_given_for)
{
    struct wire_subscribe subscribe = after(0);
    subscribe.limited = true;
    stage_open(0);
    make_blocks(2000, 100, 10);
    subscribe_with(&subscribe);
    stage_credit(&client, 5);
    settle_and_read(&client);
    cr_assert_eq(client.events, 5);
    size_t histories = 0;
    for (size_t i = 0; i < BUS_HISTORIES; i++) {
        const struct ring *ring = &stage_bus->histories[i].ring;
        histories += ring->count > 0;
        cr_assert_leq(ring->count, 5 + 1, "%zu entries were read for 5 events", ring->count);
    }
    cr_assert_eq(histories, 1);
    stage_credit(&client, 10000);
    expect_all(&client);
}

/* Behind a loss, too: of what does not match there is no other word. */
Test(bus, who_has_lost_all_events_that_match_is_told_how_far_that_is_true)
{
    struct wire_subscribe subscribe = even_after(2);
    stage_open(SMALL);
    for (int i = 0; i < 9; i++) { /* a segment each */
        stage_append(1, 40000);
        stage_commit();
    }
    retain(SMALL);
    stage_connect(&client, false, 0);
    stage_subscribe(&client, &subscribe);
    client.only_even = true;
    settle_and_read(&client);
    cr_assert_eq(client.lost_count, 1);
    cr_assert_eq(client.lost[0].last, 8);
    cr_assert_eq(client.frames, 1);
    cr_assert_eq(client.last, 9);
    cr_assert_eq(client.caught_up_at, 9);
}

/* The credit for all events that match has been used, and there is more that does not match. */
Test(bus, who_has_used_all_credit_is_told_that_nothing_is_left)
{
    struct wire_subscribe subscribe = even_after(0);
    subscribe.limited = true;
    subscribe.credit = 100;
    stage_open(0);
    make_blocks(201, 1, 10);
    subscribe_with(&subscribe);
    settle_and_read(&client);
    cr_assert_eq(client.events, 100);
    cr_assert_eq(client.times_caught_up, 1);
    cr_assert_eq(client.last, 201);
}

/* Fills a socket with the first bytes of a frame, and lets the bus forget what it had read. */
static void begin_a_frame(void)
{
    struct wire_subscribe subscribe = even_after(0);
    subscribe.limited = true;
    stage_open(0);
    make_blocks(200, 1, 1000);
    stage_connect(&client, false, 4096);
    stage_subscribe(&client, &subscribe);
    client.only_even = true;
    stage_credit(&client, 20);
    stage_settle();
    struct subscriber *subscriber = LIST_MEMBER(stage_bus->all.next, struct subscriber, in_all);
    cr_assert(subscriber->frame.begun);
    cr_assert_eq(subscriber->frame.count, 20);
    stage_pass(INT64_C(3000000000));
    stage_settle();
    cr_assert_null(subscriber->history);
}

Test(bus, a_frame_begun_ends_the_connection_when_the_log_does_not_say_the_same_any_more)
{
    begin_a_frame();
    for (unsigned i = 0; i < 3; i++) { /* more losses than credit, where nothing matched */
        struct logs_place place = logs_find(stage_bus->options.directory, 5 + 4 * i);
        scratch_flip(logs_segment_path(stage_bus->options.directory, place.segment_first),
                     place.header.offset + FORMAT_BLOCK_HEADER_BYTES + 50, 1u << 6);
    }
    for (unsigned round = 0; !client.closed; round++) {
        cr_assert_lt(round, 1000, "it goes round and round");
        stage_round();
        stage_read(&client, ALL);
    }
    cr_assert_eq(client.events, 0);
}

/*
 * More of them than histories, and the frame takes several turns to be read again: who is on the
 * way keeps its history.
 */
Test(bus, more_frames_begun_than_histories_are_all_read_to_their_ends)
{
    enum { MANY = BUS_HISTORIES + 2 };
    static struct stage_client many[MANY];
    struct wire_subscribe subscribe = even_after(0);
    subscribe.start = WIRE_START_LATEST;
    stage_open(0);
    make_blocks(4, 1, 10);
    for (int i = 0; i < MANY; i++) {
        stage_connect(&many[i], false, 4096);
        stage_subscribe(&many[i], &subscribe);
        many[i].only_even = true;
    }
    stage_settle();
    make_blocks(segment_log_durable(stage_log) + 60, 1, 1000);
    stage_settle();
    for (int i = 0; i < 30; i++) { /* the ring moves on */
        stage_append(2, 100000);
        stage_commit();
        stage_settle();
    }
    stage_pass(INT64_C(3000000000));
    stage_settle();
    stage_look_takes(50000);
    int done = 0;
    for (unsigned round = 0; done < MANY; round++) {
        cr_assert_lt(round, 3000, "%d have everything", done);
        stage_round();
        done = 0;
        for (int i = 0; i < MANY; i++) {
            stage_read(&many[i], ALL);
            done += many[i].last >= segment_log_durable(stage_log) - 1;
        }
    }
    stage_look_takes(0);
}

/* Nothing of it is kept but how far it has got: of what it is sent the socket has what fits. */
Test(bus, who_does_not_read_costs_no_memory_and_gets_everything_later)
{
    enum { MANY = 50 };
    struct stage_client many[MANY];
    stage_open(0);
    for (int i = 0; i < MANY; i++) {
        stage_connect(&many[i], false, 4096);
        stage_subscribe(&many[i], &LATEST);
    }
    stage_settle();
    for (int i = 0; i < 40; i++) {
        stage_append(2, 100000);
        stage_commit();
        stage_settle();
    }
    cr_assert_eq(stage_bus->live_count, 0);
    cr_assert_eq(stage_bus->rings.bytes_used, 0);
    cr_assert_eq(stage_bus->input_bytes, 0);
    for (struct list_link *link = stage_bus->all.next; link != &stage_bus->all; link = link->next) {
        struct subscriber *subscriber = LIST_MEMBER(link, struct subscriber, in_all);
        cr_assert_eq(subscriber->answers.capacity, 0);
        cr_assert(subscriber->frame.begun);
    }
    /* Nor does it keep a file open, which retention might delete. */
    stage_pass(INT64_C(3000000000));
    stage_settle();
    for (int i = 0; i < BUS_HISTORIES; i++)
        cr_assert_null(stage_bus->histories[i].stream);
    cr_assert_null(stage_bus->trunk);
    for (int i = 0; i < MANY; i++)
        expect_all(&many[i]);
}

Test(bus, a_slow_subscriber_slows_nobody_else)
{
    struct stage_client slow;
    stage_open(0);
    stage_connect(&slow, false, 4096);
    stage_subscribe(&slow, &LATEST);
    subscribe_with(&LATEST);
    stage_settle();
    for (int i = 0; i < 100; i++) {
        stage_append(3, 20000);
        stage_commit();
        stage_round();
        stage_round();
        stage_read(&client, ALL);
        cr_assert_eq(client.last, segment_log_durable(stage_log));
        stage_read(&slow, 100);
    }
    expect_all(&slow);
    cr_assert_eq(client.times_caught_up, 1);
    cr_assert_geq(slow.times_caught_up, 2);
}

Test(bus, a_frame_that_was_begun_is_finished_with_the_same_bytes_when_the_ring_has_moved_on)
{
    struct stage_client fast;
    stage_open(0);
    stage_connect(&client, false, 4096);
    stage_subscribe(&client, &LATEST);
    stage_connect(&fast, false, 0);
    stage_subscribe(&fast, &LATEST);
    stage_settle();
    stage_append(1, 900000);
    stage_commit();
    stage_settle();
    for (int i = 0; i < 30; i++) {
        stage_append(1, 200000);
        stage_commit();
        expect_all(&fast);
    }
    cr_assert(list_is_empty(&stage_bus->behind));
    pack();
    expect_all(&client);
}

/* ---- Loss ---- */

Test(bus, tells_of_damage_in_its_place_and_goes_on_behind_it)
{
    stage_open(SMALL);
    make_blocks(200, 1, 1000);
    char path[5000];
    snprintf(path, sizeof path, "%s/segments/%020d.seg", stage_bus->options.directory, 1);
    scratch_flip(path, 8192, 0x40);
    struct wire_subscribe subscribe = after(0);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.lost_count, 1);
    cr_assert_str_eq(client.lost[0].cause, "damage");
    cr_assert_eq(client.events, segment_log_durable(stage_log) -
                                    (client.lost[0].last - client.lost[0].first + 1));
}

Test(bus, who_begins_with_what_is_left_is_told_of_no_loss_and_who_goes_on_is)
{
    stage_open(SMALL);
    make_blocks(400, 1, 1000);
    retain(2 * SMALL);
    struct wire_subscribe subscribe = after(0);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.lost_count, 0);
    uint64_t left = client.events;
    stage_hang_up(&client);
    subscribe = after(10);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.lost_count, 1);
    cr_assert_eq(client.lost[0].first, 11);
    cr_assert_eq(client.lost[0].last, segment_log_durable(stage_log) - left);
    cr_assert_eq(client.events, left);
}

/* ---- Cursors ---- */

static struct wire_subscribe with_cursor(const char *name)
{
    return (struct wire_subscribe){.cursor = {name, strlen(name)}};
}

Test(bus, a_cursor_goes_on_behind_what_was_committed)
{
    struct wire_subscribe subscribe = with_cursor("billing");
    stage_open(0);
    make_blocks(20, 3, 10);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.after, 0); /* new: from the earliest */
    stage_commit_cursor(&client, 4);
    stage_commit_cursor(&client, 9);
    stage_commit_cursor(&client, 6);
    settle_and_read(&client);
    cr_assert_eq(client.committed, 9);
    stage_hang_up(&client);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.after, 9);
    stage_commit_cursor(&client, 5); /* below: no effect, and the position is the answer */
    settle_and_read(&client);
    cr_assert_eq(client.committed, 9);
    stage_commit_cursor(&client, 999);
    expect_error(&client, "invalid", "999 is above");
}

/* The keeper has done its work and nobody has taken what came of it: nothing may be told yet. */
Test(bus, a_commit_is_told_when_it_is_durable_and_not_before)
{
    struct wire_subscribe subscribe = with_cursor("c");
    stage_open(0);
    make_blocks(20, 3, 10);
    subscribe_with(&subscribe);
    expect_all(&client);
    hold_the_keeper();
    stage_commit_cursor(&client, 7);
    for (int i = 0; i < 10; i++)
        stage_round();
    stage_read(&client, ALL);
    cr_assert_eq(client.committed, 0);
    let_the_keeper_go();
    settle_and_read(&client);
    cr_assert_eq(client.committed, 7);
}

Test(bus, the_newest_subscriber_has_the_cursor_and_begins_behind_the_last_commit)
{
    struct stage_client older;
    struct wire_subscribe subscribe = with_cursor("c");
    stage_open(0);
    make_blocks(20, 3, 10);
    stage_connect(&older, false, 0);
    stage_subscribe(&older, &subscribe);
    expect_all(&older);
    hold_the_keeper();
    stage_commit_cursor(&older, 7);
    stage_round(); /* the commit is asked for, and is not durable yet */
    subscribe_with(&subscribe);
    for (int i = 0; i < 10; i++)
        stage_round();
    stage_read(&client, ALL);
    cr_assert_not(client.subscribed);
    let_the_keeper_go();
    expect_all(&client);
    cr_assert_eq(client.after, 7);
    expect_error(&older, "replaced", "subscribes with cursor 'c'");
}

Test(bus, a_new_cursor_begins_where_the_subscriber_says)
{
    struct wire_subscribe subscribe = with_cursor("s");
    subscribe.start = WIRE_START_SINCE;
    subscribe.since_ns = INT64_C(9000000000);
    stage_open(0);
    make_blocks(20, 3, 10);
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.after, 8);
    stage_hang_up(&client);
    subscribe = with_cursor("s");
    subscribe.start = WIRE_START_LATEST; /* it exists: that counts no more */
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.after, 8);
}

Test(bus, what_was_asked_to_be_committed_is_when_the_bus_ends)
{
    struct wire_subscribe subscribe = with_cursor("c");
    stage_open(0);
    make_blocks(20, 3, 10);
    subscribe_with(&subscribe);
    expect_all(&client);
    stage_commit_cursor(&client, 12);
    stage_round();
    char path[4096];
    snprintf(path, sizeof path, "%s", stage_bus->options.directory);
    stage_close();
    struct segment_cursor_look look;
    int fd = -1;
    cr_assert_eq(file_open_directory_to_read(path, &fd, &error), OK);
    cr_assert_eq(segment_cursor_look(fd, "c", NULL, &look, &error), OK, "%s", error.text);
    cr_assert_eq(look.state.position, 12);
    cr_assert_not(look.in_use);
    file_close(&fd);
}

Test(bus, takes_the_last_commit_of_who_hangs_up_at_once)
{
    struct wire_subscribe subscribe = with_cursor("c");
    stage_open(0);
    make_blocks(20, 3, 10);
    subscribe_with(&subscribe);
    expect_all(&client);
    stage_commit_cursor(&client, 11);
    stage_hang_up(&client);
    stage_settle();
    cr_assert(list_is_empty(&stage_bus->all));
    subscribe_with(&subscribe);
    expect_all(&client);
    cr_assert_eq(client.after, 11);
}

/* ---- Coming and going ---- */

Test(bus, who_hangs_up_is_gone_at_once_and_its_place_is_free)
{
    struct ucred peers[4];
    stage_open(0);
    subscribe_with(&LATEST);
    stage_settle();
    stage_hang_up(&client);
    stage_settle();
    cr_assert_eq(bus_take_departures(stage_bus, peers, 4), 1);
    cr_assert_eq(peers[0].pid, getpid());
    cr_assert(list_is_empty(&stage_bus->all));
}

Test(bus, who_sends_no_more_still_gets_events)
{
    stage_open(0);
    subscribe_with(&LATEST);
    cr_assert_eq(shutdown(client.fd, SHUT_WR), 0);
    stage_settle();
    stage_append(5, 10);
    stage_commit();
    expect_all(&client);
    cr_assert_eq(client.events, 5);
    cr_assert_not(client.closed);
}

Test(bus, everybody_is_told_when_it_ends_and_who_comes_then_is_told_too)
{
    struct stage_client slow, late;
    stage_open(0);
    subscribe_with(&LATEST);
    stage_connect(&slow, false, 4096);
    stage_subscribe(&slow, &LATEST);
    stage_settle();
    stage_append(1, 500000);
    stage_commit();
    stage_settle();
    bus_end(stage_bus, "stopping", "the daemon is being stopped");
    stage_connect(&late, false, 0);
    expect_error(&client, "stopping", "being stopped");
    expect_error(&late, "stopping", "being stopped");
    /* In the middle of a frame: it is finished while the ring has it, then come the last words. */
    expect_error(&slow, "stopping", "being stopped");
    cr_assert_eq(slow.events, 1);
}

Test(bus, half_a_frame_is_waited_for_no_longer_than_ten_seconds)
{
    static const uint8_t half[] = {0, 0, 0, 20, 0x92};
    const struct buffer bytes = {.data = (uint8_t *)half, .size = sizeof half};
    stage_open(0);
    subscribe_with(&LATEST);
    stage_send(&client, &bytes);
    stage_settle();
    stage_pass(9000000000);
    stage_settle();
    stage_read(&client, ALL);
    cr_assert_not(client.closed);
    stage_pass(2000000000);
    stage_settle();
    stage_settle();
    expect_error(&client, "timeout", "10 s");
}

/* The beginning of a frame of 60,000 bytes. */
static void send_part(struct stage_client *subscriber, size_t bytes)
{
    static uint8_t part[60000] = {0, 0, 0xea, 0x5c};
    stage_send(subscriber, &(struct buffer){.data = part, .size = bytes});
}

static void subscribe_many(struct stage_client *many, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        stage_connect(&many[i], false, 0);
        stage_subscribe(&many[i], &LATEST);
    }
    stage_settle();
}

Test(bus, the_beginning_of_a_frame_keeps_no_more_memory_than_it_needs)
{
    enum { MANY = 400 };
    static struct stage_client many[MANY];
    stage_open(0);
    subscribe_many(many, MANY);
    for (int i = 0; i < MANY; i++)
        send_part(&many[i], 1);
    stage_settle();
    cr_assert_leq(stage_bus->input_bytes, MANY * 256);
    stage_append(3, 10);
    stage_commit();
    for (int i = 0; i < MANY; i++)
        expect_all(&many[i]);
}

Test(bus, where_unfinished_frames_need_too_much_who_has_held_his_for_longest_has_to_go)
{
    enum { MANY = 90 };
    static struct stage_client many[MANY];
    unsigned closed = 0;
    stage_open(0);
    subscribe_many(many, MANY);
    subscribe_with(&LATEST);
    for (int i = 0; i < MANY; i++) {
        send_part(&many[i], 50000);
        stage_settle();
        stage_pass(1000000);
    }
    send_part(&client, 1000);
    stage_settle();
    cr_assert_leq(stage_bus->input_bytes, BUS_INPUT_BYTES);
    for (int i = 0; i < MANY; i++) {
        stage_read(&many[i], ALL);
        cr_assert(!many[i].closed || closed == (unsigned)i, "%d, after %u", i, closed);
        closed += many[i].closed;
    }
    cr_assert_gt(closed, 0);
    cr_assert_lt(closed, MANY);
    expect_error(&many[0], "busy", "unfinished for longest");
    stage_append(3, 10);
    stage_commit();
    expect_all(&client);
}

/* What has come already waits in the buffer while answers are to be read, and not for ever. */
Test(bus, takes_everything_that_was_sent_when_the_answers_to_it_were_read)
{
    enum { PINGS = 800 };
    struct buffer pings = {0};
    const struct wire_subscribe subscribe = after(0);
    for (int i = 0; i < PINGS; i++)
        cr_assert_eq(wire_write_ping(&pings, (uint64_t)i, &error), OK);
    for (unsigned events = 1; events <= 40; events += 3) {
        stage_open(0);
        stage_append(events, 10000);
        stage_commit();
        stage_connect(&client, false, 16384);
        stage_subscribe(&client, &subscribe);
        stage_settle(); /* it stands in the middle of a frame */
        stage_send(&client, &pings);
        expect_all(&client);
        cr_assert_eq(client.pongs, PINGS, "%u, behind %u events", client.pongs, events);
        stage_close();
    }
    buffer_release(&pings);
}

/* ---- Lines ---- */

static void expect_lines(struct stage_client *subscriber, const char *text)
{
    stage_settle();
    stage_read(subscriber, ALL);
    cr_assert_eq(buffer_append(subscriber->received, "", 1, &error), OK);
    cr_assert_not_null(strstr((char *)subscriber->received->data, text), "%s is not in: %s", text,
                       (char *)subscriber->received->data);
    subscriber->received->size = 0;
}

Test(bus, speaks_in_lines)
{
    stage_open(0);
    make_blocks(4, 2, 2);
    stage_connect(&client, true, 0);
    stage_say(&client, "{\"subscribe\":{\"topics\":[\"even\"],\"after\":1,\"credit\":1}}\n");
    expect_lines(&client, "{\"subscribed\":{\"after\":1,\"durable\":4,\"log\":\"");
    stage_say(&client, "{\"credit\":5}\n\n");
    expect_lines(&client,
                 "{\"seq\":4,\"time\":\"1970-01-01T00:00:04.000000000Z\",\"topic\":\"even\","
                 "\"payload\":{\"n\":4,\"fill\":{\"$bin\":\"DA0=\"}}}\n{\"caught_up\":4}\n");
    stage_say(&client, "{\"pub\":1}\n");
    expect_lines(&client, "{\"ok\":false,\"error\":\"a subscriber's line has one key");
    cr_assert(client.closed);
}

Test(bus, commits_in_lines_and_takes_a_last_line_without_its_end)
{
    stage_open(0);
    make_blocks(4, 2, 2);
    stage_connect(&client, true, 0);
    stage_say(&client, "{\"subscribe\":{\"cursor\":\"c\"}}");
    cr_assert_eq(shutdown(client.fd, SHUT_WR), 0);
    expect_lines(&client, "{\"caught_up\":4}\n");
    stage_connect(&client, true, 0);
    stage_say(&client, "{\"subscribe\":{\"cursor\":\"c\"}}\n");
    stage_settle();
    stage_say(&client, "{\"commit\":3}\n");
    expect_lines(&client, "{\"committed\":3}\n");
}

/* ---- Sleeping ---- */

Test(bus, sleeps_only_while_nothing_more_is_durable)
{
    struct progress *progress = stage_progress();
    stage_open(0);
    subscribe_with(&LATEST);
    stage_settle();
    cr_assert(progress_await(progress, segment_log_durable(stage_log)));
    stage_append(1, 10);
    stage_commit(); /* it waits: this wakes it */
    cr_assert_not(atomic_load(&progress->bus_waits));
    cr_assert_not(progress_await(progress, segment_log_durable(stage_log) - 1));
    expect_all(&client);
    cr_assert_eq(client.events, 1);
}

Test(bus, where_nobody_waits_a_commit_writes_to_no_descriptor)
{
    uint64_t count;
    struct progress *progress = stage_progress();
    stage_open(0);
    make_blocks(20, 3, 10);
    cr_assert_lt(read(progress->bus_fd, &count, sizeof count), 0);
}
