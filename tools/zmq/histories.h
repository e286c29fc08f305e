/*
 * tools/zmq/histories.h - the flows of events that subscribers have asked for with an @ (request.h):
 * one for each different request, from its start on and then live, as long as somebody is
 * subscribed to it. None drops an event: where the socket has no room, its flow waits, and no other.
 *
 * One thread.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_HISTORIES_H
#define DAYBOOK_TOOLS_ZMQ_HISTORIES_H

#include "tools/zmq/counts.h"
#include "tools/zmq/request.h"
#include "tools/zmq/stream.h"

enum { HISTORIES_MAX = 64 };

/* All borrowed. */
struct histories_options {
    void *pub; /* an XPUB socket that leaves it to us what a subscription means */
    const char *directory;
    const char *socket;
    const char *prefix;
    struct notices *notices;
    struct counts *counts;
};

struct history {
    char *text; /* of the subscription; NULL: this place is free */
    size_t text_bytes;
    unsigned subscribers;
    struct stream stream;
    enum stream_state state;
};

/* Zero-initialised, but for the options, is empty; release frees. */
struct histories {
    struct histories_options options;
    struct history at[HISTORIES_MAX];
};

/*
 * The subscriber whose message was received last has subscribed to `text`. A flow that is there
 * already begins anew. ERROR_FULL: there are too many.
 */
enum error_code histories_begin(struct histories *histories, const struct request *request,
                                const void *text, size_t bytes, struct error *error);
/* … and takes it back. */
void histories_leave(struct histories *histories, const void *text, size_t bytes);
/* A turn for each. True: there may be more at once. */
bool histories_pump(struct histories *histories);
/* Add what to wait for, at most HISTORIES_MAX descriptors, and shorten the time to wait. */
void histories_wait(const struct histories *histories, int *fds, int *count, int64_t *timeout_ns);
void histories_release(struct histories *histories);

#endif
