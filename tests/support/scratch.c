#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATHS = 8, PATH_BYTES = 512 };

static char directory[PATH_BYTES];
static pid_t owner;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

bool scratch_is_child(void)
{
    return owner != 0 && getpid() != owner;
}

pid_t scratch_fork(void)
{
    pid_t parent = getpid();
    scratch_directory();
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child > 0)
        return child;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(1);
    return 0;
}

static void remove_directory(void)
{
    if (!scratch_is_child())
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_directory(void)
{
    if (directory[0])
        return directory;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/daybook-test-XXXXXX",
             base && *base ? base : "/var/tmp");
    cr_assert_not_null(mkdtemp(directory), "cannot make %s", directory);
    owner = getpid();
    atexit(remove_directory);
    return directory;
}

const char *scratch_path(const char *format, ...)
{
    static _Thread_local char paths[PATHS][PATH_BYTES];
    static _Thread_local unsigned next;
    char *path = paths[next++ % PATHS];
    int used = snprintf(path, PATH_BYTES, "%s/", scratch_directory());
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(path + used, PATH_BYTES - (size_t)used, format, arguments);
    va_end(arguments);
    return path;
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0, "cannot open %s", path);
    return fd;
}

void scratch_flip(const char *path, uint64_t offset, uint8_t mask)
{
    int fd = open_file(path);
    uint8_t byte;

    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= mask;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

void scratch_fill(const char *path, uint64_t offset, size_t size, uint8_t value)
{
    int fd = open_file(path);
    uint8_t *bytes = malloc(size ? size : 1);

    memset(bytes, value, size);
    cr_assert_eq(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
    free(bytes);
    close(fd);
}

void scratch_read(const char *path, uint64_t offset, void *to, size_t size)
{
    int fd = open_file(path);
    cr_assert_eq(pread(fd, to, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

void scratch_write(const char *path, uint64_t offset, const void *bytes, size_t size)
{
    int fd = open_file(path);
    cr_assert_eq(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

void scratch_cut(const char *path, uint64_t size)
{
    cr_assert_eq(truncate(path, (off_t)size), 0, "cannot cut %s", path);
}

void scratch_delete(const char *path)
{
    cr_assert_eq(unlink(path), 0, "cannot delete %s", path);
}

uint64_t scratch_size(const char *path)
{
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "cannot stat %s", path);
    return (uint64_t)status.st_size;
}

void scratch_copy(const char *from, const char *to)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        execlp("cp", "cp", "-a", "--", from, to, (char *)NULL);
        _exit(127);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "cp %s %s", from, to);
}
