/*
 * tools/daybook/sql_complete.h - what may stand at the cursor of a statement that is being typed.
 *
 * Keywords, tables and views, columns of the tables that the statement names (also behind the
 * cursor), topics within quotes behind `topic =` and `topic IN (`, files behind ATTACH, dot
 * commands and their arguments. It asks the connection, so it knows what is there now.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_COMPLETE_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_COMPLETE_H

#include <sqlite3.h>
#include <stddef.h>

#include "core/error.h"

/*
 * Each word may replace what stands from `start` to the cursor. Sorted, each once. A name that
 * needs quotes has them; a function ends with "(", a directory with "/", a schema with ".".
 */
struct sql_completion {
    size_t start;
    char **words;
    size_t count;
};

/*
 * `text` is the whole statement so far, with earlier lines; `cursor` is an offset in it. What
 * cannot be found out (a locked database, no memory) gives fewer words, never a failure: nobody
 * wants to read errors while typing.
 */
void sql_complete(sqlite3 *database, const char *text, size_t text_bytes, size_t cursor,
                  struct sql_completion *completion_out);
void sql_completion_release(struct sql_completion *completion);

#endif
