/*
 * core/signals.h - keep a program's signal handlers away from a thread.
 *
 * Where a sync can be interrupted the interruption is final (D8), so nothing that a handler is for
 * may reach a thread that syncs: neither one of ours, nor a caller's that commits for us.
 */
#ifndef DAYBOOK_CORE_SIGNALS_H
#define DAYBOOK_CORE_SIGNALS_H

#include <signal.h>

/*
 * From now on this thread, and those that it starts, take no signal but those of their own faults
 * (SIGBUS and the like, which core/file.h needs). *before_out is for signals_let.
 */
void signals_hold(sigset_t *before_out);
void signals_let(const sigset_t *before);

#endif
