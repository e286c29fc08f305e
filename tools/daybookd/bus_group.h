/*
 * tools/daybookd/bus_group.h - a group of subscribers with one cursor: its place on the bus.
 *
 * group.h decides who gets what; here its events are read from the log, given to the members'
 * sockets, and its snapshots made durable by the keeper (keeper.h), one task of a group at a time.
 * What members settle meanwhile becomes one store. bus_group.c has its life, bus_group_join.c
 * who comes and goes, bus_group_turn.c what it gives, bus_letter.c its dead letters.
 *
 * Invariants
 *   - "settled" is told once a snapshot without those events is durable.
 *   - `handle`, `error`, `change` and `snapshot` are the keeper's while `busy`.
 *   - A group without members is stored, closed and gone: its cursor is free then.
 *   - A member whose socket takes no more is given nothing until it has room again.
 *
 * The bus thread's.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_BUS_GROUP_H
#define DAYBOOK_TOOLS_DAYBOOKD_BUS_GROUP_H

#include "segment/cursor.h"
#include "tools/client/wire_subscription.h"
#include "tools/daybookd/bus_letter.h"
#include "tools/daybookd/filter.h"
#include "tools/daybookd/group.h"
#include "tools/daybookd/keeper.h"
#include "tools/daybookd/list.h"
#include "tools/daybookd/log_stream.h"

struct bus;
struct subscriber;

/* Of a group, not durable yet: beyond this it gives nothing. */
enum { BUS_GROUP_SETTLINGS = 4096 };

/* What a member is told once this version of the group is durable. */
struct bus_settling {
    struct subscriber *member; /* NULL: gone */
    uint64_t id, count, version;
};

struct bus_group {
    struct keeper_task task;
    struct bus *bus;
    struct list_link in_groups;
    struct list_link members;
    char name[SEGMENT_CURSOR_NAME_BYTES_MAX + 1];

    struct filter filter; /* the first member's, and so are these two */
    int64_t ack_timeout_ns;
    uint32_t tries;

    struct segment_cursor *handle; /* NULL: not open */
    struct group *group;           /* NULL: not begun */
    bool busy;
    bool missing, may_make; /* as of a bus_cursor */
    bool stale;  /* it was opened for other members, with other settings */
    bool failed; /* the handle stores nothing more */
    uint64_t make_at;
    struct error error; /* of the task */

    uint64_t stored_version, stored_position, stored_letters;
    int64_t stored_ns;
    struct segment_cursor_change change;
    struct segment_cursor_pending *snapshot; /* room for GROUP_PENDING_MAX */
    uint64_t working_version;
    struct bus_settling *settlings; /* the oldest first */
    size_t settling_count, settling_capacity;
    struct bus_letter letter;

    bool due;    /* somebody may be given something */
    bool at_end; /* everything durable was looked at */
    uint64_t durable_seen;
    size_t unsent_bytes; /* as of the last turn */
    struct log_stream_place place;
};

/*
 * Make `subscriber` a member of the group that `subscribe` names; it begins when that is open.
 * ERROR_INVALID: the name, the filter, or other settings than the group's. ERROR_BUSY: another
 * user's. ERROR_MEMORY: also when there are BUS_GROUPS.
 */
enum error_code bus_group_join(struct bus *bus, struct subscriber *subscriber,
                               const struct wire_subscribe *subscribe, struct error *error);
/* It has gone. */
void bus_group_leave(struct subscriber *subscriber);
/* The group is new, and this is where it begins. */
void bus_group_make(struct bus_group *group, uint64_t position);
/* A member has room, or credit. */
void bus_group_wake(struct bus_group *group);
/* Settle what the member has of these ranges; it is told when that is durable. */
void bus_group_settle(struct subscriber *member, bool accept, uint64_t id,
                      const struct wire_range *ranges, uint32_t count);
/* Is a group with members of this name here? */
bool bus_group_is_open(const struct bus *bus, const char *name, size_t name_bytes);

/* A round's part: give what is due, store what was settled, and see to the dead letters. */
void bus_groups_turn(struct bus *bus);
/* How long the thread may sleep for the groups' sake; 0: not at all. */
int64_t bus_groups_timeout(const struct bus *bus, int64_t longest_ns);
/* Wait until nothing is open any more; there are no subscribers. */
void bus_groups_end(struct bus *bus);

/* ---- Between bus_group*.c and bus_letter.c ---- */

static inline bool bus_group_has_members(const struct bus_group *group)
{
    return !list_is_empty(&group->members);
}

/* Give events to members, a bounded piece of work. */
void bus_group_give(struct bus_group *group);
/* Do what has to be done next; nothing while the keeper is at it. May free the group. */
void bus_group_step(struct bus_group *group);
/* Let the keeper do it. */
void bus_group_task(struct bus_group *group, void (*work)(struct keeper_task *),
                    void (*done)(struct keeper_task *));
static inline struct bus_group *bus_group_of(struct keeper_task *task)
{
    return (struct bus_group *)(void *)((char *)task - offsetof(struct bus_group, task));
}

#endif
