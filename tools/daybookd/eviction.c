#include "tools/daybookd/eviction.h"

#include <stdlib.h>

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

/* ---- Places ---- */

static int compare_peers(const void *left, const void *right)
{
    const struct ucred *a = left, *b = right;
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

/* The peers of all that are not going already, sorted; the caller frees them. */
static size_t list_peers(struct list_link *all, struct ucred **peers_out)
{
    size_t count = 0, at = 0;
    for (struct list_link *link = all->next; link != all; link = link->next)
        count += !member(link)->closing;
    struct ucred *peers = count > 0 ? calloc(count, sizeof *peers) : NULL;
    if (!peers)
        return 0;
    for (struct list_link *link = all->next; link != all; link = link->next)
        if (!member(link)->closing)
            peers[at++] = member(link)->peer;
    qsort(peers, count, sizeof *peers, compare_peers);
    *peers_out = peers;
    return count;
}

/* Who has most connections, and how many; 0: nobody. */
static size_t find_greediest(struct list_link *all, struct ucred *peer_out)
{
    struct ucred *peers = NULL;
    size_t count = list_peers(all, &peers);
    size_t most = 0, first = 0;
    for (size_t i = 0; i < count; i++) {
        if (compare_peers(&peers[i], &peers[first]) != 0)
            first = i;
        if (i - first + 1 > most) {
            most = i - first + 1;
            *peer_out = peers[i];
        }
    }
    free(peers);
    return most;
}

/* It is in the middle of something: its answer is due, or its bytes wait to be taken. */
static bool is_busy(const struct connection *connection)
{
    return connection->stalled || answers_total_bytes(&connection->answers) > 0 ||
           input_bytes(&connection->input) > 0;
}

static bool is_idler(const struct connection *left, const struct connection *right)
{
    if (is_busy(left) != is_busy(right))
        return is_busy(right);
    return left->active_ns < right->active_ns;
}

struct connection *eviction_for_place(struct list_link *all, size_t connections_max,
                                      const struct ucred *newcomer)
{
    struct ucred greedy = {0};
    size_t most = find_greediest(all, &greedy);
    if (most < 2 || most <= connections_max / 4 || compare_peers(&greedy, newcomer) == 0)
        return NULL;
    struct connection *idlest = NULL;
    for (struct list_link *link = all->next; link != all; link = link->next) {
        struct connection *connection = member(link);
        if (connection->closing || compare_peers(&connection->peer, &greedy) != 0)
            continue;
        if (!idlest || is_idler(connection, idlest))
            idlest = connection;
    }
    return idlest;
}
