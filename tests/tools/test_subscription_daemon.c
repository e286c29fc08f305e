/*
 * Subscriptions of the client library against a real daemon, which is killed, too; where a daemon
 * would have to misbehave there is test_subscription.c.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/tools/real_daemon.h"
#include "tools/client/daybook.h"

TestSuite(subscription_daemon, .fini = clean_up, .timeout = 240);

static struct daybook_error error;

/* ---- A publisher beside it ---- */

/* Event n has the payload n, as msgpack, and n's remainder in its topic: "count.0" to "count.9". */
static void publish(struct daybook *daybook, uint64_t n)
{
    uint8_t payload[9] = {0xcf};
    char topic[16];
    struct daybook_error why;
    for (int i = 0; i < 8; i++)
        payload[1 + i] = (uint8_t)(n >> (56 - 8 * i));
    snprintf(topic, sizeof topic, "count.%u", (unsigned)(n % 10));
    struct daybook_event event = {
        .time_ns = (int64_t)n, .topic = topic, .topic_bytes = 7, .payload = payload,
        .payload_bytes = sizeof payload};
    cr_assert_eq(daybook_send(daybook, &event, &why), DAYBOOK_OK, "%s", why.text);
}

static struct daybook *connect_publisher(void)
{
    struct daybook *daybook;
    struct daybook_error why;
    struct daybook_options options = {.socket = socket_path(), .producer = "p"};
    cr_assert_eq(daybook_connect(&options, &daybook, &why), DAYBOOK_OK, "%s", why.text);
    return daybook;
}

static void publish_range(uint64_t first, uint64_t last)
{
    struct daybook_error why;
    struct daybook *daybook = connect_publisher();
    for (uint64_t n = first; n <= last; n++)
        publish(daybook, n);
    cr_assert_eq(daybook_flush(daybook, &why), DAYBOOK_OK, "%s", why.text);
    daybook_close(daybook);
}

/* ---- A subscriber ---- */

static const struct daybook_subscription_options EARLIEST = {.start = DAYBOOK_START_EARLIEST};

static struct daybook_subscription *subscribe_to(struct daybook_subscription_options options)
{
    struct daybook_subscription *subscription = NULL;
    options.socket = socket_path();
    cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_OK, "%s", error.text);
    return subscription;
}

static uint64_t number_of(const struct daybook_event *event)
{
    uint64_t n = 0;
    cr_assert_eq(event->payload_bytes, 9);
    for (int i = 1; i <= 8; i++)
        n = n << 8 | ((const uint8_t *)event->payload)[i];
    return n;
}

/* The next event; markers are passed over. */
static struct daybook_event take(struct daybook_subscription *subscription)
{
    struct daybook_event event;
    enum daybook_code code;
    do
        code = daybook_subscription_next(subscription, 60000, &event, &error);
    while (code == DAYBOOK_CAUGHT_UP);
    cr_assert_eq(code, DAYBOOK_OK, "%d: %s", (int)code, error.text);
    return event;
}

/* An event's sequence is its number, too, unless a kill in the middle of a write has cost some. */
static uint64_t expect_number(struct daybook_subscription *subscription, uint64_t n)
{
    struct daybook_event event = take(subscription);
    uint64_t number = number_of(&event);
    cr_assert_eq(number, n, "%llu, of sequence %llu, instead of %llu", (unsigned long long)number,
                 (unsigned long long)event.sequence, (unsigned long long)n);
    cr_assert_eq(event.time_ns, (int64_t)n);
    cr_assert_geq(event.sequence, n);
    return event.sequence;
}

static void expect_numbers(struct daybook_subscription *subscription, uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++)
        expect_number(subscription, n);
}

static void expect_code(struct daybook_subscription *subscription, enum daybook_code expected)
{
    struct daybook_event event;
    enum daybook_code code;
    do
        code = daybook_subscription_next(subscription, 60000, &event, &error);
    while (code == DAYBOOK_CAUGHT_UP && expected != DAYBOOK_CAUGHT_UP);
    cr_assert_eq(code, expected, "%d: %s", (int)code, code ? error.text : "an event");
}

/* ---- The stream ---- */

Test(subscription_daemon, gives_history_and_then_what_comes)
{
    struct daybook_event event;
    start_daemon();
    publish_range(1, 5000);
    struct daybook_subscription *subscription = subscribe_to(EARLIEST);
    expect_numbers(subscription, 1, 5000);
    expect_code(subscription, DAYBOOK_CAUGHT_UP);
    cr_assert_eq(daybook_subscription_next(subscription, 0, &event, &error), DAYBOOK_END);
    publish_range(5001, 5010);
    expect_numbers(subscription, 5001, 5010);
    daybook_subscription_close(subscription);
    end_daemon(SIGTERM);
}

Test(subscription_daemon, begins_where_it_is_told_to)
{
    start_daemon();
    publish_range(1, 1000);
    struct daybook_subscription *subscription = subscribe_to(
        (struct daybook_subscription_options){.start = DAYBOOK_START_AFTER, .after = 700});
    expect_numbers(subscription, 701, 1000);
    daybook_subscription_close(subscription);
    subscription = subscribe_to(
        (struct daybook_subscription_options){.start = DAYBOOK_START_SINCE, .since_ns = 900});
    expect_numbers(subscription, 900, 1000);
    daybook_subscription_close(subscription);
    struct daybook_subscription *latest = subscribe_to((struct daybook_subscription_options){0});
    publish_range(1001, 1001);
    expect_numbers(latest, 1001, 1001);
    daybook_subscription_close(latest);
}

Test(subscription_daemon, gives_what_the_filter_lets_through_and_the_position_passes_the_rest)
{
    static const char *const TOPICS[] = {"count.3", "*.7", NULL};
    start_daemon();
    publish_range(1, 2000);
    struct daybook_subscription *subscription = subscribe_to((struct daybook_subscription_options){
        .start = DAYBOOK_START_EARLIEST, .topics = TOPICS,
        .where = "seq > 1000", .window_events = 7});
    for (uint64_t ten = 1000; ten < 2000; ten += 10) {
        cr_assert_eq(take(subscription).sequence, ten + 3);
        cr_assert_eq(take(subscription).sequence, ten + 7);
    }
    expect_code(subscription, DAYBOOK_CAUGHT_UP);
    cr_assert_eq(daybook_subscription_position(subscription), 2000);
    daybook_subscription_close(subscription);
}

Test(subscription_daemon, a_where_that_is_no_sql_is_refused_with_its_reason)
{
    struct daybook_subscription *subscription;
    struct daybook_subscription_options options = {.socket = socket_path(), .where = "seq >"};
    start_daemon();
    cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "where"), "%s", error.text);
}

static void delete_the_oldest(void)
{
    char command[8192];
    const char *build = getenv("BUILD");
    snprintf(command, sizeof command, "%s/daybook retention -D '%s' --max-size 1 >'%s' 2>&1",
             build ? build : "build", log_path(), scratch_path("retention"));
    cr_assert_eq(system(command), 0);
}

Test(subscription_daemon, tells_what_retention_was_faster_with)
{
    enum { OLD = 100000 };
    struct daybook_lost lost;
    start_daemon();
    publish_range(1, OLD);
    delete_the_oldest();
    struct daybook_subscription *subscription = subscribe_to(
        (struct daybook_subscription_options){.start = DAYBOOK_START_AFTER, .after = 1});
    expect_code(subscription, DAYBOOK_LOST);
    daybook_subscription_lost(subscription, &lost);
    cr_assert_eq(lost.first, 2);
    cr_assert_gt(lost.last, 2);
    cr_assert_str_eq(lost.cause, "retention");
    expect_numbers(subscription, lost.last + 1, OLD);
    expect_code(subscription, DAYBOOK_CAUGHT_UP);
    daybook_subscription_close(subscription);
    subscription = subscribe_to(EARLIEST);
    expect_numbers(subscription, lost.last + 1, OLD);
    daybook_subscription_close(subscription);
}

/* ---- Killed daemons ---- */

enum { MANY = 40000, KILL_EVERY = 7001 };

static void *publish_many(void *unused)
{
    (void)unused;
    publish_range(1, MANY);
    return NULL;
}

/* The publisher is at work all the time, and goes through the same. */
static void restart_after_a_kill(void)
{
    end_daemon(SIGKILL);
    start_daemon();
}

Test(subscription_daemon, a_subscriber_survives_killed_daemons_without_loss_or_double)
{
    pthread_t publisher;
    start_daemon();
    struct daybook_subscription *subscription = subscribe_to(EARLIEST);
    cr_assert_eq(pthread_create(&publisher, NULL, publish_many, NULL), 0);
    for (uint64_t n = 1; n <= MANY; n++) {
        expect_numbers(subscription, n, n);
        if (n % KILL_EVERY == 0)
            restart_after_a_kill();
    }
    pthread_join(publisher, NULL);
    struct daybook_subscription_counts counts;
    daybook_subscription_count(subscription, &counts);
    cr_assert_eq(counts.events, MANY);
    cr_assert_gt(counts.reconnects, 0);
    daybook_subscription_close(subscription);
    end_daemon(SIGTERM);
}

/* Each life of the subscriber begins behind the last commit that it was told of. */
Test(subscription_daemon, a_new_subscriber_goes_on_where_the_last_one_had_committed)
{
    pthread_t publisher;
    uint64_t next = 1;
    start_daemon();
    cr_assert_eq(pthread_create(&publisher, NULL, publish_many, NULL), 0);
    while (next <= MANY) {
        struct daybook_subscription *subscription =
            subscribe_to((struct daybook_subscription_options){.cursor = "reader"});
        uint64_t end = next + KILL_EVERY < MANY ? next + KILL_EVERY : MANY;
        uint64_t sequence = 0;
        for (; next <= end; next++) {
            sequence = expect_number(subscription, next);
            cr_assert_eq(daybook_subscription_commit(subscription, sequence, &error), DAYBOOK_OK);
            if (next == end - KILL_EVERY / 2)
                restart_after_a_kill();
        }
        cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s",
                     error.text);
        struct daybook_subscription_counts counts;
        daybook_subscription_count(subscription, &counts);
        cr_assert_eq(counts.committed, sequence);
        if (end < MANY)
            expect_numbers(subscription, end + 1, end + 1); /* Not committed: it comes again. */
        daybook_subscription_close(subscription);
    }
    pthread_join(publisher, NULL);
    end_daemon(SIGTERM);
}

/* ---- Other logs, other subscribers ---- */

Test(subscription_daemon, another_log_is_told_aloud)
{
    start_daemon();
    publish_range(1, 10);
    struct daybook_subscription *subscription = subscribe_to(EARLIEST);
    expect_numbers(subscription, 1, 10);
    end_daemon(SIGTERM);
    cr_assert_eq(rename(log_path(), scratch_path("other")), 0);
    start_daemon();
    publish_range(1, 20);
    expect_code(subscription, DAYBOOK_FOREIGN);
    daybook_subscription_close(subscription);
}

Test(subscription_daemon, an_older_copy_of_the_log_is_told_aloud)
{
    start_daemon();
    publish_range(1, 10);
    end_daemon(SIGTERM);
    scratch_copy(log_path(), scratch_path("copy"));
    start_daemon();
    publish_range(11, 20);
    struct daybook_subscription *subscription = subscribe_to(EARLIEST);
    expect_numbers(subscription, 1, 20);
    end_daemon(SIGTERM);
    cr_assert_eq(rename(log_path(), scratch_path("newer")), 0);
    cr_assert_eq(rename(scratch_path("copy"), log_path()), 0);
    start_daemon();
    expect_code(subscription, DAYBOOK_DAMAGED);
    cr_assert_not_null(strstr(error.text, "older copy"), "%s", error.text);
    daybook_subscription_close(subscription);
}

Test(subscription_daemon, the_newest_subscriber_has_the_cursor)
{
    start_daemon();
    publish_range(1, 10);
    struct daybook_subscription_options options = {.cursor = "c"};
    struct daybook_subscription *old = subscribe_to(options);
    expect_numbers(old, 1, 10);
    struct daybook_subscription *new = subscribe_to(options);
    expect_code(old, DAYBOOK_REPLACED);
    expect_code(old, DAYBOOK_REPLACED);
    expect_numbers(new, 1, 10);
    daybook_subscription_close(old);
    daybook_subscription_close(new);
}

/* ---- Groups ---- */

static struct daybook_subscription_options member(unsigned window)
{
    return (struct daybook_subscription_options){.cursor = "g",
                                                 .start = DAYBOOK_START_EARLIEST,
                                                 .shared = true,
                                                 .window_events = window,
                                                 .tries = 3};
}

static void flush(struct daybook_subscription *subscription)
{
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
}

/* How often was each event of 1 to `last` given, up to now? */
enum { SHARED = 2000 };
static unsigned times_given[SHARED + 1];

static void take_and_accept(struct daybook_subscription *subscription, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct daybook_event event = take(subscription);
        cr_assert(event.sequence >= 1 && event.sequence <= SHARED);
        times_given[event.sequence]++;
        cr_assert_eq(daybook_subscription_accept(subscription, event.sequence, &error), DAYBOOK_OK);
    }
}

static void expect_each_once(uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++)
        cr_assert_eq(times_given[n], 1, "event %llu was given %u times", (unsigned long long)n,
                     times_given[n]);
}

Test(subscription_daemon, the_members_of_a_group_share_its_events)
{
    enum { MEMBERS = 4 };
    struct daybook_subscription *members[MEMBERS];
    struct daybook_event event;
    unsigned busy = 0;
    uint64_t given = 0, of_member[MEMBERS] = {0};
    start_daemon();
    publish_range(1, SHARED);
    for (int i = 0; i < MEMBERS; i++)
        members[i] = subscribe_to(member(8));
    while (given < SHARED) {
        int i = (int)(busy++ % MEMBERS);
        while (daybook_subscription_next(members[i], 1, &event, &error) == DAYBOOK_OK) {
            cr_assert_eq(event.tries, 1);
            times_given[event.sequence]++;
            of_member[i]++;
            given++;
            cr_assert_eq(daybook_subscription_accept(members[i], event.sequence, &error),
                         DAYBOOK_OK);
        }
    }
    uint64_t settled = 0;
    for (int i = 0; i < MEMBERS; i++) {
        struct daybook_subscription_counts counts;
        flush(members[i]);
        daybook_subscription_count(members[i], &counts);
        settled += counts.settled;
        cr_assert_gt(of_member[i], 0, "each has its share");
        daybook_subscription_close(members[i]);
    }
    cr_assert_eq(settled, SHARED);
    expect_each_once(1, SHARED);
}

static void expect_try(struct daybook_subscription *subscription, unsigned tries)
{
    struct daybook_event event = take(subscription);
    cr_assert_eq(event.sequence, 1);
    cr_assert_eq(event.tries, tries);
}

Test(subscription_daemon, what_a_member_leaves_behind_is_tried_again_and_at_last_put_aside)
{
    static const char *const TOPICS[] = {"count.*", NULL};
    struct daybook_subscription_options options = member(1);
    options.topics = TOPICS;
    start_daemon();
    publish_range(1, 1);
    struct daybook_subscription *subscription = subscribe_to(options);
    expect_try(subscription, 1);
    daybook_subscription_close(subscription); /* Without a word. */
    subscription = subscribe_to(options);
    expect_try(subscription, 2);
    cr_assert_eq(daybook_subscription_release(subscription, 1, &error), DAYBOOK_OK);
    flush(subscription);
    expect_try(subscription, 3);
    cr_assert_eq(daybook_subscription_release(subscription, 1, &error), DAYBOOK_OK);
    flush(subscription);

    static const char *const DEAD[] = {"_dead.g", NULL};
    struct daybook_subscription *dead = subscribe_to((struct daybook_subscription_options){
        .start = DAYBOOK_START_EARLIEST, .topics = DEAD});
    struct daybook_event event = take(dead);
    char *json;
    cr_assert_eq(daybook_payload_json(event.payload, event.payload_bytes, &json, &error),
                 DAYBOOK_OK);
    cr_assert_not_null(strstr(json, "\"seq\":1,"), "%s", json);
    free(json);
    daybook_subscription_close(dead);
    publish_range(2, 2);
    event = take(subscription);
    cr_assert_eq(number_of(&event), 2, "and the group goes on");
    daybook_subscription_close(subscription);
}

static uint64_t given_so_far(uint64_t first, uint64_t last)
{
    uint64_t count = 0;
    for (uint64_t n = first; n <= last; n++)
        count += times_given[n] > 0;
    return count;
}

/* What was on its way to the member may come twice; what flush has seen settled must not. */
Test(subscription_daemon, what_a_group_has_settled_never_comes_again_after_a_kill)
{
    enum { HALF = SHARED / 2 };
    start_daemon();
    publish_range(1, SHARED);
    struct daybook_subscription *subscription = subscribe_to(member(64));
    take_and_accept(subscription, HALF);
    flush(subscription);
    expect_each_once(1, HALF);
    restart_after_a_kill();
    while (given_so_far(HALF + 1, SHARED) < SHARED - HALF)
        take_and_accept(subscription, 1);
    expect_each_once(1, HALF);
    daybook_subscription_close(subscription);
}
