/*
 * After a failed sync the page cache of the last segment holds other bytes than the disk, and calls
 * them clean; as long as a reader has them mapped nothing can drop them. So what a recovery reads
 * past the cache is not what it writes back with each page that it touches.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "segment/verify.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

/*
 * The first segment's file stands for its pages in the cache, and the file "disk" for its place on
 * the disk: direct reads come from there, and a sync brings the pages there that were written to.
 */
enum { PAGE = 4096, SEGMENT_BYTES = 1 << 20 };
static bool dirty[SEGMENT_BYTES / PAGE];
static struct file_calls simulated;

static bool is_file(int fd, const char *end)
{
    char link[64], path[4096] = "";

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strlen(path) > strlen(end) &&
           strcmp(path + strlen(path) - strlen(end), end) == 0;
}

static bool is_segment(int fd)
{
    return is_file(fd, "/00000000000000000001.seg");
}

static int open_past_the_cache(int directory_fd, const char *path, int flags, mode_t mode)
{
    if ((flags & O_DIRECT) && strcmp(path, "00000000000000000001.seg") == 0)
        return file_calls_kernel.open(AT_FDCWD, scratch_path("disk"), flags, mode);
    return file_calls_kernel.open(directory_fd, path, flags, mode);
}

static void note_dirty(int fd, off_t offset, ssize_t size)
{
    if (size > 0 && is_segment(fd))
        for (off_t page = offset / PAGE; page <= (offset + size - 1) / PAGE; page++)
            dirty[page] = true;
}

static ssize_t write_to_the_cache(int fd, const void *data, size_t size, off_t offset)
{
    ssize_t written = file_calls_kernel.write(fd, data, size, offset);

    note_dirty(fd, offset, written);
    return written;
}

static ssize_t write_vector_to_the_cache(int fd, const struct iovec *blocks, int count,
                                         off_t offset)
{
    ssize_t written = file_calls_kernel.write_vector(fd, blocks, count, offset);

    note_dirty(fd, offset, written);
    return written;
}

/* Whole pages, whatever else they hold. */
static void write_back(size_t first, size_t end)
{
    char bytes[PAGE];

    for (size_t page = first; page < end; page++) {
        if (!dirty[page])
            continue;
        scratch_read(logs_segment_path(scratch_path("log"), 1), page * PAGE, bytes, PAGE);
        scratch_write(scratch_path("disk"), page * PAGE, bytes, PAGE);
        dirty[page] = false;
    }
}

/* A direct read first writes back what is dirty in its range. */
static ssize_t read_past_the_cache(int fd, void *data, size_t size, off_t offset)
{
    if (is_file(fd, "/disk"))
        write_back((size_t)offset / PAGE, ((size_t)offset + size + PAGE - 1) / PAGE);
    return file_calls_kernel.read(fd, data, size, offset);
}

static int sync_to_the_disk(int fd)
{
    if (is_segment(fd))
        write_back(0, SEGMENT_BYTES / PAGE);
    return file_calls_kernel.sync_data(fd);
}

static int drop_nothing(int fd, off_t offset, off_t size)
{
    (void)fd, (void)offset, (void)size;
    return 0;
}

static void copy_segment(const char *from, const char *to)
{
    static char bytes[SEGMENT_BYTES];

    cr_assert_eq(scratch_size(from), SEGMENT_BYTES);
    scratch_read(from, 0, bytes, sizeof bytes);
    scratch_write(to, 0, bytes, sizeof bytes);
}

/* The present state of the cache is what the disk has. */
static void reach_the_disk(void)
{
    scratch_copy(logs_segment_path(scratch_path("log"), 1), scratch_path("disk"));
}

static void kill_a_writer_of_two_events(void)
{
    logs_kill_writer(logs_start_writer(scratch_path("log"), 0, 2, 0));
}

static void recover(enum segment_recovery_verdict verdict)
{
    struct segment_log_options options = {.segment_bytes = SEGMENT_BYTES};
    struct segment_recovery_report report;
    struct segment_log *log = NULL;
    struct error error = {0};

    simulated = file_calls_kernel;
    simulated.open = open_past_the_cache;
    simulated.read = read_past_the_cache;
    simulated.write = write_to_the_cache;
    simulated.write_vector = write_vector_to_the_cache;
    simulated.sync_data = sync_to_the_disk;
    simulated.drop_cache = drop_nothing;
    file_calls_use(&simulated);
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, &report, &error), OK, "%s",
                 error.text);
    cr_assert_eq(report.verdict, verdict);
    logs_close(log);
    file_calls_use(NULL);
}

static void fail(void *context, const struct segment_verify_finding *finding)
{
    (void)context;
    cr_assert_fail("%s", finding->text);
}

static void expect_sound(uint64_t events)
{
    struct segment_verify_totals totals;
    struct error error = {0};

    cr_assert_eq(segment_verify_log(scratch_path("log"), fail, NULL, NULL, &totals, &error), OK,
                 "%s", error.text);
    cr_assert_eq(totals.events, events);
}

static void lose_the_cache(void)
{
    copy_segment(scratch_path("disk"), logs_segment_path(scratch_path("log"), 1));
}

/* A block of so many events, of which no byte has reached the disk. */
static void expect_cut(uint64_t count)
{
    kill_a_writer_of_two_events();
    reach_the_disk();
    logs_write_undurable(scratch_path("log"), count);
    recover(RECOVERY_END);
    expect_sound(2);
    lose_the_cache();
    expect_sound(2);
}

Test(stale_cache, is_cut_where_it_shares_a_page_with_the_seal)
{
    expect_cut(12);
}

Test(stale_cache, is_cut_as_far_as_it_goes)
{
    expect_cut(400);
}

/*
 * The seal is durable, and the crash comes before there is another segment. Returns where the seal
 * is: there was a block that only the cache had.
 */
static uint64_t seal_and_crash(void)
{
    kill_a_writer_of_two_events();
    reach_the_disk();
    struct segment_format_block_header lost = logs_write_undurable(scratch_path("log"), 12);
    recover(RECOVERY_END);
    scratch_delete(logs_segment_path(scratch_path("log"), lost.sequence_first));
    scratch_delete(scratch_path("log/watermark"));
    return lost.offset;
}

Test(stale_cache, makes_no_seal_look_damaged_to_the_next_recovery)
{
    seal_and_crash();
    lose_the_cache();
    recover(RECOVERY_SEALED);
    expect_sound(2);
}

/*
 * A sync brought the end of a block to the disk, late; the recovery that had taken it for torn died
 * when its zeros did not get there. What the disk has is accepted, so it must be what is kept.
 */
static void expect_kept(uint64_t count)
{
    kill_a_writer_of_two_events();
    struct segment_format_block_header block = logs_write_undurable(scratch_path("log"), count);
    reach_the_disk();
    scratch_fill(logs_segment_path(scratch_path("log"), 1), block.offset, block.size_bytes, 0);
    recover(RECOVERY_END);
    expect_sound(2 + count);
    lose_the_cache();
    expect_sound(2 + count);
}

Test(stale_cache, is_not_what_the_accepted_end_is_written_again_from)
{
    expect_kept(12);
}

Test(stale_cache, is_not_what_an_end_of_many_pages_is_written_again_from)
{
    expect_kept(4000);
}

/* ---- A sync that failed when the disk had the bytes already: the cache holds zeros ---- */

static void forget_in_the_cache(uint64_t offset)
{
    const char *path = logs_segment_path(scratch_path("log"), 1);
    scratch_fill(path, offset, SEGMENT_BYTES - offset, 0);
}

Test(stale_cache, takes_no_seal_from_the_disk)
{
    forget_in_the_cache(seal_and_crash());
    recover(RECOVERY_SEALED);
    expect_sound(2);
    lose_the_cache();
    expect_sound(2);
}

Test(stale_cache, takes_no_stop_mark_from_the_disk)
{
    logs_make(scratch_path("log"), SEGMENT_BYTES, 2, 0);
    reach_the_disk();
    struct segment_format_block_header last = logs_find(scratch_path("log"), 2).header;
    forget_in_the_cache(last.offset + last.size_bytes);
    recover(RECOVERY_END);
    expect_sound(2);
    lose_the_cache();
    expect_sound(2);
}

/* The other way round: what stands behind the stop mark in the cache never reached the disk. */
Test(stale_cache, is_no_clean_end)
{
    logs_make(scratch_path("log"), SEGMENT_BYTES, 2, 0);
    reach_the_disk();
    scratch_fill(logs_segment_path(scratch_path("log"), 1), SEGMENT_BYTES / 2, 100, 'x');
    recover(RECOVERY_END);
    expect_sound(2);
    lose_the_cache();
    expect_sound(2);
}

Test(stale_cache, is_not_what_is_kept_of_damaged_bytes)
{
    static const char garbage[] = "no crash alone leaves this";
    char kept[sizeof garbage - 1];
    kill_a_writer_of_two_events();
    struct segment_format_block_header last = logs_find(scratch_path("log"), 2).header;
    uint64_t end = last.offset + last.size_bytes;
    reach_the_disk();
    scratch_write(scratch_path("disk"), end, garbage, sizeof garbage);
    recover(RECOVERY_DAMAGED_TAIL);
    scratch_read(scratch_path("log/quarantine/00000000000000000001-%llu.bytes",
                              (unsigned long long)end),
                 0, kept, sizeof kept);
    cr_assert_arr_eq(kept, garbage, sizeof kept);
}
