#include "indexer/producers.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "core/gap.h"
#include "indexer/database.h"
#include "indexer/gaps.h"
#include "segment/producers.h"

/* Open addressing with linear probing; at most half full. */
enum { SLOTS = 2 * INDEXER_PRODUCERS_MAX };

struct producer {
    struct indexer_gaps_known gaps;
    uint64_t number_last;    /* stored; 0: nothing is stored yet, somebody has only told of it */
    uint64_t sequence_last;  /* its */
    uint64_t number_first;   /* the first that was seen stored … */
    uint64_t sequence_first; /* … and its sequence; 0: it was before the index begins */
    uint32_t hash;
    bool changed;
    uint8_t name_bytes;
    char name[EVENT_PRODUCER_BYTES_MAX];
};

struct indexer_producers {
    sqlite3 *database; /* borrowed */
    struct indexer_gaps *gaps;
    sqlite3_stmt *find;
    sqlite3_stmt *insert;
    sqlite3_stmt *update;
    sqlite3_stmt *find_loss;
    struct producer *latest; /* most events come after one of the same producer; or NULL */
    size_t count;
    struct producer entries[INDEXER_PRODUCERS_MAX];
    uint16_t slots[SLOTS]; /* position in entries + 1; 0: free */
};

static const char find_sql[] =
    "SELECT p.id, p.last_number, p.last_seq, p.first_number, p.first_seq,"
    " (SELECT max(g.last_number) FROM producer_gap_rows g WHERE g.producer_id = p.id),"
    " (SELECT count(*) FROM producer_gap_rows g WHERE g.producer_id = p.id)"
    " FROM producer_rows p WHERE p.name = ?1";
static const char insert_sql[] =
    "INSERT INTO producer_rows(name, last_number, last_seq, first_number, first_seq)"
    " VALUES (?1, ?2, 0, ?2, 0)";
static const char update_sql[] =
    "UPDATE producer_rows SET last_number = ?2, last_seq = ?3, first_number = ?4, first_seq = ?5"
    " WHERE id = ?1";
/* Sequences that were lost between two others; their numbers are not known any more. */
static const char find_loss_sql[] =
    "SELECT first_seq, last_seq, cause FROM gap_rows"
    " WHERE first_seq > ?1 AND first_seq < ?2 AND cause LIKE 'damage%'"
    " ORDER BY first_seq LIMIT 1";

enum error_code indexer_producers_create(sqlite3 *database,
                                         struct indexer_producers **producers_out,
                                         struct error *error)
{
    struct indexer_producers *producers = calloc(1, sizeof *producers);
    if (!producers)
        return error_set(error, ERROR_MEMORY, "no memory for the index's producers");
    producers->database = database;
    enum error_code code = indexer_gaps_create(database, &producers->gaps, error);
    if (!code)
        code = indexer_database_prepare(database, find_sql, &producers->find, error);
    if (!code)
        code = indexer_database_prepare(database, insert_sql, &producers->insert, error);
    if (!code)
        code = indexer_database_prepare(database, update_sql, &producers->update, error);
    if (!code)
        code = indexer_database_prepare(database, find_loss_sql, &producers->find_loss, error);
    if (code) {
        indexer_producers_free(producers);
        return code;
    }
    *producers_out = producers;
    return OK;
}

/* ---- The cache ---- */

static enum error_code insert_producer(struct indexer_producers *producers,
                                       struct producer *producer, struct error *error)
{
    sqlite3_stmt *insert = producers->insert;
    sqlite3_bind_text(insert, 1, producer->name, producer->name_bytes, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 2, indexer_gaps_cell(0));
    enum error_code code = indexer_database_run(insert, error);
    if (!code)
        producer->gaps.producer = sqlite3_last_insert_rowid(producers->database);
    return code;
}

static void read_producer(sqlite3_stmt *find, struct producer *producer)
{
    producer->gaps.producer = sqlite3_column_int64(find, 0);
    producer->number_last = indexer_gaps_number(sqlite3_column_int64(find, 1));
    producer->sequence_last = (uint64_t)sqlite3_column_int64(find, 2);
    producer->number_first = indexer_gaps_number(sqlite3_column_int64(find, 3));
    producer->sequence_first = (uint64_t)sqlite3_column_int64(find, 4);
    if (sqlite3_column_type(find, 5) != SQLITE_NULL)
        producer->gaps.number_last = indexer_gaps_number(sqlite3_column_int64(find, 5));
    producer->gaps.rows = (uint64_t)sqlite3_column_int64(find, 6);
}

static enum error_code find_or_insert(struct indexer_producers *producers,
                                      struct producer *producer, struct error *error)
{
    sqlite3_stmt *find = producers->find;
    sqlite3_bind_text(find, 1, producer->name, producer->name_bytes, SQLITE_STATIC);
    int result = sqlite3_step(find);
    if (result == SQLITE_ROW)
        read_producer(find, producer);
    sqlite3_reset(find);
    if (result == SQLITE_ROW)
        return OK;
    if (result != SQLITE_DONE)
        return indexer_database_error(producers->database, result, error);
    return insert_producer(producers, producer, error);
}

static bool is_named(const struct producer *producer, const char *name, size_t bytes)
{
    return producer->name_bytes == bytes && memcmp(producer->name, name, bytes) == 0;
}

/* The slot that holds the producer, or the free one where it belongs. */
static uint16_t *find_slot(struct indexer_producers *producers, const char *name, size_t bytes,
                           uint32_t hash)
{
    for (size_t at = hash % SLOTS;; at = (at + 1) % SLOTS) {
        uint16_t *slot = &producers->slots[at];
        if (!*slot)
            return slot;
        const struct producer *producer = &producers->entries[*slot - 1];
        if (producer->hash == hash && is_named(producer, name, bytes))
            return slot;
    }
}

static enum error_code remember(struct indexer_producers *producers, const char *name,
                                size_t bytes, uint32_t hash, uint16_t *slot, struct error *error)
{
    assert(producers->count < INDEXER_PRODUCERS_MAX && bytes <= EVENT_PRODUCER_BYTES_MAX);
    struct producer *producer = &producers->entries[producers->count];
    *producer = (struct producer){.hash = hash, .name_bytes = (uint8_t)bytes};
    memcpy(producer->name, name, bytes);
    enum error_code code = find_or_insert(producers, producer, error);
    if (!code)
        *slot = (uint16_t)++producers->count;
    return code;
}

/* Valid until the next call. */
static enum error_code look_up(struct indexer_producers *producers, const char *name, size_t bytes,
                               struct producer **producer_out, struct error *error)
{
    if (producers->latest && is_named(producers->latest, name, bytes)) {
        *producer_out = producers->latest;
        return OK;
    }
    uint32_t hash = checksum_extend(0, name, bytes);
    uint16_t *slot = find_slot(producers, name, bytes, hash);
    enum error_code code = OK;
    if (!*slot && producers->count == INDEXER_PRODUCERS_MAX) {
        code = indexer_producers_flush(producers, error);
        if (code)
            return code;
        indexer_producers_clear(producers);
        slot = find_slot(producers, name, bytes, hash);
    }
    if (!*slot)
        code = remember(producers, name, bytes, hash, slot, error);
    if (code)
        return code;
    producers->latest = &producers->entries[*slot - 1];
    *producer_out = producers->latest;
    return OK;
}

/* ---- Numbers that are stored ---- */

/* Numbers that are missing for good, with room for why. */
struct jump {
    struct indexer_gaps_range range;
    char cause[32];
    char reason[96];
};

/* Events that are on record as lost may have had the numbers; else these never arrived. */
static enum error_code find_cause(struct indexer_producers *producers,
                                  const struct producer *producer, uint64_t sequence,
                                  struct jump *jump, struct error *error)
{
    sqlite3_stmt *find = producers->find_loss;
    sqlite3_bind_int64(find, 1, (sqlite3_int64)producer->sequence_last);
    sqlite3_bind_int64(find, 2, (sqlite3_int64)sequence);
    int result = sqlite3_step(find);
    snprintf(jump->cause, sizeof jump->cause, "%s", INDEXER_GAP_NEVER_ARRIVED);
    jump->reason[0] = '\0';
    if (result == SQLITE_ROW) {
        snprintf(jump->reason, sizeof jump->reason,
                 "they may have been among the lost sequences %lld to %lld",
                 sqlite3_column_int64(find, 0), sqlite3_column_int64(find, 1));
        snprintf(jump->cause, sizeof jump->cause, "%s", (const char *)sqlite3_column_text(find, 2));
    }
    sqlite3_reset(find);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        return indexer_database_error(producers->database, result, error);
    jump->range.cause = jump->cause;
    jump->range.reason = jump->reason;
    jump->range.reason_bytes = strlen(jump->reason);
    return OK;
}

/* Everything between the last number and this one, which is higher, is missing for good. */
static enum error_code close_jump(struct indexer_producers *producers, struct producer *producer,
                                  const struct event *event, struct error *error)
{
    struct indexer_gaps_place place = {event->sequence, event->time_ns};
    struct jump jump = {
        .range.first = producer->number_last + 1,
        .range.last = event->number - 1,
        .range.count = event->number - 1 - producer->number_last,
    };
    if (jump.range.count == 0)
        return OK;
    enum error_code code = find_cause(producers, producer, event->sequence, &jump, error);
    if (code)
        return code;
    return indexer_gaps_close(producers->gaps, &producer->gaps, &jump.range, &place, error);
}

/*
 * Its first number, as far as the index knows: numbers may begin anywhere. What has been told of
 * lower ones before stays, and belongs to this event from now on.
 */
static enum error_code begin_numbers(struct indexer_producers *producers,
                                     struct producer *producer, const struct event *event,
                                     struct error *error)
{
    struct indexer_gaps_place place = {event->sequence, event->time_ns};
    struct indexer_gaps_range none = {
        .first = 1,
        .last = event->number - 1,
        .count = 0, /* of them are added */
        .cause = INDEXER_GAP_NEVER_ARRIVED,
        .reason = "",
    };
    bool anew = producer->number_last > 0;
    producer->number_first = event->number;
    producer->sequence_first = event->sequence;
    return anew ? OK
                : indexer_gaps_close(producers->gaps, &producer->gaps, &none, &place, error);
}

static enum error_code count_slowly(struct indexer_producers *producers, struct producer *producer,
                                    const struct event *event, struct error *error)
{
    enum error_code code =
        indexer_gaps_remove(producers->gaps, &producer->gaps, event->number, error);
    if (code)
        return code;
    if (producer->number_last == 0 || event->number <= producer->number_last)
        return begin_numbers(producers, producer, event, error);
    return close_jump(producers, producer, event, error);
}

enum error_code indexer_producers_count(struct indexer_producers *producers,
                                        const struct event *event, struct error *error)
{
    struct producer *producer;
    if (event->number == 0 || event->number > EVENT_NUMBER_MAX)
        return OK; /* no log of ours stores that */
    enum error_code code =
        look_up(producers, event->producer, event->producer_bytes, &producer, error);
    bool follows = !code && producer->number_last > 0 &&
                   event->number == producer->number_last + 1 &&
                   event->number > producer->gaps.number_last;
    if (!code && !follows)
        code = count_slowly(producers, producer, event, error);
    if (code)
        return code;
    producer->number_last = event->number;
    producer->sequence_last = event->sequence;
    producer->changed = true;
    return OK;
}

/* ---- What is told of missing numbers ---- */

/* The part of the range from `first` to `last`. */
static struct indexer_gaps_range part_of(const struct indexer_gaps_range *range, uint64_t first,
                                         uint64_t last)
{
    struct indexer_gaps_range part = *range;
    if (part.first < first)
        part.first = first;
    if (part.last > last)
        part.last = last;
    return part;
}

/*
 * Behind the last number nothing contradicts it. Up to there it only explains what is known to be
 * missing. Before the first nothing is known to be stored, nor to be missing, but for this; but
 * where the index begins in the middle of a log, such numbers are in its past, like what retired.
 */
static enum error_code explain(struct indexer_producers *producers, struct producer *producer,
                               const struct indexer_gaps_range *range,
                               const struct indexer_gaps_place *place, struct error *error)
{
    struct indexer_gaps *gaps = producers->gaps;
    struct indexer_gaps_known *known = &producer->gaps;
    struct indexer_gaps_range above =
        part_of(range, producer->number_last + 1, EVENT_NUMBER_MAX);
    struct indexer_gaps_range within =
        part_of(range, producer->number_first, producer->number_last);
    enum error_code code = indexer_gaps_add(gaps, known, &above, place, error);
    if (!code && producer->number_last > 0)
        code = indexer_gaps_explain(gaps, known, &within, place->time_ns, error);
    if (!code && producer->number_first > 0) {
        struct indexer_gaps_range below = part_of(range, 1, producer->number_first - 1);
        struct indexer_gaps_place behind = {producer->sequence_first, place->time_ns};
        code = indexer_gaps_add(gaps, known, &below, &behind, error);
    }
    return code;
}

enum error_code indexer_producers_explain(struct indexer_producers *producers,
                                          const struct event *event, struct error *error)
{
    struct gap gap;
    struct producer *producer;
    if (!gap_from_event(event, &gap))
        return OK;
    enum error_code code = look_up(producers, gap.producer, gap.producer_bytes, &producer, error);
    if (code)
        return code;
    struct indexer_gaps_range range = {
        .first = gap.first,
        .last = gap.last,
        .count = gap.count,
        .cause = gap_cause_text(gap.cause),
        .reason = gap.reason,
        .reason_bytes = gap.reason_bytes,
    };
    struct indexer_gaps_place place = {event->sequence, event->time_ns};
    return explain(producers, producer, &range, &place, error);
}

/* ---- What was before ---- */

static enum error_code restore(struct indexer_producers *producers,
                               const struct segment_producers_entry *entry, struct error *error)
{
    struct producer *producer;
    if (entry->number == 0 || entry->number > EVENT_NUMBER_MAX)
        return OK;
    enum error_code code = look_up(producers, entry->name, entry->name_bytes, &producer, error);
    if (code || entry->sequence <= producer->sequence_last)
        return code;
    if (producer->number_last == 0)
        producer->number_first = entry->number;
    producer->number_last = entry->number;
    producer->sequence_last = entry->sequence;
    producer->changed = true;
    return OK;
}

enum error_code indexer_producers_restore(struct indexer_producers *producers, const void *body,
                                          size_t size, struct error *error)
{
    struct segment_producers_entry entry;
    size_t position = 0;
    enum error_code code;
    while ((code = segment_producers_next(body, size, &position, &entry, error)) == OK) {
        code = restore(producers, &entry, error);
        if (code)
            return code;
    }
    /* A list that is damaged tells less; the log's readers tell of the damage. */
    return code == ERROR_END || code == ERROR_DAMAGED ? OK : code;
}

/* ---- Writing ---- */

static enum error_code write_producer(sqlite3_stmt *update, const struct producer *producer,
                                      struct error *error)
{
    sqlite3_bind_int64(update, 1, producer->gaps.producer);
    sqlite3_bind_int64(update, 2, indexer_gaps_cell(producer->number_last));
    sqlite3_bind_int64(update, 3, (sqlite3_int64)producer->sequence_last);
    sqlite3_bind_int64(update, 4, indexer_gaps_cell(producer->number_first));
    sqlite3_bind_int64(update, 5, (sqlite3_int64)producer->sequence_first);
    return indexer_database_run(update, error);
}

enum error_code indexer_producers_flush(struct indexer_producers *producers, struct error *error)
{
    for (size_t i = 0; i < producers->count; i++) {
        struct producer *producer = &producers->entries[i];
        if (!producer->changed)
            continue;
        enum error_code code = write_producer(producers->update, producer, error);
        if (code)
            return code;
        producer->changed = false;
    }
    return OK;
}

void indexer_producers_clear(struct indexer_producers *producers)
{
    producers->count = 0;
    producers->latest = NULL;
    memset(producers->slots, 0, sizeof producers->slots);
}

void indexer_producers_free(struct indexer_producers *producers)
{
    if (!producers)
        return;
    indexer_gaps_free(producers->gaps);
    sqlite3_finalize(producers->find);
    sqlite3_finalize(producers->insert);
    sqlite3_finalize(producers->update);
    sqlite3_finalize(producers->find_loss);
    free(producers);
}
