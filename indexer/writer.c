#include "indexer/writer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/gap.h"
#include "indexer/batch.h"
#include "indexer/database.h"
#include "indexer/producers.h"
#include "indexer/topics.h"
#include "segment/block.h"

/* What the transaction adds to the row of the segment that is being read. */
struct segment_totals {
    bool any;
    uint64_t sequence_first; /* the segment's */
    uint64_t sequence_last;
    uint64_t file_bytes;
    bool packed; /* when it was entered first; then `seal` tells the file from others */
    uint32_t seal;
    int64_t events;
    int64_t blocks;
    int64_t raw_bytes;
    int64_t stored_bytes;
    int64_t ts_min; /* meaningful when events > 0 */
    int64_t ts_max;
    int64_t arrival_first;
    int64_t arrival_last;
};

struct indexer_writer {
    sqlite3 *database; /* borrowed */
    int segments_fd;   /* borrowed */
    struct indexer_field_set *fields; /* borrowed */
    bool open;         /* a transaction is */
    struct indexer_topics *topics;
    struct indexer_producers *producers;
    struct indexer_batch events; /* seq, ts, topic_id, bytes */
    struct indexer_batch blocks; /* first_seq, count, segment, offset, checksum */
    struct segment_totals segment;
    sqlite3_stmt *insert_events;
    sqlite3_stmt *insert_blocks;
    sqlite3_stmt *delete_blocks;
    sqlite3_stmt *upsert_segment;
    sqlite3_stmt *insert_gap;
    sqlite3_stmt *update_state;
};

static const char upsert_segment_sql[] =
    "INSERT INTO segment_rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    " ON CONFLICT(first_seq) DO UPDATE SET"
    " last_seq = max(last_seq, excluded.last_seq), events = events + excluded.events,"
    " bytes = max(bytes, excluded.bytes), blocks = blocks + excluded.blocks,"
    " raw_bytes = raw_bytes + excluded.raw_bytes,"
    " stored_bytes = stored_bytes + excluded.stored_bytes,"
    " first_ts = min(ifnull(first_ts, excluded.first_ts), ifnull(excluded.first_ts, first_ts)),"
    " last_ts = max(ifnull(last_ts, excluded.last_ts), ifnull(excluded.last_ts, last_ts)),"
    " last_arrival = max(last_arrival, excluded.last_arrival)";

static enum error_code attach_batches(struct indexer_writer *writer, struct error *error)
{
    writer->events.columns = 4;
    writer->blocks.columns = 5;
    enum error_code code = indexer_batch_attach(&writer->events, writer->database, "event_batch",
                                                "seq, ts, topic_id, bytes", error);
    if (!code)
        code = indexer_batch_attach(&writer->blocks, writer->database, "block_batch",
                                    "first_seq, count, segment, offset, checksum", error);
    return code;
}

static enum error_code prepare_all(struct indexer_writer *writer, struct error *error)
{
    /*
     * OR ROLLBACK, because SQLite would otherwise keep the old content of each page that a
     * statement changes (in memory, with as many pages as there are topics), to undo only that
     * statement.
     */
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } list[] = {
        {&writer->insert_events, "INSERT OR ROLLBACK INTO event_rows SELECT * FROM event_batch"},
        {&writer->insert_blocks, "INSERT OR ROLLBACK INTO block_rows SELECT * FROM block_batch"},
        {&writer->delete_blocks, "DELETE FROM block_rows WHERE first_seq >= ?1"},
        {&writer->upsert_segment, upsert_segment_sql},
        {&writer->insert_gap, "INSERT INTO gap_rows VALUES (?1, ?2, ?3, ?4, ?5)"
                              " ON CONFLICT(first_seq) DO NOTHING"},
        {&writer->update_state, "UPDATE state SET last_seq = ?1"},
    };
    enum error_code code = OK;
    for (size_t i = 0; !code && i < sizeof list / sizeof list[0]; i++)
        code = indexer_database_prepare(writer->database, list[i].sql, list[i].statement, error);
    return code;
}

enum error_code indexer_writer_create(sqlite3 *database, int segments_fd,
                                      struct indexer_field_set *fields,
                                      struct indexer_writer **writer_out, struct error *error)
{
    struct indexer_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return error_set(error, ERROR_MEMORY, "no memory for the index's writer");
    writer->database = database;
    writer->segments_fd = segments_fd;
    writer->fields = fields;
    enum error_code code = attach_batches(writer, error);
    if (!code)
        code = prepare_all(writer, error);
    if (!code)
        code = indexer_topics_create(database, fields, &writer->topics, error);
    if (!code)
        code = indexer_producers_create(database, &writer->producers, error);
    if (code) {
        indexer_writer_free(writer);
        return code;
    }
    *writer_out = writer;
    return OK;
}

/* The write lock is taken with the first rows, not at the commit: totals of topics need it. */
static enum error_code begin(struct indexer_writer *writer, struct error *error)
{
    if (writer->open)
        return OK;
    enum error_code code = indexer_database_exec(writer->database, "BEGIN IMMEDIATE", error);
    if (!code)
        writer->open = true;
    return code;
}

static enum error_code write_segment(struct indexer_writer *writer, struct error *error)
{
    const struct segment_totals *segment = &writer->segment;
    if (!segment->any)
        return OK;
    sqlite3_stmt *upsert = writer->upsert_segment;
    sqlite3_bind_int64(upsert, 1, (sqlite3_int64)segment->sequence_first);
    sqlite3_bind_int64(upsert, 2, (sqlite3_int64)segment->sequence_last);
    sqlite3_bind_int64(upsert, 3, segment->events);
    sqlite3_bind_int64(upsert, 4, (sqlite3_int64)segment->file_bytes);
    sqlite3_bind_int64(upsert, 5, segment->blocks);
    sqlite3_bind_int64(upsert, 6, segment->raw_bytes);
    sqlite3_bind_int64(upsert, 7, segment->stored_bytes);
    sqlite3_bind_null(upsert, 8);
    sqlite3_bind_null(upsert, 9);
    if (segment->events) {
        sqlite3_bind_int64(upsert, 8, segment->ts_min);
        sqlite3_bind_int64(upsert, 9, segment->ts_max);
    }
    sqlite3_bind_int64(upsert, 10, segment->arrival_first);
    sqlite3_bind_int64(upsert, 11, segment->arrival_last);
    sqlite3_bind_null(upsert, 12);
    if (segment->packed)
        sqlite3_bind_int64(upsert, 12, segment->seal);
    enum error_code code = indexer_database_run(upsert, error);
    writer->segment.any = false;
    return code;
}

/* 0 when it cannot be told: retention may have been faster. */
static uint64_t file_bytes_of(int segments_fd, uint64_t segment_first)
{
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    segment_format_segment_name(segment_first, name);
    int fd = -1;
    uint64_t bytes = 0;
    if (!file_open(segments_fd, name, FILE_READ, &fd, NULL))
        file_size(fd, name, &bytes, NULL);
    file_close(&fd);
    return bytes;
}

/* Make writer->segment the totals of the block's segment. */
static enum error_code enter_segment(struct indexer_writer *writer,
                                     const struct segment_reader_block *block, struct error *error)
{
    struct segment_totals *segment = &writer->segment;
    uint64_t segment_first = block->segment_first;
    int64_t arrival_ns = block->header.arrival_ns;
    if (segment->any && segment->sequence_first == segment_first)
        return OK;
    enum error_code code = write_segment(writer, error);
    if (code)
        return code;
    uint64_t file_bytes = segment->sequence_first == segment_first
                              ? segment->file_bytes
                              : file_bytes_of(writer->segments_fd, segment_first);
    *segment = (struct segment_totals){
        .any = true,
        .sequence_first = segment_first,
        .sequence_last = segment_first - 1,
        .file_bytes = file_bytes,
        .packed = block->packed,
        .seal = block->seal_checksum,
        .arrival_first = arrival_ns,
        .arrival_last = arrival_ns,
    };
    return OK;
}

static void count_block(struct segment_totals *segment, const struct segment_reader_block *block,
                        uint64_t sequence_after)
{
    const struct segment_format_block_header *header = &block->header;
    uint64_t before = header->sequence_first - 1;
    if (!segment->events || header->time_min_ns < segment->ts_min)
        segment->ts_min = header->time_min_ns;
    if (!segment->events || header->time_max_ns > segment->ts_max)
        segment->ts_max = header->time_max_ns;
    segment->events += header->event_count;
    segment->events -= sequence_after > before ? (int64_t)(sequence_after - before) : 0;
    segment->blocks++;
    segment->raw_bytes += header->raw_bytes;
    segment->stored_bytes += header->size_bytes;
    segment->arrival_last = block->arrival_last_ns;
    segment->sequence_last = header->sequence_first + header->event_count - 1;
}

static enum error_code add_block_row(struct indexer_writer *writer,
                                     const struct segment_reader_block *block, struct error *error)
{
    const struct segment_format_block_header *header = &block->header;
    int64_t *row = indexer_batch_add(&writer->blocks);
    if (!row)
        return error_set(error, ERROR_MEMORY, "no memory for the index's block rows");
    row[0] = (int64_t)header->sequence_first;
    row[1] = header->event_count;
    row[2] = (int64_t)block->segment_first;
    row[3] = (int64_t)header->offset;
    row[4] = header->checksum;
    return OK;
}

/*
 * The block begins with events that are indexed already: packing has put it in the place of some,
 * of which the last were not. The rows of those go; the segment's totals are made anew by
 * indexer/relocate.h.
 */
static enum error_code forget_blocks(struct indexer_writer *writer, uint64_t sequence_first,
                                     struct error *error)
{
    struct indexer_batch *blocks = &writer->blocks;
    while (blocks->count > 0 &&
           blocks->cells[(blocks->count - 1) * (size_t)blocks->columns] >= (int64_t)sequence_first)
        blocks->count--;
    sqlite3_bind_int64(writer->delete_blocks, 1, (sqlite3_int64)sequence_first);
    return indexer_database_run(writer->delete_blocks, error);
}

static enum error_code add_event_row(struct indexer_writer *writer, const struct event *event,
                                     struct error *error)
{
    int64_t id;
    size_t field;
    enum error_code code = indexer_topics_count(writer->topics, event, &id, &field, error);
    if (!code && event->producer_bytes > 0)
        code = indexer_producers_count(writer->producers, event, error);
    if (!code && gap_is_topic(event->topic, event->topic_bytes))
        code = indexer_producers_explain(writer->producers, event, error);
    if (!code && field)
        code = indexer_field_set_add_all(writer->fields, field, event, error);
    if (code)
        return code;
    int64_t *row = indexer_batch_add(&writer->events);
    if (!row)
        return error_set(error, ERROR_MEMORY, "no memory for the index's event rows");
    row[0] = (int64_t)event->sequence;
    row[1] = event->time_ns;
    row[2] = id;
    row[3] = (int64_t)event->payload_bytes;
    return OK;
}

static enum error_code add_event_rows(struct indexer_writer *writer,
                                      const struct segment_reader_block *block,
                                      uint64_t sequence_after, struct error *error)
{
    struct segment_block_cursor cursor;
    segment_block_cursor_init(&cursor, &block->header, block->raw);
    for (;;) {
        struct event event;
        struct error why = {0};
        enum error_code code = segment_block_cursor_next(&cursor, &event, &why);
        if (code == ERROR_END)
            return OK;
        if (code)
            return error_set(error, ERROR_INVALID, "segment %llu: block at byte %llu: %s",
                             (unsigned long long)block->segment_first,
                             (unsigned long long)block->header.offset, why.text);
        if (event.sequence > sequence_after)
            code = add_event_row(writer, &event, error);
        if (code)
            return code;
    }
}

enum error_code indexer_writer_add_events(struct indexer_writer *writer,
                                          const struct segment_reader_block *block,
                                          uint64_t sequence_after, struct error *error)
{
    enum error_code code = begin(writer, error);
    if (!code)
        code = enter_segment(writer, block, error);
    if (!code && block->header.sequence_first <= sequence_after)
        code = forget_blocks(writer, block->header.sequence_first, error);
    if (!code)
        code = add_block_row(writer, block, error);
    if (code)
        return code;
    count_block(&writer->segment, block, sequence_after);
    return add_event_rows(writer, block, sequence_after, error);
}

enum error_code indexer_writer_add_gap(struct indexer_writer *writer,
                                       const struct segment_reader_block *block,
                                       uint64_t sequence_first, uint64_t sequence_last,
                                       const char *cause, struct error *error)
{
    enum error_code code = begin(writer, error);
    if (code)
        return code;
    sqlite3_bind_int64(writer->insert_gap, 1, (sqlite3_int64)sequence_first);
    sqlite3_bind_int64(writer->insert_gap, 2, (sqlite3_int64)sequence_last);
    sqlite3_bind_text(writer->insert_gap, 3, cause, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(writer->insert_gap, 4, (sqlite3_int64)block->segment_first);
    sqlite3_bind_int64(writer->insert_gap, 5, block->header.arrival_ns);
    return indexer_database_run(writer->insert_gap, error);
}

enum error_code indexer_writer_add_producers(struct indexer_writer *writer,
                                             const struct segment_reader_block *block,
                                             struct error *error)
{
    enum error_code code = begin(writer, error);
    if (code)
        return code;
    return indexer_producers_restore(writer->producers, block->raw, block->header.raw_bytes, error);
}

size_t indexer_writer_events(const struct indexer_writer *writer)
{
    return writer->events.count;
}

static enum error_code write_all(struct indexer_writer *writer, uint64_t last_sequence,
                                 struct error *error)
{
    enum error_code code = indexer_database_run(writer->insert_events, error);
    if (!code)
        code = indexer_database_run(writer->insert_blocks, error);
    if (!code)
        code = indexer_topics_flush(writer->topics, error);
    if (!code)
        code = indexer_producers_flush(writer->producers, error);
    if (!code)
        code = indexer_field_set_flush(writer->fields, error);
    if (!code)
        code = write_segment(writer, error);
    if (code)
        return code;
    sqlite3_bind_int64(writer->update_state, 1, (sqlite3_int64)last_sequence);
    return indexer_database_run(writer->update_state, error);
}

static void empty(struct indexer_writer *writer)
{
    writer->open = false;
    writer->events.count = 0;
    writer->blocks.count = 0;
    writer->segment.any = false;
}

enum error_code indexer_writer_commit(struct indexer_writer *writer, uint64_t last_sequence,
                                      struct error *error)
{
    if (!writer->open)
        return OK;
    enum error_code code = write_all(writer, last_sequence, error);
    if (!code)
        code = indexer_database_exec(writer->database, "COMMIT", error);
    if (code)
        indexer_writer_rollback(writer);
    else
        empty(writer);
    return code;
}

void indexer_writer_rollback(struct indexer_writer *writer)
{
    /* SQLite may have rolled back by itself already; then this fails and nothing is amiss. */
    if (writer->open)
        indexer_database_exec(writer->database, "ROLLBACK", NULL);
    empty(writer);
    /* Ids that the transaction gave out are void. */
    indexer_writer_forget_names(writer);
    indexer_field_set_forget(writer->fields);
}

void indexer_writer_forget_names(struct indexer_writer *writer)
{
    indexer_topics_clear(writer->topics);
    indexer_producers_clear(writer->producers);
}

void indexer_writer_free(struct indexer_writer *writer)
{
    if (!writer)
        return;
    if (writer->open)
        indexer_writer_rollback(writer);
    sqlite3_finalize(writer->insert_events);
    sqlite3_finalize(writer->insert_blocks);
    sqlite3_finalize(writer->delete_blocks);
    sqlite3_finalize(writer->upsert_segment);
    sqlite3_finalize(writer->insert_gap);
    sqlite3_finalize(writer->update_state);
    indexer_topics_free(writer->topics);
    indexer_producers_free(writer->producers);
    indexer_batch_release(&writer->events);
    indexer_batch_release(&writer->blocks);
    free(writer);
}
