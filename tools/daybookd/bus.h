/*
 * tools/daybookd/bus.h - the thread that serves subscribers.
 *
 * A connection that subscribes leaves the network threads and comes here, for good: so that no
 * filter, no slow reader and no disk that has to give history can hold up a publisher. The thread
 * is made when the first one comes. It has one epoll, and works in rounds: take what clients sent;
 * read what has become durable, once, for all live feeds, and send it (feed.h); then give those who
 * are behind their turns with the log (history.h).
 *
 *     durable events -> log_stream -> feed (filter, encode, ring) -> subscriber -> socket
 *                                      └ one for all subscribers of equal filters
 *
 * Invariants
 *   - Nothing is given to a subscriber before it is durable.
 *   - Whoever publishes makes no system call for the bus unless its thread sleeps and wants to be
 *     woken; and then one.
 *   - Memory: BUS_MEMORY_MAX, whatever subscribers do (docs/operations.md).
 *
 * The functions here may be called from any thread; what the bus consists of is its thread's.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_BUS_H
#define DAYBOOK_TOOLS_DAYBOOKD_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/bytes.h"
#include "core/error.h"
#include "tools/daybookd/report.h"

struct bus;
struct progress;
struct segment_log;

enum {
    BUS_RING_BYTES = 16 << 20,  /* of all live feeds */
    BUS_INPUT_BYTES = 4 << 20,  /* of all unfinished frames */
    BUS_HISTORIES = 4,          /* that are read at a time */
    BUS_HISTORY_BYTES = 12 << 20, /* one: the largest event as JSON, a block, a reader's window */
    BUS_SUBSCRIBER_BYTES = 22528, /* with its answers, and the patterns of its filter */
    BUS_CONDITIONS = 256,         /* different ones at a time */
    BUS_CONDITION_BYTES = 65536,
    BUS_EVICTIONS = 8, /* asked for, and not done yet */
    BUS_LISTINGS = 4,  /* of all cursors, made or on their way */
    BUS_LISTING_BYTES = 2 << 20,
    BUS_GROUPS = 64, /* at a time */
    BUS_GROUP_STATE_BYTES = 256 << 10, /* one: what is pending, also as it is stored; its cursor */
    BUS_GROUP_BYTES = 16 << 20, /* given to members and not taken by their sockets, in all */
    BUS_LETTERS = 8,            /* dead letters on their way, each of one event at most */
    BUS_LETTER_BYTES = 2 << 20,
    BUS_MEMORY_MAX = BUS_RING_BYTES + BUS_INPUT_BYTES + (BUS_HISTORIES + 1) * BUS_HISTORY_BYTES +
                     BUS_CONDITIONS * BUS_CONDITION_BYTES + BUS_LISTINGS * BUS_LISTING_BYTES +
                     BUS_GROUPS * BUS_GROUP_STATE_BYTES + BUS_GROUP_BYTES + 3 * BUS_HISTORY_BYTES +
                     BUS_LETTERS * BUS_LETTER_BYTES,
};

struct bus_options {
    struct segment_log *log; /* all borrowed */
    struct progress *progress;
    const struct report *report;
    const char *directory;
    bool stepped; /* no thread: the owner calls bus_round (bus_state.h); for tests */
};

enum error_code bus_create(const struct bus_options *options, struct bus **bus_out,
                           struct error *error);
/* Ends the thread, and every subscription without a word. Accepts NULL. */
void bus_free(struct bus *bus);

/* A connection that subscribes: what it was, and what it has sent from that request on. */
struct bus_arrival {
    int fd;
    uint64_t number;
    struct ucred peer;
    bool lines;
    struct buffer input;
};
/* Takes over descriptor and input, also when it fails: then the connection is closed. */
enum error_code bus_admit(struct bus *bus, struct bus_arrival *arrival, struct error *error);

/* Readable when somebody has left. */
int bus_departures_fd(const struct bus *bus);
/* Take the peers of up to `max` of those who have left. */
size_t bus_take_departures(struct bus *bus, struct ucred *peers_out, size_t max);

/*
 * Then also append the dead letters that were posted (bus_letter.h). True: something was appended,
 * and has to be committed.
 */
bool bus_append_letters(struct bus *bus);

/* Tell everybody why, and end all subscriptions; who comes later is told the same. */
void bus_end(struct bus *bus, const char *code, const char *text);
/*
 * A place is needed, and of this user (pid 0) or process nobody but subscribers are there: end the
 * one that came first. False: too many are asked for already.
 */
bool bus_evict(struct bus *bus, pid_t pid, uid_t uid);

struct bus_counters {
    uint64_t subscribers, feeds, delivered /* events, ever */, closed /* by us, ever */;
};
void bus_count(struct bus *bus, struct bus_counters *counters_out);

#endif
