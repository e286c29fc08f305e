/*
 * The client library against a real daemon, and, where the daemon would have to misbehave at the
 * right moment, against one that is played by the test.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/tools/real_daemon.h"
#include "tools/client/daybook.h"
#include "tools/client/wire.h"

static struct daybook_error error;

TestSuite(client, .fini = clean_up, .timeout = 120);

static struct daybook *connect_as(const char *producer, struct daybook_options options)
{
    struct daybook *daybook;
    options.producer = producer;
    options.socket = socket_path();
    cr_assert_eq(daybook_connect(&options, &daybook, &error), DAYBOOK_OK, "%s", error.text);
    return daybook;
}

static const struct daybook_options DEFAULTS;

/* An event whose payload is the msgpack integer n. */
static struct daybook_event numbered_event(uint64_t n, uint8_t payload[9])
{
    payload[0] = 0xcf;
    for (int i = 0; i < 8; i++)
        payload[1 + i] = (uint8_t)(n >> (56 - 8 * i));
    return (struct daybook_event){
        .time_ns = DAYBOOK_TIME_NONE,
        .topic = "count",
        .topic_bytes = 5,
        .payload = payload,
        .payload_bytes = 9,
        .tag = n,
    };
}

static enum daybook_code send_number(struct daybook *daybook, uint64_t n)
{
    uint8_t payload[9];
    struct daybook_event event = numbered_event(n, payload);
    return daybook_send(daybook, &event, &error);
}

/* The log holds exactly the numbers 1 to `last`, in order. */
static void expect_numbers(uint64_t last)
{
    struct daybook_reader *reader;
    struct daybook_event event;
    cr_assert_eq(daybook_reader_open(log_path(), &reader, &error), DAYBOOK_OK, "%s", error.text);
    for (uint64_t n = 1; n <= last; n++) {
        uint8_t expected[9];
        numbered_event(n, expected);
        cr_assert_eq(daybook_reader_next(reader, &event, &error), DAYBOOK_OK, "%s", error.text);
        cr_assert_eq(event.payload_bytes, 9);
        cr_assert_arr_eq(event.payload, expected, 9, "event %llu", (unsigned long long)n);
    }
    cr_assert_eq(daybook_reader_next(reader, &event, &error), DAYBOOK_END);
    daybook_reader_close(reader);
}

/* ---- Results ---- */

static struct {
    uint64_t count;
    uint64_t tag_last;
    uint64_t sequence_last;
    uint64_t duplicates, refused, unknown;
    char reason[200];
} told;

static void note_result(void *context, const struct daybook_result *result)
{
    cr_assert_eq(context, &told);
    cr_assert_gt(result->tag, told.tag_last, "results come in the order of sending");
    told.tag_last = result->tag;
    told.count++;
    told.duplicates += result->duplicate;
    told.unknown += result->code == DAYBOOK_UNKNOWN;
    told.refused += result->code == DAYBOOK_REFUSED;
    if (result->code == DAYBOOK_REFUSED)
        snprintf(told.reason, sizeof told.reason, "%s", result->reason);
    if (result->sequence) {
        cr_assert_gt(result->sequence, told.sequence_last);
        told.sequence_last = result->sequence;
    }
}

static struct daybook_options telling(struct daybook_options options)
{
    options.on_result = note_result;
    options.context = &told;
    return options;
}

/* ---- Publishing ---- */

Test(client, publishes_an_event_and_learns_its_sequence)
{
    uint64_t sequence = 0;
    start_daemon();
    struct daybook *daybook = connect_as(NULL, DEFAULTS);
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(daybook_publish_json(daybook, "t", 5, "{\"a\":[1,2.5]}", &sequence, &error),
                     DAYBOOK_OK, "%s", error.text);
        cr_assert_eq(sequence, i);
    }
    daybook_close(daybook);
    end_daemon(SIGTERM);
}

Test(client, sends_many_and_is_told_each_result_in_order)
{
    enum { MANY = 20000 };
    start_daemon();
    struct daybook *daybook = connect_as("p", telling(DEFAULTS));
    for (uint64_t n = 1; n <= MANY; n++)
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(told.count, MANY);
    cr_assert_eq(told.sequence_last, MANY);

    struct daybook_counts counts;
    daybook_count(daybook, &counts);
    cr_assert_eq(counts.stored, MANY);
    cr_assert_eq(counts.last_number, MANY);
    cr_assert_eq(counts.unacknowledged, 0);
    daybook_close(daybook);
    expect_numbers(MANY);
}

Test(client, every_ack_mode_and_batch_size_delivers_all)
{
    start_daemon();
    uint64_t n = 0;
    for (int mode = DAYBOOK_ACK_DURABLE; mode <= DAYBOOK_ACK_NONE; mode++)
        for (unsigned batch = 1; batch <= 4096; batch *= 16) {
            struct daybook_options options = {
                .ack = (enum daybook_ack)mode, .batch_events = batch, .window_bytes = 20000};
            struct daybook *daybook = connect_as(NULL, options);
            for (int i = 0; i < 3000; i++)
                cr_assert_eq(send_number(daybook, ++n), DAYBOOK_OK, "%s", error.text);
            cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
            struct daybook_counts counts;
            daybook_count(daybook, &counts);
            cr_assert_eq(counts.stored, 3000);
            daybook_close(daybook);
        }
    end_daemon(SIGTERM);
    expect_numbers(n);
}

Test(client, an_event_that_breaks_a_rule_is_not_sent)
{
    start_daemon();
    struct daybook *daybook = connect_as(NULL, DEFAULTS);
    cr_assert_eq(daybook_send_json(daybook, "a b", 0, "1", 0, &error), DAYBOOK_INVALID);
    cr_assert(strstr(error.text, "space"), "%s", error.text);
    cr_assert_eq(daybook_publish_json(daybook, "t", 0, "{", NULL, &error), DAYBOOK_INVALID);
    uint8_t payload[9];
    struct daybook_event event = numbered_event(1, payload);
    event.number = 7;
    cr_assert_eq(daybook_send(daybook, &event, &error), DAYBOOK_INVALID);
    cr_assert(strstr(error.text, "producer"), "%s", error.text);
    event = numbered_event(1, payload);
    event.payload_bytes = 8;
    cr_assert_eq(daybook_send(daybook, &event, &error), DAYBOOK_INVALID);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK);
    daybook_close(daybook);
    expect_numbers(0);
}

Test(client, an_event_of_the_largest_size_goes_through)
{
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX];
    memcpy(payload, "\xc6\x00\x0f\xff\xfb", 5);
    memset(payload + 5, 'x', sizeof payload - 5);
    struct daybook_event event = {.time_ns = 1,
                                  .topic = "large",
                                  .topic_bytes = 5,
                                  .payload = payload,
                                  .payload_bytes = sizeof payload};
    uint64_t sequence;
    start_daemon();
    struct daybook *daybook = connect_as("p", DEFAULTS);
    for (uint64_t i = 1; i <= 20; i++)
        cr_assert_eq(daybook_send(daybook, &event, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_publish(daybook, &event, &sequence, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(sequence, 21);
    daybook_close(daybook);
}

Test(client, without_a_daemon_it_says_so_at_once)
{
    struct daybook *daybook;
    struct daybook_options options = {.socket = scratch_path("nobody.sock")};
    cr_assert_eq(daybook_connect(&options, &daybook, &error), DAYBOOK_UNREACHABLE);
    cr_assert(strstr(error.text, "nobody.sock"), "%s", error.text);
    options.producer = "not a name";
    cr_assert_eq(daybook_connect(&options, &daybook, &error), DAYBOOK_INVALID);
}

/* ---- Lost connections ---- */

static void *start_daemon_soon(void *unused)
{
    (void)unused;
    usleep(50000);
    start_daemon();
    return NULL;
}

Test(client, a_named_producer_survives_killed_daemons_without_loss_or_double)
{
    enum { MANY = 30000, KILL_EVERY = 7001 };
    start_daemon();
    struct daybook *daybook = connect_as("p", telling(DEFAULTS));
    pthread_t starter;
    bool starting = false;
    for (uint64_t n = 1; n <= MANY; n++) {
        if (n % KILL_EVERY == 0) {
            if (starting)
                pthread_join(starter, NULL);
            end_daemon(SIGKILL);
            cr_assert_eq(pthread_create(&starter, NULL, start_daemon_soon, NULL), 0);
            starting = true;
        }
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK, "%s", error.text);
    }
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    pthread_join(starter, NULL);
    cr_assert_eq(told.count, MANY);
    cr_assert_eq(told.unknown, 0);
    struct daybook_counts counts;
    daybook_count(daybook, &counts);
    cr_assert_gt(counts.reconnects, 0);
    daybook_close(daybook);
    end_daemon(SIGTERM);
    expect_numbers(MANY);
}

Test(client, numbers_go_on_where_the_producer_stopped)
{
    start_daemon();
    struct daybook *daybook = connect_as("p", DEFAULTS);
    for (uint64_t n = 1; n <= 5; n++)
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK);
    daybook_close(daybook);
    end_daemon(SIGTERM);
    start_daemon();
    daybook = connect_as("p", DEFAULTS);
    for (uint64_t n = 6; n <= 10; n++)
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK);
    daybook_close(daybook);
    expect_numbers(10);
}

/* The numbers of the events in the log, and what is said on "_gap", one a line. */
static void expect_log(const char *expected)
{
    struct daybook_reader *reader;
    struct daybook_event event;
    char text[1000] = "";
    cr_assert_eq(daybook_reader_open(log_path(), &reader, &error), DAYBOOK_OK, "%s", error.text);
    while (daybook_reader_next(reader, &event, &error) == DAYBOOK_OK) {
        char *json = NULL;
        size_t used = strlen(text);
        if (event.topic_bytes == 4 && !memcmp(event.topic, "_gap", 4))
            daybook_payload_json(event.payload, event.payload_bytes, &json, &error);
        snprintf(text + used, sizeof text - used, "%llu %s\n", (unsigned long long)event.number,
                 json ? json : "");
        free(json);
    }
    daybook_reader_close(reader);
    cr_assert_str_eq(text, expected);
}

Test(client, who_drops_events_reports_their_numbers_and_goes_on_behind_them)
{
    start_daemon();
    struct daybook_counts counts;
    struct daybook *daybook = connect_as("p", DEFAULTS);
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_report_gap(daybook, 1, 3, "full", &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "was not dropped"), "%s", error.text);
    cr_assert_eq(daybook_report_gap(daybook, 3, 2, "full", &error), DAYBOOK_INVALID);
    cr_assert_eq(daybook_report_gap(daybook, 2, UINT64_MAX - 1, "full", &error), DAYBOOK_INVALID);
    daybook_count(daybook, &counts);
    cr_assert_eq(daybook_report_gap(daybook, counts.last_number + 1, counts.last_number + 4, "full",
                                    &error),
                 DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(send_number(daybook, 2), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    daybook_close(daybook);
    daybook = connect_as(NULL, DEFAULTS);
    cr_assert_eq(daybook_report_gap(daybook, 1, 2, "full", &error), DAYBOOK_INVALID);
    cr_assert_not_null(strstr(error.text, "without a producer"), "%s", error.text);
    daybook_close(daybook);
    end_daemon(SIGTERM);

    expect_log("1 \n6 {\"producer\":\"p\",\"first\":2,\"last\":5,\"count\":4,"
               "\"cause\":\"dropped\",\"reason\":\"full\"}\n7 \n");
}

Test(client, a_program_with_its_own_count_may_send_again_what_it_is_unsure_of)
{
    uint8_t payload[9];
    start_daemon();
    for (int run = 0; run < 2; run++) {
        memset(&told, 0, sizeof told);
        struct daybook *daybook = connect_as("p", telling(DEFAULTS));
        for (uint64_t n = 1; n <= 10; n++) {
            struct daybook_event event = numbered_event(n, payload);
            event.number = 100 * n;
            cr_assert_eq(daybook_send(daybook, &event, &error), DAYBOOK_OK, "%s", error.text);
            cr_assert_eq(daybook_send(daybook, &event, &error), DAYBOOK_INVALID);
        }
        cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK);
        cr_assert_eq(told.count, 10);
        cr_assert_eq(told.duplicates, run == 0 ? 0 : 10);
        daybook_close(daybook);
    }
    expect_numbers(10);
}

Test(client, a_newer_connection_with_the_name_is_the_end_of_the_older)
{
    start_daemon();
    struct daybook *old = connect_as("p", DEFAULTS);
    cr_assert_eq(send_number(old, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(old, &error), DAYBOOK_OK);
    struct daybook *new = connect_as("p", DEFAULTS);
    enum daybook_code code = DAYBOOK_OK;
    while (code == DAYBOOK_OK) {
        code = send_number(old, 1000);
        if (!code)
            code = daybook_flush(old, &error);
    }
    cr_assert_eq(code, DAYBOOK_REPLACED, "%s", error.text);
    cr_assert_eq(send_number(old, 1000), DAYBOOK_REPLACED, "for good");
    cr_assert_eq(send_number(new, 2), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(new, &error), DAYBOOK_OK, "%s", error.text);
    daybook_close(old);
    daybook_close(new);
    expect_numbers(2);
}

/* ---- A daemon played by the test ---- */

struct script {
    int listen_fd;
    void (*play)(struct script *script);
    pthread_t thread;
    struct buffer first, second; /* what came over the first and second connection */
};

static void read_frame(int fd, struct buffer *into)
{
    uint8_t length[WIRE_LENGTH_BYTES];
    cr_assert_eq(recv(fd, length, sizeof length, MSG_WAITALL), (ssize_t)sizeof length);
    size_t size = (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
    into->size = 0;
    cr_assert_eq(buffer_reserve(into, size, NULL), OK);
    cr_assert_eq(recv(fd, into->data, size, MSG_WAITALL), (ssize_t)size);
    into->size = size;
}

static void send_frame(int fd, struct buffer *frame)
{
    cr_assert_eq(send(fd, frame->data, frame->size, MSG_NOSIGNAL), (ssize_t)frame->size);
    buffer_release(frame);
}

/* Accept, take the hello, welcome. */
static int welcome_at(struct script *script, uint64_t last_number)
{
    struct buffer frame = {0};
    int fd = accept(script->listen_fd, NULL, NULL);
    cr_assert_geq(fd, 0);
    read_frame(fd, &frame);
    frame.size = 0;
    struct wire_welcome welcome = {.version = 1,
                                   .server = {"test", 4},
                                   .log = {"0011223344556677", 16},
                                   .last_number = last_number,
                                   .frame_max = WIRE_FRAME_MAX,
                                   .events_max = WIRE_EVENTS_MAX};
    wire_write_welcome(&frame, &welcome, NULL);
    send_frame(fd, &frame);
    return fd;
}

static int welcome_one(struct script *script)
{
    return welcome_at(script, 0);
}

static void send_ack(int fd, struct wire_ack ack, struct buffer *refusals)
{
    struct buffer frame = {0}, none = {0};
    wire_write_ack(&frame, &ack, refusals ? refusals : &none, NULL);
    send_frame(fd, &frame);
}

static void *run_script(void *context)
{
    struct script *script = context;
    script->play(script);
    return NULL;
}

static void start_script(struct script *script, void (*play)(struct script *script))
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path("played.sock"));
    script->play = play;
    script->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(script->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(script->listen_fd, 8), 0);
    cr_assert_eq(pthread_create(&script->thread, NULL, run_script, script), 0);
}

static void end_script(struct script *script)
{
    pthread_join(script->thread, NULL);
    close(script->listen_fd);
    buffer_release(&script->first);
    buffer_release(&script->second);
}

static struct daybook *connect_to_script(struct daybook_options options)
{
    struct daybook *daybook;
    options.socket = scratch_path("played.sock");
    cr_assert_eq(daybook_connect(&options, &daybook, &error), DAYBOOK_OK, "%s", error.text);
    return daybook;
}

/* Takes a frame, and dies before the ack; then takes it again and says what it is. */
static void lose_an_ack(struct script *script)
{
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    close(fd);
    fd = welcome_one(script);
    read_frame(fd, &script->second);
    send_ack(fd, (struct wire_ack){.id = 1, .duplicates = 1}, NULL);
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

Test(client, a_lost_ack_is_asked_for_again_with_the_same_number)
{
    struct script script = {0};
    uint64_t sequence = 99;
    start_script(&script, lose_an_ack);
    struct daybook *daybook = connect_to_script((struct daybook_options){.producer = "p"});
    cr_assert_eq(daybook_publish_json(daybook, "t", 1, "1", &sequence, &error), DAYBOOK_OK, "%s",
                 error.text);
    cr_assert_eq(sequence, 0, "a duplicate's sequence is not known");
    daybook_close(daybook);
    cr_assert_gt(script.first.size, 0);
    cr_assert_eq(script.first.size, script.second.size);
    cr_assert_arr_eq(script.first.data, script.second.data, script.first.size);
    end_script(&script);
}

/* Killed, started, and killed again before it has answered anything. */
static void die_again_and_again(struct script *script)
{
    for (int i = 0; i < 3; i++) {
        int fd = welcome_one(script);
        read_frame(fd, &script->first);
        close(fd);
    }
    int fd = welcome_one(script);
    read_frame(fd, &script->second);
    send_ack(fd, (struct wire_ack){.id = 1, .stored = 1, .sequence_first = 1, .sequence_last = 1},
             NULL);
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

Test(client, flush_goes_on_however_often_the_daemon_is_killed)
{
    struct script script = {0};
    start_script(&script, die_again_and_again);
    struct daybook *daybook = connect_to_script((struct daybook_options){.producer = "p"});
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    daybook_close(daybook);
    end_script(&script);
}

static void take_one_and_die(struct script *script)
{
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    close(fd);
    fd = welcome_one(script);
    read_frame(fd, &script->second);
    send_ack(fd, (struct wire_ack){.id = 2, .stored = 1, .sequence_first = 5, .sequence_last = 5},
             NULL);
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

Test(client, without_a_name_the_outcome_is_unknown_and_nothing_is_sent_twice)
{
    struct script script = {0};
    start_script(&script, take_one_and_die);
    struct daybook *daybook = connect_to_script(telling(DEFAULTS));
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_UNKNOWN);
    cr_assert_eq(told.unknown, 1);
    cr_assert_eq(send_number(daybook, 2), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(told.count, 2);
    cr_assert_eq(told.sequence_last, 5);
    daybook_close(daybook);
    end_script(&script);
}

static void take_one_and_die_then_take_it_again(struct script *script)
{
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    close(fd);
    fd = welcome_one(script);
    read_frame(fd, &script->second);
    send_ack(fd, (struct wire_ack){.id = 1, .stored = 1, .sequence_first = 5, .sequence_last = 5},
             NULL);
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

Test(client, who_prefers_doubles_to_losses_may_say_so)
{
    struct script script = {0};
    start_script(&script, take_one_and_die_then_take_it_again);
    struct daybook *daybook =
        connect_to_script(telling((struct daybook_options){.resend_anonymous = true}));
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.unknown, 0);
    daybook_close(daybook);
    end_script(&script);
}

/*
 * A frame of one event, which does not wait for company, then one of six: two were there, one is
 * refused, two are stored, the last finds the disk full.
 */
static void answer_of_everything(struct script *script)
{
    struct buffer refusals = {0};
    int fd = welcome_one(script);
    for (int i = 0; i < 2; i++)
        read_frame(fd, &script->first);
    send_ack(fd, (struct wire_ack){.id = 1, .stored = 1, .sequence_first = 1, .sequence_last = 1},
             NULL);
    wire_write_refusal(&refusals, 2, "invalid", "because", NULL);
    wire_write_refusal(&refusals, 5, "no_space", "", NULL);
    send_ack(fd,
             (struct wire_ack){.id = 2,
                               .stored = 2,
                               .sequence_first = 8,
                               .sequence_last = 9,
                               .duplicates = 2,
                               .refused = 2},
             &refusals);
    buffer_release(&refusals);
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

static struct fate {
    enum daybook_code code;
    bool duplicate;
    uint64_t sequence;
    char reason[32];
} fates[16];
static unsigned fate_count;

static void note_fate(void *context, const struct daybook_result *result)
{
    (void)context;
    struct fate *fate = &fates[fate_count++];
    *fate = (struct fate){result->code, result->duplicate, result->sequence, ""};
    snprintf(fate->reason, sizeof fate->reason, "%s", result->reason);
}

Test(client, an_ack_tells_each_event_its_own_fate)
{
    static const struct fate EXPECTED[] = {
        {DAYBOOK_OK, false, 1, ""},
        {DAYBOOK_OK, true, 0, ""},
        {DAYBOOK_OK, true, 0, ""},
        {DAYBOOK_REFUSED, false, 0, "because"},
        {DAYBOOK_OK, false, 8, ""},
        {DAYBOOK_OK, false, 9, ""},
        {DAYBOOK_NO_SPACE, false, 0, "no_space"},
    };
    struct script script = {0};
    start_script(&script, answer_of_everything);
    struct daybook *daybook = connect_to_script(
        (struct daybook_options){.producer = "p", .on_result = note_fate, .batch_events = 6});
    for (uint64_t n = 1; n <= 7; n++)
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(fate_count, 7);
    for (int i = 0; i < 7; i++) {
        cr_assert_eq(fates[i].code, EXPECTED[i].code, "event %d", i);
        cr_assert_eq(fates[i].duplicate, EXPECTED[i].duplicate, "event %d", i);
        cr_assert_eq(fates[i].sequence, EXPECTED[i].sequence, "event %d", i);
        cr_assert_str_eq(fates[i].reason, EXPECTED[i].reason);
    }
    daybook_close(daybook);
    end_script(&script);
}

static atomic_uint frames_read;

/* One frame of three, and nothing else. */
static void take_three_together(struct script *script)
{
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    send_ack(fd, (struct wire_ack){.id = 1, .stored = 3, .sequence_first = 1, .sequence_last = 3},
             NULL);
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

Test(client, who_gathers_sends_nothing_before_flush)
{
    struct script script = {0};
    start_script(&script, take_three_together);
    struct daybook *daybook = connect_to_script(telling((struct daybook_options){.gather = true}));
    for (uint64_t n = 1; n <= 3; n++)
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(told.count, 3);
    cr_assert_eq(told.sequence_last, 3);
    daybook_close(daybook);
    end_script(&script);
}

/* A frame of one event each; the third is flushed. Between them nothing is asked of the client. */
static void take_frames_of_one(struct script *script)
{
    int fd = welcome_one(script);
    for (uint64_t id = 1; id <= 3; id++) {
        read_frame(fd, &script->first);
        atomic_fetch_add(&frames_read, 1);
        send_ack(fd,
                 (struct wire_ack){
                     .id = id, .stored = 1, .sequence_first = id, .sequence_last = id},
                 NULL);
    }
    char rest;
    cr_assert_eq(recv(fd, &rest, 1, 0), 0);
    close(fd);
}

/* The frame that an event does not fit into is complete, and goes, whenever the last look was. */
Test(client, who_gathers_sends_a_frame_when_it_is_full, .timeout = 60)
{
    struct script script = {0};
    start_script(&script, take_frames_of_one);
    struct daybook *daybook =
        connect_to_script(telling((struct daybook_options){.gather = true, .batch_bytes = 60}));
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK, "%s", error.text);
    while (atomic_load(&frames_read) < 1)
        cr_assert_eq(daybook_poll(daybook, 0, &error), DAYBOOK_OK, "%s", error.text);
    for (uint64_t n = 2; n <= 3; n++)
        cr_assert_eq(send_number(daybook, n), DAYBOOK_OK, "%s", error.text);
    while (atomic_load(&frames_read) < 2)
        sched_yield();
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(told.count, 3);
    daybook_close(daybook);
    end_script(&script);
}

static void make_no_sense(struct script *script)
{
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    send_ack(fd, (struct wire_ack){.id = 1, .stored = 2, .sequence_first = 1, .sequence_last = 2},
             NULL);
    char rest;
    recv(fd, &rest, 1, 0);
    close(fd);
}

Test(client, an_ack_that_does_not_add_up_ends_the_connection_for_good)
{
    struct script script = {0};
    start_script(&script, make_no_sense);
    struct daybook *daybook = connect_to_script((struct daybook_options){.producer = "p"});
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_PROTOCOL);
    cr_assert(strstr(error.text, "add up"), "%s", error.text);
    cr_assert_eq(send_number(daybook, 2), DAYBOOK_PROTOCOL);
    daybook_close(daybook);
    end_script(&script);
}

/* Takes a frame and goes; the next daemon does not know this user. */
static void forbid(struct script *script)
{
    struct buffer frame = {0};
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    close(fd);
    fd = accept(script->listen_fd, NULL, NULL);
    cr_assert_geq(fd, 0);
    wire_write_error(&frame, "forbidden", "user 1 may not publish here", NULL);
    send_frame(fd, &frame);
    close(fd);
}

Test(client, who_may_not_publish_does_not_ask_again)
{
    struct script script = {0};
    start_script(&script, forbid);
    struct daybook *daybook =
        connect_to_script((struct daybook_options){.producer = "p", .retry_timeout_ms = 1000});
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_PROTOCOL, "%s", error.text);
    cr_assert(strstr(error.text, "user 1 may not"), "%s", error.text);
    cr_assert_eq(send_number(daybook, 2), DAYBOOK_PROTOCOL, "for good");
    daybook_close(daybook);
    end_script(&script);
}

static void say_nothing(struct script *script)
{
    int fd = welcome_one(script);
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        continue;
    close(fd);
}

Test(client, a_daemon_that_does_not_answer_is_not_waited_for_beyond_the_limit)
{
    struct script script = {0};
    start_script(&script, say_nothing);
    struct daybook *daybook =
        connect_to_script((struct daybook_options){.producer = "p", .retry_timeout_ms = 100});
    cr_assert_eq(daybook_publish_json(daybook, "t", 1, "1", NULL, &error), DAYBOOK_TIMEOUT);
    cr_assert(strstr(error.text, "1 events"), "%s", error.text);
    struct daybook_counts counts;
    daybook_count(daybook, &counts);
    cr_assert_eq(counts.unacknowledged, 1);
    daybook_close(daybook);
    end_script(&script);
}

static int go_on[2]; /* the test tells the script */

/* The first event is refused when the second has come already; the second is stored much later. */
static void answer_late(struct script *script)
{
    struct buffer refusals = {0};
    int fd = welcome_one(script);
    read_frame(fd, &script->first);
    read_frame(fd, &script->second);
    wire_write_refusal(&refusals, 0, "invalid", "too late", NULL);
    send_ack(fd, (struct wire_ack){.id = 1, .refused = 1}, &refusals);
    buffer_release(&refusals);
    char byte;
    cr_assert_eq(read(go_on[0], &byte, 1), 1);
    send_ack(fd, (struct wire_ack){.id = 2, .stored = 1, .sequence_first = 7, .sequence_last = 7},
             NULL);
    cr_assert_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

Test(client, a_late_answer_is_never_taken_for_that_of_the_next_event)
{
    struct script script = {0};
    uint64_t sequence = 99;
    cr_assert_eq(pipe(go_on), 0);
    start_script(&script, answer_late);
    struct daybook *daybook =
        connect_to_script((struct daybook_options){.producer = "p", .retry_timeout_ms = 200});
    cr_assert_eq(daybook_publish_json(daybook, "t", 1, "1", &sequence, &error), DAYBOOK_TIMEOUT);
    cr_assert_eq(daybook_publish_json(daybook, "t", 1, "2", &sequence, &error), DAYBOOK_TIMEOUT,
                 "%s", error.text);
    cr_assert_eq(sequence, 99);
    cr_assert_eq(write(go_on[1], "", 1), 1);
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_REFUSED);
    cr_assert_str_eq(error.text, "too late");
    cr_assert_eq(daybook_flush(daybook, &error), DAYBOOK_OK);
    struct daybook_counts counts;
    daybook_count(daybook, &counts);
    cr_assert_eq(counts.stored, 1);
    cr_assert_eq(counts.refused, 1);
    cr_assert_eq(counts.last_sequence, 7);
    daybook_close(daybook);
    end_script(&script);
}

/* ---- Two programs with one name ---- */

Test(client, another_program_that_used_the_name_meanwhile_is_noticed)
{
    uint8_t payload[9];
    struct daybook_event event = numbered_event(1, payload);
    start_daemon();
    struct daybook *daybook = connect_as("p", DEFAULTS);
    cr_assert_eq(daybook_publish(daybook, &event, NULL, &error), DAYBOOK_OK, "%s", error.text);
    end_daemon(SIGTERM);
    start_daemon();
    struct daybook *other = connect_as("p", DEFAULTS);
    for (uint64_t n = 2; n <= 4; n++)
        cr_assert_eq(send_number(other, n), DAYBOOK_OK);
    cr_assert_eq(daybook_flush(other, &error), DAYBOOK_OK, "%s", error.text);
    daybook_close(other);

    event = numbered_event(5, payload);
    cr_assert_eq(daybook_publish(daybook, &event, NULL, &error), DAYBOOK_REPLACED, "%s",
                 error.text);
    cr_assert(strstr(error.text, "another program has published as producer 'p'"), "%s",
              error.text);
    cr_assert_eq(send_number(daybook, 6), DAYBOOK_REPLACED, "for good");
    struct daybook_counts counts;
    daybook_count(daybook, &counts);
    cr_assert_eq(counts.duplicates, 0);
    daybook_close(daybook);
    expect_numbers(4);
}

/* Frames with the numbers 5 and 6 come whole; how much of them was stored, the next welcome says.
 */
static uint64_t number_after_loss;

static void lose_two(struct script *script)
{
    int fd = welcome_at(script, 4);
    read_frame(fd, &script->first);
    read_frame(fd, &script->first);
    close(fd);
    fd = welcome_at(script, number_after_loss);
    char byte;
    if (number_after_loss <= 6) {
        read_frame(fd, &script->second);
        read_frame(fd, &script->second);
        uint64_t known = number_after_loss - 4;
        for (uint64_t id = 1; id <= 2; id++)
            send_ack(fd,
                     id <= known ? (struct wire_ack){.id = id, .duplicates = 1}
                                 : (struct wire_ack){.id = id,
                                                     .stored = 1,
                                                     .sequence_first = id,
                                                     .sequence_last = id},
                     NULL);
    }
    cr_assert_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

Test(client, of_its_own_numbers_any_may_have_been_stored_but_none_beyond)
{
    for (number_after_loss = 4; number_after_loss <= 7; number_after_loss++) {
        struct script script = {0};
        unlink(scratch_path("played.sock"));
        start_script(&script, lose_two);
        struct daybook *daybook =
            connect_to_script((struct daybook_options){.producer = "p", .batch_events = 1});
        cr_assert_eq(send_number(daybook, 5), DAYBOOK_OK);
        cr_assert_eq(send_number(daybook, 6), DAYBOOK_OK);
        cr_assert_eq(daybook_flush(daybook, &error),
                     number_after_loss <= 6 ? DAYBOOK_OK : DAYBOOK_REPLACED, "last number %llu",
                     (unsigned long long)number_after_loss);
        struct daybook_counts counts;
        daybook_count(daybook, &counts);
        cr_assert_eq(counts.duplicates, number_after_loss <= 6 ? number_after_loss - 4 : 0);
        daybook_close(daybook);
        end_script(&script);
    }
}

/* Only a piece of the frame with number 1 is taken; but then the log has a number 1. */
static void take_a_piece(struct script *script)
{
    char bytes[100];
    int fd = welcome_one(script);
    cr_assert_eq(recv(fd, bytes, sizeof bytes, MSG_WAITALL), (ssize_t)sizeof bytes);
    close(fd);
    fd = welcome_at(script, 1);
    cr_assert_eq(recv(fd, bytes, 1, 0), 0);
    close(fd);
}

Test(client, a_number_that_never_left_whole_is_not_its_own_when_the_log_has_it)
{
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX]; /* more than a socket holds */
    memcpy(payload, "\xc6\x00\x0f\xff\xfb", 5);
    struct daybook_event event = {.time_ns = 1,
                                  .topic = "large",
                                  .topic_bytes = 5,
                                  .payload = payload,
                                  .payload_bytes = sizeof payload};
    struct script script = {0};
    start_script(&script, take_a_piece);
    struct daybook *daybook = connect_to_script((struct daybook_options){.producer = "p"});
    cr_assert_eq(daybook_publish(daybook, &event, NULL, &error), DAYBOOK_REPLACED, "%s",
                 error.text);
    daybook_close(daybook);
    end_script(&script);
}

/* ---- Status and reading ---- */

Test(client, the_status_is_a_map_of_counters)
{
    const void *map;
    size_t size;
    char *text;
    start_daemon();
    struct daybook *daybook = connect_as(NULL, DEFAULTS);
    cr_assert_eq(send_number(daybook, 1), DAYBOOK_OK);
    cr_assert_eq(daybook_status(daybook, &map, &size, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_payload_json(map, size, &text, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert(strstr(text, "\"durable\":1"), "%s", text);
    cr_assert(strstr(text, "\"index_error\":\"\""), "%s", text);
    free(text);
    daybook_close(daybook);
}

Test(client, the_reader_seeks_limits_and_waits)
{
    struct daybook_reader *reader;
    struct daybook_event event;
    char *text;
    start_daemon();
    struct daybook *daybook = connect_as(NULL, DEFAULTS);
    for (int i = 1; i <= 10; i++) {
        char json[32];
        snprintf(json, sizeof json, "{\"n\":%d}", i);
        cr_assert_eq(daybook_publish_json(daybook, "t", i * 1000, json, NULL, &error), DAYBOOK_OK);
    }
    cr_assert_eq(daybook_reader_open(log_path(), &reader, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(daybook_reader_watermark(reader), 10);
    cr_assert_eq(daybook_reader_seek(reader, 4, &error), DAYBOOK_OK);
    cr_assert_eq(daybook_reader_next(reader, &event, &error), DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(event.sequence, 4);
    cr_assert_eq(daybook_payload_json(event.payload, event.payload_bytes, &text, &error),
                 DAYBOOK_OK);
    cr_assert_str_eq(text, "{\"n\":4}");
    free(text);

    daybook_reader_limit(reader, 7000, 9000);
    cr_assert_eq(daybook_reader_next(reader, &event, &error), DAYBOOK_OK);
    cr_assert_eq(event.sequence, 7);
    cr_assert_eq(daybook_reader_next(reader, &event, &error), DAYBOOK_OK);
    cr_assert_eq(event.time_ns, 8000);
    cr_assert_eq(daybook_reader_next(reader, &event, &error), DAYBOOK_END);

    daybook_reader_limit(reader, INT64_MIN, INT64_MAX);
    cr_assert_eq(daybook_publish_json(daybook, "t", 1, "11", NULL, &error), DAYBOOK_OK);
    enum daybook_code code;
    while ((code = daybook_reader_next(reader, &event, &error)) == DAYBOOK_END ||
           (code == DAYBOOK_OK && event.sequence < 11))
        daybook_reader_wait(reader, 1000);
    cr_assert_eq(code, DAYBOOK_OK, "%s", error.text);
    cr_assert_eq(event.sequence, 11);
    daybook_reader_close(reader);
    daybook_close(daybook);
    cr_assert_eq(daybook_reader_open(scratch_path("nothing"), &reader, &error), DAYBOOK_NOT_FOUND,
                 "%s", error.text);
}
