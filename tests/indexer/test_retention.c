#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "indexer/clock_guard.h"
#include "indexer/follower.h"
#include "indexer/retention.h"
#include "indexer/witness.h"
#include "tests/indexer/scene.h"
#include "segment/bound.h"
#include "segment/reader.h"
#include "tests/support/forge.h"

TestSuite(retention, .init = scene_begin, .fini = scene_end);

#define HOUR_NS (INT64_C(3600) * 1000000000)
#define DAY_NS  (24 * HOUR_NS)

/* What the last run reported, in order. */
static struct indexer_retention_segment gone[100];
static size_t gone_count;
static size_t kill_after; /* SIGKILL ourselves when so many are gone; 0: never */

static void note_deleted(void *context, const struct indexer_retention_segment *segment)
{
    (void)context;
    gone[gone_count++] = *segment;
    if (gone_count == kill_after)
        raise(SIGKILL);
}

static struct indexer_retention_totals run(struct indexer_retention_options options)
{
    struct indexer_retention_totals totals;
    struct error error = {0};
    gone_count = 0;
    cr_assert_eq(
        indexer_retention_run(scene_directory(), &options, note_deleted, NULL, &totals, &error), OK,
        "%s", error.text);
    return totals;
}

/* Some twenty segments. */
static void write_segments(void)
{
    do {
        scene_write(400);
    } while (scene_segment_count() < 20);
}

static uint64_t total_bytes(void)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < scene_segment_count(); i++)
        bytes += scene_segment_bytes(i);
    return bytes;
}

static int open_log_directory(void)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(scene_directory(), false, &fd, NULL), OK);
    return fd;
}

static uint64_t load_bound(void)
{
    int fd = open_log_directory();
    uint64_t bound = 0;
    cr_assert_eq(segment_bound_load(fd, &bound, NULL), OK);
    file_close(&fd);
    return bound;
}

static void store_bound(uint64_t bound)
{
    int fd = open_log_directory();
    cr_assert_eq(segment_bound_store(fd, bound, NULL), OK);
    file_close(&fd);
}

/* What the reader takes instead, the first segment, nobody has told the index. */
Test(retention, of_which_a_lower_bound_that_is_a_link_says_nothing_to_a_new_index)
{
    scene_write(1000);
    store_bound(scene_segment_first(1));
    cr_assert_eq(unlink(scene_path("segments/00000000000000000001.seg")), 0);
    cr_assert_eq(unlink(scene_path("lower-bound")), 0);
    cr_assert_eq(symlink("/dev/null", scene_path("lower-bound")), 0);
    struct indexer_follower *follower = NULL;
    struct error error = {0};
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), OK, "%s", error.text);
    indexer_follower_close(follower);
    cr_assert_eq(scene_number("SELECT bound FROM state"), 1);
}

/* Index, files, bound and a new index all tell the same. */
static void expect_agreement(void)
{
    uint64_t bound = load_bound();
    cr_assert_eq(bound, scene_segment_first(0));
    scene_expect_index_equals_log();
    cr_assert_eq((uint64_t)scene_number("SELECT min(seq) FROM events"), bound);
    cr_assert_eq((uint64_t)scene_number("SELECT min(first_seq) FROM block_rows"), bound);
    cr_assert_eq((size_t)scene_number("SELECT count(*) FROM segments"), scene_segment_count());
    cr_assert_eq((uint64_t)scene_number("SELECT last_seq FROM gaps WHERE cause = 'retention'"),
                 bound - 1);
    char *kept = scene_dump();
    cr_assert_eq(unlink(scene_path("events.db")), 0);
    scene_index();
    char *anew = scene_dump();
    cr_assert(!strcmp(kept, anew), "the index after retention is not the index made anew");
    free(kept);
    free(anew);
}

Test(retention, by_size_deletes_exactly_the_oldest_that_it_must)
{
    write_segments();
    scene_index();
    uint64_t all = total_bytes(), size0 = scene_segment_bytes(0), size1 = scene_segment_bytes(1);
    size_t count = scene_segment_count();
    uint64_t second = scene_segment_first(1), third = scene_segment_first(2);

    /* One byte too many, and one segment goes; one byte less, and two do. */
    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = all});
    cr_assert_eq(totals.segments_deleted, 0);
    totals = run((struct indexer_retention_options){.max_bytes = all - 1});
    cr_assert_eq(totals.segments_deleted, 1);
    cr_assert_eq(totals.bytes_deleted, size0);
    cr_assert_eq(totals.bytes_left, all - size0);
    cr_assert_eq(totals.bound, second);
    cr_assert_eq(totals.index, INDEXER_RETENTION_INDEX_DONE, "%s", totals.index_error);
    cr_assert_eq(gone[0].sequence_first, 1);
    cr_assert_eq(gone[0].sequence_last, second - 1);
    cr_assert_str_eq(gone[0].name, "00000000000000000001.seg");
    totals = run((struct indexer_retention_options){.max_bytes = all - size0 - size1});
    cr_assert_eq(totals.segments_deleted, 1);
    cr_assert_eq(totals.bound, third);

    cr_assert_eq(scene_segment_count(), count - 2);
    cr_assert_eq(scene_segment_first(0), third);
    expect_agreement();
}

Test(retention, dry_run_names_what_would_go_and_changes_nothing)
{
    write_segments();
    scene_index();
    char *before = scene_dump();
    size_t count = scene_segment_count();
    uint64_t keep = scene_segment_bytes(count - 1) + scene_segment_bytes(count - 2);

    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = keep, .dry_run = true});

    cr_assert_eq(totals.segments_deleted, count - 2);
    cr_assert_eq(gone_count, count - 2);
    for (size_t i = 0; i < gone_count; i++)
        cr_assert_eq(gone[i].sequence_first, scene_segment_first(i));
    cr_assert_eq(totals.segments_left, 2);
    cr_assert_eq(totals.bytes_left, keep);
    cr_assert_eq(scene_segment_count(), count);
    cr_assert_eq(load_bound(), 1);
    char *after = scene_dump();
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
}

Test(retention, never_deletes_the_last_segment)
{
    write_segments();
    scene_index();

    struct indexer_retention_totals totals = run((struct indexer_retention_options){
        .max_bytes = 1, .max_age_ns = 1, .now_ns = clock_realtime_ns() + 1000 * DAY_NS});

    cr_assert_eq(totals.segments_left, 1);
    cr_assert_str_eq(totals.blocked, "");
    cr_assert_eq(scene_segment_count(), 1);
    expect_agreement();
    scene_write(10);
    scene_index();
    scene_expect_index_equals_log();
}

Test(retention, never_deletes_the_last_segment_even_when_it_is_sealed)
{
    write_segments();
    /* As after a crash between the seal of one segment and the making of the next. */
    char name[64];
    size_t count = scene_segment_count();
    snprintf(name, sizeof name, "segments/%020llu.seg",
             (unsigned long long)scene_segment_first(count - 1));
    cr_assert_eq(unlink(scene_path(name)), 0);
    uint64_t last = scene_segment_first(count - 2);

    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = 1});

    cr_assert_eq(totals.segments_left, 1);
    cr_assert_eq(totals.bound, last);
    cr_assert_eq(scene_segment_first(0), last);
}

Test(retention, by_age_counts_from_the_last_arrival_in_a_segment)
{
    write_segments();
    scene_index();
    run((struct indexer_retention_options){.max_bytes = 1, .dry_run = true});
    size_t sealed = gone_count;
    cr_assert_gt(sealed, 10);
    int64_t arrival = gone[7].arrival_last_ns;
    size_t older = 0;
    while (gone[older].arrival_last_ns < arrival)
        older++;

    /* At exactly the age they stay; one nanosecond later those of that arrival go as well. */
    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_age_ns = DAY_NS, .now_ns = arrival + DAY_NS});
    cr_assert_eq(totals.segments_deleted, older);
    totals = run(
        (struct indexer_retention_options){.max_age_ns = DAY_NS, .now_ns = arrival + DAY_NS + 1});
    cr_assert_geq(totals.segments_deleted, 1);

    cr_assert_gt(scene_segment_count(), 2);
    expect_agreement();
}

Test(retention, killed_at_any_moment_is_finished_by_the_next_run)
{
    write_segments();
    scene_index();
    struct indexer_retention_options options = {.max_bytes = scene_segment_bytes(0)};
    for (size_t at = 1; at <= 4; at++) {
        uint64_t keep = total_bytes() / 2;
        pid_t child = fork();
        if (child == 0) {
            gone_count = 0;
            kill_after = at;
            struct indexer_retention_totals totals;
            options.max_bytes = keep;
            indexer_retention_run(scene_directory(), &options, note_deleted, NULL, &totals, NULL);
            _exit(1);
        }
        int status;
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status))
            break;
        uint64_t bound = load_bound();

        struct indexer_retention_totals totals =
            run((struct indexer_retention_options){.max_bytes = keep});

        for (size_t i = 0; i < gone_count; i++)
            cr_assert(gone[i].unfinished);
        cr_assert_eq(totals.bound, bound);
        cr_assert_eq(load_bound(), scene_segment_first(0));
    }
    expect_agreement();
}

Test(retention, killed_between_bound_and_unlink_is_finished_by_the_next_run)
{
    write_segments();
    scene_index();
    size_t count = scene_segment_count();
    store_bound(scene_segment_first(5));

    struct indexer_retention_totals totals = run((struct indexer_retention_options){0});

    cr_assert_eq(totals.segments_deleted, 5);
    cr_assert(gone[4].unfinished);
    cr_assert_eq(scene_segment_count(), count - 5);
    expect_agreement();
}

Test(retention, leaves_the_rows_to_a_running_follower)
{
    write_segments();
    struct indexer_follower *follower = NULL;
    struct error error = {0};
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), OK, "%s", error.text);
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK);

    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = total_bytes() / 2});

    cr_assert_eq(totals.index, INDEXER_RETENTION_INDEX_BUSY);
    cr_assert_eq(indexer_wait_for_bound(scene_directory(), 0, &error), ERROR_BUSY);
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
    cr_assert_eq(indexer_wait_for_bound(scene_directory(), 10000, &error), OK, "%s", error.text);
    indexer_follower_close(follower);
    expect_agreement();
}

Test(retention, works_while_the_log_is_written_and_read)
{
    write_segments();
    scene_index();
    struct segment_reader *reader = NULL;
    cr_assert_eq(segment_reader_open(scene_directory(), &reader, NULL), OK);
    segment_reader_seek(reader, 1, NULL);
    struct event event;
    cr_assert_eq(segment_reader_next(reader, &event, NULL), OK);
    struct segment_log *log = scene_open_log();
    scene_append(log, 300);

    run((struct indexer_retention_options){.max_bytes = total_bytes() / 2});

    scene_append(log, 300);
    segment_log_close(log, NULL);
    scene_index();
    uint64_t last = event.sequence, first, hole_last, missing = 0;
    while (!segment_reader_next(reader, &event, NULL)) {
        if (segment_reader_hole(reader, &first, &hole_last))
            missing += hole_last - first + 1;
        last = event.sequence;
    }
    segment_reader_close(reader);
    cr_assert_eq(last, (uint64_t)scene_number("SELECT max(seq) FROM events"));
    cr_assert_gt(missing, 0, "the reader was not told that retention overtook it");
    expect_agreement();
}

Test(retention, does_not_make_an_index_where_there_is_none)
{
    write_segments();

    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = total_bytes() / 2});

    cr_assert_eq(totals.index, INDEXER_RETENTION_INDEX_NONE);
    cr_assert_eq(access(scene_path("events.db"), F_OK), -1);
    cr_assert_gt(totals.segments_deleted, 5);
}

Test(retention, catches_up_an_index_that_had_not_even_seen_what_is_deleted)
{
    scene_write(100);
    scene_index();
    write_segments();

    run((struct indexer_retention_options){.max_bytes = total_bytes() / 2});

    expect_agreement();
}

Test(retention, stops_at_a_segment_of_a_newer_daybook_and_calls_it_that)
{
    write_segments();
    scene_index();
    uint64_t first = scene_segment_first(3);
    forge_trailer((struct forge){scene_path("."), first}, 20, FORGE_32, 1);
    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = 1});
    cr_assert_eq(totals.segments_deleted, 3);
    cr_assert_not_null(strstr(totals.blocked, "it was written by a newer Daybook"), "%s",
                       totals.blocked);
}

Test(retention, stops_at_a_segment_whose_header_is_damaged)
{
    write_segments();
    scene_index();
    size_t count = scene_segment_count();
    char name[64];
    snprintf(name, sizeof name, "segments/%020llu.seg", (unsigned long long)scene_segment_first(3));
    scene_flip(name, 40);

    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_bytes = 1});

    cr_assert_eq(totals.segments_deleted, 3);
    cr_assert_eq(scene_segment_count(), count - 3);
    cr_assert_not_null(strstr(totals.blocked, name + strlen("segments/")), "%s", totals.blocked);
    cr_assert_not_null(strstr(totals.blocked, "header cannot be read"), "%s", totals.blocked);
}

Test(retention, names_the_damaged_segment_that_is_in_the_way_of_size_or_age)
{
    write_segments();
    run((struct indexer_retention_options){.max_bytes = 1, .dry_run = true});
    int64_t now = gone[gone_count - 1].arrival_last_ns + 10 * DAY_NS;
    uint64_t all = total_bytes();
    char name[64];
    snprintf(name, sizeof name, "segments/%020llu.seg", (unsigned long long)scene_segment_first(0));
    scene_flip(name, scene_segment_bytes(0) - 20);
    struct {
        struct indexer_retention_options options;
        bool blocked;
    } runs[] = {
        {{.max_bytes = all}, false},
        {{.max_bytes = all - 1}, true},
        {{.max_bytes = 1, .dry_run = true}, true},
        {{.max_age_ns = 20 * DAY_NS, .now_ns = now}, false},
        {{.max_age_ns = DAY_NS, .now_ns = now}, true},
        {{0}, false},
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct indexer_retention_totals totals = run(runs[i].options);
        cr_assert_eq(totals.segments_deleted, 0);
        cr_assert_eq(totals.blocked[0] != 0, runs[i].blocked, "run %zu: '%s'", i, totals.blocked);
        if (runs[i].blocked)
            cr_assert_not_null(strstr(totals.blocked, "00000000000000000001.seg"), "%s",
                               totals.blocked);
    }
}

Test(retention, is_alone)
{
    write_segments();
    int fd = open_log_directory(), lock = -1;
    cr_assert_eq(file_open(fd, "LOCK", FILE_WRITE, &lock, NULL), OK);
    cr_assert_eq(file_lock(lock, "LOCK", 1, NULL), OK);
    struct indexer_retention_options options = {.max_bytes = 1};
    struct indexer_retention_totals totals;
    struct error error = {0};

    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 ERROR_BUSY);

    cr_assert_not_null(strstr(error.text, "deleting old segments"), "%s", error.text);
    options.dry_run = true;
    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 OK);
    file_close(&lock);
    file_close(&fd);
}

Test(retention, believes_a_clock_that_runs_evenly)
{
    int fd = open_log_directory();
    struct indexer_clock_reading now = {.realtime_ns = 1000 * DAY_NS, .boottime_ns = DAY_NS};
    struct error error = {0};

    for (int day = 0; day < 3; day++) {
        cr_assert_eq(indexer_clock_guard_check(fd, &now, now.realtime_ns, false, &error), OK, "%s",
                     error.text);
        now.realtime_ns += 30 * DAY_NS + HOUR_NS / 2;
        now.boottime_ns += 30 * DAY_NS;
    }
    /* Another boot: nothing to compare with, except that time does not run backwards. */
    now.boot_id[0] = 1;
    now.boottime_ns = 5;
    now.realtime_ns += 1000 * DAY_NS;
    cr_assert_eq(indexer_clock_guard_check(fd, &now, INT64_MIN, false, &error), OK, "%s",
                 error.text);
    file_close(&fd);
}

/* After a first run at day 1000, one day after the boot. */
struct jump {
    const char *name;
    int64_t realtime_ns;
    int64_t boottime_ns;
    int64_t arrival_ns;
    uint8_t boot;
    const char *text;
};

Test(retention, distrusts_a_clock_that_jumps_by_more_than_an_hour)
{
    static const struct jump jumps[] = {
        {"ten years ahead", 4650 * DAY_NS, 2 * DAY_NS, INT64_MIN, 0, "ahead of"},
        {"two hours ahead", 1001 * DAY_NS + 2 * HOUR_NS, 2 * DAY_NS, INT64_MIN, 0, "ahead of"},
        {"two hours behind", 1001 * DAY_NS - 2 * HOUR_NS, 2 * DAY_NS, INT64_MIN, 0, "behind"},
        {"behind after a boot", 10 * DAY_NS, 1, INT64_MIN, 1, "behind"},
        {"behind the log", 1001 * DAY_NS, 2 * DAY_NS, 1002 * DAY_NS, 0, "the newest event"},
    };
    int fd = open_log_directory();
    struct indexer_clock_reading now = {.realtime_ns = 1000 * DAY_NS, .boottime_ns = DAY_NS};
    cr_assert_eq(indexer_clock_guard_check(fd, &now, INT64_MIN, false, NULL), OK);
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        struct indexer_clock_reading later = {
            .realtime_ns = jumps[i].realtime_ns,
            .boottime_ns = jumps[i].boottime_ns,
            .boot_id = {jumps[i].boot},
        };
        /* Asking again does not make it right. */
        for (int again = 0; again < 2; again++) {
            struct error error = {0};
            cr_assert_eq(indexer_clock_guard_check(fd, &later, jumps[i].arrival_ns, false, &error),
                         ERROR_INVALID, "%s", jumps[i].name);
            cr_assert_not_null(strstr(error.text, jumps[i].text), "%s: %s", jumps[i].name,
                               error.text);
        }
    }
    file_close(&fd);
}

Test(retention, bears_times_from_files_that_are_further_apart_than_numbers_reach)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX};
    enum { TIMES = sizeof times / sizeof *times };
    int fd = open_log_directory();
    for (size_t i = 0; i < TIMES * TIMES * TIMES; i++) {
        struct indexer_clock_reading before = {.realtime_ns = times[i % TIMES],
                                               .boottime_ns = times[i / TIMES % TIMES]};
        struct indexer_clock_reading now = {.realtime_ns = times[i / TIMES / TIMES],
                                            .boottime_ns = times[i % TIMES]};
        struct error error = {0};
        unlinkat(fd, "retention-clock", 0);
        cr_assert_eq(indexer_clock_guard_check(fd, &before, INT64_MIN, false, &error), OK, "%s",
                     error.text);
        enum error_code code = indexer_clock_guard_check(fd, &now, times[i % TIMES], true, &error);
        cr_assert(code == OK || (code == ERROR_INVALID && error.text[0]));
        /* Further back than an hour is never believed. */
        cr_assert(now.realtime_ns != INT64_MIN || before.realtime_ns < 0 || code == ERROR_INVALID);
    }
    file_close(&fd);
}

/* The first run of all has no earlier one to compare with: who fills the index has noted the time.
 */
Test(retention, sees_a_jump_of_the_clock_that_came_before_its_first_run)
{
    write_segments();
    scene_index();
    cr_assert_eq(access(scene_path("retention-clock"), F_OK), 0);
    int fd = open_log_directory();
    struct indexer_clock_reading wrong;
    indexer_clock_read(&wrong);
    wrong.realtime_ns += 1000 * DAY_NS;
    cr_assert_eq(indexer_clock_guard_check(fd, &wrong, INT64_MIN, false, NULL), ERROR_INVALID);
    indexer_clock_guard_begin(fd);
    cr_assert_eq(indexer_clock_guard_check(fd, &wrong, INT64_MIN, false, NULL), ERROR_INVALID);
    file_close(&fd);
}

Test(retention, deletes_nothing_by_age_when_the_clock_jumped_but_still_by_size)
{
    write_segments();
    scene_index();
    int fd = open_log_directory();
    struct indexer_clock_reading wrong;
    indexer_clock_read(&wrong);
    wrong.realtime_ns -= 1000 * DAY_NS; /* so that now is 1000 days later than it should be */
    cr_assert_eq(unlink(scene_path("retention-clock")), 0); /* the index's, which is right */
    cr_assert_eq(indexer_clock_guard_check(fd, &wrong, INT64_MIN, false, NULL), OK);
    file_close(&fd);
    uint64_t all = total_bytes();

    struct indexer_retention_totals totals =
        run((struct indexer_retention_options){.max_age_ns = 1, .max_bytes = all - 1});

    cr_assert_eq(totals.segments_deleted, 1);
    cr_assert_not_null(strstr(totals.frozen, "ahead of"), "%s", totals.frozen);
    cr_assert_eq(unlink(scene_path("retention-clock")), 0);
    totals = run((struct indexer_retention_options){.max_age_ns = 1});
    cr_assert_str_eq(totals.frozen, "");
    cr_assert_eq(totals.segments_left, 1);
}
