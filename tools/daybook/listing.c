#include "tools/daybook/listing.h"

#include <stdio.h>

#include "tools/daybook/index.h"

enum error_code listing_print(const struct listing *listing, sqlite3_stmt *statement,
                              struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code = rows_create(stdout, listing->format, false, listing->names,
                                       listing->name_count, &rows, error);
    int result = SQLITE_DONE;
    while (!code && (result = sqlite3_step(statement)) == SQLITE_ROW)
        code = listing->add(rows, statement, error);
    if (!code && result != SQLITE_DONE)
        code = index_sql_error(sqlite3_db_handle(statement), error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    sqlite3_finalize(statement);
    return code;
}
