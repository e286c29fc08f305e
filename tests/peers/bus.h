/*
 * tests/peers/bus.h - what another bus speaks, for the measurement of `daybook bench bus`.
 *
 * tests/peers/bus.c opens the connections, keeps the pace and takes the times; a peer only turns
 * events into bytes, and bytes into counts: every answer and every event comes in order.
 */
#ifndef DAYBOOK_TESTS_PEERS_BUS_H
#define DAYBOOK_TESTS_PEERS_BUS_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "tools/daybook/bench_pool.h"

/* One connection: what it will send, and what it has got and not used up. */
struct bus_link {
    int fd;
    struct buffer out, in;
    size_t taken;     /* bytes of `in` that are used up */
    char place[64];   /* the peer's own: where a reader is, or the subject that it listens to */
    unsigned number;  /* of the subscriber */
    uint64_t seen;    /* events so far */
};

struct bus_peer {
    const char *name;
    /* Append to link->out what makes a connection ready; the answers count as taken by bus_peer's
     * own `take_*`, and as no events. */
    void (*open_publisher)(struct bus_link *link);
    void (*open_subscriber)(struct bus_link *link);
    void (*write_event)(struct bus_link *link, const struct bench_pool_event *event);
    /*
     * Use up the whole answers (events) at link->taken, and give how many there are. May append the
     * next request to link->out.
     */
    unsigned (*take_answers)(struct bus_link *link);
    unsigned (*take_events)(struct bus_link *link);
};

extern const struct bus_peer bus_redis, bus_nats;

_Noreturn void bus_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bus_write(struct bus_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void bus_write_bytes(struct bus_link *link, const void *data, size_t bytes);

#endif
