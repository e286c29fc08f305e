/*
 * tools/daybook/interrupt.h - Ctrl-C and SIGTERM as something that a loop can ask for.
 *
 * Only verbs that end in an orderly way call interrupt_catch; a second signal ends them at once.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_INTERRUPT_H
#define DAYBOOK_TOOLS_DAYBOOK_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT and SIGTERM interrupt system calls and are remembered. */
void interrupt_catch(void);
bool interrupt_seen(void);
/* Set before interrupt_catch: what the handler calls, too, which must be async-signal-safe. */
void interrupt_also(void (*action)(void));

#endif
