/*
 * tools/zmq/inlet.h - from a PULL socket into the log, and the gateway's heartbeat.
 *
 * What the gateway has taken from ZeroMQ it holds until the daemon has said that it is durable
 * (tray.h), and sends it again over lost connections and daemons that come back; the producer's
 * number, which the client library gives, keeps the log from storing it twice. While the daemon is
 * away, or its disk is full, nothing more is taken: the sockets fill, and the producers wait, as
 * ZeroMQ has it. ZeroMQ has no acknowledgements, so the promise begins when an event is durable:
 * what is in sockets, and the few events in the tray, are lost when the gateway itself is killed.
 *
 * A message that is no event is refused: one line, and counted.
 *
 * One thread runs it.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_INLET_H
#define DAYBOOK_TOOLS_ZMQ_INLET_H

#include "core/error.h"
#include "tools/daybookd/report.h"
#include "tools/zmq/counts.h"

struct inlet;

/* All borrowed. */
struct inlet_options {
    const char *address;
    const char *directory; /* as in daybook_options */
    const char *socket;
    const char *producer;
    int64_t heartbeat_ns; /* 0: none */
    const struct report *report;
    struct counts *counts;
    int stop_fd; /* readable when it is time to stop */
};

/* Listen. The caller owns *inlet_out. */
enum error_code inlet_create(const struct inlet_options *options, struct inlet **inlet_out,
                             struct error *error);
/*
 * Until it is time to stop: then take what has come, and have it stored, for at most 0.8 s.
 * ERROR_END: events that had been taken could not be stored in this time; the text says how many.
 * Other errors: the gateway cannot go on.
 */
enum error_code inlet_run(struct inlet *inlet, struct error *error);
/* Accepts NULL. */
void inlet_free(struct inlet *inlet);

#endif
