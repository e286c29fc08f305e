#include "segment/quarantine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

static char victim[600];
static struct error error;

/* As recovery knows it; segments are whole pages. */
static const struct segment_set_segment segment = {.name = "a.seg", .size_bytes = 4096};

static int open_victim(int *log_fd_out)
{
    int fd = open(victim, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "damaged bytes", 13), 13);
    cr_assert_eq(file_open_directory(scratch_directory(), false, log_fd_out, &error), OK);
    return fd;
}

static int open_segment(int *log_fd_out)
{
    int fd = open_victim(log_fd_out);
    cr_assert_eq(ftruncate(fd, (off_t)segment.size_bytes), 0);
    return fd;
}

Test(quarantine, a_quarantine_whose_names_are_used_up_says_so)
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

Test(quarantine, a_copy_that_is_there_is_used_again_and_a_half_one_is_not)
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

Test(quarantine, a_copy_that_cannot_be_compared_is_no_copy)
{
    /* A copy is opened, its size asked for, its bytes read: each may fail. */
    static const enum broken_call calls[] = {BROKEN_OPEN, BROKEN_STATUS, BROKEN_READ};
    char name[64];
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("a.seg"));
    int fd = open_victim(&log_fd);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "a.seg", name, sizeof name, &error), OK);
    for (unsigned i = 0; i < 24; i++) {
        struct broken_plan plan = {.call = calls[i % 3], .number = 1 + i / 3, .reason = EACCES};
        error = (struct error){0};
        broken_calls_begin(&plan);
        enum error_code code =
            segment_quarantine_keep_file(log_fd, fd, "a.seg", name, sizeof name, &error);
        cr_assert_eq(broken_calls_open(), 0);
        broken_calls_end();
        /* Rather twice than not at all: what it names is there. */
        cr_assert(code ? error.text[0] != 0
                       : access(scratch_path("quarantine/%s", name), F_OK) == 0);
    }
    close(fd);
    file_close(&log_fd);
}

Test(quarantine, a_name_of_which_nobody_can_say_that_it_is_free_is_not_used)
{
    char name[64];
    uint8_t kept[13];
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("a.seg"));
    int fd = open_victim(&log_fd);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "a.seg", name, sizeof name, &error), OK);
    cr_assert_eq(pwrite(fd, "another", 7, 0), 7);
    unsigned refused = 0;
    for (unsigned number = 1; number < 5; number++) {
        struct broken_plan plan = {.call = BROKEN_STATUS, .number = number, .reason = EIO};
        broken_calls_begin(&plan);
        refused += segment_quarantine_keep_file(log_fd, fd, "a.seg", name, sizeof name, &error) ==
                   ERROR_IO;
        broken_calls_end();
        scratch_read(scratch_path("quarantine/a.seg"), 0, kept, sizeof kept);
        cr_assert_eq(memcmp(kept, "damaged bytes", sizeof kept), 0);
    }
    cr_assert_gt(refused, 1);
    close(fd);
    file_close(&log_fd);
}

Test(quarantine, that_cannot_be_looked_into_has_not_said_no)
{
    static const enum broken_call calls[] = {BROKEN_OPEN, BROKEN_STATUS};
    char name[64];
    bool found = true;
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("a.seg"));
    int fd = open_segment(&log_fd);
    cr_assert_eq(segment_quarantine_find(log_fd, "a.seg", 0, &found, name, sizeof name, &error),
                 OK);
    cr_assert_not(found);
    cr_assert_eq(segment_quarantine_keep(log_fd, fd, &segment, 0, 13, name, sizeof name, &error),
                 OK);
    for (int i = 0; i < 2; i++) {
        struct broken_plan plan = {
            .call = calls[i], .number = 1, .for_ever = true, .reason = i ? EIO : EMFILE};
        broken_calls_begin(&plan);
        cr_assert_neq(
            segment_quarantine_find(log_fd, "a.seg", 0, &found, name, sizeof name, &error), OK);
        cr_assert_gt(broken_calls_end(), 0);
    }
    cr_assert_eq(segment_quarantine_find(log_fd, "a.seg", 0, &found, name, sizeof name, &error),
                 OK);
    cr_assert(found);
    close(fd);
    file_close(&log_fd);
}

Test(quarantine, a_copy_of_a_name_without_an_ending_gets_its_number_behind)
{
    char name[64];
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("stranger"));
    int fd = open_victim(&log_fd);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "stranger", name, sizeof name, &error),
                 OK);
    cr_assert_str_eq(name, "stranger");
    cr_assert_eq(pwrite(fd, "other", 5, 0), 5);
    cr_assert_eq(segment_quarantine_keep_file(log_fd, fd, "stranger", name, sizeof name, &error),
                 OK);
    cr_assert_str_eq(name, "stranger-1");
    close(fd);
    file_close(&log_fd);
}

Test(quarantine, bytes_of_a_tail_find_no_name_for_ever)
{
    char name[64], path[700];
    int log_fd = -1;
    snprintf(victim, sizeof victim, "%s", scratch_path("a.seg"));
    int fd = open_segment(&log_fd);
    snprintf(path, sizeof path, "%s", scratch_path("quarantine"));
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(segment_quarantine_keep(log_fd, fd, &segment, 0, 13, name, sizeof name, &error),
                     OK, "%d: %s", i, error.text);
    cr_assert_eq(segment_quarantine_keep(log_fd, fd, &segment, 0, 13, name, sizeof name, &error),
                 ERROR_EXISTS);
    cr_assert_not_null(strstr(error.text, "keep damaged bytes of segment a.seg"), "%s", error.text);
    close(fd);
    file_close(&log_fd);
}
