/*
 * daybook-zmq - a gateway between a Daybook daemon and programs that speak ZeroMQ: one thread for
 * each direction, and this one, which waits for a signal.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/client/daybook.h"
#include "tools/notify.h"
#include "tools/zmq/inlet.h"
#include "tools/zmq/flags.h"
#include "tools/zmq/outlet.h"

enum exit_status {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_REPLACED = 3, /* not to be started again: the two would replace each other for ever */
};

/* What one of the two threads does, and how it ended. */
struct direction {
    struct gateway *gateway;
    enum error_code code;
    struct error error;
};

struct gateway {
    struct flags flags;
    struct report report;
    struct notify notify;
    struct counts counts;
    int signal_fd;
    int stop_fd; /* readable from the moment on when it is time to stop */
    struct inlet *inlet;
    struct outlet *outlet;
    struct direction in, out;
};

static void stop(struct gateway *gateway)
{
    uint64_t one = 1;
    (void)!write(gateway->stop_fd, &one, sizeof one);
}

static void *run_in(void *context)
{
    struct direction *in = context;
    in->code = inlet_run(in->gateway->inlet, &in->error);
    stop(in->gateway);
    return NULL;
}

static void *run_out(void *context)
{
    struct direction *out = context;
    out->code = outlet_run(out->gateway->outlet, &out->error);
    stop(out->gateway);
    return NULL;
}

/* Before the first thread is made, libzmq's included, so that all inherit the mask. */
static enum error_code catch_signals(struct gateway *gateway, struct error *error)
{
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return error_set_errno(error, errno, "block signals");
    gateway->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    gateway->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (gateway->signal_fd < 0 || gateway->stop_fd < 0)
        return error_set_errno(error, errno, "create a signalfd");
    return OK;
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static enum error_code create(struct gateway *gateway, struct error *error)
{
    const struct flags *flags = &gateway->flags;
    const char *directory = or_null(flags->settings.directory);
    const char *socket = or_null(flags->settings.socket);
    struct inlet_options in = {
        .address = flags->pull,
        .directory = directory,
        .socket = socket,
        .producer = flags->producer,
        .heartbeat_ns = flags->heartbeat_ns,
        .report = &gateway->report,
        .counts = &gateway->counts,
        .stop_fd = gateway->stop_fd,
    };
    struct outlet_options out = {
        .address = flags->pub,
        .directory = directory,
        .socket = socket,
        .prefix = flags->prefix,
        .cursor = flags->cursor,
        .settle_ns = flags->settle_ns,
        .hwm = flags->hwm,
        .report = &gateway->report,
        .counts = &gateway->counts,
        .stop_fd = gateway->stop_fd,
    };
    enum error_code code = outlet_create(&out, &gateway->outlet, error);
    if (!code)
        code = inlet_create(&in, &gateway->inlet, error);
    return code;
}

static enum error_code start_thread(pthread_t *thread_out, void *(*run)(void *),
                                    struct direction *direction, const char *name,
                                    struct error *error)
{
    int failed = pthread_create(thread_out, NULL, run, direction);
    if (failed)
        return error_set_errno(error, failed, "start a thread");
    pthread_setname_np(*thread_out, name);
    return OK;
}

/* Until there is a signal, or one of the directions has ended by itself. */
static void await_stop(struct gateway *gateway)
{
    struct pollfd fds[] = {{.fd = gateway->signal_fd, .events = POLLIN},
                           {.fd = gateway->stop_fd, .events = POLLIN}};
    struct signalfd_siginfo signal;
    while (!(fds[0].revents | fds[1].revents)) {
        poll(fds, 2, 1000);
        if (notify_is_due(&gateway->notify, clock_monotonic_ns()))
            notify_send(&gateway->notify,
                        "WATCHDOG=1\nSTATUS=%" PRIu64 " events stored, %" PRIu64 " sent",
                        atomic_load(&gateway->counts.stored), atomic_load(&gateway->counts.sent));
    }
    if (read(gateway->signal_fd, &signal, sizeof signal) == sizeof signal)
        report_line(&gateway->report, REPORT_INFO, "signal %s from pid %u: stopping",
                    sigabbrev_np((int)signal.ssi_signo), signal.ssi_pid);
    notify_send(&gateway->notify, "STOPPING=1");
    stop(gateway);
}

/* Both directions, and the wait for their end. */
static enum error_code serve(struct gateway *gateway, struct error *error)
{
    pthread_t in, out;
    gateway->in.gateway = gateway->out.gateway = gateway;
    enum error_code code = start_thread(&out, run_out, &gateway->out, "outlet", error);
    if (code)
        return code;
    code = start_thread(&in, run_in, &gateway->in, "inlet", error);
    if (!code) {
        report_line(&gateway->report, REPORT_INFO, "ready");
        notify_send(&gateway->notify, "READY=1");
        await_stop(gateway);
        pthread_join(in, NULL);
    }
    stop(gateway);
    pthread_join(out, NULL);
    return code;
}

/* The more serious of the two, if any. */
static enum error_code judge(struct gateway *gateway, struct error *error)
{
    const struct direction *bad = gateway->out.code ? &gateway->out : &gateway->in;
    if (gateway->in.code && gateway->in.code != ERROR_END)
        bad = &gateway->in;
    return bad->code ? error_set(error, bad->code, "%s", bad->error.text) : OK;
}

static int run(struct gateway *gateway)
{
    const struct flags *flags = &gateway->flags;
    struct error error;
    report_line(&gateway->report, REPORT_INFO,
                "daybook-zmq " DAYBOOK_VERSION ", pid %d, from '%s', to '%s', producer '%s', "
                "cursor '%s'",
                (int)getpid(), flags->pull, flags->pub, flags->producer, flags->cursor);
    enum error_code code = catch_signals(gateway, &error);
    if (!code)
        code = create(gateway, &error);
    if (!code)
        code = serve(gateway, &error);
    if (!code)
        code = judge(gateway, &error);
    if (code) {
        report_line(&gateway->report, REPORT_ERROR, "%s", error.text);
        notify_send(&gateway->notify, "STATUS=%s", error.text);
    }
    inlet_free(gateway->inlet);
    outlet_free(gateway->outlet);
    file_close(&gateway->signal_fd);
    file_close(&gateway->stop_fd);
    notify_release(&gateway->notify);
    report_line(&gateway->report, REPORT_INFO,
                "stopped: %" PRIu64 " messages received, %" PRIu64 " events stored, %" PRIu64
                " messages refused, %" PRIu64 " events sent, %" PRIu64 " replayed",
                atomic_load(&gateway->counts.received), atomic_load(&gateway->counts.stored),
                atomic_load(&gateway->counts.refused), atomic_load(&gateway->counts.sent),
                atomic_load(&gateway->counts.replayed));
    if (code == ERROR_BUSY)
        return EXIT_REPLACED;
    return code ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
    static struct gateway gateway = {
        .signal_fd = -1, .stop_fd = -1, .notify.fd = -1, .report = {REPORT_INFO}};
    struct error error;
    if (file_guard_standard_streams(&error)) {
        fprintf(stderr, "daybook-zmq: %s\n", error.text);
        return EXIT_FAILED;
    }
    if (flags_parse(argc, argv, &gateway.flags, &error)) {
        fprintf(stderr, "daybook-zmq: %s: try 'daybook-zmq --help'\n", error.text);
        return EXIT_USAGE;
    }
    if (gateway.flags.help) {
        flags_print_help(stdout);
        return EXIT_OK;
    }
    if (gateway.flags.version) {
        puts("daybook-zmq " DAYBOOK_VERSION);
        return EXIT_OK;
    }
    if (gateway.flags.verbose)
        gateway.report.level_max = REPORT_DETAIL;
    notify_init(&gateway.notify);
    return run(&gateway);
}
