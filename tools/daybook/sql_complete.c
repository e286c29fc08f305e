#include "tools/daybook/sql_complete.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/daybook/rows.h"
#include "tools/daybook/sql_candidates.h"
#include "tools/daybook/sql_commands.h"
#include "tools/daybook/sql_guard.h"
#include "tools/daybook/sql_tables.h"
#include "tools/daybook/sql_words.h"

/* The statement around the cursor: all its words, and how many of them stand before the cursor. */
struct place {
    sqlite3 *database;
    struct sql_word *words;
    size_t count;
    size_t before; /* without the word that is being typed */
    struct sql_word typed; /* up to the cursor; no bytes between two words */
};

static bool add_word(struct place *place, size_t *capacity, const struct sql_word *word)
{
    if (place->count == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 64;
        struct sql_word *words = realloc(place->words, more * sizeof *words);
        if (!words)
            return false;
        place->words = words;
        *capacity = more;
    }
    place->words[place->count++] = *word;
    return true;
}

/* Does the cursor, at the end of this word, still belong to it? */
static bool is_being_typed(const struct sql_word *word, const char *cursor)
{
    return word->at + word->bytes == cursor && word->kind != SQL_WORD_MARK;
}

/* False without memory. */
static bool read_place(struct place *place, const char *text, size_t text_bytes, size_t offset)
{
    const char *at = text, *cursor = text + offset, *end = text + text_bytes;
    size_t capacity = 0;
    struct sql_word word;
    place->typed = (struct sql_word){.kind = SQL_WORD_MARK, .at = cursor};
    while (at < cursor && sql_words_next(&at, cursor, &word)) {
        if (sql_word_is(&word, ";"))
            place->count = 0;
        else if (is_being_typed(&word, cursor))
            place->typed = word;
        else if (!add_word(place, &capacity, &word))
            return false;
    }
    place->before = place->count;
    /* What follows the cursor names tables as well: SELECT | FROM events. */
    for (at = cursor; sql_words_next(&at, end, &word) && !sql_word_is(&word, ";");)
        if (!add_word(place, &capacity, &word))
            return false;
    return true;
}

/* The n-th word before the cursor, counted back from 1; NULL when there are not so many. */
static const struct sql_word *back(const struct place *place, size_t n)
{
    return n <= place->before ? &place->words[place->before - n] : NULL;
}

static bool back_is(const struct place *place, size_t n, const char *text)
{
    const struct sql_word *word = back(place, n);
    return word && sql_word_is(word, text);
}

static bool is_one_of(const struct sql_word *word, const char *const *texts)
{
    for (; word && *texts; texts++)
        if (sql_word_is(word, *texts))
            return true;
    return false;
}

/* Is this word, with quotes or without, the name? */
static bool names(const struct sql_word *word, const char *name)
{
    if (word->kind == SQL_WORD_NAME)
        return strlen(name) == word->bytes && strncasecmp(word->at, name, word->bytes) == 0;
    if (word->kind != SQL_WORD_QUOTED || word->open)
        return false;
    const char *at = word->at + 1, *end = word->at + word->bytes - 1;
    for (; at < end && *name; at++, name++) {
        if (*at == *word->at)
            at++; /* a doubled quote */
        if (strncasecmp(at, name, 1) != 0)
            return false;
    }
    return at == end && !*name;
}

static bool same_name(const struct sql_word *left, const struct sql_word *right)
{
    return left->bytes == right->bytes && strncasecmp(left->at, right->at, left->bytes) == 0;
}

static bool is_name(const struct sql_word *word)
{
    return (word->kind == SQL_WORD_NAME && !sql_words_is_keyword(word)) ||
           word->kind == SQL_WORD_QUOTED;
}

/* Does the word behind the table's name at `i` give it this other name? */
static bool has_alias(const struct place *place, size_t i, const struct sql_word *alias)
{
    size_t next = i + 1;
    if (next < place->count && sql_word_is(&place->words[next], "AS"))
        next++;
    return next < place->count && is_name(&place->words[next]) &&
           same_name(&place->words[next], alias);
}

/* Is the table named in the statement; with `qualifier`: by this name or alias? */
static bool is_named(const struct place *place, const char *table,
                     const struct sql_word *qualifier)
{
    if (qualifier && names(qualifier, table))
        return true;
    for (size_t i = 0; i < place->count; i++)
        if (names(&place->words[i], table) && (!qualifier || has_alias(place, i, qualifier)))
            return true;
    return false;
}

struct gathering {
    const struct place *place;
    const struct sql_word *qualifier; /* what stands before the dot, or NULL */
    struct sql_candidates *candidates;
    bool found;
};

static enum error_code add_column(void *context, const char *column, const char *type,
                                  struct error *error)
{
    (void)type;
    (void)error;
    struct gathering *gathering = context;
    gathering->found = true;
    sql_candidates_add_name(gathering->candidates, column, NULL);
    return OK;
}

static enum error_code add_columns_of(void *context, const struct sql_table *table,
                                      struct error *error)
{
    struct gathering *gathering = context;
    if (table->hidden || !is_named(gathering->place, table->name, gathering->qualifier))
        return OK;
    sql_tables_columns(gathering->place->database, table->schema, table->name, add_column,
                       gathering, error);
    return OK; /* a view that is broken has no columns, but others have */
}

/* True: there are tables with columns, whether or not one fits. */
static bool add_columns(const struct place *place, const struct sql_word *qualifier,
                        struct sql_candidates *candidates)
{
    struct gathering gathering = {place, qualifier, candidates, false};
    sql_tables_visit(place->database, add_columns_of, &gathering, NULL);
    return gathering.found;
}

/* Not in a database that was attached. */
static bool is_inside(const struct sql_table *table)
{
    return strcmp(table->schema, "main") == 0 || strcmp(table->schema, "temp") == 0;
}

static enum error_code add_table(void *context, const struct sql_table *table, struct error *error)
{
    (void)error;
    struct gathering *gathering = context;
    if (gathering->qualifier) {
        if (names(gathering->qualifier, table->schema))
            sql_candidates_add_name(gathering->candidates, table->name, NULL);
        return OK;
    }
    if (!table->hidden)
        sql_candidates_add_name(gathering->candidates, table->name, NULL);
    if (!is_inside(table))
        sql_candidates_add_name(gathering->candidates, table->schema, ".");
    return OK;
}

static void add_tables(const struct place *place, const struct sql_word *schema,
                       struct sql_candidates *candidates)
{
    struct gathering gathering = {place, schema, candidates, false};
    sql_tables_visit(place->database, add_table, &gathering, NULL);
}

/* Within the quotes of topic = '…', topic IN ('…', '…' and the like? */
static bool expects_topic(const struct place *place)
{
    static const char *const comparisons[] = {"=", "==", "<>", "!=", "IS", "LIKE", "GLOB", NULL};
    size_t n = 1;
    while (back(place, n) && (back_is(place, n, ",") || back(place, n)->kind == SQL_WORD_STRING))
        n++;
    if (back_is(place, n, "(") && back_is(place, n + 1, "IN"))
        n += 2;
    else if (n == 1 && is_one_of(back(place, 1), comparisons))
        n = 2;
    else
        return false;
    if (back_is(place, n, "NOT"))
        n++;
    return back(place, n) && names(back(place, n), "topic");
}

static bool expects_file(const struct place *place)
{
    return back_is(place, 1, "ATTACH") ||
           (back_is(place, 1, "DATABASE") && back_is(place, 2, "ATTACH"));
}

static bool expects_table(const struct place *place)
{
    static const char *const before[] = {"FROM", "JOIN", "INTO", "UPDATE", "TABLE", NULL};
    static const char *const clauses[] = {"SELECT", "FROM", "WHERE", "BY", "HAVING", "(", NULL};
    if (is_one_of(back(place, 1), before))
        return true;
    if (!back_is(place, 1, ","))
        return false;
    for (size_t n = 2; back(place, n); n++)
        if (is_one_of(back(place, n), clauses))
            return back_is(place, n, "FROM");
    return false;
}

/* Behind a table of FROM, where its alias or the next clause may follow, but no column. */
static bool is_behind_table(const struct place *place)
{
    static const char *const before[] = {"FROM", "JOIN", NULL};
    return back(place, 1) && is_name(back(place, 1)) && is_one_of(back(place, 2), before);
}

/* As the user writes: by the letter that was typed, else by the statement's first keyword. */
static bool writes_lower(const struct place *place)
{
    const struct sql_word *word = place->typed.bytes ? &place->typed : place->words;
    return (place->typed.bytes || place->count) && word->at[0] >= 'a' && word->at[0] <= 'z';
}

static void add_pragmas(struct sql_candidates *candidates)
{
    const char *pragma;
    for (size_t i = 0; (pragma = sql_guard_pragma(i)) != NULL; i++)
        sql_candidates_add(candidates, pragma, NULL);
}

static void complete_name(const struct place *place, struct sql_candidates *candidates)
{
    if (back_is(place, 1, ".") && back(place, 2)) {
        if (!add_columns(place, back(place, 2), candidates))
            add_tables(place, back(place, 2), candidates);
    } else if (back_is(place, 1, "PRAGMA")) {
        add_pragmas(candidates);
    } else if (expects_table(place)) {
        add_tables(place, NULL, candidates);
    } else if (back_is(place, 1, "AS") && !back_is(place, 2, ")")) {
        /* a new name: nobody can know it */
    } else if (place->typed.kind == SQL_WORD_QUOTED) {
        add_columns(place, NULL, candidates);
        add_tables(place, NULL, candidates);
    } else {
        bool columns = !is_behind_table(place) && add_columns(place, NULL, candidates);
        /* With nothing typed, everything that could come would only scroll away. */
        if (place->typed.bytes || !columns)
            sql_candidates_add_keywords(candidates, writes_lower(place));
        if (place->typed.bytes && !is_behind_table(place)) {
            add_tables(place, NULL, candidates);
            sql_candidates_add_functions(candidates, place->database);
        }
    }
}

static void complete_statement(const struct place *place, struct sql_candidates *candidates)
{
    candidates->typed = place->typed.at;
    candidates->typed_bytes = place->typed.bytes;
    bool quotes = place->typed.kind == SQL_WORD_STRING || place->typed.kind == SQL_WORD_QUOTED;
    if (quotes && !place->typed.open)
        return; /* complete already */
    switch (place->typed.kind) {
    case SQL_WORD_STRING:
        candidates->exact = true;
        if (expects_topic(place))
            sql_candidates_add_topics(candidates, place->database);
        else if (expects_file(place))
            sql_candidates_add_files(candidates, 1, "'");
        break;
    case SQL_WORD_COMMENT:
    case SQL_WORD_NUMBER:
        break;
    default:
        complete_name(place, candidates);
    }
}

/* As .tables writes them. */
static enum error_code add_whole_name(void *context, const struct sql_table *table,
                                      struct error *error)
{
    struct buffer name = {0};
    if (!table->hidden && is_inside(table)) {
        sql_candidates_add_name(context, table->name, NULL);
        return OK;
    }
    if (!sql_tables_append_table(&name, table, error) && !buffer_append(&name, "", 1, error))
        sql_candidates_add(context, (const char *)name.data, NULL);
    buffer_release(&name);
    return OK;
}

static void add_texts(struct sql_candidates *candidates, const char *const *texts)
{
    for (; *texts; texts++)
        sql_candidates_add(candidates, *texts, NULL);
}

static void complete_argument(const struct place *place, enum sql_commands_argument argument,
                              struct sql_candidates *candidates)
{
    static const char *const switches[] = {"off", "on", NULL};
    switch (argument) {
    case SQL_ARGUMENT_NONE:
        break;
    case SQL_ARGUMENT_SWITCH:
        add_texts(candidates, switches);
        break;
    case SQL_ARGUMENT_FORMAT:
        add_texts(candidates, rows_format_names);
        break;
    case SQL_ARGUMENT_TABLE:
        sql_tables_visit(place->database, add_whole_name, candidates, NULL);
        break;
    case SQL_ARGUMENT_FILE:
        candidates->exact = true;
        sql_candidates_add_files(candidates, 0, "");
        break;
    }
}

static void complete_command(const struct place *place, const char *line, size_t cursor,
                             struct sql_candidates *candidates)
{
    size_t name_bytes = 0;
    while (name_bytes < cursor && line[name_bytes] != ' ')
        name_bytes++;
    size_t start = name_bytes;
    while (start < cursor && line[start] == ' ')
        start++;
    candidates->typed = name_bytes == cursor ? line : line + start;
    candidates->typed_bytes = name_bytes == cursor ? cursor : cursor - start;
    for (const struct sql_command *command = sql_commands; command->name; command++) {
        if (name_bytes == cursor)
            sql_candidates_add(candidates, command->name, NULL);
        else if (strlen(command->name) == name_bytes &&
                 strncasecmp(command->name, line, name_bytes) == 0)
            complete_argument(place, command->argument, candidates);
    }
}

void sql_complete(sqlite3 *database, const char *text, size_t text_bytes, size_t cursor,
                  struct sql_completion *completion_out)
{
    struct place place = {.database = database};
    struct sql_candidates candidates = {.typed = text + cursor};
    if (text_bytes > 0 && text[0] == '.')
        complete_command(&place, text, cursor, &candidates);
    else if (!sql_words_ends_in_comment(text, cursor) &&
             read_place(&place, text, text_bytes, cursor))
        complete_statement(&place, &candidates);
    free(place.words);
    sql_candidates_sort(&candidates);
    *completion_out = (struct sql_completion){
        .start = (size_t)(candidates.typed - text),
        .words = candidates.words,
        .count = candidates.count,
    };
}

void sql_completion_release(struct sql_completion *completion)
{
    for (size_t i = 0; i < completion->count; i++)
        free(completion->words[i]);
    free(completion->words);
    *completion = (struct sql_completion){0};
}
