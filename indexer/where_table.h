/*
 * indexer/where_table.h - a virtual table whose next row is the event at hand, for ever.
 *
 * A statement over it is never reset between events: each step gives the row of the next one, which
 * costs a third of running a statement anew. Nothing is made of an event before it is asked for.
 *
 * The table's name has a character that no condition may have, so that no condition can name it:
 * whoever read it a second time would never come to its end. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_WHERE_TABLE_H
#define DAYBOOK_INDEXER_WHERE_TABLE_H

#include "indexer/where_event.h"

#define INDEXER_WHERE_TABLE "\x01" /* to be quoted */

/* Make the table, with a column for each field; again, after fields were added. Borrows `at`. */
enum error_code indexer_where_table_make(sqlite3 *database, struct indexer_where_event *at,
                                         struct error *error);

#endif
