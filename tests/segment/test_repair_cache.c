/*
 * The last segment rots on the disk while the page cache still has it whole, in pages that a reader
 * keeps mapped: the next writer, who asks the disk, is refused. Then a repair must not find a sound
 * log, and has something to rescue.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "tests/segment/repairs.h"
#include "tests/support/forge.h"
#include "tests/support/scratch.h"

/* Direct reads of the file `cached` come from the file "disk"; what takes its name is another. */
static ino_t cached;
static off_t refused_page;
static struct file_calls simulated;

static int open_past_the_cache(int directory_fd, const char *name, int flags, mode_t mode)
{
    struct stat status;
    if ((flags & O_DIRECT) && !file_calls_kernel.status_at(directory_fd, name, &status) &&
        status.st_ino == cached)
        return file_calls_kernel.open(AT_FDCWD, scratch_path("disk"), flags, mode);
    return file_calls_kernel.open(directory_fd, name, flags, mode);
}

static ssize_t read_from_the_disk(int fd, void *data, size_t size, off_t offset)
{
    struct stat disk, status;
    bool overlaps = offset < refused_page + 4096 && offset + (off_t)size > refused_page;
    if (refused_page && overlaps && !stat(scratch_path("disk"), &disk) &&
        !file_calls_kernel.status(fd, &status) && status.st_ino == disk.st_ino) {
        errno = EIO;
        return -1;
    }
    return file_calls_kernel.read(fd, data, size, offset);
}

static int drop_nothing(int fd, off_t offset, off_t size)
{
    (void)fd, (void)offset, (void)size;
    return 0;
}

/* The reader keeps the number of its file from being given to another. */
static void part_cache_from_disk(uint64_t segment_first)
{
    struct stat status;
    int reader = open(repairs_segment(segment_first), O_RDONLY | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    cr_assert_eq(fstat(reader, &status), 0);
    cached = status.st_ino;
    refused_page = 0;
    scratch_copy(repairs_segment(segment_first), scratch_path("disk"));
    simulated = file_calls_kernel;
    simulated.open = open_past_the_cache;
    simulated.read = read_from_the_disk;
    simulated.drop_cache = drop_nothing;
    file_calls_use(&simulated);
}

/* A writer is refused; a repair finds why, loses nothing, and lets writers go on. */
static void expect_rescued(const char *text)
{
    struct segment_log *log = NULL;
    struct repairs_told told;
    struct repairs_content before = repairs_read_all(repairs_path);
    cr_assert_eq(before.damage, 0);
    cr_assert_neq(repairs_open_as_writer(repairs_path, &log), OK);
    cr_assert_not_null(strstr(repairs_error.text, "verify --repair"), "%s", repairs_error.text);
    told = repairs_verify(repairs_path);
    cr_assert_eq(told.count, 1, "a writer is refused, and verify finds %zu places", told.count);
    cr_assert_not_null(strstr(told.texts[0], text), "%s", told.texts[0]);

    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.actions, 1, "a writer is refused, and there is nothing to repair");
    cr_assert_eq(told.totals.events_lost, 0);
    cr_assert_not_null(strstr(told.texts[0], text), "%s", told.texts[0]);
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s", repairs_error.text);
    logs_close(log);
    file_calls_use(NULL);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(&before, &after, text);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), "");
}

static struct logs_place part_at(uint64_t sequence)
{
    struct logs_place place = logs_find(repairs_path, sequence);
    part_cache_from_disk(place.segment_first);
    return place;
}

Test(repair_cache, still_has_a_block_that_rotted_on_the_disk)
{
    repairs_prepare_sound();
    struct logs_place place = part_at(LAST - 1);
    scratch_flip(scratch_path("disk"), place.header.offset + 300, 1);
    expect_rescued("of the disk, though the page cache still has one");
}

/* Of which only the watermark tells. */
Test(repair_cache, still_has_an_end_that_is_gone_from_the_disk)
{
    repairs_prepare_sound();
    struct logs_place place = part_at(LAST);
    scratch_fill(scratch_path("disk"), place.header.offset, SMALL - place.header.offset, 0);
    expect_rescued("of the disk, though the page cache still has one");
}

Test(repair_cache, still_has_bytes_that_the_device_refuses)
{
    repairs_prepare_sound();
    struct logs_place place = part_at(LAST - 1);
    refused_page = (off_t)(place.header.offset + 300) & ~(off_t)4095;
    expect_rescued("Input/output error");
}

/* The crash came between the trailer and the next segment. */
static uint64_t end_with_a_sealed_segment(void)
{
    repairs_prepare_sound();
    uint64_t second = repairs_nth(1);
    for (uint64_t first = second + 1; first <= LAST + 1; first++)
        unlink(repairs_segment(first));
    unlink(scratch_path("log/watermark"));
    return second;
}

Test(repair_cache, still_has_a_block_of_a_sealed_segment_at_the_end)
{
    struct logs_place place = part_at(end_with_a_sealed_segment() + 2);
    scratch_flip(scratch_path("disk"), place.header.offset + 300, 1);
    expect_rescued("of the disk, though the page cache still has one");
}

Test(repair_cache, still_has_the_seal_of_a_segment_at_the_end)
{
    uint64_t last = end_with_a_sealed_segment();
    struct forge forge = {repairs_path, last};
    part_cache_from_disk(forge.segment_first);
    scratch_flip(scratch_path("disk"), forge_find_kind(forge, FORMAT_BLOCK_SEAL) + 30, 1);
    expect_rescued("of the disk, though the page cache still has one");
}

Test(repair_cache, that_agrees_with_the_disk_calls_for_no_repair)
{
    struct repairs_told told;
    repairs_prepare_sound();
    part_at(LAST);
    cr_assert_eq(repairs_verify(repairs_path).count, 0);
    cr_assert_eq(repairs_run(repairs_path, false, false, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.actions, 0, "%s", told.texts[0]);
    file_calls_use(NULL);
}
