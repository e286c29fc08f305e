/*
 * tools/zmq/outlet.h - from the log to a PUB socket: every durable event, in order, to whoever is
 * subscribed, and history to whoever asks for it (request.h).
 *
 * The gateway's cursor follows what was given to libzmq, a moment behind, because that may still be
 * in memory when the gateway is killed: so after a restart events may come twice, and none is
 * missing for who keeps up. What libzmq keeps for a subscriber that is further behind (at most
 * `hwm` messages) is lost with the process: nobody tells us when it has left. At a clean stop we
 * wait for what has left, and none comes twice.
 *
 * A subscriber that does not read has `hwm` messages kept for it. When those are used up the live
 * events wait for it, in the log, as long as it takes a thousand a second; but not for more than a
 * second for one that takes none. That one misses events, as ZeroMQ has it, which is said and
 * counted. Who asked for history, on a socket of its own, is waited for without a limit, and
 * nobody else waits.
 *
 * It is an XPUB socket that decides itself what a subscription means (ZMQ_XPUB_MANUAL): with that a
 * subscriber of everything gets everything that is live, and not what others have asked for.
 *
 * One thread runs it.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_OUTLET_H
#define DAYBOOK_TOOLS_ZMQ_OUTLET_H

#include "core/error.h"
#include "tools/daybookd/report.h"
#include "tools/zmq/counts.h"

struct outlet;

/* All borrowed. */
struct outlet_options {
    const char *address;
    const char *directory; /* as in daybook_options */
    const char *socket;
    const char *prefix;
    const char *cursor;
    int64_t settle_ns;
    int hwm;
    const struct report *report;
    struct counts *counts;
    int stop_fd; /* readable when it is time to stop */
};

/* Listen. The caller owns *outlet_out. */
enum error_code outlet_create(const struct outlet_options *options, struct outlet **outlet_out,
                              struct error *error);
/*
 * Until it is time to stop, and half a second more. Errors: the gateway cannot go on; ERROR_BUSY:
 * because somebody else has the cursor.
 */
enum error_code outlet_run(struct outlet *outlet, struct error *error);
/* Accepts NULL. */
void outlet_free(struct outlet *outlet);

#endif
