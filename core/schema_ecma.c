#include "core/schema_ecma.h"

#include <stdbool.h>
#include <string.h>

/*
 * White space beyond ASCII, and the rest beyond white space, as parts of a class. Each is put
 * between two escapes that add nothing, so that a '-' before or behind it makes no range.
 */
#define SPACES "\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"
#define NO_SPACES                                                                                  \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x9f\\xa1-\\u167f\\u1681-\\u1fff\\u200b-\\u2027"                 \
    "\\u202a-\\u202e\\u2030-\\u205e\\u2060-\\u2fff\\u3001-\\ufefe\\uff00-\\u{10ffff}"

struct translation {
    const char *text, *at, *end;
    struct buffer *out;
    struct error *error;
    bool in_class;
};

static enum error_code put(struct translation *translation, const char *text, size_t bytes)
{
    return buffer_append(translation->out, text, bytes, translation->error);
}

static enum error_code put_text(struct translation *translation, const char *text)
{
    return put(translation, text, strlen(text));
}

/* So many bytes as they are; fewer at the end of the text. */
static enum error_code copy(struct translation *translation, size_t bytes)
{
    size_t left = (size_t)(translation->end - translation->at);
    bytes = bytes < left ? bytes : left;
    translation->at += bytes;
    return put(translation, translation->at - bytes, bytes);
}

static enum error_code refuse(struct translation *translation, const char *what)
{
    return error_set(translation->error, ERROR_INVALID,
                     "the pattern is not understood at its byte %zu: ECMA-262 has no such %s",
                     (size_t)(translation->at - translation->text), what);
}

static enum error_code put_spaces(struct translation *translation, bool spaces)
{
    translation->at += 2;
    if (translation->in_class)
        return put_text(translation, spaces ? "\\s" SPACES "\\s" : "\\w" NO_SPACES "\\w");
    return put_text(translation, spaces ? "[\\s" SPACES "]" : "[^\\s" SPACES "]");
}

/* ---- Categories ---- */

/* Unicode's PropertyValueAliases, gc; those of two letters PCRE2 knows itself. */
static const struct category {
    const char *name, *letters;
} categories[] = {
    {"Cased_Letter", "L&"},
    {"Close_Punctuation", "Pe"},
    {"Combining_Mark", "M"},
    {"Connector_Punctuation", "Pc"},
    {"Control", "Cc"},
    {"Currency_Symbol", "Sc"},
    {"Dash_Punctuation", "Pd"},
    {"Decimal_Number", "Nd"},
    {"Enclosing_Mark", "Me"},
    {"Final_Punctuation", "Pf"},
    {"Format", "Cf"},
    {"Initial_Punctuation", "Pi"},
    {"LC", "L&"},
    {"Letter", "L"},
    {"Letter_Number", "Nl"},
    {"Line_Separator", "Zl"},
    {"Lowercase_Letter", "Ll"},
    {"Mark", "M"},
    {"Math_Symbol", "Sm"},
    {"Modifier_Letter", "Lm"},
    {"Modifier_Symbol", "Sk"},
    {"Nonspacing_Mark", "Mn"},
    {"Number", "N"},
    {"Open_Punctuation", "Ps"},
    {"Other", "C"},
    {"Other_Letter", "Lo"},
    {"Other_Number", "No"},
    {"Other_Punctuation", "Po"},
    {"Other_Symbol", "So"},
    {"Paragraph_Separator", "Zp"},
    {"Private_Use", "Co"},
    {"Punctuation", "P"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Spacing_Mark", "Mc"},
    {"Surrogate", "Cs"},
    {"Symbol", "S"},
    {"Titlecase_Letter", "Lt"},
    {"Unassigned", "Cn"},
    {"Uppercase_Letter", "Lu"},
    {"cntrl", "Cc"},
    {"digit", "Nd"},
    {"punct", "P"},
};

static bool drop_prefix(const char **name, size_t *bytes, const char *prefix)
{
    size_t size = strlen(prefix);
    if (*bytes < size || memcmp(*name, prefix, size) != 0)
        return false;
    *name += size;
    *bytes -= size;
    return true;
}

/* \p{…} and \P{…}: scripts and properties of two values are as PCRE2 calls them. */
static enum error_code put_property(struct translation *translation)
{
    const char *name = translation->at + 3;
    const char *brace = translation->end - translation->at > 3 && name[-1] == '{'
                            ? memchr(name, '}', (size_t)(translation->end - name))
                            : NULL;
    if (!brace)
        return refuse(translation, "escape");
    size_t bytes = (size_t)(brace - name);
    enum error_code code = copy(translation, 3);
    if (!drop_prefix(&name, &bytes, "General_Category="))
        drop_prefix(&name, &bytes, "gc=");
    translation->at = brace;
    for (size_t i = 0; i < sizeof categories / sizeof *categories && !code; i++)
        if (strlen(categories[i].name) == bytes && memcmp(categories[i].name, name, bytes) == 0)
            return put_text(translation, categories[i].letters);
    return code ? code : put(translation, name, bytes);
}

/* ---- The text ---- */

static enum error_code put_escape(struct translation *translation)
{
    /* At the end of the text PCRE2 says what is wrong. */
    char c = translation->end - translation->at > 1 ? translation->at[1] : '\\';
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == 's' || c == 'S')
        return put_spaces(translation, c == 's');
    if (c == 'p' || c == 'P')
        return put_property(translation);
    if (letter && !strchr("dDwWbBcfnrtvxuk", c))
        return refuse(translation, "escape");
    return copy(translation, c == 'c' ? 3 : 2);
}

/* "(?i:…)" is of ECMA-262 since 2025. */
static bool is_group(const char *at, size_t bytes)
{
    static const char *const heads[] = {"?:", "?=", "?!", "?<", "?i:", "?-i:"};
    if (bytes == 0 || (*at != '?' && *at != '*'))
        return true;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (bytes >= strlen(heads[i]) && memcmp(at, heads[i], strlen(heads[i])) == 0)
            return true;
    return false;
}

static enum error_code put_group(struct translation *translation)
{
    if (!is_group(translation->at + 1, (size_t)(translation->end - translation->at) - 1))
        return refuse(translation, "group");
    return copy(translation, 1);
}

/* One that begins with ']' is at its end there. */
static enum error_code enter_class(struct translation *translation)
{
    bool negated = translation->end - translation->at > 1 && translation->at[1] == '^';
    translation->in_class = true;
    return copy(translation, negated ? 2 : 1);
}

static enum error_code put_in_class(struct translation *translation)
{
    if (*translation->at == ']')
        translation->in_class = false;
    enum error_code code = *translation->at == '[' ? put_text(translation, "\\") : OK;
    return code ? code : copy(translation, 1);
}

static enum error_code put_next(struct translation *translation)
{
    if (*translation->at == '\\')
        return put_escape(translation);
    if (translation->in_class)
        return put_in_class(translation);
    switch (*translation->at) {
    case '[':
        return enter_class(translation);
    case '(':
        return put_group(translation);
    case '.':
        translation->at++;
        return put_text(translation, "[^\\n\\r\\u2028\\u2029]");
    default:
        return copy(translation, 1);
    }
}

enum error_code schema_ecma_translate(const char *text, size_t text_bytes, struct buffer *out,
                                      struct error *error)
{
    struct translation translation = {text, text, text + text_bytes, out, error, false};
    enum error_code code = OK;
    while (translation.at < translation.end && !code)
        code = put_next(&translation);
    return code;
}
