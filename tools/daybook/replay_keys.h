/*
 * tools/daybook/replay_keys.h - what the keys of a replay mean.
 *
 *     space        pause, and go on        right, +   10 s forward
 *     . n          one event               left, -    10 s back
 *     q            end                     up, down   1 min forward, back
 *
 * A decoder of the bytes that a terminal sends, one at a time: arrows come as several.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_KEYS_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_KEYS_H

#include <stdint.h>

#define REPLAY_KEYS_HELP "space pause, . step, arrows 10 s/1 min, q end"

enum replay_order {
    REPLAY_ORDER_NONE,
    REPLAY_ORDER_PAUSE,
    REPLAY_ORDER_STEP,
    REPLAY_ORDER_BACK_10S,
    REPLAY_ORDER_FORWARD_10S,
    REPLAY_ORDER_BACK_1MIN,
    REPLAY_ORDER_FORWARD_1MIN,
    REPLAY_ORDER_END,
};

/* Zero-initialised is ready. */
struct replay_keys {
    enum { REPLAY_KEYS_PLAIN, REPLAY_KEYS_ESCAPE, REPLAY_KEYS_SEQUENCE } state;
};

enum replay_order replay_keys_feed(struct replay_keys *keys, unsigned char byte);
/* By how much recorded time an order turns the clock; 0: it does not. */
int64_t replay_keys_seek_ns(enum replay_order order);

#endif
