#include "tools/daybook/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t seen;
static void (*also)(void);

static void remember(int signal_number)
{
    (void)signal_number;
    seen = 1;
    if (also)
        also();
}

void interrupt_also(void (*action)(void))
{
    also = action;
}

void interrupt_catch(void)
{
    /* No SA_RESTART: a blocked read or sleep must return. SA_RESETHAND: the second one kills. */
    struct sigaction action = {.sa_handler = remember, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupt_seen(void)
{
    return seen != 0;
}
