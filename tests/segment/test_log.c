#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/log.h"
#include "segment/reader.h"
#include "segment/set.h"
#include "core/clock.h"
#include "core/file.h"
#include "tests/support/scratch.h"

static struct segment_log *log;
static struct segment_log_options options = {.segment_bytes = 1 << 20};
static struct error error;

static void open_log(void)
{
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, NULL, &error), OK, "%s",
                 error.text);
}

static void close_log(void)
{
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
}

static struct event an_event(const void *payload, size_t payload_bytes)
{
    return (struct event){.topic = "topic",
                          .topic_bytes = 5,
                          .payload = payload,
                          .payload_bytes = payload_bytes,
                          .time_ns = EVENT_TIME_NONE};
}

static enum error_code append(const struct event *event, uint64_t *sequence)
{
    enum segment_log_outcome outcome;
    return segment_log_append(log, event, &outcome, sequence, &error);
}

static size_t count_segments(void)
{
    struct segment_set set;
    int log_fd, segments_fd;

    cr_assert_eq(file_open_directory(scratch_path("log"), false, &log_fd, &error), OK);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, &error), OK);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK, "%s", error.text);
    cr_assert_eq(segment_set_check(&set, &error), OK, "%s", error.text);
    size_t count = set.count;
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
    return count;
}

Test(log, makes_durable_what_was_waited_for)
{
    uint64_t sequence;
    struct event event = an_event("\x01", 1);

    open_log();
    cr_assert_eq(append(&event, &sequence), OK);
    cr_assert_eq(sequence, 1);
    cr_assert_eq(segment_log_wait(log, 1, &error), OK);
    cr_assert_eq(segment_log_durable(log), 1);
    cr_assert_eq(segment_log_written(log), 1);
    close_log();
}

Test(log, has_one_writer)
{
    struct segment_log *second;

    open_log();
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &second, NULL, &error),
                 ERROR_BUSY);
    close_log();
    open_log();
    close_log();
}

Test(log, gives_the_arrival_time_to_events_without_one)
{
    struct segment_reader *reader;
    struct event event = an_event("\x01", 1), back;
    uint64_t sequence;
    int64_t before = clock_realtime_ns();

    open_log();
    append(&event, &sequence);
    event.time_ns = -5;
    append(&event, &sequence);
    cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    cr_assert_eq(segment_reader_next(reader, &back, &error), OK);
    cr_assert(back.time_ns >= before && back.time_ns <= clock_realtime_ns());
    cr_assert_eq(segment_reader_next(reader, &back, &error), OK);
    cr_assert_eq(back.time_ns, -5);
    segment_reader_close(reader);
    close_log();
}

Test(log, answers_busy_instead_of_growing_without_bound)
{
    static char payload[100000];
    struct event event = an_event(payload, sizeof payload);
    enum error_code code = OK;
    uint64_t sequence;
    int stored = 0;

    options.pending_bytes_max = 1 << 20;
    open_log();
    /* Without a kick only full blocks are taken, so a little must stay. */
    while (code == OK && stored < 100000) {
        code = append(&event, &sequence);
        stored += code == OK;
    }
    cr_assert_eq(code, ERROR_BUSY);
    segment_log_wait_room(log);
    cr_assert_eq(append(&event, &sequence), OK);
    cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    cr_assert_eq(sequence, (uint64_t)stored + 1, "a refused event has no number");
    close_log();
}

Test(log, takes_an_event_that_is_larger_than_the_segments)
{
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX];
    struct segment_reader *reader;
    struct event event = an_event(payload, sizeof payload), back;
    uint64_t sequence;

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(rand() >> 5);
    options.segment_bytes = 64 << 10;
    open_log();
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(append(&event, &sequence), OK);
        cr_assert_eq(segment_log_wait(log, sequence, &error), OK, "%s", error.text);
    }
    close_log();
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(segment_reader_next(reader, &back, &error), OK, "%s", error.text);
        cr_assert_eq(back.payload_bytes, sizeof payload);
        cr_assert_eq(memcmp(back.payload, payload, sizeof payload), 0);
    }
    segment_reader_close(reader);
}

Test(log, rolls_by_size_and_starts_small)
{
    static char payload[20000];
    struct event event;
    uint64_t sequence = 0;

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)rand();
    event = an_event(payload, sizeof payload);
    options.segment_bytes = 4 << 20;
    open_log();
    for (int i = 0; i < 600; i++) { /* 12 MB: 1 + 2 + 4 + 4 + … MiB */
        cr_assert_eq(append(&event, &sequence), OK);
        cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    }
    close_log();
    cr_assert_eq(count_segments(), 5);
}

Test(log, rolls_by_age)
{
    struct event event = an_event("\x01", 1);
    uint64_t sequence;
    struct segment_log_counters counters;

    options.segment_age_ns = 1;
    open_log();
    append(&event, &sequence);
    cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    do
        segment_log_count(log, &counters);
    while (counters.rolls == 0);
    close_log();
    cr_assert_eq(count_segments(), 2);
}

/* A clock whose deadlines the machine's own clock never reaches. */
static _Atomic int64_t far_ns;

static int64_t far_time(void)
{
    return atomic_fetch_add(&far_ns, 1000);
}

static void no_boot(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 0, CLOCK_BOOT_ID_SIZE);
}

/* Who waits commits, again and again: the log's own thread may not come to have a turn. */
Test(log, rolls_by_age_under_a_thread_that_never_rests, .timeout = 60)
{
    static const struct clock_source source = {
        .realtime_ns = far_time, .monotonic_ns = far_time, .boot_id = no_boot};
    const int64_t second_ns = 1000000000;
    struct segment_log_counters counters;
    struct event event = an_event("\x01", 1);
    uint64_t sequence;

    atomic_store(&far_ns, INT64_C(1) << 60);
    clock_use(&source);
    options.segment_age_ns = second_ns;
    open_log();
    cr_assert_eq(append(&event, &sequence), OK);
    cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    atomic_fetch_add(&far_ns, 2 * second_ns);
    cr_assert_eq(append(&event, &sequence), OK);
    cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    segment_log_count(log, &counters);
    cr_assert_eq(counters.rolls, 1);
    close_log();
    clock_use(NULL);
}

Test(log, starts_each_commit_on_the_boundary_that_was_asked_for)
{
    struct segment_reader *reader;
    struct segment_reader_block block;
    struct event event = an_event("\x01", 1);
    uint64_t sequence;

    options.commit_align = 4096;
    open_log();
    for (int i = 0; i < 5; i++) {
        append(&event, &sequence);
        cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    }
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(segment_reader_next_block(reader, &block, &error), OK);
        cr_assert_eq(block.header.offset % 4096, 0);
    }
    segment_reader_close(reader);
    close_log();
}

Test(log, answers_a_retry_with_the_sequence_to_wait_for)
{
    struct event event = an_event("\x01", 1);
    enum segment_log_outcome outcome;
    uint64_t sequence;

    event.producer = "p";
    event.producer_bytes = 1;
    event.number = 5;
    open_log();
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK);
    cr_assert_eq(outcome, LOG_APPENDED);
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK);
    cr_assert_eq(outcome, LOG_DUPLICATE);
    cr_assert_eq(sequence, 1);
    cr_assert_eq(segment_log_producer_number(log, "p", 1), 5);
    cr_assert_eq(segment_log_appended(log), 1);
    close_log();
}

static size_t block_of(uint64_t sequence)
{
    struct segment_reader *reader;
    struct segment_reader_block block;
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    cr_assert_eq(segment_reader_seek(reader, sequence, &error), OK);
    cr_assert_eq(segment_reader_next_block(reader, &block, &error), OK, "%s", error.text);
    uint64_t first = block.header.sequence_first;
    cr_assert(first <= sequence);
    segment_reader_close(reader);
    return (size_t)first;
}

Test(log, events_that_belong_together_are_in_one_block)
{
    enum { COUNT = 300, BYTES = 3000 }; /* more than a block that events of others share */
    static uint8_t payload[BYTES] = {0xc5, (BYTES - 3) >> 8, (BYTES - 3) & 0xff};
    struct event events[COUNT], alone = an_event("\x01", 1);
    uint64_t sequence;

    for (int i = 0; i < COUNT; i++)
        events[i] = an_event(payload, sizeof payload);
    open_log();
    for (int i = 0; i < 5; i++) {
        uint64_t first, last = segment_log_appended(log);
        cr_assert_eq(append(&alone, &sequence), OK);
        cr_assert_eq(segment_log_append_together(log, events, COUNT, &first, &error), OK, "%s",
                     error.text);
        cr_assert_eq(first, last + 2);
        cr_assert_eq(append(&alone, &sequence), OK);
        cr_assert_eq(sequence, first + COUNT);
        cr_assert_eq(segment_log_wait(log, sequence, &error), OK, "%s", error.text);
        cr_assert_eq(block_of(first), block_of(first + COUNT - 1));
    }
    close_log();
}

Test(log, more_than_a_block_is_not_stored_together_nor_what_is_there_already)
{
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX / 2] = {0xc6, 0, 7, 0xff, 0xfb};
    struct event events[3];
    uint64_t sequence;

    for (int i = 0; i < 3; i++)
        events[i] = an_event(payload, sizeof payload);
    open_log();
    cr_assert_eq(segment_log_append_together(log, events, 3, &sequence, &error), ERROR_INVALID);
    cr_assert(strstr(error.text, "more than can be stored together"), "%s", error.text);
    cr_assert_eq(segment_log_append_together(log, events, 2, &sequence, &error), OK, "%s",
                 error.text);
    for (int i = 0; i < 2; i++) {
        events[i] = an_event("\x01", 1);
        events[i].producer = "p";
        events[i].producer_bytes = 1;
        events[i].number = (uint64_t)i + 5;
    }
    cr_assert_eq(segment_log_append_together(log, events, 2, &sequence, &error), OK);
    cr_assert_eq(segment_log_append_together(log, events, 2, &sequence, &error), ERROR_INVALID);
    cr_assert_eq(segment_log_producer_number(log, "p", 1), 6);
    cr_assert_eq(segment_log_appended(log), 4);
    cr_assert_eq(segment_log_event_last(log), 4);
    close_log();
}

enum { THREADS = 8, PER_THREAD = 3000 };

static void *append_many(void *context)
{
    struct event event = an_event("\x01", 1);
    char name[8];
    uint64_t sequence;

    snprintf(name, sizeof name, "p%d", *(int *)context);
    event.producer = name;
    event.producer_bytes = strlen(name);
    for (uint64_t i = 1; i <= PER_THREAD; i++) {
        enum segment_log_outcome outcome;
        struct error mine;
        event.number = i;
        while (segment_log_append(log, &event, &outcome, &sequence, &mine) == ERROR_BUSY)
            segment_log_wait_room(log);
        if (i % 100 == 0 && segment_log_wait(log, sequence, &mine) != OK)
            return "wait failed";
    }
    return segment_log_wait(log, sequence, NULL) == OK ? NULL : "wait failed";
}

Test(log, takes_events_from_many_threads_at_once)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    uint64_t next[THREADS];
    struct segment_reader *reader;
    struct event event;
    uint64_t count = 0;

    options.segment_bytes = 64 << 10;
    open_log();
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        next[i] = 1;
        cr_assert_eq(pthread_create(&threads[i], NULL, append_many, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        cr_assert_null(failed);
    }
    close_log();
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    while (segment_reader_next(reader, &event, &error) == OK) {
        int thread = event.producer[1] - '0';
        cr_assert_eq(event.number, next[thread]++);
        cr_assert_eq(event.sequence, ++count);
    }
    cr_assert_eq(count, THREADS * PER_THREAD);
    segment_reader_close(reader);
    cr_assert_gt(count_segments(), 5);
}

static void count_progress(void *context)
{
    __atomic_add_fetch((int *)context, 1, __ATOMIC_SEQ_CST);
}

Test(log, tells_progress_for_written_and_for_durable)
{
    struct event event = an_event("\x01", 1);
    int calls = 0;
    uint64_t sequence;

    options.on_progress = count_progress;
    options.context = &calls;
    options.report_written = true;
    open_log();
    append(&event, &sequence);
    cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
    close_log();
    cr_assert_geq(calls, 2);
}

Test(log, refuses_settings_that_make_no_sense)
{
    options.commit_align = 100;
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, NULL, &error),
                 ERROR_INVALID);
    options.commit_align = 0;
    options.segment_bytes = 1000;
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, NULL, &error),
                 ERROR_INVALID);
}

Test(log, replaces_a_segment_that_is_too_small_under_the_eyes_of_a_reader)
{
    static uint8_t payload[EVENT_PAYLOAD_BYTES_MAX];
    struct segment_reader *reader;
    struct event event = an_event("\x01", 1), back;
    uint64_t sequence;

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(rand() >> 5);
    options.segment_bytes = 64 << 10;
    open_log();
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK);
    cr_assert_eq(segment_reader_next(reader, &back, &error), ERROR_END,
                 "it has the empty one open");
    event = an_event(payload, sizeof payload);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(append(&event, &sequence), OK);
        cr_assert_eq(segment_log_wait(log, sequence, &error), OK);
        cr_assert_eq(segment_reader_next(reader, &back, &error), OK, "%s", error.text);
        cr_assert_eq(back.sequence, sequence);
        cr_assert_eq(memcmp(back.payload, payload, sizeof payload), 0);
        cr_assert_eq(segment_reader_next(reader, &back, &error), ERROR_END);
    }
    segment_reader_close(reader);
    close_log();
    open_log(); /* the names are whole: nothing is there twice */
    close_log();
    cr_assert_eq(count_segments(), 3);
}

Test(log, that_has_settled_has_committed_what_was_appended)
{
    struct event event = an_event("\x01", 1);
    uint64_t sequence;

    open_log();
    for (uint64_t i = 1; i <= 200; i++) {
        cr_assert_eq(append(&event, &sequence), OK, "%s", error.text);
        if (i % 2) /* settle comes while the kicked committer still wakes up */
            segment_log_kick(log);
        segment_log_settle(log);
        cr_assert_eq(segment_log_durable(log), i);
    }
    close_log();
}
