#include "tools/daybook/bench_raw.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "tools/daybook/bench_curves.h"

enum {
    RECORD_BYTES = 280,
    MESSAGE_BYTES = 200,
    FILE_BYTES = 16 << 20,
};

static const char file_name[] = "raw";

static enum error_code report_commit(const struct bench *bench,
                                     const struct bench_raw_names *names,
                                     struct bench_samples *samples, struct error *error)
{
    static const char subject[] = "raw limit: write 280 bytes, fdatasync";
    const struct bench_figure p50 = {
        .suite = names->suite, .name = names->p50, .subject = subject, .measure = "p50"};
    const struct bench_figure p99 = {
        .suite = names->suite, .name = names->p99, .subject = subject, .measure = "p99"};
    return bench_curves_add(bench, &p50, &p99, samples, error);
}

/* Records go one behind the other, and from the end of the file to its beginning. */
static enum error_code commit_record(int fd, uint64_t *offset, struct error *error)
{
    uint8_t record[RECORD_BYTES];
    memset(record, 'd', sizeof record);
    enum error_code code = file_write(fd, file_name, record, sizeof record, *offset, error);
    *offset += RECORD_BYTES;
    if (*offset + RECORD_BYTES > FILE_BYTES)
        *offset = 0;
    return code ? code : file_sync_data(fd, file_name, error);
}

static enum error_code commit_records(const struct bench *bench, int fd,
                                      struct bench_samples *samples, struct error *error)
{
    uint64_t offset = 0;
    int64_t now_ns = clock_monotonic_ns();
    int64_t end_ns = now_ns + bench->slice_ns;
    while (now_ns < end_ns) {
        enum error_code code = bench_check_interrupted(error);
        if (!code)
            code = commit_record(fd, &offset, error);
        int64_t done_ns = clock_monotonic_ns();
        if (!code)
            code = bench_samples_add(samples, done_ns - now_ns, error);
        if (code)
            return code;
        now_ns = done_ns;
    }
    return OK;
}

static enum error_code open_file(const struct bench *bench, int *fd_out, struct error *error)
{
    return file_create_zeroed(bench->directory_fd, file_name, FILE_BYTES, fd_out, error);
}

/* Returns `code`, or what goes wrong here. */
static enum error_code close_file(const struct bench *bench, int *fd, enum error_code code,
                                  struct error *error)
{
    file_close(fd);
    return code ? code : file_unlink(bench->directory_fd, file_name, error);
}

enum error_code bench_raw_commit(const struct bench *bench, const struct bench_raw_names *names,
                                 struct error *error)
{
    struct bench_samples samples = {0};
    int fd = -1;
    enum error_code code = open_file(bench, &fd, error);
    if (code)
        return code;
    code = commit_records(bench, fd, &samples, error);
    if (!code)
        code = report_commit(bench, names, &samples, error);
    bench_samples_release(&samples);
    return close_file(bench, &fd, code, error);
}

static enum error_code commit_steadily(const struct bench *bench, int fd, struct error *error)
{
    enum { COMMIT_NS = 10000000 };
    int64_t next_ns = clock_monotonic_ns(), end_ns = next_ns + bench->slice_ns * bench->rounds;
    uint64_t offset = 0;
    enum error_code code = OK;
    while (!code && next_ns < end_ns) {
        clock_sleep_until_ns(next_ns += COMMIT_NS);
        code = bench_check_interrupted(error);
        if (!code)
            code = commit_record(fd, &offset, error);
    }
    return code;
}

static double thread_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

enum error_code bench_raw_steady(const struct bench *bench, double *share_out, struct error *error)
{
    int fd = -1;
    enum error_code code = open_file(bench, &fd, error);
    if (code)
        return code;
    int64_t start_ns = clock_monotonic_ns();
    double before = thread_seconds();
    code = commit_steadily(bench, fd, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    *share_out = (thread_seconds() - before) / seconds;
    return close_file(bench, &fd, code, error);
}

enum error_code bench_raw_unlink(const struct bench *bench, uint64_t bytes, double *seconds_out,
                                 struct error *error)
{
    int fd = -1;
    enum error_code code =
        file_create_zeroed(bench->directory_fd, file_name, bytes, &fd, error);
    if (code)
        return code;
    file_close(&fd);
    int64_t start_ns = clock_monotonic_ns();
    code = file_unlink(bench->directory_fd, file_name, error);
    *seconds_out = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    return code;
}

/* Move exactly MESSAGE_BYTES; false when the other side is gone. */
static bool receive_message(int socket, uint8_t message[MESSAGE_BYTES])
{
    ssize_t size;
    do
        size = recv(socket, message, MESSAGE_BYTES, MSG_WAITALL);
    while (size < 0 && errno == EINTR);
    return size == MESSAGE_BYTES;
}

static bool send_message(int socket, const uint8_t message[MESSAGE_BYTES])
{
    ssize_t size;
    do
        size = send(socket, message, MESSAGE_BYTES, MSG_NOSIGNAL);
    while (size < 0 && errno == EINTR);
    return size == MESSAGE_BYTES;
}

/* `fd` is -1, or of a file in which each message is a commit. */
static void answer_until_closed(int socket, int fd)
{
    uint8_t message[MESSAGE_BYTES];
    uint64_t offset = 0;
    while (receive_message(socket, message) && (fd < 0 || !commit_record(fd, &offset, NULL)) &&
           send_message(socket, message))
        continue;
}

static enum error_code measure_round_trips(const struct bench *bench, int socket,
                                           struct bench_samples *samples, struct error *error)
{
    uint8_t message[MESSAGE_BYTES] = {0};
    int64_t now_ns = clock_monotonic_ns();
    int64_t end_ns = now_ns + bench->slice_ns;
    while (now_ns < end_ns) {
        enum error_code code = bench_check_interrupted(error);
        if (code)
            return code;
        if (!send_message(socket, message) || !receive_message(socket, message))
            return error_set_errno(error, errno, "measure the round trip over a socket");
        int64_t done_ns = clock_monotonic_ns();
        code = bench_samples_add(samples, done_ns - now_ns, error);
        if (code)
            return code;
        now_ns = done_ns;
    }
    return OK;
}

static enum error_code exchange(const struct bench *bench, int fd, struct bench_samples *samples,
                                struct error *error)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return error_set_errno(error, errno, "make a pair of sockets");
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        answer_until_closed(ends[1], fd);
        _exit(0);
    }
    close(ends[1]);
    enum error_code code = OK;
    if (child < 0)
        code = error_set_errno(error, errno, "start a process for the other end of a socket");
    if (!code)
        code = measure_round_trips(bench, ends[0], samples, error);
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return code;
}

enum error_code bench_raw_socket(const struct bench *bench, struct error *error)
{
    static const struct bench_figure p50 = {.suite = "socket",
                                            .name = "socket_round_trip_p50",
                                            .subject =
                                                "raw limit: 200 bytes over a socket and back",
                                            .measure = "p50"};
    struct bench_samples samples = {0};
    enum error_code code = exchange(bench, -1, &samples, error);
    if (!code)
        code = bench_report_add(bench->report, &p50,
                                (double)bench_samples_percentile(&samples, 0.5) / 1e3, error);
    bench_samples_release(&samples);
    return code;
}

enum error_code bench_raw_server(const struct bench *bench, struct error *error)
{
    static const char subject[] = "raw limit: there, write, fdatasync, and back";
    static const struct bench_figure p50 = {
        .suite = "socket", .name = "raw_server_p50", .subject = subject, .measure = "p50"};
    static const struct bench_figure p99 = {
        .suite = "socket", .name = "raw_server_p99", .subject = subject, .measure = "p99"};
    struct bench_samples samples = {0};
    int fd = -1;
    enum error_code code = open_file(bench, &fd, error);
    if (code)
        return code;
    code = exchange(bench, fd, &samples, error);
    if (!code)
        code = bench_curves_add(bench, &p50, &p99, &samples, error);
    bench_samples_release(&samples);
    return close_file(bench, &fd, code, error);
}
