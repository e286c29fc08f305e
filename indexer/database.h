/*
 * indexer/database.h - SQLite's C API with our way of telling errors.
 *
 * Internal to indexer/. SQLITE_CORRUPT, SQLITE_NOTADB and SQLITE_CONSTRAINT (a row that is there
 * already: the index contradicts itself) become ERROR_DAMAGED, SQLITE_FULL ERROR_NO_SPACE,
 * SQLITE_BUSY ERROR_BUSY, SQLITE_NOMEM ERROR_MEMORY, everything else ERROR_IO.
 */
#ifndef DAYBOOK_INDEXER_DATABASE_H
#define DAYBOOK_INDEXER_DATABASE_H

#include "indexer/sqlite.h"
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* Names below DIR. */
#define INDEXER_DATABASE_NAME "events.db"
#define INDEXER_REBUILD_NAME  "events.db.rebuild"

/* "PATH/NAME" for SQLite, which takes no directory descriptor. The caller frees *path_out. */
enum error_code indexer_database_path(const char *path, const char *name, char **path_out,
                                      struct error *error);

/* The failure `result` of the last call on `database` (may be NULL) as an error. */
enum error_code indexer_database_error(sqlite3 *database, int result, struct error *error);

/* Run statements that give no rows, or whose rows nobody needs. */
enum error_code indexer_database_exec(sqlite3 *database, const char *sql, struct error *error);
enum error_code indexer_database_prepare(sqlite3 *database, const char *sql,
                                         sqlite3_stmt **statement_out, struct error *error);
/* The same where %s in `format`, at most two, is the connection's database `schema`, quoted. */
enum error_code indexer_database_prepare_in(sqlite3 *database, const char *schema,
                                            const char *format, sqlite3_stmt **statement_out,
                                            struct error *error);
/* Run a prepared statement that gives no rows, and make it ready for the next run. */
enum error_code indexer_database_run(sqlite3_stmt *statement, struct error *error);
/*
 * The next row of a statement that gives some. ERROR_END: there is none left. ERROR_CLOSED:
 * somebody has interrupted the connection.
 */
enum error_code indexer_database_step(sqlite3_stmt *statement, struct error *error);
/* The first column of the first row as an integer; `fallback` when there is no row, or NULL. */
enum error_code indexer_database_number(sqlite3 *database, const char *sql, int64_t fallback,
                                        int64_t *number_out, struct error *error);

/*
 * A connection may be closed to writing by PRAGMA query_only, which is meant for files, and would
 * stop our temporary tables, too. *lifted_out: it was, and is to be restored.
 */
enum error_code indexer_database_lift_query_only(sqlite3 *database, bool *lifted_out,
                                                 struct error *error);
void indexer_database_restore_query_only(sqlite3 *database, bool lifted);

/*
 * Remove the database `name` with its -wal and -shm from the directory. The database goes first:
 * SQLite ignores a WAL beside a new, empty database, but would replay it into a full one.
 */
enum error_code indexer_database_remove(int log_fd, const char *name, struct error *error);

#endif
