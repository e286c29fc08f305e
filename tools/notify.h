/*
 * tools/notify.h - tell the service manager how a program is: ready, still alive, stopping.
 *
 * What sd_notify(3) does: one datagram to the socket that $NOTIFY_SOCKET names. The protocol is
 * frozen, and small enough that the manual page itself recommends writing it down instead of
 * linking libsystemd, which would bring three compressors into the daemon.
 *
 * Without the variable nothing is sent. Nothing here ever waits or fails: who cannot be told is not
 * told.
 */
#ifndef DAYBOOK_TOOLS_NOTIFY_H
#define DAYBOOK_TOOLS_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
    int fd;              /* connected; -1: nobody wants to know */
    int64_t watchdog_ns; /* how often it must hear from us at least; 0: it does not watch */
    int64_t due_ns;      /* when the next sign of life is due (monotonic) */
};

/*
 * Look at the environment, once, and take the variables out of it: they are not for programs that
 * this one starts.
 */
void notify_init(struct notify *notify);
/*
 * Is it time for a sign of life ("WATCHDOG=1", a "STATUS=…")? Every ten seconds, or four times as
 * often as the watchdog wants. For who asks about once a second; one thread. Accepts NULL.
 */
bool notify_is_due(struct notify *notify, int64_t now_ns);
/*
 * Lines `NAME=value` as in sd_notify(3): "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…".
 * Accepts NULL.
 */
void notify_send(const struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void notify_release(struct notify *notify);

#endif
