#include "tools/daybookd/eviction.h"

static struct connection *member(struct list_link *link)
{
    return LIST_MEMBER(link, struct connection, in_all);
}

/* ---- Memory ---- */

static bool holds_input(const struct connection *connection, const struct connection *asking)
{
    return connection != asking && !connection->closing && connection->input.capacity > 0;
}

/* Since when it is the client who keeps the memory in use; 0: the log does, or nobody. */
static int64_t held_since_ns(const struct connection *connection)
{
    int64_t unit_ns = connection->unit_since_ns;
    int64_t blocked_ns = connection->blocked_since_ns;
    if (unit_ns == 0 || (blocked_ns != 0 && blocked_ns < unit_ns))
        return blocked_ns;
    return unit_ns;
}

struct connection *eviction_for_memory(struct list_link *all, const struct connection *asking,
                                       int64_t now_ns)
{
    struct connection *longest = NULL;
    int64_t longest_ns = now_ns - CONNECTION_HOLD_MS * INT64_C(1000000);
    for (struct list_link *link = all->next; link != all; link = link->next) {
        struct connection *connection = member(link);
        int64_t since_ns = held_since_ns(connection);
        if (!holds_input(connection, asking) || since_ns == 0 || since_ns >= longest_ns)
            continue;
        /* What the examiner reads cannot be taken from it now, so that nothing would be won. */
        if (connection->away == AWAY_RUNNING)
            continue;
        longest = connection;
        longest_ns = since_ns;
    }
    return longest;
}

bool eviction_can_wait(struct list_link *all, const struct connection *asking)
{
    for (struct list_link *link = all->next; link != all; link = link->next)
        if (holds_input(member(link), asking))
            return true;
    return false;
}

/* ---- Answers ---- */

struct connection *eviction_for_answers(struct list_link *all)
{
    struct connection *longest = NULL;
    for (struct list_link *link = all->next; link != all; link = link->next) {
        struct connection *connection = member(link);
        if (connection->blocked_since_ns == 0 || answers_memory(&connection->answers) == 0)
            continue;
        if (!longest || connection->blocked_since_ns < longest->blocked_since_ns)
            longest = connection;
    }
    return longest;
}

/* ---- Places ---- */

static bool is_of(const struct connection *connection, const struct peers_entry *group)
{
    return connection->peer.uid == group->uid &&
           (group->pid == 0 || connection->peer.pid == group->pid);
}

/* It is in the middle of something: its answer is due, or its bytes wait to be taken. */
static bool is_busy(const struct connection *connection)
{
    return connection->stalled || answers_total_bytes(&connection->answers) > 0 ||
           input_bytes(&connection->input) > 0;
}

/* `all` is in the order of activity, so the first one found is the one. */
static struct connection *find_idlest(struct list_link *all, const struct peers_entry *group)
{
    struct connection *busy = NULL;
    for (struct list_link *link = all->next; link != all; link = link->next) {
        struct connection *connection = member(link);
        if (connection->closing || !is_of(connection, group))
            continue;
        if (!is_busy(connection))
            return connection;
        if (!busy)
            busy = connection;
    }
    return busy;
}

bool eviction_greediest(const struct peers *peers, size_t connections_max,
                        const struct ucred *newcomer, struct peers_entry *whose_out)
{
    struct peers_entry process = peers_greediest_process(peers);
    struct peers_entry user = peers_greediest_user(peers);
    bool same_process = process.uid == newcomer->uid && process.pid == newcomer->pid;
    bool by_process = process.connections >= 2 && process.connections > connections_max / 4 &&
                      !same_process;
    bool by_user = user.connections >= 2 && user.connections > connections_max / 2 &&
                   user.uid != newcomer->uid;
    *whose_out = by_process ? process : user;
    return by_process || by_user;
}

struct connection *eviction_for_place(struct list_link *all, const struct peers *peers,
                                      size_t connections_max, const struct ucred *newcomer,
                                      bool *process_out)
{
    struct peers_entry whose;
    if (!eviction_greediest(peers, connections_max, newcomer, &whose))
        return NULL;
    *process_out = whose.pid != 0;
    return find_idlest(all, &whose);
}
