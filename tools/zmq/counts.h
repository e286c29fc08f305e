/*
 * tools/zmq/counts.h - what the gateway's two threads tell each other, and the heartbeat tells
 * everybody: what has been done since the start.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_COUNTS_H
#define DAYBOOK_TOOLS_ZMQ_COUNTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct counts {
    _Atomic uint64_t received;    /* messages taken from the PULL socket */
    _Atomic uint64_t stored;      /* events durable, its own heartbeats among them */
    _Atomic uint64_t refused;     /* messages that are no event, or that the daemon refused */
    _Atomic uint64_t sent;        /* events given to the PUB socket */
    _Atomic uint64_t replayed;    /* events sent to those who asked for history */
    _Atomic uint64_t left_behind; /* how often subscribers began to miss live events */
    _Atomic uint64_t subscriptions;
    /*
     * The way out has been opened once: whatever is stored from now on is behind the cursor. Before
     * that nothing is taken in, or the first events of a new gateway would pass it by.
     */
    _Atomic bool open;
};

#endif
