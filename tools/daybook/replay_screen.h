/*
 * tools/daybook/replay_screen.h - the terminal's settings and the signals, while a replay runs.
 *
 * Keys come at once and unseen until replay_screen_end, or until a signal ends the process. Ctrl-Z
 * puts the terminal back, stops, and takes it again when the process is continued in the
 * foreground; for how long it was stopped is told to the orders.
 *
 * The state is the process's, as signals and the terminal are.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_SCREEN_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_SCREEN_H

#include <stdbool.h>

#include "tools/daybook/replay_orders.h"

/* `keys`: the standard input is a terminal whose keys are ours. Borrows `orders` until the end. */
void replay_screen_begin(struct replay_orders *orders, bool keys);
/* Are we in the foreground of the terminal, so that we may read and draw? */
bool replay_screen_is_ours(void);
void replay_screen_end(void);

#endif
