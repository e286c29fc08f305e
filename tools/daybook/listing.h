/*
 * tools/daybook/listing.h - the rows of one query, as a verb that lists them prints them.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_LISTING_H
#define DAYBOOK_TOOLS_DAYBOOK_LISTING_H

#include <sqlite3.h>

#include "tools/daybook/rows.h"

struct listing {
    enum rows_format format;
    const char *const *names; /* of the columns that are printed */
    size_t name_count;
    /* Add one row of the query, with rows_end. */
    enum error_code (*add)(struct rows *rows, sqlite3_stmt *row, struct error *error);
};

/* Print what `statement` gives, on stdout. Finalizes it. ERROR_CLOSED: nobody reads any more. */
enum error_code listing_print(const struct listing *listing, sqlite3_stmt *statement,
                              struct error *error);

#endif
