/*
 * tools/daybookd/turns.h - who of the connections with work gets the next turn.
 *
 * Each connection has an allowance of the network thread's time, which refills. Who keeps within it
 * and has finished within its last turn is light, and gets a turn in each round; who has used it
 * up, has more to do than a turn holds, has not said who it is, or has hung up, is heavy: all of
 * those share what a round has left, one after the other. So a client that sends one event at a
 * time waits for at most one turn of somebody who sends megabytes, however many of those there are;
 * and when nobody else wants anything they have the thread for themselves.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_TURNS_H
#define DAYBOOK_TOOLS_DAYBOOKD_TURNS_H

#include "tools/daybookd/connection.h"

enum {
    TURNS_SHARE = 10,              /* of the thread's time: a tenth for each */
    TURNS_CREDIT_NS = 2000000,     /* saved up at most */
    TURNS_DEBT_NS = 20000000,      /* owed at most: then light again after 0.2 s of quiet */
    TURNS_HEAVY_ROUND_NS = 200000, /* a round's time for heavy ones; at least one turn */
};

struct turns {
    struct list_link light, heavy;
};

void turns_init(struct turns *turns);
/* Does nothing when it is waiting for its turn already. */
void turns_add(struct turns *turns, struct connection *connection, int64_t now_ns);
bool turns_are_due(const struct turns *turns);
/* Everybody light whose turn it is now, in order; they leave the list for `round`. */
void turns_take_light(struct turns *turns, struct list_link *round);
/* The next heavy one, or NULL. */
struct connection *turns_take_heavy(struct turns *turns);
/* It has had a turn of so long. */
void turns_charge(struct connection *connection, int64_t spent_ns, int64_t now_ns);

#endif
