#include "tools/daybook/replay_console.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/signals.h"
#include "tools/daybook/replay_screen.h"
#include "tools/daybook/terminal.h"

enum { DRAW_MS = 100, TEXT_BYTES = 384, RATE_BYTES = 64 };

struct replay_console {
    struct replay_console_options options;
    struct replay_keys keys;
    pthread_t thread;
    int end_fd; /* readable: it is over */
    bool has_thread;
    bool drawn;
    bool deaf; /* no more keys will come */
};

/* The recorded clock, which goes on between events. */
static int64_t clock_now(const struct replay_console *console, bool paused)
{
    const struct replay_progress *progress = console->options.progress;
    int64_t clock_ns = __atomic_load_n(&progress->clock_ns, __ATOMIC_RELAXED);
    int64_t at_ns = __atomic_load_n(&progress->clock_at_ns, __ATOMIC_RELAXED);
    int64_t next_ns = __atomic_load_n(&progress->next_ns, __ATOMIC_RELAXED);
    if (paused || console->options.rate <= 0 || next_ns <= clock_ns)
        return clock_ns;
    double passed = (double)(clock_monotonic_ns() - at_ns) * console->options.rate;
    double left = (double)next_ns - (double)clock_ns;
    return passed < left ? clock_ns + (int64_t)passed : next_ns;
}

/* "60 (59.98)": asked and achieved. */
static void format_rate(const struct replay_console *console, char text[RATE_BYTES])
{
    const struct replay_progress *progress = console->options.progress;
    int64_t span_ns = __atomic_load_n(&progress->span_ns, __ATOMIC_RELAXED);
    int64_t active_ns = __atomic_load_n(&progress->active_ns, __ATOMIC_RELAXED);
    double achieved = active_ns > 0 ? (double)span_ns / (double)active_ns : 0;
    if (console->options.rate > 0)
        snprintf(text, RATE_BYTES, "%g (%.4g)", console->options.rate, achieved);
    else
        snprintf(text, RATE_BYTES, "max (%.4g)", achieved);
}

static void format_line(const struct replay_console *console, bool paused, char text[TEXT_BYTES])
{
    const struct replay_progress *progress = console->options.progress;
    char when[UNITS_TIME_TEXT_SIZE], events[UNITS_TEXT_SIZE + 8], late[UNITS_TEXT_SIZE + 8];
    char off[UNITS_TEXT_SIZE], rate[RATE_BYTES];
    units_format_time_short(clock_now(console, paused), console->options.zone, when);
    units_format_count(__atomic_load_n(&progress->events, __ATOMIC_RELAXED), events);
    units_format_count(__atomic_load_n(&progress->late, __ATOMIC_RELAXED), late);
    units_format_duration(__atomic_load_n(&progress->error_ns, __ATOMIC_RELAXED), off);
    format_rate(console, rate);
    snprintf(text, TEXT_BYTES, "%s  %s, rate %s  %s events, %s off, %s late  [%s]", when,
             paused ? "paused" : "playing", rate, events, off, late, REPLAY_KEYS_HELP);
}

static void wipe(struct replay_console *console)
{
    if (!console->drawn)
        return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    console->drawn = false;
}

/* The cursor goes back to the front, so that a message of somebody else begins there. */
static void draw(struct replay_console *console)
{
    const struct replay_progress *progress = console->options.progress;
    bool paused = __atomic_load_n(&progress->paused, __ATOMIC_RELAXED);
    if (__atomic_load_n(&progress->next_ns, __ATOMIC_RELAXED) == INT64_MIN ||
        (console->options.prints && !paused)) {
        wipe(console);
        return;
    }
    char text[TEXT_BYTES];
    format_line(console, paused, text);
    unsigned columns = terminal_width(STDERR_FILENO);
    size_t bytes = terminal_fit(text, strlen(text), columns > 1 ? columns - 1 : 0);
    fprintf(stderr, "\r%.*s\x1b[K\r", (int)bytes, text);
    fflush(stderr);
    console->drawn = true;
}

static void read_keys(struct replay_console *console)
{
    unsigned char bytes[64];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR))
        console->deaf = true; /* hung up */
    for (ssize_t i = 0; i < count; i++) {
        enum replay_order order = replay_keys_feed(&console->keys, bytes[i]);
        if (order != REPLAY_ORDER_NONE)
            replay_orders_give(console->options.orders, order);
    }
}

static void *run(void *context)
{
    struct replay_console *console = context;
    struct pollfd ready[] = {{.fd = console->end_fd, .events = POLLIN},
                             {.fd = STDIN_FILENO, .events = POLLIN}};
    while (!ready[0].revents) {
        bool ours = replay_screen_is_ours();
        if (ours)
            draw(console);
        /* In the background a read would stop us. */
        ready[1].fd = ours && !console->deaf ? STDIN_FILENO : -1;
        ready[1].revents = 0;
        if (poll(ready, 2, DRAW_MS) > 0 && ready[1].revents)
            read_keys(console);
    }
    if (replay_screen_is_ours())
        wipe(console);
    return NULL;
}

static enum error_code start_thread(struct replay_console *console, struct error *error)
{
    console->end_fd = eventfd(0, EFD_CLOEXEC);
    if (console->end_fd < 0)
        return error_set_errno(error, errno, "look after the terminal");
    sigset_t before;
    signals_hold(&before);
    int failure = pthread_create(&console->thread, NULL, run, console);
    signals_let(&before);
    if (failure) {
        close(console->end_fd);
        return error_set_errno(error, failure, "start a thread for the terminal");
    }
    console->has_thread = true;
    return OK;
}

enum error_code replay_console_open(const struct replay_console_options *options,
                                    struct replay_console **console_out, struct error *error)
{
    struct replay_console *console = calloc(1, sizeof *console);
    if (!console)
        return error_set(error, ERROR_MEMORY, "no memory for the terminal");
    console->options = *options;
    bool keys = options->keys && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    replay_screen_begin(options->orders, keys);
    enum error_code code = keys ? start_thread(console, error) : OK;
    if (code) {
        replay_screen_end();
        free(console);
        return code;
    }
    *console_out = console;
    return OK;
}

void replay_console_close(struct replay_console *console)
{
    if (!console)
        return;
    if (console->has_thread) {
        eventfd_write(console->end_fd, 1);
        pthread_join(console->thread, NULL);
        close(console->end_fd);
    }
    replay_screen_end();
    free(console);
}
