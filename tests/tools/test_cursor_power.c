/*
 * A cursor on a disk that loses power at any of its operations: what was stored is there
 * afterwards, or what was being stored is; never anything else, never damage.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/file_calls.h"
#include "segment/cursor.h"
#include "segment/format.h"
#include "tools/torture/disk.h"

#define MOUNT "/simulated"
#define LOG MOUNT "/log"
enum { MOMENTS_MAX = 256, CUTS_EXHAUSTIVE_MAX = 4096, CUTS_RANDOM = 40, STEPS = 8 };
/* Before the cursor is there its position is this. */
#define NOWHERE UINT64_MAX

static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "the log's name.";

/* The disk behind one of its operations, and what may be found there. */
struct moment {
    struct torture_snapshot *snapshot;
    uint64_t stored, asked;
};

static struct moment moments[MOMENTS_MAX];
static size_t moment_count;
static uint64_t stored, asked;
static struct torture_disk *disk;
static struct error error;
static uint64_t cases, units_lost, names_lost;

static void watch(void *context, struct torture_disk *watched,
                  const struct torture_disk_operation *operation)
{
    (void)context, (void)operation;
    if (moment_count < MOMENTS_MAX)
        moments[moment_count++] =
            (struct moment){torture_disk_snapshot(watched), stored, asked};
}

static int open_log(bool create)
{
    int log_fd = -1;
    if (file_open_directory(LOG, create, &log_fd, &error))
        return -1;
    return log_fd;
}

/* A pending list that belongs to a position, so that halves of two stores would be found out. */
static size_t list_pending(uint64_t position, struct segment_cursor_pending *pending)
{
    size_t count = (size_t)(position * 137 % SEGMENT_CURSOR_PENDING_MAX);
    for (size_t i = 0; i < count; i++)
        pending[i] = (struct segment_cursor_pending){.sequence = position * 1000 + i,
                                                     .tries = (uint32_t)(position % 100)};
    return count;
}

static enum error_code store(struct segment_cursor *cursor, uint64_t position)
{
    static struct segment_cursor_pending pending[SEGMENT_CURSOR_PENDING_MAX];
    bool shared = segment_cursor_state(cursor)->kind == CURSOR_SHARED;
    struct segment_cursor_change change = {
        .position = position * 1000 + 1023,
        .committed_ns = (int64_t)position,
        .pending = pending,
        .pending_count = shared ? list_pending(position, pending) : 0,
    };
    asked = position;
    enum error_code code = segment_cursor_store(cursor, &change, &error);
    if (!code)
        stored = position;
    return code;
}

static void check_whole(const struct segment_cursor *cursor, uint64_t position)
{
    static struct segment_cursor_pending pending[SEGMENT_CURSOR_PENDING_MAX];
    const struct segment_cursor_state *state = segment_cursor_state(cursor);
    if (position == 0 || state->kind == CURSOR_SINGLE)
        return;
    cr_assert_eq(state->committed_ns, (int64_t)position);
    cr_assert_eq(state->pending_count, list_pending(position, pending));
    for (size_t i = 0; i < state->pending_count; i++)
        cr_assert_eq(segment_cursor_pending(cursor)[i].sequence, pending[i].sequence);
}

static void work(enum segment_cursor_kind kind)
{
    struct segment_cursor *cursor = NULL;
    disk = torture_disk_create(0);
    torture_disk_mount(disk, MOUNT);
    int log_fd = open_log(true);
    cr_assert_geq(log_fd, 0, "%s", error.text);
    stored = NOWHERE;
    asked = 0;
    torture_disk_watch(disk, watch, NULL);
    cr_assert_eq(segment_cursor_create(log_fd, "c", log_id, kind, 1023, 0, &cursor, &error), OK,
                 "%s", error.text);
    stored = 0;
    for (uint64_t step = 1; step <= STEPS; step++) {
        cr_assert_eq(store(cursor, step), OK, "%s", error.text);
        if (step != STEPS / 2)
            continue;
        segment_cursor_close(cursor);
        cr_assert_eq(segment_cursor_open(log_fd, "c", log_id, &cursor, &error), OK);
    }
    segment_cursor_close(cursor);
    torture_disk_watch(disk, NULL, NULL);
    file_close(&log_fd);
    cr_assert_lt(moment_count, MOMENTS_MAX);
    cr_assert_geq(moment_count, 3 * STEPS);
}

/* Open what a cut has left, judge it, and store once more: that must survive a cut, too. */
static void judge(const struct moment *moment, struct torture_disk *left)
{
    struct segment_cursor *cursor = NULL;
    struct torture_disk_losses losses;
    torture_disk_read_losses(left, &losses);
    units_lost += losses.units_lost + losses.units_torn;
    names_lost += losses.names_lost;
    torture_disk_mount(left, MOUNT);
    int log_fd = open_log(false);
    cr_assert_geq(log_fd, 0, "%s", error.text);
    enum error_code code = segment_cursor_open(log_fd, "c", log_id, &cursor, &error);
    if (moment->stored == NOWHERE && code == ERROR_NOT_FOUND)
        code = segment_cursor_create(log_fd, "c", log_id, CURSOR_SINGLE, 1023, 0, &cursor, &error);
    cr_assert_eq(code, OK, "stored %lu: %s", moment->stored, error.text);
    uint64_t position = segment_cursor_state(cursor)->position / 1000 - 1;
    position = segment_cursor_state(cursor)->position == 1023 ? 0 : position;
    cr_assert(position == moment->asked || position == moment->stored,
              "found %lu, stored %lu, asked for %lu", position, moment->stored, moment->asked);
    check_whole(cursor, position);

    uint64_t kept_stored = stored, kept_asked = asked;
    cr_assert_eq(store(cursor, 99), OK);
    struct torture_snapshot *after = torture_disk_snapshot(left);
    segment_cursor_close(cursor);
    file_close(&log_fd);
    struct torture_power power = {.unit_bytes = 512};
    struct torture_disk *second = torture_disk_after_power_cut(after, &power, 1);
    torture_disk_mount(second, MOUNT);
    log_fd = open_log(false);
    cr_assert_eq(segment_cursor_open(log_fd, "c", log_id, &cursor, &error), OK, "%s", error.text);
    cr_assert_eq(segment_cursor_state(cursor)->position, 99 * 1000 + 1023);
    segment_cursor_close(cursor);
    file_close(&log_fd);
    stored = kept_stored, asked = kept_asked;
    torture_snapshot_free(after);
    torture_disk_mount(NULL, MOUNT);
    torture_disk_free(second);
    torture_disk_free(left);
    cases++;
}

static void cut_everywhere(const struct torture_power *power)
{
    for (size_t i = 0; i < moment_count; i++) {
        uint64_t cuts = power->torn ? UINT64_MAX
                                    : torture_snapshot_cuts(moments[i].snapshot, power);
        bool all = cuts <= CUTS_EXHAUSTIVE_MAX && power->survive_percent == 50;
        for (uint64_t n = 0; n < (all ? cuts : CUTS_RANDOM); n++)
            judge(&moments[i],
                  all ? torture_disk_after_nth_cut(moments[i].snapshot, power, n)
                      : torture_disk_after_power_cut(moments[i].snapshot, power, n + 1));
    }
}

static void cut_in_every_way(enum segment_cursor_kind kind)
{
    file_calls_use(torture_disk_calls());
    work(kind);
    const uint32_t units[] = {512, 4096};
    for (size_t u = 0; u < 2; u++)
        for (unsigned percent = 0; percent <= 100; percent += 50)
            for (int way = 0; way < 4; way++) {
                struct torture_power power = {
                    .unit_bytes = units[u],
                    .survive_percent = percent,
                    .torn = way & 1,
                    .names = way & 2 ? TORTURE_NAMES_EACH : TORTURE_NAMES_ORDERED,
                    .names_survive_percent = percent,
                };
                cut_everywhere(&power);
            }
    for (size_t i = 0; i < moment_count; i++)
        torture_snapshot_free(moments[i].snapshot);
    torture_disk_free(disk);
    /* A campaign that never lost anything has shown nothing. */
    cr_assert_gt(units_lost, 1000);
    cr_assert_gt(names_lost, 10);
    cr_assert_gt(cases, 10000);
}

Test(cursor_power, a_single_cursor_is_where_it_was_stored_after_any_power_cut)
{
    cut_in_every_way(CURSOR_SINGLE);
}

Test(cursor_power, a_groups_cursor_is_whole_after_any_power_cut)
{
    cut_in_every_way(CURSOR_SHARED);
}

/* The kernel drops what it could not write, and the next sync knows nothing of it (ext4, XFS). */
static int sync_and_lose(int fd)
{
    torture_disk_lose_dirty_pages(fd, true);
    errno = EIO;
    return -1;
}

Test(cursor_power, a_cursor_whose_sync_failed_stands_where_the_disk_says)
{
    struct segment_cursor *cursor = NULL;
    struct file_calls calls = *torture_disk_calls();
    file_calls_use(torture_disk_calls());
    disk = torture_disk_create(0);
    torture_disk_mount(disk, MOUNT);
    int log_fd = open_log(true);
    cr_assert_eq(segment_cursor_create(log_fd, "c", log_id, CURSOR_SINGLE, 1023, 0, &cursor,
                                       &error),
                 OK);
    cr_assert_eq(store(cursor, 1), OK);
    calls.sync_data = sync_and_lose;
    file_calls_use(&calls);
    cr_assert_eq(store(cursor, 2), ERROR_IO);
    file_calls_use(torture_disk_calls());
    segment_cursor_close(cursor);
    cr_assert_eq(segment_cursor_open(log_fd, "c", log_id, &cursor, &error), OK, "%s", error.text);
    cr_assert_eq(segment_cursor_state(cursor)->position, 2023);
    segment_cursor_close(cursor);
}
