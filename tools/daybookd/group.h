/*
 * tools/daybookd/group.h - several consumers of one cursor: who has which event, and what becomes
 * of it.
 *
 * A state machine and nothing else: no input or output, no clock, no thread. Its owner tells it
 * what has happened and when, asks it what is to be done, and keeps its snapshots on the disk
 * (segment/cursor.h).
 *
 *     new -> GIVEN -> accepted: gone
 *              | released, timed out, its member gone: a try has failed
 *              v
 *           RESTING, for a pause -> WAITING -> GIVEN      tries used up: DYING -> buried: gone
 *
 * Healthy events and healthy members do not pay for sick ones:
 *   - When a member goes, the try of that event fails which it was given first of those it has: on
 *     this one it was most likely at work. The others WAIT, with their tries as before.
 *   - What has failed rests before it is given again: 100 ms, then twice that, and so on, at most
 *     ack_timeout and 30 s. So a database that is away for a moment does not use up the tries.
 *   - A member of whose events GROUP_FAILURES failed one after the other *fails*: it settles faster
 *     than those that work, and would have most room. As long as another member is sound, it rests
 *     too, and is then given one event that has never failed, to see, until it accepts one. If no
 *     member is sound it is the events, or what all depend on: then all are given what there is.
 *
 * Invariants
 *   - Everything up to `position` is settled, but for the events that are *pending*: GIVEN,
 *     RESTING, WAITING or DYING. There are at most GROUP_PENDING_MAX of them.
 *   - An event has one member at a time, and only that one can settle it.
 *   - An event that is WAITING is given before any new one to every member that may have it.
 *   - A snapshot loses nothing: who starts from it again gives every event that is not settled in
 *     it, with the tries that have failed. It tells what would be if all members went now.
 *   - A DYING event has the number of its dead letter, which no other event of the cursor gets. The
 *     letter may be written once a snapshot with the number is on the disk, not before: then it can
 *     be written again after a crash, and the log knows it for a duplicate.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_GROUP_H
#define DAYBOOK_TOOLS_DAYBOOKD_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment/cursor.h"

enum {
    GROUP_PENDING_MAX = SEGMENT_CURSOR_PENDING_MAX,
    GROUP_FAILURES = 8, /* in a row: then the member fails, and not the events */
};

/* Of what one member may have; its owner embeds it, zeroed. */
struct group_member {
    uint64_t room; /* so many events it may be given now: its owner sets it, group_give lowers it */
    uint32_t held; /* so many it has, unsettled */
    uint64_t turn; /* when it was given something last, counted in events */
    size_t index;  /* in the group's list */
    uint64_t first;        /* for who looks for what it has had longest: that one's turn */
    uint32_t failures;     /* of its events, since it accepted one */
    uint32_t rests;        /* so many, since then */
    int64_t rest_until_ns; /* 0: it does not rest */
    int64_t accepted_ns;   /* when it last accepted one; 0: never */
};

struct group;

struct group_start {
    uint64_t position;
    uint64_t letters; /* numbers given to dead letters so far, on the disk or in the log */
    const struct segment_cursor_pending *pending; /* ascending */
    size_t pending_count;
    int64_t ack_timeout_ns;
    uint32_t tries; /* 1 to SEGMENT_CURSOR_TRIES_MAX */
    int64_t now_ns; /* what has failed rests from here on */
};

/* NULL: no memory. */
struct group *group_create(const struct group_start *start);
/* It has no member any more. Accepts NULL. */
void group_free(struct group *group);

/* False: no memory. */
bool group_join(struct group *group, struct group_member *member);
/* What it had is for somebody else; what it was given first has failed. */
void group_leave(struct group *group, struct group_member *member, int64_t now_ns);
size_t group_member_count(const struct group *group);

/* The first event that waits, comes behind `after` and may be given to somebody; 0: none. */
uint64_t group_next_waiting(const struct group *group, uint64_t after);
/* Is anything to be given again, now or later? */
bool group_is_waiting(const struct group *group);
/* May a new event be given: no other is before it, somebody may have it, not too many pend? */
bool group_wants_new(const struct group *group);

/*
 * Give the event that group_next_waiting told, or (above position) a new one that the group wants,
 * to the member with most room: of equals the one that has least, then the one whose turn was
 * longest ago; to who had it last only when nobody else has room, and to one that fails only when
 * no sound one has. Returns that member, and which try this is, from 1.
 */
struct group_member *group_give(struct group *group, uint64_t sequence, int64_t now_ns,
                                uint32_t *try_out);
/* Nothing up to here is for this group, or can be given to it any more: go on behind it. */
void group_pass(struct group *group, uint64_t sequence);
/* An event that waits cannot be read any more: it is gone. */
void group_lose(struct group *group, uint64_t sequence);

/* Settle what this member has of first..last. Returns how many events that was. */
size_t group_accept(struct group *group, const struct group_member *member, uint64_t first,
                    uint64_t last, int64_t now_ns);
size_t group_release(struct group *group, const struct group_member *member, uint64_t first,
                     uint64_t last, int64_t now_ns);
/*
 * Take away what has not been settled in time, and end the rests that are over. Returns how many
 * events were taken away.
 */
size_t group_expire(struct group *group, int64_t now_ns);
/* When group_expire has something to do next; INT64_MAX: never, as things are. */
int64_t group_deadline(const struct group *group);

/* The dead letter with the lowest number above `number`; false: there is none. */
bool group_next_letter(const struct group *group, uint64_t number,
                       struct segment_cursor_pending *letter_out);
/* The letter is durable: the event is settled. */
void group_bury(struct group *group, uint64_t sequence);

/*
 * Counts what a snapshot would tell differently, but for progress alone: a group of which nothing
 * was settled need not be stored.
 */
uint64_t group_version(const struct group *group);
uint64_t group_position(const struct group *group);
uint64_t group_letters(const struct group *group);
/* All that is pending, ascending; `pending_out` has room for GROUP_PENDING_MAX. */
size_t group_snapshot(const struct group *group, struct segment_cursor_pending *pending_out);

#endif
