#include "indexer/schema.h"

#include <stdio.h>
#include <string.h>

#include "indexer/database.h"

/*
 * ISO text of a time in ns. SQL's / and % round towards zero, so a negative time with a fraction
 * belongs to the second before.
 */
#define WHOLE_SECONDS(ts) "(" ts " / 1000000000 - (" ts " % 1000000000 < 0))"
#define ISO_TEXT(ts)                                                                               \
    "strftime('%Y-%m-%dT%H:%M:%S', " WHOLE_SECONDS(ts) ", 'unixepoch')"                            \
                                                       " || printf('.%09dZ', " ts                  \
                                                       " % 1000000000 + (" ts                      \
                                                       " % 1000000000 < 0) * 1000000000)"

/* The block that holds r.seq. A scalar subquery costs nothing in a query that does not ask for it.
 */
#define BLOCK_OF_ROW(column)                                                                       \
    "(SELECT b." column " FROM block_rows b WHERE b.first_seq <= r.seq"                            \
    " ORDER BY b.first_seq DESC LIMIT 1)"

/*
 * A producer's number as it is, of a cell of indexer_gaps_cell: an integer as long as SQLite has
 * one, the digits as text from 2^63 on.
 */
#define NUMBER(cell)                                                                               \
    "CASE WHEN " cell " < 0 THEN " cell " + 9223372036854775807 + 1"                               \
                                        " ELSE printf('%llu', " cell                               \
                                        " - 9223372036854775807 - 1) END"

/* Of a row of segment_rows. */
#define STATE                                                                                      \
    "CASE WHEN seal IS NOT NULL THEN 'packed'"                                                     \
    " WHEN first_seq = (SELECT max(first_seq) FROM segment_rows) THEN 'active'"                    \
    " ELSE 'sealed' END"

static const char *const tables[] = {
    "CREATE TABLE state("
    " id INTEGER PRIMARY KEY CHECK (id = 1),"
    " log_id BLOB NOT NULL, last_seq INTEGER NOT NULL, bound INTEGER NOT NULL)",

    "CREATE TABLE topic_rows("
    " id INTEGER PRIMARY KEY, topic TEXT NOT NULL UNIQUE,"
    " events INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,"
    " first_ts INTEGER NOT NULL, last_ts INTEGER NOT NULL)",

    "CREATE TABLE event_rows("
    " seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL,"
    " topic_id INTEGER NOT NULL, bytes INTEGER NOT NULL)",

    "CREATE INDEX event_rows_by_topic ON event_rows(topic_id, ts)",

    "CREATE TABLE block_rows("
    " first_seq INTEGER PRIMARY KEY, count INTEGER NOT NULL,"
    " segment INTEGER NOT NULL, offset INTEGER NOT NULL, checksum INTEGER NOT NULL)",

    "CREATE TABLE segment_rows("
    " first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, events INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, blocks INTEGER NOT NULL,"
    " raw_bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,"
    " first_ts INTEGER, last_ts INTEGER,"
    " first_arrival INTEGER NOT NULL, last_arrival INTEGER NOT NULL,"
    " seal INTEGER)", /* of a packed segment: the checksum of its seal block */

    "CREATE TABLE gap_rows("
    " first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL,"
    " cause TEXT NOT NULL, segment INTEGER NOT NULL,"
    " arrival INTEGER NOT NULL)", /* of the block that told of it */

    /* Numbers are moved down by 2^63, see indexer_gaps_cell. */
    "CREATE TABLE producer_rows("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " last_number INTEGER NOT NULL, last_seq INTEGER NOT NULL,"
    " first_number INTEGER NOT NULL, first_seq INTEGER NOT NULL)",

    "CREATE TABLE producer_gap_rows("
    " id INTEGER PRIMARY KEY, producer_id INTEGER NOT NULL,"
    " first_number INTEGER NOT NULL, last_number INTEGER NOT NULL, missing INTEGER NOT NULL,"
    " cause TEXT NOT NULL, seq INTEGER NOT NULL, ts INTEGER NOT NULL, reason TEXT NOT NULL)",

    "CREATE INDEX producer_gap_rows_by_number ON producer_gap_rows(producer_id, last_number)",

    /* Without topic and path: it is being removed. No id is given twice: see indexer/fields.h. */
    "CREATE TABLE field_rows("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, path TEXT, events INTEGER NOT NULL,"
    " done_seq INTEGER NOT NULL, until_seq INTEGER NOT NULL, lost_seq INTEGER NOT NULL,"
    " UNIQUE(topic, path))",
};

/* Of a field; %lld is its id. No type, so that each value keeps its own. */
#define FIELD_TABLE "CREATE TABLE field_%lld(seq INTEGER PRIMARY KEY, value)"
#define FIELD_INDEX "CREATE INDEX field_%lld_by_value ON field_%lld(value)"
#define NO_FIELDS   "SELECT NULL AS topic, NULL AS field, NULL AS seq, NULL AS value WHERE 0"

static const char *const views[] = {
    "CREATE VIEW events AS"
    " SELECT r.seq AS seq, r.ts AS ts, " ISO_TEXT(
        "r.ts") " AS time, t.topic AS topic,"
                " " BLOCK_OF_ROW("segment") " AS segment, " BLOCK_OF_ROW(
                    "offset") " AS offset,"
                              " r.bytes AS bytes"
                              " FROM event_rows r JOIN topic_rows t ON t.id = r.topic_id",

    "CREATE VIEW topics AS"
    " SELECT topic, events, bytes, first_seq, last_seq,"
    " " ISO_TEXT("first_ts") " AS first_time, " ISO_TEXT("last_ts") " AS last_time"
                                                                    " FROM topic_rows",

    "CREATE VIEW segments AS"
    " SELECT first_seq AS segment, printf('%020d.seg', first_seq) AS file,"
    " first_seq, last_seq, events, bytes, blocks, raw_bytes, stored_bytes,"
    " " ISO_TEXT("first_ts") " AS first_time, " ISO_TEXT(
        "last_ts") " AS last_time,"
                   " " ISO_TEXT(
                       "first_arrival") " AS first_arrival,"
                                        " " ISO_TEXT(
                                            "last_arrival") " AS last_arrival,"
                                                            " " STATE " AS state FROM segment_rows",

    "CREATE VIEW gaps AS"
    " SELECT 1 AS first_seq, bound - 1 AS last_seq, bound - 1 AS missing,"
    " 'retention' AS cause, NULL AS segment, NULL AS producer, NULL AS first_number,"
    " NULL AS last_number, NULL AS time, NULL AS reason FROM state WHERE bound > 1"
    " UNION ALL"
    " SELECT first_seq, last_seq, last_seq - first_seq + 1, cause, segment, NULL, NULL, NULL,"
    " " ISO_TEXT("arrival") ", NULL FROM gap_rows"
    " UNION ALL"
    " SELECT NULL, NULL, min(r.missing, 8796093022208), r.cause,"
    " " BLOCK_OF_ROW("segment") ", p.name,"
    " " NUMBER("r.first_number") ", " NUMBER("r.last_number") ","
    " " ISO_TEXT("r.ts") ", nullif(r.reason, '')"
    " FROM producer_gap_rows r JOIN producer_rows p ON p.id = r.producer_id",

    /* Whole hours since the epoch, as an integer, are much cheaper to group by than their text. */
    "CREATE VIEW event_stats AS"
    " SELECT strftime('%Y-%m-%dT%H:00:00Z', s.hour * 3600, 'unixepoch') AS hour,"
    " t.topic AS topic, s.events AS events, s.bytes AS bytes"
    " FROM (SELECT ts / 3600000000000 - (ts % 3600000000000 < 0) AS hour, topic_id,"
    " count(*) AS events, sum(bytes) AS bytes FROM event_rows GROUP BY 1, 2) s"
    " JOIN topic_rows t ON t.id = s.topic_id",

    "CREATE VIEW fields AS"
    " SELECT topic, path AS field, events, " INDEXER_SCHEMA_FIELD_DONE " AS done,"
    " min(done_seq, until_seq) AS done_seq, until_seq, 'field_' || id AS storage"
    " FROM field_rows WHERE topic IS NOT NULL",
};

/*
 * What the planner believes about the sizes, fixed instead of measured: plans never change
 * with the data, and with these figures each common question gets the good one: GROUP BY topic and
 * time ranges walk the topics, then the index; ORDER BY seq walks the rows, and so does SELECT *
 * alone, which people expect to begin with the first event.
 */
static const char statistics[] = "ANALYZE sqlite_schema;"
                                 "INSERT INTO sqlite_stat1(tbl, idx, stat) VALUES"
                                 " ('event_rows', 'event_rows_by_topic', '1000000 250000 1'),"
                                 " ('topic_rows', 'sqlite_autoindex_topic_rows_1', '10 1');";

static enum error_code insert_state(sqlite3 *database, const struct indexer_schema_state *state,
                                    struct error *error)
{
    sqlite3_stmt *insert = NULL;
    enum error_code code = indexer_database_prepare(
        database, "INSERT INTO state(id, log_id, last_seq, bound) VALUES (1, ?1, ?2, ?3)", &insert,
        error);
    if (code)
        return code;
    sqlite3_bind_blob(insert, 1, state->log_id, FORMAT_LOG_ID_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 2, (sqlite3_int64)state->last_sequence);
    sqlite3_bind_int64(insert, 3, (sqlite3_int64)state->bound);
    code = indexer_database_run(insert, error);
    sqlite3_finalize(insert);
    return code;
}

static enum error_code create_all(sqlite3 *database, const struct indexer_schema_state *state,
                                  struct error *error)
{
    char identity[96];
    snprintf(identity, sizeof identity, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             INDEXER_SCHEMA_APPLICATION_ID, INDEXER_SCHEMA_VERSION);
    enum error_code code = indexer_database_exec(database, identity, error);
    for (size_t i = 0; !code && i < sizeof tables / sizeof tables[0]; i++)
        code = indexer_database_exec(database, tables[i], error);
    for (size_t i = 0; !code && i < sizeof views / sizeof views[0]; i++)
        code = indexer_database_exec(database, views[i], error);
    if (!code)
        code = indexer_database_exec(database, statistics, error);
    if (!code)
        code = insert_state(database, state, error);
    if (!code)
        code = indexer_schema_show_fields(database, error);
    return code;
}

enum error_code indexer_schema_create(sqlite3 *database, const struct indexer_schema_state *state,
                                      struct error *error)
{
    enum error_code code = indexer_database_exec(database, "BEGIN IMMEDIATE", error);
    if (code)
        return code;
    code = create_all(database, state, error);
    if (!code)
        code = indexer_database_exec(database, "COMMIT", error);
    if (code)
        indexer_database_exec(database, "ROLLBACK", NULL);
    return code;
}

/* SQLite keeps each definition as it was written: where one differs, so may everything else. */
static enum error_code check_definitions(sqlite3 *database, const char *schema,
                                         const char *const *definitions, size_t count,
                                         struct error *error)
{
    sqlite3_stmt *find = NULL;
    enum error_code code = indexer_database_prepare_in(
        database, schema, "SELECT 1 FROM %s.sqlite_schema WHERE sql = ?1", &find, error);
    for (size_t i = 0; !code && i < count; i++) {
        sqlite3_bind_text(find, 1, definitions[i], -1, SQLITE_STATIC);
        int result = sqlite3_step(find);
        sqlite3_reset(find);
        if (result == SQLITE_DONE)
            code = error_set(error, ERROR_DAMAGED, "it is without its \"%.40s…\"", definitions[i]);
        else if (result != SQLITE_ROW)
            code = indexer_database_error(database, result, error);
    }
    sqlite3_finalize(find);
    return code;
}

static enum error_code read_number(sqlite3 *database, const char *schema, const char *format,
                                   int64_t *number_out, struct error *error)
{
    sqlite3_stmt *select = NULL;
    enum error_code code = indexer_database_prepare_in(database, schema, format, &select, error);
    if (code)
        return code;
    int result = sqlite3_step(select);
    if (result == SQLITE_ROW)
        *number_out = sqlite3_column_int64(select, 0);
    else
        code = indexer_database_error(database, result, error);
    sqlite3_finalize(select);
    return code;
}

bool indexer_schema_is_ours(sqlite3 *database, const char *schema)
{
    int64_t application = 0;
    return !read_number(database, schema, "PRAGMA %s.application_id", &application, NULL) &&
           application == INDEXER_SCHEMA_APPLICATION_ID;
}

/* The tables of fields come and go; those that field_rows has must be there, as we make them. */
static enum error_code check_fields(sqlite3 *database, const char *schema, struct error *error)
{
    int64_t missing = 0;
    char *sql = sqlite3_mprintf(
        "SELECT ifnull(max(id), 0) FROM \"%w\".field_rows f WHERE"
        " NOT EXISTS (SELECT 1 FROM \"%w\".sqlite_schema WHERE sql = printf(%Q, f.id)) OR"
        " NOT EXISTS (SELECT 1 FROM \"%w\".sqlite_schema WHERE sql = printf(%Q, f.id, f.id))",
        schema, schema, FIELD_TABLE, schema, FIELD_INDEX);
    if (!sql)
        return error_set(error, ERROR_MEMORY, "no memory for SQL");
    enum error_code code = indexer_database_number(database, sql, 0, &missing, error);
    sqlite3_free(sql);
    if (!code && missing)
        code = error_set(error, ERROR_DAMAGED, "it is without its table or index field_%lld",
                         (long long)missing);
    return code;
}

enum error_code indexer_schema_check(sqlite3 *database, const char *schema, struct error *error)
{
    int64_t application, version, objects;
    enum error_code code =
        read_number(database, schema, "PRAGMA %s.application_id", &application, error);
    if (!code)
        code = read_number(database, schema, "PRAGMA %s.user_version", &version, error);
    if (!code)
        code = read_number(database, schema, "SELECT count(*) FROM %s.sqlite_schema", &objects,
                           error);
    if (code)
        return code;

    if (!application && !version && !objects)
        return error_set(error, ERROR_NOT_FOUND, "the database is empty");
    if (application != INDEXER_SCHEMA_APPLICATION_ID)
        return error_set(error, ERROR_FOREIGN, "it is a database of another program");
    if (version != INDEXER_SCHEMA_VERSION)
        return error_set(error, ERROR_VERSION,
                         "its schema has version %lld, this program knows version %d",
                         (long long)version, INDEXER_SCHEMA_VERSION);
    code = check_definitions(database, schema, tables, sizeof tables / sizeof tables[0], error);
    if (!code)
        code = check_definitions(database, schema, views, sizeof views / sizeof views[0], error);
    if (!code)
        code = check_fields(database, schema, error);
    return code;
}

static enum error_code read_state(sqlite3_stmt *select, struct indexer_schema_state *state_out,
                                  struct error *error)
{
    int result = sqlite3_step(select);
    if (result == SQLITE_DONE)
        return error_set(error, ERROR_DAMAGED, "index: its table state is empty");
    if (result != SQLITE_ROW)
        return indexer_database_error(sqlite3_db_handle(select), result, error);

    sqlite3_int64 last = sqlite3_column_int64(select, 1);
    sqlite3_int64 bound = sqlite3_column_int64(select, 2);
    if (sqlite3_column_bytes(select, 0) != FORMAT_LOG_ID_BYTES || last < 0 || bound < 1)
        return error_set(error, ERROR_DAMAGED, "index: its table state makes no sense");
    memcpy(state_out->log_id, sqlite3_column_blob(select, 0), FORMAT_LOG_ID_BYTES);
    state_out->last_sequence = (uint64_t)last;
    state_out->bound = (uint64_t)bound;
    return OK;
}

enum error_code indexer_schema_load_state(sqlite3 *database, struct indexer_schema_state *state_out,
                                          struct error *error)
{
    sqlite3_stmt *select = NULL;
    enum error_code code = indexer_database_prepare(
        database, "SELECT log_id, last_seq, bound FROM state", &select, error);
    if (code)
        return code;
    code = read_state(select, state_out, error);
    sqlite3_finalize(select);
    return code;
}

static enum error_code exec_and_free(sqlite3 *database, char *sql, struct error *error)
{
    if (!sql)
        return error_set(error, ERROR_MEMORY, "no memory for SQL");
    enum error_code code = indexer_database_exec(database, sql, error);
    sqlite3_free(sql);
    return code;
}

enum error_code indexer_schema_create_field(sqlite3 *database, int64_t id, struct error *error)
{
    long long n = id;
    enum error_code code = exec_and_free(database, sqlite3_mprintf(FIELD_TABLE, n), error);
    if (!code)
        code = exec_and_free(database, sqlite3_mprintf(FIELD_INDEX, n, n), error);
    return code;
}

enum error_code indexer_schema_drop_field(sqlite3 *database, int64_t id, struct error *error)
{
    long long n = id;
    return exec_and_free(database,
                         sqlite3_mprintf("DROP TABLE field_%lld;"
                                         "DELETE FROM field_rows WHERE id = %lld",
                                         n, n),
                         error);
}

/*
 * One SELECT a field, which says by constants whose it is: a query over topic and field reads only
 * those that it asks for.
 */
static enum error_code write_field_values(sqlite3_stmt *fields, sqlite3_str *sql,
                                          struct error *error)
{
    int result;
    const char *between = "";
    while ((result = sqlite3_step(fields)) == SQLITE_ROW) {
        sqlite3_str_appendf(sql,
                            "%s SELECT %Q AS topic, %Q AS field, seq, value FROM field_%lld",
                            between, sqlite3_column_text(fields, 1), sqlite3_column_text(fields, 2),
                            sqlite3_column_int64(fields, 0));
        between = " UNION ALL";
    }
    if (!*between)
        sqlite3_str_appendall(sql, " " NO_FIELDS);
    return result == SQLITE_DONE
               ? OK
               : indexer_database_error(sqlite3_db_handle(fields), result, error);
}

enum error_code indexer_schema_show_fields(sqlite3 *database, struct error *error)
{
    sqlite3_stmt *fields = NULL;
    enum error_code code =
        indexer_database_prepare(database,
                                 "SELECT id, topic, path FROM field_rows"
                                 " WHERE topic IS NOT NULL AND " INDEXER_SCHEMA_FIELD_DONE
                                 " ORDER BY topic, path",
                                 &fields, error);
    if (code)
        return code;
    sqlite3_str *sql = sqlite3_str_new(database);
    sqlite3_str_appendall(sql, "DROP VIEW IF EXISTS field_values; CREATE VIEW field_values AS");
    code = write_field_values(fields, sql, error);
    sqlite3_finalize(fields);
    char *text = sqlite3_str_finish(sql);
    if (!code)
        return exec_and_free(database, text, error);
    sqlite3_free(text);
    return code;
}
