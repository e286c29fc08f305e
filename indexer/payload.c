#include "indexer/payload.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "indexer/database.h"
#include "segment/block.h"
#include "segment/reader.h"

/* Up to a quarter of a MiB each, as a rule. */
enum { OPEN_BLOCKS = 8 };

/* A JSON text, to SQLite's own JSON functions (their documentation names the value). */
enum { SUBTYPE_JSON = 'J' };

/* SQLite wants to be told of subtypes since 3.45, and may refuse them otherwise. */
#ifdef SQLITE_RESULT_SUBTYPE
enum { PAYLOAD_FLAGS = SQLITE_UTF8 | SQLITE_RESULT_SUBTYPE };
#else
enum { PAYLOAD_FLAGS = SQLITE_UTF8 };
#endif

struct place {
    uint64_t sequence_first;
    uint64_t event_count;
    uint64_t segment_first;
    uint64_t offset;
};

/* A block that is open: its events, which live in `raw`. Durable events never change. */
struct open_block {
    struct place place;
    struct buffer raw;
    struct event *events;
    size_t capacity; /* of events */
    uint64_t used;   /* the function's calls then */
};

/*
 * The state behind the function. The blocks that were used last stay open: a query over many events
 * decodes each block once, and one that is asked again, or whose events lie in two or three blocks
 * by turns, none.
 *
 * Blocks are looked up on a connection of our own: a statement kept on the user's connection would
 * stop it from closing, and where packing has moved a block, the newest answer is the right one,
 * not the one of the user's snapshot.
 */
struct payload {
    char *path;
    sqlite3 *database;
    sqlite3_stmt *find;
    struct segment_reader *reader; /* opened by the first call */
    uint64_t next;                 /* where it stands, when that is behind a block, else 0 */
    struct open_block blocks[OPEN_BLOCKS];
    struct open_block *block; /* the one that was used last */
    uint64_t calls;
    struct buffer json;
    struct indexer_query_watcher watcher;
    struct place damaged; /* the last that the watcher was told of */
};

static const char find_sql[] = "SELECT first_seq, count, segment, offset FROM block_rows"
                               " WHERE first_seq <= ?1 ORDER BY first_seq DESC LIMIT 1";

static void payload_free(void *argument)
{
    struct payload *payload = argument;
    sqlite3_finalize(payload->find);
    sqlite3_close(payload->database);
    segment_reader_close(payload->reader);
    buffer_release(&payload->json);
    for (size_t i = 0; i < OPEN_BLOCKS; i++) {
        buffer_release(&payload->blocks[i].raw);
        free(payload->blocks[i].events);
    }
    free(payload->path);
    free(payload);
}

static bool place_holds(const struct place *place, uint64_t sequence)
{
    return sequence >= place->sequence_first &&
           sequence - place->sequence_first < place->event_count;
}

/* ERROR_NOT_FOUND: no block holds the sequence. */
static enum error_code find_place(struct payload *payload, uint64_t sequence,
                                  struct place *place_out, struct error *error)
{
    sqlite3_stmt *find = payload->find;
    sqlite3_bind_int64(find, 1, (sqlite3_int64)sequence);
    int result = sqlite3_step(find);
    struct place place = {
        .sequence_first = (uint64_t)sqlite3_column_int64(find, 0),
        .event_count = (uint64_t)sqlite3_column_int64(find, 1),
        .segment_first = (uint64_t)sqlite3_column_int64(find, 2),
        .offset = (uint64_t)sqlite3_column_int64(find, 3),
    };
    enum error_code code = OK;
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        code = indexer_database_error(payload->database, result, error);
    else if (result == SQLITE_DONE || !place_holds(&place, sequence))
        code = ERROR_NOT_FOUND;
    sqlite3_reset(find);
    if (!code)
        *place_out = place;
    return code;
}

static enum error_code open_reader(struct payload *payload, struct error *error)
{
    if (payload->reader)
        return OK;
    enum error_code code = segment_reader_open(payload->path, &payload->reader, error);
    if (!code)
        segment_reader_read_ahead(payload->reader);
    return code;
}

/* The index says where; only what the segment itself confirms is believed. */
static enum error_code check_block(const struct segment_reader_block *block,
                                   const struct place *place, struct error *error)
{
    if (block->header.kind == FORMAT_BLOCK_EVENTS &&
        block->header.sequence_first == place->sequence_first &&
        block->header.event_count == place->event_count &&
        block->header.event_count <= FORMAT_BLOCK_EVENTS_MAX)
        return OK;
    return error_set(error, ERROR_DAMAGED,
                     "segment %llu: the block at byte %llu is not the one that the index knows; "
                     "run daybook reindex",
                     (unsigned long long)place->segment_first, (unsigned long long)place->offset);
}

/* The segment is not there, or ends before the block: only retention may take what was durable. */
static enum error_code check_gone(struct payload *payload, const struct place *place,
                                  struct error *error)
{
    if (place->sequence_first + place->event_count <= segment_reader_bound(payload->reader))
        return ERROR_NOT_FOUND;
    return error_set(error, ERROR_DAMAGED,
                     "segment %llu or its block at byte %llu is missing; events %llu to %llu "
                     "cannot be read",
                     (unsigned long long)place->segment_first, (unsigned long long)place->offset,
                     (unsigned long long)place->sequence_first,
                     (unsigned long long)(place->sequence_first + place->event_count - 1));
}

/* The block where the index says it is. */
static enum error_code read_at_place(struct payload *payload, const struct place *place,
                                     struct segment_reader_block *block_out, struct error *error)
{
    /* A query that goes through the log is read ahead for; a seek would end that. */
    if (payload->next == place->sequence_first &&
        !segment_reader_next_block(payload->reader, block_out, NULL) &&
        !check_block(block_out, place, NULL))
        return OK;
    enum error_code code =
        segment_reader_seek_block(payload->reader, place->segment_first, place->offset,
                                  place->sequence_first, error);
    if (!code)
        code = segment_reader_next_block(payload->reader, block_out, error);
    if (code == ERROR_NOT_FOUND || code == ERROR_END)
        return check_gone(payload, place, error);
    return code ? code : check_block(block_out, place, error);
}

/*
 * Packing has put the events into other blocks, and the index does not know of it yet: the log
 * itself finds them by the sequence. *place becomes that of the block. ERROR_NOT_FOUND: it does
 * not, and what was wrong at the place stands; other errors are about the log.
 */
static enum error_code read_at_sequence(struct payload *payload, uint64_t sequence,
                                        struct place *place, struct segment_reader_block *block_out,
                                        struct error *error)
{
    enum error_code code = segment_reader_seek(payload->reader, sequence, error);
    if (!code)
        code = segment_reader_next_block(payload->reader, block_out, error);
    if (code == ERROR_END)
        return ERROR_NOT_FOUND;
    if (code)
        return code;
    struct place found = {
        .sequence_first = block_out->header.sequence_first,
        .event_count = block_out->header.event_count,
        .segment_first = block_out->segment_first,
        .offset = block_out->header.offset,
    };
    if (block_out->header.kind != FORMAT_BLOCK_EVENTS || !place_holds(&found, sequence))
        return ERROR_NOT_FOUND;
    *place = found;
    return OK;
}

static enum error_code find_block(struct payload *payload, uint64_t sequence, struct place *place,
                                  struct segment_reader_block *block_out, struct error *error)
{
    struct error why;
    enum error_code code = read_at_place(payload, place, block_out, error);
    if (code != ERROR_DAMAGED)
        return code;
    enum error_code found = read_at_sequence(payload, sequence, place, block_out, &why);
    if (found == ERROR_MEMORY || found == ERROR_IO)
        return error_set(error, found, "%s", why.text);
    return found ? code : OK;
}

/* *block becomes the events of what the reader gave, which lives until its next call only. */
static enum error_code take_events(struct open_block *block, const struct place *place,
                                   const struct segment_reader_block *read, struct error *error)
{
    block->place.event_count = block->raw.size = 0;
    enum error_code code = buffer_append(&block->raw, read->raw, read->header.raw_bytes, error);
    if (code)
        return code;
    if (block->capacity < place->event_count) {
        free(block->events);
        block->events = calloc(place->event_count, sizeof *block->events);
        block->capacity = block->events ? place->event_count : 0;
    }
    if (!block->events)
        return error_set(error, ERROR_MEMORY, "no memory for a block's events");
    struct segment_block_cursor cursor;
    segment_block_cursor_init(&cursor, &read->header, block->raw.data);
    for (uint64_t i = 0; i < place->event_count; i++) {
        code = segment_block_cursor_next(&cursor, &block->events[i], error);
        if (code)
            return code;
    }
    block->place = *place;
    return OK;
}

static struct open_block *oldest_block(struct payload *payload)
{
    struct open_block *oldest = payload->blocks;
    for (size_t i = 1; i < OPEN_BLOCKS; i++)
        if (payload->blocks[i].used < oldest->used)
            oldest = &payload->blocks[i];
    return oldest;
}

static enum error_code open_block(struct payload *payload, uint64_t sequence, struct place *place,
                                  struct error *error)
{
    struct segment_reader_block read;
    enum error_code code = open_reader(payload, error);
    if (!code)
        code = find_block(payload, sequence, place, &read, error);
    payload->next = code ? 0 : place->sequence_first + place->event_count;
    struct open_block *block = oldest_block(payload);
    if (!code)
        code = take_events(block, place, &read, error);
    if (!code)
        payload->block = block;
    return code;
}

/* NULL: none of those that are open holds the sequence. */
static struct open_block *find_open(struct payload *payload, uint64_t sequence)
{
    if (payload->block && place_holds(&payload->block->place, sequence))
        return payload->block;
    for (size_t i = 0; i < OPEN_BLOCKS; i++)
        if (place_holds(&payload->blocks[i].place, sequence))
            return &payload->blocks[i];
    return NULL;
}

/* Who watches gets no value, and is told; everybody else gets an SQL error. */
static enum error_code tell_damage(struct payload *payload, const struct place *place,
                                   enum error_code code, const struct error *error)
{
    if (!payload->watcher.damaged)
        return code;
    if (memcmp(&payload->damaged, place, sizeof *place) != 0)
        payload->watcher.damaged(payload->watcher.context, error->text);
    payload->damaged = *place;
    return ERROR_NOT_FOUND;
}

/* *event_out lives as long as its block stays open. ERROR_NOT_FOUND: there is no such event. */
static enum error_code find_event(struct payload *payload, uint64_t sequence,
                                  const struct event **event_out, struct error *error)
{
    enum error_code code = OK;
    struct open_block *block = find_open(payload, sequence);
    if (block) {
        payload->block = block;
    } else {
        struct place place;
        code = find_place(payload, sequence, &place, error);
        if (code)
            return code;
        code = open_block(payload, sequence, &place, error);
        if (code == ERROR_DAMAGED || code == ERROR_IO)
            code = tell_damage(payload, &place, code, error);
    }
    if (code)
        return code;
    block = payload->block;
    block->used = ++payload->calls;
    *event_out = &block->events[sequence - block->place.sequence_first];
    return OK;
}

static enum error_code make_json(struct payload *payload, const struct event *event,
                                 struct error *error)
{
    payload->json.size = 0;
    /* SQLite's JSON functions do not know NaN, and would refuse the whole text. */
    return json_from_msgpack(event->payload, event->payload_bytes, JSON_STRICT, &payload->json,
                             error);
}

static void payload_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL || sqlite3_value_int64(argv[0]) < 1)
        return; /* NULL */
    struct payload *payload = sqlite3_user_data(context);
    uint64_t sequence = (uint64_t)sqlite3_value_int64(argv[0]);

    const struct event *event = NULL;
    struct error error = {0};
    enum error_code code = find_event(payload, sequence, &event, &error);
    if (code == ERROR_NOT_FOUND || code == ERROR_END)
        return;
    if (!code)
        code = make_json(payload, event, &error);
    if (code) {
        error_prefix(&error, "payload(%llu)", (unsigned long long)sequence);
        sqlite3_result_error(context, error.text, -1);
        return;
    }
    sqlite3_result_text64(context, (const char *)payload->json.data, payload->json.size,
                          SQLITE_TRANSIENT, SQLITE_UTF8);
    sqlite3_result_subtype(context, SUBTYPE_JSON);
}

enum error_code indexer_payload_attach(sqlite3 *database, sqlite3 *lookup, const char *path,
                                       const struct indexer_query_watcher *watcher,
                                       struct error *error)
{
    struct payload *payload = calloc(1, sizeof *payload);
    if (!payload) {
        sqlite3_close(lookup);
        return error_set(error, ERROR_MEMORY, "no memory for the function payload");
    }
    payload->database = lookup;
    payload->watcher = *watcher;
    payload->path = strdup(path);
    enum error_code code = payload->path ? OK : error_set(error, ERROR_MEMORY, "no memory");
    if (!code)
        code = indexer_database_prepare(lookup, find_sql, &payload->find, error);
    if (code) {
        payload_free(payload);
        return code;
    }
    /* SQLite calls payload_free with the connection's end, and also when this call fails. */
    int result = sqlite3_create_function_v2(database, "payload", 1, PAYLOAD_FLAGS, payload,
                                            payload_call, NULL, NULL, payload_free);
    return result ? indexer_database_error(database, result, error) : OK;
}
