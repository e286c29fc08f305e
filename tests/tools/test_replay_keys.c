/* tools/daybook/replay_keys.h, replay_orders.h: from a terminal's bytes to what is to be done. */
#include <criterion/criterion.h>
#include <string.h>

#include "tools/daybook/replay_orders.h"

/* What the last byte orders; all before it must order nothing. */
static enum replay_order press(struct replay_keys *keys, const char *bytes)
{
    size_t last = strlen(bytes) - 1;
    for (size_t i = 0; i < last; i++)
        cr_assert_eq(replay_keys_feed(keys, (unsigned char)bytes[i]), REPLAY_ORDER_NONE);
    return replay_keys_feed(keys, (unsigned char)bytes[last]);
}

Test(replay_keys, are_understood_one_byte_at_a_time)
{
    static const struct {
        const char *bytes;
        enum replay_order order;
    } table[] = {
        {" ", REPLAY_ORDER_PAUSE},
        {".", REPLAY_ORDER_STEP},
        {"n", REPLAY_ORDER_STEP},
        {"q", REPLAY_ORDER_END},
        {"+", REPLAY_ORDER_FORWARD_10S},
        {"-", REPLAY_ORDER_BACK_10S},
        {"\x1b[C", REPLAY_ORDER_FORWARD_10S},
        {"\x1b[D", REPLAY_ORDER_BACK_10S},
        {"\x1b[A", REPLAY_ORDER_FORWARD_1MIN},
        {"\x1b[B", REPLAY_ORDER_BACK_1MIN},
        {"\x1bOA", REPLAY_ORDER_FORWARD_1MIN},
        {"\x1b[1;5D", REPLAY_ORDER_BACK_10S},
        {"\x1b[H", REPLAY_ORDER_NONE},     /* Home */
        {"\x1b[3~", REPLAY_ORDER_NONE},    /* Delete */
        {"\x1b\x1b[C", REPLAY_ORDER_FORWARD_10S},
        {"\x1b[\x1b[C", REPLAY_ORDER_FORWARD_10S},
        {"\x1bq", REPLAY_ORDER_END},       /* Escape, then q */
        {"x", REPLAY_ORDER_NONE},
        {"\xc3\xa4", REPLAY_ORDER_NONE},
    };
    struct replay_keys keys = {0};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_eq(press(&keys, table[i].bytes), table[i].order, "key %zu", i);
    cr_assert_eq(press(&keys, " "), REPLAY_ORDER_PAUSE); /* nothing is left open */
}

Test(replay_keys, only_arrows_turn_the_clock)
{
    cr_assert_eq(replay_keys_seek_ns(REPLAY_ORDER_BACK_1MIN), -60 * INT64_C(1000000000));
    cr_assert_eq(replay_keys_seek_ns(REPLAY_ORDER_FORWARD_10S), 10 * INT64_C(1000000000));
    cr_assert_eq(replay_keys_seek_ns(REPLAY_ORDER_PAUSE), 0);
}

Test(replay_orders, come_in_order_and_ring_the_bell)
{
    struct replay_orders orders = {0};
    uint32_t rings = bell_rings(&orders.bell);
    cr_assert_eq(replay_orders_take(&orders), REPLAY_ORDER_NONE);
    replay_orders_give(&orders, REPLAY_ORDER_PAUSE);
    replay_orders_give(&orders, REPLAY_ORDER_END);
    cr_assert_neq(bell_rings(&orders.bell), rings);
    bell_wait(&orders.bell, rings, INT64_MAX); /* has rung: does not wait */
    cr_assert_eq(replay_orders_take(&orders), REPLAY_ORDER_PAUSE);
    cr_assert_eq(replay_orders_take(&orders), REPLAY_ORDER_END);
    cr_assert_eq(replay_orders_take(&orders), REPLAY_ORDER_NONE);
}

Test(replay_orders, are_bounded)
{
    struct replay_orders orders = {0};
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 2 * REPLAY_ORDERS_MAX; i++)
            replay_orders_give(&orders, REPLAY_ORDER_STEP);
        unsigned taken = 0;
        while (replay_orders_take(&orders) == REPLAY_ORDER_STEP)
            taken++;
        cr_assert_eq(taken, REPLAY_ORDERS_MAX);
    }
}

Test(replay_orders, tell_once_for_how_long_the_process_was_stopped)
{
    struct replay_orders orders = {0};
    replay_orders_stopped(&orders, 5);
    replay_orders_stopped(&orders, 7);
    cr_assert_eq(replay_orders_take_stopped(&orders), 12);
    cr_assert_eq(replay_orders_take_stopped(&orders), 0);
}
