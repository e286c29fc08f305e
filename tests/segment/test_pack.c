#include "segment/pack.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/lock.h"
#include "segment/packer.h"
#include "segment/repair.h"
#include "segment/verify.h"
#include "tests/support/broken_calls.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tests/support/stride.h"

enum { SEGMENT = 256 << 10, LAST = 3600, PAYLOAD = 120 };

static const char *path;
static struct segment_packer_totals totals;
static struct error error;
static char left[1000];

static void note_left(void *context, const struct segment_set_segment *segment,
                      const struct error *why)
{
    (void)context;
    (void)segment;
    snprintf(left, sizeof left, "%s", why->text);
}

static enum error_code pack_until(bool (*stopped)(void *context))
{
    struct segment_packer_watcher watcher = {.stopped = stopped, .left = note_left};
    totals = (struct segment_packer_totals){0};
    left[0] = '\0';
    return segment_packer_run(path, &watcher, &totals, &error);
}

static void pack_all(void)
{
    cr_assert_eq(pack_until(NULL), OK, "%s", error.text);
    cr_assert_str_empty(left);
}

/* Each event in a block of its own, as a slow producer makes them. */
static void make_log(void)
{
    path = scratch_path("log");
    struct segment_log *log = logs_open(path, SEGMENT);
    logs_append_singly(log, LAST, PAYLOAD);
    logs_close(log);
}

static struct segment_set load(void)
{
    struct segment_set set;
    int log_fd = -1, segments_fd = -1;
    cr_assert_eq(file_open_directory(path, false, &log_fd, NULL), OK);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, NULL), OK);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK, "%s", error.text);
    cr_assert_eq(segment_set_check(&set, &error), OK, "%s", error.text);
    file_close(&segments_fd);
    file_close(&log_fd);
    return set;
}

static void print_finding(void *context, const struct segment_verify_finding *finding)
{
    (void)context;
    cr_log_error("%s", finding->text);
}

static void expect_sound(void)
{
    struct segment_verify_totals verified;
    cr_assert_eq(segment_verify_log(path, print_finding, NULL, NULL, &verified, &error), OK, "%s",
                 error.text);
    cr_assert_eq(verified.findings, 0);
    cr_assert_eq(verified.events, LAST);
}

static void expect_all(void)
{
    struct segment_reader *reader = logs_read(path);
    logs_expect_events(reader, 1, LAST);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

static void expect_no_leftover(void)
{
    cr_assert_eq(access(scratch_path("log/segments/" PACK_FILE_NAME), F_OK), -1);
}

Test(pack, keeps_every_event_in_half_the_space)
{
    make_log();
    struct segment_set before = load();
    cr_assert_gt(before.count, 3);

    pack_all();

    struct segment_set after = load();
    cr_assert_eq(totals.segments_packed, before.count - 1);
    cr_assert_eq(after.count, before.count);
    uint64_t bytes = 0;
    for (size_t i = 0; i + 1 < after.count; i++) {
        const struct segment_set_segment *old = &before.segments[i], *new = &after.segments[i];
        cr_assert(new->header.packed);
        cr_assert_not(segment_pack_wants(&after, i));
        cr_assert_eq(new->size_bytes, scratch_size(logs_segment_path(path, new->sequence_first)));
        cr_assert_eq(new->trailer.sequence_last, old->trailer.sequence_last);
        cr_assert_eq(new->trailer.time_min_ns, old->trailer.time_min_ns);
        cr_assert_eq(new->trailer.time_max_ns, old->trailer.time_max_ns);
        cr_assert_eq(new->trailer.arrival_last_ns, old->trailer.arrival_last_ns);
        bytes += new->size_bytes;
    }
    cr_assert_eq(totals.bytes_after, bytes);
    cr_assert_lt(2 * totals.bytes_after, totals.bytes_before);
    expect_sound();
    expect_all();
    expect_no_leftover();

    pack_all();
    cr_assert_eq(totals.segments_packed, 0);
    segment_set_free(&before);
    segment_set_free(&after);
}

Test(pack, leaves_the_last_segment_alone)
{
    path = scratch_path("log");
    logs_make(path, 0, 10, PAYLOAD);
    pack_all();
    cr_assert_eq(totals.segments_packed, 0);
    cr_assert_not(load().segments[0].header.packed);
}

Test(pack, keeps_who_has_published_what)
{
    path = scratch_path("log");
    struct segment_log *log = logs_open(path, SEGMENT);
    struct event event = {.topic = "t",
                          .topic_bytes = 1,
                          .payload = "\xa3""abc",
                          .payload_bytes = 4,
                          .producer = "p",
                          .producer_bytes = 1,
                          .time_ns = 1};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    for (event.number = 1; event.number <= LAST; event.number++) {
        cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK);
        logs_commit(log);
    }
    logs_close(log);
    pack_all();
    cr_assert_gt(totals.segments_packed, 1);

    struct segment_reader *reader = logs_read(path);
    for (uint64_t number = 1; number <= LAST; number++) {
        struct event found;
        cr_assert_eq(segment_reader_next(reader, &found, &error), OK, "%s", error.text);
        cr_assert_eq(found.sequence, number);
        cr_assert_eq(found.number, number);
        cr_assert_eq(found.producer_bytes, 1);
        cr_assert_eq(found.payload_bytes, 4);
    }
    segment_reader_close(reader);
    log = logs_open(path, SEGMENT);
    cr_assert_eq(segment_log_producer_number(log, "p", 1), LAST);
    event.number = LAST;
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK);
    cr_assert_eq(outcome, LOG_DUPLICATE);
    logs_close(log);
}

/* A writer that was killed leaves sequences that will never be given: they stay on record. */
Test(pack, keeps_gaps)
{
    path = scratch_path("log");
    pid_t writer = logs_start_writer(path, SEGMENT, 1500, PAYLOAD);
    struct segment_format_block_header torn = logs_write_undurable(path, 30);
    scratch_fill(logs_segment_path(path, logs_find(path, 1500).segment_first), torn.offset + 1024,
                 1024, 0);
    logs_kill_writer(writer);
    struct segment_log *log = logs_open(path, SEGMENT);
    cr_assert_gt(segment_log_appended(log), 1500);
    logs_close(log);
    log = logs_open(path, SEGMENT);
    uint64_t first = segment_log_appended(log) + 1, last = first + 1500;
    logs_append_singly(log, last, PAYLOAD);
    logs_close(log);

    pack_all();

    struct segment_verify_totals verified;
    cr_assert_eq(segment_verify_log(path, print_finding, NULL, NULL, &verified, &error), OK);
    cr_assert_eq(verified.findings, 0);
    struct segment_reader *reader = logs_read(path);
    logs_expect_events(reader, 1, 1500);
    logs_expect_events(reader, first, last);
    segment_reader_close(reader);
}

Test(pack, takes_nothing_from_a_damaged_segment)
{
    make_log();
    struct segment_set set = load();
    uint64_t damaged = set.segments[1].sequence_first;
    const char *file = logs_segment_path(path, damaged);
    struct logs_place place = logs_find(path, damaged + 20);
    scratch_flip(file, place.header.offset + FORMAT_BLOCK_HEADER_BYTES + 3, 1);
    uint64_t size = scratch_size(file);

    cr_assert_eq(pack_until(NULL), OK);

    cr_assert_eq(totals.segments_left, 1);
    cr_assert_eq(totals.segments_packed, set.count - 2);
    cr_assert_not_null(strstr(left, set.segments[1].name), "%s", left);
    cr_assert_eq(scratch_size(logs_segment_path(path, damaged)), size);
    expect_no_leftover();
    segment_set_free(&set);
}

/* What is damaged is not an event, but still not what was written: a repair wants to see it. */
Test(pack, takes_nothing_where_a_byte_behind_the_seal_is_not_zero)
{
    make_log();
    struct segment_set set = load();
    const struct segment_set_segment *segment = &set.segments[0];
    scratch_flip(logs_segment_path(path, 1), segment->size_bytes - FORMAT_TRAILER_BYTES - 1, 1);
    cr_assert_eq(pack_until(NULL), OK);
    cr_assert_eq(totals.segments_left, 1);
    segment_set_free(&set);
}

/* Away with it, or to another name. */
static void remove_log_to(const char *name)
{
    char command[600];
    if (name)
        snprintf(command, sizeof command, "mv '%s' '%s'", path, name);
    else
        snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
}

static int asked;
static bool stop_soon(void *context)
{
    (void)context;
    return ++asked > 40;
}

Test(pack, can_be_stopped_and_done_again)
{
    make_log();
    uint64_t size = scratch_size(logs_segment_path(path, 1));
    cr_assert_eq(pack_until(stop_soon), OK);
    cr_assert_eq(totals.segments_packed, 0);
    cr_assert_eq(totals.segments_left, 0);
    cr_assert_eq(scratch_size(logs_segment_path(path, 1)), size);
    expect_no_leftover();
    pack_all();
    expect_sound();
    expect_all();
}

Test(pack, is_whole_or_not_done_whatever_call_fails)
{
    const char *good = scratch_path("good");
    make_log();
    remove_log_to(good);
    bool failed = true;
    for (unsigned number = 1; failed; number += stride(11)) {
        scratch_copy(good, path);
        struct broken_plan plan = {.call = BROKEN_ANY, .number = number, .reason = EIO};
        broken_calls_begin(&plan);
        pack_until(NULL);
        cr_assert_eq(broken_calls_open(), 0, "call %u: something stays open", number);
        failed = broken_calls_end() > 0;
        expect_sound();
        pack_all();
        expect_sound();
        remove_log_to(NULL);
    }
}

static void retain_first(void)
{
    struct segment_set set = load();
    int log_fd = -1;
    cr_assert_eq(file_open_directory(path, false, &log_fd, NULL), OK);
    cr_assert_eq(segment_bound_store(log_fd, set.segments[1].sequence_first, NULL), OK);
    scratch_delete(logs_segment_path(path, 1));
    file_close(&log_fd);
    segment_set_free(&set);
}

/* Whenever retention comes: what it has deleted is not there afterwards. */
Test(pack, brings_nothing_back_that_retention_deletes_meanwhile)
{
    const enum broken_call moments[] = {BROKEN_SYNC, BROKEN_RENAME};
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        make_log();
        struct broken_plan plan = {.call = moments[i], .number = 1, .before = retain_first};
        broken_calls_begin(&plan);
        cr_assert_eq(pack_until(NULL), OK, "%s", error.text);
        cr_assert_eq(broken_calls_end(), 1);
        cr_assert_eq(totals.segments_left, 0, "%s", left);
        cr_assert_eq(access(logs_segment_path(path, 1), F_OK), -1);
        expect_no_leftover();
        struct segment_set set = load();
        cr_assert_eq(totals.segments_packed, set.count - 1);
        segment_set_free(&set);
        remove_log_to(NULL);
    }
}

/* It has the old file open, or comes to a segment that is another one than it has listed. */
Test(pack, is_not_seen_by_a_reader)
{
    make_log();
    struct segment_reader *reader = logs_read(path);
    logs_expect_events(reader, 1, 30);
    pack_all();
    logs_expect_events(reader, 31, LAST);
    logs_expect_end(reader);
    segment_reader_close(reader);
}

static void pack_meanwhile(void)
{
    pack_all();
}

Test(pack, is_not_taken_for_damage_by_a_check_that_goes_on_meanwhile)
{
    make_log();
    struct segment_verify_totals verified;
    struct broken_plan plan = {.call = BROKEN_MAP, .number = 3, .before = pack_meanwhile};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_verify_log(path, print_finding, NULL, NULL, &verified, &error), OK);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_gt(totals.segments_packed, 2);
    cr_assert_eq(verified.findings, 0);
    cr_assert_eq(verified.events, LAST);
}

static void ignore(void *context, const char *text)
{
    (void)context;
    (void)text;
}

Test(pack, has_one_packer_a_log_and_keeps_repairs_away)
{
    int log_fd = -1, lock_fd = -1;
    make_log();
    cr_assert_eq(file_open_directory(path, false, &log_fd, NULL), OK);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_PACKER, &lock_fd, &error), OK, "%s", error.text);
    cr_assert_eq(pack_until(NULL), ERROR_BUSY);
    cr_assert_not_null(strstr(error.text, "packs"), "%s", error.text);
    struct segment_repair_options options = {.tell = ignore};
    struct segment_repair_totals repaired;
    cr_assert_eq(segment_repair_run(path, &options, &repaired, &error), ERROR_BUSY);
    file_close(&lock_fd);
    file_close(&log_fd);
    pack_all();
}

/* A packed segment is a segment: what is damaged in it can be told, and repaired. */
Test(pack, leaves_what_can_be_repaired)
{
    make_log();
    pack_all();
    struct segment_set set = load();
    uint64_t damaged = set.segments[1].sequence_first;
    segment_set_free(&set);
    struct logs_place place = logs_find(path, damaged);
    scratch_flip(logs_segment_path(path, damaged),
                 place.header.offset + FORMAT_BLOCK_HEADER_BYTES + 3, 1);

    struct segment_repair_options options = {.tell = ignore};
    struct segment_repair_totals repaired;
    cr_assert_eq(segment_repair_run(path, &options, &repaired, &error), OK, "%s", error.text);

    cr_assert_eq(repaired.events_lost, place.header.event_count);
    struct segment_verify_totals verified;
    cr_assert_eq(segment_verify_log(path, print_finding, NULL, NULL, &verified, &error), OK);
    cr_assert_eq(verified.findings, 0);
    cr_assert_eq(verified.events, LAST - place.header.event_count);
    set = load();
    cr_assert(set.segments[0].header.packed);
    segment_set_free(&set);
}

/* Who could read the old file can read the new one, whoever packs, with whatever umask. */
Test(pack, leaves_owner_and_mode_as_they_were)
{
    struct stat status;
    make_log();
    const char *file = logs_segment_path(path, 1);
    bool root = geteuid() == 0;
    cr_assert_eq(chmod(file, 0644), 0);
    if (root)
        cr_assert_eq(chown(file, 12345, 54321), 0);
    umask(077);
    pack_all();
    cr_assert_eq(stat(file, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0644);
    if (root) {
        cr_assert_eq(status.st_uid, 12345);
        cr_assert_eq(status.st_gid, 54321);
    }
}

static void copy_segment(uint64_t first, const char *to)
{
    char command[700];
    snprintf(command, sizeof command, "cp '%s' '%s'", logs_segment_path(path, first), to);
    cr_assert_eq(system(command), 0);
}

/* A backup of a segment from before it was packed fits as long as it fitted once. */
Test(pack, takes_a_copy_of_the_old_file_back_also_when_its_neighbour_was_repaired)
{
    char copy[300], command[700];
    make_log();
    struct segment_set set = load();
    uint64_t first = set.segments[0].sequence_first, second = set.segments[1].sequence_first;
    segment_set_free(&set);
    snprintf(copy, sizeof copy, "%s", scratch_path("copy"));
    copy_segment(first, copy);
    pack_all();
    struct logs_place place = logs_find(path, second);
    scratch_flip(logs_segment_path(path, second),
                 place.header.offset + FORMAT_BLOCK_HEADER_BYTES + 3, 1);
    struct segment_repair_options options = {.tell = ignore};
    struct segment_repair_totals repaired;
    cr_assert_eq(segment_repair_run(path, &options, &repaired, &error), OK, "%s", error.text);
    load(); /* checks that all fit */

    snprintf(command, sizeof command, "cp '%s' '%s'", copy, logs_segment_path(path, first));
    cr_assert_eq(system(command), 0);

    set = load();
    cr_assert_not(set.segments[0].header.packed);
    segment_set_free(&set);
    struct segment_verify_totals verified;
    cr_assert_eq(segment_verify_log(path, print_finding, NULL, NULL, &verified, &error), OK);
    cr_assert_eq(verified.findings, 0);
}

/* Retention by age asks for it. */
Test(pack, has_told_the_last_arrival_also_to_a_repair)
{
    make_log();
    struct segment_set set = load();
    uint64_t second = set.segments[1].sequence_first;
    int64_t arrival = set.segments[1].trailer.arrival_last_ns;
    segment_set_free(&set);
    pack_all();
    struct logs_place place = logs_find(path, second);
    scratch_flip(logs_segment_path(path, second),
                 place.header.offset + FORMAT_BLOCK_HEADER_BYTES + 3, 1);
    struct segment_repair_options options = {.tell = ignore};
    struct segment_repair_totals repaired;
    cr_assert_eq(segment_repair_run(path, &options, &repaired, &error), OK, "%s", error.text);
    set = load();
    cr_assert_eq(set.segments[1].sequence_first, second);
    cr_assert_eq(set.segments[1].trailer.arrival_last_ns, arrival);
    segment_set_free(&set);
}

Test(pack, leaves_no_unfinished_file_behind_a_packer_that_was_killed)
{
    make_log();
    copy_segment(1, scratch_path("log/segments/" PACK_FILE_NAME));
    segment_packer_clean(path);
    expect_no_leftover();
}

