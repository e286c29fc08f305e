#include "tools/daybook/replay_orders.h"

void replay_orders_give(struct replay_orders *orders, enum replay_order order)
{
    uint32_t given = __atomic_load_n(&orders->given, __ATOMIC_RELAXED);
    uint32_t taken = __atomic_load_n(&orders->taken, __ATOMIC_ACQUIRE);
    if (given - taken < REPLAY_ORDERS_MAX) {
        orders->ring[given % REPLAY_ORDERS_MAX] = (uint8_t)order;
        __atomic_store_n(&orders->given, given + 1, __ATOMIC_RELEASE);
    }
    bell_ring(&orders->bell);
}

enum replay_order replay_orders_take(struct replay_orders *orders)
{
    uint32_t taken = __atomic_load_n(&orders->taken, __ATOMIC_RELAXED);
    if (__atomic_load_n(&orders->given, __ATOMIC_ACQUIRE) == taken)
        return REPLAY_ORDER_NONE;
    enum replay_order order = (enum replay_order)orders->ring[taken % REPLAY_ORDERS_MAX];
    __atomic_store_n(&orders->taken, taken + 1, __ATOMIC_RELEASE);
    return order;
}

void replay_orders_stopped(struct replay_orders *orders, int64_t ns)
{
    __atomic_fetch_add(&orders->stopped_ns, ns, __ATOMIC_RELAXED);
    bell_ring(&orders->bell);
}

int64_t replay_orders_take_stopped(struct replay_orders *orders)
{
    if (__atomic_load_n(&orders->stopped_ns, __ATOMIC_RELAXED) == 0) /* the usual case, cheap */
        return 0;
    return __atomic_exchange_n(&orders->stopped_ns, 0, __ATOMIC_RELAXED);
}
