#include "indexer/field_fill.h"

#include <stdio.h>

#include "core/clock.h"
#include "indexer/database.h"
#include "indexer/schema.h"
#include "segment/block.h"

enum {
    DAMAGED_PER_SLICE_MAX = 64,
    BYTES_PER_SLICE = 16 << 20, /* of payloads: a slice ends also when events are large */
};
#define PAUSE_NS (INT64_C(10) * 1000000000)

/* What one slice works on. */
struct slice {
    struct indexer_field_fill *fill;
    struct indexer_field_set *set;
    struct indexer_field_fill_slice *result;
    uint64_t position; /* everything up to here is in, or known to be lost */
    uint64_t until;    /* the last sequence that any field wants */
    uint64_t bytes;    /* that were read */
    unsigned damaged;
};

static bool is_filling(const struct indexer_field_entry *entry)
{
    return entry->done_seq < entry->until_seq;
}

/* The sequences that any field lacks; false: none does. */
static bool find_range(const struct indexer_field_set *set, uint64_t bound, uint64_t *after_out,
                       uint64_t *until_out)
{
    uint64_t after = UINT64_MAX, until = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct indexer_field_entry *entry = &set->list[i];
        if (!is_filling(entry))
            continue;
        after = entry->done_seq < after ? entry->done_seq : after;
        until = entry->until_seq > until ? entry->until_seq : until;
    }
    *after_out = after < bound - 1 ? bound - 1 : after;
    *until_out = until;
    return until > 0;
}

static enum error_code note_loss(sqlite3_stmt *update, const struct indexer_field_entry *entry,
                                 uint64_t first, uint64_t last, struct error *error)
{
    if (first <= entry->done_seq)
        first = entry->done_seq + 1;
    if (last > entry->until_seq)
        last = entry->until_seq;
    if (first > last)
        return OK;
    sqlite3_bind_int64(update, 1, (sqlite3_int64)first);
    sqlite3_bind_int64(update, 2, (sqlite3_int64)last);
    sqlite3_bind_int64(update, 3, entry->id);
    return indexer_database_run(update, error);
}

/*
 * The log does not give [first, last]. Where the index has an event of the field's topic there, the
 * field is not complete; gaps and what retention has deleted are nobody's loss.
 */
static enum error_code note_missing(const struct slice *slice, uint64_t first, uint64_t last,
                                    struct error *error)
{
    sqlite3_stmt *update = NULL;
    if (last > slice->until)
        last = slice->until;
    if (first > last)
        return OK;
    enum error_code code = indexer_database_prepare(
        slice->set->database,
        "UPDATE field_rows SET lost_seq = max(lost_seq, ifnull("
        "(SELECT seq FROM event_rows NOT INDEXED WHERE seq BETWEEN ?1 AND ?2 AND topic_id ="
        " (SELECT t.id FROM topic_rows t WHERE t.topic = field_rows.topic)"
        " ORDER BY seq DESC LIMIT 1), 0)) WHERE id = ?3",
        &update, error);
    for (size_t i = 0; !code && i < slice->set->count; i++)
        if (is_filling(&slice->set->list[i]))
            code = note_loss(update, &slice->set->list[i], first, last, error);
    sqlite3_finalize(update);
    return code;
}

static enum error_code add_event(const struct slice *slice, const struct event *event,
                                 struct error *error)
{
    size_t at = indexer_field_set_first(slice->set, event->topic, event->topic_bytes);
    enum error_code code = OK;
    while (!code && at) {
        struct indexer_field_entry *entry = &slice->set->list[at - 1];
        if (event->sequence > entry->done_seq && event->sequence <= entry->until_seq)
            code = indexer_field_set_add(slice->set, entry, event, error);
        at = indexer_field_set_has_next(slice->set, at) ? at + 1 : 0;
    }
    return code;
}

/* *whole_out false: its body contradicts its header, which counts as damage from there on. */
static enum error_code add_events(const struct slice *slice,
                                  const struct segment_reader_block *block, bool *whole_out,
                                  struct error *error)
{
    struct segment_block_cursor cursor;
    segment_block_cursor_init(&cursor, &block->header, block->raw);
    *whole_out = true;
    for (;;) {
        struct event event;
        enum error_code code = segment_block_cursor_next(&cursor, &event, NULL);
        if (code)
            *whole_out = code == ERROR_END;
        if (code)
            return OK;
        if (event.sequence > slice->position && event.sequence <= slice->until)
            code = add_event(slice, &event, error);
        if (code)
            return code;
    }
}

static enum error_code take_block(struct slice *slice, const struct segment_reader_block *block,
                                  struct error *error)
{
    if (block->header.kind != FORMAT_BLOCK_EVENTS)
        return OK;
    uint64_t first = block->header.sequence_first;
    uint64_t last = first + block->header.event_count - 1;
    bool whole = true;
    enum error_code code = OK;
    if (first > slice->position + 1)
        code = note_missing(slice, slice->position + 1, first - 1, error);
    if (!code)
        code = add_events(slice, block, &whole, error);
    if (!code && !whole)
        code = note_missing(slice, first, last, error);
    if (!code && last > slice->position)
        slice->position = last;
    slice->result->events += block->header.event_count;
    slice->bytes += block->header.raw_bytes;
    return code;
}

static void put_off(struct slice *slice, const struct error *why)
{
    slice->fill->pause_until_ns = clock_monotonic_ns() + PAUSE_NS;
    slice->fill->next = 0;
    if (why)
        snprintf(slice->result->notice, sizeof slice->result->notice,
                 "filling indexed fields waits: %.600s", why->text);
}

/* As the follower: what fails once may succeed the next time. *again_out: look at it once more. */
static void meet_damage(struct slice *slice, const struct error *damage, bool *again_out)
{
    struct error error;
    uint64_t next = slice->position + 1;
    *again_out = slice->fill->doubted != next;
    slice->fill->doubted = next;
    if (*again_out) {
        if (segment_reader_seek(slice->fill->reader, next, &error))
            put_off(slice, &error);
        return;
    }
    slice->damaged++;
    snprintf(slice->result->notice, sizeof slice->result->notice,
             "indexed fields lack what cannot be read: %.600s", damage->text);
}

/* The log has nothing more now. What the fields still want does not exist, or cannot be read. */
static enum error_code meet_end(struct slice *slice, struct error *error)
{
    if (segment_reader_watermark(slice->fill->reader) < slice->until) {
        put_off(slice, NULL); /* a writer is recovering the log */
        return OK;
    }
    enum error_code code = note_missing(slice, slice->position + 1, slice->until, error);
    if (!code)
        slice->position = slice->until;
    return code;
}

static enum error_code read_blocks(struct slice *slice, struct error *error)
{
    enum error_code code = OK;
    while (!code && slice->position < slice->until && slice->damaged < DAMAGED_PER_SLICE_MAX &&
           slice->result->events < INDEXER_FIELD_FILL_EVENTS && slice->bytes < BYTES_PER_SLICE) {
        struct segment_reader_block block;
        struct error damage = {0};
        bool again = false;
        enum error_code read = segment_reader_next_block(slice->fill->reader, &block, &damage);
        if (read == ERROR_MEMORY)
            return error_set(error, read, "%s", damage.text);
        if (read == ERROR_END)
            code = meet_end(slice, error);
        else if (read == ERROR_DAMAGED)
            meet_damage(slice, &damage, &again);
        else if (read)
            put_off(slice, &damage);
        else
            code = take_block(slice, &block, error);
        if (slice->fill->pause_until_ns)
            break;
    }
    return code;
}

/* All fields that were being filled are filled up to the position now. */
static enum error_code move_done(const struct slice *slice, struct error *error)
{
    sqlite3_stmt *update = NULL;
    enum error_code code = indexer_database_prepare(
        slice->set->database,
        "UPDATE field_rows SET done_seq = max(done_seq, min(?1, until_seq))"
        " WHERE topic IS NOT NULL AND done_seq < until_seq",
        &update, error);
    if (code)
        return code;
    sqlite3_bind_int64(update, 1, (sqlite3_int64)slice->position);
    code = indexer_database_run(update, error);
    sqlite3_finalize(update);
    return code;
}

static bool settles_one(const struct slice *slice)
{
    for (size_t i = 0; i < slice->set->count; i++)
        if (is_filling(&slice->set->list[i]) && slice->set->list[i].until_seq <= slice->position)
            return true;
    return false;
}

/* In a transaction. */
static enum error_code fill_slice(struct slice *slice, struct error *error)
{
    enum error_code code = read_blocks(slice, error);
    if (!code)
        code = indexer_field_set_flush(slice->set, error);
    if (!code)
        code = move_done(slice, error);
    slice->result->settled = settles_one(slice);
    if (!code && slice->result->settled)
        code = indexer_schema_show_fields(slice->set->database, error);
    return code;
}

static enum error_code transact(struct slice *slice, struct error *error)
{
    sqlite3 *database = slice->set->database;
    enum error_code code = indexer_database_exec(database, "BEGIN IMMEDIATE", error);
    if (code)
        return code;
    code = fill_slice(slice, error);
    if (!code)
        code = indexer_database_exec(database, "COMMIT", error);
    if (code) {
        indexer_database_exec(database, "ROLLBACK", NULL);
        indexer_field_set_forget(slice->set);
        slice->fill->next = 0;
        return code;
    }
    for (size_t i = 0; i < slice->set->count; i++) {
        struct indexer_field_entry *entry = &slice->set->list[i];
        uint64_t done = slice->position < entry->until_seq ? slice->position : entry->until_seq;
        if (is_filling(entry) && done > entry->done_seq)
            entry->done_seq = done;
    }
    return OK;
}

/* False: not now; `result` says why. */
static bool place_reader(struct slice *slice)
{
    struct indexer_field_fill *fill = slice->fill;
    struct error error;
    enum error_code code = OK;
    if (!fill->reader) {
        code = segment_reader_open(fill->path, &fill->reader, &error);
        fill->next = 0;
    }
    if (!code && fill->next != slice->position + 1)
        code = segment_reader_seek(fill->reader, slice->position + 1, &error);
    if (code)
        put_off(slice, &error);
    return !code;
}

enum error_code indexer_field_fill_some(struct indexer_field_fill *fill,
                                        struct indexer_field_set *set, uint64_t bound,
                                        struct indexer_field_fill_slice *slice_out,
                                        struct error *error)
{
    *slice_out = (struct indexer_field_fill_slice){0};
    struct slice slice = {.fill = fill, .set = set, .result = slice_out};
    if (!find_range(set, bound, &slice.position, &slice.until)) {
        indexer_field_fill_release(fill);
        return OK;
    }
    if (clock_monotonic_ns() < fill->pause_until_ns)
        return OK;
    fill->pause_until_ns = 0;
    if (!place_reader(&slice))
        return OK;
    enum error_code code = transact(&slice, error);
    if (code)
        return code;
    fill->next = fill->pause_until_ns ? 0 : slice.position + 1;
    slice_out->more = !fill->pause_until_ns && slice.position < slice.until;
    return OK;
}

void indexer_field_fill_release(struct indexer_field_fill *fill)
{
    segment_reader_close(fill->reader);
    fill->reader = NULL;
    fill->next = fill->doubted = 0;
    fill->pause_until_ns = 0;
}
