/*
 * tools/daybook/replay_console.h - the terminal of a replay: keys, a status line, Ctrl-Z.
 *
 * A thread of its own reads keys and draws the line, so that a slow terminal never delays an event.
 * It is there when both the standard input and the standard error are a terminal, and does nothing
 * while the process is in the background. While it is there the terminal gives each key at once,
 * unseen; whatever ends the process but SIGKILL puts it back as it was.
 *
 * One console a process, as signals and terminals are the process's.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_CONSOLE_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_CONSOLE_H

#include <stdbool.h>

#include "core/error.h"
#include "core/units.h"
#include "tools/daybook/replay_orders.h"

/*
 * Where the player is, for the line. Written by the player, read by the console, each number by an
 * atomic of its own: that two of them may be of different moments does no harm to a line.
 */
struct replay_progress {
    int64_t clock_ns;    /* recorded time … */
    int64_t clock_at_ns; /* … that the clock showed then (monotonic) */
    int64_t next_ns;     /* recorded time of what leaves next: the clock stops there.
                            INT64_MIN: nothing was there yet, and so there is no line */
    uint64_t events;
    uint64_t late;
    int64_t error_ns;  /* of the last event that was measured */
    int64_t span_ns;   /* recorded time that was replayed … */
    int64_t active_ns; /* … in this time, without pauses */
    bool paused;
};

struct replay_console_options {
    struct replay_orders *orders;
    const struct replay_progress *progress;
    double rate;          /* 0: max */
    enum units_zone zone; /* of the clock on the line */
    bool keys;            /* false: only Ctrl-Z is looked after */
    bool prints;          /* events go to this terminal: the line shows only in a pause */
};

struct replay_console;

/*
 * Catches SIGINT, SIGTERM (interrupt.h) and SIGTSTP from now on, for which the bell of the orders
 * is rung.
 */
enum error_code replay_console_open(const struct replay_console_options *options,
                                    struct replay_console **console_out, struct error *error);
/* Wipe the line, put the terminal back. Accepts NULL. */
void replay_console_close(struct replay_console *console);

#endif
