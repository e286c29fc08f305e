/*
 * tools/daybookd/bus_cursor.h - a cursor that a subscriber has open, and what becomes of its
 * commits.
 *
 * All that waits for the disk is done by the keeper (keeper.h), one task of a cursor at a time;
 * commits that come meanwhile become one. The cursor is the subscriber's who came last: the one
 * before is told "replaced", and the new one begins once what was asked for before is durable. One
 * whose owner has gone is closed, after its last commit.
 *
 * Invariants
 *   - `committed` is durable, and only then told.
 *   - `handle` and `error` are the keeper's while `busy`.
 *
 * The bus thread's.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_BUS_CURSOR_H
#define DAYBOOK_TOOLS_DAYBOOKD_BUS_CURSOR_H

#include "segment/cursor.h"
#include "tools/client/wire_subscription.h"
#include "tools/daybookd/keeper.h"
#include "tools/daybookd/list.h"

struct bus;
struct subscriber;

struct bus_cursor {
    struct keeper_task task;
    struct bus *bus;
    struct list_link in_cursors;
    char name[SEGMENT_CURSOR_NAME_BYTES_MAX + 1];
    struct subscriber *owner;      /* NULL: gone */
    struct segment_cursor *handle; /* NULL: not open */
    bool busy;
    bool missing; /* there is none of this name: it has to be made, and where is being found out */
    bool may_make;
    uint64_t make_at;             /* … at this position */
    uint64_t committed, wanted;   /* positions */
    uint64_t working;             /* … of the task at hand */
    struct error error;           /* of the task */
};

/*
 * Give `subscriber` the cursor of this name; it begins (subscriber_begin) when that is open.
 * ERROR_INVALID: the name. ERROR_EXISTS: another user's subscriber has it. ERROR_MEMORY.
 */
enum error_code bus_cursor_take(struct bus *bus, struct subscriber *subscriber,
                                const struct wire_text *name, struct error *error);
/* The cursor is new, and this is where it begins. */
void bus_cursor_make(struct bus_cursor *cursor, uint64_t position);
/* Its owner has gone. */
void bus_cursor_leave(struct bus_cursor *cursor);
/* Its owner wants this committed; it is told when it is. */
void bus_cursor_commit(struct bus_cursor *cursor, uint64_t position);
/* Is a cursor of this name here, with an owner? */
bool bus_cursor_is_open(const struct bus *bus, const char *name, size_t name_bytes);
/* Wait until nothing is open any more; there are no subscribers. */
void bus_cursors_end(struct bus *bus);

/* Have the list of all cursors made for this subscriber. ERROR_BUSY: one is being made for it. */
enum error_code bus_cursors_list(struct bus *bus, struct subscriber *subscriber,
                                 struct error *error);
/* It has gone, and needs no list. */
void bus_cursors_forget(struct subscriber *subscriber);

/* ---- For groups, too ---- */

struct bus_cursor_wanted {
    struct bus *bus;
    const char *name;
    enum segment_cursor_kind kind; /* if it is made */
    bool may_make;
    uint64_t make_at;
};

/*
 * On the keeper's thread: open the cursor, or make it. ERROR_BUSY: another process uses it.
 * ERROR_FULL: it cannot be made just now. ERROR_NOT_FOUND: it is not to be made.
 */
enum error_code bus_cursor_open(const struct bus_cursor_wanted *wanted,
                                struct segment_cursor **handle_out, struct error *error);
/* The wire's word for why it could not be opened. */
const char *bus_cursor_open_code(enum error_code code);

#endif
