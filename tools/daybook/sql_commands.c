#include "tools/daybook/sql_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/daybook/nearness.h"
#include "tools/daybook/sql_script.h"
#include "tools/daybook/sql_statement.h"
#include "tools/daybook/sql_tables.h"

enum { NAME_MAX_BYTES = 24 };

static enum error_code finish_rows(struct rows *rows, enum error_code code, struct error *error)
{
    enum error_code finish = rows_finish(rows, code ? NULL : error);
    rows_free(rows);
    return code ? code : finish;
}

static enum error_code add_table(void *context, const struct sql_table *table, struct error *error)
{
    struct rows *rows = context;
    struct buffer name = {0};
    enum error_code code = sql_tables_append_table(&name, table, error);
    if (!code) {
        rows_text(rows, (const char *)name.data, name.size);
        rows_string(rows, table->kind);
        rows_string(rows, table->owner);
        code = rows_end(rows, error);
    }
    buffer_release(&name);
    return code;
}

static enum error_code run_tables(struct sql_session *session, const char *argument,
                                  struct error *error)
{
    (void)argument;
    static const char *const names[] = {"name", "kind", "of"};
    struct rows *rows = NULL;
    enum error_code code = sql_session_create_rows(session, names, 3, &rows, error);
    if (code)
        return code;
    code = sql_tables_visit(session->database, add_table, rows, error);
    return finish_rows(rows, code, error);
}

/* One line a table: its name, and its columns with their types. */
struct schema_lines {
    sqlite3 *database;
    struct buffer line;
    size_t columns;
};

static enum error_code add_to_line(void *context, const char *column, const char *type,
                                   struct error *error)
{
    struct schema_lines *lines = context;
    enum error_code code = OK;
    if (lines->columns++)
        code = buffer_append(&lines->line, ", ", 2, error);
    if (!code)
        code = sql_tables_append_name(&lines->line, column, error);
    if (!code && type[0])
        code = buffer_printf(&lines->line, error, " %s", type);
    return code;
}

static enum error_code print_schema_line(void *context, const struct sql_table *table,
                                         struct error *error)
{
    struct schema_lines *lines = context;
    lines->line.size = 0;
    lines->columns = 0;
    enum error_code code = sql_tables_append_table(&lines->line, table, error);
    if (!code)
        code = buffer_append(&lines->line, "(", 1, error);
    if (!code)
        code = sql_tables_columns(lines->database, table->schema, table->name, add_to_line, lines,
                                  error);
    if (!code)
        code = buffer_append(&lines->line, ")\n", 2, error);
    if (!code)
        fwrite(lines->line.data, 1, lines->line.size, stdout);
    return code;
}

static enum error_code count_column(void *context, const char *column, const char *type,
                                    struct error *error)
{
    (void)column;
    (void)type;
    (void)error;
    ++*(size_t *)context;
    return OK;
}

static enum error_code add_column(void *context, const char *column, const char *type,
                                  struct error *error)
{
    struct rows *rows = context;
    rows_string(rows, column);
    rows_string(rows, type[0] ? type : NULL);
    return rows_end(rows, error);
}

/* "name", "schema.name", each perhaps in double quotes, into two texts that the caller frees. */
static void split_name(const char *text, char **schema_out, char **name_out)
{
    char *parts[2] = {strdup(text), NULL};
    char *to = parts[0];
    bool quoted = false;
    for (const char *at = text; to && *at; at++) {
        if (*at == '"') {
            if (quoted && at[1] == '"')
                *to++ = *at++;
            else
                quoted = !quoted;
        } else if (*at == '.' && !quoted && !parts[1]) {
            *to = '\0';
            to = parts[1] = calloc(1, strlen(at) + 1);
        } else {
            *to++ = *at;
        }
    }
    if (to)
        *to = '\0';
    *schema_out = parts[1] ? parts[0] : NULL;
    *name_out = parts[1] ? parts[1] : parts[0];
}

static enum error_code print_columns(struct sql_session *session, const char *schema,
                                     const char *name, struct error *error)
{
    static const char *const names[] = {"column", "type"};
    struct rows *rows = NULL;
    enum error_code code = sql_session_create_rows(session, names, 2, &rows, error);
    if (code)
        return code;
    code = sql_tables_columns(session->database, schema, name, add_column, rows, error);
    return finish_rows(rows, code, error);
}

static bool has_columns(struct sql_session *session, const char *schema, const char *name)
{
    size_t count = 0;
    sql_tables_columns(session->database, schema, name, count_column, &count, NULL);
    return count > 0;
}

/* The name as it stands comes first: a topic's may have dots of its own. */
static enum error_code run_schema_of(struct sql_session *session, const char *argument,
                                     struct error *error)
{
    if (has_columns(session, NULL, argument))
        return print_columns(session, NULL, argument, error);
    char *schema = NULL, *name = NULL;
    split_name(argument, &schema, &name);
    enum error_code code =
        name && has_columns(session, schema, name)
            ? print_columns(session, schema, name, error)
            : error_set(error, ERROR_INVALID,
                        ".schema: there is no table or view %s; .tables lists them", argument);
    free(schema);
    free(name);
    return code;
}

static enum error_code run_schema(struct sql_session *session, const char *argument,
                                  struct error *error)
{
    if (argument[0])
        return run_schema_of(session, argument, error);
    struct schema_lines lines = {.database = session->database};
    enum error_code code =
        sql_tables_visit(session->database, print_schema_line, &lines, error);
    buffer_release(&lines.line);
    return code;
}

static enum error_code run_topics(struct sql_session *session, const char *argument,
                                  struct error *error)
{
    (void)argument;
    return sql_statement_run(
        session,
        "SELECT topic, events, substr(first_time, 1, 19) || 'Z' AS first_time,"
        " substr(last_time, 1, 19) || 'Z' AS last_time FROM main.topics ORDER BY topic",
        error);
}

static enum error_code run_timer(struct sql_session *session, const char *argument,
                                 struct error *error)
{
    if (strcasecmp(argument, "on") == 0)
        session->timer = true;
    else if (strcasecmp(argument, "off") == 0)
        session->timer = false;
    else if (argument[0])
        return error_set(error, ERROR_INVALID, ".timer: '%s' is neither on nor off", argument);
    else
        printf("timer is %s\n", session->timer ? "on" : "off");
    return OK;
}

static enum error_code run_mode(struct sql_session *session, const char *argument,
                                struct error *error)
{
    for (int i = 0; rows_format_names[i]; i++) {
        if (strcasecmp(argument, rows_format_names[i]) == 0) {
            session->format = (enum rows_format)i;
            return OK;
        }
    }
    if (argument[0])
        return error_set(error, ERROR_INVALID,
                         ".mode: '%s' is none of table, json, csv, markdown", argument);
    printf("mode is %s\n", rows_format_names[session->format]);
    return OK;
}

static enum error_code run_read(struct sql_session *session, const char *argument,
                                struct error *error)
{
    if (!argument[0])
        return error_set(error, ERROR_INVALID, ".read: which FILE?");
    return sql_script_run_file(session, argument, error);
}

static enum error_code run_quit(struct sql_session *session, const char *argument,
                                struct error *error)
{
    (void)argument;
    (void)error;
    session->finished = true;
    return OK;
}

static enum error_code run_help(struct sql_session *session, const char *argument,
                                struct error *error);

const struct sql_command sql_commands[] = {
    {".tables", "", SQL_ARGUMENT_NONE, run_tables, "tables and views that you can ask"},
    {".schema", "[NAME]", SQL_ARGUMENT_TABLE, run_schema, "their columns; of NAME alone"},
    {".topics", "", SQL_ARGUMENT_NONE, run_topics, "the topics, with counts and times"},
    {".mode", "[MODE]", SQL_ARGUMENT_FORMAT, run_mode, "answers as table, json, csv or markdown"},
    {".timer", "[on|off]", SQL_ARGUMENT_SWITCH, run_timer, "rows and time behind each answer"},
    {".read", "FILE", SQL_ARGUMENT_FILE, run_read, "run the statements and commands in FILE"},
    {".help", "", SQL_ARGUMENT_NONE, run_help, "this text"},
    {".quit", "", SQL_ARGUMENT_NONE, run_quit, "leave; .exit and Ctrl-D do the same"},
    {".exit", "", SQL_ARGUMENT_NONE, run_quit, NULL},
    {0},
};

static enum error_code run_help(struct sql_session *session, const char *argument,
                                struct error *error)
{
    (void)session;
    (void)argument;
    (void)error;
    for (const struct sql_command *command = sql_commands; command->name; command++)
        if (command->help)
            printf("%-8s%-9s  %s\n", command->name, command->usage, command->help);
    fputs("\n"
          "A statement ends with a semicolon and may take several lines. Tab completes\n"
          "keywords, tables, columns and topics. Ctrl-C leaves a line, or stops a query. The\n"
          "arrows go through what was typed before, Ctrl-R searches it. Nothing that is\n"
          "typed here can change the log or its index.\n"
          "\n"
          "  SELECT topic, count(*) FROM events GROUP BY topic;\n"
          "  SELECT time, payload FROM events WHERE topic = 'orders' LIMIT 5;\n"
          "  ATTACH 'users.db' AS users;   -- a database of yours to join with, read-only\n",
          stdout);
    return OK;
}

static enum error_code fail_unknown(const char *name, struct error *error)
{
    const char *nearest = NULL;
    size_t nearest_distance = NEARNESS_FAR;
    for (const struct sql_command *command = sql_commands; command->name; command++) {
        size_t this_distance = nearness_distance(name, command->name);
        if (this_distance < nearest_distance) {
            nearest = command->name;
            nearest_distance = this_distance;
        }
    }
    if (nearest)
        return error_set(error, ERROR_INVALID,
                         "there is no command '%s': do you mean %s? .help lists all", name,
                         nearest);
    return error_set(error, ERROR_INVALID, "there is no command '%s'; .help lists all", name);
}

static enum error_code find_command(const char *name, const struct sql_command **command_out,
                                    struct error *error)
{
    const struct sql_command *found = NULL;
    for (const struct sql_command *command = sql_commands; command->name; command++) {
        if (strcasecmp(command->name, name) == 0) {
            *command_out = command;
            return OK;
        }
        if (name[1] && strncasecmp(command->name, name, strlen(name)) == 0) {
            if (found)
                return error_set(error, ERROR_INVALID, "'%s' could be %s or %s", name, found->name,
                                 command->name);
            found = command;
        }
    }
    if (!found)
        return fail_unknown(name, error);
    *command_out = found;
    return OK;
}

/* As people and other shells end a line: blanks and semicolons are no part of an argument. */
static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr("; \t\r\n", text[bytes - 1]))
        text[--bytes] = '\0';
    if (bytes >= 2 && text[0] == '\'' && text[bytes - 1] == '\'') {
        text[bytes - 1] = '\0';
        text++;
    }
    return text;
}

static enum error_code run_line(struct sql_session *session, char *line, struct error *error)
{
    line = trim(line);
    size_t name_bytes = strcspn(line, " \t");
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%s%.*s", line[0] == '.' ? "" : ".", (int)name_bytes, line);
    const struct sql_command *command = NULL;
    enum error_code code = find_command(name, &command, error);
    if (code)
        return code;
    char *argument = trim(line + name_bytes);
    if (command->argument == SQL_ARGUMENT_NONE && argument[0])
        return error_set(error, ERROR_INVALID, "%s takes no argument, but '%s' follows it",
                         command->name, argument);
    if (!session->database)
        code = sql_session_open(session, error);
    if (!code)
        code = command->run(session, argument, error);
    fflush(stdout); /* somebody may wait for it in a pipe */
    return code;
}

enum error_code sql_commands_run(struct sql_session *session, const char *line, size_t line_bytes,
                                 struct error *error)
{
    char *copy = strndup(line, line_bytes);
    if (!copy)
        return error_set(error, ERROR_MEMORY, "no memory for a command");
    enum error_code code = run_line(session, copy, error);
    free(copy);
    return code;
}
