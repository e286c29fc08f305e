/*
 * tools/daybookd/eviction.h - who has to go when memory or places for clients are used up.
 *
 * Not simply the one who asks: then whoever takes everything first would keep all others out. These
 * functions only choose; connection_evict does it.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_EVICTION_H
#define DAYBOOK_TOOLS_DAYBOOKD_EVICTION_H

#include "tools/daybookd/connection.h"

/*
 * Of `all` (linked by in_all) except `asking`: who has held input memory for longest with half a
 * frame, or without reading its answers. NULL: nobody has for longer than CONNECTION_HOLD_MS.
 */
struct connection *eviction_for_memory(struct list_link *all, const struct connection *asking,
                                       int64_t now_ns);
/* Does somebody else hold input memory? It comes back, or its holder can be evicted soon. */
bool eviction_can_wait(struct list_link *all, const struct connection *asking);

/*
 * The longest idle connection of the process that has most of all connections, when it has more
 * than a quarter of `connections_max`. NULL: there is no such process, or `newcomer` is from it.
 */
struct connection *eviction_for_place(struct list_link *all, size_t connections_max,
                                      const struct ucred *newcomer);

#endif
