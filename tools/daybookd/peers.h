/*
 * tools/daybookd/peers.h - how many connections each process, and each user, has.
 *
 * Kept up to date as clients come and go, so that the question who has most costs little even when
 * it is asked for each of ten thousand newcomers.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_PEERS_H
#define DAYBOOK_TOOLS_DAYBOOKD_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "core/error.h"

struct peers_entry {
    pid_t pid; /* 0: all of the user's; no process has that (connection_peer) */
    uid_t uid;
    size_t connections;
};

/* Zero-initialised is empty. Users and processes share the array; few of both are usual. */
struct peers {
    struct peers_entry *entries;
    size_t count, capacity;
};

enum error_code peers_add(struct peers *peers, const struct ucred *peer, struct error *error);
void peers_remove(struct peers *peers, const struct ucred *peer);
void peers_free(struct peers *peers);

size_t peers_of_user(const struct peers *peers, uid_t uid);
/* Who has most: a process, or a user (pid 0). All 0 when there is nobody. */
struct peers_entry peers_greediest_process(const struct peers *peers);
struct peers_entry peers_greediest_user(const struct peers *peers);

#endif
