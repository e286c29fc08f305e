/*
 * The page that goes from under the writer's and the readers' feet: cut, replaced, unreadable.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/file.h"
#include "segment/watermark.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"
#include "core/file_calls.h"

static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "a log";
static int log_fd = -1;
static struct error error;

/* A clock that the tests move. */
static int64_t now_ns = 1000000000;

static int64_t test_time(void)
{
    return now_ns;
}

static void test_boot(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 'B', CLOCK_BOOT_ID_SIZE);
}

static void setup(void)
{
    static const struct clock_source source = {
        .realtime_ns = test_time, .monotonic_ns = test_time, .boot_id = test_boot};
    clock_use(&source);
    cr_assert_eq(file_map_guard(&error), OK, "%s", error.text);
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK, "%s",
                 error.text);
}

static void teardown(void)
{
    clock_use(NULL);
    file_close(&log_fd);
}

TestSuite(watermark_lost, .init = setup, .fini = teardown);

static struct segment_watermark *create(void)
{
    struct segment_watermark *page = NULL;
    cr_assert_eq(segment_watermark_create(log_fd, log_id, 1, &page, &error), OK, "%s", error.text);
    return page;
}

static void cut(void)
{
    scratch_cut(scratch_path("watermark"), 0);
}

static uint64_t durable_by_name(void)
{
    struct segment_watermark *page = NULL;
    struct segment_watermark_state state = {0};
    cr_assert_eq(segment_watermark_open(log_fd, &page, &error), OK, "%s", error.text);
    cr_assert(segment_watermark_read(page, &state));
    segment_watermark_close(page);
    return state.sequence_durable;
}

Test(watermark_lost, a_page_that_is_cut_is_replaced_at_the_next_publication)
{
    struct segment_watermark *page = create();
    segment_watermark_publish(page, 5);
    cut();
    segment_watermark_set_written(page, 9);
    segment_watermark_publish(page, 8);
    cr_assert_eq(durable_by_name(), 8);
    segment_watermark_publish(page, 9);
    cr_assert_eq(durable_by_name(), 9);
    segment_watermark_close(page);
}

Test(watermark_lost, a_page_that_cannot_be_replaced_is_tried_again_later_and_not_at_once)
{
    struct segment_watermark *page = create();
    cut();
    struct broken_plan plan = {
        .call = BROKEN_RENAME, .number = 1, .for_ever = true, .reason = EACCES};
    broken_calls_begin(&plan);
    segment_watermark_publish(page, 5);
    segment_watermark_publish(page, 6);
    cr_assert_eq(broken_calls_end(), 1, "it must not be tried at each publication");
    segment_watermark_publish(page, 7);
    now_ns += INT64_C(3600) * 1000000000;
    segment_watermark_publish(page, 8);
    cr_assert_eq(durable_by_name(), 8);
    segment_watermark_close(page);
}

Test(watermark_lost, a_reader_of_a_cut_page_sees_nothing_in_it)
{
    struct segment_watermark *writer = create(), *reader = NULL;
    struct segment_watermark_state state;
    segment_watermark_publish(writer, 5);
    cr_assert_eq(segment_watermark_open(log_fd, &reader, &error), OK);
    cr_assert(segment_watermark_is_current(reader, log_fd));
    cut();
    cr_assert_not(segment_watermark_is_current(reader, log_fd));
    cr_assert_not(segment_watermark_read(reader, &state));
    segment_watermark_close(reader);
    segment_watermark_close(writer);
}

Test(watermark_lost, a_page_that_was_replaced_by_a_copy_is_not_current)
{
    struct segment_watermark *page = create();
    char copy[4096];
    scratch_read(scratch_path("watermark"), 0, copy, sizeof copy);
    cr_assert_eq(file_replace(log_fd, "watermark", copy, sizeof copy, &error), OK);
    cr_assert_not(segment_watermark_is_current(page, log_fd));
    segment_watermark_close(page);
}

Test(watermark_lost, a_page_that_cannot_be_synced_is_not_begun_with)
{
    struct segment_watermark *page = NULL;
    struct broken_plan plan = {.call = BROKEN_SYNC, .number = 1, .for_ever = true, .reason = EIO};
    segment_watermark_close(create());
    broken_calls_begin(&plan);
    cr_assert_eq(segment_watermark_create(log_fd, log_id, 2, &page, &error), ERROR_IO);
    cr_assert_not_null(strstr(error.text, "watermark"), "%s", error.text);
    cr_assert_eq(broken_calls_open(), 0);
    broken_calls_end();
}

static ssize_t restless_read(int fd, void *data, size_t size, off_t offset)
{
    static uint8_t count;
    ssize_t n = file_calls_kernel.read(fd, data, size, offset);
    if (n > 0)
        *(uint8_t *)data ^= ++count;
    return n;
}

Test(watermark_lost, a_page_that_is_never_twice_the_same_says_nothing)
{
    static struct file_calls restless;
    struct segment_watermark *page = create();
    struct segment_watermark_state state;
    segment_watermark_publish(page, 5);
    restless = file_calls_kernel;
    restless.read = restless_read;
    file_calls_use(&restless);
    cr_assert_not(segment_watermark_read(page, &state));
    cr_assert_eq(segment_watermark_sequence(page), 0);
    file_calls_use(NULL);
    cr_assert_eq(segment_watermark_sequence(page), 5);
    segment_watermark_close(page);
}

static void take_live_away(void)
{
    static const uint8_t zeros[4];
    scratch_write(scratch_path("watermark"), 56, zeros, sizeof zeros);
}

Test(watermark_lost, a_page_that_is_made_anew_between_two_looks_is_not_live)
{
    struct segment_watermark *page = create();
    struct segment_watermark_state state;
    struct broken_plan plan = {.call = BROKEN_READ, .number = 7, .before = take_live_away};
    segment_watermark_publish(page, 5);
    cr_assert(segment_watermark_read(page, &state) && state.live);
    broken_calls_begin(&plan);
    cr_assert(segment_watermark_read(page, &state));
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_not(state.live);
    segment_watermark_close(page);
}

Test(watermark_lost, a_new_page_that_cannot_be_mapped_is_made_again_later)
{
    struct segment_watermark *page = create();
    struct broken_plan plan = {.call = BROKEN_MAP, .number = 1, .reason = EACCES};
    cut();
    broken_calls_begin(&plan);
    segment_watermark_publish(page, 5);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(durable_by_name(), 5);
    now_ns += INT64_C(3600) * 1000000000;
    segment_watermark_publish(page, 8);
    cr_assert_eq(durable_by_name(), 8);
    segment_watermark_close(page);
}

static int other_device(int directory_fd, const char *name, struct stat *status_out)
{
    int result = file_calls_kernel.status_at(directory_fd, name, status_out);
    status_out->st_dev++;
    return result;
}

Test(watermark_lost, a_page_on_another_device_is_not_current)
{
    static struct file_calls elsewhere;
    struct segment_watermark *page = create();
    elsewhere = file_calls_kernel;
    elsewhere.status_at = other_device;
    file_calls_use(&elsewhere);
    cr_assert_not(segment_watermark_is_current(page, log_fd));
    file_calls_use(NULL);
    cr_assert(segment_watermark_is_current(page, log_fd));
    segment_watermark_close(page);
}
