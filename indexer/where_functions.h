/*
 * indexer/where_functions.h - the functions that a condition may call.
 *
 * Those of SQLite whose answer depends on their arguments alone, has no more bytes than these, and
 * takes time in proportion to them; what does not (the clock, random numbers, replace and trim,
 * printf, format and quote, aggregates) is not to be had, nor is json_extract with several paths,
 * which gives its first argument once for each. like, glob and instr, whose time grows with the
 * product of two texts' lengths, and hex, which doubles them, are replaced by our own, which count
 * it. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_WHERE_FUNCTIONS_H
#define DAYBOOK_INDEXER_WHERE_FUNCTIONS_H

#include "indexer/where_event.h"

enum { INDEXER_WHERE_ARGUMENTS_MAX = 16 }; /* of a function */

/* Our own. Borrows `at`. */
enum error_code indexer_where_functions_attach(sqlite3 *database, struct indexer_where_event *at,
                                               struct error *error);
/* ERROR_INVALID: it is not to be had, and why. */
enum error_code indexer_where_functions_check(const char *name, struct error *error);

#endif
