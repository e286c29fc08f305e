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
#include <inttypes.h>

#include "core/file.h"
#include "segment/lock.h"
#include "segment/set.h"
#include "segment/verify.h"
#include "tests/segment/repairs.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"
#include "tests/support/stride.h"
#include "segment/intent.h"
#include "segment/bound.h"

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

/* Returns how many calls were made to fail. */
static unsigned fail_each(const struct scenario *scenario, const struct repairs_content *before,
                          unsigned first, const char *what)
{
    static const int reasons[] = {EIO, ENOSPC, ENOMEM, EACCES};
    unsigned fired = 0;
    for (unsigned number = first;; number += stride(37)) {
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
        cr_assert_gt(fail_each(&scenarios[i], &before, 1 + first % 37, what), 0,
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

Test(broken, a_note_of_a_repair_that_cannot_be_read_keeps_writers_away)
{
    struct broken_plan plan = {.call = BROKEN_OPEN,
                               .number = 1,
                               .for_ever = true,
                               .reason = EACCES,
                               .name_part = "repair"};
    repairs_prepare_sound();
    take_place();
    broken_calls_begin(&plan);
    cr_assert_eq(open_and_close(), ERROR_IO);
    cr_assert_eq(broken_calls_open(), 0);
    cr_assert_gt(broken_calls_end(), 0);
    cr_assert_not_null(strstr(error.text, "repair"), "%s", error.text);
}

/* ---- Pages and bounds that are something else ---- */

static void replace_by_link(const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", place, name);
    unlink(path);
    cr_assert_eq(symlink("/dev/null", path), 0);
}

Test(broken, a_page_that_is_a_link_is_no_page)
{
    repairs_prepare_sound();
    take_place();
    replace_by_link("watermark");
    struct segment_reader *reader = logs_read(place);
    struct event event;
    cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    segment_reader_close(reader);
    cr_assert_neq(open_and_close(), OK);
    cr_assert_not_null(strstr(error.text, "watermark"), "%s", error.text);
}

Test(broken, a_page_of_another_size_is_no_page)
{
    repairs_prepare_sound();
    take_place();
    char path[700];
    snprintf(path, sizeof path, "%s/watermark", place);
    scratch_cut(path, 100);
    cr_assert_eq(read_everything(), OK, "%s", error.text);
    cr_assert_eq(open_and_close(), OK, "%s", error.text);
}

Test(broken, a_lower_bound_that_is_a_link_says_nothing)
{
    repairs_prepare_sound();
    take_place();
    replace_by_link("lower-bound");
    cr_assert_eq(read_everything(), OK, "%s", error.text);
    cr_assert_gt(repairs_verify(place).count, 0);
    cr_assert_neq(open_and_close(), OK);
}

Test(broken, a_lower_bound_that_says_nothing_over_no_segments_is_told)
{
    repairs_prepare_sound();
    take_place();
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    replace_by_link("lower-bound");
    cr_assert_gt(repairs_verify(place).count, 0);
    cr_assert_neq(open_and_close(), OK);
}

static void cut_page(void)
{
    cr_assert_eq(truncate(victim, 0), 0);
}

Test(broken, a_page_that_is_cut_while_it_is_taken_over_ends_the_opening)
{
    repairs_prepare_sound();
    take_place();
    snprintf(victim, sizeof victim, "%s/watermark", place);
    cr_assert_eq(file_map_guard(&error), OK);
    unsigned refused = 0;
    for (unsigned number = 1; number < 8; number++) {
        struct broken_plan plan = {.call = BROKEN_MAP, .number = number, .before = cut_page};
        copy(place, master);
        broken_calls_begin(&plan);
        enum error_code code = open_and_close();
        broken_calls_end();
        cr_assert(code == OK || error.text[0]);
        refused += code != OK;
        copy(master, place);
    }
    cr_assert_gt(refused, 0);
    cr_assert_eq(open_and_close(), OK, "%s", error.text);
}

Test(broken, a_segment_that_is_cut_under_a_map_fails_the_log_and_not_the_process)
{
    struct segment_log_options options = {.segment_bytes = SMALL, .write_path = LOG_WRITE_MMAP};
    struct segment_log *log = NULL;
    cr_assert_eq(file_map_guard(&error), OK);
    snprintf(place, sizeof place, "%s", scratch_path("mapped"));
    cr_assert_eq(segment_log_open(place, &options, &log, NULL, &error), OK, "%s", error.text);
    logs_append_singly(log, 3, 0);
    scratch_cut(logs_segment_path(place, 1), 4096);
    uint8_t payload[] = {0xc0};
    struct event event = {.time_ns = EVENT_TIME_NONE,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = payload,
                          .payload_bytes = sizeof payload};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK);
    cr_assert_neq(segment_log_wait(log, sequence, &error), OK);
    cr_assert_not_null(strstr(error.text, "the outcome of events 4 to 4 is unknown"), "%s",
                       error.text);
    cr_assert_neq(segment_log_close(log, &error), OK);
}

/* ---- What a reader passes over ---- */

Test(broken, a_block_without_events_cannot_be_sought_as_one)
{
    repairs_prepare_sound();
    take_place();
    struct segment_reader *reader = logs_read(place);
    struct logs_place last = logs_find(place, LAST);
    uint64_t stop = last.header.offset + last.header.size_bytes;
    cr_assert_eq(segment_reader_seek_block(reader, last.segment_first, stop, LAST + 1, &error),
                 ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "it does not start with event"), "%s", error.text);
    segment_reader_close(reader);
}

Test(broken, losses_that_nobody_asks_for_do_not_pile_up)
{
    struct repairs_told told;
    unsigned spoilt = 0;
    repairs_prepare_sound();
    take_place();
    for (uint64_t sequence = 3; sequence < LAST - 3 && spoilt < 24; sequence += 3, spoilt++) {
        struct logs_place block = logs_find(place, sequence);
        scratch_flip(repairs_segment(block.segment_first), block.header.offset + 300, 1);
    }
    cr_assert_eq(repairs_run(place, false, true, &told), OK, "%s", repairs_error.text);
    cr_assert_eq(told.totals.events_lost, spoilt);
    struct segment_reader *reader = logs_read(place);
    struct segment_format_gap gap;
    struct event event;
    unsigned losses = 0;
    cr_assert_eq(segment_reader_seek(reader, 3, &error), OK);
    segment_reader_hint_times(reader, INT64_MIN, INT64_MAX - 1);
    while (segment_reader_next(reader, &event, &error) == OK)
        continue;
    while (segment_reader_loss(reader, &gap))
        losses += gap.cause == FORMAT_GAP_DAMAGE;
    cr_assert_gt(losses, 0);
    cr_assert_leq(losses, spoilt);
    segment_reader_close(reader);
}

Test(broken, a_note_of_a_repair_that_somebody_has_removed_is_gone)
{
    int log_fd = -1;
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK);
    cr_assert_eq(segment_intent_store(log_fd, 7, &error), OK, "%s", error.text);
    scratch_delete(scratch_path("repair"));
    cr_assert_eq(segment_intent_remove(log_fd, &error), OK, "%s", error.text);
    file_close(&log_fd);
}

static uint64_t victim_at;

static void damage_victim(void)
{
    scratch_flip(victim, victim_at, 0x10);
}

/* Between the plan and the recovery the disk goes on to decay. The hook comes with the rename of
 * DIR/repair: behind the plan, before anything is written. What later blocks vouch for is no loss
 * that a repair may accept. */
static void expect_no_silent_loss(bool page)
{
    struct repairs_told told;
    char lost[64];
    repairs_prepare_sound();
    take_place();
    if (!page)
        scratch_delete(scratch_path("log/watermark"));
    uint64_t last = repairs_last_segment();
    struct logs_place early = logs_find(place, 2), late = logs_find(place, last);
    scratch_flip(repairs_segment(early.segment_first), early.header.offset + 500, 0x10);
    snprintf(victim, sizeof victim, "%s", repairs_segment(late.segment_first));
    victim_at = late.header.offset + 500;
    struct broken_plan plan = {
        .call = BROKEN_RENAME, .number = 1, .before = damage_victim, .name_part = "repair"};
    broken_calls_begin(&plan);
    cr_assert_eq(repairs_run(place, false, true, &told), ERROR_DAMAGED);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_not_null(strstr(repairs_error.text, "a later block says that it was durable"), "%s",
                       repairs_error.text);
    cr_assert_eq(open_and_close(), ERROR_DAMAGED, "nobody writes before the repair is finished");
    cr_assert_eq(repairs_run(place, false, true, &told), OK, "%s", repairs_error.text);
    snprintf(lost, sizeof lost, "2-2 %" PRIu64 "-%" PRIu64, last, last);
    cr_assert_str_eq(repairs_gaps_text(place, FORMAT_GAP_DAMAGE), lost);
    repairs_expect_sound(place);
}

Test(broken, a_repair_accepts_no_loss_that_it_has_not_planned)
{
    expect_no_silent_loss(true);  /* the page is a witness, and a later block, too */
    expect_no_silent_loss(false); /* no witness at all */
}

static void count_finding(void *context, const struct segment_verify_finding *finding)
{
    repairs_tell(context, finding->text);
}

static uint64_t bound_then;

static void retire_victim(void)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(place, false, &fd, NULL), OK);
    cr_assert_eq(segment_bound_store(fd, bound_then, NULL), OK);
    file_close(&fd);
    unlink(victim);
}

/* As delete_victim, and what would tell whether retention did it cannot be read. */
static void delete_victim_and_spoil_bound(void)
{
    char path[700];
    snprintf(path, sizeof path, "%s/lower-bound", place);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0640);
    cr_assert_eq(write(fd, "nonsense", 8), 8);
    close(fd);
    unlink(victim);
}

Test(broken, verify_does_not_miss_what_retention_takes_under_its_eyes)
{
    unsigned refused = 0, fired = 0;
    repairs_prepare_sound();
    take_place();
    copy(place, master);
    snprintf(victim, sizeof victim, "%s", repairs_segment(1));
    bound_then = repairs_nth(1);
    for (unsigned i = 0; i < 24; i++) {
        struct broken_plan plan = {.call = BROKEN_OPEN,
                                   .number = 1 + i / 2,
                                   .before = i % 2 ? delete_victim_and_spoil_bound : retire_victim,
                                   .name_part = strrchr(victim, '/') + 1};
        struct repairs_told said = {0};
        struct segment_verify_totals totals;
        copy(master, place);
        broken_calls_begin(&plan);
        enum error_code code =
            segment_verify_log(place, count_finding, NULL, &said, &totals, &error);
        if (broken_calls_end() == 0)
            break;
        fired++;
        if (i % 2 == 0)
            cr_assert(code == OK && said.count == 0, "%s%s", error.text, said.texts[0]);
        refused += i % 2 && code == ERROR_DAMAGED;
    }
    cr_assert_gt(fired, 0);
    cr_assert_gt(refused, 0, "a bound that cannot be read was passed over");
}

static void cut_victim(void)
{
    cr_assert_eq(truncate(victim, 4096), 0);
}

Test(broken, verify_tells_of_a_last_segment_that_is_cut_under_its_eyes)
{
    unsigned told = 0;
    snprintf(place, sizeof place, "%s", scratch_path("single"));
    snprintf(master, sizeof master, "%s", scratch_path("single-master"));
    logs_make(place, SMALL, 3, 0);
    copy(place, master);
    for (unsigned number = 1;; number++) {
        struct broken_plan plan = {.call = BROKEN_READ, .number = number, .before = cut_victim};
        copy(master, place);
        snprintf(victim, sizeof victim, "%s", logs_segment_path(place, 1));
        broken_calls_begin(&plan);
        struct repairs_told said = repairs_verify(place);
        if (broken_calls_end() == 0)
            break;
        told += said.count > 0;
    }
    cr_assert_gt(told, 0);
}

static void delete_all(void)
{
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(logs_segment_path(place, first));
}

Test(broken, verify_tells_that_all_segments_have_vanished_under_its_eyes)
{
    unsigned fired = 0;
    repairs_prepare_sound();
    take_place();
    copy(place, master);
    for (unsigned number = 1; number < 12; number++, fired++) {
        struct broken_plan plan = {.call = BROKEN_LIST, .number = number, .before = delete_all};
        copy(master, place);
        broken_calls_begin(&plan);
        struct repairs_told said = repairs_verify(place);
        if (broken_calls_end() == 0)
            break;
        cr_assert_gt(said.count, 0, "before the listing number %u", number);
    }
    cr_assert_geq(fired, 2);
}

Test(broken, a_lower_bound_that_says_nothing_is_told_where_nothing_else_is_left)
{
    repairs_prepare_sound();
    take_place();
    for (uint64_t first = 1; first <= LAST; first++)
        unlink(repairs_segment(first));
    unlink(scratch_path("log/watermark"));
    replace_by_link("lower-bound");
    struct repairs_told said = repairs_verify(place);
    cr_assert_eq(said.count, 1, "%s", said.texts[1]);
    cr_assert_not_null(strstr(said.texts[0], "'lower-bound' is a symbolic link"), "%s", said.texts[0]);
}

static void retire_more(void)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(place, false, &fd, NULL), OK);
    cr_assert_eq(segment_bound_store(fd, bound_then, NULL), OK);
    file_close(&fd);
    for (uint64_t first = 1; first < bound_then; first++)
        unlink(logs_segment_path(place, first));
}

Test(broken, retention_that_comes_twice_while_a_reader_looks_leaves_one_hole)
{
    unsigned fired = 0;
    repairs_prepare_sound();
    take_place();
    copy(place, master);
    uint64_t second = repairs_nth(1), third = repairs_nth(2);
    for (unsigned number = 1; number <= 4; number++) {
        struct event event;
        uint64_t first = 0, last = 0;
        char name[FORMAT_SEGMENT_NAME_BYTES + 1];
        copy(master, place);
        struct segment_reader *reader = logs_read(place);
        cr_assert_eq(segment_reader_seek(reader, 2, &error), OK);
        bound_then = second;
        retire_more();
        bound_then = third;
        segment_format_segment_name(second, name);
        struct broken_plan plan = {
            .call = BROKEN_OPEN, .number = number, .before = retire_more, .name_part = name};
        broken_calls_begin(&plan);
        cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
        unsigned hits = broken_calls_end();
        fired += hits;
        cr_assert_eq(event.sequence, hits ? third : second);
        cr_assert(segment_reader_hole(reader, &first, &last));
        cr_assert_eq(first, 2);
        cr_assert_eq(last, event.sequence - 1);
        segment_reader_close(reader);
    }
    cr_assert_geq(fired, 3);
}

Test(broken, a_place_in_a_segment_that_is_gone_is_sought_in_a_directory_that_cannot_be_listed)
{
    struct broken_plan plan = {.call = BROKEN_LIST, .number = 1, .reason = EIO};
    struct event event;
    repairs_prepare_sound();
    take_place();
    struct segment_reader *reader = logs_read(place);
    broken_calls_begin(&plan);
    cr_assert_eq(segment_reader_seek_block(reader, 7, 4096, 7, &error), ERROR_IO, "%s", error.text);
    cr_assert_eq(broken_calls_end(), 1);
    cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    cr_assert_eq(event.sequence, 7);
    segment_reader_close(reader);
}

Test(broken, losses_of_two_causes_in_a_row_are_told_apart)
{
    struct repairs_told told;
    struct segment_format_gap gap;
    struct event event;
    snprintf(place, sizeof place, "%s", scratch_path("causes"));
    logs_kill_writer(logs_start_writer(place, SMALL, 5, 0));
    struct segment_format_block_header tail = logs_write_undurable(place, 3);
    scratch_fill(logs_segment_path(place, 1), tail.offset + FORMAT_BLOCK_HEADER_BYTES,
                 tail.stored_bytes, 0xee);
    logs_make(place, SMALL, 20, 0); /* 6 to 8: a damaged tail */
    struct logs_place fifth = logs_find(place, 5);
    scratch_flip(logs_segment_path(place, 1), fifth.header.offset + FORMAT_BLOCK_HEADER_BYTES + 30,
                 1);
    repairs_witness = 0;
    cr_assert_eq(repairs_run(place, false, true, &told), OK, "%s", repairs_error.text);
    struct segment_reader *reader = logs_read(place);
    while (segment_reader_next(reader, &event, &error) == OK)
        continue;
    cr_assert(segment_reader_loss(reader, &gap));
    cr_assert(gap.sequence_first == 5 && gap.sequence_last == 5 && gap.cause == FORMAT_GAP_DAMAGE);
    cr_assert(segment_reader_loss(reader, &gap));
    cr_assert(gap.sequence_first == 6 && gap.sequence_last == 8 &&
              gap.cause == FORMAT_GAP_DAMAGED_TAIL);
    cr_assert_not(segment_reader_loss(reader, &gap));
    segment_reader_close(reader);
}

Test(broken, a_segment_that_cannot_be_mapped_for_writing_ends_the_opening)
{
    struct segment_log_options options = {.segment_bytes = SMALL, .write_path = LOG_WRITE_MMAP};
    unsigned refused = 0;
    snprintf(place, sizeof place, "%s", scratch_path("unmapped"));
    logs_make(place, SMALL, 3, 0);
    for (unsigned number = 1; number < 20; number++) {
        struct broken_plan plan = {.call = BROKEN_MAP, .number = number, .reason = EACCES};
        struct segment_log *log = NULL;
        broken_calls_begin(&plan);
        enum error_code code = segment_log_open(place, &options, &log, NULL, &error);
        if (!code)
            logs_close(log);
        int open_things = broken_calls_open();
        if (broken_calls_end() == 0)
            break;
        refused += code != OK && strstr(error.text, ".seg") != NULL;
        cr_assert_eq(open_things, 0, "map %u: %d descriptors or maps stay open", number,
                     open_things);
    }
    cr_assert_gt(refused, 0);
    cr_assert_eq(open_and_close(), OK, "%s", error.text);
}

Test(broken, a_repair_of_which_any_write_fails_can_be_done_again)
{
    enum { WRITES = 40 };
    unsigned refused = 0;
    repairs_prepare(0); /* a block's body in the middle: a gap between two blocks is written */
    take_place();
    struct repairs_content before = repairs_read_all(place);
    copy(place, master);
    for (unsigned number = 1; number <= WRITES; number++) {
        struct broken_plan plan = {.call = BROKEN_WRITE, .number = number, .reason = ENOSPC};
        copy(master, place);
        error = (struct error){0};
        broken_calls_begin(&plan);
        enum error_code code = repair_everything();
        int open_things = broken_calls_open();
        if (broken_calls_end() == 0)
            break;
        cr_assert(code == OK || error.text[0], "write %u: no reason", number);
        cr_assert_eq(open_things, 0, "write %u: %d stay open", number, open_things);
        refused += code != OK;
        expect_kept(&before, "repair", number);
        cr_assert_eq(repair_everything(), OK, "after write %u: %s", number, error.text);
        repairs_expect_sound(place);
    }
    cr_assert_gt(refused, 10);
}
