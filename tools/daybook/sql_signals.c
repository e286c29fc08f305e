#include "tools/daybook/sql_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

enum { PATIENCE = 3 };

static volatile sig_atomic_t interrupts, suspends, resizes, ends;
/* A byte for each note, so that a wait ends also when another thread took the signal. */
static int wake[2] = {-1, -1};

static void note(int number)
{
    int before = errno;
    if (number == SIGINT) {
        if (++interrupts >= PATIENCE) {
            signal(SIGINT, SIG_DFL);
            raise(SIGINT); /* takes effect when this handler returns */
        }
    } else if (number == SIGTSTP) {
        suspends = 1;
    } else if (number == SIGWINCH) {
        resizes = 1;
    } else {
        ends = 1;
    }
    /* A full pipe wakes as well. */
    ssize_t written = write(wake[1], "", 1);
    (void)written;
    errno = before;
}

enum error_code sql_signals_catch(struct error *error)
{
    static const int noted[] = {SIGINT, SIGTSTP, SIGWINCH, SIGTERM, SIGHUP};
    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK))
        return error_set_errno(error, errno, "make a pipe for signals");
    /* SA_RESTART: only the wait below listens to them, and poll is never restarted. */
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof noted / sizeof noted[0]; i++)
        sigaction(noted[i], &action, NULL);
    return OK;
}

bool sql_signals_wait(int fd)
{
    struct pollfd ready[] = {{.fd = wake[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    if (poll(ready, 2, -1) < 0 || ready[0].revents) {
        char notes[64];
        while (read(wake[0], notes, sizeof notes) > 0)
            continue;
        return false;
    }
    return true;
}

bool sql_signals_stop(void)
{
    return interrupts > 0 || ends;
}

bool sql_signals_end(void)
{
    return ends;
}

static bool take(volatile sig_atomic_t *count)
{
    bool taken = *count > 0;
    *count = 0;
    return taken;
}

bool sql_signals_take_interrupt(void)
{
    return take(&interrupts);
}

bool sql_signals_take_suspend(void)
{
    return take(&suspends);
}

bool sql_signals_take_resize(void)
{
    return take(&resizes);
}

void sql_signals_suspend(void)
{
    raise(SIGSTOP);
}
