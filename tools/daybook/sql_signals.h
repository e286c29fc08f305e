/*
 * tools/daybook/sql_signals.h - what the terminal tells the shell while it works or waits.
 *
 * The handlers only take notes, so they may come at any moment; the shell asks between keys, and
 * SQLite asks while it computes. Without sql_signals_catch nothing is ever noted and signals do
 * what they do by default. The notes are the process's, as signals are.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_SIGNALS_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_SIGNALS_H

#include <stdbool.h>

#include "core/error.h"

/*
 * Ctrl-C, Ctrl-Z, a new size, being continued, and being told to end are noted from now on. A third
 * Ctrl-C that nobody has asked about ends the program: something does not listen.
 */
enum error_code sql_signals_catch(struct error *error);
/*
 * Wait until a byte can be read from `fd` (true) or a signal was noted (false). Whichever thread
 * the signal went to, it is not missed.
 */
bool sql_signals_wait(int fd);

/* Ctrl-C, or the end: whatever computes should stop. */
bool sql_signals_stop(void);
/* SIGTERM, SIGHUP. Stays. */
bool sql_signals_end(void);
/* Each is true once for each time. */
bool sql_signals_take_interrupt(void);
bool sql_signals_take_suspend(void);
bool sql_signals_take_resize(void);

/* Stop here, as Ctrl-Z asks; returns when the program is continued. */
void sql_signals_suspend(void);

#endif
