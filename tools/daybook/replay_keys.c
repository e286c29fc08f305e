#include "tools/daybook/replay_keys.h"

#define SECOND_NS INT64_C(1000000000)

static enum replay_order plain_key(unsigned char byte)
{
    switch (byte) {
    case ' ':
        return REPLAY_ORDER_PAUSE;
    case '.':
    case 'n':
        return REPLAY_ORDER_STEP;
    case '+':
        return REPLAY_ORDER_FORWARD_10S;
    case '-':
        return REPLAY_ORDER_BACK_10S;
    case 'q':
        return REPLAY_ORDER_END;
    default:
        return REPLAY_ORDER_NONE;
    }
}

static enum replay_order arrow_key(unsigned char byte)
{
    switch (byte) {
    case 'A':
        return REPLAY_ORDER_FORWARD_1MIN;
    case 'B':
        return REPLAY_ORDER_BACK_1MIN;
    case 'C':
        return REPLAY_ORDER_FORWARD_10S;
    case 'D':
        return REPLAY_ORDER_BACK_10S;
    default:
        return REPLAY_ORDER_NONE;
    }
}

enum replay_order replay_keys_feed(struct replay_keys *keys, unsigned char byte)
{
    enum { ESCAPE = 0x1b };
    if (byte == ESCAPE) { /* whatever was begun has no end */
        keys->state = REPLAY_KEYS_ESCAPE;
        return REPLAY_ORDER_NONE;
    }
    if (keys->state == REPLAY_KEYS_ESCAPE && (byte == '[' || byte == 'O')) {
        keys->state = REPLAY_KEYS_SEQUENCE;
        return REPLAY_ORDER_NONE;
    }
    if (keys->state == REPLAY_KEYS_SEQUENCE) {
        if (byte >= 0x20 && byte < 0x40) /* parameters, as of Shift with an arrow */
            return REPLAY_ORDER_NONE;
        keys->state = REPLAY_KEYS_PLAIN;
        return arrow_key(byte);
    }
    keys->state = REPLAY_KEYS_PLAIN;
    return plain_key(byte);
}

int64_t replay_keys_seek_ns(enum replay_order order)
{
    switch (order) {
    case REPLAY_ORDER_BACK_10S:
        return -10 * SECOND_NS;
    case REPLAY_ORDER_FORWARD_10S:
        return 10 * SECOND_NS;
    case REPLAY_ORDER_BACK_1MIN:
        return -60 * SECOND_NS;
    case REPLAY_ORDER_FORWARD_1MIN:
        return 60 * SECOND_NS;
    default:
        return 0;
    }
}
