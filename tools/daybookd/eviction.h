/*
 * tools/daybookd/eviction.h - who has to go when memory or places for clients are used up.
 *
 * Not simply the one who asks: then whoever takes everything first would keep all others out. These
 * functions only choose; connection_evict does it.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_EVICTION_H
#define DAYBOOK_TOOLS_DAYBOOKD_EVICTION_H

#include "tools/daybookd/connection.h"
#include "tools/daybookd/peers.h"

/*
 * Of `all` (linked by in_all) except `asking`: who has held input memory for longest with half a
 * frame, or without reading its answers. NULL: nobody has for longer than CONNECTION_HOLD_MS, but
 * for one whose input the examiner reads.
 */
struct connection *eviction_for_memory(struct list_link *all, const struct connection *asking,
                                       int64_t now_ns);
/* Does somebody else hold input memory? It comes back, or its holder can be evicted soon. */
bool eviction_can_wait(struct list_link *all, const struct connection *asking);

/* Who has not read its answers for longest; NULL: everybody reads. */
struct connection *eviction_for_answers(struct list_link *all);

/*
 * Who has to give up a place for a newcomer: the process that has most of all connections, when it
 * has more than a quarter of `connections_max`; else the user (pid 0) who has most, when those are
 * more than half. False: there is no such process or user, or `newcomer` is from it.
 */
bool eviction_greediest(const struct peers *peers, size_t connections_max,
                        const struct ucred *newcomer, struct peers_entry *whose_out);
/* The longest idle connection of those. NULL: there is none. *process_out: which of the two. */
struct connection *eviction_for_place(struct list_link *all, const struct peers *peers,
                                      size_t connections_max, const struct ucred *newcomer,
                                      bool *process_out);

#endif
