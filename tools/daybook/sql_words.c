#include "tools/daybook/sql_words.h"

#include <string.h>
#include <strings.h>

/* Only what reads, and what makes temporary tables: others would be refused. */
static const char *const keywords[] = {
    "ALL", "ALTER", "AND", "AS", "ASC", "ATTACH", "BEGIN", "BETWEEN", "BY", "CASE", "CAST",
    "COLLATE", "COMMIT", "CREATE", "CROSS", "CURRENT", "DELETE", "DESC", "DETACH", "DISTINCT",
    "DROP", "ELSE", "END", "ESCAPE", "EXCEPT", "EXISTS", "EXPLAIN", "FILTER", "FIRST",
    "FOLLOWING", "FROM", "FULL", "GLOB", "GROUP", "HAVING", "IN", "INDEX", "INNER", "INSERT",
    "INTERSECT", "INTO", "IS", "JOIN", "LAST", "LEFT", "LIKE", "LIMIT", "MATERIALIZED", "NATURAL",
    "NOT", "NOTNULL", "NULL", "NULLS", "OFFSET", "ON", "OR", "ORDER", "OUTER", "OVER",
    "PARTITION", "PLAN", "PRAGMA", "PRECEDING", "QUERY", "RANGE", "RECURSIVE", "REGEXP", "RIGHT",
    "ROLLBACK", "ROW", "ROWS", "SELECT", "SET", "TABLE", "TEMP", "THEN", "UNBOUNDED", "UNION",
    "UPDATE", "USING", "VALUES", "VIEW", "WHEN", "WHERE", "WINDOW", "WITH",
};

const char *sql_words_keyword(size_t n)
{
    return n < sizeof keywords / sizeof keywords[0] ? keywords[n] : NULL;
}

bool sql_word_is(const struct sql_word *word, const char *text)
{
    return (word->kind == SQL_WORD_NAME || word->kind == SQL_WORD_MARK) &&
           strlen(text) == word->bytes && strncasecmp(text, word->at, word->bytes) == 0;
}

bool sql_words_is_keyword(const struct sql_word *word)
{
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (sql_word_is(word, keywords[i]))
            return true;
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* Behind the closing quote, or `end`. A doubled one is a quote within, but not for a bracket. */
static const char *skip_quoted(const char *at, const char *end, bool *open_out)
{
    char quote = *at == '[' ? ']' : *at;
    for (at++; at < end; at++) {
        if (*at != quote)
            continue;
        if (quote == ']' || at + 1 == end || at[1] != quote) {
            *open_out = false;
            return at + 1;
        }
        at++;
    }
    *open_out = true;
    return end;
}

/* Behind the comment at `at`; *open_out: more of it may follow. `at` when there is none. */
static const char *skip_comment(const char *at, const char *end, bool *open_out)
{
    *open_out = false;
    if (end - at < 2)
        return at;
    if (at[0] == '-' && at[1] == '-') {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        *open_out = !line;
        return line ? line + 1 : end;
    }
    if (at[0] == '/' && at[1] == '*') {
        const char *close = memmem(at + 2, (size_t)(end - at - 2), "*/", 2);
        *open_out = !close;
        return close ? close + 2 : end;
    }
    return at;
}

static const char *skip_mark(const char *at, const char *end)
{
    static const char *const pairs[] = {"==", "!=", "<>", "<=", ">=", "||", "<<", ">>", "->"};
    if (end - at >= 3 && strncmp(at, "->>", 3) == 0)
        return at + 3;
    for (size_t i = 0; end - at >= 2 && i < sizeof pairs / sizeof pairs[0]; i++)
        if (strncmp(at, pairs[i], 2) == 0)
            return at + 2;
    return at + 1;
}

static void read_word(const char **at, const char *end, struct sql_word *word)
{
    const char *start = *at;
    *word = (struct sql_word){.at = start};
    if (*start == '\'' || *start == '"' || *start == '`' || *start == '[') {
        word->kind = *start == '\'' ? SQL_WORD_STRING : SQL_WORD_QUOTED;
        *at = skip_quoted(start, end, &word->open);
    } else if (is_name(*start)) {
        word->kind = is_digit(*start) ? SQL_WORD_NUMBER : SQL_WORD_NAME;
        while (*at < end && (is_name(**at) || (word->kind == SQL_WORD_NUMBER && **at == '.')))
            ++*at;
    } else {
        word->kind = SQL_WORD_MARK;
        *at = skip_mark(start, end);
    }
    word->bytes = (size_t)(*at - start);
}

bool sql_words_next(const char **at, const char *end, struct sql_word *word_out)
{
    while (*at < end) {
        bool open;
        const char *behind = skip_comment(*at, end, &open);
        if (behind != *at && open && (*at)[0] == '/') {
            *word_out = (struct sql_word){
                .kind = SQL_WORD_COMMENT, .at = *at, .bytes = (size_t)(end - *at), .open = true};
            *at = end;
            return true;
        }
        if (behind != *at) {
            *at = behind;
        } else if (is_space(**at)) {
            ++*at;
        } else {
            read_word(at, end, word_out);
            return true;
        }
    }
    return false;
}

bool sql_words_ends_in_comment(const char *text, size_t text_bytes)
{
    const char *at = text, *end = text + text_bytes;
    struct sql_word word;
    while (at < end) {
        bool open;
        const char *behind = skip_comment(at, end, &open);
        if (behind != at && open)
            return true;
        if (behind != at)
            at = behind;
        else if (is_space(*at))
            at++;
        else
            read_word(&at, end, &word);
    }
    return false;
}
