/*
 * tools/daybook/sql_tables.h - the tables and views that a statement can name.
 *
 * Those that are made from the log (virtual tables in temp). Of its index only the views, because
 * the tables behind them change with its schema, and of these only what no table from the log
 * stands for. Of `temp` and of attached databases everything that is not SQLite's own.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_TABLES_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_TABLES_H

#include <sqlite3.h>
#include <stdbool.h>

#include "core/bytes.h"

struct sql_table {
    const char *schema; /* main, temp, or what it was attached as */
    const char *name;
    const char *kind;  /* "view", "temporary table", … */
    const char *owner; /* "the log", "this session", … */
    bool hidden;       /* the bare name means another one */
};

/*
 * Call `visit` with each, sorted by schema (temp, main, the others) and name. The strings are valid
 * during the call only. Anything but OK from `visit` ends it, and is returned.
 */
enum error_code sql_tables_visit(sqlite3 *database,
                                 enum error_code (*visit)(void *context,
                                                          const struct sql_table *table,
                                                          struct error *error),
                                 void *context, struct error *error);

/* Call `visit` with each column that SELECT * gives; `type` is "" where none was declared. */
enum error_code sql_tables_columns(sqlite3 *database, const char *schema, const char *name,
                                   enum error_code (*visit)(void *context, const char *column,
                                                            const char *type, struct error *error),
                                   void *context, struct error *error);

/* Append a name as SQL wants it: in double quotes where it needs them. */
enum error_code sql_tables_append_name(struct buffer *buffer, const char *name,
                                       struct error *error);
/* The same of a table: with its schema where the bare name would not mean it. */
enum error_code sql_tables_append_table(struct buffer *buffer, const struct sql_table *table,
                                        struct error *error);

#endif
