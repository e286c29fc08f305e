#include "tools/daybookd/turns.h"

void turns_init(struct turns *turns)
{
    list_init(&turns->light);
    list_init(&turns->heavy);
}

static void refill(struct connection *connection, int64_t now_ns)
{
    int64_t credit_ns = connection->credit_ns + (now_ns - connection->credited_ns) / TURNS_SHARE;
    connection->credit_ns = credit_ns < TURNS_CREDIT_NS ? credit_ns : TURNS_CREDIT_NS;
    connection->credited_ns = now_ns;
}

/*
 * Strangers come last: or who connects again for each frame would never use up its allowance. So do
 * those who have hung up: thousands who leave at once are many rounds' work that nobody waits for.
 * Who is being shown the door goes first: others wait for its memory or its place. Who does not
 * finish within a turn is not light whatever it has saved up: or twenty clients, each with a share
 * of its own, would take twenty turns before everybody else's next.
 */
static bool is_light(const struct connection *connection)
{
    bool known = connection->session.welcomed || connection->lines.count > 0;
    return connection->closing ||
           (known && !connection->hung_up && !connection->cut_short && connection->credit_ns >= 0);
}

void turns_add(struct turns *turns, struct connection *connection, int64_t now_ns)
{
    if (list_contains(&connection->in_ready))
        return;
    refill(connection, now_ns);
    list_append(is_light(connection) ? &turns->light : &turns->heavy, &connection->in_ready);
}

bool turns_are_due(const struct turns *turns)
{
    return !list_is_empty(&turns->light) || !list_is_empty(&turns->heavy);
}

void turns_take_light(struct turns *turns, struct list_link *round)
{
    list_init(round);
    while (!list_is_empty(&turns->light)) {
        struct list_link *link = turns->light.next;
        list_remove(link);
        list_append(round, link);
    }
}

struct connection *turns_take_heavy(struct turns *turns)
{
    if (list_is_empty(&turns->heavy))
        return NULL;
    struct connection *connection = LIST_MEMBER(turns->heavy.next, struct connection, in_ready);
    list_remove(&connection->in_ready);
    return connection;
}

void turns_charge(struct connection *connection, int64_t spent_ns, int64_t now_ns)
{
    refill(connection, now_ns);
    connection->credit_ns -= spent_ns;
    if (connection->credit_ns < -TURNS_DEBT_NS)
        connection->credit_ns = -TURNS_DEBT_NS;
}
