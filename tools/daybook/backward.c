#include "tools/daybook/backward.h"

#include <stdlib.h>
#include <string.h>

#include "segment/block.h"
#include "segment/reader.h"

/* The first window is small, because most people ask for a few last events; then they double. */
enum { WINDOW_FIRST = 512, WINDOW_MAX = 64 << 10, LOSSES_FIRST = 16 };

/* Where an events block stands. */
struct place {
    uint64_t segment_first;
    uint64_t offset;
    uint64_t sequence_first;
};

struct backward {
    struct segment_reader *reader;
    struct backward_range range;
    uint64_t window_size;  /* how many sequences the next window covers */
    uint64_t window_first; /* the window; the first block may begin before it */
    uint64_t window_last;
    uint64_t sequence_high; /* where the next window ends */
    bool listing;           /* the window is not listed to its end yet */
    struct error damage;    /* the last that was told: windows may meet the same twice */
    struct place *places;   /* of the window's blocks; popped from the end */
    size_t place_count;
    size_t place_capacity;
    struct event *events; /* of the open block, FORMAT_BLOCK_EVENTS_MAX; popped from the end */
    size_t event_count;
    struct segment_format_gap *losses; /* met while listing; popped from the end */
    size_t loss_count;
    size_t loss_capacity;
    uint64_t passed; /* all from this sequence on have been passed, and are not given again */
};

enum error_code backward_open(const char *path, const struct backward_range *range,
                              struct backward **backward_out, struct error *error)
{
    struct backward *backward = calloc(1, sizeof *backward);
    struct event *events = calloc(FORMAT_BLOCK_EVENTS_MAX, sizeof *events);
    if (!backward || !events) {
        free(backward);
        free(events);
        return error_set(error, ERROR_MEMORY, "no memory for reading backwards");
    }
    *backward = (struct backward){
        .range = *range,
        .window_size = WINDOW_FIRST,
        .sequence_high = range->sequence_last,
        .events = events,
        .passed = UINT64_MAX,
    };
    enum error_code code = segment_reader_open(path, &backward->reader, error);
    if (code) {
        backward_close(backward);
        return code;
    }
    segment_reader_hint_times(backward->reader, range->since_ns, range->until_ns);
    *backward_out = backward;
    return OK;
}

void backward_close(struct backward *backward)
{
    if (!backward)
        return;
    segment_reader_close(backward->reader);
    free(backward->places);
    free(backward->losses);
    free(backward->events);
    free(backward);
}

static uint64_t lowest_wanted(const struct backward *backward)
{
    uint64_t bound = segment_reader_bound(backward->reader);
    uint64_t first = backward->range.sequence_first;
    return first > bound ? first : bound;
}

static enum error_code add_place(struct backward *backward, const struct place *place,
                                 struct error *error)
{
    if (backward->place_count == backward->place_capacity) {
        size_t capacity = backward->place_capacity ? 2 * backward->place_capacity : WINDOW_FIRST;
        struct place *places = realloc(backward->places, capacity * sizeof *places);
        if (!places)
            return error_set(error, ERROR_MEMORY, "no memory for reading backwards");
        backward->places = places;
        backward->place_capacity = capacity;
    }
    backward->places[backward->place_count++] = *place;
    return OK;
}

/* Go to where the next window starts. */
static enum error_code start_window(struct backward *backward, struct error *error)
{
    uint64_t low = lowest_wanted(backward);
    uint64_t high = backward->sequence_high;
    if (high < low || high == 0) {
        backward->passed = 0;
        return ERROR_END;
    }
    uint64_t first = low;
    if (high - low >= backward->window_size)
        first = high - backward->window_size + 1;
    enum error_code code = segment_reader_seek(backward->reader, first, error);
    if (code)
        return code;
    if (backward->window_size < WINDOW_MAX)
        backward->window_size *= 2;
    backward->window_first = first;
    backward->window_last = high;
    backward->sequence_high = first - 1;
    backward->listing = true;
    return OK;
}

static enum error_code list_block(struct backward *backward,
                                  const struct segment_reader_block *block, struct error *error)
{
    if (block->header.kind != FORMAT_BLOCK_EVENTS)
        return OK;
    struct place place = {block->segment_first, block->header.offset, block->header.sequence_first};
    if (place.sequence_first < backward->window_first)
        backward->sequence_high = place.sequence_first - 1; /* the whole block is in this window */
    return add_place(backward, &place, error);
}

static enum error_code add_loss(struct backward *backward, const struct segment_format_gap *loss,
                                struct error *error)
{
    if (backward->loss_count == backward->loss_capacity) {
        size_t capacity = backward->loss_capacity ? 2 * backward->loss_capacity : LOSSES_FIRST;
        struct segment_format_gap *losses =
            realloc(backward->losses, capacity * sizeof *losses);
        if (!losses)
            return error_set(error, ERROR_MEMORY, "no memory for reading backwards");
        backward->losses = losses;
        backward->loss_capacity = capacity;
    }
    backward->losses[backward->loss_count++] = *loss;
    return OK;
}

/* The reader forgets them when it is sent elsewhere. What lies behind the window was told before.
 */
static enum error_code collect_losses(struct backward *backward, struct error *error)
{
    enum error_code code = OK;
    struct segment_format_gap gap;
    while (!code && segment_reader_loss(backward->reader, &gap)) {
        if (gap.sequence_last > backward->window_last)
            gap.sequence_last = backward->window_last;
        if (gap.sequence_first <= gap.sequence_last)
            code = add_loss(backward, &gap, error);
    }
    return code;
}

bool backward_loss(struct backward *backward, struct segment_format_gap *gap_out)
{
    /* The highest one that lies above the last event given; others have not been passed yet. */
    struct segment_format_gap *found = NULL;
    for (size_t i = 0; i < backward->loss_count; i++) {
        struct segment_format_gap *loss = &backward->losses[i];
        if (loss->sequence_first >= backward->passed &&
            (!found || loss->sequence_first > found->sequence_first))
            found = loss;
    }
    if (!found)
        return false;
    *gap_out = *found;
    *found = backward->losses[--backward->loss_count];
    return true;
}

/* List the window's blocks. After ERROR_DAMAGED the next call goes on behind the damage. */
static enum error_code list_window(struct backward *backward, struct error *error)
{
    for (;;) {
        struct segment_reader_block block;
        enum error_code code = segment_reader_next_block(backward->reader, &block, error);
        if (collect_losses(backward, error))
            return ERROR_MEMORY;
        if (code == ERROR_END)
            break;
        if (code)
            return code;
        if (block.header.sequence_first > backward->window_last)
            break;
        code = list_block(backward, &block, error);
        if (code)
            return code;
    }
    backward->listing = false;
    return OK;
}

static enum error_code decode_events(struct backward *backward,
                                     const struct segment_reader_block *block, struct error *error)
{
    struct segment_block_cursor cursor;
    segment_block_cursor_init(&cursor, &block->header, block->raw);
    size_t count = 0;
    while (count < FORMAT_BLOCK_EVENTS_MAX) {
        enum error_code code = segment_block_cursor_next(&cursor, &backward->events[count], error);
        if (code == ERROR_END)
            break;
        if (code)
            return code;
        count++;
    }
    backward->event_count = count;
    return OK;
}

/*
 * Read the block at a place, or the one into which packing has put its events meanwhile.
 * ERROR_NOT_FOUND: neither is there, retention may have been quicker.
 */
static enum error_code read_block(struct backward *backward, const struct place *place,
                                  struct segment_reader_block *block_out, struct error *error)
{
    enum error_code code = segment_reader_seek_block(
        backward->reader, place->segment_first, place->offset, place->sequence_first, error);
    if (!code) {
        code = segment_reader_next_block(backward->reader, block_out, error);
        return code == ERROR_END ? ERROR_NOT_FOUND : code;
    }
    struct error why = {0};
    enum error_code found = segment_reader_next_block(backward->reader, block_out, &why);
    if (!found && block_out->header.kind == FORMAT_BLOCK_EVENTS &&
        block_out->header.sequence_first <= place->sequence_first)
        return OK;
    if (place->sequence_first < segment_reader_bound(backward->reader))
        return ERROR_NOT_FOUND;
    return found == ERROR_DAMAGED ? error_set(error, found, "%s", why.text) : code;
}

/* Open the window's last block that is left, unless a packed one has given its events already. */
static enum error_code open_block(struct backward *backward, struct error *error)
{
    struct segment_reader_block block;
    const struct place *place = &backward->places[--backward->place_count];
    if (place->sequence_first >= backward->passed)
        return OK;
    enum error_code code = read_block(backward, place, &block, error);
    if (code)
        return code == ERROR_NOT_FOUND ? OK : code;
    return decode_events(backward, &block, error);
}

static bool pop_event(struct backward *backward, struct event *event_out)
{
    while (backward->event_count > 0) {
        const struct event *event = &backward->events[--backward->event_count];
        if (event->sequence <= backward->window_last && event->sequence < backward->passed &&
            event->sequence >= backward->range.sequence_first) {
            *event_out = *event;
            backward->passed = event->sequence;
            return true;
        }
    }
    return false;
}

static bool told_before(struct backward *backward, const struct error *damage)
{
    bool same = strcmp(backward->damage.text, damage->text) == 0;
    backward->damage = *damage;
    return same;
}

enum error_code backward_next(struct backward *backward, struct event *event_out,
                              struct error *error)
{
    struct error local;
    if (!error)
        error = &local;
    while (!pop_event(backward, event_out)) {
        enum error_code code;
        if (backward->listing)
            code = list_window(backward, error);
        else if (backward->place_count > 0)
            code = open_block(backward, error);
        else
            code = start_window(backward, error);
        if (code && !(code == ERROR_DAMAGED && told_before(backward, error)))
            return code;
    }
    return OK;
}
