#include "tools/daybookd/peers.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

static struct peers_entry *find(const struct peers *peers, pid_t pid, uid_t uid)
{
    for (size_t i = 0; i < peers->count; i++)
        if (peers->entries[i].pid == pid && peers->entries[i].uid == uid)
            return &peers->entries[i];
    return NULL;
}

static enum error_code reserve(struct peers *peers, size_t more, struct error *error)
{
    if (peers->count + more <= peers->capacity)
        return OK;
    size_t capacity = peers->capacity ? 2 * peers->capacity : 16;
    struct peers_entry *entries = realloc(peers->entries, capacity * sizeof *entries);
    if (!entries)
        return error_set(error, ERROR_MEMORY, "no memory to count the clients");
    peers->entries = entries;
    peers->capacity = capacity;
    return OK;
}

static void count_one(struct peers *peers, pid_t pid, uid_t uid)
{
    struct peers_entry *entry = find(peers, pid, uid);
    if (!entry) {
        entry = &peers->entries[peers->count++];
        *entry = (struct peers_entry){.pid = pid, .uid = uid};
    }
    entry->connections++;
}

enum error_code peers_add(struct peers *peers, const struct ucred *peer, struct error *error)
{
    enum error_code code = reserve(peers, 2, error);
    if (code)
        return code;
    count_one(peers, peer->pid, peer->uid);
    count_one(peers, 0, peer->uid);
    return OK;
}

static void discount_one(struct peers *peers, pid_t pid, uid_t uid)
{
    struct peers_entry *entry = find(peers, pid, uid);
    assert(entry);
    if (--entry->connections == 0)
        *entry = peers->entries[--peers->count];
}

void peers_remove(struct peers *peers, const struct ucred *peer)
{
    discount_one(peers, peer->pid, peer->uid);
    discount_one(peers, 0, peer->uid);
}

void peers_free(struct peers *peers)
{
    free(peers->entries);
    *peers = (struct peers){0};
}

size_t peers_of_user(const struct peers *peers, uid_t uid)
{
    const struct peers_entry *entry = find(peers, 0, uid);
    return entry ? entry->connections : 0;
}

static struct peers_entry greediest(const struct peers *peers, bool users)
{
    struct peers_entry most = {0};
    for (size_t i = 0; i < peers->count; i++) {
        const struct peers_entry *entry = &peers->entries[i];
        if ((entry->pid == 0) == users && entry->connections > most.connections)
            most = *entry;
    }
    return most;
}

struct peers_entry peers_greediest_process(const struct peers *peers)
{
    return greediest(peers, false);
}

struct peers_entry peers_greediest_user(const struct peers *peers)
{
    return greediest(peers, true);
}
