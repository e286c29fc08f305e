/*
 * tools/daybook/publisher.h - where published events go: to the daemon when it answers, else into
 * the directory itself, under the writer's lock.
 *
 * Both pipeline: publisher_send does not wait for the disk, publisher_flush does.
 *
 * When the daemon is lost, stderr says so, and that it is back. Once it has not come back in
 * PUBLISHER_PATIENCE_S the publisher has given up, and nothing waits for it again.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_PUBLISHER_H
#define DAYBOOK_TOOLS_DAYBOOK_PUBLISHER_H

#include "segment/log.h"
#include "tools/client/daybook.h"
#include "tools/client/wire.h"

enum { PUBLISHER_PATIENCE_S = 30 };

struct publisher_options {
    const char *verb;      /* named in messages */
    const char *directory; /* NULL: only the daemon will do */
    const char *socket;
    bool daemon_only;
    bool same_log;        /* the daemon must keep the log in `directory`: both were named, apart */
    bool other_log;       /* … must keep another one: its events go there, and would be doubled */
    const char *producer; /* NULL: anonymous */
    enum daybook_ack ack; /* the daemon's; without a daemon all is durable in the end */
    struct segment_log_options settings; /* without a daemon */
    /* The daemon refused the event with this tag. */
    void (*refused)(void *context, uint64_t tag, const char *reason);
    /*
     * It is not stored because the disk is full: one cause for many, so apart from the others.
     * Without a daemon this comes at publisher_close. NULL: as `refused`.
     */
    void (*no_space)(void *context, uint64_t tag, const char *reason);
    /* Nobody knows whether it is stored. May be NULL. */
    void (*unknown)(void *context, uint64_t tag);
    void *context;
};

struct publisher;

/*
 * ERROR_CLOSED: the daemon is not reachable, and only it will do, or a writer that does not answer
 * at the socket holds the log.
 */
enum error_code publisher_open(const struct publisher_options *options,
                               struct publisher **publisher_out, struct error *error);
/* Are events held against schemas where they are written? Not by a daemon of an older release. */
bool publisher_checks_schemas(struct publisher *publisher);
/*
 * Publish one event, checked by event_check; its producer and number are set here. Copies what it
 * needs. ERROR_INVALID: this event is refused. Any other error is the end: publish no more.
 */
enum error_code publisher_send(struct publisher *publisher, const struct event *event, uint64_t tag,
                               struct error *error);
/*
 * Publish all of these, or none, if the log is as expected, and wait until they are durable (or as
 * the ack level says). Their producer and numbers are set here. ERROR_CONFLICT: it is not as
 * expected. ERROR_INVALID: they are refused. Nothing is published in both cases.
 */
enum error_code publisher_publish_together(struct publisher *publisher, const struct event *events,
                                           size_t count, const struct wire_expectation *expected,
                                           struct error *error);
/* No more events for now: let those that came go on their way. Does not wait for them. */
enum error_code publisher_push(struct publisher *publisher, struct error *error);
/* Wait until everything sent has its result. */
enum error_code publisher_flush(struct publisher *publisher, struct error *error);

struct publisher_totals {
    uint64_t stored; /* acknowledged, as the ack level says */
    uint64_t duplicates;
    uint64_t refused;        /* by the daemon, for lack of space too */
    uint64_t unknown;        /* sent, and nobody knows */
    uint64_t sequence_first; /* of ours, 0 when not known */
    uint64_t sequence_last;
    bool embedded;     /* without a daemon */
    uint64_t no_space; /* not stored because the disk is full */
};
void publisher_count(const struct publisher *publisher, struct publisher_totals *totals_out);

/*
 * Flush, close, and without a daemon leave the index caught up. The publisher is gone, whatever is
 * returned. `totals_out` may be NULL. Accepts NULL.
 */
enum error_code publisher_close(struct publisher *publisher, struct publisher_totals *totals_out,
                                struct error *error);

#endif
