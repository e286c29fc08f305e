#include <criterion/criterion.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/file_calls.h"
#include "segment/ballast.h"
#include "segment/bound.h"
#include "segment/log.h"
#include "segment/reader.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "core/clock.h"

enum { EVENT_BYTES = 3000 };

/* A disk without room: the calls that need some fail with these, unless 0. */
static atomic_int allocate_errno, rename_errno, bound_errno;
static uint32_t file_system_type;

static struct segment_log *log;
static struct segment_log_options options = {.segment_bytes = 64 << 10};
static struct error error;

static int allocate(int fd, off_t size)
{
    errno = atomic_load(&allocate_errno);
    return errno ? -1 : file_calls_kernel.allocate(fd, size);
}

static int rename_file(int directory_fd, const char *from, const char *to)
{
    errno = strstr(to, ".seg") ? atomic_load(&rename_errno) : 0;
    return errno ? -1 : file_calls_kernel.rename(directory_fd, from, to);
}

/* Full for the lower bound, as long as the ballast holds the room. */
static ssize_t write_bytes(int fd, const void *data, size_t size, off_t offset)
{
    bool bound = size > 11 && memcmp(data, "lower-bound", 11) == 0;
    errno = bound && access(scratch_path("log/" BALLAST_FILE_NAME), F_OK) == 0 ? bound_errno : 0;
    return errno ? -1 : file_calls_kernel.write(fd, data, size, offset);
}

static int file_system(int fd, struct statfs *status_out)
{
    int result = file_calls_kernel.file_system(fd, status_out);
    if (file_system_type)
        status_out->f_type = (__typeof__(status_out->f_type))file_system_type;
    return result;
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static atomic_bool held; /* syncs do not return */

static int sync_data(int fd)
{
    while (atomic_load(&held))
        pause_briefly();
    return file_calls_kernel.sync_data(fd);
}

static void use_calls(void)
{
    static struct file_calls calls;
    calls = file_calls_kernel;
    calls.allocate = allocate;
    calls.rename = rename_file;
    calls.write = write_bytes;
    calls.file_system = file_system;
    calls.sync_data = sync_data;
    file_calls_use(&calls);
}

static void open_log(void)
{
    use_calls();
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, NULL, &error), OK, "%s",
                 error.text);
}

/* Event number n of the producer p, which becomes the event n of the log. */
static enum error_code offer(uint64_t number, enum segment_log_outcome *outcome_out,
                             uint64_t *sequence_out)
{
    static uint8_t payload[EVENT_BYTES] = {0xc6, 0, 0, (EVENT_BYTES - 5) >> 8,
                                           (EVENT_BYTES - 5) & 255};
    for (size_t i = 5; i < sizeof payload; i++)
        payload[i] = (uint8_t)(rand() >> 7);
    struct event event = {.time_ns = EVENT_TIME_NONE,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = payload,
                          .payload_bytes = sizeof payload,
                          .producer = "p",
                          .producer_bytes = 1,
                          .number = number};
    return segment_log_append(log, &event, outcome_out, sequence_out, &error);
}

static enum error_code append(uint64_t number)
{
    enum segment_log_outcome outcome;
    uint64_t sequence;
    enum error_code code = offer(number, &outcome, &sequence);
    if (!code) {
        cr_assert_eq(outcome, LOG_APPENDED);
        cr_assert_eq(sequence, number);
    }
    return code;
}

/* Append from `number` on until it is refused; every event that was taken before is withdrawn or
 * durable then. */
static void fill_up(uint64_t number)
{
    enum error_code code;
    while ((code = append(number)) != ERROR_NO_SPACE) {
        cr_assert(code == OK || code == ERROR_BUSY, "%s", error.text);
        number += code == OK;
        segment_log_kick(log);
        if (code == ERROR_BUSY)
            segment_log_wait_room(log);
    }
}

static void append_when_there_is_room(uint64_t number)
{
    enum error_code code;
    while ((code = append(number)) == ERROR_NO_SPACE)
        pause_briefly();
    cr_assert_eq(code, OK, "%s", error.text);
}

static struct segment_log_counters counters(void)
{
    struct segment_log_counters now;
    segment_log_count(log, &now);
    return now;
}

static void expect_sequences_up_to(uint64_t last)
{
    struct segment_reader *reader;
    struct event event;
    cr_assert_eq(segment_reader_open(scratch_path("log"), &reader, &error), OK, "%s", error.text);
    for (uint64_t sequence = 1; sequence <= last; sequence++) {
        cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
        cr_assert_eq(event.sequence, sequence);
        cr_assert_eq(event.number, sequence);
    }
    cr_assert_eq(segment_reader_next(reader, &event, &error), ERROR_END);
    segment_reader_close(reader);
}

static void close_log(void)
{
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
}

static void expect_withdrawal_and_return(int reason, const char *sentence)
{
    open_log();
    for (uint64_t number = 1; number <= 5; number++) {
        cr_assert_eq(append(number), OK, "%s", error.text);
        cr_assert_eq(segment_log_wait(log, number, &error), OK, "%s", error.text);
    }
    atomic_store(&allocate_errno, reason);
    fill_up(6);

    cr_assert(strstr(error.text, sentence) && strstr(error.text, strerror(reason)), "%s",
              error.text);
    uint64_t durable = segment_log_durable(log);
    cr_assert_geq(durable, 5);
    cr_assert_eq(segment_log_appended(log), durable, "nothing waits");
    cr_assert_eq(segment_log_producer_number(log, "p", 1), durable, "its numbers are free again");
    cr_assert(counters().disk_full);

    atomic_store(&allocate_errno, 0);
    append_when_there_is_room(durable + 1);
    cr_assert_eq(segment_log_wait(log, durable + 1, &error), OK, "%s", error.text);
    cr_assert_not(counters().disk_full);
    cr_assert_not(counters().next_missing);
    expect_sequences_up_to(durable + 1);
    close_log();
    open_log();
    close_log();
    expect_sequences_up_to(durable + 1);
}

Test(full_disk, withdraws_what_has_no_room_and_takes_it_again_later)
{
    expect_withdrawal_and_return(ENOSPC, "no room for a new segment");
}

Test(full_disk, that_is_a_used_up_quota_does_the_same)
{
    expect_withdrawal_and_return(EDQUOT, "no room for a new segment");
}

Test(full_disk, that_is_a_limit_on_files_does_the_same)
{
    expect_withdrawal_and_return(EFBIG, "no room for a new segment");
}

Test(full_disk, that_is_read_only_for_new_files_does_the_same)
{
    expect_withdrawal_and_return(EROFS, "no new segment can be made");
}

Test(full_disk, says_so_when_it_is_not_the_room_that_is_missing)
{
    expect_withdrawal_and_return(EIO, "no new segment can be made");
}

Test(full_disk, answers_who_waits_for_what_is_withdrawn)
{
    open_log();
    atomic_store(&allocate_errno, ENOSPC);
    uint64_t number = 1;
    enum error_code code;
    while ((code = append(number)) == OK && (code = segment_log_wait(log, number, &error)) == OK)
        number++;
    cr_assert_eq(code, ERROR_NO_SPACE, "%s", error.text);
    cr_assert_eq(segment_log_durable(log), number - 1);
    cr_assert_eq(segment_log_wait(log, number, &error), ERROR_NO_SPACE, "also who comes late");
    close_log();
}

Test(full_disk, gives_no_withdrawn_sequence_again_before_the_withdrawal_is_taken)
{
    options.takes_withdrawals = true;
    open_log();
    atomic_store(&allocate_errno, ENOSPC);
    fill_up(1);
    atomic_store(&allocate_errno, 0);
    while (counters().disk_full)
        pause_briefly();
    uint64_t durable = segment_log_durable(log);

    cr_assert_eq(append(durable + 1), ERROR_NO_SPACE, "there is room, but nobody has heard");
    cr_assert(segment_log_take_withdrawal(log, &error));
    cr_assert(strstr(error.text, "no room"), "%s", error.text);
    cr_assert_not(segment_log_take_withdrawal(log, &error));
    cr_assert_eq(append(durable + 1), OK, "%s", error.text);
    cr_assert_eq(segment_log_wait(log, durable + 1, &error), OK);
    expect_sequences_up_to(durable + 1);
    close_log();
}

Test(full_disk, is_told_one_segment_ahead_while_events_are_still_taken)
{
    struct error why;
    open_log();
    segment_log_settle(log); /* the next segment is there, the one behind it will not be */
    atomic_store(&allocate_errno, ENOSPC);
    uint64_t number = 0;
    while (!counters().next_missing) {
        cr_assert_eq(append(++number), OK, "%s", error.text);
        cr_assert_eq(segment_log_wait(log, number, &error), OK, "%s", error.text);
        while (counters().rolls > 0 && !counters().next_missing)
            pause_briefly();
    }
    segment_log_read_trouble(log, &why);
    cr_assert(strstr(why.text, "prepared.tmp") && strstr(why.text, strerror(ENOSPC)), "%s",
              why.text);
    cr_assert_not(counters().disk_full);
    cr_assert_eq(append(++number), OK, "%s", error.text);
    cr_assert_eq(segment_log_wait(log, number, &error), OK, "%s", error.text);

    atomic_store(&allocate_errno, 0);
    while (counters().next_missing)
        pause_briefly();
    segment_log_read_trouble(log, &why);
    cr_assert_eq(why.code, OK);
    close_log();
}

Test(full_disk, without_room_for_a_name_is_survived_between_two_segments)
{
    open_log();
    atomic_store(&rename_errno, ENOSPC);
    fill_up(1);
    uint64_t durable = segment_log_durable(log);
    cr_assert_eq(segment_log_failure(log, NULL), OK);
    atomic_store(&rename_errno, 0);
    append_when_there_is_room(durable + 1);
    cr_assert_eq(segment_log_wait(log, durable + 1, &error), OK, "%s", error.text);
    expect_sequences_up_to(durable + 1);

    atomic_store(&rename_errno, EDQUOT);
    fill_up(durable + 2);
    durable = segment_log_durable(log);
    close_log();
    atomic_store(&rename_errno, 0);
    open_log();
    close_log();
    expect_sequences_up_to(durable);
}

/* "Not stored" would make its producer publish it again, and then it is there twice. */
Test(full_disk, does_not_refuse_what_is_stored_already)
{
    open_log();
    for (uint64_t number = 1; number <= 5; number++)
        cr_assert_eq(append(number), OK, "%s", error.text);
    cr_assert_eq(segment_log_wait(log, 5, &error), OK, "%s", error.text);
    atomic_store(&allocate_errno, ENOSPC);
    fill_up(6);
    uint64_t durable = segment_log_durable(log);
    for (uint64_t number = 1; number <= durable; number++) {
        enum segment_log_outcome outcome;
        uint64_t sequence;
        cr_assert_eq(offer(number, &outcome, &sequence), OK, "%s", error.text);
        cr_assert_eq(outcome, LOG_DUPLICATE);
        cr_assert_leq(sequence, durable);
    }
    cr_assert_eq(append(durable + 1), ERROR_NO_SPACE);
    atomic_store(&allocate_errno, 0);
    append_when_there_is_room(durable + 1);
    close_log();
}

Test(full_disk, takes_a_clean_stop)
{
    open_log();
    atomic_store(&allocate_errno, ENOSPC);
    fill_up(1);
    uint64_t durable = segment_log_durable(log);
    close_log();

    struct segment_recovery_report report;
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, &report, &error), OK,
                 "a clean stop needs no room: %s", error.text);
    cr_assert_eq(report.verdict, RECOVERY_CLEAN);
    cr_assert_eq(report.sequence_next, durable + 1);
    close_log();
}

static int open_directory(void)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(scratch_path("log"), true, &fd, &error), OK, "%s", error.text);
    return fd;
}

Test(full_disk, has_the_ballast_for_the_lower_bound)
{
    int log_fd = open_directory();
    uint64_t bound;
    cr_assert_eq(segment_ballast_keep(log_fd, 1 << 20, &error), OK, "%s", error.text);
    use_calls();
    atomic_store(&bound_errno, ENOSPC);
    cr_assert_eq(segment_bound_store(log_fd, 7, &error), OK, "%s", error.text);
    cr_assert_neq(access(scratch_path("log/ballast"), F_OK), 0);
    cr_assert_eq(segment_bound_load(log_fd, &bound, &error), OK);
    cr_assert_eq(bound, 7);
    file_close(&log_fd);
}

Test(full_disk, has_the_ballast_for_a_lower_bound_that_a_repair_restores)
{
    int log_fd = open_directory();
    uint64_t bound;
    cr_assert_eq(segment_ballast_keep(log_fd, 1 << 20, &error), OK, "%s", error.text);
    use_calls();
    atomic_store(&bound_errno, ENOSPC);
    cr_assert_eq(segment_bound_restore(log_fd, 7, &error), OK, "%s", error.text);
    cr_assert_neq(access(scratch_path("log/ballast"), F_OK), 0);
    cr_assert_eq(segment_bound_load(log_fd, &bound, &error), OK);
    cr_assert_eq(bound, 7);
    file_close(&log_fd);
}

Test(full_disk, finds_a_log_that_stays_open_with_a_ballast)
{
    open_log();
    while (access(scratch_path("log/ballast"), F_OK) != 0)
        pause_briefly();
    close_log();
}

Test(full_disk, forbids_writing_through_a_map_where_changes_go_to_new_places)
{
    use_calls();
    file_system_type = BTRFS_SUPER_MAGIC;
    options.write_path = LOG_WRITE_MMAP;
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log, NULL, &error),
                 ERROR_INVALID);
    cr_assert(strstr(error.text, "btrfs") && strstr(error.text, "pwrite"), "%s", error.text);
    options.write_path = LOG_WRITE_PWRITE;
    open_log();
    close_log();
}

Test(full_disk, that_has_withdrawn_what_nobody_has_heard_of_is_told_at_the_end)
{
    options.takes_withdrawals = true;
    open_log();
    atomic_store(&allocate_errno, ENOSPC);
    fill_up(1);
    cr_assert_eq(segment_log_close(log, &error), ERROR_NO_SPACE);
    cr_assert(strstr(error.text, "no room for a new segment"), "%s", error.text);
}

/* The machine's clock, which the test puts forward. */
static _Atomic int64_t ahead_ns;

static int64_t clock_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + atomic_load(&ahead_ns);
}

static int64_t moved_realtime(void)
{
    return clock_of(CLOCK_REALTIME);
}

static int64_t moved_monotonic(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

static void some_boot(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 'B', CLOCK_BOOT_ID_SIZE);
}

Test(full_disk, is_tried_again_and_again_until_there_is_room)
{
    static const struct clock_source source = {
        .realtime_ns = moved_realtime, .monotonic_ns = moved_monotonic, .boot_id = some_boot};
    clock_use(&source);
    open_log();
    atomic_store(&allocate_errno, ENOSPC);
    fill_up(1);
    uint64_t durable = segment_log_durable(log);
    for (int i = 0; i < 3; i++) {
        uint64_t failures = counters().prepare_failures;
        atomic_fetch_add(&ahead_ns, 1000000000);
        segment_log_settle(log);
        cr_assert_gt(counters().prepare_failures, failures, "it was not tried again");
        cr_assert(counters().disk_full);
        cr_assert_eq(append(durable + 1), ERROR_NO_SPACE, "%s", error.text);
    }
    atomic_store(&allocate_errno, 0);
    atomic_fetch_add(&ahead_ns, 1000000000);
    segment_log_settle(log);
    cr_assert_not(counters().disk_full);
    cr_assert_eq(append(durable + 1), OK, "%s", error.text);
    cr_assert_eq(segment_log_wait(log, durable + 1, &error), OK, "%s", error.text);
    expect_sequences_up_to(durable + 1);
    close_log();
    clock_use(NULL);
}

Test(full_disk, without_room_for_a_name_in_the_middle_of_a_group_is_waited_out)
{
    options.block_bytes_max = 7000; /* two events; twenty of them fill a segment */
    open_log();
    atomic_store(&rename_errno, ENOSPC);
    atomic_store(&held, true);
    cr_assert_eq(append(1), OK, "%s", error.text);
    segment_log_kick(log);
    while (segment_log_written(log) < 1)
        pause_briefly();
    for (uint64_t number = 2; number <= 40; number++)
        cr_assert_eq(append(number), OK, "%s", error.text);
    atomic_store(&held, false);
    cr_assert_eq(segment_log_wait(log, 40, &error), ERROR_NO_SPACE, "%s", error.text);
    uint64_t durable = segment_log_durable(log);
    cr_assert_geq(durable, 2, "some blocks of the group came before the seal");
    for (int i = 0; i < 200; i++) /* longer than it takes for an idle watermark */
        pause_briefly();
    cr_assert_eq(segment_log_failure(log, NULL), OK);
    atomic_store(&rename_errno, 0);
    append_when_there_is_room(durable + 1);
    cr_assert_eq(segment_log_wait(log, durable + 1, &error), OK, "%s", error.text);
    expect_sequences_up_to(durable + 1);
    close_log();
}
