/*
 * daybookd - the Daybook daemon: composes log, index and network, and runs until a signal.
 */
#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/units.h"
#include "indexer/wishes.h"
#include "indexer/witness.h"
#include "segment/ballast.h"
#include "segment/lock.h"
#include "segment/packer.h"
#include "tools/client/daybook.h"
#include "tools/daybookd/activation.h"
#include "tools/daybookd/config.h"
#include "tools/daybookd/index_thread.h"
#include "tools/daybookd/listener.h"
#include "tools/daybookd/pack_thread.h"
#include "tools/daybookd/server.h"
#include "tools/daybookd/strangers.h"
#include "tools/gate.h"
#include "tools/notify.h"

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DAMAGED = 4 };

struct daemon {
    struct config config;
    struct report report;
    int signal_fd;
    struct notify notify;
    struct progress progress;
    struct segment_log *log;
    struct gate *gate;
    struct listener listener;
    struct index_thread *index;
    struct pack_thread *packer;
    struct server *server;
};

/*
 * Before the first thread is made, so that all inherit the mask and signals only come through the
 * descriptor.
 */
static enum error_code catch_signals(struct daemon *daemon, struct error *error)
{
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return error_set_errno(error, errno, "block signals");
    daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (daemon->signal_fd < 0)
        return error_set_errno(error, errno, "create a signalfd");
    return OK;
}

/*
 * A descriptor for each client, and some for segments and the index. The kernel's table of them
 * grows now: later, with threads running, it would stop this process for 5 to 23 ms at each
 * doubling (Linux fs/file.c, expand_fdtable: synchronize_rcu), and every client would wait.
 */
static void prepare_descriptors(const struct daemon *daemon)
{
    enum { OTHERS = 256 };
    struct rlimit limit;
    rlim_t wanted = daemon->config.connections_max + OTHERS;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted) {
        report_line(&daemon->report, REPORT_WARNING,
                    "the system allows %llu descriptors, too few for %zu clients",
                    (unsigned long long)limit.rlim_cur, daemon->config.connections_max);
        wanted = limit.rlim_cur;
    }
    int last = fcntl(daemon->signal_fd, F_DUPFD_CLOEXEC, (int)wanted - 1);
    file_close(&last);
}

static void report_recovery(const struct daemon *daemon,
                            const struct segment_recovery_report *recovery)
{
    const struct report *report = &daemon->report;
    char duration[UNITS_TEXT_SIZE];
    units_format_duration(recovery->duration_ns, duration);
    if (recovery->created) {
        report_line(report, REPORT_INFO, "log: new");
        return;
    }
    report_line(report, REPORT_INFO,
                "log: recovered in %s: %s; segment %" PRIu64 ", %" PRIu64 " events in it, up to "
                "byte %" PRIu64,
                duration, segment_recovery_verdict_text(recovery->verdict), recovery->segment_first,
                recovery->events, recovery->offset);
    if (recovery->torn_bytes > 0)
        report_line(report, REPORT_WARNING,
                    "log: %" PRIu64 " bytes of an unfinished, unacknowledged write were cut off",
                    recovery->torn_bytes);
    if (recovery->quarantined[0])
        report_line(report, REPORT_WARNING, "log: damaged bytes were kept in quarantine/%s",
                    recovery->quarantined);
    if (recovery->past_rebuilt)
        report_line(report, REPORT_WARNING,
                    "log: who has published before was listed anew from all events, because %s%s%s",
                    recovery->past_doubt.code ? recovery->past_doubt.text
                                              : "'producers' was not there, or incomplete",
                    recovery->past_loss.code ? "; what an old producer sends again may be stored "
                                               "twice, because "
                                             : "",
                    recovery->past_loss.text);
    if (recovery->gap_first)
        report_line(report, REPORT_WARNING,
                    "log: sequences %" PRIu64 " to %" PRIu64 " will never be given: %s",
                    recovery->gap_first, recovery->gap_last,
                    segment_format_gap_cause_text(recovery->gap_cause));
}

static void report_schemas(const struct daemon *daemon)
{
    size_t topics = gate_topics(daemon->gate);
    char words[GATE_WORDS_BYTES];
    if (topics > 0)
        report_line(&daemon->report, REPORT_INFO, "schemas: %zu topic%s", topics,
                    topics == 1 ? "" : "s");
    if (gate_pending_words(daemon->gate, words))
        report_line(&daemon->report, REPORT_WARNING, "schemas: %s", words);
}

static enum error_code open_log(struct daemon *daemon, struct error *error)
{
    struct segment_log_options options = daemon->config.log;
    struct segment_recovery_report recovery;
    /* The index has only ever seen what was durable: a log that ends before it has lost events. */
    enum error_code code =
        indexer_witness(daemon->config.directory, &options.witness_sequence, error);
    if (code)
        return code;
    options.report_written = true;
    options.takes_withdrawals = true;
    options.on_progress = progress_notify;
    options.context = &daemon->progress;
    code = segment_log_open(daemon->config.directory, &options, &daemon->log, &recovery, error);
    if (code)
        return code;
    atomic_store(&daemon->progress.log, daemon->log);
    report_recovery(daemon, &recovery);
    strangers_report(daemon->config.directory, &daemon->report);
    code = gate_open(daemon->config.directory, &daemon->gate, error);
    if (!code)
        report_schemas(daemon);
    return code;
}

/*
 * Before the log: who has mistaken the socket's path is not left with a log that he has not asked
 * for. The socket may belong into the log's directory, so that comes first, and goes if it is new.
 */
static enum error_code try_listener(const struct daemon *daemon, struct error *error)
{
    const char *directory = daemon->config.directory;
    struct stat status;
    int log_fd = -1;
    if (daemon->listener.adopted)
        return OK;
    bool new = lstat(directory, &status) && errno == ENOENT;
    bool written = false;
    enum error_code code = file_open_directory(directory, true, &log_fd, NULL);
    if (!code)
        code = segment_lock_is_held(log_fd, LOCK_WRITER, &written, NULL);
    file_close(&log_fd);
    if (code || written)
        return OK; /* opening the log says why not */
    code = listener_try(daemon->config.socket, error);
    if (code == ERROR_NO_SPACE) /* open_listener knows a remedy */
        return OK;
    if (code && new)
        rmdir(directory);
    return code;
}

/* Even a socket's name needs some room. On a full disk it gets what was kept for such things. */
static enum error_code open_listener(struct daemon *daemon, struct error *error)
{
    const char *socket = daemon->config.socket;
    if (daemon->listener.adopted)
        return OK;
    enum error_code code = listener_open(socket, &daemon->listener, error);
    if (code == ERROR_NO_SPACE && segment_ballast_give_most(daemon->config.directory, NULL) == OK)
        code = listener_open(socket, &daemon->listener, error);
    return code;
}

/*
 * Before anybody can fill the disk: without a ballast retention finds no room for a new lower bound
 * there. The log's preparer makes it larger as segments grow. Where there is no room, there is
 * none.
 */
static void keep_ballast(const struct daemon *daemon)
{
    int log_fd = -1;
    if (!file_open_directory(daemon->config.directory, false, &log_fd, NULL))
        segment_ballast_keep(log_fd, 0, NULL);
    file_close(&log_fd);
}

/* Before the index is opened: one that is made anew has them from its first event on then. */
static void wish_fields(struct daemon *daemon)
{
    struct indexer_wishes fields = {0};
    struct error error;
    size_t added = 0;
    enum error_code code = OK;
    char *rest = daemon->config.index;
    for (char *line; !code && (line = strsep(&rest, "\n"));)
        if (*line)
            code = indexer_wishes_add_text(&fields, line, &error);
    if (!code && fields.count > 0)
        code = indexer_wishes_change(daemon->config.directory, WISHES_ADD, &fields, &added, &error);
    indexer_wishes_release(&fields);
    if (code)
        report_line(&daemon->report, REPORT_WARNING, "index: not all fields are added: %s",
                    error.text);
    else if (added)
        report_line(&daemon->report, REPORT_INFO, "index: %zu fields added", added);
}

/* A socket that the service manager has made counts more than -s: the unit names its path. */
static enum error_code adopt_listener(struct daemon *daemon, struct error *error)
{
    char *path = daemon->config.socket;
    int fd;
    enum error_code code = activation_take(&fd, path, sizeof daemon->config.socket, error);
    if (!code && fd >= 0)
        listener_adopt(fd, path, &daemon->listener);
    return code;
}

static enum error_code start(struct daemon *daemon, struct error *error)
{
    struct config *config = &daemon->config;
    enum error_code code = adopt_listener(daemon, error);
    if (code)
        return code;
    report_line(&daemon->report, REPORT_INFO,
                "daybookd " DAYBOOK_VERSION ", pid %d, directory '%s', socket '%s'%s", (int)getpid(),
                config->directory, config->socket,
                daemon->listener.adopted ? ", passed by the service manager" : "");
    report_line(&daemon->report, REPORT_INFO,
                "at most %zu MiB of memory, for up to %zu connections",
                config_memory_max(config) >> 20, config->connections_max);
    if (!daemon->listener.adopted)
        code = listener_check_path(config->socket, error);
    if (!code)
        code = catch_signals(daemon, error);
    if (!code)
        prepare_descriptors(daemon);
    if (!code)
        code = progress_init(&daemon->progress, error);
    if (!code)
        code = try_listener(daemon, error);
    if (!code)
        code = open_log(daemon, error);
    if (!code)
        keep_ballast(daemon);
    if (!code)
        wish_fields(daemon);
    if (!code)
        code = index_thread_start(config->directory, &daemon->report, &daemon->index, error);
    if (!code && !config->pack)
        segment_packer_clean(config->directory);
    if (!code && config->pack)
        code = pack_thread_start(config->directory, daemon->log, &daemon->report, &daemon->packer,
                                 error);
    if (!code)
        code = open_listener(daemon, error);
    if (code)
        return code;
    struct server_options options = {
        .log = daemon->log,
        .gate = daemon->gate,
        .progress = &daemon->progress,
        .index = daemon->index,
        .report = &daemon->report,
        .directory = config->directory,
        .listen_fd = daemon->listener.fd,
        .signal_fd = daemon->signal_fd,
        .connections_max = config->connections_max,
        .user_connections_max = config->user_connections_max,
        .input_bytes_max = config->input_bytes_max,
        .memory_max = config_memory_max(config),
        .allowed = &config->allowed,
        .notify = &daemon->notify,
    };
    return server_create(&options, &daemon->server, error);
}

/*
 * In the order of dependence; each part may be missing after a failed start. The log's close is the
 * last that may fail: it writes the stop mark.
 */
static enum error_code end(struct daemon *daemon, struct error *error)
{
    server_free(daemon->server);
    pack_thread_stop(daemon->packer);
    index_thread_stop(daemon->index);
    gate_close(daemon->gate);
    enum error_code code = segment_log_close(daemon->log, error);
    /* Its name goes last: whoever finds no socket finds a directory without a writer, too. */
    listener_close(&daemon->listener);
    progress_release(&daemon->progress);
    file_close(&daemon->signal_fd);
    notify_release(&daemon->notify);
    return code;
}

static int exit_status(enum error_code code)
{
    switch (code) {
    case OK:
        return EXIT_OK;
    case ERROR_DAMAGED:
        return EXIT_DAMAGED;
    default:
        return EXIT_FAILED;
    }
}

static int run(struct daemon *daemon)
{
    struct error error, end_error;
    enum error_code code = start(daemon, &error);
    if (!code) {
        report_line(&daemon->report, REPORT_INFO, "durable up to %" PRIu64,
                    segment_log_durable(daemon->log));
        report_line(&daemon->report, REPORT_INFO, "ready");
        notify_send(&daemon->notify, "READY=1\nSTATUS=durable up to %" PRIu64,
                    segment_log_durable(daemon->log));
        code = server_run(daemon->server, &error);
    }
    if (code) {
        report_line(&daemon->report, REPORT_ERROR, "%s", error.text);
        notify_send(&daemon->notify, "STATUS=%s", error.text);
    }
    enum error_code end_code = end(daemon, &end_error);
    if (end_code && !code) {
        report_line(&daemon->report, REPORT_ERROR, "close the log: %s", end_error.text);
        code = end_code;
    }
    if (!code)
        report_line(&daemon->report, REPORT_INFO, "stopped");
    return exit_status(code);
}

int main(int argc, char **argv)
{
    struct daemon daemon = {
        .signal_fd = -1,
        .progress = {.fd = -1, .bus_fd = -1},
        .listener.fd = -1,
        .report = {REPORT_INFO},
    };
    struct error error;
    /* One heap for all threads: what a client had is for the next one, whoever serves it. */
    mallopt(M_ARENA_MAX, 1);
    if (file_guard_standard_streams(&error) || file_map_guard(&error)) {
        fprintf(stderr, "daybookd: %s\n", error.text);
        return EXIT_FAILED;
    }
    if (config_parse(argc, argv, &daemon.config, &error)) {
        fprintf(stderr, "daybookd: %s: try 'daybookd --help'\n", error.text);
        return EXIT_USAGE;
    }
    if (daemon.config.help) {
        config_print_help(stdout);
        return EXIT_OK;
    }
    if (daemon.config.version) {
        puts("daybookd " DAYBOOK_VERSION);
        return EXIT_OK;
    }
    if (daemon.config.verbose)
        daemon.report.level_max = REPORT_DETAIL;
    notify_init(&daemon.notify);
    return run(&daemon);
}
