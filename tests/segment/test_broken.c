/*
 * One call on the disk fails, once, at each place in turn; or somebody else was faster. Whatever is
 * being done ends with success or with a reason, closes what it has opened, and harms nothing: when
 * the disk is well again, everything that could be read before can be read.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/lock.h"
#include "segment/quarantine.h"
#include "segment/set.h"
#include "segment/verify.h"
#include "tests/segment/repairs.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

static char master[512], place[512];
static struct error error;

/* `to` becomes a copy of `from`. */
static void copy(const char *from, const char *to)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    cr_assert_eq(system(command), 0, "%s", command);
}

/* ---- What is done while a call fails ---- */

static enum error_code read_everything(void)
{
    struct segment_reader *reader = NULL;
    struct event event;
    enum error_code code = segment_reader_open(place, &reader, &error);
    for (int steps = 0; !code && steps < 10000; steps++) {
        code = segment_reader_next(reader, &event, &error);
        if (code == ERROR_DAMAGED)
            code = OK; /* what cannot be read now is told, and the reader goes on */
    }
    segment_reader_close(reader);
    return code == ERROR_END ? OK : code;
}

static void ignore_finding(void *context, const struct segment_verify_finding *finding)
{
    (void)context;
    cr_assert(finding->text[0]);
}

static enum error_code verify_everything(void)
{
    struct segment_verify_totals totals;
    return segment_verify_log(place, ignore_finding, NULL, NULL, &totals, &error);
}

static enum error_code open_and_close(void)
{
    struct segment_log_options options = {.segment_bytes = SMALL};
    struct segment_log *log = NULL;
    enum error_code code = segment_log_open(place, &options, &log, NULL, &error);
    if (code)
        return code;
    return segment_log_close(log, &error);
}

static enum error_code repair_everything(void)
{
    struct repairs_told told;
    enum error_code code = repairs_run(place, false, true, &told);
    error = repairs_error;
    return code;
}

struct scenario {
    const char *name;
    enum error_code (*act)(void);
};
static const struct scenario scenarios[] = {
    {"read", read_everything},
    {"verify", verify_everything},
    {"open for writing", open_and_close},
    {"repair", repair_everything},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- One call at a time ---- */

/* At least what could be read before, unchanged. */
static void expect_kept(const struct repairs_content *before, const char *what, unsigned number)
{
    struct repairs_content after = repairs_read_all(place);
    for (int i = 1; i < EVENTS_MAX; i++)
        cr_assert(before->digests[i] == 0 || before->digests[i] == after.digests[i],
                  "%s, call %u failed: event %d is gone or another", what, number, i);
}

static unsigned step(void)
{
    const char *text = getenv("DAYBOOK_BROKEN_STEP");
    return text ? (unsigned)atoi(text) : 37;
}

/* Returns how many calls were made to fail. */
static unsigned fail_each(const struct scenario *scenario, const struct repairs_content *before,
                          unsigned first, const char *what)
{
    static const int reasons[] = {EIO, ENOSPC, ENOMEM, EACCES};
    unsigned fired = 0;
    for (unsigned number = first;; number += step()) {
        struct broken_plan plan = {.number = number, .reason = reasons[number % 4]};
        copy(master, place);
        error = (struct error){0};
        broken_calls_begin(&plan);
        enum error_code code = scenario->act();
        int open_things = broken_calls_open();
        if (broken_calls_end() == 0)
            return fired;
        fired++;
        cr_assert(code == OK || error.text[0], "%s, %s: no reason", scenario->name, what);
        cr_assert_eq(open_things, 0, "%s, %s, call %u: %d descriptors or maps stay open",
                     scenario->name, what, number, open_things);
        expect_kept(before, scenario->name, number);
    }
}

static void fail_in_each_scenario(unsigned first, const char *what)
{
    struct repairs_content before = repairs_read_all(place);
    copy(place, master);
    for (size_t i = 0; i < SCENARIOS; i++)
        cr_assert_gt(fail_each(&scenarios[i], &before, 1 + first % step(), what), 0,
                     "%s, %s: no call failed", scenarios[i].name, what);
}

static void take_place(void)
{
    snprintf(place, sizeof place, "%s", repairs_path);
    snprintf(master, sizeof master, "%s-master", repairs_path);
}

Test(broken, a_sound_log_bears_any_call_that_fails_once)
{
    repairs_prepare_sound();
    take_place();
    fail_in_each_scenario(0, "a sound log");
}

Test(broken, a_damaged_log_bears_any_call_that_fails_once)
{
    for (size_t i = 0; i < repairs_damage_count; i++) {
        const struct repairs_damage *damage = repairs_prepare(i);
        take_place();
        if (damage->flags & EMPTIES)
            continue;
        fail_in_each_scenario((unsigned)i * 5, damage->name);
    }
}

Test(broken, a_torn_tail_bears_any_call_that_fails_once)
{
    repairs_prepare_sound();
    take_place();
    pid_t writer = logs_start_writer(scratch_path("torn"), SMALL, 3, 0);
    logs_kill_writer(writer);
    snprintf(place, sizeof place, "%s", scratch_path("torn"));
    snprintf(master, sizeof master, "%s", scratch_path("torn-master"));
    struct segment_format_block_header torn = logs_write_undurable(place, 2);
    scratch_fill(logs_segment_path(place, 1), torn.offset + FORMAT_BLOCK_HEADER_BYTES,
                 torn.stored_bytes, 0xee);
    fail_in_each_scenario(0, "a damaged tail");
}

/* ---- Somebody else was faster ---- */

static char victim[600];

static void delete_victim(void)
{
    unlink(victim);
}

Test(broken, verify_tells_of_a_segment_that_vanishes_under_its_eyes)
{
    repairs_prepare_sound();
    take_place();
    snprintf(victim, sizeof victim, "%s", repairs_segment(repairs_nth(1)));
    const char *name = strrchr(victim, '/') + 1;
    unsigned told = 0;
    /* At each of its openings in turn: some are too early to be missed, one is just in time. */
    for (unsigned number = 1; number < 12; number++) {
        copy(place, master);
        struct broken_plan plan = {
            .call = BROKEN_OPEN, .number = number, .before = delete_victim, .name_part = name};
        broken_calls_begin(&plan);
        struct repairs_told said = repairs_verify(place);
        unsigned hits = broken_calls_end();
        copy(master, place);
        if (hits == 0)
            break;
        cr_assert_gt(said.count, 0);
        for (size_t i = 0; i < said.count; i++)
            told += strstr(said.texts[i], "was deleted while it was about to be checked") != NULL;
    }
    cr_assert_gt(told, 0);
}

Test(broken, a_segment_that_vanishes_while_the_directory_is_read_is_missing)
{
    repairs_prepare_sound();
    take_place();
    uint64_t second = repairs_nth(1);
    snprintf(victim, sizeof victim, "%s", repairs_segment(second));
    struct segment_set set;
    int log_fd = -1, segments_fd = -1;
    cr_assert_eq(file_open_directory(place, false, &log_fd, &error), OK);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, &error), OK);
    struct broken_plan plan = {.call = BROKEN_OPEN,
                               .number = 1,
                               .before = delete_victim,
                               .name_part = strrchr(victim, '/') + 1};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK, "%s", error.text);
    cr_assert_eq(broken_calls_end(), 1);
    for (size_t i = 0; i < set.count; i++)
        cr_assert_neq(set.segments[i].sequence_first, second);
    cr_assert_eq(segment_set_check(&set, &error), ERROR_DAMAGED);
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
}

static void make_lock(void)
{
    close(open(victim, O_CREAT | O_RDWR, 0640));
}

Test(broken, a_lock_file_that_another_process_makes_first_is_used)
{
    int log_fd = -1, fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("LOCK"));
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK);
    /* The first opening finds none; before the second, which makes one, somebody else did. */
    struct broken_plan plan = {
        .call = BROKEN_OPEN, .number = 2, .before = make_lock, .name_part = "LOCK"};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &fd, &error), OK, "%s", error.text);
    cr_assert_eq(broken_calls_end(), 1);
    file_close(&fd);
    file_close(&log_fd);
}

Test(broken, a_lock_file_that_is_never_the_one_with_the_name_is_given_up)
{
    int log_fd = -1, fd = -1;
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK);
    struct broken_plan plan = {.call = BROKEN_STATUS,
                               .number = 1,
                               .for_ever = true,
                               .reason = ENOENT,
                               .name_part = "LOCK"};
    broken_calls_begin(&plan);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &fd, &error), ERROR_BUSY);
    cr_assert_eq(broken_calls_open(), 0);
    broken_calls_end();
    cr_assert_str_eq(error.text, "'LOCK' is replaced again and again by somebody");
    file_close(&log_fd);
}

/* ---- Copies for a person ---- */

static int open_victim(int *log_fd_out)
{
    int fd = open(victim, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "damaged bytes", 13), 13);
    cr_assert_eq(file_open_directory(scratch_directory(), false, log_fd_out, &error), OK);
    return fd;
}

Test(broken, a_quarantine_whose_names_are_used_up_says_so)
{
    char name[64], path[700];
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("a.seg"));
    int fd = open_victim(&log_fd);
    cr_assert_eq(mkdir(scratch_path("quarantine"), 0750), 0);
    snprintf(path, sizeof path, "%s", scratch_path("quarantine"));
    for (int i = 0; i < 1000; i++) {
        char copy[800];
        if (i == 0)
            snprintf(copy, sizeof copy, "%s/a.seg", path);
        else
            snprintf(copy, sizeof copy, "%s/a-%d.seg", path, i);
        int other = open(copy, O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
        /* Some of another length, some of the same with other bytes. */
        cr_assert_eq(write(other, "damaged bytez", i % 2 ? 13 : 12), i % 2 ? 13 : 12);
        close(other);
    }
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "a.seg", name, sizeof name, &error),
                 ERROR_EXISTS);
    cr_assert_not_null(strstr(error.text, "there are 1000 copies of 'a.seg' already"), "%s",
                       error.text);
    close(fd);
    file_close(&log_fd);
}

Test(broken, a_copy_that_is_there_is_used_again_and_a_half_one_is_not)
{
    char first[64], second[64];
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("a.seg"));
    int fd = open_victim(&log_fd);
    struct broken_plan full = {.call = BROKEN_WRITE, .number = 1, .reason = ENOSPC};
    broken_calls_begin(&full);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "a.seg", first, sizeof first, &error),
                 ERROR_NO_SPACE);
    broken_calls_end();
    cr_assert_neq(access(scratch_path("quarantine/unfinished.tmp"), F_OK), 0);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "a.seg", first, sizeof first, &error), OK,
                 "%s", error.text);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "a.seg", second, sizeof second, &error),
                 OK);
    cr_assert_str_eq(first, second);
    close(fd);
    file_close(&log_fd);
}
