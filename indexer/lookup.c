#include "indexer/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "indexer/connection.h"
#include "indexer/database.h"
#include "segment/block.h"
#include "segment/reader.h"

/* Up to a quarter of a MiB each, as a rule. */
enum { OPEN_BLOCKS = 8 };

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
    struct segment_block_cursor cursor; /* behind the last of those that were decoded */
    struct event *events;
    size_t decoded;  /* of them: who asks for one event decodes none behind it */
    size_t capacity; /* of events */
    uint64_t used;   /* the calls then */
};

struct indexer_lookup {
    char *path;
    sqlite3 *database; /* opened by the first call, as the rest */
    sqlite3_stmt *find;
    struct segment_reader *reader;
    uint64_t next;                 /* where it stands, when that is behind a block, else 0 */
    bool lent;                     /* its position and hints are somebody else's */
    struct open_block blocks[OPEN_BLOCKS];
    struct open_block *block; /* the one that was used last */
    uint64_t calls;
    struct indexer_watcher watcher;
    struct place damaged; /* the last that the watcher was told of */
};

static const char find_sql[] = "SELECT first_seq, count, segment, offset FROM block_rows"
                               " WHERE first_seq <= ?1 ORDER BY first_seq DESC LIMIT 1";

void indexer_lookup_free(struct indexer_lookup *lookup)
{
    if (!lookup)
        return;
    sqlite3_finalize(lookup->find);
    sqlite3_close(lookup->database);
    segment_reader_close(lookup->reader);
    for (size_t i = 0; i < OPEN_BLOCKS; i++) {
        buffer_release(&lookup->blocks[i].raw);
        free(lookup->blocks[i].events);
    }
    free(lookup->path);
    free(lookup);
}

enum error_code indexer_lookup_create(const char *path, const struct indexer_watcher *watcher,
                                      struct indexer_lookup **lookup_out, struct error *error)
{
    struct indexer_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup)
        lookup->path = strdup(path);
    if (!lookup || !lookup->path) {
        free(lookup);
        return error_set(error, ERROR_MEMORY, "no memory to look events up");
    }
    lookup->watcher = *watcher;
    *lookup_out = lookup;
    return OK;
}

static bool place_holds(const struct place *place, uint64_t sequence)
{
    return sequence >= place->sequence_first &&
           sequence - place->sequence_first < place->event_count;
}

/* ERROR_NOT_FOUND: no block holds the sequence. */
static enum error_code find_place(struct indexer_lookup *lookup, uint64_t sequence,
                                  struct place *place_out, struct error *error)
{
    sqlite3_stmt *find = lookup->find;
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
        code = indexer_database_error(lookup->database, result, error);
    else if (result == SQLITE_DONE || !place_holds(&place, sequence))
        code = ERROR_NOT_FOUND;
    sqlite3_reset(find);
    if (!code)
        *place_out = place;
    return code;
}

static enum error_code open_reader(struct indexer_lookup *lookup, struct error *error)
{
    if (lookup->lent) {
        segment_reader_hint_times(lookup->reader, INT64_MIN, INT64_MAX);
        segment_reader_stop_behind(lookup->reader, UINT64_MAX);
    }
    lookup->lent = false;
    if (lookup->reader)
        return OK;
    enum error_code code = segment_reader_open(lookup->path, &lookup->reader, error);
    if (!code)
        segment_reader_read_ahead(lookup->reader);
    return code;
}

static enum error_code open_index(struct indexer_lookup *lookup, struct error *error)
{
    if (lookup->find)
        return OK;
    enum error_code code = OK;
    if (!lookup->database)
        code = indexer_connection_open(lookup->path, &lookup->database, error);
    if (!code)
        code = indexer_database_prepare(lookup->database, find_sql, &lookup->find, error);
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
static enum error_code check_gone(struct indexer_lookup *lookup, const struct place *place,
                                  struct error *error)
{
    if (place->sequence_first + place->event_count <= segment_reader_bound(lookup->reader))
        return ERROR_NOT_FOUND;
    return error_set(error, ERROR_DAMAGED,
                     "segment %llu or its block at byte %llu is missing; events %llu to %llu "
                     "cannot be read",
                     (unsigned long long)place->segment_first, (unsigned long long)place->offset,
                     (unsigned long long)place->sequence_first,
                     (unsigned long long)(place->sequence_first + place->event_count - 1));
}

/* The block where the index says it is. */
static enum error_code read_at_place(struct indexer_lookup *lookup, const struct place *place,
                                     struct segment_reader_block *block_out, struct error *error)
{
    /* A query that goes through the log is read ahead for; a seek would end that. */
    if (lookup->next == place->sequence_first &&
        !segment_reader_next_block(lookup->reader, block_out, NULL) &&
        !check_block(block_out, place, NULL))
        return OK;
    enum error_code code =
        segment_reader_seek_block(lookup->reader, place->segment_first, place->offset,
                                  place->sequence_first, error);
    if (!code)
        code = segment_reader_next_block(lookup->reader, block_out, error);
    if (code == ERROR_NOT_FOUND || code == ERROR_END)
        return check_gone(lookup, place, error);
    return code ? code : check_block(block_out, place, error);
}

/*
 * Packing has put the events into other blocks, and the index does not know of it yet: the log
 * itself finds them by the sequence. *place becomes that of the block. ERROR_NOT_FOUND: it does
 * not, and what was wrong at the place stands; other errors are about the log.
 */
static enum error_code read_at_sequence(struct indexer_lookup *lookup, uint64_t sequence,
                                        struct place *place, struct segment_reader_block *block_out,
                                        struct error *error)
{
    enum error_code code = segment_reader_seek(lookup->reader, sequence, error);
    if (!code)
        code = segment_reader_next_block(lookup->reader, block_out, error);
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

static enum error_code find_block(struct indexer_lookup *lookup, uint64_t sequence,
                                  struct place *place,
                                  struct segment_reader_block *block_out, struct error *error)
{
    struct error why;
    enum error_code code = read_at_place(lookup, place, block_out, error);
    if (code != ERROR_DAMAGED)
        return code;
    enum error_code found = read_at_sequence(lookup, sequence, place, block_out, &why);
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
    segment_block_cursor_init(&block->cursor, &read->header, block->raw.data);
    block->decoded = 0;
    block->place = *place;
    return OK;
}

/* ERROR_DAMAGED: its records are not what its header says, although its checksum is right. */
static enum error_code decode_to(struct open_block *block, uint64_t index, struct error *error)
{
    while (block->decoded <= index) {
        struct error why;
        struct event *event = &block->events[block->decoded];
        if (segment_block_cursor_next(&block->cursor, event, &why))
            return error_set(error, ERROR_DAMAGED, "segment %llu: block at byte %llu: %s",
                             (unsigned long long)block->place.segment_first,
                             (unsigned long long)block->place.offset, why.text);
        block->decoded++;
    }
    return OK;
}

static struct open_block *oldest_block(struct indexer_lookup *lookup)
{
    struct open_block *oldest = lookup->blocks;
    for (size_t i = 1; i < OPEN_BLOCKS; i++)
        if (lookup->blocks[i].used < oldest->used)
            oldest = &lookup->blocks[i];
    return oldest;
}

static enum error_code open_block(struct indexer_lookup *lookup, uint64_t sequence,
                                  struct place *place,
                                  struct error *error)
{
    struct segment_reader_block read;
    enum error_code code = open_reader(lookup, error);
    if (!code)
        code = find_block(lookup, sequence, place, &read, error);
    lookup->next = code ? 0 : place->sequence_first + place->event_count;
    struct open_block *block = oldest_block(lookup);
    if (!code)
        code = take_events(block, place, &read, error);
    if (!code)
        lookup->block = block;
    return code;
}

/* NULL: none of those that are open holds the sequence. */
static struct open_block *find_open(struct indexer_lookup *lookup, uint64_t sequence)
{
    if (lookup->block && place_holds(&lookup->block->place, sequence))
        return lookup->block;
    for (size_t i = 0; i < OPEN_BLOCKS; i++)
        if (place_holds(&lookup->blocks[i].place, sequence))
            return &lookup->blocks[i];
    return NULL;
}

/* Who watches gets no value, and is told; everybody else gets an SQL error. */
static enum error_code tell_damage(struct indexer_lookup *lookup, const struct place *place,
                                   enum error_code code, const struct error *error)
{
    if (!lookup->watcher.damaged)
        return code;
    if (memcmp(&lookup->damaged, place, sizeof *place) != 0)
        lookup->watcher.damaged(lookup->watcher.context, error->text);
    lookup->damaged = *place;
    return ERROR_NOT_FOUND;
}

enum error_code indexer_lookup_event(struct indexer_lookup *lookup, uint64_t sequence,
                                     const struct event **event_out, struct error *error)
{
    struct open_block *block = find_open(lookup, sequence);
    if (block) {
        lookup->block = block;
    } else {
        struct place place;
        enum error_code code = open_index(lookup, error);
        if (!code)
            code = find_place(lookup, sequence, &place, error);
        if (code)
            return code;
        code = open_block(lookup, sequence, &place, error);
        if (code == ERROR_DAMAGED || code == ERROR_IO)
            code = tell_damage(lookup, &place, code, error);
        if (code)
            return code;
    }
    block = lookup->block;
    block->used = ++lookup->calls;
    uint64_t index = sequence - block->place.sequence_first;
    if (index >= block->decoded) {
        enum error_code code = decode_to(block, index, error);
        if (code)
            return tell_damage(lookup, &block->place, code, error);
    }
    *event_out = &block->events[index];
    return OK;
}

enum error_code indexer_lookup_lend_reader(struct indexer_lookup *lookup,
                                           struct segment_reader **reader_out, struct error *error)
{
    enum error_code code = open_reader(lookup, error);
    if (code)
        return code;
    lookup->lent = true;
    lookup->next = 0;
    *reader_out = lookup->reader;
    return OK;
}
