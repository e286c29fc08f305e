#include "segment/repair.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "tests/segment/repairs.h"
#include "tests/support/scratch.h"

/* New events get fresh sequences, and producers cannot repeat what is there. */
static void expect_writable(const char *name)
{
    struct segment_log *log = NULL;
    struct repairs_content content = repairs_read_all(repairs_path);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s: %s", name,
                 repairs_error.text);
    uint64_t top = 0;
    for (uint64_t sequence = 1; sequence <= LAST; sequence++)
        if (content.digests[sequence] && sequence % 2)
            top = sequence;
    cr_assert_eq(segment_log_producer_number(log, "p", 1), top,
                 "%s: the producer's number is %" PRIu64 " instead of %" PRIu64, name,
                 segment_log_producer_number(log, "p", 1), top);
    uint64_t before = segment_log_appended(log);
    cr_assert_geq(before, LAST, "%s: sequences would be given again", name);
    cr_assert_geq(before, repairs_witness, "%s: sequences would be given again", name);
    repairs_append(log, 1001);
    cr_assert_eq(segment_log_appended(log), before + 1);
    logs_close(log);
    repairs_expect_sound(repairs_path);
}

Test(repair, finds_nothing_to_do_in_a_sound_log)
{
    struct repairs_told told;
    repairs_prepare_sound();
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.count, 0, "%s", told.texts[0]);
    cr_assert_eq(told.totals.actions, 0);
    cr_assert_eq(told.retired, 0);
}

static void expect_refused(const struct repairs_damage *damage)
{
    struct segment_log *log = NULL;
    if (!(damage->flags & UNVERIFIED))
        cr_assert_gt(repairs_verify(repairs_path).count, 0, "%s: verify finds nothing",
                     damage->name);
    if (damage->flags & UNREFUSED)
        return;
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_DAMAGED, "%s: a writer starts",
                 damage->name);
    cr_assert_not_null(strstr(repairs_error.text, "verify --repair"), "%s", repairs_error.text);
}

static void run_case(size_t i)
{
    struct repairs_told told;
    const struct repairs_damage *damage = repairs_prepare(i);
    struct repairs_content before = repairs_read_before(damage);

    if (!(damage->flags & UNREAD))
        cr_assert_gt(before.damage, 0, "%s: a reader sees no damage", damage->name);
    expect_refused(damage);
    if ((damage->flags & ASKS)) {
        cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED, "%s",
                     damage->name);
        cr_assert_not_null(strstr(repairs_error.text, "--accept-loss"), "%s", repairs_error.text);
        cr_assert_gt(told.totals.actions, 0);
        cr_assert_eq(told.retired, 0);
        expect_refused(damage);
    }
    cr_assert_eq(repairs_run(repairs_path, true, true, &told), OK, "%s: %s", damage->name,
                 repairs_error.text);
    cr_assert_gt(told.count, 0, "%s", damage->name);
    uint64_t events_lost = told.totals.events_lost;
    expect_refused(damage);

    cr_assert_eq(repairs_run(repairs_path, false, (damage->flags & ASKS), &told), OK, "%s: %s",
                 damage->name, repairs_error.text);
    cr_assert_eq(told.totals.events_lost, events_lost, "%s", damage->name);
    cr_assert_eq(told.retired, 1);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, damage->name);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), repairs_lost,
                     "%s: lost are '%s', not '%s'", damage->name,
                     repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), repairs_lost);

    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.actions, 0, "%s: repaired twice: %s", damage->name, told.texts[0]);
    expect_writable(damage->name);
}

Test(repair, keeps_what_can_be_read_and_puts_the_rest_on_record)
{
    for (size_t i = 0; i < repairs_damage_count; i++)
        run_case(i);
}

/* Its sequences are outside of its checksum: one flipped bit must not cost half of all there are.
 */
Test(repair, is_not_needed_for_a_bit_turned_over_in_the_watermark)
{
    const uint64_t offsets[] = {64 + 3, 64 + 6, 72 + 3, 72 + 6};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct segment_log *log = NULL;
        struct repairs_told told;
        repairs_prepare_sound();
        scratch_flip(scratch_path("log/watermark"), offsets[i], 1u << 4);
        cr_assert_eq(repairs_verify(repairs_path).count, 0);
        cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
        cr_assert_eq(told.totals.actions, 0, "%s", told.texts[0]);
        cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
        cr_assert_leq(segment_log_appended(log), LAST + FORMAT_UNDURABLE_EVENTS_MAX);
        logs_close(log);
    }
}

static enum error_code fail_to_retire(void *context, struct error *why)
{
    (void)context;
    return error_set(why, ERROR_NO_SPACE, "the index cannot be moved");
}

/* An index of segments that are no more must not be believed, so nobody writes before it is gone.
 */
Test(repair, is_not_over_before_the_index_is_retired)
{
    struct repairs_told told = {0};
    struct segment_log *log = NULL;
    repairs_prepare(0);
    struct segment_repair_options options = {
        .tell = repairs_tell, .retire = fail_to_retire, .context = &told};
    cr_assert_eq(segment_repair_run(repairs_path, &options, &told.totals, &repairs_error),
                 ERROR_NO_SPACE);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_DAMAGED);
    cr_assert_not_null(strstr(repairs_error.text, "is not finished"), "%s", repairs_error.text);
    cr_assert_gt(repairs_verify(repairs_path).count, 0);

    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.retired, 1);
    repairs_expect_sound(repairs_path);
}

Test(repair, keeps_the_old_file_byte_for_byte)
{
    struct repairs_told told;
    static uint8_t old[SMALL], kept[SMALL];
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    scratch_flip(repairs_segment(first), 9000, 1);
    scratch_read(repairs_segment(first), 0, old, sizeof old);
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    segment_format_segment_name(first, name);
    for (int again = 0; again < 2; again++) { /* the second repair finds another file to keep */
        cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
        cr_assert_eq(told.totals.actions, 1);
        scratch_read(scratch_path("log/quarantine/%s", name), 0, kept, sizeof kept);
        cr_assert_eq(memcmp(old, kept, sizeof old), 0);
        scratch_flip(repairs_segment(first), 20000, 1);
    }
    cr_assert_eq(access(scratch_path("log/quarantine/%.20s-1.seg", name), F_OK), 0);
}

/* A device that changes one bit of one block on its way. */
static bool has_lied;

static ssize_t lying_write(int fd, const void *data, size_t size, off_t offset)
{
    uint8_t changed[5000];
    if (has_lied || size < 2000 || size > sizeof changed)
        return file_calls_kernel.write(fd, data, size, offset);
    has_lied = true;
    memcpy(changed, data, size);
    changed[size / 2] ^= 1;
    return file_calls_kernel.write(fd, changed, size, offset);
}

Test(repair, puts_nothing_in_place_that_cannot_be_read_back)
{
    static struct file_calls lying;
    struct repairs_told told;
    const struct repairs_damage *damage = repairs_prepare(0);
    struct repairs_content before = repairs_read_before(damage);
    lying = file_calls_kernel;
    lying.write = lying_write;
    file_calls_use(&lying);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_IO);
    file_calls_use(NULL);
    cr_assert(has_lied);
    cr_assert_not_null(strstr(repairs_error.text, "read back"), "%s", repairs_error.text);

    struct repairs_content between = repairs_read_all(repairs_path);
    cr_assert_eq(memcmp(before.digests, between.digests, sizeof before.digests), 0);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, "a device that lies once");
}

/* A device that has lost one page of one file. */
static ino_t bad_inode;
static off_t bad_offset;

static ssize_t refusing_read(int fd, void *data, size_t size, off_t offset)
{
    struct stat status;
    bool overlaps = offset < bad_offset + 4096 && offset + (off_t)size > bad_offset;
    if (overlaps && !file_calls_kernel.status(fd, &status) && status.st_ino == bad_inode) {
        errno = EIO;
        return -1;
    }
    return file_calls_kernel.read(fd, data, size, offset);
}

Test(repair, asks_before_it_gives_up_bytes_that_the_device_refuses)
{
    static struct file_calls refusing;
    struct repairs_told told;
    struct stat status;
    repairs_prepare_sound();
    uint64_t header = repairs_nth(1); /* of another segment, damaged too */
    uint64_t sequence = repairs_nth(3) + 4;
    struct logs_place place = logs_find(repairs_path, sequence);
    cr_assert_eq(stat(repairs_segment(place.segment_first), &status), 0);
    bad_inode = status.st_ino;
    scratch_flip(repairs_segment(header), 0, 1);
    bad_offset = (off_t)(place.header.offset + 1500) & ~(off_t)4095;
    refusing = file_calls_kernel;
    refusing.read = refusing_read;
    file_calls_use(&refusing);

    struct repairs_content before = repairs_read_all(repairs_path);
    cr_assert_gt(before.damage, 0);
    cr_assert_eq(before.digests[sequence], 0);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED, "%s",
                 repairs_error.text);
    cr_assert_gt(told.totals.refused_lost, 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, "a device that refuses bytes");
    file_calls_use(NULL);

    /* What it gave of the old file is in quarantine, with zeros in the place of the rest. */
    uint8_t bytes[8192], zeros[4096] = {0};
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    segment_format_segment_name(place.segment_first, name);
    scratch_read(scratch_path("log/quarantine/%s", name), (uint64_t)bad_offset - 4096, bytes,
                 sizeof bytes);
    cr_assert_neq(memcmp(bytes, zeros, sizeof zeros), 0);
    cr_assert_eq(memcmp(bytes + 4096, zeros, sizeof zeros), 0);
}

Test(repair, is_refused_while_a_writer_is_at_work)
{
    struct repairs_told told;
    repairs_prepare_sound();
    struct segment_log *log = logs_open(repairs_path, SMALL);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_BUSY);
    cr_assert_not_null(strstr(repairs_error.text, "stop that first"), "%s", repairs_error.text);
    logs_close(log);
}

Test(repair, leaves_files_with_a_wrong_name_to_a_person)
{
    struct repairs_told told;
    repairs_prepare_sound();
    uint64_t first = repairs_nth(1);
    char name[1024];
    snprintf(name, sizeof name, "%s", repairs_segment(first));
    cr_assert_eq(rename(name, repairs_segment(5000)), 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), ERROR_DAMAGED);
    cr_assert_not_null(strstr(repairs_error.text, "under another name"), "%s", repairs_error.text);
    cr_assert_eq(rename(repairs_segment(5000), name), 0);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
}

Test(repair, of_segments_of_which_nothing_tells_the_log_begins_anew_above_them)
{
    struct repairs_told told;
    repairs_prepare_sound();
    for (uint64_t first = 1; first <= LAST; first++)
        if (access(repairs_segment(first), F_OK) == 0)
            scratch_fill(repairs_segment(first), 0, 4096, 0x11);
    scratch_delete(scratch_path("log/watermark"));
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
    struct segment_log *log = logs_open(repairs_path, SMALL);
    cr_assert_geq(segment_log_appended(log), LAST);
    logs_close(log);
}

/* What a backup gives back after the loss was put on record fits in again. */
Test(repair, gives_way_to_the_lost_segment_when_it_is_found)
{
    struct repairs_told told;
    repairs_prepare_sound();
    struct repairs_content whole = repairs_read_all(repairs_path);
    uint64_t first = repairs_nth(2);
    char kept[1024];
    snprintf(kept, sizeof kept, "%s", scratch_path("kept"));
    char name[1024];
    snprintf(name, sizeof name, "%s", repairs_segment(first));
    cr_assert_eq(rename(name, kept), 0);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    repairs_expect_sound(repairs_path);
    cr_assert_eq(rename(kept, name), 0);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&whole, &after, "a segment from a backup");
}

Test(repair, is_called_for_by_verify_where_the_device_refuses_the_unused_rest)
{
    static struct file_calls refusing;
    struct segment_log *log = NULL;
    struct stat status;
    static char path[600];
    snprintf(path, sizeof path, "%s", scratch_path("log"));
    repairs_path = path;
    logs_make(path, SMALL, 3, 0);
    cr_assert_eq(stat(repairs_segment(1), &status), 0);
    bad_inode = status.st_ino;
    bad_offset = 8 * 4096; /* far behind the stop mark */
    refusing = file_calls_kernel;
    refusing.read = refusing_read;
    file_calls_use(&refusing);
    struct repairs_told told = repairs_verify(path);
    enum error_code code = repairs_open_as_writer(path, &log);
    file_calls_use(NULL);
    cr_assert_eq(code, ERROR_IO, "%s", repairs_error.text);
    cr_assert_eq(told.count, 1, "a writer is refused and verify finds nothing");
    cr_assert_not_null(strstr(told.texts[0], "cannot be read to its end"), "%s", told.texts[0]);
}

/* Larger than a window of the scan: segments of 1, 2 and 4 MiB, of which the last holds the events
 * 4 to 6. */
static void make_large(void)
{
    static char path[600];
    snprintf(path, sizeof path, "%s", scratch_path("log"));
    repairs_path = path;
    logs_make(path, UINT64_C(8) << 20, 6, 900000);
    cr_assert_eq(logs_find(path, 6).segment_first, 4);
    cr_assert_eq(scratch_size(repairs_segment(4)), 4 << 20);
}

static void refuse_page(uint64_t segment_first, off_t offset)
{
    static struct file_calls refusing;
    struct stat status;
    cr_assert_eq(stat(repairs_segment(segment_first), &status), 0);
    bad_inode = status.st_ino;
    bad_offset = offset & ~(off_t)4095;
    refusing = file_calls_kernel;
    refusing.read = refusing_read;
    file_calls_use(&refusing);
}

Test(repair, asks_before_it_gives_up_a_block_in_the_middle_of_a_large_segment)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    make_large();
    refuse_page(4, 2500000);
    struct repairs_content before = repairs_read_all(repairs_path);
    cr_assert_eq(before.digests[6], 0);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_IO, "%s", repairs_error.text);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED, "%s",
                 repairs_error.text);
    cr_assert_eq(told.totals.refused_lost, 1, "good bytes behind the bad ones make it no better");
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    file_calls_use(NULL);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, "a large segment");
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), "6-6");
}

Test(repair, loses_nothing_where_the_device_refuses_the_unused_rest_of_a_large_segment)
{
    struct repairs_told told;
    struct segment_log *log = NULL;
    make_large();
    struct repairs_content before = repairs_read_all(repairs_path);
    refuse_page(4, 4100000);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), ERROR_IO, "%s", repairs_error.text);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, 0);
    file_calls_use(NULL);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, "the unused rest");
}

Test(repair, asks_before_it_gives_up_an_end_that_the_device_refuses)
{
    struct repairs_told told;
    repairs_prepare_sound();
    struct logs_place end = logs_find(repairs_path, LAST);
    off_t behind =
        (off_t)(end.header.offset + end.header.size_bytes) + 8191; /* and the stop mark */
    cr_assert_lt(behind, SMALL - 8192);
    repairs_witness = LAST + 5; /* says the index */
    refuse_page(end.segment_first, behind);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), ERROR_DAMAGED, "%s",
                 repairs_error.text);
    cr_assert_eq(told.totals.refused_lost, 5);
    cr_assert_eq(repairs_run(repairs_path, false, true, &told), OK, "%s", repairs_error.text);
    file_calls_use(NULL);
    repairs_expect_sound(repairs_path);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), "101-105");
    repairs_witness = 0;
}
