/*
 * Groups on the bus (tools/daybookd/bus_group.h), round by round: what is told when, what failures
 * of the disk leave, and what members who do not read cost.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/file.h"
#include "tests/support/broken_calls.h"
#include "tests/tools/bus_stage.h"

enum { EVENTS_MAX = 4096 };

/* A member's side: what it was told. */
struct member {
    struct stage_client client;
    struct buffer received;
    uint64_t bytes; /* received, in all */
    uint64_t sequences[EVENTS_MAX];
    uint32_t tries[EVENTS_MAX];
    size_t count;
    uint64_t said, settled, settled_ids; /* requests to settle, and of these what was answered */
    bool subscribed, caught_up, closed;
    uint64_t after;
    char error_code[32], error_text[800];
};

static struct error error;
static struct member one, other;

static sem_t let_go; /* the keeper, if it is held */
static bool held;

static void let_keeper_go(void)
{
    if (held)
        sem_post(&let_go);
    held = false;
}

static void teardown(void)
{
    let_keeper_go();
    if (stage_bus)
        stage_close();
}
TestSuite(bus_group, .fini = teardown);

static void take_frame(struct member *member, const uint8_t *data, size_t size)
{
    struct msgpack_cursor cursor = {data, data + size};
    struct wire_subscribed subscribed;
    struct wire_events events;
    struct wire_error failure;
    enum wire_type type;
    uint32_t left;
    uint64_t id, count;
    cr_assert_eq(wire_read_type(&cursor, &type, &left, &error), OK, "%s", error.text);
    switch (type) {
    case WIRE_SUBSCRIBED:
        cr_assert_eq(wire_read_subscribed(cursor, left, &subscribed, &error), OK);
        member->subscribed = true;
        member->after = subscribed.after;
        break;
    case WIRE_EVENTS:
        cr_assert_eq(wire_read_events(cursor, left, &events, &error), OK);
        for (uint32_t i = 0; i < events.count; i++, member->count++) {
            struct event event;
            cr_assert_eq(wire_read_event(&events.events, &event, &member->tries[member->count],
                                         &error),
                         OK, "%s", error.text);
            member->sequences[member->count] = event.sequence;
        }
        break;
    case WIRE_SETTLED:
        cr_assert_eq(wire_read_settled(cursor, left, &id, &count, &error), OK);
        member->settled += count;
        cr_assert_eq(id, ++member->settled_ids, "answered in the order of the requests");
        break;
    case WIRE_CAUGHT_UP:
        member->caught_up = true;
        break;
    case WIRE_ERROR:
        cr_assert_eq(wire_read_error(cursor, left, &failure, &error), OK);
        snprintf(member->error_code, sizeof member->error_code, "%.*s", (int)failure.code.bytes,
                 failure.code.text);
        snprintf(member->error_text, sizeof member->error_text, "%.*s", (int)failure.text.bytes,
                 failure.text.text);
        break;
    default:
        break;
    }
}

static void take(struct member *member)
{
    struct buffer *received = &member->received;
    for (;;) {
        cr_assert_eq(buffer_reserve(received, 1 << 16, NULL), OK);
        ssize_t got =
            recv(member->client.fd, received->data + received->size, 1 << 16, MSG_DONTWAIT);
        member->closed |= got == 0;
        if (got <= 0)
            break;
        received->size += (size_t)got;
        member->bytes += (uint64_t)got;
    }
    size_t at = 0;
    while (received->size - at >= WIRE_LENGTH_BYTES) {
        size_t length = wire_read_length(received->data + at);
        if (received->size - at < WIRE_LENGTH_BYTES + length)
            break;
        take_frame(member, received->data + at + WIRE_LENGTH_BYTES, length);
        at += WIRE_LENGTH_BYTES + length;
    }
    buffer_consume(received, at);
}

/* Rounds and reading, until nothing comes any more. */
static void settle(struct member *member)
{
    uint64_t before;
    do {
        before = member->bytes;
        stage_settle();
        take(member);
    } while (member->bytes != before);
}

static void join_as(struct member *member, const char *name, struct wire_subscribe subscribe,
                    int socket_bytes)
{
    buffer_release(&member->received); /* of the one before */
    *member = (struct member){0};
    subscribe.cursor = (struct wire_text){name, strlen(name)};
    subscribe.shared = true;
    stage_connect(&member->client, false, socket_bytes);
    stage_subscribe(&member->client, &subscribe);
}

static void join_with(struct member *member, struct wire_subscribe subscribe, int socket_bytes)
{
    join_as(member, "g", subscribe, socket_bytes);
}

static void join(struct member *member)
{
    join_with(member, (struct wire_subscribe){0}, 0);
    settle(member);
    cr_assert(member->subscribed, "%s: %s", member->error_code, member->error_text);
}

static void say(struct member *member, bool accept, uint64_t first, uint64_t last)
{
    struct buffer frame = {0};
    const struct wire_range range = {first, last};
    cr_assert_eq(accept ? wire_write_accept(&frame, ++member->said, &range, 1, &error)
                        : wire_write_release(&frame, ++member->said, &range, 1, &error),
                 OK);
    stage_send(&member->client, &frame);
    buffer_release(&frame);
}

/* What has failed has rested. */
static void rest(struct member *member)
{
    stage_pass(INT64_C(100000000));
    settle(member);
}

static void open_with(unsigned events, size_t bytes)
{
    stage_open(0);
    for (unsigned i = 0; i < events; i++) {
        stage_append(1, bytes);
        stage_commit();
    }
}

static void expect_given(const struct member *member, size_t from, uint64_t first, uint64_t last,
                         uint32_t try_number)
{
    cr_assert_eq(member->count, from + last - first + 1, "%zu", member->count);
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        cr_assert_eq(member->sequences[from + sequence - first], sequence);
        cr_assert_eq(member->tries[from + sequence - first], try_number);
    }
}

/* What is given to the keeper from here on waits until it is let go. */
static struct keeper_task stop;

static void work_stop(struct keeper_task *task)
{
    (void)task;
    while (sem_wait(&let_go) && errno == EINTR)
        ;
}

static void done_stop(struct keeper_task *task)
{
    (void)task;
}

static void hold_keeper(void)
{
    sem_init(&let_go, 0, 0);
    held = true;
    stop = (struct keeper_task){.work = work_stop, .done = done_stop};
    keeper_give(stage_bus->keeper, &stop);
}

Test(bus_group, gives_each_event_and_says_when_that_is_all)
{
    open_with(10, 20);
    join(&one);
    expect_given(&one, 0, 1, 10, 1);
    cr_assert(one.caught_up);
    stage_append(3, 20);
    stage_commit();
    settle(&one);
    expect_given(&one, 10, 11, 13, 1);
}

Test(bus_group, tells_that_something_is_settled_when_that_is_durable_and_not_before)
{
    open_with(10, 20);
    join(&one);
    say(&one, true, 1, 7);
    while (keeper_is_idle(stage_bus->keeper))
        bus_round(stage_bus, 0);
    take(&one);
    cr_assert_eq(one.settled, 0);
    settle(&one);
    cr_assert_eq(one.settled, 7);
}

enum { REPEATS = 1000 };

Test(bus_group, answers_in_the_order_of_the_requests_and_takes_a_bounded_number_of_them)
{
    open_with(10, 20);
    join(&one);
    hold_keeper();
    say(&one, true, 1, 7);
    bus_round(stage_bus, 0);
    /* Nothing is left of these to settle: the answer could be given at once. */
    struct buffer frames = {0};
    const struct wire_range range = {1, 7};
    for (unsigned i = 0; i < REPEATS; i++)
        cr_assert_eq(wire_write_accept(&frames, ++one.said, &range, 1, &error), OK);
    stage_send(&one.client, &frames);
    buffer_release(&frames);
    for (unsigned i = 0; i < 20; i++)
        bus_round(stage_bus, 0);
    const struct bus_group *group =
        LIST_MEMBER(stage_bus->groups.next, struct bus_group, in_groups);
    cr_assert_gt(group->settling_count, 1);
    cr_assert_lt(group->settling_count, REPEATS / 2);
    let_keeper_go();
    settle(&one);
    cr_assert_eq(one.settled, 7);
    cr_assert_eq(one.settled_ids, 1 + REPEATS);
}

Test(bus_group, whose_store_fails_says_so_and_gives_everything_again)
{
    open_with(10, 20);
    join(&one);
    say(&one, true, 1, 4);
    settle(&one);
    cr_assert_eq(one.settled, 4);
    const struct broken_plan plan = {.call = BROKEN_WRITE, .number = 1, .reason = EIO};
    broken_calls_begin(&plan);
    say(&one, true, 5, 9);
    settle(&one);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(one.settled, 4, "nothing of it is durable");
    cr_assert_str_eq(one.error_code, "io");
    cr_assert_not_null(strstr(one.error_text, "settling of the group 'g'"), "%s", one.error_text);
    join(&other);
    cr_assert_eq(other.after, 10);
    /* All that one had; on the first of these it may have been at work. */
    expect_given(&other, 0, 6, 10, 1);
    rest(&other);
    expect_given(&other, 5, 5, 5, 2);
    say(&other, true, 5, 10);
    settle(&other);
    cr_assert_eq(other.settled, 6);
}

/* Groups read one after the other from one place in the log: where that is is not theirs. */
Test(bus_group, whose_store_fails_begins_where_the_disk_says_and_not_where_the_reading_stood)
{
    open_with(10, 20);
    join(&one);
    expect_given(&one, 0, 1, 10, 1);
    const struct broken_plan plan = {.call = BROKEN_WRITE, .number = 1, .reason = EIO};
    broken_calls_begin(&plan);
    say(&one, true, 1, 9);
    while (keeper_is_idle(stage_bus->keeper))
        bus_round(stage_bus, 0);
    hold_keeper();
    keeper_take_done(stage_bus->keeper, true);
    cr_assert_eq(broken_calls_end(), 1);
    /* The group is being closed: who comes now finds it here. */
    join_with(&other, (struct wire_subscribe){0}, 0);
    bus_round(stage_bus, 0);
    cr_assert_eq(stage_bus->group_count, 1);
    let_keeper_go();
    settle(&other);
    cr_assert_eq(other.after, 0);
    expect_given(&other, 0, 1, 10, 1);
}

Test(bus_group, after_group_each_gets_everything)
{
    open_with(10, 20);
    for (unsigned i = 0; i < 24; i++) {
        char name[8];
        snprintf(name, sizeof name, "g%u", i);
        join_as(&one, name, (struct wire_subscribe){0}, 0);
        settle(&one);
        expect_given(&one, 0, 1, 10, 1);
        say(&one, true, 1, 10);
        settle(&one);
        cr_assert_eq(one.settled, 10);
        stage_hang_up(&one.client);
        stage_settle();
        cr_assert_eq(stage_bus->group_count, 0);
    }
}

Test(bus_group, that_cannot_be_opened_says_why)
{
    open_with(3, 20);
    const struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 1, .reason = EIO, .name_part = ".new"};
    broken_calls_begin(&plan);
    join_with(&one, (struct wire_subscribe){0}, 0);
    settle(&one);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_str_eq(one.error_code, "io");
    join(&other);
    expect_given(&other, 0, 1, 3, 1);
}

Test(bus_group, whose_cursor_cannot_be_made_just_now_may_come_again)
{
    open_with(3, 20);
    join(&one);
    char path[4096];
    snprintf(path, sizeof path, "%s/" SEGMENT_CURSORS_DIRECTORY, stage_bus->options.directory);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(file_lock_directory(fd, path, &error), OK, "%s", error.text);
    join_as(&other, "h", (struct wire_subscribe){0}, 0);
    settle(&other);
    cr_assert_str_eq(other.error_code, "busy", "%s", other.error_text);
    cr_assert_not_null(strstr(other.error_text, "just now"), "%s", other.error_text);
    struct stage_client alone;
    stage_connect(&alone, false, 0);
    stage_subscribe(&alone, &(struct wire_subscribe){.cursor = {"s", 1}});
    stage_settle();
    stage_read(&alone, 1 << 20);
    cr_assert_str_eq(alone.error_code, "busy", "%s", alone.error_text);
    close(fd);
    join_as(&other, "h", (struct wire_subscribe){0}, 0);
    settle(&other);
    expect_given(&other, 0, 1, 3, 1);
}

Test(bus_group, stores_what_was_settled_last_when_its_last_member_goes)
{
    open_with(10, 20);
    join(&one);
    say(&one, true, 1, 7);
    bus_round(stage_bus, 0);
    stage_hang_up(&one.client);
    stage_settle();
    join(&other);
    expect_given(&other, 0, 9, 10, 1);
    cr_assert_not(other.caught_up);
    rest(&other);
    expect_given(&other, 2, 8, 8, 2);
    cr_assert(other.caught_up);
}

Test(bus_group, takes_what_was_sent_before_the_daemon_was_told_to_stop)
{
    struct segment_cursor_look look;
    open_with(10, 20);
    join(&one);
    say(&one, true, 1, 7);
    bus_end(stage_bus, "stopping", "the daemon stops");
    settle(&one);
    cr_assert_str_eq(one.error_code, "stopping");
    int fd = open(stage_bus->options.directory, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(segment_cursor_look(fd, "g", NULL, &look, &error), OK, "%s", error.text);
    close(fd);
    cr_assert_eq(look.state.needed, 8);
}

Test(bus_group, without_members_does_not_keep_the_bus_awake_while_the_disk_is_at_work)
{
    open_with(10, 20);
    join(&one);
    hold_keeper();
    say(&one, true, 1, 7);
    bus_round(stage_bus, 0);
    stage_hang_up(&one.client);
    while (atomic_load(&stage_bus->subscribers) > 0)
        bus_round(stage_bus, 0);
    bus_round(stage_bus, 0);
    cr_assert_eq(stage_bus->group_count, 1);
    cr_assert_eq(bus_groups_timeout(stage_bus, 1000), 1000);
    let_keeper_go();
    stage_settle();
    cr_assert_eq(stage_bus->group_count, 0);
}

Test(bus_group, takes_back_what_was_not_settled_in_time)
{
    open_with(2, 20);
    join_with(&one, (struct wire_subscribe){.ack_timeout_ns = INT64_C(10000000000)}, 0);
    settle(&one);
    expect_given(&one, 0, 1, 2, 1);
    stage_pass(INT64_C(5000000000));
    settle(&one);
    cr_assert_eq(one.count, 2);
    stage_pass(INT64_C(6000000000));
    settle(&one);
    cr_assert_eq(one.count, 2);
    rest(&one);
    expect_given(&one, 2, 1, 2, 2);
}

Test(bus_group, wakes_for_what_has_rested_and_not_before)
{
    open_with(2, 20);
    join(&one);
    say(&one, false, 1, 1);
    settle(&one);
    const int64_t second = 1000000000;
    int64_t left_ns = bus_groups_timeout(stage_bus, 3600 * second);
    cr_assert(left_ns > 0 && left_ns <= second / 10, "%" PRId64, left_ns);
    cr_assert_eq(one.count, 2);
    /* As long as nothing else happens: a round at that time is enough. */
    rest(&one);
    expect_given(&one, 2, 1, 1, 2);
    left_ns = bus_groups_timeout(stage_bus, 3600 * second);
    cr_assert(left_ns > second, "%" PRId64, left_ns);
}

Test(bus_group, puts_an_event_whose_tries_are_used_up_into_the_log_once)
{
    open_with(2, 20);
    join_with(&one, (struct wire_subscribe){.tries = 1}, 0);
    settle(&one);
    say(&one, false, 2, 2);
    settle(&one);
    /* Here nobody else is there to append it. */
    cr_assert(bus_append_letters(stage_bus));
    cr_assert_not(bus_append_letters(stage_bus));
    stage_commit();
    stage_settle();
    cr_assert_eq(segment_log_appended(stage_log), 3);
    cr_assert_not(bus_append_letters(stage_bus));
    stage_pass(5000000000);
    stage_settle();
    cr_assert_not(bus_append_letters(stage_bus));
    cr_assert_eq(segment_log_appended(stage_log), 3);
}

Test(bus_group, a_letter_waits_until_its_number_is_durable)
{
    open_with(2, 20);
    join_with(&one, (struct wire_subscribe){.tries = 1}, 0);
    settle(&one);
    const struct broken_plan plan = {.call = BROKEN_WRITE, .number = 1, .reason = EIO};
    broken_calls_begin(&plan);
    say(&one, false, 2, 2);
    while (!one.error_code[0]) {
        keeper_take_done(stage_bus->keeper, true);
        stage_round();
        take(&one);
        cr_assert_not(bus_append_letters(stage_bus));
    }
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_str_eq(one.error_code, "io");
    /* It was not numbered, as far as the disk knows: whoever comes gets it for its only try. */
    join_with(&other, (struct wire_subscribe){.tries = 1}, 0);
    settle(&other);
    cr_assert_not(bus_append_letters(stage_bus));
    expect_given(&other, 0, 1, 2, 1);
}

/* Nothing else happens meanwhile that would wake the bus. */
Test(bus_group, writes_its_dead_letters_one_after_the_other)
{
    open_with(3, 20);
    join_with(&one, (struct wire_subscribe){.tries = 1}, 0);
    settle(&one);
    say(&one, false, 1, 3);
    const struct log_stream *stream = NULL;
    for (unsigned i = 1; i <= 3; i++) {
        settle(&one);
        /* All are read through one open log. */
        cr_assert(i == 1 || stage_bus->buried.stream == stream);
        stream = stage_bus->buried.stream;
        cr_assert_not_null(stream);
        cr_assert(bus_append_letters(stage_bus), "letter %u", i);
        stage_commit();
    }
    stage_settle();
    cr_assert_not(bus_append_letters(stage_bus));
    cr_assert_eq(segment_log_appended(stage_log), 6);
    stage_pass(INT64_C(5000000000));
    stage_settle();
    cr_assert_null(stage_bus->buried.stream);
}

Test(bus_group, does_again_at_most_once_what_a_crash_may_have_cut_off_behind_the_append)
{
    open_with(1, 20);
    join_with(&one, (struct wire_subscribe){.tries = 1}, 0);
    settle(&one);
    say(&one, false, 1, 1);
    settle(&one);
    cr_assert(bus_append_letters(stage_bus));
    /* All who could have settled it are gone before the bus has seen that it is durable. */
    stage_hang_up(&one.client);
    stage_settle();
    stage_commit();
    join_with(&other, (struct wire_subscribe){.tries = 1}, 0);
    settle(&other);
    /* It is appended again, and the log says that it is there. */
    cr_assert(bus_append_letters(stage_bus));
    stage_settle();
    cr_assert_eq(segment_log_appended(stage_log), 2);
    cr_assert_not(bus_append_letters(stage_bus));
}

enum { DEAF = 24 };

Test(bus_group, whose_members_do_not_read_costs_bounded_memory)
{
    static struct member deaf[DEAF];
    open_with(2 * DEAF, (1 << 20) - 64);
    for (unsigned i = 0; i < DEAF; i++) {
        join_with(&deaf[i], (struct wire_subscribe){.limited = true, .credit = 1}, 4096);
        stage_settle();
    }
    for (unsigned i = 0; i < 64; i++) {
        stage_settle();
        cr_assert_leq(LIST_MEMBER(stage_bus->groups.next, struct bus_group, in_groups)
                          ->unsent_bytes,
                      (size_t)BUS_GROUP_BYTES + (4 << 20));
    }
    unsigned ended = 0;
    for (unsigned i = 0; i < DEAF; i++) {
        settle(&deaf[i]);
        ended += deaf[i].closed;
    }
    cr_assert_gt(ended, 0);
    /* Who reads gets what the others had. */
    join(&one);
    cr_assert_gt(one.count, DEAF);
}
