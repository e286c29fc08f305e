/* The list of all cursors, for whoever asks: made by the keeper, for it reads the disk. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "segment/cursors.h"
#include "segment/log.h"
#include "tools/daybookd/bus_state.h"

struct bus_listing {
    struct keeper_task task;
    struct bus *bus;
    struct subscriber *asker; /* NULL: gone */
    struct buffer list;
    uint32_t count;
    struct error error;
};

static struct bus_listing *listing_of(struct keeper_task *task)
{
    return (struct bus_listing *)(void *)((char *)task - offsetof(struct bus_listing, task));
}

static enum error_code add(struct bus_listing *listing,
                           const struct segment_cursors_cursor *cursor, uint64_t durable)
{
    const struct segment_cursor_state *state = &cursor->look.state;
    struct wire_cursor entry = {
        .name = {cursor->name, strlen(cursor->name)},
        .position = state->position,
        .lag = (durable > state->position ? durable - state->position : 0) + state->pending_count,
        .shared = state->kind == CURSOR_SHARED,
        .in_use = cursor->look.in_use,
        .hold = state->hold_bytes > 0,
        .committed_at_ns = state->committed_ns,
    };
    listing->count++;
    return wire_write_cursor(&listing->list, &entry, &listing->error);
}

/* As many as an answer has room for; of those that cannot be read `daybook cursors` tells. */
static void work_list(struct keeper_task *task)
{
    enum { ENTRY_BYTES_MAX = 256 };
    struct bus_listing *listing = listing_of(task);
    struct segment_log *log = listing->bus->options.log;
    struct segment_cursors cursors = {0};
    int log_fd = -1;
    enum error_code code =
        file_open_directory_to_read(listing->bus->options.directory, &log_fd, &listing->error);
    if (!code)
        code = segment_cursors_load(log_fd, segment_log_id(log), &cursors, &listing->error);
    uint64_t durable = segment_log_durable(log);
    for (size_t i = 0; !code && i < cursors.count; i++)
        if (!cursors.list[i].trouble.code &&
            listing->list.size + ENTRY_BYTES_MAX < WIRE_FRAME_MAX - ENTRY_BYTES_MAX)
            code = add(listing, &cursors.list[i], durable);
    segment_cursors_free(&cursors);
    file_close(&log_fd);
    listing->error.code = code;
}

static void answer(struct bus_listing *listing)
{
    struct subscriber *asker = listing->asker;
    if (!asker)
        return;
    asker->listing = NULL;
    if (listing->error.code) {
        subscriber_fail(asker, "io", listing->error.text);
        return;
    }
    subscriber_answered(asker,
                        wire_write_cursors(&asker->answers, &listing->list, listing->count, NULL));
    if (!asker->gone)
        subscriber_send(asker, NULL);
}

static void done_list(struct keeper_task *task)
{
    struct bus_listing *listing = listing_of(task);
    listing->bus->listings--;
    answer(listing);
    buffer_release(&listing->list);
    free(listing);
}

/* Lists that their clients have not read. */
static size_t count_unread(const struct bus *bus)
{
    size_t count = 0;
    for (const struct list_link *link = bus->all.next; link != &bus->all; link = link->next)
        count += LIST_MEMBER((struct list_link *)link, struct subscriber, in_all)->answers.size >
                 2 * SUBSCRIBER_ANSWERS_MAX;
    return count;
}

enum error_code bus_cursors_list(struct bus *bus, struct subscriber *subscriber,
                                 struct error *error)
{
    if (subscriber->listing)
        return error_set(error, ERROR_BUSY, "cursors: the answer to the request before is due");
    if (bus->listings + count_unread(bus) >= BUS_LISTINGS)
        return error_set(error, ERROR_BUSY,
                         "cursors: %d clients are being told already; try again later",
                         BUS_LISTINGS);
    struct bus_listing *listing = calloc(1, sizeof *listing);
    if (!listing)
        return error_set(error, ERROR_MEMORY, "no memory for the list of cursors");
    listing->bus = bus;
    listing->asker = subscriber;
    listing->task.work = work_list;
    listing->task.done = done_list;
    subscriber->listing = listing;
    bus->listings++;
    keeper_give(bus->keeper, &listing->task);
    return OK;
}

void bus_cursors_forget(struct subscriber *subscriber)
{
    if (subscriber->listing)
        subscriber->listing->asker = NULL;
    subscriber->listing = NULL;
}
