/*
 * tests/tools/bus_stage.h - a bus that is gone through round by round, with a log and clients that
 * do what the test says, when it says so.
 *
 * Event number n has the topic of its number ("even" or "odd") and the map {"n": n, "fill": bin} as
 * its payload, whose bytes follow from n: so a client can tell of each event alone whether it is
 * right.
 */
#ifndef DAYBOOK_TESTS_TOOLS_BUS_STAGE_H
#define DAYBOOK_TESTS_TOOLS_BUS_STAGE_H

#include "segment/log.h"
#include "tools/client/wire_subscription.h"
#include "tools/daybookd/bus_state.h"

extern struct segment_log *stage_log;
extern struct bus *stage_bus;

/* A new log, in stage_bus->options.directory; segments of at most so many bytes (0: as usual). */
void stage_open(uint64_t segment_bytes);
/* Closes all clients, too. */
void stage_close(void);
struct progress *stage_progress(void);
/* Append so many events, each with so many bytes of payload; durable with the next commit. */
void stage_append(unsigned count, size_t bytes);
/* What was appended becomes durable, as one block (or more, when it is too large for one). */
void stage_commit(void);
/* The bus's and everybody's time goes on. */
void stage_pass(int64_t ns);
/* From now on so much time goes by whenever somebody looks at the clock. */
void stage_look_takes(int64_t ns);

/* One round, after whatever rest the bus was taking. */
void stage_round(void);
/* Rounds, until nothing is left that could be done. */
void stage_settle(void);

enum { STAGE_GAPS_MAX = 64 };

struct stage_client {
    int fd, slot;
    bool lines;
    struct buffer *received; /* the stage's */
    bool subscribed, caught_up, closed;
    uint64_t after;             /* as told */
    uint64_t last;              /* sequence of the last event, or of what was looked at */
    uint64_t caught_up_at;
    unsigned times_caught_up;
    unsigned events;            /* got */
    unsigned pongs;
    unsigned frames;            /* events frames, also empty ones */
    bool only_even;             /* asked for these only */
    uint64_t committed;
    uint64_t bytes; /* received */
    struct {
        uint64_t first, last;
        char cause[32];
    } lost[STAGE_GAPS_MAX];
    unsigned lost_count;
    char error_code[32], error_text[800]; /* of an error frame or line */
};

/* Connected and handed over; its sockets hold about so many bytes (0: as many as usual). */
void stage_connect(struct stage_client *client, bool lines, int socket_bytes);
void stage_hang_up(struct stage_client *client);
void stage_send(struct stage_client *client, const struct buffer *bytes);
/* One frame of these. Sent now; the bus reads it in its next round. */
void stage_subscribe(struct stage_client *client, const struct wire_subscribe *subscribe);
void stage_credit(struct stage_client *client, uint64_t events);
void stage_commit_cursor(struct stage_client *client, uint64_t sequence);
void stage_say(struct stage_client *client, const char *line);
/*
 * Take at most so many bytes that have come, and look at every whole frame: each event is right,
 * and none comes twice, out of order or where it has been said to be lost, nor is left out.
 */
void stage_read(struct stage_client *client, size_t bytes_max);

#endif
