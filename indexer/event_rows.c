#include "indexer/event_rows.h"

#include <stdlib.h>
#include <string.h>

#include "indexer/database.h"

enum { TOPIC_SLOTS = 64 };

/* A name that was looked up, in this run of the statement. */
struct topic_slot {
    uint64_t run; /* 0: the slot is free */
    int64_t id;
    size_t bytes;
    char name[EVENT_TOPIC_BYTES_MAX];
};

/* What a statement's text depends on. */
struct form {
    enum indexer_event_way way;
    enum indexer_event_order order;
    bool needs_bytes, needs_place, needs_payload, has_topic;
    int64_t field_id;
    size_t field_count;
    char operators[2];
};

struct indexer_event_rows {
    struct indexer_host *host;
    struct indexer_event_plan plan;
    sqlite3_stmt *statement;
    int64_t repeats; /* the present row comes so often once more: EVENT_WAY_TOPICS */
    struct form form; /* of the statement: asked again with other values, it is not prepared anew */
    uint64_t run; /* the number of starts */
    sqlite3_stmt *find_name;
    struct topic_slot slots[TOPIC_SLOTS];
};

static const char find_name_sql[] = "SELECT topic FROM %s.topic_rows WHERE id = ?1";
enum error_code indexer_event_rows_create(struct indexer_host *host,
                                          struct indexer_event_rows **rows_out,
                                          struct error *error)
{
    struct indexer_event_rows *rows = calloc(1, sizeof *rows);
    if (!rows)
        return error_set(error, ERROR_MEMORY, "no memory for rows of events");
    rows->host = host;
    rows->run = 1;
    enum error_code code = indexer_database_prepare_in(host->database, host->schema, find_name_sql,
                                                       &rows->find_name, error);
    if (code) {
        indexer_event_rows_free(rows);
        return code;
    }
    *rows_out = rows;
    return OK;
}

/* Events that are read come block by block when they are asked for by sequence. */
static const char *order_sql(const struct indexer_event_plan *plan, enum indexer_event_way way)
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
    case EVENT_ORDER_TOPIC: /* on the other ways all rows are of one topic, or one */
        return way == EVENT_WAY_TIMES ? " ORDER BY t.topic" : "";
    default:
        break;
    }
    bool by_block = way == EVENT_WAY_TIMES && plan->needs_payload;
    return way == EVENT_WAY_SEQUENCE || by_block ? " ORDER BY r.seq" : "";
}

static void append_columns(sqlite3_str *sql, const struct indexer_event_plan *plan,
                           enum indexer_event_way way)
{
    sqlite3_str_appendf(sql, "SELECT r.seq, r.ts, r.topic_id, %s, %s, %s FROM ",
                        plan->needs_bytes ? "r.bytes" : "NULL",
                        plan->needs_place ? "b.segment, b.offset" : "NULL, NULL",
                        way == EVENT_WAY_FIELD ? "f.value" : "NULL");
}

/* The block of each row, where it is asked for. */
static void append_blocks(sqlite3_str *sql, const struct indexer_event_plan *plan,
                          const char *schema)
{
    if (plan->needs_place)
        sqlite3_str_appendf(sql,
                            " LEFT JOIN \"%w\".block_rows b ON b.first_seq = (SELECT"
                            " max(first_seq) FROM \"%w\".block_rows WHERE first_seq <= r.seq)",
                            schema, schema);
}

/* The comparisons with a field, for which ?6 and ?7 stand. */
static void append_field(sqlite3_str *sql, const struct indexer_event_field *field)
{
    for (size_t i = 0; i < field->count; i++) {
        const char *op = field->operators[i] == '='   ? "="
                         : field->operators[i] == '<' ? "<"
                         : field->operators[i] == 'l' ? "<="
                         : field->operators[i] == '>' ? ">"
                                                      : ">=";
        sqlite3_str_appendf(sql, " AND f.value %s ?%d", op, (int)i + 6);
    }
}

/* Names the schema may have are quoted by %w; a + keeps SQLite from another way than ours. */
static void append_way(sqlite3_str *sql, const struct indexer_event_plan *plan,
                       enum indexer_event_way way, const char *schema)
{
    switch (way) {
    case EVENT_WAY_TOPIC:
        sqlite3_str_appendf(sql, "\"%w\".event_rows r INDEXED BY event_rows_by_topic", schema);
        append_blocks(sql, plan, schema);
        sqlite3_str_appendall(sql, " WHERE r.topic_id = ?5 AND r.ts BETWEEN ?3 AND ?4"
                                   " AND +r.seq BETWEEN ?1 AND ?2");
        break;
    case EVENT_WAY_TIMES:
        sqlite3_str_appendf(sql,
                            "\"%w\".topic_rows t CROSS JOIN \"%w\".event_rows r INDEXED BY"
                            " event_rows_by_topic",
                            schema, schema);
        append_blocks(sql, plan, schema);
        sqlite3_str_appendall(sql, " WHERE r.topic_id = t.id AND r.ts BETWEEN ?3 AND ?4"
                                   " AND +r.seq BETWEEN ?1 AND ?2");
        break;
    case EVENT_WAY_FIELD:
        sqlite3_str_appendf(sql,
                            "\"%w\".field_%lld f CROSS JOIN \"%w\".event_rows r NOT INDEXED",
                            schema, (long long)plan->field.id, schema);
        append_blocks(sql, plan, schema);
        sqlite3_str_appendall(sql, " WHERE r.seq = f.seq AND +r.seq BETWEEN ?1 AND ?2"
                                   " AND +r.ts BETWEEN ?3 AND ?4");
        break;
    default: /* EVENT_WAY_SEQUENCE: the others have no rows, or not through the index */
        sqlite3_str_appendf(sql, "\"%w\".event_rows r NOT INDEXED", schema);
        append_blocks(sql, plan, schema);
        sqlite3_str_appendall(sql, " WHERE r.seq BETWEEN ?1 AND ?2 AND +r.ts BETWEEN ?3 AND ?4");
    }
    if (way == EVENT_WAY_FIELD) /* its rows are of the topic */
        append_field(sql, &plan->field);
    else if (plan->has_topic && way != EVENT_WAY_TOPIC)
        sqlite3_str_appendall(sql, " AND +r.topic_id = ?5");
}

/* Each topic, with the number of its events. */
static void append_topics(sqlite3_str *sql, const struct indexer_event_plan *plan,
                          const char *schema)
{
    sqlite3_str_appendf(sql,
                        "SELECT NULL, NULL, t.id, t.events FROM \"%w\".topic_rows t"
                        " WHERE t.events > 0%s ORDER BY t.topic",
                        schema, plan->has_topic ? " AND t.id = ?5" : "");
}

/* NULL: no memory, not for a part of it either. */
static char *make_sql(const struct indexer_event_rows *rows, enum indexer_event_way way)
{
    sqlite3_str *sql = sqlite3_str_new(rows->host->database);
    if (way == EVENT_WAY_TOPICS) {
        append_topics(sql, &rows->plan, rows->host->schema);
    } else {
        append_columns(sql, &rows->plan, way);
        append_way(sql, &rows->plan, way, rows->host->schema);
        sqlite3_str_appendall(sql, order_sql(&rows->plan, way));
    }
    return sqlite3_str_finish(sql);
}

static struct form form_of(const struct indexer_event_plan *plan, enum indexer_event_way way)
{
    struct form form;
    memset(&form, 0, sizeof form); /* the holes, too, because forms are compared byte by byte */
    form.way = way;
    form.order = plan->order;
    form.needs_bytes = plan->needs_bytes;
    form.needs_place = plan->needs_place;
    form.needs_payload = plan->needs_payload;
    form.has_topic = plan->has_topic;
    form.field_id = plan->field.id;
    for (size_t i = 0; i < plan->field.count; i++)
        form.operators[form.field_count++] = plan->field.operators[i];
    return form;
}

/* The statement for this way: that of the last time, where it is the same. */
static enum error_code prepare(struct indexer_event_rows *rows, enum indexer_event_way way,
                               struct error *error)
{
    struct form form = form_of(&rows->plan, way);
    if (rows->statement && memcmp(&rows->form, &form, sizeof form) == 0)
        return OK;
    char *sql = make_sql(rows, way);
    if (!sql)
        return error_set(error, ERROR_MEMORY, "no memory for a statement");
    sqlite3_finalize(rows->statement);
    rows->statement = NULL;
    rows->form = form;
    enum error_code code =
        indexer_database_prepare(rows->host->database, sql, &rows->statement, error);
    sqlite3_free(sql);
    return code;
}

static void bind_values(struct indexer_event_rows *rows)
{
    const struct indexer_event_plan *plan = &rows->plan;
    sqlite3_stmt *statement = rows->statement;
    sqlite3_bind_int64(statement, 1, plan->sequence_first);
    sqlite3_bind_int64(statement, 2, plan->sequence_last);
    sqlite3_bind_int64(statement, 3, plan->ts_first);
    sqlite3_bind_int64(statement, 4, plan->ts_last);
    if (plan->has_topic) /* not on the way through a field, whose rows are of its topic */
        sqlite3_bind_int64(statement, 5, plan->topic_id);
    for (size_t i = 0; i < plan->field.count; i++)
        sqlite3_bind_value(statement, (int)i + 6, plan->field.values[i]);
}

enum error_code indexer_event_rows_start(struct indexer_event_rows *rows,
                                         const struct indexer_event_plan *plan,
                                         enum indexer_event_way way, struct error *error)
{
    indexer_event_rows_stop(rows);
    rows->plan = *plan;
    enum error_code code = prepare(rows, way, error);
    if (!code)
        bind_values(rows);
    return code;
}

enum error_code indexer_event_rows_next(struct indexer_event_rows *rows, struct error *error)
{
    if (rows->repeats > 0) {
        rows->repeats--;
        return OK;
    }
    enum error_code code = indexer_database_step(rows->statement, error);
    if (code == ERROR_END)
        indexer_event_rows_stop(rows);
    else if (!code && rows->form.way == EVENT_WAY_TOPICS)
        rows->repeats = sqlite3_column_int64(rows->statement, 3) - 1;
    return code;
}

int64_t indexer_event_rows_number(struct indexer_event_rows *rows, enum indexer_event_number number)
{
    bool unknown = number >= EVENT_ROW_SEGMENT &&
                   sqlite3_column_type(rows->statement, (int)number) == SQLITE_NULL;
    return unknown ? -1 : sqlite3_column_int64(rows->statement, (int)number);
}

int indexer_event_rows_value_type(struct indexer_event_rows *rows)
{
    return sqlite3_column_type(rows->statement, EVENT_ROW_VALUE);
}

sqlite3_value *indexer_event_rows_value(struct indexer_event_rows *rows)
{
    return sqlite3_column_value(rows->statement, EVENT_ROW_VALUE);
}

/* The slot becomes the topic's. */
static enum error_code load_name(struct indexer_event_rows *rows, int64_t topic_id,
                                 struct topic_slot *slot, struct error *error)
{
    sqlite3_stmt *find = rows->find_name;
    sqlite3_bind_int64(find, 1, topic_id);
    slot->run = 0;
    slot->bytes = 0;
    enum error_code code = indexer_database_step(find, error);
    if (!code) {
        const void *name = sqlite3_column_text(find, 0);
        size_t bytes = (size_t)sqlite3_column_bytes(find, 0);
        if (name && bytes > 0 && bytes <= sizeof slot->name) {
            memcpy(slot->name, name, bytes);
            slot->bytes = bytes;
            slot->id = topic_id;
            slot->run = rows->run;
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
    if (slot->run != rows->run || slot->id != topic_id) {
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
    rows->repeats = 0;
    rows->run++; /* another snapshot may have given a topic's id to another topic */
}

void indexer_event_rows_free(struct indexer_event_rows *rows)
{
    if (!rows)
        return;
    sqlite3_finalize(rows->statement);
    sqlite3_finalize(rows->find_name);
    free(rows);
}
