#include "indexer/where_text.h"

#include <stdbool.h>
#include <string.h>

#include "core/utf8.h"
#include "indexer/sqlite.h"
#include "indexer/where.h"

enum kind {
    TOKEN_END,
    TOKEN_WORD,       /* a keyword, a function, a name */
    TOKEN_NAME,       /* in double quotes, grave accents or brackets */
    TOKEN_STRING,     /* in single quotes */
    TOKEN_NUMBER,     /* or what looks like one */
    TOKEN_SPACE,
    TOKEN_COMMENT,    /* "--" or the beginning of the other kind */
    TOKEN_UNFINISHED, /* a quote without its end */
    TOKEN_OTHER,      /* one byte */
};

struct token {
    enum kind kind;
    size_t at, bytes;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool begins_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* The byte that ends what `c` begins, 0: it begins nothing. */
static char closing_of(char c)
{
    return c == '[' ? ']' : c == '\'' || c == '"' || c == '`' ? c : '\0';
}

/* A quote within quotes stands there twice; nothing does within brackets. */
static struct token read_quoted(const char *text, size_t bytes, size_t at)
{
    char end = closing_of(text[at]);
    for (size_t i = at + 1; i < bytes; i++) {
        if (text[i] != end)
            continue;
        if (end != ']' && i + 1 < bytes && text[i + 1] == end)
            i++;
        else
            return (struct token){end == '\'' ? TOKEN_STRING : TOKEN_NAME, at, i + 1 - at};
    }
    return (struct token){TOKEN_UNFINISHED, at, bytes - at};
}

static struct token read_token(const char *text, size_t bytes, size_t at)
{
    if (at >= bytes)
        return (struct token){TOKEN_END, at, 0};
    char c = text[at], next = at + 1 < bytes ? text[at + 1] : '\0';
    size_t end = at + 1;
    if (closing_of(c))
        return read_quoted(text, bytes, at);
    if ((c == '-' && next == '-') || (c == '/' && next == '*'))
        return (struct token){TOKEN_COMMENT, at, 2};
    if (is_space(c)) {
        while (end < bytes && is_space(text[end]))
            end++;
        return (struct token){TOKEN_SPACE, at, end - at};
    }
    if (!begins_word(c) && !is_digit(c))
        return (struct token){TOKEN_OTHER, at, 1};
    while (end < bytes && (begins_word(text[end]) || is_digit(text[end])))
        end++;
    return (struct token){is_digit(c) ? TOKEN_NUMBER : TOKEN_WORD, at, end - at};
}

static enum error_code refuse_other(char c, size_t position, struct error *error)
{
    static const char APART[] = "?:@$#";
    if (c == ';')
        return error_set(error, ERROR_INVALID,
                         "there is a ';' at position %zu, but a condition is one expression",
                         position);
    if (strchr(APART, c))
        return error_set(error, ERROR_INVALID,
                         "'%c' at position %zu has no meaning here; a text has to be in single "
                         "quotes, and a name that has it in double quotes",
                         c, position);
    return OK;
}

static enum error_code check_token(const char *text, struct token token, size_t *depth,
                                   struct error *error)
{
    size_t position = token.at + 1;
    switch (token.kind) {
    case TOKEN_UNFINISHED:
        return error_set(error, ERROR_INVALID, "what begins with %c at position %zu never ends",
                         text[token.at], position);
    case TOKEN_COMMENT:
        return error_set(error, ERROR_INVALID,
                         "'%.2s' at position %zu begins a comment, which a condition cannot have; "
                         "write - (-1) for a minus twice",
                         text + token.at, position);
    case TOKEN_OTHER:
        if (text[token.at] == '(')
            ++*depth;
        if (text[token.at] == ')' && (*depth)-- == 0)
            return error_set(error, ERROR_INVALID, "the ')' at position %zu closes nothing",
                             position);
        return refuse_other(text[token.at], position, error);
    default:
        return OK;
    }
}

static enum error_code check_bytes(const char *text, size_t bytes, struct error *error)
{
    if (bytes > INDEXER_WHERE_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "the condition has %zu bytes, more than %d", bytes,
                         INDEXER_WHERE_BYTES_MAX);
    size_t valid = utf8_valid_bytes(text, bytes);
    if (valid < bytes)
        return error_set(error, ERROR_INVALID, "the condition is no UTF-8 at position %zu",
                         valid + 1);
    for (size_t i = 0; i < bytes; i++)
        if (((unsigned char)text[i] < 0x20 && !is_space(text[i])) || text[i] == 0x7f)
            return error_set(error, ERROR_INVALID,
                             "there is a control character, 0x%02x, at position %zu",
                             (unsigned)text[i], i + 1);
    return OK;
}

enum error_code indexer_where_text_check(const char *text, size_t text_bytes, struct error *error)
{
    enum error_code code = check_bytes(text, text_bytes, error);
    size_t depth = 0, tokens = 0;
    struct token token = {TOKEN_SPACE, 0, 0};
    while (!code && token.kind != TOKEN_END) {
        token = read_token(text, text_bytes, token.at + token.bytes);
        tokens += token.kind != TOKEN_SPACE && token.kind != TOKEN_END;
        code = check_token(text, token, &depth, error);
    }
    if (code)
        return code;
    if (tokens == 0)
        return error_set(error, ERROR_INVALID, "the condition is empty");
    if (depth > 0)
        return error_set(error, ERROR_INVALID, "a '(' is not closed");
    return OK;
}

static bool copies(const char *text, size_t bytes, size_t at)
{
    if (at + 1 >= bytes)
        return false;
    return (text[at] == '|' && text[at + 1] == '|') || (text[at] == '-' && text[at + 1] == '>');
}

size_t indexer_where_text_passes(const char *text, size_t text_bytes)
{
    size_t depth = 0, deepest = 0, operators = 0;
    struct token token = {TOKEN_SPACE, 0, 0};
    while (token.kind != TOKEN_END) {
        token = read_token(text, text_bytes, token.at + token.bytes);
        if (token.kind != TOKEN_OTHER)
            continue;
        depth += text[token.at] == '(';
        depth -= text[token.at] == ')';
        deepest = depth > deepest ? depth : deepest;
        operators += copies(text, text_bytes, token.at);
    }
    return deepest + operators;
}

/* A word that is no name: a function's, a keyword, the x of x'00'. */
static bool is_plain_name(const char *text, size_t bytes, struct token token)
{
    struct token next = read_token(text, bytes, token.at + token.bytes);
    if (next.kind == TOKEN_STRING)
        return false;
    if (next.kind == TOKEN_SPACE)
        next = read_token(text, bytes, next.at + next.bytes);
    bool calls = next.kind == TOKEN_OTHER && text[next.at] == '(';
    return !calls && !sqlite3_keyword_check(text + token.at, (int)token.bytes);
}

/* Without the quotes, and with one for each two of them. */
static enum error_code unquote(const char *text, struct token token, struct buffer *name,
                               struct error *error)
{
    char quote = closing_of(text[token.at]);
    enum error_code code = OK;
    for (size_t i = 1; !code && i + 1 < token.bytes; i++) {
        code = buffer_append(name, text + token.at + i, 1, error);
        i += quote != ']' && text[token.at + i] == quote;
    }
    return code;
}

enum error_code indexer_where_text_name(const char *text, size_t text_bytes, size_t *at,
                                        struct buffer *name, struct error *error)
{
    struct token token;
    do {
        token = read_token(text, text_bytes, *at);
        *at = token.at + token.bytes;
        if (token.kind == TOKEN_END)
            return ERROR_END;
    } while (token.kind != TOKEN_NAME &&
             !(token.kind == TOKEN_WORD && is_plain_name(text, text_bytes, token)));
    name->size = 0;
    enum error_code code = token.kind == TOKEN_NAME
                               ? unquote(text, token, name, error)
                               : buffer_append(name, text + token.at, token.bytes, error);
    return code ? code : buffer_append(name, "", 1, error);
}
