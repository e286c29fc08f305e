#include "core/file.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/bytes.h"

/* A directory of its own for each test, which runs in a process of its own. */
static char path[256];
static int directory = -1;

static void make_directory(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/daybook-file-XXXXXX", base && *base ? base : "/var/tmp");
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(file_open_directory(path, false, &directory, NULL), OK);
}

static void remove_directory(void)
{
    file_close(&directory);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
}

TestSuite(file, .init = make_directory, .fini = remove_directory);

static void make_file(const char *name, const char *content)
{
    int fd = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY, 0640);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
}

static void expect_content(const char *name, const char *content)
{
    struct buffer buffer = {0};
    cr_assert_eq(file_load(directory, name, 1000, &buffer, NULL), OK);
    cr_assert_eq(buffer.size, strlen(content));
    cr_assert_arr_eq(buffer.data, content, strlen(content));
    buffer_release(&buffer);
}

static bool exists(const char *name)
{
    return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static unsigned count_entries(void)
{
    DIR *entries = opendir(path);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(entries));)
        count += entry->d_name[0] != '.';
    closedir(entries);
    return count;
}

static void expect_open_refused(const char *name, enum file_mode mode, enum error_code code,
                                const char *text)
{
    struct error error = {0};
    int fd = -1;
    cr_assert_eq(file_open(directory, name, mode, &fd, &error), code, "%s", error.text);
    cr_assert_str_eq(error.text, text);
    cr_assert_eq(fd, -1);
}

Test(file, is_created_once_and_readable_by_the_group_only)
{
    umask(0);
    int fd = -1;
    cr_assert_eq(file_open(directory, "a", FILE_CREATE, &fd, NULL), OK);
    struct stat status;
    fstat(fd, &status);
    cr_assert_eq(status.st_mode & 07777, 0640);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    file_close(&fd);
    cr_assert_eq(fd, -1);
    file_close(&fd);
    expect_open_refused("a", FILE_CREATE, ERROR_EXISTS, "cannot create 'a': File exists");
}

Test(file, is_opened_only_if_it_is_a_plain_file_of_ours)
{
    make_file("target", "x");
    cr_assert_eq(symlinkat("target", directory, "link"), 0);
    cr_assert_eq(mkfifoat(directory, "fifo", 0600), 0);
    cr_assert_eq(mkdirat(directory, "folder", 0700), 0);
    expect_open_refused("missing", FILE_READ, ERROR_NOT_FOUND,
                        "cannot open 'missing': No such file or directory");
    for (enum file_mode mode = FILE_READ; mode <= FILE_WRITE; mode++) {
        expect_open_refused("link", mode, ERROR_FOREIGN,
                            "'link' is a symbolic link, which is not followed");
        expect_open_refused("fifo", mode, ERROR_FOREIGN, "'fifo' is not a regular file");
        expect_open_refused("folder", mode, ERROR_FOREIGN, "'folder' is not a regular file");
    }
    cr_assert_eq(symlinkat("nowhere", directory, "dangling"), 0);
    expect_open_refused("dangling", FILE_CREATE, ERROR_EXISTS,
                        "cannot create 'dangling': File exists");
}

Test(file, with_a_second_name_is_read_but_not_written)
{
    make_file("a", "x");
    cr_assert_eq(linkat(directory, "a", directory, "b", 0), 0);
    expect_open_refused("a", FILE_WRITE, ERROR_FOREIGN,
                        "'a' has 2 names (hard links), so that others could see it change; give "
                        "it a copy of its own");
    int fd = -1;
    cr_assert_eq(file_open(directory, "a", FILE_READ, &fd, NULL), OK);
    file_close(&fd);
}

/* In a child, because a process that has changed its user is watched less by sanitizers. */
static int open_as_somebody_else(struct error *error)
{
    int fd = -1;
    if (seteuid(65534))
        return -1;
    return (int)file_open(directory, "a", FILE_WRITE, &fd, error);
}

Test(file, of_somebody_else_is_not_written)
{
    if (geteuid() != 0)
        return; /* Only root can play two users. */
    make_file("a", "x");
    cr_assert_eq(fchmodat(directory, "a", 0666, 0) | fchmod(directory, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        struct error error = {0};
        int code = open_as_somebody_else(&error);
        static const char EXPECTED[] = "'a' belongs to user 0 and we are user 65534";
        _exit(code == ERROR_FOREIGN && strcmp(error.text, EXPECTED) == 0 ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}

Test(file, is_written_and_read_at_any_offset)
{
    int fd = -1;
    uint64_t size = 0;
    char data[4] = {0};
    cr_assert_eq(file_open(directory, "a", FILE_CREATE, &fd, NULL), OK);
    cr_assert_eq(file_write(fd, "a", "abcd", 4, 10000, NULL), OK);
    cr_assert_eq(file_sync_data(fd, "a", NULL), OK);
    cr_assert_eq(file_size(fd, "a", &size, NULL), OK);
    cr_assert_eq(size, 10004);
    cr_assert_eq(file_read(fd, "a", data, 4, 10000, NULL), OK);
    cr_assert_arr_eq(data, "abcd", 4);

    struct error error = {0};
    cr_assert_eq(file_read(fd, "a", data, 4, 10001, &error), ERROR_DAMAGED);
    cr_assert_str_eq(error.text, "'a' ends at byte 10004, 1 bytes too early");
    cr_assert_eq(file_read(fd, "a", data, 4, UINT64_MAX, &error), ERROR_INVALID);
    cr_assert_eq(file_write(fd, "a", data, 4, INT64_MAX - 1, &error), ERROR_INVALID);
    file_close(&fd);
}

Test(file, that_cannot_be_written_says_so)
{
    make_file("a", "x");
    int fd = -1;
    struct error error = {0};
    cr_assert_eq(file_open(directory, "a", FILE_READ, &fd, NULL), OK);
    cr_assert_eq(file_write(fd, "a", "y", 1, 0, &error), ERROR_IO);
    cr_assert_str_eq(error.text, "cannot write 'a' at byte 0: Bad file descriptor");
    file_close(&fd);
    cr_assert_eq(file_sync_data(fd, "a", &error), ERROR_IO);
    cr_assert_str_eq(error.text, "cannot sync 'a': Bad file descriptor");
}

Test(file, is_renamed_and_deleted)
{
    struct error error = {0};
    make_file("a", "new");
    make_file("b", "old");
    cr_assert_eq(file_rename(directory, "a", "b", NULL), OK);
    expect_content("b", "new");
    cr_assert_eq(file_rename(directory, "a", "b", &error), ERROR_NOT_FOUND);
    cr_assert_eq(file_unlink(directory, "b", NULL), OK);
    cr_assert_eq(file_unlink(directory, "b", &error), ERROR_NOT_FOUND);
    cr_assert_str_eq(error.text, "cannot delete 'b': No such file or directory");
}

/* Let no file grow beyond `size`; the kernel then answers as on a full disk of that size. */
static void limit_file_size(rlim_t size)
{
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){size, size}), 0);
}

Test(file, is_created_full_of_zeros_that_are_allocated)
{
    enum { SIZE = 3 * 1048576 + 12345 };
    int fd = -1;
    struct error error = {0};
    cr_assert_eq(file_create_zeroed(directory, "a", SIZE, &fd, &error), OK, "%s", error.text);
    struct stat status;
    fstat(fd, &status);
    cr_assert_eq(status.st_size, SIZE);
    cr_assert_geq(status.st_blocks * 512, SIZE);
    uint8_t *data = malloc(SIZE);
    memset(data, 1, SIZE);
    cr_assert_eq(file_read(fd, "a", data, SIZE, 0, NULL), OK);
    cr_assert(bytes_are_zero(data, SIZE));
    free(data);
    file_close(&fd);
    cr_assert_eq(file_create_zeroed(directory, "a", SIZE, &fd, NULL), ERROR_EXISTS);
    cr_assert(exists("a"));
}

Test(file, that_finds_no_space_is_removed_again)
{
    limit_file_size(1048576);
    int fd = -1;
    struct error error = {0};
    cr_assert_eq(file_create_zeroed(directory, "a", 1048577, &fd, &error), ERROR_NO_SPACE);
    cr_assert_str_eq(error.text, "cannot allocate 1048577 bytes for 'a': File too large");
    cr_assert_eq(fd, -1);
    cr_assert_not(exists("a"));
    cr_assert_eq(file_create_zeroed(directory, "a", 1048576, &fd, &error), OK);
    file_close(&fd);
}

Test(file, range_is_overwritten_with_zeros)
{
    make_file("a", "abcdefgh");
    int fd = -1;
    cr_assert_eq(file_open(directory, "a", FILE_WRITE, &fd, NULL), OK);
    cr_assert_eq(file_zero(fd, "a", 2, 3, NULL), OK);
    char data[8];
    cr_assert_eq(file_read(fd, "a", data, 8, 0, NULL), OK);
    cr_assert_arr_eq(data, "ab\0\0\0fgh", 8);
    file_close(&fd);
}

Test(file, is_replaced_whole)
{
    cr_assert_eq(file_replace(directory, "a", "first", 5, NULL), OK);
    expect_content("a", "first");
    make_file("a.tmp", "left by a crash");
    cr_assert_eq(file_replace(directory, "a", "2", 1, NULL), OK);
    expect_content("a", "2");
    cr_assert_eq(count_entries(), 1);
}

Test(file, that_cannot_be_replaced_stays_as_it_was)
{
    cr_assert_eq(file_replace(directory, "a", "old", 3, NULL), OK);
    limit_file_size(1000);
    static const char LARGE[1001];
    struct error error = {0};
    cr_assert_eq(file_replace(directory, "a", LARGE, sizeof LARGE, &error), ERROR_NO_SPACE);
    expect_content("a", "old");
    cr_assert_eq(count_entries(), 1);
}

Test(file, is_loaded_behind_what_the_buffer_has_up_to_a_size)
{
    make_file("a", "12345");
    struct buffer buffer = {0};
    struct error error = {0};
    buffer_append(&buffer, "x", 1, NULL);
    cr_assert_eq(file_load(directory, "a", 5, &buffer, NULL), OK);
    cr_assert_arr_eq(buffer.data, "x12345", 6);
    cr_assert_eq(file_load(directory, "a", 4, &buffer, &error), ERROR_DAMAGED);
    cr_assert_str_eq(error.text, "'a' has 5 bytes, more than 4");
    cr_assert_eq(buffer.size, 6);
    make_file("empty", "");
    cr_assert_eq(file_load(directory, "empty", 4, &buffer, NULL), OK);
    cr_assert_eq(buffer.size, 6);
    buffer_release(&buffer);
}

static int open_to_write(const char *name)
{
    int fd = -1;
    cr_assert_eq(file_open(directory, name, FILE_WRITE, &fd, NULL), OK);
    return fd;
}

static bool is_locked(int fd, uint64_t byte)
{
    bool locked = false;
    cr_assert_eq(file_is_locked(fd, "a", byte, &locked, NULL), OK);
    return locked;
}

Test(file, lock_belongs_to_one_descriptor_and_one_byte)
{
    make_file("a", "");
    int holder = open_to_write("a"), other = open_to_write("a");
    struct error error = {0};
    cr_assert_eq(file_lock(holder, "a", 5, NULL), OK);
    cr_assert_eq(file_lock(holder, "a", 5, NULL), OK);
    cr_assert_not(is_locked(holder, 5));
    cr_assert(is_locked(other, 5));
    cr_assert_not(is_locked(other, 4));
    cr_assert_not(is_locked(other, 6));
    cr_assert_eq(file_lock(other, "a", 5, &error), ERROR_BUSY);
    cr_assert_str_eq(error.text, "'a' is locked by another process");
    cr_assert_eq(file_lock(other, "a", 6, NULL), OK);
    file_close(&holder);
    cr_assert_eq(file_lock(other, "a", 5, NULL), OK);
    file_close(&other);
}

/* POSIX's own locks are lost when anybody in the process closes the file. */
Test(file, lock_survives_that_somebody_else_closes_the_file)
{
    make_file("a", "");
    int holder = open_to_write("a");
    cr_assert_eq(file_lock(holder, "a", 0, NULL), OK);
    int stranger = open_to_write("a");
    file_close(&stranger);
    stranger = open_to_write("a");
    cr_assert(is_locked(stranger, 0));
    file_close(&holder);
    cr_assert_not(is_locked(stranger, 0));
    file_close(&stranger);
}

Test(file, lock_is_seen_by_a_reader_and_ends_with_its_process)
{
    make_file("a", "");
    int ready[2], done[2];
    char byte = 0;
    cr_assert_eq(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = -1;
        close(done[1]);
        bool locked = file_open(directory, "a", FILE_WRITE, &fd, NULL) == OK &&
                      file_lock(fd, "a", 3, NULL) == OK;
        if (!locked || write(ready[1], "x", 1) != 1 || read(done[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    close(done[0]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    int reader = -1;
    cr_assert_eq(file_open(directory, "a", FILE_READ, &reader, NULL), OK);
    cr_assert(is_locked(reader, 3));
    close(done[1]);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_not(is_locked(reader, 3));
    file_close(&reader);
}

Test(file, never_gets_the_number_of_a_standard_stream)
{
    /* In a child, because the test's own report needs its streams. */
    pid_t child = fork();
    if (child == 0) {
        close(0);
        close(1);
        close(2);
        bool guarded = file_guard_standard_streams(NULL) == OK;
        int fd = -1;
        bool opened = file_open(directory, "a", FILE_CREATE, &fd, NULL) == OK;
        _exit(guarded && opened && fd > 2 && write(1, "x", 1) == 1 ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
}
