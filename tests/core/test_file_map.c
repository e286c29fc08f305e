#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"

enum { PAGES = 4 };

static char path[256];
static int directory = -1;
static size_t page;

/* The file "a" has PAGES pages, each filled with its own letter. */
static void make_file(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/daybook-map-XXXXXX", base && *base ? base : "/var/tmp");
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(file_open_directory(path, false, &directory, NULL), OK);
    page = (size_t)sysconf(_SC_PAGESIZE);
    char *content = malloc(page);
    int fd = -1;
    cr_assert_eq(file_open(directory, "a", FILE_CREATE, &fd, NULL), OK);
    for (size_t i = 0; i < PAGES; i++) {
        memset(content, (int)('a' + i), page);
        cr_assert_eq(file_write(fd, "a", content, page, i * page, NULL), OK);
    }
    file_close(&fd);
    free(content);
}

static void remove_directory(void)
{
    file_close(&directory);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
}

TestSuite(file_map, .init = make_file, .fini = remove_directory);

static struct file_map open_map(void)
{
    struct file_map map;
    struct error error = {0};
    cr_assert_eq(file_map_open(directory, "a", &map, &error), OK, "%s", error.text);
    return map;
}

static void cut_file(size_t size)
{
    int fd = openat(directory, "a", O_WRONLY);
    cr_assert_eq(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void expect_copies(struct file_map *map)
{
    char data[8];
    cr_assert_eq(file_map_copy(map, "a", page - 4, data, 8, NULL), OK);
    cr_assert_arr_eq(data, "aaaabbbb", 8);
    cr_assert_eq(file_map_copy(map, "a", PAGES * page - 8, data, 8, NULL), OK);
    cr_assert_arr_eq(data, "dddddddd", 8);
    cr_assert_eq(file_map_copy(map, "a", PAGES * page, data, 0, NULL), OK);
}

Test(file_map, is_copied_from)
{
    struct file_map map = open_map();
    cr_assert_eq(map.size, PAGES * page);
    expect_copies(&map);
    file_map_release_before(&map, 3 * page + 5);
    file_map_release_before(&map, UINT64_MAX);
    expect_copies(&map);
    cr_assert_eq(file_map_guard(NULL), OK);
    expect_copies(&map);
    file_map_close(&map);
    cr_assert(map.fd == -1 && !map.bytes);
}

static void expect_end(struct file_map *map, uint64_t offset, size_t size)
{
    char data[8];
    cr_assert_eq(file_map_copy(map, "a", offset, data, size, NULL), ERROR_DAMAGED);
}

Test(file_map, has_an_end)
{
    struct file_map map = open_map();
    expect_end(&map, PAGES * page - 7, 8);
    expect_end(&map, PAGES * page, 1);
    expect_end(&map, PAGES * page + 1, 0);
    expect_end(&map, UINT64_MAX, 8);
    file_map_close(&map);
}

Test(file_map, of_an_empty_file_has_nothing)
{
    cut_file(0);
    struct file_map map = open_map();
    cr_assert(!map.bytes && map.size == 0);
    expect_end(&map, 0, 1);
    file_map_release_before(&map, 10);
    file_map_close(&map);
}

Test(file_map, of_a_missing_file_is_an_error)
{
    struct file_map map = {.fd = -7};
    cr_assert_eq(file_map_open(directory, "b", &map, NULL), ERROR_NOT_FOUND);
    cr_assert_eq(map.fd, -7);
}

Test(file_map, of_a_file_cut_short_is_an_error_without_a_signal_handler)
{
    struct sigaction before, after;
    sigaction(SIGBUS, NULL, &before);
    struct file_map map = open_map();
    cut_file(page);
    char data[8];
    struct error error = {0};
    cr_assert_eq(file_map_copy(&map, "a", 2 * page, data, 8, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "too early"));
    sigaction(SIGBUS, NULL, &after);
    cr_assert_eq(after.sa_handler, before.sa_handler);
    file_map_close(&map);
}

Test(file_map, of_a_file_cut_short_is_an_error_with_the_guard_each_time)
{
    struct file_map map = open_map();
    cr_assert_eq(file_map_guard(NULL), OK);
    cut_file(page);
    char data[8];
    for (int i = 0; i < 10; i++) {
        struct error error = {0};
        cr_assert_eq(file_map_copy(&map, "a", 2 * page, data, 8, &error), ERROR_IO);
        cr_assert_not_null(strstr(error.text, "cannot read 'a'"));
        cr_assert_eq(file_map_copy(&map, "a", 0, data, 8, NULL), OK);
        cr_assert_arr_eq(data, "aaaaaaaa", 8);
    }
    file_map_close(&map);
}

struct copier {
    struct file_map *map;
    uint64_t offset;
    enum error_code expected;
    unsigned wrong;
};

static void *copy_often(void *argument)
{
    struct copier *copier = argument;
    char data[64];
    for (int i = 0; i < 2000; i++)
        copier->wrong += file_map_copy(copier->map, "a", copier->offset, data, sizeof data, NULL) !=
                         copier->expected;
    return NULL;
}

Test(file_map, guard_tells_threads_apart)
{
    struct file_map map = open_map();
    cr_assert_eq(file_map_guard(NULL), OK);
    cut_file(page);
    struct copier copiers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        copiers[i] = (struct copier){
            .map = &map, .offset = i % 2 ? 2 * page : 0, .expected = i % 2 ? ERROR_IO : OK};
        cr_assert_eq(pthread_create(&threads[i], NULL, copy_often, &copiers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(copiers[i].wrong, 0);
    }
    file_map_close(&map);
}

/* The process that such a fault of its own should kill. */
static void die_by_a_fault_of_our_own(void)
{
    struct file_map map = open_map();
    char data[8];
    signal(SIGBUS, SIG_DFL); /* sanitizers have their own */
    if (file_map_guard(NULL) || file_map_copy(&map, "a", 0, data, sizeof data, NULL))
        _exit(2);
    cut_file(0);
    _exit(*(const volatile char *)map.bytes);
}

Test(file_map, guard_lets_other_faults_kill)
{
    pid_t child = fork();
    if (child == 0)
        die_by_a_fault_of_our_own();
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGBUS);
}

Test(file_map, may_be_written_through_where_the_writer_asks_for_it)
{
    int fd = -1;
    uint8_t *bytes = NULL;
    cr_assert_eq(file_open(directory, "a", FILE_WRITE, &fd, NULL), OK);
    cr_assert_eq(file_map_shared(fd, "a", PAGES * page, true, &bytes, NULL), OK);
    memcpy(bytes + page, "hello", 5);
    char data[5];
    cr_assert_eq(file_read(fd, "a", data, 5, page, NULL), OK);
    cr_assert_arr_eq(data, "hello", 5);
    file_unmap_shared(bytes, PAGES * page);
    file_close(&fd);
    struct error error = {0};
    cr_assert_eq(file_map_shared(fd, "a", page, true, &bytes, &error), ERROR_IO);
    cr_assert_str_eq(error.text, "cannot map 'a' for writing: Bad file descriptor");
}
