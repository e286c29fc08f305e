/*
 * power_cut - the disks of power_cut.py: one that records, two for what is left of it after a cut.
 *
 *     power_cut MOUNTPOINT POSITIONS BYTES
 *
 * Mounts them as files at MOUNTPOINT, of so many bytes each, and keeps their positions as u64 in
 * the file POSITIONS, for others to map. Then takes commands from its standard input, a line each,
 * and answers each with a line of numbers, until the input ends:
 *
 *     restart DISK                     forget how the disk came to be what it is
 *     slow DISK MICROSECONDS           from now on a flush takes up to so long
 *     count DISK                       -> position, flushes
 *     flushes DISK                     -> the positions of all flushes
 *     find DISK MAGIC                  -> the positions of units that begin with these 8 bytes
 *     cut FROM INTO POSITION SEED KEEP -> flushed, loose, kept, name (power_disk.h)
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/campaigns/power_fuse.h"

enum { EXIT_USAGE = 2, LINE = 256 };

struct program {
    _Atomic uint64_t *positions;
    struct power_disk *disks[POWER_FUSE_DISKS];
    struct power_fuse *fuse;
    char line[LINE];
    size_t line_size;
};

static enum error_code map_positions(struct program *program, const char *path, struct error *error)
{
    size_t size = POWER_FUSE_DISKS * sizeof *program->positions;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        return error_set_errno(error, errno, "make '%s'", path);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return error_set_errno(error, errno, "map '%s'", path);
    program->positions = map;
    return OK;
}

static struct power_disk *disk_named(const struct program *program, unsigned number)
{
    return number < POWER_FUSE_DISKS ? program->disks[number] : NULL;
}

static bool command_restart(const struct program *program, const char *arguments)
{
    unsigned number;
    if (sscanf(arguments, "%u", &number) != 1 || !disk_named(program, number))
        return false;
    power_disk_restart(disk_named(program, number));
    printf("ok\n");
    return true;
}

static bool command_slow(const struct program *program, const char *arguments)
{
    unsigned number, flush_us_max;
    if (sscanf(arguments, "%u %u", &number, &flush_us_max) != 2 || !disk_named(program, number))
        return false;
    power_fuse_slow(program->fuse, number, flush_us_max);
    printf("ok\n");
    return true;
}

static bool command_count(const struct program *program, const char *arguments)
{
    unsigned number;
    if (sscanf(arguments, "%u", &number) != 1 || !disk_named(program, number))
        return false;
    printf("ok %" PRIu64 " %" PRIu64 "\n", atomic_load(&program->positions[number]),
           power_disk_flushes(disk_named(program, number)));
    return true;
}

static bool command_flushes(const struct program *program, const char *arguments)
{
    unsigned number;
    if (sscanf(arguments, "%u", &number) != 1 || !disk_named(program, number))
        return false;
    uint64_t at = 0;
    printf("ok");
    while ((at = power_disk_find_flush(disk_named(program, number), at)) != UINT64_MAX)
        printf(" %" PRIu64, at++);
    printf("\n");
    return true;
}

static bool command_find(const struct program *program, const char *arguments)
{
    unsigned number;
    int taken = 0;
    if (sscanf(arguments, "%u %n", &number, &taken) != 1 || !disk_named(program, number) ||
        strlen(arguments + taken) != 8)
        return false;
    const struct power_disk *disk = disk_named(program, number);
    uint64_t at = 0;
    printf("ok");
    while ((at = power_disk_find(disk, at, arguments + taken)) != UINT64_MAX)
        printf(" %" PRIu64, at++);
    printf("\n");
    return true;
}

static bool command_cut(const struct program *program, const char *arguments)
{
    unsigned from, into, keep;
    struct power_disk_cut cut;
    struct power_disk_cut_result result;
    if (sscanf(arguments, "%u %u %" SCNu64 " %" SCNu64 " %u", &from, &into, &cut.position,
               &cut.seed, &keep) != 5)
        return false;
    if (!disk_named(program, from) || !disk_named(program, into) || from == into ||
        keep >= POWER_DISK_KEEP_KINDS)
        return false;
    cut.keep = (enum power_disk_keep)keep;
    power_disk_cut(disk_named(program, from), &cut, disk_named(program, into), &result);
    printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", result.flushed, result.loose,
           result.kept, result.name);
    return true;
}

static const struct command {
    const char *name;
    bool (*run)(const struct program *program, const char *arguments);
} commands[] = {
    {"restart ", command_restart}, {"slow ", command_slow}, {"count ", command_count},
    {"flushes ", command_flushes}, {"find ", command_find}, {"cut ", command_cut},
};

static void run_command(const struct program *program, const char *line)
{
    bool done = false;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strncmp(line, commands[i].name, strlen(commands[i].name)) == 0)
            done = commands[i].run(program, line + strlen(commands[i].name));
    if (!done)
        printf("error: '%s' is not a command\n", line);
    fflush(stdout);
}

/* ERROR_CLOSED: who gave the commands is gone. */
static enum error_code take_commands(struct program *program, struct error *error)
{
    ssize_t size =
        read(STDIN_FILENO, program->line + program->line_size, LINE - program->line_size);
    if (size <= 0)
        return error_set(error, ERROR_CLOSED, "the input has ended");
    program->line_size += (size_t)size;
    char *end;
    while ((end = memchr(program->line, '\n', program->line_size))) {
        *end++ = 0;
        run_command(program, program->line);
        program->line_size -= (size_t)(end - program->line);
        memmove(program->line, end, program->line_size);
    }
    return program->line_size < LINE ? OK : error_set(error, ERROR_INVALID, "a line is too long");
}

static enum error_code serve(struct program *program, struct error *error)
{
    struct pollfd polled[] = {{.fd = power_fuse_fd(program->fuse), .events = POLLIN},
                              {.fd = STDIN_FILENO, .events = POLLIN}};
    enum error_code code = OK;
    while (!code) {
        int64_t wait_ns = power_fuse_wait_ns(program->fuse);
        struct timespec wait = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
        if (ppoll(polled, 2, wait_ns < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR)
            return error_set_errno(error, errno, "poll");
        if (polled[0].revents || wait_ns >= 0)
            code = power_fuse_serve(program->fuse, error);
        if (!code && polled[1].revents)
            code = take_commands(program, error);
    }
    return code == ERROR_CLOSED ? OK : code;
}

static enum error_code run(struct program *program, char **arguments, struct error *error)
{
    uint64_t size = strtoull(arguments[2], NULL, 10);
    if (size == 0 || size % POWER_DISK_BLOCK)
        return error_set(error, ERROR_INVALID, "'%s' is no multiple of %d bytes", arguments[2],
                         POWER_DISK_BLOCK);
    enum error_code code = map_positions(program, arguments[1], error);
    if (code)
        return code;
    for (size_t i = 0; i < POWER_FUSE_DISKS; i++)
        program->disks[i] = power_disk_create(size, &program->positions[i]);
    code = power_fuse_mount(arguments[0], program->disks, &program->fuse, error);
    if (!code) {
        printf("ok\n");
        fflush(stdout);
        code = serve(program, error);
    }
    power_fuse_unmount(program->fuse);
    for (size_t i = 0; i < POWER_FUSE_DISKS; i++)
        power_disk_free(program->disks[i]);
    return code;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct error error;
    if (argc != 4) {
        fprintf(stderr, "usage: power_cut MOUNTPOINT POSITIONS BYTES\n"
                        "These are the disks of tests/campaigns/power_cut.py, which runs them.\n");
        return EXIT_USAGE;
    }
    if (run(&program, argv + 1, &error)) {
        fprintf(stderr, "power_cut: %s\n", error.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
