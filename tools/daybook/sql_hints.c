#include "tools/daybook/sql_hints.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Is there a row? */
static bool has_row(sqlite3 *database, const char *sql, const char *name, char *found, size_t size)
{
    sqlite3_stmt *select = NULL;
    bool row = false;
    if (sqlite3_prepare_v2(database, sql, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_text(select, 1, name, -1, SQLITE_STATIC);
        row = sqlite3_step(select) == SQLITE_ROW;
        if (row && found)
            snprintf(found, size, "%s", (const char *)sqlite3_column_text(select, 0));
    }
    sqlite3_finalize(select);
    return row;
}

void sql_hints_add_to_failure(sqlite3 *database, const char *message, struct error *error)
{
    static const char beginning[] = "no such table: ";
    char text[sizeof error->text], name[256], near[256];
    if (strncmp(message, beginning, sizeof beginning - 1) != 0)
        return;
    snprintf(text, sizeof text, "%s", error->text);
    snprintf(name, sizeof name, "%s", message + sizeof beginning - 1);
    if (has_row(database, "SELECT 1 FROM topics WHERE topic = ?1", name, NULL, 0))
        error_set(error, error->code,
                  "%s; '%s' is a topic that has no schema: ask events WHERE topic = '%s', or make "
                  "it a table with 'daybook topics --infer' and 'daybook schema add'",
                  text, name, name);
    else if (has_row(database,
                     "SELECT name FROM pragma_table_list WHERE schema IN ('main', 'temp')"
                     " AND (name LIKE ?1 || '_' OR name LIKE ?1 || 's' OR ?1 LIKE name || '_')",
                     name, near, sizeof near))
        error_set(error, error->code, "%s; did you mean %s?", text, near);
    else
        error_set(error, error->code, "%s; .tables lists them, and .topics the topics", text);
}

static bool is_word_at(const char *sql, const char *at, size_t bytes)
{
    bool begins = at == sql || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');
    return begins && !(isalnum((unsigned char)at[bytes]) || at[bytes] == '_' || at[bytes] == '(');
}

static bool names_time(const char *sql)
{
    for (const char *at = sql; (at = strcasestr(at, "time")); at++)
        if (is_word_at(sql, at, 4))
            return true;
    return false;
}

/* '2026-01-05 10:00 … */
static bool is_time_with_blank(const char *literal)
{
    static const char form[] = "'dddd-dd-dd dd:";
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)literal[i]) : literal[i] != form[i])
            return false;
    return true;
}

static bool follows(const char *sql, const char *at, const char *word)
{
    size_t bytes = strlen(word);
    return (size_t)(at - sql) >= bytes && strncasecmp(at - bytes, word, bytes) == 0;
}

const char *sql_hints_for_statement(const char *sql)
{
    bool blank = false;
    for (const char *at = strchr(sql, '\''); at; at = strchr(at + 1, '\''))
        blank |= is_time_with_blank(at) && !follows(sql, at, "daybook_time(") &&
                 !follows(sql, at, "datetime(") && !follows(sql, at, "strftime(");
    if (!blank && strcasestr(sql, "datetime("))
        blank = true;
    if (!blank || !names_time(sql))
        return NULL;
    return "note: time is compared as text, and has a T between date and time; with a blank there "
           "only the day counts: write '2026-01-05T10:00', or ts >= daybook_time('2026-01-05 "
           "10:00')";
}
