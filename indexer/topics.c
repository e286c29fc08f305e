#include "indexer/topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "indexer/database.h"

/* Open addressing with linear probing; at most half full. */
enum { SLOTS = 2 * INDEXER_TOPICS_MAX };

struct topic {
    uint32_t hash;
    uint32_t name_bytes;
    size_t name_at; /* in names */
    int64_t id;
    size_t field; /* the first that is indexed, from 1; 0: none is */
    int64_t events; /* since the last flush; 0: nothing to write */
    int64_t bytes;
    int64_t sequence_last;
    int64_t ts_min;
    int64_t ts_max;
};

struct indexer_topics {
    const struct indexer_field_set *fields; /* borrowed */
    sqlite3_stmt *find;
    sqlite3_stmt *insert;
    sqlite3_stmt *update;
    struct buffer names;
    size_t count;
    struct topic topics[INDEXER_TOPICS_MAX];
    uint16_t slots[SLOTS]; /* position in topics + 1; 0: free */
};

static const char find_sql[] = "SELECT id FROM topic_rows WHERE topic = ?1";
static const char insert_sql[] =
    "INSERT INTO topic_rows(topic, events, bytes, first_seq, last_seq, first_ts, last_ts)"
    " VALUES (?1, 0, 0, ?2, ?2, ?3, ?3)";
static const char update_sql[] =
    "UPDATE topic_rows SET events = events + ?2, bytes = bytes + ?3, last_seq = max(last_seq, ?4),"
    " first_ts = min(first_ts, ?5), last_ts = max(last_ts, ?6) WHERE id = ?1";

enum error_code indexer_topics_create(sqlite3 *database, const struct indexer_field_set *fields,
                                      struct indexer_topics **topics_out, struct error *error)
{
    struct indexer_topics *topics = calloc(1, sizeof *topics);
    if (!topics)
        return error_set(error, ERROR_MEMORY, "no memory for the index's topics");
    topics->fields = fields;
    enum error_code code = indexer_database_prepare(database, find_sql, &topics->find, error);
    if (!code)
        code = indexer_database_prepare(database, insert_sql, &topics->insert, error);
    if (!code)
        code = indexer_database_prepare(database, update_sql, &topics->update, error);
    if (code) {
        indexer_topics_free(topics);
        return code;
    }
    *topics_out = topics;
    return OK;
}

static enum error_code insert_topic(struct indexer_topics *topics, const struct event *event,
                                    int64_t *id_out, struct error *error)
{
    sqlite3_stmt *insert = topics->insert;
    sqlite3_bind_text(insert, 1, event->topic, (int)event->topic_bytes, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 2, (sqlite3_int64)event->sequence);
    sqlite3_bind_int64(insert, 3, event->time_ns);
    enum error_code code = indexer_database_run(insert, error);
    if (!code)
        *id_out = sqlite3_last_insert_rowid(sqlite3_db_handle(insert));
    return code;
}

static enum error_code find_or_insert(struct indexer_topics *topics, const struct event *event,
                                      int64_t *id_out, struct error *error)
{
    sqlite3_stmt *find = topics->find;
    sqlite3_bind_text(find, 1, event->topic, (int)event->topic_bytes, SQLITE_STATIC);
    int result = sqlite3_step(find);
    int64_t id = sqlite3_column_int64(find, 0);
    sqlite3_reset(find);
    if (result == SQLITE_ROW) {
        *id_out = id;
        return OK;
    }
    if (result != SQLITE_DONE)
        return indexer_database_error(sqlite3_db_handle(find), result, error);
    return insert_topic(topics, event, id_out, error);
}

/* The slot that holds the topic, or the free one where it belongs. */
static uint16_t *find_slot(struct indexer_topics *topics, const struct event *event, uint32_t hash)
{
    for (size_t at = hash % SLOTS;; at = (at + 1) % SLOTS) {
        uint16_t *slot = &topics->slots[at];
        if (!*slot)
            return slot;
        const struct topic *topic = &topics->topics[*slot - 1];
        if (topic->hash == hash && topic->name_bytes == event->topic_bytes &&
            !memcmp(topics->names.data + topic->name_at, event->topic, event->topic_bytes))
            return slot;
    }
}

static enum error_code remember(struct indexer_topics *topics, const struct event *event,
                                uint32_t hash, uint16_t *slot, struct error *error)
{
    struct topic topic = {
        .hash = hash,
        .name_bytes = (uint32_t)event->topic_bytes,
        .name_at = topics->names.size,
        .field = indexer_field_set_first(topics->fields, event->topic, event->topic_bytes),
    };
    enum error_code code = find_or_insert(topics, event, &topic.id, error);
    if (!code)
        code = buffer_append(&topics->names, event->topic, event->topic_bytes, error);
    if (code)
        return code;
    assert(topics->count < INDEXER_TOPICS_MAX);
    topics->topics[topics->count++] = topic;
    *slot = (uint16_t)topics->count;
    return OK;
}

static void add_totals(struct topic *topic, const struct event *event)
{
    if (!topic->events) {
        topic->ts_min = event->time_ns;
        topic->ts_max = event->time_ns;
    }
    if (event->time_ns < topic->ts_min)
        topic->ts_min = event->time_ns;
    if (event->time_ns > topic->ts_max)
        topic->ts_max = event->time_ns;
    topic->events++;
    topic->bytes += (int64_t)event->payload_bytes;
    topic->sequence_last = (int64_t)event->sequence;
}

enum error_code indexer_topics_count(struct indexer_topics *topics, const struct event *event,
                                     int64_t *id_out, size_t *field_out, struct error *error)
{
    uint32_t hash = checksum_extend(0, event->topic, event->topic_bytes);
    uint16_t *slot = find_slot(topics, event, hash);
    if (!*slot && topics->count == INDEXER_TOPICS_MAX) {
        enum error_code code = indexer_topics_flush(topics, error);
        if (code)
            return code;
        indexer_topics_clear(topics);
        slot = find_slot(topics, event, hash);
    }
    if (!*slot) {
        enum error_code code = remember(topics, event, hash, slot, error);
        if (code)
            return code;
    }
    struct topic *topic = &topics->topics[*slot - 1];
    add_totals(topic, event);
    *id_out = topic->id;
    *field_out = topic->field;
    return OK;
}

static enum error_code write_totals(sqlite3_stmt *update, const struct topic *topic,
                                    struct error *error)
{
    sqlite3_bind_int64(update, 1, topic->id);
    sqlite3_bind_int64(update, 2, topic->events);
    sqlite3_bind_int64(update, 3, topic->bytes);
    sqlite3_bind_int64(update, 4, topic->sequence_last);
    sqlite3_bind_int64(update, 5, topic->ts_min);
    sqlite3_bind_int64(update, 6, topic->ts_max);
    return indexer_database_run(update, error);
}

enum error_code indexer_topics_flush(struct indexer_topics *topics, struct error *error)
{
    for (size_t i = 0; i < topics->count; i++) {
        struct topic *topic = &topics->topics[i];
        if (!topic->events)
            continue;
        enum error_code code = write_totals(topics->update, topic, error);
        if (code)
            return code;
        topic->events = 0;
        topic->bytes = 0;
    }
    return OK;
}

void indexer_topics_clear(struct indexer_topics *topics)
{
    topics->count = 0;
    topics->names.size = 0;
    memset(topics->slots, 0, sizeof topics->slots);
}

void indexer_topics_free(struct indexer_topics *topics)
{
    if (!topics)
        return;
    sqlite3_finalize(topics->find);
    sqlite3_finalize(topics->insert);
    sqlite3_finalize(topics->update);
    buffer_release(&topics->names);
    free(topics);
}
