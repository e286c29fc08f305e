/*
 * indexer/where_functions.h - the functions that a condition may call.
 *
 * Those of SQLite whose answer depends on their arguments alone and whose time grows with the bytes
 * that they are given, no faster; what is neither (the clock, random numbers, replace and trim,
 * aggregates) is not to be had. like, glob and instr, whose time grows with the product of two
 * texts' lengths, are replaced by our own, which count it. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_WHERE_FUNCTIONS_H
#define DAYBOOK_INDEXER_WHERE_FUNCTIONS_H

#include "indexer/where_event.h"

/* Our own. Borrows `at`. */
enum error_code indexer_where_functions_attach(sqlite3 *database, struct indexer_where_event *at,
                                               struct error *error);
/* ERROR_INVALID: it is not to be had, and why. */
enum error_code indexer_where_functions_check(const char *name, struct error *error);

#endif
