#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"

/* Each test has a process and an empty directory of its own, in which it stands. */
static char base[256];

static void enter_directory(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(base, sizeof base, "%s/daybook-dir-XXXXXX", parent && *parent ? parent : "/var/tmp");
    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(chdir(base), 0);
    umask(022);
}

static void remove_directory(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(system(command), 0);
}

TestSuite(directory, .init = enter_directory, .fini = remove_directory);

static void expect_open(const char *path, bool create)
{
    int fd = -1;
    struct error error = {0};
    cr_assert_eq(file_open_directory(path, create, &fd, &error), OK, "%s: %s", path, error.text);
    struct stat opened, named;
    fstat(fd, &opened);
    cr_assert_eq(stat(path, &named), 0);
    cr_assert(opened.st_ino == named.st_ino && S_ISDIR(opened.st_mode));
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    file_close(&fd);
}

static void expect_refused(const char *path, bool create, enum error_code code, const char *text)
{
    int fd = -1;
    struct error error = {0};
    cr_assert_eq(file_open_directory(path, create, &fd, &error), code, "%s: %s", path, error.text);
    cr_assert_str_eq(error.text, text);
    cr_assert_eq(fd, -1);
}

Test(directory, is_created_when_asked_for)
{
    expect_refused("new", false, ERROR_NOT_FOUND,
                   "cannot open the directory 'new': No such file or directory");
    expect_open("new", true);
    struct stat status;
    cr_assert_eq(stat("new", &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0750);
    expect_open("new", true);
    expect_open("new/", false);
    expect_open("new/inner//", true);
    char absolute[300];
    snprintf(absolute, sizeof absolute, "%s/other", base);
    expect_open(absolute, true);
    expect_open(".", true);
}

Test(directory, is_not_created_without_its_parent)
{
    expect_refused("a/b", true, ERROR_NOT_FOUND,
                   "cannot create 'a/b': cannot open its parent 'a': No such file or directory");
    cr_assert_neq(access("a", F_OK), 0);
}

Test(directory, has_a_name)
{
    expect_refused("", true, ERROR_INVALID, "the directory's name is empty");
    char long_path[5000];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    expect_refused(long_path, true, ERROR_INVALID, "the directory's path is too long: 4999 bytes");
}

Test(directory, is_below_another)
{
    int parent = -1, child = -1;
    cr_assert_eq(file_open_directory("new", true, &parent, NULL), OK);
    cr_assert_eq(file_open_directory_at(parent, "segments", false, &child, NULL), ERROR_NOT_FOUND);
    cr_assert_eq(file_open_directory_at(parent, "segments", true, &child, NULL), OK);
    cr_assert_eq(access("new/segments", F_OK), 0);
    file_close(&child);
    cr_assert_eq(file_open_directory_to_read_at(parent, "segments", &child, NULL), OK);
    file_close(&child);
    file_close(&parent);
}

Test(directory, is_no_file_and_no_link)
{
    static const char *const PATHS[] = {"file", "link", "link/", "dangling"};
    close(open("file", O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(mkdir("real", 0700) | symlink("real", "link") | symlink("none", "dangling"), 0);
    for (size_t i = 0; i < sizeof PATHS / sizeof PATHS[0]; i++) {
        int fd = -1;
        cr_assert_eq(file_open_directory(PATHS[i], true, &fd, NULL), ERROR_FOREIGN, "%s", PATHS[i]);
        cr_assert_eq(file_open_directory_to_read(PATHS[i], &fd, NULL), ERROR_FOREIGN, "%s",
                     PATHS[i]);
    }
    expect_refused("link", false, ERROR_FOREIGN,
                   "'link' is a symbolic link, which is not followed: name the directory itself");
}

Test(directory, that_others_may_write_to_is_only_read)
{
    static const mode_t MODES[] = {0770, 0702, 0777};
    for (size_t i = 0; i < sizeof MODES / sizeof MODES[0]; i++) {
        cr_assert_eq(mkdir("open", 0700) | chmod("open", MODES[i]), 0);
        char text[200];
        snprintf(text, sizeof text,
                 "the directory 'open' can be written by others (mode %04o); forbid it with "
                 "chmod go-w 'open'",
                 (unsigned)MODES[i]);
        expect_refused("open", false, ERROR_FOREIGN, text);
        int fd = -1;
        cr_assert_eq(file_open_directory_to_read("open/", &fd, NULL), OK);
        file_close(&fd);
        cr_assert_eq(rmdir("open"), 0);
    }
}

/* In a child, because a process that has changed its user is watched less by sanitizers. */
static void play_somebody_else(void)
{
    static const char EXPECTED[] = "the directory 'theirs' belongs to user 0 and we are user "
                                   "65534; run as its owner or choose another directory";
    int fd = -1;
    struct error error = {0};
    if (seteuid(65534) || file_open_directory("theirs", false, &fd, &error) != ERROR_FOREIGN)
        _exit(1);
    if (strcmp(error.text, EXPECTED) != 0)
        _exit(2);
    _exit(file_open_directory_to_read("theirs", &fd, NULL) == OK ? 0 : 3);
}

Test(directory, of_somebody_else_is_only_read)
{
    if (geteuid() != 0)
        return; /* Only root can play two users. */
    cr_assert_eq(mkdir("theirs", 0755) | chmod(base, 0755), 0);
    pid_t child = fork();
    if (child == 0)
        play_somebody_else();
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(chown("theirs", 65534, 65534), 0);
    expect_open("theirs", false); /* root may */
}

Test(directory, on_a_local_disk_is_accepted)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(".", false, &fd, NULL), OK);
    cr_assert_eq(file_check_local(fd, ".", NULL), OK);
    file_close(&fd);
}
