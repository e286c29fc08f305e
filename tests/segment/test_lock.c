#include "segment/lock.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errno.h>

#include "tests/support/scratch.h"
#include "core/file_calls.h"
#include "core/file.h"
#include "segment/watermark.h"

static int log_fd = -1;
static struct error error;

static void setup(void)
{
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK, "%s",
                 error.text);
}

static void teardown(void)
{
    file_close(&log_fd);
}

TestSuite(lock, .init = setup, .fini = teardown);

static int take(enum segment_lock_role role)
{
    int fd = -1;
    cr_assert_eq(segment_lock_take(log_fd, role, &fd, &error), OK, "%s", error.text);
    return fd;
}

static bool is_held(enum segment_lock_role role)
{
    bool held = false;
    cr_assert_eq(segment_lock_is_held(log_fd, role, &held, &error), OK, "%s", error.text);
    return held;
}

Test(lock, is_free_before_anybody_came)
{
    cr_assert_not(is_held(LOCK_WRITER));
}

Test(lock, admits_one_writer_and_tells_the_second_what_to_do)
{
    int first = take(LOCK_WRITER), second = -1;
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &second, &error), ERROR_BUSY);
    cr_assert_eq(second, -1);
    cr_assert_str_eq(error.text, "another process writes to this log; publish through its socket, "
                                 "or stop it first");
    cr_assert(is_held(LOCK_WRITER));
    file_close(&first);
    cr_assert_not(is_held(LOCK_WRITER));
    second = take(LOCK_WRITER);
    file_close(&second);
}

Test(lock, keeps_the_roles_apart)
{
    int writer = take(LOCK_WRITER);
    cr_assert_not(is_held(LOCK_RETENTION));
    int retention = take(LOCK_RETENTION), indexer = take(LOCK_INDEXER);
    file_close(&writer);
    cr_assert_not(is_held(LOCK_WRITER));
    cr_assert(is_held(LOCK_RETENTION));
    cr_assert(is_held(LOCK_INDEXER));
    file_close(&retention);
    file_close(&indexer);
}

/* POSIX locks are lost by this (fcntl(2)); it happens whenever a library opens the file too. */
Test(lock, survives_an_unrelated_close_in_the_same_process)
{
    int writer = take(LOCK_WRITER);
    int other = openat(log_fd, "LOCK", O_RDWR | O_CLOEXEC);
    cr_assert_geq(other, 0);
    close(other);
    cr_assert(is_held(LOCK_WRITER));
    file_close(&writer);
}

Test(lock, dies_with_the_process_that_held_it)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = scratch_fork();
    if (pid == 0) {
        take(LOCK_WRITER);
        if (write(ready[1], "!", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert(is_held(LOCK_WRITER));
    int fd = -1;
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &fd, &error), ERROR_BUSY);
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_not(is_held(LOCK_WRITER));
    fd = take(LOCK_WRITER);
    file_close(&fd);
}

/* A child that holds the lock, or only the byte in its file. */
static pid_t start_holder(bool whole)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = scratch_fork();
    if (pid == 0) {
        int fd = -1;
        enum error_code code = OK;
        if (whole)
            take(LOCK_WRITER);
        else
            code = file_open(log_fd, "LOCK", FILE_WRITE, &fd, NULL) ||
                   file_lock(fd, "LOCK", LOCK_WRITER, NULL);
        if (code || write(ready[1], "!", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

/* The page is of a writer with another number: in another namespace, or before that one's time. */
static void let_the_page_name_this_process(void)
{
    const uint8_t log_id[FORMAT_LOG_ID_BYTES] = {1};
    struct segment_watermark *page = NULL;
    cr_assert_eq(segment_watermark_create(log_fd, log_id, 1, &page, &error), OK, "%s", error.text);
    segment_watermark_publish(page, 0);
    segment_watermark_close(page);
}

static void expect_busy(const char *text)
{
    int own_fd = -1, fd = -1;
    char wanted[200];
    cr_assert_eq(file_open_directory(scratch_directory(), false, &own_fd, &error), OK);
    cr_assert_eq(segment_lock_take(own_fd, LOCK_WRITER, &fd, &error), ERROR_BUSY);
    snprintf(wanted, sizeof wanted, "%s; publish through its socket, or stop it first", text);
    cr_assert_str_eq(error.text, wanted);
    cr_assert_eq(segment_lock_check_writer(own_fd, &error), ERROR_BUSY);
    cr_assert_str_eq(error.text, text);
    file_close(&own_fd);
}

static void end_holder(pid_t pid)
{
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(lock, names_the_process_that_holds_it)
{
    char program[32] = "", text[160];
    let_the_page_name_this_process();
    pid_t pid = start_holder(true);
    FILE *file = fopen("/proc/self/comm", "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(program, sizeof program, file));
    fclose(file);
    program[strcspn(program, "\n")] = '\0';
    snprintf(text, sizeof text, "another process (%s, pid %d) writes to this log", program, pid);
    expect_busy(text);
    cr_assert_eq(unlinkat(log_fd, "LOCK", 0), 0);
    expect_busy(text);
    end_holder(pid);
}

/* As far as the kernel's list shows: not who is in a namespace that is not ours. */
Test(lock, names_no_process_that_may_be_another)
{
    int fd = take(LOCK_WRITER);
    file_close(&fd);
    let_the_page_name_this_process();
    pid_t pid = start_holder(false);
    expect_busy("another process writes to this log");
    end_holder(pid);
}

Test(lock, is_not_taken_on_a_file_that_was_replaced_meanwhile)
{
    int old = take(LOCK_WRITER), second = -1;
    cr_assert_eq(renameat(log_fd, "LOCK", log_fd, "LOCK.old"), 0);
    /* Nobody can find the old file any more: the name is what counts for all who come now. */
    second = take(LOCK_WRITER);
    cr_assert(is_held(LOCK_WRITER));
    file_close(&old);
    cr_assert(is_held(LOCK_WRITER));
    file_close(&second);
}

Test(lock, lets_no_second_writer_in_when_its_file_is_deleted_or_replaced)
{
    int first = take(LOCK_WRITER), second = -1, other_fd = -1;
    cr_assert_eq(file_open_directory(scratch_directory(), false, &other_fd, &error), OK);
    cr_assert_eq(unlinkat(log_fd, "LOCK", 0), 0);
    for (int i = 0; i < 2; i++) { /* the first try has made a new file */
        cr_assert_eq(segment_lock_take(other_fd, LOCK_WRITER, &second, &error), ERROR_BUSY);
        cr_assert_not_null(strstr(error.text, "another process writes"), "%s", error.text);
    }
    int retention = take(LOCK_RETENTION);
    file_close(&retention);
    file_close(&first);
    file_close(&log_fd);
    cr_assert_eq(segment_lock_take(other_fd, LOCK_WRITER, &second, &error), OK, "%s", error.text);
    file_close(&second);
    file_close(&other_fd);
}

Test(lock, follows_no_symbolic_link)
{
    int fd = -1;
    cr_assert_eq(symlinkat("elsewhere", log_fd, "LOCK"), 0);
    cr_assert_neq(segment_lock_take(log_fd, LOCK_WRITER, &fd, &error), OK);
    cr_assert_eq(faccessat(log_fd, "elsewhere", F_OK, 0), -1);
}

/* Gone whenever it is opened, there whenever it is made. */
static int open_never_meeting(int directory_fd, const char *name, int flags, mode_t mode)
{
    if (strcmp(name, "LOCK") != 0)
        return file_calls_kernel.open(directory_fd, name, flags, mode);
    errno = flags & O_CREAT ? EEXIST : ENOENT;
    return -1;
}

Test(lock, that_comes_and_goes_for_ever_is_given_up)
{
    static struct file_calls calls;
    int fd = -1;
    calls = file_calls_kernel;
    calls.open = open_never_meeting;
    file_calls_use(&calls);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_WRITER, &fd, &error), ERROR_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "'LOCK'"), "%s", error.text);
    cr_assert_eq(fd, -1);
    file_calls_use(NULL);
}
