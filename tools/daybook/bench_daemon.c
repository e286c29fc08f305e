#include "tools/daybook/bench_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "tools/daybook/bench_scratch.h"

static const char log_directory[] = "log";
static const char output_name[] = "daybookd.out";

#define POLL_NS        INT64_C(1000000)
#define START_LIMIT_NS INT64_C(20000000000)
#define STOP_LIMIT_NS  INT64_C(10000000000)
#define INDEX_LIMIT_NS INT64_C(120000000000)

struct bench_daemon {
    const struct bench *bench;
    pid_t pid;
    bool is_ours; /* the directory is: it goes with the daemon */
    char directory[PATH_MAX];
};

enum error_code bench_daemon_client_error(const struct daybook_error *from, struct error *error)
{
    enum error_code code = from->code == DAYBOOK_UNREACHABLE ? ERROR_CLOSED : ERROR_IO;
    return error_set(error, code, "%s", from->text);
}

/* Never returns. Whatever the daemon has to say goes into a file. */
static void become_daemon(const struct bench *bench, const char *directory)
{
    int output =
        openat(bench->directory_fd, output_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    if (output >= 0) {
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        execl(bench->daemon, "daybookd", "-D", directory, (char *)NULL);
        dprintf(STDERR_FILENO, "%s: %s\n", bench->daemon, strerror(errno));
    }
    _exit(127);
}

/* It has ended too early: say so with its own last words. */
static enum error_code report_early_end(struct bench_daemon *daemon, struct error *error)
{
    char text[400] = "";
    int fd = openat(daemon->bench->directory_fd, output_name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t size = read(fd, text, sizeof text - 1);
        text[size > 0 ? size : 0] = '\0';
        close(fd);
    }
    daemon->pid = 0;
    text[strcspn(text, "\n")] = '\0';
    return error_set(error, ERROR_CLOSED, "daybookd ended instead of serving: %s", text);
}

static enum error_code wait_until_welcome(struct bench_daemon *daemon, struct error *error)
{
    struct daybook *client = NULL;
    int64_t limit_ns = clock_monotonic_ns() + START_LIMIT_NS;
    for (;;) {
        enum error_code code = bench_check_interrupted(error);
        if (code)
            return code;
        if (waitpid(daemon->pid, NULL, WNOHANG) == daemon->pid)
            return report_early_end(daemon, error);
        code = bench_daemon_connect(daemon, NULL, &client, error);
        if (!code) {
            daybook_close(client);
            return OK;
        }
        if (clock_monotonic_ns() > limit_ns)
            return error_prefix(error, "daybookd does not answer after 20 s");
        clock_sleep_until_ns(clock_monotonic_ns() + POLL_NS);
    }
}

static enum error_code start(const struct bench *bench, const char *directory, bool is_ours,
                             struct bench_daemon **daemon_out, struct error *error)
{
    struct bench_daemon *daemon = calloc(1, sizeof *daemon);
    if (!daemon)
        return error_set(error, ERROR_MEMORY, "no memory for a daemon's handle");
    daemon->bench = bench;
    daemon->is_ours = is_ours;
    snprintf(daemon->directory, sizeof daemon->directory, "%s", directory);
    daemon->pid = fork();
    if (daemon->pid == 0)
        become_daemon(bench, daemon->directory);
    enum error_code code = OK;
    if (daemon->pid < 0) {
        daemon->pid = 0;
        code = error_set_errno(error, errno, "start daybookd");
    }
    if (!code)
        code = wait_until_welcome(daemon, error);
    if (code) {
        bench_daemon_stop(daemon, NULL);
        return code;
    }
    *daemon_out = daemon;
    return OK;
}

enum error_code bench_daemon_start(const struct bench *bench, struct bench_daemon **daemon_out,
                                   struct error *error)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s/%s", bench->directory, log_directory);
    return start(bench, directory, true, daemon_out, error);
}

enum error_code bench_daemon_start_on(const struct bench *bench, const char *directory,
                                      struct bench_daemon **daemon_out, struct error *error)
{
    return start(bench, directory, false, daemon_out, error);
}

void bench_daemon_socket(const struct bench_daemon *daemon, char path_out[BENCH_SOCKET_SIZE])
{
    snprintf(path_out, BENCH_SOCKET_SIZE, "%s/daybook.sock", daemon->directory);
}

enum error_code bench_daemon_connect(const struct bench_daemon *daemon, const char *producer,
                                     struct daybook **client_out, struct error *error)
{
    return bench_daemon_connect_with(daemon, (struct daybook_options){.producer = producer},
                                     client_out, error);
}

enum error_code bench_daemon_connect_with(const struct bench_daemon *daemon,
                                          struct daybook_options options,
                                          struct daybook **client_out, struct error *error)
{
    char socket[BENCH_SOCKET_SIZE];
    struct daybook_error client_error;
    bench_daemon_socket(daemon, socket);
    options.socket = socket;
    options.client = "daybook-bench";
    if (daybook_connect(&options, client_out, &client_error))
        return bench_daemon_client_error(&client_error, error);
    return OK;
}

struct daybook_event bench_daemon_event(const struct bench *bench, uint64_t index, int64_t time_ns)
{
    const struct bench_pool_event *event = bench_pool_event(bench->pool, index);
    return (struct daybook_event){
        .time_ns = time_ns,
        .topic = event->topic,
        .topic_bytes = event->topic_bytes,
        .payload = event->msgpack,
        .payload_bytes = event->msgpack_bytes,
    };
}

/* The highest sequence in the index; 0 while it is busy, empty or not made yet. */
static uint64_t indexed_sequence(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    uint64_t sequence = 0;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
        /* Checkpoints are the indexer's alone, also the one at closing. */
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (sqlite3_prepare_v2(db, "SELECT max(seq) FROM events", -1, &statement, NULL) ==
                SQLITE_OK &&
            sqlite3_step(statement) == SQLITE_ROW)
            sequence = (uint64_t)sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return sequence;
}

enum error_code bench_daemon_wait_index(const struct bench_daemon *daemon, uint64_t sequence,
                                        int64_t *waited_ns_out, struct error *error)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/events.db", daemon->directory);
    int64_t start_ns = clock_monotonic_ns();
    while (indexed_sequence(path) < sequence) {
        enum error_code code = bench_check_interrupted(error);
        if (code)
            return code;
        if (clock_monotonic_ns() - start_ns > INDEX_LIMIT_NS)
            return error_set(error, ERROR_BUSY,
                             "after 120 s the index has reached sequence %" PRIu64
                             " only, not %" PRIu64,
                             indexed_sequence(path), sequence);
        clock_sleep_until_ns(clock_monotonic_ns() + POLL_NS);
    }
    *waited_ns_out = clock_monotonic_ns() - start_ns;
    return OK;
}

/* The value in bytes of a line "Key:   123 kB"; -1 when there is no such line. */
static double status_bytes(const char *status, const char *key)
{
    const char *line = strstr(status, key);
    return line ? strtod(line + strlen(key), NULL) * 1024 : -1;
}

enum { PROC_TEXT_SIZE = 4096 };

/* All of /proc/PID/NAME. */
static enum error_code read_proc(const struct bench_daemon *daemon, const char *name,
                                 char text_out[PROC_TEXT_SIZE], struct error *error)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)daemon->pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text_out, PROC_TEXT_SIZE - 1);
    int read_errno = errno;
    if (fd >= 0)
        close(fd);
    if (size < 0)
        return error_set_errno(error, read_errno, "read '%s'", path);
    text_out[size] = '\0';
    return OK;
}

enum error_code bench_daemon_processor(const struct bench_daemon *daemon, double *seconds_out,
                                       struct error *error)
{
    char text[PROC_TEXT_SIZE];
    unsigned long long user = 0, system = 0;
    enum error_code code = read_proc(daemon, "stat", text, error);
    if (code)
        return code;
    /* Fields 14 and 15 (proc(5)); the second, a name in brackets, may hold anything. */
    const char *behind_name = strrchr(text, ')');
    if (!behind_name ||
        sscanf(behind_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &system) != 2)
        return error_set(error, ERROR_INVALID, "/proc/%d/stat is not as proc(5) has it",
                         (int)daemon->pid);
    *seconds_out = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return OK;
}

enum error_code bench_daemon_memory(const struct bench_daemon *daemon, double *bytes_out,
                                    struct error *error)
{
    char status[PROC_TEXT_SIZE];
    enum error_code code = read_proc(daemon, "status", status, error);
    if (code)
        return code;
    double peak = status_bytes(status, "VmHWM:");
    double file = status_bytes(status, "RssFile:");
    double shared = status_bytes(status, "RssShmem:");
    if (peak < 0 || file < 0 || shared < 0)
        return error_set(error, ERROR_INVALID,
                         "/proc/%d/status lacks VmHWM, RssFile or RssShmem: the kernel is too old",
                         (int)daemon->pid);
    *bytes_out = peak - file - shared;
    return OK;
}

/* SIGTERM, and SIGKILL for a daemon that does not follow. */
static enum error_code end_process(struct bench_daemon *daemon, struct error *error)
{
    if (daemon->pid == 0)
        return OK;
    int status = 0;
    int64_t limit_ns = clock_monotonic_ns() + STOP_LIMIT_NS;
    kill(daemon->pid, SIGTERM);
    while (waitpid(daemon->pid, &status, WNOHANG) == 0) {
        if (clock_monotonic_ns() > limit_ns) {
            kill(daemon->pid, SIGKILL);
            waitpid(daemon->pid, &status, 0);
            break;
        }
        clock_sleep_until_ns(clock_monotonic_ns() + POLL_NS);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(error, ERROR_IO, "daybookd did not stop in order (wait status %#x)",
                         (unsigned)status);
    return OK;
}

enum error_code bench_daemon_stop(struct bench_daemon *daemon, struct error *error)
{
    if (!daemon)
        return OK;
    enum error_code code = end_process(daemon, error);
    if (daemon->is_ours)
        bench_scratch_delete(daemon->directory);
    free(daemon);
    return code;
}

void bench_daemon_kill(struct bench_daemon *daemon)
{
    if (!daemon)
        return;
    if (daemon->pid > 0) {
        kill(daemon->pid, SIGKILL);
        waitpid(daemon->pid, NULL, 0);
    }
    daemon->pid = 0;
    bench_daemon_stop(daemon, NULL);
}
