#include "segment/cursors.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/file.h"
#include "segment/cursor_slot.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"
#include "tests/support/stride.h"

static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "the log's name.";
static const uint8_t other_id[FORMAT_LOG_ID_BYTES] = "another's name.";
static struct segment_cursor *cursor;
static struct segment_cursors cursors;
static struct error error;
static int log_fd = -1;

static void setup(void)
{
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK, "%s",
                 error.text);
}

static void close_cursor(void)
{
    segment_cursor_close(cursor);
    cursor = NULL;
}

static void teardown(void)
{
    close_cursor();
    segment_cursors_free(&cursors);
    file_close(&log_fd);
}

TestSuite(cursor, .init = setup, .fini = teardown);

static void create(const char *name, enum segment_cursor_kind kind, uint64_t position)
{
    close_cursor();
    cr_assert_eq(
        segment_cursor_create(log_fd, name, log_id, kind, position, 1000, &cursor, &error), OK,
        "%s", error.text);
}

static void open_cursor(const char *name)
{
    close_cursor();
    cr_assert_eq(segment_cursor_open(log_fd, name, log_id, &cursor, &error), OK, "%s",
                 error.text);
}

static void expect_refused(const char *name, enum error_code code, const char *part)
{
    close_cursor();
    cr_assert_eq(segment_cursor_open(log_fd, name, log_id, &cursor, &error), code, "%s",
                 error.text);
    cr_assert(strstr(error.text, part), "'%s' has no '%s'", error.text, part);
}

static void commit(uint64_t position)
{
    cr_assert_eq(segment_cursor_commit(cursor, position, (int64_t)position * 10, &error), OK, "%s",
                 error.text);
}

static void expect_position(uint64_t position)
{
    cr_assert_eq(segment_cursor_state(cursor)->position, position, "%lu",
                 segment_cursor_state(cursor)->position);
}

static const char *path_of(const char *name)
{
    return scratch_path("cursors/%s", name);
}

/* Where the slot stands that has this generation. */
static uint64_t slot_of(uint64_t generation, enum segment_cursor_kind kind)
{
    return generation % 2 * segment_cursor_slot_bytes(kind);
}

static struct segment_cursor_look look(const char *name)
{
    struct segment_cursor_look found;
    cr_assert_eq(segment_cursor_look(log_fd, name, log_id, &found, &error), OK, "%s", error.text);
    return found;
}

Test(cursor, begins_where_it_was_told_to)
{
    create("billing", CURSOR_SINGLE, 41);
    expect_position(41);
    open_cursor("billing");
    const struct segment_cursor_state *state = segment_cursor_state(cursor);
    cr_assert_eq(state->position, 41);
    cr_assert_eq(state->needed, 42);
    cr_assert_eq(state->kind, CURSOR_SINGLE);
    cr_assert_eq(state->created_ns, 1000);
    cr_assert_eq(state->committed_ns, 1000);
    cr_assert_eq(state->hold_bytes, 0);
    cr_assert_not(state->copy_lost);
}

Test(cursor, keeps_what_was_committed)
{
    create("billing", CURSOR_SINGLE, 0);
    for (uint64_t position = 1; position <= 9; position++) {
        commit(position * 7);
        expect_position(position * 7);
        open_cursor("billing");
        expect_position(position * 7);
        cr_assert_eq(segment_cursor_state(cursor)->committed_ns, (int64_t)position * 70);
    }
    cr_assert_eq(segment_cursor_state(cursor)->created_ns, 1000);
}

Test(cursor, may_go_back)
{
    create("billing", CURSOR_SINGLE, 100);
    commit(3);
    open_cursor("billing");
    expect_position(3);
}

static void expect_pending(const struct segment_cursor_pending *expected, size_t count)
{
    const struct segment_cursor_pending *pending = segment_cursor_pending(cursor);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(pending[i].sequence, expected[i].sequence);
        cr_assert_eq(pending[i].tries, expected[i].tries);
        cr_assert_eq(pending[i].letter, expected[i].letter);
    }
}

Test(cursor, of_a_group_keeps_what_is_pending)
{
    struct segment_cursor_pending pending[SEGMENT_CURSOR_PENDING_MAX];
    for (size_t i = 0; i < SEGMENT_CURSOR_PENDING_MAX; i++)
        pending[i] = (struct segment_cursor_pending){
            .sequence = 3 * i + 5, .tries = (uint32_t)i % 101, .letter = i % 3 ? 0 : i};
    create("group", CURSOR_SHARED, 0);
    for (size_t count = 0; count <= SEGMENT_CURSOR_PENDING_MAX; count += 128) {
        struct segment_cursor_change change = {.position = 9000,
                                               .hold_bytes = 1 << 20,
                                               .committed_ns = 5,
                                               .letters = 1023,
                                               .pending = pending,
                                               .pending_count = count};
        cr_assert_eq(segment_cursor_store(cursor, &change, &error), OK, "%s", error.text);
        open_cursor("group");
        const struct segment_cursor_state *state = segment_cursor_state(cursor);
        cr_assert_eq(state->pending_count, count);
        cr_assert_eq(state->letters, 1023);
        cr_assert_eq(state->hold_bytes, 1 << 20);
        cr_assert_eq(state->needed, count ? 5 : 9001);
        expect_pending(pending, count);
        cr_assert_eq(look("group").state.needed, count ? 5 : 9001);
    }
}

Test(cursor, of_a_name_is_made_once)
{
    create("billing", CURSOR_SINGLE, 7);
    close_cursor();
    cr_assert_eq(segment_cursor_create(log_fd, "billing", log_id, CURSOR_SINGLE, 0, 0, &cursor,
                                       &error),
                 ERROR_EXISTS);
    cr_assert_str_eq(error.text, "there is a cursor 'billing' already");
    open_cursor("billing");
    expect_position(7);
}

Test(cursor, has_a_name_that_is_a_name)
{
    const char *const bad[] = {"",  ".",     "..",   ".new",
                               "a/b", "a b", "\xc3\xa4", "a:b",
                               "0123456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(segment_cursor_check_name(bad[i], strlen(bad[i]), &error), ERROR_INVALID,
                     "%s", bad[i]);
        cr_assert(strstr(error.text, "cannot be a cursor's name"));
        cr_assert_eq(segment_cursor_open(log_fd, bad[i], log_id, &cursor, NULL), ERROR_INVALID);
        cr_assert_eq(
            segment_cursor_create(log_fd, bad[i], log_id, CURSOR_SINGLE, 0, 0, &cursor, NULL),
            ERROR_INVALID);
    }
    cr_assert_eq(segment_cursor_check_name("a\0b", 3, NULL), ERROR_INVALID);
    const char *const good[] = {
        "a", "A.b-c_9", "-", "a.tmp",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        create(good[i], CURSOR_SINGLE, i);
}

Test(cursor, that_is_not_there_is_said_to_be_missing)
{
    expect_refused("billing", ERROR_NOT_FOUND, "there is no cursor 'billing'");
    create("other", CURSOR_SINGLE, 0);
    expect_refused("billing", ERROR_NOT_FOUND,
                   "there is no cursor 'billing'; 'daybook cursors' lists those that there are");
    struct segment_cursor_look found;
    cr_assert_eq(segment_cursor_look(log_fd, "billing", log_id, &found, &error), ERROR_NOT_FOUND);
}

Test(cursor, has_one_user_at_a_time)
{
    struct segment_cursor *second = NULL;
    create("billing", CURSOR_SINGLE, 0);
    cr_assert_eq(segment_cursor_open(log_fd, "billing", log_id, &second, &error), ERROR_BUSY);
    cr_assert_str_eq(error.text, "the cursor 'billing' is in use by another consumer: stop it first, or "
                                 "take another name");
    cr_assert_eq(segment_cursor_remove(log_fd, "billing", &error), ERROR_BUSY);
    cr_assert(look("billing").in_use);
    close_cursor();
    cr_assert_not(look("billing").in_use);
    open_cursor("billing");
}

Test(cursor, tells_which_other_process_uses_it)
{
    int made[2], end[2];
    char byte;
    cr_assert(pipe(made) == 0 && pipe(end) == 0);
    pid_t child = scratch_fork();
    if (child == 0) {
        struct segment_cursor *theirs;
        byte = segment_cursor_create(log_fd, "billing", log_id, CURSOR_SINGLE, 0, 0, &theirs,
                                     NULL) == OK;
        if (write(made[1], &byte, 1) != 1)
            _exit(1);
        close(end[1]);
        _exit(read(end[0], &byte, 1) != 0);
    }
    cr_assert(read(made[0], &byte, 1) == 1 && byte == 1);
    struct segment_cursor_look found = look("billing");
    cr_assert(found.in_use);
    cr_assert_eq(found.user_pid, child);
    char expected[64];
    snprintf(expected, sizeof expected, ", pid %d)", child);
    expect_refused("billing", ERROR_BUSY, expected);
    close(end[1]);
    waitpid(child, NULL, 0);
    open_cursor("billing");
}

Test(cursor, that_was_removed_is_gone)
{
    create("billing", CURSOR_SINGLE, 5);
    close_cursor();
    cr_assert_eq(segment_cursor_remove(log_fd, "billing", &error), OK, "%s", error.text);
    expect_refused("billing", ERROR_NOT_FOUND, "there is no cursor");
    create("billing", CURSOR_SINGLE, 0);
    expect_position(0);
}

Test(cursor, made_anew_has_another_identity)
{
    create("billing", CURSOR_SHARED, 5);
    uint64_t id = segment_cursor_state(cursor)->id;
    open_cursor("billing");
    cr_assert_eq(segment_cursor_state(cursor)->id, id);
    close_cursor();
    cr_assert_eq(segment_cursor_remove(log_fd, "billing", &error), OK);
    create("billing", CURSOR_SHARED, 5);
    cr_assert_neq(segment_cursor_state(cursor)->id, id);
}

/* Every bit of the newer slot: a torn write, or rot. The other slot counts then. */
Test(cursor, with_a_torn_copy_is_what_the_other_copy_says)
{
    const char *path = path_of("billing");
    create("billing", CURSOR_SINGLE, 10);
    commit(20);
    commit(30);
    uint64_t slot = slot_of(segment_cursor_state(cursor)->generation, CURSOR_SINGLE);
    close_cursor();
    for (uint64_t bit = 0; bit < CURSOR_SLOT_SINGLE_BYTES * 8; bit += stride(7)) {
        scratch_flip(path, slot + bit / 8, (uint8_t)(1 << bit % 8));
        struct segment_cursor_look found = look("billing");
        cr_assert_eq(found.state.position, 20, "bit %lu", bit);
        cr_assert(found.state.copy_lost);
        scratch_flip(path, slot + bit / 8, (uint8_t)(1 << bit % 8));
    }
    scratch_flip(path, slot + 40, 1);
    open_cursor("billing");
    expect_position(20);
    commit(25);
    open_cursor("billing");
    expect_position(25);
    cr_assert_not(segment_cursor_state(cursor)->copy_lost);
}

Test(cursor, without_a_valid_copy_is_damaged_and_not_guessed)
{
    create("billing", CURSOR_SINGLE, 10);
    close_cursor();
    scratch_flip(path_of("billing"), 40, 1);
    scratch_flip(path_of("billing"), CURSOR_SLOT_SINGLE_BYTES + 40, 1);
    expect_refused("billing", ERROR_DAMAGED,
                   "the cursor 'billing' is damaged: neither of its two copies is valid");
    scratch_fill(path_of("billing"), 0, 2 * CURSOR_SLOT_SINGLE_BYTES, 0);
    expect_refused("billing", ERROR_DAMAGED, "neither of its two copies is valid");
    /* And it can be got rid of. */
    cr_assert_eq(segment_cursor_remove(log_fd, "billing", &error), OK, "%s", error.text);
}

Test(cursor, of_another_size_is_damaged)
{
    const uint64_t sizes[] = {0, 1, 4096, 8191, 8193, 65535, 65537};
    create("billing", CURSOR_SINGLE, 10);
    close_cursor();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cr_assert_eq(truncate(path_of("billing"), (off_t)sizes[i]), 0);
        expect_refused("billing", ERROR_DAMAGED, "which no cursor has");
    }
    cr_assert_eq(truncate(path_of("billing"), 65536), 0);
    expect_refused("billing", ERROR_DAMAGED, "neither of its two copies is valid");
}

Test(cursor, copies_in_each_others_place_are_not_valid)
{
    uint8_t slots[2][CURSOR_SLOT_SINGLE_BYTES];
    create("billing", CURSOR_SINGLE, 10);
    close_cursor();
    scratch_read(path_of("billing"), 0, slots[0], sizeof slots[0]);
    scratch_read(path_of("billing"), sizeof slots[0], slots[1], sizeof slots[1]);
    scratch_write(path_of("billing"), 0, slots[1], sizeof slots[1]);
    scratch_write(path_of("billing"), sizeof slots[0], slots[0], sizeof slots[0]);
    expect_refused("billing", ERROR_DAMAGED, "neither of its two copies is valid");
}

Test(cursor, of_another_log_is_refused)
{
    create("billing", CURSOR_SINGLE, 10);
    close_cursor();
    cr_assert_eq(segment_cursor_open(log_fd, "billing", other_id, &cursor, &error), ERROR_FOREIGN);
    cr_assert(strstr(error.text, "the cursor 'billing' belongs to another log"));
    struct segment_cursor_look found;
    cr_assert_eq(segment_cursor_look(log_fd, "billing", other_id, &found, &error), ERROR_FOREIGN);
    cr_assert_eq(segment_cursor_look(log_fd, "billing", NULL, &found, &error), OK);
}

Test(cursor, of_a_newer_daybook_is_refused_and_not_called_damaged)
{
    uint8_t slot[CURSOR_SLOT_SINGLE_BYTES];
    create("billing", CURSOR_SINGLE, 10);
    close_cursor();
    scratch_read(path_of("billing"), 0, slot, sizeof slot);
    bytes_store32(slot + 12, 2);
    bytes_store32(slot + 8, checksum_extend(checksum_extend(0, slot, 8), slot + 12, 4084));
    scratch_write(path_of("billing"), 0, slot, sizeof slot);
    expect_refused("billing", ERROR_VERSION, "was written by a newer Daybook");
}

Test(cursor, beyond_the_end_of_the_log_tells_of_a_loss)
{
    struct segment_cursor_state state = {.position = 57};
    cr_assert_eq(segment_cursor_check_position("billing", &state, 57, &error), OK);
    cr_assert_eq(segment_cursor_check_position("billing", &state, 41, &error), ERROR_DAMAGED);
    cr_assert(strstr(error.text, "the cursor 'billing' stands at 57 and the log ends with 41"));
}

Test(cursor, whose_store_failed_takes_nothing_more_and_keeps_what_it_had)
{
    const enum broken_call calls[] = {BROKEN_WRITE, BROKEN_SYNC};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        create(i ? "b" : "a", CURSOR_SINGLE, 10);
        struct broken_plan plan = {.call = calls[i], .number = 1, .reason = EIO};
        broken_calls_begin(&plan);
        cr_assert_eq(segment_cursor_commit(cursor, 11, 0, &error), ERROR_IO);
        cr_assert_eq(broken_calls_end(), 1);
        expect_position(10);
        cr_assert_eq(segment_cursor_commit(cursor, 12, 0, &error), ERROR_IO);
        cr_assert(strstr(error.text, "could not be stored before"));
        expect_position(10);
    }
}

/* Whichever call fails: an error, nothing left open, and afterwards all or nothing is there. */
Test(cursor, is_made_whole_or_not_at_all_whichever_call_fails)
{
    unsigned number = 1;
    for (;; number++) {
        struct broken_plan plan = {.call = BROKEN_ANY, .number = number, .reason = EIO};
        broken_calls_begin(&plan);
        enum error_code code = segment_cursor_create(log_fd, "billing", log_id, CURSOR_SHARED, 7,
                                                     0, &cursor, &error);
        close_cursor();
        int left_open = broken_calls_open();
        unsigned fired = broken_calls_end();
        cr_assert_eq(left_open, 0, "call %u", number);
        if (!fired)
            break;
        enum error_code opened = segment_cursor_open(log_fd, "billing", log_id, &cursor, &error);
        cr_assert(opened == OK || opened == ERROR_NOT_FOUND, "call %u: %s", number, error.text);
        cr_assert(code != OK || opened == OK, "call %u", number);
        if (opened == OK)
            expect_position(7);
        close_cursor();
        segment_cursor_remove(log_fd, "billing", NULL);
    }
    cr_assert_gt(number, 10);
}

/* What can be done with a cursor that is there; each of them once, with whatever call failing. */
static enum error_code try_open(void)
{
    enum error_code code = segment_cursor_open(log_fd, "billing", log_id, &cursor, &error);
    if (!code)
        code = segment_cursor_commit(cursor, 8, 0, &error);
    close_cursor();
    return code;
}

static enum error_code try_look(void)
{
    struct segment_cursor_look found;
    return segment_cursor_look(log_fd, "billing", log_id, &found, &error);
}

static enum error_code try_list(void)
{
    segment_cursors_free(&cursors);
    enum error_code code = segment_cursors_load(log_fd, log_id, &cursors, &error);
    return code || cursors.count == 0 ? code : cursors.list[0].trouble.code;
}

static enum error_code try_remove(void)
{
    return segment_cursor_remove(log_fd, "billing", &error);
}

Test(cursor, says_so_whichever_call_fails_and_leaves_nothing_open)
{
    enum error_code (*const attempts[])(void) = {try_open, try_look, try_list, try_remove};
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        for (unsigned number = 1;; number++) {
            if (segment_cursor_create(log_fd, "billing", log_id, CURSOR_SINGLE, 7, 0, &cursor,
                                      NULL) == OK)
                close_cursor();
            struct broken_plan plan = {.call = BROKEN_ANY, .number = number, .reason = EACCES};
            broken_calls_begin(&plan);
            enum error_code code = attempts[i]();
            int left_open = broken_calls_open();
            unsigned fired = broken_calls_end();
            cr_assert_eq(left_open, 0, "attempt %zu, call %u", i, number);
            if (!fired) {
                cr_assert_eq(code, OK, "attempt %zu: %s", i, error.text);
                cr_assert_gt(number, 3);
                break;
            }
        }
    }
}

/* The device refuses one slot: the other one counts. */
Test(cursor, of_which_one_copy_cannot_be_read_is_what_the_other_copy_says)
{
    create("billing", CURSOR_SINGLE, 10);
    close_cursor();
    struct broken_plan plan = {.call = BROKEN_READ, .number = 1, .reason = EIO};
    broken_calls_begin(&plan);
    open_cursor("billing");
    cr_assert_eq(broken_calls_end(), 1);
    expect_position(10);
    cr_assert(segment_cursor_state(cursor)->copy_lost);
}

static void replace_it(void)
{
    cr_assert_eq(rename(path_of("other"), path_of("billing")), 0);
}

Test(cursor, that_was_replaced_before_it_was_locked_is_opened_again)
{
    create("billing", CURSOR_SINGLE, 10);
    create("other", CURSOR_SINGLE, 20);
    close_cursor();
    struct broken_plan plan = {.call = BROKEN_LOCK, .number = 1, .before = replace_it};
    broken_calls_begin(&plan);
    open_cursor("billing");
    broken_calls_end();
    expect_position(20);
}

Test(cursor, is_made_by_one_process_at_a_time)
{
    int directory_fd = -1;
    create("other", CURSOR_SINGLE, 0);
    close_cursor();
    cr_assert_eq(file_open_directory_at(log_fd, "cursors", false, &directory_fd, &error), OK);
    cr_assert_eq(file_lock_directory(directory_fd, "cursors", &error), OK);
    cr_assert_eq(segment_cursor_create(log_fd, "billing", log_id, CURSOR_SINGLE, 0, 0, &cursor,
                                       &error),
                 ERROR_BUSY);
    cr_assert(strstr(error.text, "another process is making a cursor"));
    file_close(&directory_fd);
    create("billing", CURSOR_SINGLE, 0);
}

Test(cursor, takes_the_place_of_one_that_was_half_made)
{
    create("other", CURSOR_SINGLE, 0);
    FILE *half_made = fopen(path_of(".new"), "w");
    cr_assert(half_made && fclose(half_made) == 0);
    create("billing", CURSOR_SINGLE, 7);
    expect_position(7);
    cr_assert_neq(access(path_of(".new"), F_OK), 0);
}

Test(cursors, are_as_many_as_there_are, .init = setup, .fini = teardown)
{
    char name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "c%02d", i);
        create(name, CURSOR_SINGLE, (uint64_t)i);
    }
    cr_assert_eq(segment_cursors_load(log_fd, log_id, &cursors, &error), OK);
    cr_assert_eq(cursors.count, 40);
    for (size_t i = 0; i < 40; i++)
        cr_assert_eq(cursors.list[i].look.state.position, i);
}

Test(cursors, are_listed_by_name_and_each_with_its_trouble, .init = setup, .fini = teardown)
{
    cr_assert_eq(segment_cursors_load(log_fd, log_id, &cursors, &error), OK);
    cr_assert_eq(cursors.count, 0);
    create("c", CURSOR_SHARED, 3);
    create("a", CURSOR_SINGLE, 1);
    create("b", CURSOR_SINGLE, 2);
    close_cursor();
    scratch_fill(path_of("b"), 0, 8192, 0xff);
    cr_assert_eq(mkdir(path_of("d"), 0700), 0);
    cr_assert_eq(symlink("a", path_of("e")), 0);
    FILE *half_made = fopen(path_of(".new"), "w");
    cr_assert(half_made && fclose(half_made) == 0);
    cr_assert_eq(segment_cursors_load(log_fd, log_id, &cursors, &error), OK);
    cr_assert_eq(cursors.count, 5);
    cr_assert_eq(cursors.names_ignored, 1);
    const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < cursors.count; i++)
        cr_assert_str_eq(cursors.list[i].name, names[i]);
    cr_assert_eq(segment_cursors_find(&cursors, "a")->look.state.position, 1);
    cr_assert_eq(segment_cursors_find(&cursors, "b")->trouble.code, ERROR_DAMAGED);
    cr_assert_eq(segment_cursors_find(&cursors, "c")->look.state.kind, CURSOR_SHARED);
    cr_assert_eq(segment_cursors_find(&cursors, "d")->trouble.code, ERROR_FOREIGN);
    cr_assert_eq(segment_cursors_find(&cursors, "e")->trouble.code, ERROR_FOREIGN);
    cr_assert_null(segment_cursors_find(&cursors, "f"));
}
