/*
 * Exactly once, for as long as an event is in the log: producers who published and then were silent
 * while more others published than the table holds.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/file_calls.h"
#include "segment/bound.h"
#include "segment/log.h"
#include "segment/past.h"
#include "segment/past_run.h"
#include "segment/pending_state.h"
#include "tests/support/scratch.h"

static struct error error;

/* ---- Files ---- */

static struct segment_past *past;
static struct error doubt;
static int log_fd = -1;
static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "0123456789abcdef";

static void open_past(void)
{
    if (log_fd < 0)
        cr_assert_eq(file_open_directory(scratch_path("log"), true, &log_fd, &error), OK);
    cr_assert_eq(segment_past_open(log_fd, log_id, &past, &doubt, &error), OK, "%s", error.text);
}

static enum error_code add(const char *name, uint64_t number, uint64_t sequence)
{
    const struct segment_producers_entry entry = {name, strlen(name), number, sequence};
    return segment_past_add(past, &entry, &error);
}

static void add_many(uint64_t first, uint64_t last)
{
    char name[32];
    for (uint64_t i = first; i <= last; i++) {
        snprintf(name, sizeof name, "producer-%llu", (unsigned long long)i);
        cr_assert_eq(add(name, 10 * i, i), OK, "%llu: %s", (unsigned long long)i, error.text);
        if (segment_past_wants_write(past))
            cr_assert_eq(segment_past_write(past, i + 1, &error), OK, "%s", error.text);
    }
}

static uint64_t number_of(const char *name)
{
    uint64_t number = 0, sequence;
    enum error_code code =
        segment_past_find(past, name, strlen(name), &number, &sequence, &error);
    cr_assert(code == OK || code == ERROR_NOT_FOUND, "%s", error.text);
    return code ? 0 : number;
}

static void expect_many(uint64_t first, uint64_t last)
{
    char name[32];
    for (uint64_t i = first; i <= last; i++) {
        snprintf(name, sizeof name, "producer-%llu", (unsigned long long)i);
        cr_assert_eq(number_of(name), 10 * i, "%s", name);
    }
}

static void write_through(uint64_t through)
{
    cr_assert_eq(segment_past_write(past, through, &error), OK, "%s", error.text);
}

static void reopen_past(void)
{
    segment_past_close(past);
    open_past();
}

static bool has_file(const char *name)
{
    struct stat status;
    return stat(scratch_path("log/producers/%s", name), &status) == 0;
}

Test(past, finds_everybody_in_memory_and_in_files)
{
    open_past();
    cr_assert(segment_past_is_empty(past));
    add_many(1, 200000);
    cr_assert(has_file("0000000003"));
    expect_many(1, 200000);
    cr_assert_eq(number_of("producer-0"), 0);
    cr_assert_eq(number_of("producer-200001"), 0);
    write_through(200001);
    reopen_past();
    cr_assert_eq(doubt.code, OK, "%s", doubt.text);
    cr_assert_eq(segment_past_through(past), 200001);
    expect_many(1, 200000);
    cr_assert_eq(number_of("producer-0"), 0);
    segment_past_close(past);
}

Test(past, the_last_word_about_a_producer_holds)
{
    open_past();
    cr_assert_eq(add("p", 1, 1), OK);
    cr_assert_eq(add("p", 2, 2), OK);
    cr_assert_eq(number_of("p"), 2);
    add_many(3, PAST_RUN_ENTRIES + 3);
    cr_assert_eq(number_of("p"), 2);
    cr_assert_eq(add("p", 7, 90000), OK);
    cr_assert_eq(number_of("p"), 7);
    write_through(90001);
    reopen_past();
    cr_assert_eq(number_of("p"), 7);
    segment_past_close(past);
}

Test(past, names_of_one_checksum_are_told_apart)
{
    static const char *const names[] = {"p-16431-x13186", "p-22988-x36512"};
    cr_assert_eq(segment_past_run_hash(names[0], 14), segment_past_run_hash(names[1], 14));
    open_past();
    cr_assert_eq(add(names[0], 1, 1), OK);
    add_many(2, PAST_RUN_ENTRIES + 2);
    cr_assert_eq(number_of(names[0]), 1);
    cr_assert_eq(number_of(names[1]), 0);
    segment_past_close(past);
}

Test(past, files_go_when_retention_has_passed_all_that_they_hold)
{
    open_past();
    add_many(1, 3 * PAST_RUN_ENTRIES);
    cr_assert(has_file("0000000001") && has_file("0000000002"));
    cr_assert_eq(segment_bound_store(log_fd, PAST_RUN_ENTRIES, &error), OK);
    write_through(3 * PAST_RUN_ENTRIES + 1);
    cr_assert(has_file("0000000001"), "its last event is just left");
    cr_assert_eq(segment_bound_store(log_fd, PAST_RUN_ENTRIES + 1, &error), OK);
    write_through(3 * PAST_RUN_ENTRIES + 1);
    cr_assert(!has_file("0000000001"));
    cr_assert(has_file("0000000002"));
    reopen_past();
    cr_assert_eq(doubt.code, OK, "%s", doubt.text);
    expect_many(PAST_RUN_ENTRIES + 1, 3 * PAST_RUN_ENTRIES);
    segment_past_close(past);
}

/* As a crash leaves it between the new file, which does not name it any more, and its deletion. */
Test(past, a_file_that_no_other_names_any_more_goes_at_the_next_start)
{
    open_past();
    add_many(1, 3 * PAST_RUN_ENTRIES);
    char saved[4096];
    snprintf(saved, sizeof saved, "%s", scratch_path("log/saved"));
    cr_assert_eq(link(scratch_path("log/producers/0000000001"), saved), 0);
    cr_assert_eq(segment_bound_store(log_fd, PAST_RUN_ENTRIES + 1, &error), OK);
    write_through(3 * PAST_RUN_ENTRIES + 1);
    cr_assert(!has_file("0000000001"));
    cr_assert_eq(rename(saved, scratch_path("log/producers/0000000001")), 0);
    reopen_past();
    cr_assert_eq(doubt.code, OK, "%s", doubt.text);
    cr_assert(!has_file("0000000001"));
    cr_assert(has_file("0000000002"));
    expect_many(PAST_RUN_ENTRIES + 1, 3 * PAST_RUN_ENTRIES);
    segment_past_close(past);
}

Test(past, damage_is_seen_and_nothing_of_it_believed)
{
    static const uint64_t offsets[] = {0, 9, 13, 20, 33, 41, 50, 57, 64, 72, 80, 1000};
    open_past();
    add_many(1, 100);
    write_through(101);
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        scratch_flip(scratch_path("log/producers/0000000001"), offsets[i], 0x10);
        reopen_past();
        cr_assert_neq(doubt.code, OK, "byte %d", (int)offsets[i]);
        cr_assert(segment_past_is_empty(past));
        cr_assert_eq(segment_past_through(past), 0);
        scratch_flip(scratch_path("log/producers/0000000001"), offsets[i], 0x10);
    }
    scratch_cut(scratch_path("log/producers/0000000001"), 500);
    reopen_past();
    cr_assert_neq(doubt.code, OK);
    segment_past_close(past);
}

Test(past, a_missing_file_is_seen)
{
    open_past();
    add_many(1, 3 * PAST_RUN_ENTRIES);
    write_through(3 * PAST_RUN_ENTRIES + 1);
    scratch_delete(scratch_path("log/producers/0000000002"));
    reopen_past();
    cr_assert_neq(doubt.code, OK);
    cr_assert(segment_past_is_empty(past));
    cr_assert_eq(segment_past_reset(past, &error), OK);
    cr_assert(!has_file("0000000001") && !has_file("0000000003"));
    segment_past_close(past);
}

/* The event for which he comes into the table may find no memory afterwards. */
Test(past, who_was_about_to_publish_and_could_not_is_known_as_before)
{
    struct segment_producers *producers;
    struct segment_pending *pending;
    const struct event event = {.producer = "old", .producer_bytes = 3, .number = 8};
    struct segment_pending_origin origin;
    open_past();
    cr_assert_eq(add("old", 7, 3), OK);
    cr_assert_eq(segment_producers_create(&producers, &error), OK);
    const struct segment_pending_start start = {.bytes_max = 1 << 20,
                                                .block_bytes_max = 1 << 18,
                                                .sequence_next = 10,
                                                .producers = producers,
                                                .past = past};
    cr_assert_eq(segment_pending_create(&start, &pending, &error), OK);
    pthread_mutex_lock(&pending->mutex);
    cr_assert_eq(segment_pending_find_origin(pending, "old", 3, &origin, &error), OK);
    cr_assert_eq(segment_pending_know_producer(pending, &event, &origin, &error), OK);
    cr_assert_eq(segment_pending_find_origin(pending, "old", 3, &origin, &error), OK);
    pthread_mutex_unlock(&pending->mutex);
    cr_assert_eq(origin.number, 7, "what he published then must not be stored twice");
    cr_assert_eq(origin.sequence, 3);
    segment_pending_free(pending);
    segment_producers_free(producers);
}

Test(past, at_the_bound_new_producers_are_refused_and_none_is_forgotten)
{
    uint64_t last = (uint64_t)(PAST_RUNS_MAX + 1) * PAST_RUN_ENTRIES;
    open_past();
    add_many(1, last);
    cr_assert_eq(add("one.more", 1, last + 1), ERROR_FULL);
    cr_assert(strstr(error.text, "give each program one name"), "%s", error.text);
    write_through(last + 1);
    cr_assert_eq(add("one.more", 1, last + 1), ERROR_FULL);
    expect_many(1, 1000);
    cr_assert_eq(segment_bound_store(log_fd, PAST_RUN_ENTRIES + 1, &error), OK);
    write_through(last + 1);
    cr_assert_eq(add("one.more", 1, last + 1), OK, "retention makes room: %s", error.text);
    cr_assert_eq(number_of("one.more"), 1);
    segment_past_close(past);
}

/* ---- The log ---- */

static struct segment_log *log;
static struct segment_recovery_report report;
static struct segment_log_options options = {.segment_bytes = 1 << 20};

static void open_log(void)
{
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, &report, &error), OK, "%s",
                 error.text);
}

static void close_log(void)
{
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
}

/* Nothing that LZ4 could make smaller, so that the log gets segments. */
static void fill_payload(uint8_t payload[66])
{
    static uint32_t state = 1;
    payload[0] = 0xc4; /* bin 8 */
    payload[1] = 64;
    for (int i = 2; i < 66; i++)
        payload[i] = (uint8_t)((state = state * 1103515245 + 12345) >> 16);
}

static enum segment_log_outcome publish(const char *name, uint64_t number)
{
    uint8_t payload[66];
    fill_payload(payload);
    struct event event = {.topic = "topic",
                          .topic_bytes = 5,
                          .payload = payload,
                          .payload_bytes = sizeof payload,
                          .time_ns = EVENT_TIME_NONE,
                          .producer = name,
                          .producer_bytes = strlen(name),
                          .number = number};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    enum error_code code;
    while ((code = segment_log_append(log, &event, &outcome, &sequence, &error)) == ERROR_BUSY)
        segment_log_wait_room(log);
    cr_assert_eq(code, OK, "%s", error.text);
    return outcome;
}

/* Others, so many that everybody who came before them leaves the table. */
static void publish_others(const char *family)
{
    char name[32];
    for (int i = 0; i < PRODUCERS_MAX + 10; i++) {
        snprintf(name, sizeof name, "%s-%d", family, i);
        cr_assert_eq(publish(name, 1), LOG_APPENDED, "%s", name);
    }
}

static void wait_durable(void)
{
    cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK, "%s", error.text);
}

/* Everything that they published so far is a duplicate, and what is new is not. */
static void expect_exactness(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(segment_log_producer_number(log, names[i], strlen(names[i])), 5, "%s",
                     names[i]);
        cr_assert_eq(publish(names[i], 5), LOG_DUPLICATE, "%s", names[i]);
        cr_assert_eq(publish(names[i], 3), LOG_DUPLICATE, "%s", names[i]);
    }
}

static const char *const silent[] = {"silent", "a-0", "a-9999"};

static void make_silence(void)
{
    open_log();
    publish("silent", 5);
    publish_others("a");
    publish("a-0", 5);
    publish("a-9999", 5);
    publish_others("b");
    wait_durable();
}

Test(past, who_was_silent_for_long_is_still_known)
{
    make_silence();
    expect_exactness(silent, 3);
    cr_assert_eq(publish("silent", 6), LOG_APPENDED);
    cr_assert_eq(publish("silent", 6), LOG_DUPLICATE);
    publish_others("c");
    cr_assert_eq(publish("silent", 6), LOG_DUPLICATE);
    cr_assert_eq(segment_log_producer_number(log, "stranger", 8), 0);
    close_log();
}

Test(past, also_after_a_stop_and_in_later_segments)
{
    make_silence();
    close_log();
    open_log();
    cr_assert(!report.past_rebuilt);
    expect_exactness(silent, 3);
    for (char family[] = "c"; family[0] < 'h'; family[0]++) /* several segments */
        publish_others(family);
    expect_exactness(silent, 3);
    struct segment_log_counters counters;
    segment_log_count(log, &counters);
    cr_assert(counters.rolls > 1);
    close_log();
    open_log();
    cr_assert(!report.past_rebuilt);
    expect_exactness(silent, 3);
    close_log();
}

Test(past, also_when_the_writer_was_killed)
{
    pid_t pid = scratch_fork();
    if (pid == 0) {
        if (segment_log_open(scratch_path("log"), &options, &log, NULL, NULL))
            _exit(1);
        for (int i = 0; i < 5 * PRODUCERS_MAX - 100; i++) {
            char name[32];
            uint8_t payload[66];
            fill_payload(payload);
            struct event event = {.topic = "t",
                                  .topic_bytes = 1,
                                  .payload = payload,
                                  .payload_bytes = sizeof payload,
                                  .time_ns = EVENT_TIME_NONE,
                                  .producer = name,
                                  .number = 5};
            enum segment_log_outcome outcome;
            uint64_t sequence = 0;
            event.producer_bytes = (size_t)snprintf(name, sizeof name, "k-%d", i);
            while (segment_log_append(log, &event, &outcome, &sequence, NULL))
                segment_log_wait_room(log);
            if (i % 20000 == 0 && segment_log_wait(log, sequence, NULL))
                _exit(2);
        }
        if (segment_log_wait(log, segment_log_appended(log), NULL))
            _exit(3);
        _exit(0); /* without closing: no stop mark */
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
    open_log();
    cr_assert(!report.past_rebuilt, "%s", report.past_doubt.text);
    for (int i = 0; i < 5 * PRODUCERS_MAX - 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "k-%d", i);
        cr_assert_eq(publish(name, 5), LOG_DUPLICATE, "%s", name);
    }
    close_log();
    open_log();
    cr_assert(!report.past_rebuilt, "recovery has written it all down");
    close_log();
}

static void delete_files(void)
{
    char command[512];
    snprintf(command, sizeof command, "rm -r '%s'", scratch_path("log/producers"));
    cr_assert_eq(system(command), 0);
}

Test(past, a_log_from_before_is_read_once_to_know_them)
{
    make_silence();
    close_log();
    delete_files();
    open_log();
    cr_assert(report.past_rebuilt);
    cr_assert_eq(report.past_doubt.code, OK);
    cr_assert_eq(report.past_loss.code, OK, "%s", report.past_loss.text);
    expect_exactness(silent, 3);
    publish_others("c");
    expect_exactness(silent, 3);
    close_log();
    open_log();
    cr_assert(!report.past_rebuilt);
    expect_exactness(silent, 3);
    close_log();
}

Test(past, damaged_files_are_made_anew)
{
    make_silence();
    publish_others("c");
    close_log();
    scratch_flip(scratch_path("log/producers/0000000001"), 200, 1);
    open_log();
    cr_assert(report.past_rebuilt);
    cr_assert(strstr(report.past_doubt.text, "checksum"), "%s", report.past_doubt.text);
    expect_exactness(silent, 3);
    close_log();
}

Test(past, files_from_a_later_time_than_the_log_are_not_believed)
{
    make_silence();
    close_log();
    scratch_copy(scratch_path("log"), scratch_path("backup"));
    open_log();
    for (char family[] = "c"; family[0] < 'h'; family[0]++)
        publish_others(family);
    close_log();
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && rm -r log/segments && cp -a backup/segments log/ "
             "&& cp -a backup/watermark log/", scratch_directory());
    cr_assert_eq(system(command), 0);
    open_log();
    cr_assert(report.past_rebuilt);
    cr_assert_eq(report.past_doubt.code, ERROR_FOREIGN);
    expect_exactness(silent, 3);
    cr_assert_eq(segment_log_producer_number(log, "d-7", 3), 0, "that was never in this log");
    cr_assert_eq(publish("d-7", 1), LOG_APPENDED);
    close_log();
}

static atomic_bool full; /* there is no room for a file of producers */

static int rename_file(int directory_fd, const char *from, const char *to)
{
    bool ours = strlen(to) == PAST_RUN_NAME_BYTES - 1;
    errno = ours && atomic_load(&full) ? ENOSPC : 0;
    return errno ? -1 : file_calls_kernel.rename(directory_fd, from, to);
}

Test(past, without_room_for_them_the_log_is_full_until_there_is_some)
{
    static struct file_calls calls;
    char name[32];
    uint64_t number = 0;
    enum error_code code = OK;

    calls = file_calls_kernel; /* before there are threads that may look at it */
    calls.rename = rename_file;
    make_silence();
    file_calls_use(&calls);
    atomic_store(&full, true);
    for (int i = 0; !code; i++) {
        uint8_t payload[66];
        fill_payload(payload);
        struct event event = {.topic = "t",
                              .topic_bytes = 1,
                              .payload = payload,
                              .payload_bytes = sizeof payload,
                              .time_ns = EVENT_TIME_NONE,
                              .producer = name,
                              .producer_bytes = (size_t)snprintf(name, sizeof name, "f-%d", i),
                              .number = 5};
        enum segment_log_outcome outcome;
        uint64_t sequence;
        while ((code = segment_log_append(log, &event, &outcome, &sequence, &error)) == ERROR_BUSY)
            segment_log_wait_room(log);
    }
    cr_assert_eq(code, ERROR_NO_SPACE, "%s", error.text);
    cr_assert(strstr(error.text, "remember who has published"), "%s", error.text);
    expect_exactness(silent, 3);
    atomic_store(&full, false);
    struct segment_log_counters counters;
    do { /* it tries again by itself */
        segment_log_settle(log);
        segment_log_count(log, &counters);
    } while (counters.disk_full);
    expect_exactness(silent, 3);
    publish_others("g");
    expect_exactness(silent, 3);
    close_log();
    open_log();
    cr_assert(!report.past_rebuilt);
    expect_exactness(silent, 3);
    cr_assert_eq(segment_log_find_producer(log, "f-0", 3, &number, &error), OK);
    cr_assert_eq(number, 5);
    close_log();
    file_calls_use(NULL);
}

Test(past, few_producers_cost_no_file)
{
    struct stat status;
    char name[32];
    open_log();
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "p%d", i);
        publish(name, 1);
    }
    close_log();
    open_log();
    close_log();
    cr_assert_neq(stat(scratch_path("log/producers"), &status), 0);
}
