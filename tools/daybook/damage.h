/*
 * tools/daybook/damage.h - what can be said about damage without reading the whole log.
 *
 * For `daybook status` and others: whether the segments follow each other, how recovery would judge
 * the last one, whether the log still has what the index and the watermark have seen, and gaps that
 * damage has left. Nothing seen proves nothing: only `daybook verify` reads every byte.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_DAMAGE_H
#define DAYBOOK_TOOLS_DAYBOOK_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Is there damage in the log in `directory`? `durable` is the last sequence that a reader may see.
 * What cannot be examined, for instance for lack of permission, does not count as seen.
 */
bool damage_is_seen(const char *directory, uint64_t durable);

/*
 * For a verb that has answered from the index, which keeps its rows of events that the log has lost
 * (they are the last that is known of them): if damage is seen, say so and return STATUS_DAMAGE,
 * else STATUS_OK. What is on record as lost is no damage any more.
 */
int damage_tell(const char *verb, const char *directory);

/*
 * For a verb that is about to delete segments: if damage is seen, warn. A damaged segment is worth
 * keeping as long as a repair has not taken from it what can be read.
 */
void damage_warn_of_deleting(const char *verb, const char *directory);

#endif
