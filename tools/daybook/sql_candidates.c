#include "tools/daybook/sql_candidates.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "tools/daybook/sql_tables.h"
#include "tools/daybook/sql_words.h"

enum { COUNT_MAX = 5000 }; /* nobody reads more, and a log may have a million topics */

static bool fits(const struct sql_candidates *candidates, const char *word)
{
    if (strlen(word) < candidates->typed_bytes)
        return false;
    return (candidates->exact ? strncmp : strncasecmp)(word, candidates->typed,
                                                       candidates->typed_bytes) == 0;
}

/* Takes over `word`, which may be NULL for lack of memory. */
static void keep(struct sql_candidates *candidates, char *word)
{
    if (!word || candidates->count >= COUNT_MAX) {
        free(word);
        return;
    }
    if (candidates->count == candidates->capacity) {
        size_t capacity = candidates->capacity ? 2 * candidates->capacity : 32;
        char **words = realloc(candidates->words, capacity * sizeof *words);
        if (!words) {
            free(word);
            return;
        }
        candidates->words = words;
        candidates->capacity = capacity;
    }
    candidates->words[candidates->count++] = word;
}

/* The same, if it fits. */
static void take(struct sql_candidates *candidates, char *word)
{
    if (word && fits(candidates, word))
        keep(candidates, word);
    else
        free(word);
}

void sql_candidates_add(struct sql_candidates *candidates, const char *word, const char *suffix)
{
    char *joined = NULL;
    if (asprintf(&joined, "%s%s", word, suffix ? suffix : "") >= 0)
        take(candidates, joined);
}

static void add_quoted(struct sql_candidates *candidates, const char *text, char quote,
                       const char *suffix)
{
    size_t bytes = strlen(text), at = 0;
    char *word = malloc(2 * bytes + 3 + strlen(suffix));
    if (!word)
        return;
    word[at++] = quote;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == quote)
            word[at++] = quote;
        word[at++] = text[i];
    }
    word[at++] = quote;
    strcpy(word + at, suffix);
    take(candidates, word);
}

void sql_candidates_add_name(struct sql_candidates *candidates, const char *name,
                             const char *suffix)
{
    if (candidates->typed_bytes > 0 && candidates->typed[0] == '"') {
        add_quoted(candidates, name, '"', suffix ? suffix : "");
        return;
    }
    /* One that needs quotes is found by its first letters, too. */
    if (!fits(candidates, name))
        return;
    struct buffer word = {0};
    if (sql_tables_append_name(&word, name, NULL) ||
        buffer_printf(&word, NULL, "%s", suffix ? suffix : "") ||
        buffer_append(&word, "", 1, NULL))
        buffer_release(&word);
    else
        keep(candidates, (char *)word.data);
}

void sql_candidates_add_keywords(struct sql_candidates *candidates, bool lower)
{
    const char *keyword;
    for (size_t i = 0; (keyword = sql_words_keyword(i)) != NULL; i++) {
        char *word = strdup(keyword);
        for (char *at = word; at && lower && *at; at++)
            *at = (char)tolower((unsigned char)*at);
        take(candidates, word);
    }
}

/* Functions that take arguments; those without a letter in front are operators in disguise. */
void sql_candidates_add_functions(struct sql_candidates *candidates, sqlite3 *database)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database,
                           "SELECT DISTINCT name FROM pragma_function_list"
                           " WHERE name GLOB '[a-z]*' AND name NOT GLOB 'sqlite_*'"
                           " AND name NOT IN ('load_extension', 'fts3_tokenizer', 'match')",
                           -1, &statement, NULL) == SQLITE_OK)
        while (sqlite3_step(statement) == SQLITE_ROW)
            sql_candidates_add(candidates, (const char *)sqlite3_column_text(statement, 0), "(");
    sqlite3_finalize(statement);
}

void sql_candidates_add_topics(struct sql_candidates *candidates, sqlite3 *database)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, "SELECT topic FROM main.topics", -1, &statement, NULL) ==
        SQLITE_OK)
        while (sqlite3_step(statement) == SQLITE_ROW)
            add_quoted(candidates, (const char *)sqlite3_column_text(statement, 0), '\'', "");
    sqlite3_finalize(statement);
}

static bool is_directory(const char *folder, const char *name)
{
    char *path = NULL;
    struct stat status;
    if (asprintf(&path, "%s%s", folder, name) < 0)
        return false;
    bool directory = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    free(path);
    return directory;
}

static void add_entries(struct sql_candidates *candidates, DIR *entries, const char *before,
                        const char *folder, const char *begun, const char *suffix)
{
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (name[0] == '.' && !begun[0]))
            continue;
        char *word = NULL;
        if (asprintf(&word, "%s%s%s%s", before, folder, name,
                     is_directory(folder, name) ? "/" : suffix) >= 0)
            take(candidates, word);
    }
}

void sql_candidates_add_files(struct sql_candidates *candidates, size_t skip, const char *suffix)
{
    char *before = strndup(candidates->typed, skip);
    char *path = strndup(candidates->typed + skip, candidates->typed_bytes - skip);
    char *slash = path ? strrchr(path, '/') : NULL;
    char *folder = path ? strndup(path, slash ? (size_t)(slash + 1 - path) : 0) : NULL;
    DIR *entries = folder ? opendir(folder[0] ? folder : ".") : NULL;
    if (entries && before)
        add_entries(candidates, entries, before, folder, slash ? slash + 1 : path, suffix);
    if (entries)
        closedir(entries);
    free(folder);
    free(path);
    free(before);
}

static int compare(const void *left, const void *right)
{
    const char *const *l = left, *const *r = right;
    int order = strcasecmp(*l, *r);
    return order ? order : strcmp(*l, *r);
}

void sql_candidates_sort(struct sql_candidates *candidates)
{
    if (candidates->count == 0)
        return;
    qsort(candidates->words, candidates->count, sizeof *candidates->words, compare);
    size_t kept = 1;
    for (size_t i = 1; i < candidates->count; i++) {
        if (strcmp(candidates->words[i], candidates->words[kept - 1]) == 0)
            free(candidates->words[i]);
        else
            candidates->words[kept++] = candidates->words[i];
    }
    candidates->count = kept;
}
