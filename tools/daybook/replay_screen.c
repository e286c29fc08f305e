#include "tools/daybook/replay_screen.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

#include "core/clock.h"
#include "tools/daybook/interrupt.h"

/* Handlers find what they need here. */
static struct replay_orders *told;
static struct termios before;
static volatile sig_atomic_t has_keys;
static volatile sig_atomic_t is_taken; /* the terminal's settings are ours now */

/* What ends the process at once, with the terminal as it is. SIGBUS is core/file.h's. */
static const int deadly[] = {SIGQUIT, SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGHUP};

bool replay_screen_is_ours(void)
{
    return has_keys && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void give_back(void)
{
    if (!is_taken)
        return;
    is_taken = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* In the background that would stop us: then the terminal is somebody else's. */
static void take(void)
{
    if (!replay_screen_is_ours())
        return;
    struct termios ours = before;
    ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    ours.c_cc[VMIN] = 0; /* a read never waits: it may be that a shell has read the key before */
    ours.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &ours) == 0)
        is_taken = 1;
}

static void interrupted(void)
{
    int errno_before = errno;
    give_back(); /* the next such signal ends us at once */
    bell_ring(&told->bell);
    errno = errno_before;
}

static void die(int number)
{
    give_back();
    raise(number); /* as it would have gone: the handler is gone (SA_RESETHAND) */
}

static void catch_stop(void);

/*
 * Stop, as the signal does by itself. What comes behind kill() runs when we are continued; the
 * signal is blocked while this handler runs, so it takes effect at the unblocking.
 */
static void stop(int number)
{
    int errno_before = errno;
    int64_t stopped_at_ns = clock_monotonic_ns();
    give_back();
    signal(number, SIG_DFL);
    sigset_t this_one;
    sigemptyset(&this_one);
    sigaddset(&this_one, number);
    kill(getpid(), number);
    pthread_sigmask(SIG_UNBLOCK, &this_one, NULL);
    catch_stop();
    take();
    replay_orders_stopped(told, clock_monotonic_ns() - stopped_at_ns);
    errno = errno_before;
}

/* What is ignored stays so: somebody (nohup, a shell without job control) has meant it. */
static void catch_signal(int number, void (*handler)(int), int flags)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) || action.sa_handler == SIG_IGN)
        return;
    action = (struct sigaction){.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void catch_stop(void)
{
    catch_signal(SIGTSTP, stop, 0);
}

/* Continued: perhaps in the foreground, after it was in the background. */
static void continued(int number)
{
    int errno_before = errno;
    (void)number;
    if (!is_taken)
        take();
    errno = errno_before;
}

void replay_screen_begin(struct replay_orders *orders, bool keys)
{
    told = orders;
    has_keys = keys && tcgetattr(STDIN_FILENO, &before) == 0;
    interrupt_also(interrupted);
    interrupt_catch();
    catch_stop();
    if (!has_keys)
        return;
    catch_signal(SIGCONT, continued, SA_RESTART);
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        catch_signal(deadly[i], die, (int)SA_RESETHAND);
    take();
}

/* By default again, unless the handler is not ours. */
static void stop_caught(int number, void (*handler)(int))
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == handler)
        signal(number, SIG_DFL);
}

void replay_screen_end(void)
{
    interrupt_also(NULL);
    has_keys = 0;
    stop_caught(SIGTSTP, stop);
    stop_caught(SIGCONT, continued);
    give_back();
}
