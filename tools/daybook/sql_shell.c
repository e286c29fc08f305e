#include "tools/daybook/sql_shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/daybook/sql_editor.h"
#include "tools/daybook/sql_script.h"
#include "tools/daybook/sql_signals.h"
#include "tools/daybook/verb.h"

struct shell {
    struct sql_session *session;
    struct sql_editor *editor;
    struct sql_script script;
    struct buffer typed; /* all lines of what is being typed, for the history */
};

/* The words for the line, as the end of the statement that it goes on with. */
static void complete(void *context, const char *line, size_t line_bytes, size_t cursor,
                     struct sql_completion *completion_out)
{
    struct shell *shell = context;
    const struct buffer *pending = &shell->script.text;
    struct buffer text = {0};
    *completion_out = (struct sql_completion){0};
    if (!shell->session->database || buffer_append(&text, pending->data, pending->size, NULL) ||
        buffer_append(&text, line, line_bytes, NULL) || buffer_append(&text, "", 1, NULL)) {
        buffer_release(&text);
        return;
    }
    sql_complete(shell->session->database, (const char *)text.data, text.size - 1,
                 pending->size + cursor, completion_out);
    if (completion_out->start < pending->size)
        sql_completion_release(completion_out); /* a word of several lines: leave it alone */
    else
        completion_out->start -= pending->size;
    buffer_release(&text);
}

/* As it was typed, but for the line break at its end. */
static void remember(struct shell *shell)
{
    struct buffer *typed = &shell->typed;
    while (typed->size > 0 && strchr(" \t\r\n", typed->data[typed->size - 1]))
        typed->size--;
    if (typed->size > 0 && !buffer_append(typed, "", 1, NULL))
        sql_editor_remember(shell->editor, (const char *)typed->data);
    typed->size = 0;
}

static void run_line(struct shell *shell, const char *line)
{
    struct error error;
    bool ran = false;
    size_t bytes = strlen(line);
    enum error_code code = buffer_append(&shell->typed, line, bytes, &error);
    if (!code)
        code = sql_script_add(shell->session, &shell->script, line, bytes, &ran, &error);
    if (code == ERROR_END)
        fprintf(stderr, "\n%s\n", error.text); /* behind the terminal's own ^C */
    else if (code && code != ERROR_CLOSED)
        verb_say(SQL_VERB, "%s", error.text);
    if (code == ERROR_CLOSED)
        shell->session->finished = true;
    if (code)
        sql_script_clear(&shell->script);
    if (code || ran || !sql_script_is_pending(&shell->script))
        remember(shell);
}

static void run(struct shell *shell)
{
    while (!shell->session->finished) {
        const char *line = NULL;
        bool pending = sql_script_is_pending(&shell->script);
        switch (sql_editor_read(shell->editor, pending ? "    ...> " : "daybook> ", &line)) {
        case SQL_EDITOR_LINE:
            run_line(shell, line);
            break;
        case SQL_EDITOR_INTERRUPTED:
            sql_script_clear(&shell->script);
            shell->typed.size = 0;
            break;
        case SQL_EDITOR_END:
            fputc('\n', stderr);
            return;
        }
    }
}

enum error_code sql_shell_run(struct sql_session *session, struct error *error)
{
    struct shell shell = {.session = session};
    struct sql_editor_completer completer = {complete, &shell};
    enum error_code code = sql_signals_catch(error);
    if (!code)
        code = sql_editor_open(&completer, &shell.editor, error);
    if (code)
        return code;
    fputs("SQL over the log and its payloads; .help explains, .tables lists, Ctrl-D ends.\n",
          stderr);
    run(&shell);
    sql_editor_close(shell.editor);
    sql_script_release(&shell.script);
    buffer_release(&shell.typed);
    return OK;
}
