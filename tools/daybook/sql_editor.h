/*
 * tools/daybook/sql_editor.h - one line from a person at a terminal, with keys, history and Tab.
 *
 * The only file that knows libedit. One editor a process, from one thread: it changes the terminal
 * while it waits for keys, and puts it back before it returns.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_EDITOR_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_EDITOR_H

#include <stddef.h>

#include "core/error.h"
#include "tools/daybook/sql_complete.h"

struct sql_editor;

/*
 * What Tab asks: the words for `cursor` in `line`; their start counts in the line. The words are
 * released by sql_completion_release.
 */
struct sql_editor_completer {
    void (*complete)(void *context, const char *line, size_t line_bytes, size_t cursor,
                     struct sql_completion *completion_out);
    void *context;
};

/* Call sql_signals_catch first. A history that cannot be used is told, and done without. */
enum error_code sql_editor_open(const struct sql_editor_completer *completer,
                                struct sql_editor **editor_out, struct error *error);

enum sql_editor_answer {
    SQL_EDITOR_LINE,        /* *line_out holds it, with its line break, until the next call */
    SQL_EDITOR_INTERRUPTED, /* Ctrl-C: forget what was typed */
    SQL_EDITOR_END,         /* Ctrl-D on an empty line, or the terminal is gone */
};
enum sql_editor_answer sql_editor_read(struct sql_editor *editor, const char *prompt,
                                       const char **line_out);

/* Make `text` the last entry of the history, here and in the file; not twice in a row. */
void sql_editor_remember(struct sql_editor *editor, const char *text);

/* Accepts NULL. */
void sql_editor_close(struct sql_editor *editor);

#endif
