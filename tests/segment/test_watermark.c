#include "segment/watermark.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/file.h"
#include "tests/support/scratch.h"
#include "tests/support/broken_calls.h"

/* Long enough to be noticed as a hang, never waited for. */
enum { FOREVER_MS = 600000 };

static const uint8_t log_a[FORMAT_LOG_ID_BYTES] = "log a..........";
static const uint8_t log_b[FORMAT_LOG_ID_BYTES] = "log b..........";
static int log_fd = -1;
static struct error error;

static void setup(void)
{
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK, "%s",
                 error.text);
}

static void teardown(void)
{
    file_close(&log_fd);
}

TestSuite(watermark, .init = setup, .fini = teardown);

static struct segment_watermark *create(const uint8_t *log_id, uint32_t epoch)
{
    struct segment_watermark *page = NULL;
    cr_assert_eq(segment_watermark_create(log_fd, log_id, epoch, &page, &error), OK, "%s",
                 error.text);
    return page;
}

static struct segment_watermark *open_page(void)
{
    struct segment_watermark *page = NULL;
    cr_assert_eq(segment_watermark_open(log_fd, &page, &error), OK, "%s", error.text);
    return page;
}

static struct segment_watermark_state read_state(const struct segment_watermark *page)
{
    struct segment_watermark_state state = {0};
    cr_assert(segment_watermark_read(page, &state));
    return state;
}

static const char *page_path(void)
{
    return scratch_path("watermark");
}

Test(watermark, is_not_found_before_a_writer_made_it)
{
    struct segment_watermark *page = NULL;
    cr_assert_eq(segment_watermark_open(log_fd, &page, &error), ERROR_NOT_FOUND);
    cr_assert_null(page);
}

Test(watermark, is_not_live_before_the_first_publication)
{
    struct segment_watermark *writer = create(log_a, 3), *reader = open_page();
    struct segment_watermark_state state = read_state(reader);
    cr_assert_not(state.live);
    cr_assert(state.same_boot);
    cr_assert_eq(state.epoch, 3);
    cr_assert_eq(state.writer_pid, (uint32_t)getpid());
    cr_assert_eq(memcmp(state.log_id, log_a, sizeof log_a), 0);

    segment_watermark_publish(writer, 0);
    cr_assert(read_state(reader).live);
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}

Test(watermark, tells_readers_what_was_published)
{
    struct segment_watermark *writer = create(log_a, 1), *reader = open_page();
    for (uint64_t sequence = 1; sequence < UINT64_C(1) << 60; sequence *= 3) {
        segment_watermark_publish(writer, sequence);
        cr_assert_eq(segment_watermark_sequence(reader), sequence);
        cr_assert_eq(read_state(reader).sequence_durable, sequence);
    }
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}

Test(watermark, keeps_its_sequence_for_the_next_writer_of_the_same_log)
{
    struct segment_watermark *writer = create(log_a, 1);
    segment_watermark_publish(writer, 41);
    segment_watermark_close(writer);
    struct segment_watermark *reader = open_page();

    writer = create(log_a, 2);
    struct segment_watermark_state state = read_state(reader);
    cr_assert_eq(state.sequence_durable, 41);
    cr_assert_eq(state.epoch, 2);
    cr_assert_not(state.live);
    cr_assert(segment_watermark_is_current(reader, log_fd), "readers sleep on this very page");
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}

Test(watermark, forgets_the_sequence_of_another_log)
{
    struct segment_watermark *writer = create(log_a, 1);
    segment_watermark_publish(writer, 41);
    segment_watermark_close(writer);
    writer = create(log_b, 1);
    cr_assert_eq(segment_watermark_sequence(writer), 0);
    segment_watermark_close(writer);
}

Test(watermark, of_another_boot_is_not_live)
{
    struct segment_watermark *writer = create(log_a, 1);
    segment_watermark_publish(writer, 5);
    /* The boot id is at byte 32, and the checksum at byte 12 covers it. */
    uint8_t constant[56];
    scratch_read(page_path(), 0, constant, sizeof constant);
    constant[32] = (uint8_t)(constant[32] + 1);
    bytes_store32(constant + 12, 0);
    bytes_store32(constant + 12, checksum_extend(0, constant, sizeof constant));
    scratch_write(page_path(), 0, constant, sizeof constant);

    struct segment_watermark_state state = read_state(writer);
    cr_assert_not(state.same_boot);
    cr_assert_not(state.live);
    cr_assert_eq(state.sequence_durable, 5);
    segment_watermark_close(writer);
}

Test(watermark, with_a_bit_turned_over_in_its_constant_part_says_nothing)
{
    struct segment_watermark *writer = create(log_a, 1);
    struct segment_watermark_state state;
    for (uint64_t offset = 0; offset < 56; offset++) {
        scratch_flip(page_path(), offset, 1u << 5);
        cr_assert_not(segment_watermark_read(writer, &state), "byte %d", (int)offset);
        scratch_flip(page_path(), offset, 1u << 5);
    }
    cr_assert(segment_watermark_read(writer, &state));
    segment_watermark_close(writer);
}

Test(watermark, that_was_cut_is_refused_by_readers_and_replaced_by_the_next_writer)
{
    struct segment_watermark *writer = create(log_a, 1), *reader = NULL;
    segment_watermark_close(writer);
    scratch_cut(page_path(), 4095);
    cr_assert_eq(segment_watermark_open(log_fd, &reader, &error), ERROR_DAMAGED);
    cr_assert_str_eq(error.text, "'watermark' has 4095 bytes instead of 4096");

    writer = create(log_a, 2);
    segment_watermark_publish(writer, 8);
    reader = open_page();
    cr_assert_eq(read_state(reader).sequence_durable, 8);
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}

Test(watermark, notices_that_its_file_was_replaced)
{
    struct segment_watermark *writer = create(log_a, 1);
    cr_assert(segment_watermark_is_current(writer, log_fd));
    scratch_delete(page_path());
    cr_assert_not(segment_watermark_is_current(writer, log_fd));
    struct segment_watermark *other = create(log_a, 2);
    cr_assert_not(segment_watermark_is_current(writer, log_fd));
    cr_assert(segment_watermark_is_current(other, log_fd));
    segment_watermark_close(other);
    segment_watermark_close(writer);
}

Test(watermark, wakes_a_reader_in_another_process)
{
    enum { LAST = 2000 };
    struct segment_watermark *writer = create(log_a, 1);
    int steps[2];
    cr_assert_eq(pipe(steps), 0);
    pid_t pid = scratch_fork();
    if (pid == 0) {
        struct segment_watermark *reader = open_page();
        uint64_t seen = 0;
        while (seen < LAST) {
            if (!segment_watermark_wait(reader, seen, FOREVER_MS))
                _exit(1);
            seen = segment_watermark_sequence(reader);
            if (write(steps[1], "!", 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    /* One publication a step, each answered before the next: a lost wake-up would hang here. */
    for (uint64_t sequence = 1; sequence <= LAST; sequence++) {
        char byte;
        segment_watermark_publish(writer, sequence);
        cr_assert_eq(read(steps[0], &byte, 1), 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    segment_watermark_close(writer);
}

Test(watermark, does_not_wait_for_what_is_there_already)
{
    struct segment_watermark *writer = create(log_a, 1);
    segment_watermark_publish(writer, 3);
    cr_assert(segment_watermark_wait(writer, 2, FOREVER_MS));
    cr_assert(segment_watermark_wait(writer, 3, 0));
    segment_watermark_close(writer);
}

static void ignore_signal(int number)
{
    (void)number;
}

Test(watermark, stops_waiting_when_a_signal_comes)
{
    struct segment_watermark *writer = create(log_a, 1);
    struct sigaction action = {.sa_handler = ignore_signal};
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    /* Again and again, so that one comes while the wait is under way. */
    struct itimerval timer = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
    cr_assert_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
    cr_assert_not(segment_watermark_wait(writer, 0, FOREVER_MS));
    scratch_cut(page_path(), 0);
    cr_assert_not(segment_watermark_wait(writer, 0, FOREVER_MS), "nor on a page that is gone");
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
    segment_watermark_close(writer);
}

/* No handler of SIGBUS here: a library must not install one in a stranger's process. */
Test(watermark, that_is_cut_under_a_sleeper_kills_nobody)
{
    struct segment_watermark *writer = create(log_a, 1), *reader = open_page();
    segment_watermark_publish(writer, 5);
    scratch_cut(page_path(), 0);
    cr_assert_eq(segment_watermark_sequence(reader), 0);
    cr_assert(segment_watermark_wait(reader, 5, 30), "it sleeps until the timeout");
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}

static void cut_page(void)
{
    scratch_cut(page_path(), 0);
}

/* Reads 1 and 2 are of the counter; 3 and 4 of the sequence. */
Test(watermark, that_is_cut_between_the_look_and_the_sleep_kills_nobody)
{
    struct segment_watermark *writer = create(log_a, 1), *reader = open_page();
    struct broken_plan plan = {.call = BROKEN_READ, .number = 3, .before = cut_page};
    segment_watermark_publish(writer, 5);
    broken_calls_begin(&plan);
    cr_assert(segment_watermark_wait(reader, 5, 30));
    cr_assert_eq(broken_calls_end(), 1);
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}
