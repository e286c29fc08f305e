#include "tools/daybook/sql_script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/daybook/sql_commands.h"
#include "tools/daybook/sql_signals.h"
#include "tools/daybook/sql_statement.h"
#include "tools/daybook/sql_words.h"

enum { DEPTH_MAX = 16 };

/* Nothing in it but white space and comments, none of them open. */
static bool is_blank(const char *text, size_t text_bytes)
{
    struct sql_word word;
    const char *at = text;
    return !sql_words_next(&at, text + text_bytes, &word);
}

bool sql_script_is_pending(const struct sql_script *script)
{
    return script->text.size > 0;
}

void sql_script_clear(struct sql_script *script)
{
    script->text.size = 0;
}

void sql_script_release(struct sql_script *script)
{
    buffer_release(&script->text);
}

static bool is_word(const char *line, size_t bytes, const char *word)
{
    while (bytes > 0 && strchr("; \t\r\n", line[bytes - 1]))
        bytes--;
    return bytes == strlen(word) && strncmp(line, word, bytes) == 0;
}

/* A line between statements that is for the shell itself. */
static bool is_command(const char *line, size_t bytes)
{
    return line[0] == '.' || is_word(line, bytes, "quit") || is_word(line, bytes, "exit") ||
           is_word(line, bytes, "help");
}

/*
 * Only behind such a line can a statement be complete: its last word is a semicolon, and comments
 * may follow. To ask SQLite behind each line would take the square of their number.
 */
static bool may_end(const char *line, size_t bytes)
{
    return memchr(line, ';', bytes) || memmem(line, bytes, "*/", 2);
}

enum error_code sql_script_add(struct sql_session *session, struct sql_script *script,
                               const char *line, size_t line_bytes, bool *ran_out,
                               struct error *error)
{
    bool ran = false;
    enum error_code code = OK;
    if (line_bytes > 0 && memchr(line, '\0', line_bytes)) {
        ran = true; /* SQLite would take the statement to end there */
        code = error_set(error, ERROR_INVALID, "SQL: there is a NUL character in the statement");
        sql_script_clear(script);
    } else if (script->text.size == 0 && line_bytes > 0 && is_command(line, line_bytes)) {
        ran = true;
        code = sql_commands_run(session, line, line_bytes, error);
    } else if (script->text.size > 0 || !is_blank(line, line_bytes)) {
        code = buffer_append(&script->text, line, line_bytes, error);
        if (!code)
            code = buffer_append(&script->text, "", 1, error); /* complete() wants a NUL */
        if (!code)
            script->text.size--;
        ran = code || (may_end(line, line_bytes) &&
                       sqlite3_complete((const char *)script->text.data));
        if (!code && ran)
            code = sql_statement_run(session, (const char *)script->text.data, error);
        if (ran)
            sql_script_clear(script);
    }
    if (ran_out)
        *ran_out = ran;
    return code;
}

enum error_code sql_script_finish(struct sql_session *session, struct sql_script *script,
                                  struct error *error)
{
    enum error_code code = OK;
    if (script->text.size > 0) /* the NUL still stands behind it */
        code = sql_statement_run(session, (const char *)script->text.data, error);
    sql_script_clear(script);
    return code;
}

enum error_code sql_script_run_stream(struct sql_session *session, FILE *stream, const char *name,
                                      struct error *error)
{
    struct sql_script script = {0};
    char *line = NULL;
    size_t capacity = 0, number = 0, first = 1;
    ssize_t bytes;
    enum error_code code = OK;
    while (!code && !session->finished && (bytes = getline(&line, &capacity, stream)) > 0) {
        number++;
        if (!sql_script_is_pending(&script))
            first = number;
        code = sql_signals_stop()
                   ? error_set(error, ERROR_END, "interrupted")
                   : sql_script_add(session, &script, line, (size_t)bytes, NULL, error);
    }
    if (!code && ferror(stream))
        code = error_set_errno(error, errno, "read statements");
    if (!code && !session->finished)
        code = sql_script_finish(session, &script, error);
    if (code && name)
        error_prefix(error, "%s:%zu", name, first);
    sql_script_release(&script);
    free(line);
    return code;
}

enum error_code sql_script_run_file(struct sql_session *session, const char *path,
                                    struct error *error)
{
    if (session->depth >= DEPTH_MAX)
        return error_set(error, ERROR_INVALID,
                         ".read: '%s' is read by a file that is read by a file, %d deep: does one "
                         "read itself?",
                         path, DEPTH_MAX);
    FILE *stream = fopen(path, "re");
    if (!stream)
        return error_set_errno(error, errno, ".read: cannot open '%s'", path);
    struct stat status;
    if (fstat(fileno(stream), &status) == 0 && S_ISDIR(status.st_mode)) {
        fclose(stream);
        return error_set(error, ERROR_INVALID, ".read: '%s' is a directory", path);
    }
    session->depth++;
    enum error_code code = sql_script_run_stream(session, stream, path, error);
    session->depth--;
    fclose(stream);
    return code;
}
