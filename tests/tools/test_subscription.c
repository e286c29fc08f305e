/*
 * Subscriptions of the client library, against a daemon that is played by the test: what comes in
 * pieces, twice, in the wrong order, or from another log.
 * test_subscription_daemon.c has a real one.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/tools/played_subscription.h"

TestSuite(subscription, .timeout = 120);

/* ---- The stream ---- */

static void give_some(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(10);
    say_events(fd, 11, 13);
    say_passed(fd, 20);
    say_events(fd, 21, 21);
    say_caught_up(fd, 21);
    say_events(fd, 22, 400);
    char said;
    cr_assert_eq(recv(fd, &said, 1, 0), 0, "it has nothing to say");
    close(fd);
}

static void expect_some(void)
{
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    cr_assert_eq(daybook_subscription_position(subscription), 10);
    expect_events(subscription, 11, 13);
    expect_event(subscription, 21);
    cr_assert_eq(daybook_subscription_position(subscription), 21);
    expect_code(subscription, DAYBOOK_CAUGHT_UP);
    expect_events(subscription, 22, 400);
    cr_assert_eq(counts_of(subscription).events, 383);
    daybook_subscription_close(subscription);
}

Test(subscription, gives_events_in_order_and_says_when_it_has_caught_up)
{
    played_start(&played, give_some);
    expect_some();
    played_end(&played);
}

Test(subscription, does_not_care_where_a_read_ends)
{
    for (size_t piece = 1; piece <= 40; piece += 13) {
        played = (struct played){.piece = piece};
        played_start(&played, give_some);
        expect_some();
        played_end(&played);
        scratch_delete(scratch_path("played.sock"));
    }
}

static void expect_request(struct played *unused)
{
    (void)unused;
    int fd = played_welcome(&played);
    struct wire_subscribe request = read_subscribe(fd);
    cr_assert_eq(request.start, WIRE_START_SINCE);
    cr_assert_eq(request.since_ns, -5);
    cr_assert_arr_eq(request.cursor.text, "c", 1);
    cr_assert(request.shared);
    cr_assert_eq(request.ack_timeout_ns, 7000000);
    cr_assert_eq(request.tries, 8);
    cr_assert_eq(request.topic_count, 2);
    cr_assert_arr_eq(request.topics[1].text, "b.>", 3);
    cr_assert_arr_eq(request.where.text, "x > 1", 5);
    cr_assert(request.limited);
    cr_assert_eq(request.credit, 9);
    say_subscribed(fd, 0);
    played_await_end(fd);
}

Test(subscription, asks_for_what_the_options_say)
{
    static const char *const TOPICS[] = {"a.*", "b.>", NULL};
    played_start(&played, expect_request);
    daybook_subscription_close(subscribe((struct daybook_subscription_options){
        .start = DAYBOOK_START_SINCE,
        .since_ns = -5,
        .cursor = "c",
        .shared = true,
        .ack_timeout_ms = 7,
        .tries = 8,
        .topics = TOPICS,
        .where = "x > 1",
        .window_events = 9,
    }));
    played_end(&played);
}

Test(subscription, options_that_break_a_rule_are_refused_before_anything_is_sent)
{
    static char large[5000];
    memset(large, 'x', sizeof large - 1);
    const char *const empty[] = {"", NULL}, *const long_topic[] = {large, NULL};
    const char *many[66] = {NULL};
    for (int i = 0; i < 65; i++)
        many[i] = "t";
    const struct {
        struct daybook_subscription_options options;
        const char *text;
    } bad[] = {
        {{.start = (enum daybook_start)9}, "no start 9"},
        {{.cursor = ""}, "cursor has 0 bytes"},
        {{.cursor = large}, "cursor's name has 4999"},
        {{.shared = true}, "without a cursor"},
        {{.tries = 2}, "shared"},
        {{.cursor = "c", .shared = true, .tries = 101}, "tries is 101"},
        {{.cursor = "c", .shared = true, .ack_timeout_ms = 86400001}, "1 day"},
        {{.where = large}, "where has 4999"},
        {{.where = ""}, "where has 0"},
        {{.topics = empty}, "pattern of topics has 0"},
        {{.topics = long_topic}, "pattern of topics has 4999"},
        {{.topics = many}, "more than 64 topics"},
        {{.client = large}, "client's name"},
        {{.where = "\xff"}, "UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct daybook_subscription *subscription;
        struct daybook_subscription_options options = bad[i].options;
        options.socket = scratch_path("nobody.sock");
        cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_INVALID, "%zu", i);
        cr_assert_not_null(strstr(error.text, bad[i].text), "%zu: %s", i, error.text);
    }
}

static void refuse_where(struct played *unused)
{
    (void)unused;
    int fd = played_welcome(&played);
    read_subscribe(fd);
    say_error(fd, "invalid", "where: no such column: pirce");
    close(fd);
}

Test(subscription, what_the_daemon_refuses_is_told_in_its_words)
{
    struct daybook_subscription *subscription;
    struct daybook_subscription_options options = {.socket = scratch_path("played.sock"),
                                                   .where = "pirce > 3"};
    played_start(&played, refuse_where);
    cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "no such column: pirce"), "%s", error.text);
    played_end(&played);
}

Test(subscription, without_a_daemon_it_says_so_at_once)
{
    struct daybook_subscription *subscription;
    struct daybook_subscription_options options = {.socket = scratch_path("nobody.sock")};
    cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_UNREACHABLE);
    cr_assert_not_null(strstr(error.text, "nobody.sock"), "%s", error.text);
}

static void say_nothing(struct played *unused)
{
    (void)unused;
    played_await_end(played_accept(&played));
}

Test(subscription, a_mute_daemon_is_not_waited_for_beyond_the_limit)
{
    struct daybook_subscription *subscription;
    struct daybook_subscription_options options = {.socket = scratch_path("played.sock"),
                                                   .connect_timeout_ms = 50};
    played_start(&played, say_nothing);
    cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_UNREACHABLE);
    cr_assert_not_null(strstr(error.text, "does not answer"), "%s", error.text);
    played_end(&played);
}

static void give_one_and_wait(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 1);
    played_await_end(fd);
}

Test(subscription, an_end_of_the_wait_is_no_end_of_the_subscription)
{
    struct daybook_event event;
    played_start(&played, give_one_and_wait);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    cr_assert_geq(daybook_subscription_fd(subscription), 0);
    expect_event(subscription, 1);
    cr_assert_eq(daybook_subscription_next(subscription, 0, &event, &error), DAYBOOK_END);
    cr_assert_eq(daybook_subscription_next(subscription, 20, &event, &error), DAYBOOK_END);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- Losses that are told ---- */

static void lose_some(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_lost(fd, 1, 9, "retention");
    say_events(fd, 10, 11);
    say_lost(fd, 12, 14, "never given");
    say_events(fd, 15, 15);
    say_lost(fd, 16, 16, "damage");
    close(fd);
    /* A part of it was told already, and the program has it. */
    fd = subscribe_behind(16);
    say_lost(fd, 15, 18, "damage");
    say_lost(fd, 17, 18, "damage");
    say_events(fd, 19, 19);
    played_await_end(fd);
}

static void expect_lost(struct daybook_subscription *subscription, uint64_t first, uint64_t last,
                        const char *cause)
{
    struct daybook_lost lost;
    expect_code(subscription, DAYBOOK_LOST);
    daybook_subscription_lost(subscription, &lost);
    cr_assert_eq(lost.first, first);
    cr_assert_eq(lost.last, last);
    cr_assert_str_eq(lost.cause, cause);
    cr_assert_str_eq(lost.text, "gone");
    cr_assert_not_null(strstr(error.text, cause), "%s", error.text);
    cr_assert_eq(daybook_subscription_position(subscription), last);
}

Test(subscription, tells_each_loss_once_in_its_place)
{
    played.durable = 16;
    played_start(&played, lose_some);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    expect_lost(subscription, 1, 9, "retention");
    expect_events(subscription, 10, 11);
    expect_event(subscription, 15);
    expect_lost(subscription, 16, 16, "damage");
    expect_lost(subscription, 17, 18, "damage");
    expect_event(subscription, 19);
    cr_assert_eq(counts_of(subscription).lost, 12);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- Lost connections ---- */

static void die_twice(struct played *unused)
{
    (void)unused;
    int fd = played_welcome(&played);
    cr_assert_eq(read_subscribe(fd).start, WIRE_START_LATEST);
    say_subscribed(fd, 5);
    say_events(fd, 6, 8);
    played_send(&played, fd, "\0\0", 2); /* It dies in the middle of a frame. */
    close(fd);

    fd = played_welcome(&played);
    struct wire_subscribe request = read_subscribe(fd);
    cr_assert_eq(request.start, WIRE_START_AFTER);
    cr_assert_eq(request.after, 8);
    say_error(fd, "stopping", "the daemon is being stopped");
    close(fd);

    fd = played_welcome(&played);
    request = read_subscribe(fd);
    cr_assert_eq(request.after, 8);
    say_subscribed(fd, 8);
    say_passed(fd, 30);
    say_caught_up(fd, 30);
    close(fd);

    fd = played_welcome(&played);
    cr_assert_eq(read_subscribe(fd).after, 30, "what does not match was looked at once");
    say_subscribed(fd, 30);
    say_events(fd, 31, 32);
    played_await_end(fd);
}

Test(subscription, goes_on_behind_the_last_event_when_the_connection_is_lost)
{
    played.durable = 30;
    played_start(&played, die_twice);
    struct daybook_subscription *subscription =
        subscribe((struct daybook_subscription_options){.start = DAYBOOK_START_LATEST});
    expect_events(subscription, 6, 8);
    expect_code(subscription, DAYBOOK_CAUGHT_UP);
    expect_events(subscription, 31, 32);
    cr_assert_eq(counts_of(subscription).reconnects, 2);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* As a program would that has other things to do: it never waits in the library. */
Test(subscription, an_event_loop_goes_through_lost_connections_without_waiting)
{
    struct daybook_event event;
    uint64_t given = 0, last = 0;
    played.durable = 30;
    played_start(&played, die_twice);
    struct daybook_subscription *subscription =
        subscribe((struct daybook_subscription_options){.start = DAYBOOK_START_LATEST});
    while (last < 32) {
        enum daybook_code code = daybook_subscription_next(subscription, 0, &event, &error);
        struct pollfd wanted = {.fd = daybook_subscription_fd(subscription), .events = POLLIN};
        if (code == DAYBOOK_END)
            poll(&wanted, 1, wanted.fd < 0 ? 5 : 20000);
        else
            cr_assert(code == DAYBOOK_OK || code == DAYBOOK_CAUGHT_UP, "%s", error.text);
        if (code)
            continue;
        cr_assert_gt(event.sequence, last);
        last = event.sequence;
        given++;
    }
    cr_assert_eq(given, 5);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void start_elsewhere(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 3);
    close(fd);
    fd = subscribe_behind(7);
    say_events(fd, 8, 8);
    played_await_end(fd);
}

Test(subscription, a_daemon_that_goes_on_somewhere_else_is_not_believed)
{
    played.durable = 8;
    played_start(&played, start_elsewhere);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    expect_events(subscription, 1, 3);
    expect_code(subscription, DAYBOOK_PROTOCOL);
    cr_assert_not_null(strstr(error.text, "behind 3"), "%s", error.text);
    expect_code(subscription, DAYBOOK_PROTOCOL);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void give_three_then_another_log(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 3);
    close(fd);
    played.log = "ffffffffffffffff";
    played_await_end(played_welcome(&played));
}

Test(subscription, another_log_behind_the_same_socket_is_told_aloud)
{
    played.durable = 100;
    played_start(&played, give_three_then_another_log);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    expect_events(subscription, 1, 3);
    expect_code(subscription, DAYBOOK_FOREIGN);
    cr_assert_not_null(strstr(error.text, "another log"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "ffffffffffffffff"), "%s", error.text);
    expect_code(subscription, DAYBOOK_FOREIGN);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void give_three_then_fewer(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 3);
    close(fd);
    played.durable = 2;
    played_await_end(played_welcome(&played));
}

Test(subscription, a_log_that_has_become_shorter_is_told_aloud)
{
    played.durable = 3;
    played_start(&played, give_three_then_fewer);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    expect_events(subscription, 1, 3);
    expect_code(subscription, DAYBOOK_DAMAGED);
    cr_assert_not_null(strstr(error.text, "ends at 2"), "%s", error.text);
    daybook_subscription_close(subscription);
    played_end(&played);
}

static void replace(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 1);
    say_error(fd, "replaced", "another subscriber has the cursor 'c'");
    played_await_end(fd);
}

Test(subscription, who_was_replaced_does_not_come_back)
{
    played_start(&played, replace);
    struct daybook_subscription *subscription =
        subscribe((struct daybook_subscription_options){.cursor = "c"});
    expect_event(subscription, 1);
    expect_code(subscription, DAYBOOK_REPLACED);
    expect_code(subscription, DAYBOOK_REPLACED);
    cr_assert_eq(daybook_subscription_commit(subscription, 1, &error), DAYBOOK_REPLACED);
    cr_assert_eq(daybook_subscription_flush(subscription, &error), DAYBOOK_REPLACED);
    cr_assert_eq(daybook_subscription_fd(subscription), -1);
    pthread_join(played.thread, NULL);
    cr_assert(!played_is_wanted(&played));
    daybook_subscription_close(subscription);
}

static unsigned times_lost, times_found;

static void note_connection(void *context, bool connected)
{
    cr_assert_eq(context, &times_lost);
    if (connected)
        times_found++;
    else
        times_lost++;
}

static int test_to_play[2], play_to_test[2];

static void wait_for(int fd)
{
    char byte;
    cr_assert_eq(read(fd, &byte, 1), 1);
}

static void go_on(int fd)
{
    cr_assert_eq(write(fd, "", 1), 1);
}

static void go_away_for_a_while(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 1);
    close(played.listen_fd);
    close(fd);
    wait_for(test_to_play[0]);
    scratch_delete(scratch_path("played.sock"));
    go_on(play_to_test[1]);
}

static void come_back(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(1);
    say_events(fd, 2, 2);
    played_await_end(fd);
}

Test(subscription, gives_up_after_the_time_to_retry_and_goes_on_when_asked_again)
{
    cr_assert_eq(pipe(test_to_play), 0);
    cr_assert_eq(pipe(play_to_test), 0);
    played_start(&played, go_away_for_a_while);
    struct daybook_subscription *subscription = subscribe((struct daybook_subscription_options){
        .retry_timeout_ms = 60, .on_connection = note_connection, .context = &times_lost});
    struct daybook_event event;
    expect_event(subscription, 1);
    cr_assert_eq(daybook_subscription_next(subscription, 1, &event, &error), DAYBOOK_END);
    expect_code(subscription, DAYBOOK_UNREACHABLE);
    expect_code(subscription, DAYBOOK_UNREACHABLE);
    cr_assert_eq(daybook_subscription_fd(subscription), -1);
    cr_assert_eq(times_lost, 1);
    cr_assert_eq(times_found, 0);
    go_on(test_to_play[1]);
    wait_for(play_to_test[0]);
    pthread_join(played.thread, NULL);

    played.durable = 2;
    played_start(&played, come_back);
    enum daybook_code code;
    while ((code = daybook_subscription_next(subscription, -1, &event, &error)))
        cr_assert_eq(code, DAYBOOK_UNREACHABLE, "%s", error.text);
    cr_assert_eq(event.sequence, 2);
    cr_assert_eq(times_lost, 1);
    cr_assert_eq(times_found, 1);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- Credit ---- */

enum { CREDIT_WINDOW = 10, CREDIT_EVENTS = 1000 };

/* Sends all that it may, and counts that it is never allowed to have more than a window out. */
static void spend_credit(struct played *unused)
{
    (void)unused;
    int fd = played_welcome(&played);
    uint64_t credit = read_subscribe(fd).credit, sent = 0;
    cr_assert_eq(credit, CREDIT_WINDOW);
    say_subscribed(fd, 0);
    while (sent < CREDIT_EVENTS) {
        enum wire_type type;
        uint32_t left;
        uint64_t more;
        for (; credit > 0 && sent < CREDIT_EVENTS; credit--, sent++)
            say_events(fd, sent + 1, sent + 1);
        if (sent == CREDIT_EVENTS)
            break;
        struct msgpack_cursor cursor = played_read(&played, fd, &type, &left);
        cr_assert_eq(type, WIRE_CREDIT);
        cr_assert_eq(wire_read_credit(cursor, left, &more, NULL), OK);
        cr_assert_geq(more, CREDIT_WINDOW / 2, "few frames are sent for credit");
        credit += more;
        cr_assert_leq(credit, CREDIT_WINDOW);
    }
    played_await_end(fd);
}

Test(subscription, gives_credit_for_what_the_program_has_taken_and_no_more)
{
    played_start(&played, spend_credit);
    struct daybook_subscription *subscription =
        subscribe((struct daybook_subscription_options){.window_events = CREDIT_WINDOW});
    expect_events(subscription, 1, CREDIT_EVENTS);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* The second event is there when the first is done, and not before. */
static void give_one_at_a_time(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    struct buffer frame = {0};
    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        enum wire_type type;
        uint32_t left;
        add_frame(&frame, sequence, sequence, sequence, 1);
        played_send_buffer(&played, fd, &frame);
        wait_for(test_to_play[0]);
        char byte;
        cr_assert_eq(recv(fd, &byte, 1, MSG_DONTWAIT), -1, "credit for an event in work");
        go_on(play_to_test[1]);
        played_read(&played, fd, &type, &left);
        cr_assert_eq(type, WIRE_CREDIT);
    }
    played_await_end(fd);
}

Test(subscription, a_window_of_one_is_one_event_in_work)
{
    struct daybook_event event;
    cr_assert_eq(pipe(test_to_play), 0);
    cr_assert_eq(pipe(play_to_test), 0);
    played_start(&played, give_one_at_a_time);
    struct daybook_subscription *subscription = subscribe((struct daybook_subscription_options){
        .cursor = "g", .shared = true, .window_events = 1});
    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        cr_assert_eq(expect_event(subscription, sequence).tries, 1);
        go_on(test_to_play[1]);
        wait_for(play_to_test[0]);
    }
    cr_assert_eq(daybook_subscription_next(subscription, 0, &event, &error), DAYBOOK_END);
    daybook_subscription_close(subscription);
    played_end(&played);
}

/* ---- What no daemon says ---- */

static void say_last_backwards(int fd)
{
    say_events(fd, 1, 5);
    say_passed(fd, 4);
}

static void say_an_event_again(int fd)
{
    say_events(fd, 1, 5);
    say_events(fd, 5, 6);
}

static void say_an_event_beyond_the_frame(int fd)
{
    struct buffer frame = {0};
    add_frame(&frame, 3, 1, 4, 0);
    played_send_buffer(&played, fd, &frame);
}

static void say_more_than_the_count(int fd)
{
    struct buffer frame = {0};
    add_frame(&frame, 1, 1, 1, 0);
    frame.data[WIRE_LENGTH_BYTES - 1]++;
    buffer_append(&frame, "\xc0", 1, NULL);
    played_send_buffer(&played, fd, &frame);
}

static void say_half_an_event(int fd)
{
    struct buffer frame = {0};
    add_frame(&frame, 1, 1, 1, 0);
    frame.data[WIRE_LENGTH_BYTES - 1]--;
    frame.size--;
    played_send_buffer(&played, fd, &frame);
}

static void say_subscribed_again(int fd)
{
    say_subscribed(fd, 0);
}

static void say_committed_too_much(int fd)
{
    say_committed(fd, 1);
}

static void say_settled(int fd)
{
    struct buffer frame = {0};
    wire_write_settled(&frame, 1, 1, NULL);
    played_send_buffer(&played, fd, &frame);
}

static void say_a_frame_that_is_too_long(int fd)
{
    played_send(&played, fd, "\x01\x00\x00\x00", 4);
}

static void say_a_number(int fd)
{
    played_send(&played, fd, "\x00\x00\x00\x01\x07", 5);
}

static const struct {
    void (*say)(int fd);
    const char *text;
} NONSENSE[] = {
    {say_last_backwards, "backwards"},
    {say_an_event_again, "event 5 came behind 5"},
    {say_an_event_beyond_the_frame, "event 4"},
    {say_more_than_the_count, "left over"},
    {say_half_an_event, "payload"},
    {say_subscribed_again, "nobody asked"},
    {say_committed_too_much, "not given"},
    {say_settled, "nothing was accepted"},
    {say_a_frame_that_is_too_long, "16777216 bytes"},
    {say_a_number, "the frame is"},
};
static size_t nonsense;

static void talk_nonsense(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    NONSENSE[nonsense].say(fd);
    played_await_end(fd);
}

Test(subscription, a_daemon_that_makes_no_sense_is_left_for_good_and_the_reason_told)
{
    for (nonsense = 0; nonsense < sizeof NONSENSE / sizeof *NONSENSE; nonsense++) {
        struct daybook_event event;
        enum daybook_code code;
        played_start(&played, talk_nonsense);
        struct daybook_subscription *subscription = subscribe(DEFAULTS);
        while ((code = daybook_subscription_next(subscription, 20000, &event, &error)) ==
               DAYBOOK_OK)
            continue;
        cr_assert_eq(code, DAYBOOK_PROTOCOL, "%zu: %d %s", nonsense, (int)code, error.text);
        cr_assert_not_null(strstr(error.text, NONSENSE[nonsense].text), "%zu: %s", nonsense,
                           error.text);
        expect_code(subscription, DAYBOOK_PROTOCOL);
        daybook_subscription_close(subscription);
        played_end(&played);
        scratch_delete(scratch_path("played.sock"));
    }
}

static void stream_before_subscribed(struct played *unused)
{
    (void)unused;
    int fd = played_welcome(&played);
    read_subscribe(fd);
    say_events(fd, 1, 1);
    played_await_end(fd);
}

static void welcome_without_a_log(struct played *unused)
{
    (void)unused;
    played_send(&played, played_accept(&played), "\x00\x00\x00\x0a\x92\xa7welcome\x80", 14);
}

Test(subscription, who_does_not_speak_the_protocol_is_no_daemon)
{
    void (*const plays[])(struct played *) = {stream_before_subscribed, welcome_without_a_log};
    for (size_t i = 0; i < 2; i++) {
        struct daybook_subscription *subscription;
        struct daybook_subscription_options options = {.socket = scratch_path("played.sock")};
        played_start(&played, plays[i]);
        cr_assert_eq(daybook_subscribe(&options, &subscription, &error), DAYBOOK_PROTOCOL, "%s",
                     error.text);
        played_end(&played);
        scratch_delete(scratch_path("played.sock"));
    }
}

static void speak_a_later_version(struct played *unused)
{
    (void)unused;
    int fd = subscribe_behind(0);
    say_events(fd, 1, 1);
    played_send(&played, fd, "\x00\x00\x00\x0a\x92\xa7novelty\xc0", 14);
    say_events(fd, 2, 2);
    played_await_end(fd);
}

Test(subscription, frames_of_a_later_daemon_are_passed_over)
{
    played_start(&played, speak_a_later_version);
    struct daybook_subscription *subscription = subscribe(DEFAULTS);
    expect_events(subscription, 1, 2);
    daybook_subscription_close(subscription);
    played_end(&played);
}
