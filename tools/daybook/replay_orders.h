/*
 * tools/daybook/replay_orders.h - what the user orders during a replay, on its way to the player.
 *
 * Keys come from the console's thread, signals from their handlers; the player takes orders and
 * sleeps. Every call is safe from anywhere; one thread gives orders, one takes them.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_ORDERS_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_ORDERS_H

#include "tools/daybook/bell.h"
#include "tools/daybook/replay_keys.h"

enum { REPLAY_ORDERS_MAX = 64 };

/* Zero-initialised is empty. */
struct replay_orders {
    struct bell bell; /* rung for orders, signals, and whatever else the player waits for */
    uint8_t ring[REPLAY_ORDERS_MAX];
    uint32_t given;
    uint32_t taken;
    int64_t stopped_ns; /* for so long the process was stopped, and nobody has taken it yet */
};

/* More than can wait are dropped: somebody leans on a key. */
void replay_orders_give(struct replay_orders *orders, enum replay_order order);
/* REPLAY_ORDER_NONE: nothing waits. */
enum replay_order replay_orders_take(struct replay_orders *orders);
/* Ctrl-Z stopped the process for `ns`. */
void replay_orders_stopped(struct replay_orders *orders, int64_t ns);
/* For how long since the last call? */
int64_t replay_orders_take_stopped(struct replay_orders *orders);

#endif
