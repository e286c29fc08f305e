/* What a subscriber commits, accepts and releases, over lost connections too. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/tools/played_subscription.h"

TestSuite(subscription_settle, .timeout = 120);

static const struct daybook_subscription_options CURSOR = {.cursor = "c"};
static const struct daybook_subscription_options GROUP = {
    .cursor = "g", .shared = true, .window_events = 100};

/* ---- Commits ---- */

/* Events up to `last`, then answers to commits until `last` is committed. */
static void give_and_answer_commits(int fd, uint64_t last)
{
    uint64_t committed;
    say_events(fd, 1, last);
    do {
        committed = read_commit(fd);
        say_committed(fd, committed);
    } while (committed < last);
}

static void commit_all(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    give_and_answer_commits(fd, 500);
    played_await_end(fd);
}

Test(subscription_settle, a_commit_is_durable_after_flush)
{
    played_start(&played, commit_all);
    struct daybook_subscription *subscription = subscribe(CURSOR);
    for (uint64_t sequence = 1; sequence <= 500; sequence++) {
        expect_event(subscription, sequence);
        cr_assert_eq(daybook_subscription_commit(subscription, sequence, &error), DAYBOOK_OK);
    }
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(counts_of(subscription).committed, 500);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "nothing to do");
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* Nothing but the commits tells it that the program is there. */
static void wait_for_each_commit(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 4);
    cr_assert_eq(read_commit(fd), 1);
    uint64_t committed = 1;
    while (committed < 4)
        committed = read_commit(fd);
    say_committed(fd, 4);
    played_await_end(fd);
}

Test(subscription_settle, a_commit_leaves_while_the_program_waits_for_more)
{
    struct daybook_event event;
    played_start(&played, wait_for_each_commit);
    struct daybook_subscription *subscription = subscribe(CURSOR);
    for (uint64_t sequence = 1; sequence <= 4; sequence++) {
        expect_event(subscription, sequence);
        cr_assert_eq(daybook_subscription_commit(subscription, sequence, &error), DAYBOOK_OK);
    }
    while (counts_of(subscription).committed < 4)
        cr_assert_eq(daybook_subscription_next(subscription, 20, &event, &error), DAYBOOK_END);
    daybook_subscription_close(subscription);
    played_end(&played);
}

Test(subscription_settle, what_cannot_be_committed_is_refused_here)
{
    played_start(&played, commit_all);
    struct daybook_subscription *subscription = subscribe(CURSOR);
    expect_event(subscription, 1);
    cr_assert_eq(daybook_subscription_commit(subscription, 2, &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "not given yet"), "%s", error.text);
    cr_assert_eq(daybook_subscription_accept(subscription, 1, &error), DAYBOOK_INVALID);
    expect_events(subscription, 2, 500);
    cr_assert_eq(daybook_subscription_commit(subscription, 500, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_commit(subscription, 3, &error), DAYBOOK_OK, "no effect");
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void give_one(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    struct buffer frame = {0};
    add_frame(&frame, 1, 1, 1, 1);
    played_send_buffer(&played, fd, &frame);
    played_await_end(fd);
}

Test(subscription_settle, each_kind_of_subscription_has_its_own_way_to_settle)
{
    played_start(&played, give_one);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    expect_event(subscription, 1);
    cr_assert_eq(daybook_subscription_commit(subscription, 1, &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "without a cursor"), "%s", error.text);
    daybook_subscription_close(subscription);
    played_end(&played);
    scratch_delete(scratch_path("played.sock"));

    played_start(&played, give_one);
    subscription = subscribe(GROUP);
    expect_event(subscription, 1);
    cr_assert_eq(daybook_subscription_commit(subscription, 1, &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "group"), "%s", error.text);
    cr_assert_eq(daybook_subscription_accept(subscription, 2, &error), DAYBOOK_INVALID);
    cr_assert_eq(daybook_subscription_position(subscription), 0);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- Flush, with a stream before the answer ---- */

enum { FIRST = 10, AHEAD = 300 };

static void answer_behind_a_stream(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, FIRST);
    uint64_t committed = read_commit(fd);
    for (uint64_t sequence = FIRST + 1; sequence <= AHEAD; sequence += FIRST)
        say_events(fd, sequence, sequence + FIRST - 1);
    say_lost(fd, AHEAD + 1, AHEAD + 2, "damage");
    say_caught_up(fd, AHEAD + 2);
    say_committed(fd, committed);
    committed = read_commit(fd);
    say_events(fd, AHEAD + 3, AHEAD + 3);
    say_committed(fd, committed);
    played_await_end(fd);
}

/* In the middle of a frame, whose rest and what follows must come afterwards, in order. */
Test(subscription_settle, flush_keeps_the_events_that_stand_before_the_answer)
{
    played_start(&played, answer_behind_a_stream);
    struct daybook_subscription *subscription = subscribe(CURSOR);
    expect_events(subscription, 1, 4);
    cr_assert_eq(daybook_subscription_commit(subscription, 4, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(counts_of(subscription).committed, 4);
    expect_events(subscription, 5, 25);
    cr_assert_eq(daybook_subscription_commit(subscription, 25, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    expect_events(subscription, 26, AHEAD);
    expect_code(subscription, DAYBOOK_LOST);
    expect_code(subscription, DAYBOOK_CAUGHT_UP);
    expect_event(subscription, AHEAD + 3);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void never_answer(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 2);
    cr_assert_eq(read_commit(fd), 1);
    say_events(fd, 3, 3);
    played_await_end(fd);
}

Test(subscription_settle, flush_does_not_wait_beyond_the_limit)
{
    played_start(&played, never_answer);
    struct daybook_subscription *subscription =
        subscribe((struct daybook_subscription_options){.cursor = "c", .retry_timeout_ms = 50});
    expect_event(subscription, 1);
    cr_assert_eq(daybook_subscription_commit(subscription, 1, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_TIMEOUT);
    expect_events(subscription, 2, 3);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- Commits over lost connections ---- */

enum { GIVEN = 400, SMALL_WINDOW = 10 };

/*
 * Dies with all but the first hundred committed. Then it takes a commit only of what it has sent on
 * this connection, and sends no more than it has credit for, as the real one does.
 */
static void die_with_a_commit(struct played *unused)
{
    (void)unused;
    int fd = played_welcome(&played);
    cr_assert_eq(read_subscribe(fd).start, WIRE_START_EARLIEST);
    say_subscribed(fd, 0);
    say_events(fd, 1, GIVEN);
    uint64_t committed = read_commit(fd);
    while (committed < 100)
        committed = read_commit(fd);
    say_committed(fd, 100);
    while (committed < GIVEN)
        committed = read_commit(fd);
    close(fd);

    fd = played_welcome(&played);
    struct wire_subscribe request = read_subscribe(fd);
    cr_assert_eq(request.after, 100, "where a cursor begins that is not there any more");
    say_subscribed(fd, 100);
    uint64_t credit = request.credit, sent = 100;
    committed = 0;
    while (committed < GIVEN) {
        for (; credit > 0 && sent < GIVEN; credit--, sent++)
            say_events(fd, sent + 1, sent + 1);
        enum wire_type type;
        uint32_t left;
        uint64_t value;
        struct msgpack_cursor cursor = played_read(&played, fd, &type, &left);
        if (type == WIRE_CREDIT) {
            cr_assert_eq(wire_read_credit(cursor, left, &value, NULL), OK);
            credit += value;
        } else {
            cr_assert_eq(type, WIRE_COMMIT);
            cr_assert_eq(wire_read_commit(cursor, left, &committed, NULL), OK);
            cr_assert_leq(committed, sent, "a commit above what was sent ends the connection");
        }
    }
    say_committed(fd, committed);
    say_events(fd, GIVEN + 1, GIVEN + 1);
    played_await_end(fd);
}

static struct daybook_subscription *take_and_commit(void)
{
    played.durable = GIVEN + 1;
    played_start(&played, die_with_a_commit);
    struct daybook_subscription *subscription = subscribe((struct daybook_subscription_options){
        .cursor = "c", .start = DAYBOOK_START_EARLIEST, .window_events = SMALL_WINDOW});
    expect_events(subscription, 1, 100);
    cr_assert_eq(daybook_subscription_commit(subscription, 100, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    expect_events(subscription, 101, GIVEN);
    cr_assert_eq(daybook_subscription_commit(subscription, GIVEN, &error), DAYBOOK_OK);
    return subscription;
}

Test(subscription_settle, next_gives_nothing_twice_after_a_crash_and_commits_again)
{
    struct daybook_subscription *subscription = take_and_commit();
    expect_event(subscription, GIVEN + 1);
    cr_assert_eq(counts_of(subscription).committed, GIVEN);
    cr_assert_eq(counts_of(subscription).reconnects, 1);
    cr_assert_eq(counts_of(subscription).events, GIVEN + 1);
    daybook_subscription_close(subscription);
    played_end(&played);
}

Test(subscription_settle, flush_commits_again_after_a_crash)
{
    struct daybook_subscription *subscription = take_and_commit();
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(counts_of(subscription).committed, GIVEN);
    expect_event(subscription, GIVEN + 1);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void move_the_cursor(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(5);
    say_events(fd, 6, 9);
    close(fd);
    fd = subscribe_behind(2); /* back */
    say_events(fd, 3, 4);
    close(fd);
    fd = subscribe_behind(50); /* and far ahead */
    say_events(fd, 51, 51);
    played_await_end(fd);
}

Test(subscription_settle, a_cursor_that_somebody_moved_meanwhile_is_followed)
{
    played.durable = 51;
    played_start(&played, move_the_cursor);
    struct daybook_subscription *subscription = subscribe(CURSOR);
    expect_events(subscription, 6, 9);
    expect_events(subscription, 3, 4);
    expect_event(subscription, 51);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- Groups ---- */

static uint8_t settled_as[32]; /* by sequence: a wire_type */

/* The next accept or release is answered; how many events were in it? */
static uint64_t answer_settle(int fd)
{
    static struct wire_range ranges[WIRE_RANGES_MAX];
    enum wire_type type;
    uint32_t left, count = 0;
    uint64_t id, settled = 0;
    struct msgpack_cursor cursor;
    struct buffer frame = {0};
    do
        cursor = played_read(&played, fd, &type, &left);
    while (type == WIRE_CREDIT);
    cr_assert(type == WIRE_ACCEPT || type == WIRE_RELEASE);
    cr_assert_eq(wire_read_settle(cursor, left, &id, ranges, &count, NULL), OK);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(i == 0 || ranges[i].first != ranges[i - 1].last + 1, "neighbours share a range");
        for (uint64_t sequence = ranges[i].first; sequence <= ranges[i].last; sequence++) {
            settled_as[sequence] = (uint8_t)type;
            settled++;
        }
    }
    wire_write_settled(&frame, id, settled, NULL);
    played_send_buffer(&played, fd, &frame);
    return settled;
}

static void say_group_events(int fd, uint64_t first, uint64_t last, unsigned tries)
{
    struct buffer frame = {0};
    add_frame(&frame, last, first, last, tries);
    played_send_buffer(&played, fd, &frame);
}

static void share(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_group_events(fd, 1, 9, 1);
    for (uint64_t settled = 0; settled < 9;)
        settled += answer_settle(fd);
    say_group_events(fd, 5, 5, 2); /* Again, and behind later ones. */
    for (uint64_t settled = 0; settled < 1;)
        settled += answer_settle(fd);
    played_await_end(fd);
}

Test(subscription_settle, a_member_accepts_and_releases_what_it_was_given)
{
    played_start(&played, share);
    struct daybook_subscription *subscription = subscribe(GROUP);
    for (uint64_t sequence = 1; sequence <= 9; sequence++)
        cr_assert_eq(expect_event(subscription, sequence).tries, 1);
    for (uint64_t sequence = 1; sequence <= 9; sequence++)
        if (sequence == 5)
            cr_assert_eq(daybook_subscription_release(subscription, 5, &error), DAYBOOK_OK);
        else
            cr_assert_eq(daybook_subscription_accept(subscription, sequence, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(counts_of(subscription).settled, 9);
    for (uint64_t sequence = 1; sequence <= 9; sequence++)
        cr_assert_eq(settled_as[sequence], sequence == 5 ? WIRE_RELEASE : WIRE_ACCEPT);
    cr_assert_eq(expect_event(subscription, 5).tries, 2);
    cr_assert_eq(daybook_subscription_accept(subscription, 5, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(settled_as[5], WIRE_ACCEPT);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* More ranges than a frame may have: every second event of the most that a group may have out. */
enum { OUT = 3 * WIRE_RANGES_MAX };

static void take_every_second(struct played *unused)
{
    static struct wire_range ranges[WIRE_RANGES_MAX];
    (void)unused;
    int fd = subscribe_behind(0);
    say_group_events(fd, 1, OUT, 1);
    uint64_t next = 1;
    while (next < OUT) {
        enum wire_type type;
        uint32_t left, count = 0;
        uint64_t id;
        struct buffer frame = {0};
        struct msgpack_cursor cursor = played_read(&played, fd, &type, &left);
        if (type == WIRE_CREDIT)
            continue;
        cr_assert_eq(wire_read_settle(cursor, left, &id, ranges, &count, NULL), OK);
        for (uint32_t i = 0; i < count; i++, next += 2) {
            cr_assert_eq(ranges[i].first, next);
            cr_assert_eq(ranges[i].last, next);
        }
        wire_write_settled(&frame, id, count, NULL);
        played_send_buffer(&played, fd, &frame);
    }
    played_await_end(fd);
}

Test(subscription_settle, any_number_of_ranges_is_accepted)
{
    played_start(&played, take_every_second);
    struct daybook_subscription *subscription = subscribe(GROUP);
    for (uint64_t sequence = 1; sequence <= OUT; sequence++)
        expect_event(subscription, sequence);
    for (uint64_t sequence = 1; sequence <= OUT; sequence += 2)
        cr_assert_eq(daybook_subscription_accept(subscription, sequence, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(counts_of(subscription).settled, OUT / 2);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void die_before_it_settles(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_group_events(fd, 1, 3, 1);
    enum wire_type type;
    uint32_t left;
    played_read(&played, fd, &type, &left);
    cr_assert_eq(type, WIRE_ACCEPT);
    close(fd);
    fd = subscribe_behind(0);
    say_group_events(fd, 1, 1, 2);
    cr_assert_eq(answer_settle(fd), 1);
    played_await_end(fd);
}

Test(subscription_settle, what_a_member_had_accepted_when_the_daemon_died_is_unknown)
{
    played.durable = 3;
    played_start(&played, die_before_it_settles);
    struct daybook_subscription *subscription = subscribe(GROUP);
    for (uint64_t sequence = 1; sequence <= 3; sequence++)
        expect_event(subscription, sequence);
    cr_assert_eq(daybook_subscription_accept(subscription, 1, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_UNKNOWN);
    cr_assert_not_null(strstr(error.text, "may come again"), "%s", error.text);
    cr_assert_eq(expect_event(subscription, 1).tries, 2);
    cr_assert_eq(daybook_subscription_accept(subscription, 1, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_OK, "%s", error.text);
    daybook_subscription_close(subscription);
    played_end(&played);
}
