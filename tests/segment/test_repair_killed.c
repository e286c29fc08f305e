#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file_calls.h"
#include "tests/segment/repairs.h"
#include "tests/support/scratch.h"
#include "tests/support/stride.h"

/*
 * A process that dies: after so many calls nothing that it asks of the disk happens any more. Files
 * are still closed, as the kernel does for the dead.
 */
static _Atomic long calls_left;
static _Atomic long calls_made;

static bool is_dead(void)
{
    calls_made++;
    if (calls_left-- > 0)
        return false;
    errno = EIO;
    return true;
}

static int dying_open(int directory_fd, const char *name, int flags, mode_t mode)
{
    return is_dead() ? -1 : file_calls_kernel.open(directory_fd, name, flags, mode);
}

static ssize_t dying_read(int fd, void *data, size_t size, off_t offset)
{
    return is_dead() ? -1 : file_calls_kernel.read(fd, data, size, offset);
}

/* The last write of all may come half way. */
static ssize_t dying_write(int fd, const void *data, size_t size, off_t offset)
{
    if (calls_left == 1 && size > 1)
        size /= 2;
    return is_dead() ? -1 : file_calls_kernel.write(fd, data, size, offset);
}

static ssize_t dying_write_vector(int fd, const struct iovec *blocks, int count, off_t offset)
{
    return is_dead() ? -1 : file_calls_kernel.write_vector(fd, blocks, count, offset);
}

static int dying_sync_data(int fd)
{
    return is_dead() ? -1 : file_calls_kernel.sync_data(fd);
}

static int dying_sync(int fd)
{
    return is_dead() ? -1 : file_calls_kernel.sync(fd);
}

static int dying_allocate(int fd, off_t size)
{
    return is_dead() ? -1 : file_calls_kernel.allocate(fd, size);
}

static int dying_truncate(int fd, off_t size)
{
    return is_dead() ? -1 : file_calls_kernel.truncate(fd, size);
}

static int dying_rename(int directory_fd, const char *from, const char *to)
{
    return is_dead() ? -1 : file_calls_kernel.rename(directory_fd, from, to);
}

static int dying_unlink(int directory_fd, const char *name)
{
    return is_dead() ? -1 : file_calls_kernel.unlink(directory_fd, name);
}

static int dying_make_directory(int directory_fd, const char *name, mode_t mode)
{
    return is_dead() ? -1 : file_calls_kernel.make_directory(directory_fd, name, mode);
}

static void die_after(long calls)
{
    static struct file_calls dying;
    dying = file_calls_kernel;
    dying.open = dying_open;
    dying.read = dying_read;
    dying.write = dying_write;
    dying.write_vector = dying_write_vector;
    dying.sync_data = dying_sync_data;
    dying.sync = dying_sync;
    dying.allocate = dying_allocate;
    dying.truncate = dying_truncate;
    dying.rename = dying_rename;
    dying.unlink = dying_unlink;
    dying.make_directory = dying_make_directory;
    calls_left = calls;
    calls_made = 0;
    file_calls_use(&dying);
}

static void copy_back(const char *from)
{
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", repairs_path);
    cr_assert_eq(system(command), 0);
    scratch_copy(from, repairs_path);
}

/* Killed after so many calls; then repaired once more. False: it was not killed. */
static bool interrupt_and_go_on(const struct repairs_damage *damage,
                                const struct repairs_content *before, long calls)
{
    struct repairs_told told;
    die_after(calls);
    enum error_code code = repairs_run(repairs_path, false, damage->flags & ASKS, &told);
    bool killed = calls_left < 0;
    uint64_t retired = told.retired;
    file_calls_use(NULL);
    cr_assert(code == OK || killed, "%s: %s", damage->name, repairs_error.text);
    if (code == OK && !killed)
        return false;

    /* Whatever was done: a reader still gets all that it got before. */
    struct repairs_content between = repairs_read_before(damage);
    for (uint64_t sequence = 1; sequence < EVENTS_MAX; sequence++)
        cr_assert_eq(before->digests[sequence], between.digests[sequence],
                     "%s, killed after %ld calls: event %" PRIu64 " is another", damage->name,
                     calls, sequence);
    cr_assert_eq(repairs_run(repairs_path, false, damage->flags & ASKS, &told), OK, "%s: %s",
                 damage->name, repairs_error.text);
    cr_assert_gt(retired + told.retired, 0, "%s, killed after %ld calls: the index is believed",
                 damage->name, calls);
    repairs_expect_sound(repairs_path);
    struct repairs_content after = repairs_read_all(repairs_path);
    repairs_expect_same_events(before, &after, damage->name);
    cr_assert_str_eq(repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), repairs_lost,
                     "%s, killed after %ld calls: lost are '%s', not '%s'", damage->name, calls,
                     repairs_gaps_text(repairs_path, FORMAT_GAP_DAMAGE), repairs_lost);
    struct segment_log *log = NULL;
    cr_assert_eq(repairs_open_as_writer(repairs_path, &log), OK, "%s: %s", damage->name,
                 repairs_error.text);
    logs_close(log);
    return true;
}

/* With STEP 1 every call is the last once; a slice of them takes seconds. */
static void kill_at_each(size_t i, long step)
{
    const struct repairs_damage *damage = repairs_prepare(i);
    char spoilt[1024];
    snprintf(spoilt, sizeof spoilt, "%s", scratch_path("spoilt"));
    char command[1100];
    snprintf(command, sizeof command, "rm -rf '%s'", spoilt);
    cr_assert_eq(system(command), 0);
    scratch_copy(repairs_path, spoilt);
    struct repairs_content before = repairs_read_before(damage);
    long calls = (long)i % step;
    while (interrupt_and_go_on(damage, &before, calls)) {
        copy_back(spoilt);
        calls += step;
    }
    cr_assert_gt(calls, 50, "the fault never fired");
}

Test(repair, that_is_killed_at_any_call_can_be_run_again)
{
    for (size_t i = 0; i < repairs_damage_count; i++)
        kill_at_each(i, stride(97));
}
