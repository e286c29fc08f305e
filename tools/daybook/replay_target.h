/*
 * tools/daybook/replay_target.h - where a replay's events go: --to.
 *
 *     (nothing)             the standard output, in a format of -o
 *     PATH, unix:PATH       the daemon behind this socket
 *     zmq:ADDR, zmq-pub:ADDR   ZeroMQ: a PUB socket that is bound to the address
 *     zmq-push:ADDR         ZeroMQ: a PUSH socket that connects to it
 *     udp://HOST:PORT       a datagram for each event
 *
 * Every target hands an event over whole, or says that it was dropped and counts it: nothing is
 * left out silently that we can know of. Of one thread.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_TARGET_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_TARGET_H

#include <stdbool.h>

#include "tools/daybook/output.h"
#include "tools/daybook/replay_event.h"

struct replay_target_options {
    const char *verb; /* named in messages */
    const char *to;   /* NULL: standard output */
    struct output_style style;
    const char *prefix;   /* of the first frame, for ZeroMQ */
    uint64_t subscribers; /* a PUB socket waits for so many before it begins */
    const char *other_than; /* the log in this directory is refused; NULL: none is */
};

struct replay_target_counts {
    uint64_t too_large;   /* dropped: does not fit into a datagram */
    uint64_t no_room;     /* dropped: nobody took it in time */
    uint64_t unreachable; /* handed over, and then came news that nobody listens there */
    uint64_t refused;     /* handed over to a daemon, which refused it */
    uint64_t undelivered; /* 1: at the end not everything was taken, and nobody knows how much */
};

struct replay_target;

/* ERROR_INVALID: that is none of the forms above. Opens nothing. */
enum error_code replay_target_check(const char *to, struct error *error);
/*
 * May wait for somebody to listen, and says so: ERROR_END when the user interrupts that.
 * ERROR_CLOSED: the daemon is not reachable.
 */
enum error_code replay_target_open(const struct replay_target_options *options,
                                   struct replay_target **target_out, struct error *error);
/* So many events at most may be added between flushes. */
size_t replay_target_batch(const struct replay_target *target);
/*
 * Hand one event over, at the next flush at the latest; the event stays as it is until then.
 * *sent_out false: it was dropped, which was said and counted. ERROR_CLOSED: nobody is there any
 * more.
 */
enum error_code replay_target_add(struct replay_target *target, const struct replay_event *event,
                                  bool *sent_out, struct error *error);
enum error_code replay_target_flush(struct replay_target *target, struct error *error);
/*
 * The last event is flushed: wait until all are delivered, as far as that can be known. `hurry`:
 * the user has interrupted and will not wait for long.
 */
enum error_code replay_target_finish(struct replay_target *target, bool hurry,
                                     struct error *error);
const struct replay_target_counts *replay_target_counted(const struct replay_target *target);
/* Accepts NULL. */
void replay_target_close(struct replay_target *target);

#endif
