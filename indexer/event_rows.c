#include "indexer/event_rows.h"

#include <stdlib.h>
#include <string.h>

#include "indexer/database.h"

enum { TOPIC_SLOTS = 64 };

/* The ways to the rows. */
enum way { WAY_SEQUENCE, WAY_TOPIC, WAY_TIMES, WAY_FIELD };

/* A name that was looked up; `bytes` 0: the slot is free. */
struct topic_slot {
    int64_t id;
    size_t bytes;
    char name[EVENT_TOPIC_BYTES_MAX];
};

struct indexer_event_rows {
    struct indexer_host *host;
    struct indexer_event_plan plan;
    int64_t topic_id; /* of the plan's topic */
    sqlite3_stmt *statement;
    char *sql; /* of the statement: asked again with other values, it is not prepared anew */
    sqlite3_stmt *find_name, *find_topic, *find_segments;
    struct topic_slot slots[TOPIC_SLOTS];
};

/* What the index knows of the rows in question, before it looks at them. */
struct estimate {
    double topic_events; /* rows of the topic within the times */
    double times_events; /* rows of all topics within the times */
};

static const char find_name_sql[] = "SELECT topic FROM %s.topic_rows WHERE id = ?1";
static const char find_topic_sql[] = "SELECT id, events, first_seq, last_seq, first_ts, last_ts"
                                     " FROM %s.topic_rows WHERE topic = ?1";
static const char find_segments_sql[] =
    "SELECT min(first_seq), max(last_seq), sum(events), min(first_ts), max(last_ts)"
    " FROM %s.segment_rows WHERE last_ts >= ?1 AND first_ts <= ?2";

enum error_code indexer_event_rows_create(struct indexer_host *host,
                                          struct indexer_event_rows **rows_out,
                                          struct error *error)
{
    struct indexer_event_rows *rows = calloc(1, sizeof *rows);
    if (!rows)
        return error_set(error, ERROR_MEMORY, "no memory for rows of events");
    rows->host = host;
    const struct {
        const char *sql;
        sqlite3_stmt **statement;
    } list[] = {
        {find_name_sql, &rows->find_name},
        {find_topic_sql, &rows->find_topic},
        {find_segments_sql, &rows->find_segments},
    };
    enum error_code code = OK;
    for (size_t i = 0; !code && i < sizeof list / sizeof list[0]; i++)
        code = indexer_database_prepare_in(host->database, host->schema, list[i].sql,
                                           list[i].statement, error);
    if (code) {
        indexer_event_rows_free(rows);
        return code;
    }
    *rows_out = rows;
    return OK;
}

/* SQLITE_ROW is OK, SQLITE_DONE is ERROR_END. */
static enum error_code step(sqlite3_stmt *statement, struct error *error)
{
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return OK;
    if (result == SQLITE_DONE)
        return ERROR_END;
    if (result == SQLITE_INTERRUPT)
        return error_set(error, ERROR_CLOSED, "interrupted");
    enum error_code code =
        indexer_database_error(sqlite3_db_handle(statement), result, error);
    error_prefix(error, "index");
    return code;
}

static int64_t larger(int64_t left, int64_t right)
{
    return left > right ? left : right;
}

static int64_t smaller(int64_t left, int64_t right)
{
    return left < right ? left : right;
}

/* What part of [low, high] lies within [first, last]? */
static double share_of(int64_t first, int64_t last, int64_t low, int64_t high)
{
    double whole = (double)high - (double)low + 1;
    double part = (double)smaller(last, high) - (double)larger(first, low) + 1;
    return part <= 0 ? 0 : part / whole;
}

/* Find the plan's topic, and narrow the plan to where it has events. */
static enum error_code narrow_to_topic(struct indexer_event_rows *rows, struct estimate *estimate,
                                       struct error *error)
{
    struct indexer_event_plan *plan = &rows->plan;
    sqlite3_stmt *find = rows->find_topic;
    sqlite3_bind_text(find, 1, plan->topic, (int)plan->topic_bytes, SQLITE_STATIC);
    enum error_code code = step(find, error);
    if (!code) {
        rows->topic_id = sqlite3_column_int64(find, 0);
        int64_t first_ts = sqlite3_column_int64(find, 4), last_ts = sqlite3_column_int64(find, 5);
        estimate->topic_events = (double)sqlite3_column_int64(find, 1) *
                                 share_of(plan->ts_first, plan->ts_last, first_ts, last_ts);
        plan->sequence_first = larger(plan->sequence_first, sqlite3_column_int64(find, 2));
        plan->sequence_last = smaller(plan->sequence_last, sqlite3_column_int64(find, 3));
    } else if (code == ERROR_END) {
        plan->empty = true;
        code = OK;
    }
    sqlite3_reset(find);
    return code;
}

/* Narrow the plan to the segments that have events of these times. */
static enum error_code narrow_to_segments(struct indexer_event_rows *rows,
                                          struct estimate *estimate, struct error *error)
{
    struct indexer_event_plan *plan = &rows->plan;
    sqlite3_stmt *find = rows->find_segments;
    sqlite3_bind_int64(find, 1, plan->ts_first);
    sqlite3_bind_int64(find, 2, plan->ts_last);
    enum error_code code = step(find, error);
    if (!code && sqlite3_column_type(find, 0) == SQLITE_NULL) {
        plan->empty = true; /* no segment has any */
    } else if (!code) {
        plan->sequence_first = larger(plan->sequence_first, sqlite3_column_int64(find, 0));
        plan->sequence_last = smaller(plan->sequence_last, sqlite3_column_int64(find, 1));
        estimate->times_events = (double)sqlite3_column_int64(find, 2) *
                                 share_of(plan->ts_first, plan->ts_last,
                                          sqlite3_column_int64(find, 3),
                                          sqlite3_column_int64(find, 4));
    }
    sqlite3_reset(find);
    return code;
}

/* To go through `found` rows and sort them, or, of a few, to get the first ones. */
static bool sorting_is_cheaper(double found, double span, int64_t limit)
{
    double walked = span;
    if (limit >= 0 && found > 0 && (double)limit < found)
        walked = span * (double)limit / found;
    return 4 * found < walked;
}

static bool is_by_sequence(enum indexer_event_order order)
{
    return order == EVENT_ORDER_SEQ || order == EVENT_ORDER_SEQ_DESC;
}

static enum way choose_way(const struct indexer_event_plan *plan, const struct estimate *estimate)
{
    double span = (double)(plan->sequence_last - plan->sequence_first) + 1;
    bool has_times = plan->ts_first != INT64_MIN || plan->ts_last != INT64_MAX;
    if (plan->field.id)
        return WAY_FIELD;
    if (plan->has_topic) {
        if (plan->order == EVENT_ORDER_TS || plan->order == EVENT_ORDER_TS_DESC)
            return WAY_TOPIC;
        if (is_by_sequence(plan->order))
            return sorting_is_cheaper(estimate->topic_events, span, plan->limit) ? WAY_TOPIC
                                                                                 : WAY_SEQUENCE;
        return span < estimate->topic_events ? WAY_SEQUENCE : WAY_TOPIC;
    }
    if (plan->order == EVENT_ORDER_TOPIC)
        return WAY_TIMES;
    if (has_times && sorting_is_cheaper(estimate->times_events, span, plan->limit))
        return WAY_TIMES;
    return WAY_SEQUENCE;
}

/* Events that are read come block by block when they are asked for by sequence. */
static const char *order_sql(const struct indexer_event_plan *plan, enum way way)
{
    switch (plan->order) {
    case EVENT_ORDER_SEQ:
        return " ORDER BY r.seq";
    case EVENT_ORDER_SEQ_DESC:
        return " ORDER BY r.seq DESC";
    case EVENT_ORDER_TS:
        return " ORDER BY r.ts, r.seq";
    case EVENT_ORDER_TS_DESC:
        return " ORDER BY r.ts DESC, r.seq DESC";
    case EVENT_ORDER_TOPIC:
        return " ORDER BY t.topic";
    default:
        return way == WAY_SEQUENCE || (way == WAY_TIMES && plan->needs_payload) ? " ORDER BY r.seq"
                                                                                : "";
    }
}

/* The comparisons with a field, for which ?6 and ?7 stand. */
static char *field_sql(const struct indexer_event_field *field)
{
    char *sql = NULL;
    for (size_t i = 0; i < field->count; i++) {
        const char *op = field->operators[i] == '='   ? "="
                         : field->operators[i] == '<' ? "<"
                         : field->operators[i] == 'l' ? "<="
                         : field->operators[i] == '>' ? ">"
                                                      : ">=";
        sql = sqlite3_mprintf("%z AND f.value %s ?%d", sql, op, (int)i + 6);
    }
    return sql;
}

/* Names the schema may have are quoted by %w; a + keeps SQLite from another way than ours. */
static char *make_sql(const struct indexer_event_rows *rows, enum way way)
{
    const struct indexer_event_plan *plan = &rows->plan;
    const char *schema = rows->host->schema;
    char *place = plan->needs_place
                      ? sqlite3_mprintf(", b.segment, b.offset")
                      : sqlite3_mprintf("");
    char *blocks = plan->needs_place
                       ? sqlite3_mprintf(" LEFT JOIN \"%w\".block_rows b ON b.first_seq = (SELECT"
                                         " max(first_seq) FROM \"%w\".block_rows"
                                         " WHERE first_seq <= r.seq)",
                                         schema, schema)
                       : sqlite3_mprintf("");
    char *select = sqlite3_mprintf("SELECT r.seq, r.ts, r.topic_id, %s%z FROM ",
                                   plan->needs_bytes ? "r.bytes" : "NULL", place);
    const char *topic = plan->has_topic ? " AND +r.topic_id = ?5" : "";
    char *from = NULL;
    switch (way) {
    case WAY_SEQUENCE:
        from = sqlite3_mprintf("\"%w\".event_rows r NOT INDEXED%z WHERE r.seq BETWEEN ?1 AND ?2"
                               " AND +r.ts BETWEEN ?3 AND ?4%s",
                               schema, blocks, topic);
        break;
    case WAY_TOPIC:
        from = sqlite3_mprintf("\"%w\".event_rows r INDEXED BY event_rows_by_topic%z"
                               " WHERE r.topic_id = ?5 AND r.ts BETWEEN ?3 AND ?4"
                               " AND +r.seq BETWEEN ?1 AND ?2",
                               schema, blocks);
        break;
    case WAY_TIMES:
        from = sqlite3_mprintf("\"%w\".topic_rows t CROSS JOIN \"%w\".event_rows r INDEXED BY"
                               " event_rows_by_topic%z WHERE r.topic_id = t.id"
                               " AND r.ts BETWEEN ?3 AND ?4 AND +r.seq BETWEEN ?1 AND ?2",
                               schema, schema, blocks);
        break;
    case WAY_FIELD:
        from = sqlite3_mprintf("\"%w\".field_%lld f CROSS JOIN \"%w\".event_rows r NOT INDEXED%z"
                               " WHERE r.seq = f.seq AND +r.seq BETWEEN ?1 AND ?2"
                               " AND +r.ts BETWEEN ?3 AND ?4%s%z",
                               schema, (long long)plan->field.id, schema, blocks, topic,
                               field_sql(&plan->field));
        break;
    }
    if (!select || !from) {
        sqlite3_free(select);
        sqlite3_free(from);
        return NULL;
    }
    return sqlite3_mprintf("%z%z%s", select, from, order_sql(plan, way));
}

/* The statement for this way: that of the last time, where it is the same. */
static enum error_code prepare(struct indexer_event_rows *rows, enum way way, struct error *error)
{
    char *sql = make_sql(rows, way);
    if (!sql)
        return error_set(error, ERROR_MEMORY, "no memory for a statement");
    if (rows->sql && strcmp(rows->sql, sql) == 0) {
        sqlite3_free(sql);
        return OK;
    }
    sqlite3_finalize(rows->statement);
    sqlite3_free(rows->sql);
    rows->statement = NULL;
    rows->sql = sql;
    return indexer_database_prepare(rows->host->database, sql, &rows->statement, error);
}

static void bind_values(struct indexer_event_rows *rows)
{
    const struct indexer_event_plan *plan = &rows->plan;
    sqlite3_stmt *statement = rows->statement;
    sqlite3_bind_int64(statement, 1, plan->sequence_first);
    sqlite3_bind_int64(statement, 2, plan->sequence_last);
    sqlite3_bind_int64(statement, 3, plan->ts_first);
    sqlite3_bind_int64(statement, 4, plan->ts_last);
    if (plan->has_topic)
        sqlite3_bind_int64(statement, 5, rows->topic_id);
    for (size_t i = 0; i < plan->field.count; i++)
        sqlite3_bind_value(statement, (int)i + 6, plan->field.values[i]);
}

enum error_code indexer_event_rows_start(struct indexer_event_rows *rows,
                                         const struct indexer_event_plan *plan, int64_t bound,
                                         struct error *error)
{
    struct estimate estimate = {0};
    enum error_code code = OK;
    indexer_event_rows_stop(rows);
    rows->plan = *plan;
    plan = &rows->plan;
    rows->plan.sequence_first = larger(plan->sequence_first, bound);
    if (!plan->empty && plan->has_topic)
        code = narrow_to_topic(rows, &estimate, error);
    bool has_times = plan->ts_first != INT64_MIN || plan->ts_last != INT64_MAX;
    if (!code && !plan->empty && !plan->has_topic && has_times)
        code = narrow_to_segments(rows, &estimate, error);
    rows->plan.empty |= plan->sequence_first > plan->sequence_last;
    if (code || plan->empty)
        return code;
    code = prepare(rows, choose_way(plan, &estimate), error);
    if (!code)
        bind_values(rows);
    return code;
}

enum error_code indexer_event_rows_next(struct indexer_event_rows *rows,
                                        struct indexer_event_row *row_out, struct error *error)
{
    if (rows->plan.empty)
        return ERROR_END;
    sqlite3_stmt *statement = rows->statement;
    enum error_code code = step(statement, error);
    if (code)
        return code;
    row_out->sequence = sqlite3_column_int64(statement, 0);
    row_out->ts = sqlite3_column_int64(statement, 1);
    row_out->topic_id = sqlite3_column_int64(statement, 2);
    row_out->bytes = sqlite3_column_int64(statement, 3);
    row_out->segment = row_out->offset = -1;
    if (rows->plan.needs_place && sqlite3_column_type(statement, 4) != SQLITE_NULL) {
        row_out->segment = sqlite3_column_int64(statement, 4);
        row_out->offset = sqlite3_column_int64(statement, 5);
    }
    return OK;
}

/* The slot becomes the topic's. */
static enum error_code load_name(struct indexer_event_rows *rows, int64_t topic_id,
                                 struct topic_slot *slot, struct error *error)
{
    sqlite3_stmt *find = rows->find_name;
    sqlite3_bind_int64(find, 1, topic_id);
    slot->bytes = 0;
    enum error_code code = step(find, error);
    if (!code) {
        const void *name = sqlite3_column_text(find, 0);
        size_t bytes = (size_t)sqlite3_column_bytes(find, 0);
        if (name && bytes > 0 && bytes <= sizeof slot->name) {
            memcpy(slot->name, name, bytes);
            slot->bytes = bytes;
            slot->id = topic_id;
        }
    }
    sqlite3_reset(find);
    if (code && code != ERROR_END)
        return code;
    return slot->bytes ? OK
                       : error_set(error, ERROR_DAMAGED,
                                   "index: it has no topic %lld, of which it has events; run "
                                   "daybook reindex",
                                   (long long)topic_id);
}

enum error_code indexer_event_rows_topic(struct indexer_event_rows *rows, int64_t topic_id,
                                         const char **topic_out, size_t *bytes_out,
                                         struct error *error)
{
    struct topic_slot *slot = &rows->slots[(uint64_t)topic_id % TOPIC_SLOTS];
    if (!slot->bytes || slot->id != topic_id) {
        enum error_code code = load_name(rows, topic_id, slot, error);
        if (code)
            return code;
    }
    *topic_out = slot->name;
    *bytes_out = slot->bytes;
    return OK;
}

void indexer_event_rows_stop(struct indexer_event_rows *rows)
{
    sqlite3_reset(rows->statement);
    for (size_t i = 0; i < TOPIC_SLOTS; i++)
        rows->slots[i].bytes = 0; /* another snapshot may have given the id to another topic */
}

void indexer_event_rows_free(struct indexer_event_rows *rows)
{
    if (!rows)
        return;
    sqlite3_finalize(rows->statement);
    sqlite3_finalize(rows->find_name);
    sqlite3_finalize(rows->find_topic);
    sqlite3_finalize(rows->find_segments);
    sqlite3_free(rows->sql);
    free(rows);
}
