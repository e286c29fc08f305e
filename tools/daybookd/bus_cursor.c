#include "tools/daybookd/bus_cursor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "segment/log.h"
#include "tools/daybookd/bus_state.h"

enum { OPEN_TRIES = 4 };

static void step(struct bus_cursor *cursor);

static struct bus_cursor *cursor_of(struct keeper_task *task)
{
    return (struct bus_cursor *)(void *)((char *)task - offsetof(struct bus_cursor, task));
}

static void fail_owner(struct bus_cursor *cursor, const char *code, const char *text)
{
    struct subscriber *owner = cursor->owner;
    cursor->owner = NULL;
    if (!owner)
        return;
    owner->cursor = NULL;
    subscriber_fail(owner, code, text);
}

/* ---- On the keeper's thread ---- */

static enum error_code open_or_make(const struct bus_cursor_wanted *wanted, int log_fd,
                                    struct segment_cursor **handle_out, struct error *error)
{
    const uint8_t *log_id = segment_log_id(wanted->bus->options.log);
    enum error_code code = OK;
    for (unsigned tries = 0; tries < OPEN_TRIES; tries++) {
        code = segment_cursor_open(log_fd, wanted->name, log_id, handle_out, error);
        if (code != ERROR_NOT_FOUND || !wanted->may_make)
            return code;
        code = segment_cursor_create(log_fd, wanted->name, log_id, wanted->kind, wanted->make_at,
                                     clock_realtime_ns(), handle_out, error);
        /* Another process is making one, which is done soon: that is not for ever, as `taken` is. */
        if (code == ERROR_BUSY)
            return error->code = ERROR_FULL;
        if (code != ERROR_EXISTS)
            return code;
        /* Another process has made it meanwhile. */
    }
    return code;
}

enum error_code bus_cursor_open(const struct bus_cursor_wanted *wanted,
                                struct segment_cursor **handle_out, struct error *error)
{
    int log_fd = -1;
    if (atomic_load(&wanted->bus->ended)) /* nobody is there any more for whom it would be */
        return error_set(error, ERROR_FULL, "the daemon is stopping");
    enum error_code code =
        file_open_directory_to_read(wanted->bus->options.directory, &log_fd, error);
    if (!code)
        code = open_or_make(wanted, log_fd, handle_out, error);
    file_close(&log_fd);
    return code;
}

static void work_open(struct keeper_task *task)
{
    struct bus_cursor *cursor = cursor_of(task);
    const struct bus_cursor_wanted wanted = {
        .bus = cursor->bus,
        .name = cursor->name,
        .kind = CURSOR_SINGLE,
        .may_make = cursor->may_make,
        .make_at = cursor->make_at,
    };
    cursor->error.code = bus_cursor_open(&wanted, &cursor->handle, &cursor->error);
}

static void work_commit(struct keeper_task *task)
{
    struct bus_cursor *cursor = cursor_of(task);
    cursor->error.code = segment_cursor_commit(cursor->handle, cursor->working,
                                               clock_realtime_ns(), &cursor->error);
}

static void work_close(struct keeper_task *task)
{
    struct bus_cursor *cursor = cursor_of(task);
    segment_cursor_close(cursor->handle);
    cursor->handle = NULL;
    cursor->error.code = OK;
}

/* ---- What came of it ---- */

static void give(struct bus_cursor *cursor, void (*work)(struct keeper_task *),
                 void (*done)(struct keeper_task *))
{
    assert(!cursor->busy);
    cursor->busy = true;
    cursor->task.work = work;
    cursor->task.done = done;
    cursor->task.may_wait = work == work_open;
    keeper_give(cursor->bus->keeper, &cursor->task);
}

const char *bus_cursor_open_code(enum error_code code)
{
    switch (code) {
    case ERROR_BUSY:
        return "taken";
    case ERROR_INVALID:
        return "invalid";
    case ERROR_FULL:
    case ERROR_MEMORY:
        return "busy";
    default:
        return "io";
    }
}

static enum error_code check_opened(const struct bus_cursor *cursor, struct error *error)
{
    const struct segment_cursor_state *state = segment_cursor_state(cursor->handle);
    if (state->kind != CURSOR_SINGLE)
        return error_set(error, ERROR_INVALID, "cursor '%s' is shared by a group; subscribe with "
                         "\"shared\", or take another name", cursor->name);
    return segment_cursor_check_position(cursor->name, state,
                                         segment_log_durable(cursor->bus->options.log), error);
}

static void done_open(struct keeper_task *task)
{
    struct bus_cursor *cursor = cursor_of(task);
    struct subscriber *owner = cursor->owner;
    cursor->busy = false;
    if (cursor->error.code == ERROR_NOT_FOUND && !cursor->may_make) {
        cursor->missing = true;
        if (owner)
            subscriber_find_start(owner); /* it may go then, and the cursor with it */
        else
            step(cursor);
        return;
    }
    if (!cursor->error.code)
        cursor->error.code = check_opened(cursor, &cursor->error);
    if (cursor->error.code)
        fail_owner(cursor, bus_cursor_open_code(cursor->error.code), cursor->error.text);
    else
        cursor->committed = cursor->wanted = segment_cursor_state(cursor->handle)->position;
    step(cursor);
}

static enum error_code write_committed(const struct subscriber *owner, struct buffer *out,
                                       uint64_t position)
{
    return owner->lines ? buffer_printf(out, NULL, "{\"committed\":%" PRIu64 "}\n", position)
                        : wire_write_committed(out, position, NULL);
}

static void tell_committed(const struct bus_cursor *cursor)
{
    struct subscriber *owner = cursor->owner;
    if (!owner || !owner->begun)
        return;
    subscriber_answered(owner, write_committed(owner, &owner->answers, cursor->committed));
    if (!owner->gone)
        subscriber_send(owner, NULL);
}

static void done_commit(struct keeper_task *task)
{
    struct bus_cursor *cursor = cursor_of(task);
    cursor->busy = false;
    if (cursor->error.code) {
        cursor->wanted = cursor->committed; /* the handle stores nothing more */
        error_prefix(&cursor->error, "commit of cursor '%s'", cursor->name);
        fail_owner(cursor, "io", cursor->error.text);
    } else {
        cursor->committed = cursor->working;
        tell_committed(cursor);
    }
    step(cursor);
}

static void done_close(struct keeper_task *task)
{
    struct bus_cursor *cursor = cursor_of(task);
    cursor->busy = false;
    cursor->missing = cursor->may_make = false;
    step(cursor);
}

/* What has to be done next; nothing while the keeper is at it. */
static void step(struct bus_cursor *cursor)
{
    struct subscriber *owner = cursor->owner;
    if (cursor->busy)
        return;
    if (cursor->handle && cursor->wanted > cursor->committed) {
        cursor->working = cursor->wanted;
        give(cursor, work_commit, done_commit);
    } else if (!owner && cursor->handle) {
        give(cursor, work_close, done_close);
    } else if (!owner) {
        list_remove(&cursor->in_cursors);
        free(cursor);
    } else if (!cursor->handle && (!cursor->missing || cursor->may_make)) {
        give(cursor, work_open, done_open);
    } else if (cursor->handle && !owner->begun) {
        subscriber_begin(owner, cursor->committed);
        bus_place(cursor->bus, owner);
    }
}

/* ---- For subscribers ---- */

static struct bus_cursor *find(const struct bus *bus, const struct wire_text *name)
{
    for (struct list_link *link = bus->cursors.next; link != &bus->cursors; link = link->next) {
        struct bus_cursor *cursor = LIST_MEMBER(link, struct bus_cursor, in_cursors);
        if (strlen(cursor->name) == name->bytes &&
            memcmp(cursor->name, name->text, name->bytes) == 0)
            return cursor;
    }
    return NULL;
}

/* A program can take over from itself; but what one user has in use is not for another to take. */
static enum error_code replace_owner(struct bus_cursor *cursor, const struct subscriber *newcomer,
                                     struct error *error)
{
    struct subscriber *owner = cursor->owner;
    if (!owner)
        return OK;
    if (newcomer->peer.uid != 0 && owner->peer.uid != newcomer->peer.uid)
        return error_set(error, ERROR_EXISTS, "cursor '%s' is in use by user %u", cursor->name,
                         (unsigned)owner->peer.uid);
    struct error why;
    error_set(&why, ERROR_BUSY, "another connection (pid %d) subscribes with cursor '%s'",
              (int)newcomer->peer.pid, cursor->name);
    fail_owner(cursor, "replaced", why.text);
    return OK;
}

static struct bus_cursor *create(struct bus *bus, const struct wire_text *name)
{
    struct bus_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor)
        return NULL;
    cursor->bus = bus;
    memcpy(cursor->name, name->text, name->bytes);
    list_append(&bus->cursors, &cursor->in_cursors);
    return cursor;
}

enum error_code bus_cursor_take(struct bus *bus, struct subscriber *subscriber,
                                const struct wire_text *name, struct error *error)
{
    enum error_code code = segment_cursor_check_name(name->text, name->bytes, error);
    if (code)
        return code;
    if (bus_group_is_open(bus, name->text, name->bytes))
        return error_set(error, ERROR_INVALID,
                         "cursor '%.*s' is in use by a group; subscribe with \"shared\", or take "
                         "another name",
                         (int)name->bytes, name->text);
    struct bus_cursor *cursor = find(bus, name);
    code = cursor ? replace_owner(cursor, subscriber, error) : OK;
    if (code)
        return code;
    if (!cursor)
        cursor = create(bus, name);
    if (!cursor)
        return error_set(error, ERROR_MEMORY, "no memory for a cursor");
    if (!cursor->busy)
        cursor->missing = cursor->may_make = false; /* where it begins is for the newcomer to say */
    cursor->owner = subscriber;
    subscriber->cursor = cursor;
    step(cursor);
    return OK;
}

bool bus_cursor_is_open(const struct bus *bus, const char *name, size_t name_bytes)
{
    const struct bus_cursor *cursor = find(bus, &(struct wire_text){name, name_bytes});
    return cursor && cursor->owner;
}

void bus_cursor_make(struct bus_cursor *cursor, uint64_t position)
{
    cursor->may_make = true;
    cursor->make_at = position;
    step(cursor);
}

void bus_cursor_leave(struct bus_cursor *cursor)
{
    cursor->owner = NULL;
    step(cursor);
}

void bus_cursor_commit(struct bus_cursor *cursor, uint64_t position)
{
    if (position <= cursor->committed) {
        tell_committed(cursor);
        return;
    }
    if (position > cursor->wanted)
        cursor->wanted = position;
    step(cursor);
}

void bus_cursors_end(struct bus *bus)
{
    while (!list_is_empty(&bus->cursors) || bus->listings > 0)
        keeper_take_done(bus->keeper, true);
}
