/*
 * tests/indexer/twin.h - questions to the extension's tables, and to plain SQLite tables with the
 * same rows, which must give the same answers.
 *
 * A twin is a connection with the extension (indexer/query.h), and beside each table of it a
 * temporary table of SQLite's own with the same columns and types: `plain` beside `events`, and
 * `plain_TOPIC` beside the table of a topic. In the SQL of a question $events stands for the one
 * and the other, and so does $TOPIC.
 *
 * Every function fails the running test by itself when something unexpected happens.
 */
#ifndef DAYBOOK_TESTS_INDEXER_TWIN_H
#define DAYBOOK_TESTS_INDEXER_TWIN_H

#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>

#include "indexer/lookup.h"
#include "segment/log.h"

/* Append one event; it is durable after twin_commit. */
void twin_append(struct segment_log *log, const char *topic, int64_t time_ns, const char *json);
void twin_append_msgpack(struct segment_log *log, const char *topic, int64_t time_ns,
                         const void *payload, size_t payload_bytes);
void twin_commit(struct segment_log *log);
/* Commit, close the log, and let the index catch up. */
void twin_close_log(struct segment_log *log);
/* Give the topic a schema, as `daybook schema add` does, without its event in the log. */
void twin_add_schema(const char *topic, const char *json);
void twin_index_field(const char *topic, const char *path);

/* The scene's log, indexed: a connection with the extension alone. */
sqlite3 *twin_open_extended(void);
sqlite3 *twin_open_watched(const struct indexer_watcher *watcher);
/* … with the plain table `plain` beside `events`. */
sqlite3 *twin_open(void);
/*
 * Add the plain table beside that of `topic`, a plain name. `columns` are those after seq, ts and
 * time, as in CREATE TABLE; each is filled from the table itself.
 */
void twin_add_topic(sqlite3 *database, const char *topic, const char *columns);

/* Both answers are equal, line by line. For questions without an ORDER BY say any_order. */
void twin_expect_same(sqlite3 *database, const char *question);
void twin_expect_same_in_any_order(sqlite3 *database, const char *question);
void twin_expect(sqlite3 *database, const char *sql, const char *rows);
/* The statement fails, at planning or running, with the code, and the message contains the text. */
void twin_expect_error(sqlite3 *database, const char *sql, int result, const char *text);
/* SQLite need not sort for this statement; or it must. */
void twin_expect_sorted_by_table(sqlite3 *database, const char *sql);
void twin_expect_sorted_by_sqlite(sqlite3 *database, const char *sql);

#endif
