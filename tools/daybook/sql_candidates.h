/*
 * tools/daybook/sql_candidates.h - gathers the words that fit what was typed.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_CANDIDATES_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_CANDIDATES_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* Zero, with `typed` set, is an empty one. Without memory it stays as it is. */
struct sql_candidates {
    const char *typed; /* only words that begin with this are taken */
    size_t typed_bytes;
    bool exact; /* … in the same case */
    char **words;
    size_t count, capacity;
};

/* Both texts together are one word. Accepts NULL for `suffix`. */
void sql_candidates_add(struct sql_candidates *candidates, const char *word, const char *suffix);
/* A name, in double quotes where it needs them or where one was typed. */
void sql_candidates_add_name(struct sql_candidates *candidates, const char *name,
                             const char *suffix);
/* All keywords, in the case `lower` or not. */
void sql_candidates_add_keywords(struct sql_candidates *candidates, bool lower);
void sql_candidates_add_functions(struct sql_candidates *candidates, sqlite3 *database);
/* The topics as strings; `typed` begins with the quote. */
void sql_candidates_add_topics(struct sql_candidates *candidates, sqlite3 *database);
/*
 * Names of files that begin with what was typed, without its first `skip` bytes. A file's name ends
 * with `suffix`, a directory's with "/".
 */
void sql_candidates_add_files(struct sql_candidates *candidates, size_t skip, const char *suffix);

/* Sort, and drop what is there twice. */
void sql_candidates_sort(struct sql_candidates *candidates);

#endif
