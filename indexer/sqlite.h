/*
 * indexer/sqlite.h - SQLite's C API: the library that we are linked with, or, in the loadable
 * extension, that of the program which has loaded us.
 *
 * A program may have an SQLite of its own inside. Its connections must never be given to another
 * copy of the library, so the extension calls everything through the table that it was handed
 * (https://www.sqlite.org/loadext.html). Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_SQLITE_H
#define DAYBOOK_INDEXER_SQLITE_H

#ifdef DAYBOOK_LOADABLE
#include <sqlite3ext.h>
extern const sqlite3_api_routines *sqlite3_api; /* indexer/loadable.c */
#else
#include <sqlite3.h>
#endif

#endif
