#include "core/topic_pattern.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"

#define ALLOWED "a topic has A-Z a-z 0-9 _ . : / -, and a pattern also * ? [ ] >"

static bool is_wildcard(char c)
{
    return c == '*' || c == '?' || c == '[' || c == '>';
}

static bool is_topic_byte(char c)
{
    return event_check_topic(&c, 1, NULL) == OK;
}

static enum error_code refuse_byte(char c, size_t position, struct error *error)
{
    if (c > 0x20 && c < 0x7f)
        return error_set(error, ERROR_INVALID,
                         "the pattern can match no topic: it has '%c' at position %zu; " ALLOWED, c,
                         position + 1);
    return error_set(error, ERROR_INVALID,
                     "the pattern can match no topic: it has %s0x%02x at position %zu; " ALLOWED,
                     c == ' ' ? "a space, " : "the byte ", (unsigned)(unsigned char)c,
                     position + 1);
}

/* Where the members of the set that begins at `set` begin: behind "[", "[!" or "[^". */
static size_t members_at(const char *set, size_t bytes)
{
    return bytes > 1 && (set[1] == '!' || set[1] == '^') ? 2 : 1;
}

/* Check the set at `at`, and give its bytes. */
static enum error_code check_set(const char *pattern, size_t bytes, size_t at, size_t *bytes_out,
                                 struct error *error)
{
    size_t first = at + members_at(pattern + at, bytes - at);
    size_t end = first;
    for (; end < bytes && pattern[end] != ']'; end++)
        if (!is_topic_byte(pattern[end]))
            return refuse_byte(pattern[end], end, error);
    if (end == bytes)
        return error_set(error, ERROR_INVALID,
                         "the pattern has a '[' at position %zu that no ']' ends", at + 1);
    if (end == first)
        return error_set(error, ERROR_INVALID,
                         "the pattern has a set without characters at position %zu", at + 1);
    *bytes_out = end + 1 - at;
    return OK;
}

/* Only "everything that follows" can be said so: alone, and at the end. */
static enum error_code check_rest(const char *pattern, size_t bytes, size_t at, struct error *error)
{
    if (at + 1 == bytes && (at == 0 || pattern[at - 1] == '.'))
        return OK;
    return error_set(error, ERROR_INVALID,
                     "the pattern has '>' at position %zu; it may only be alone the last token, as "
                     "in 'orders.>'",
                     at + 1);
}

enum error_code topic_pattern_check(const char *pattern, size_t pattern_bytes, struct error *error)
{
    if (pattern_bytes == 0)
        return error_set(error, ERROR_INVALID, "the pattern is empty");
    if (pattern_bytes > TOPIC_PATTERN_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "the pattern has %zu bytes, more than %d",
                         pattern_bytes, TOPIC_PATTERN_BYTES_MAX);
    for (size_t at = 0, step; at < pattern_bytes; at += step) {
        enum error_code code = OK;
        char c = pattern[at];
        step = 1;
        if (c == '[')
            code = check_set(pattern, pattern_bytes, at, &step, error);
        else if (c == '>')
            code = check_rest(pattern, pattern_bytes, at, error);
        else if (!is_wildcard(c) && !is_topic_byte(c))
            code = refuse_byte(c, at, error);
        if (code)
            return code;
    }
    return OK;
}

/* The set's bytes when `c` is meant by it, else 0. */
static size_t set_takes(const char *set, size_t bytes, char c)
{
    size_t first = members_at(set, bytes);
    bool negated = first == 2, member = false;
    size_t i = first;
    for (; i < bytes && set[i] != ']'; i++) {
        char low = set[i], high = low;
        if (i + 2 < bytes && set[i + 1] == '-' && set[i + 2] != ']') {
            high = set[i + 2];
            i += 2;
        }
        member = member || (c >= low && c <= high);
    }
    return i < bytes && member != negated ? i + 1 : 0;
}

/* How many bytes of the pattern are used up when its first element takes `c`; 0: it does not. */
static size_t element_takes(const char *pattern, size_t bytes, char c)
{
    if (pattern[0] == c)
        return 1;
    if (c == '.')
        return 0;
    if (pattern[0] == '?')
        return 1;
    return pattern[0] == '[' ? set_takes(pattern, bytes, c) : 0;
}

/*
 * Only the last '*' is ever tried again: what an earlier one of the same token takes less, the last
 * one can take, and one of an earlier token ends where that token does.
 */
static bool matches(const char *pattern, size_t pattern_bytes, const char *topic,
                    size_t topic_bytes)
{
    size_t p = 0, t = 0;
    size_t behind_star = SIZE_MAX; /* in the pattern; SIZE_MAX: none in this token */
    size_t star_end = 0;           /* where in the topic that '*' ends, as tried now */
    for (;;) {
        size_t used = 0;
        if (p < pattern_bytes && pattern[p] == '>')
            return true;
        if (p < pattern_bytes && pattern[p] == '*') {
            behind_star = ++p;
            star_end = t;
            continue;
        }
        if (p == pattern_bytes && t == topic_bytes)
            return true;
        if (p < pattern_bytes && t < topic_bytes)
            used = element_takes(pattern + p, pattern_bytes - p, topic[t]);
        if (used) {
            if (topic[t] == '.')
                behind_star = SIZE_MAX;
            p += used;
            t++;
        } else {
            if (behind_star == SIZE_MAX || star_end == topic_bytes || topic[star_end] == '.')
                return false;
            p = behind_star;
            t = ++star_end;
        }
    }
}

bool topic_pattern_match(const char *pattern, size_t pattern_bytes, const char *topic,
                         size_t topic_bytes)
{
    bool own = topic_bytes > 0 && topic[0] == '_';
    if (own && pattern_bytes > 0 && is_wildcard(pattern[0]))
        return false;
    return matches(pattern, pattern_bytes, topic, topic_bytes);
}

static bool is_literal(const char *pattern, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (is_wildcard(pattern[i]))
            return false;
    return true;
}

enum error_code topic_patterns_add(struct topic_patterns *patterns, const char *pattern,
                                   size_t pattern_bytes, struct error *error)
{
    enum error_code code = topic_pattern_check(pattern, pattern_bytes, error);
    if (code)
        return code;
    if (patterns->count == TOPIC_PATTERNS_MAX)
        return error_set(error, ERROR_INVALID,
                         "these are more than %d patterns; one with a wildcard does for many "
                         "topics",
                         TOPIC_PATTERNS_MAX);
    struct topic_pattern *items =
        realloc(patterns->items, (patterns->count + 1) * sizeof *patterns->items);
    if (items)
        patterns->items = items;
    char *text = items ? strndup(pattern, pattern_bytes) : NULL;
    if (!text)
        return error_set(error, ERROR_MEMORY, "no memory for the pattern");
    patterns->items[patterns->count++] =
        (struct topic_pattern){text, pattern_bytes, is_literal(pattern, pattern_bytes)};
    return OK;
}

static bool item_matches(const struct topic_pattern *item, const char *topic, size_t topic_bytes)
{
    if (item->literal)
        return item->bytes == topic_bytes && memcmp(item->text, topic, topic_bytes) == 0;
    return topic_pattern_match(item->text, item->bytes, topic, topic_bytes);
}

bool topic_patterns_match(const struct topic_patterns *patterns, const char *topic,
                          size_t topic_bytes)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (item_matches(&patterns->items[i], topic, topic_bytes))
            return true;
    return patterns->count == 0;
}

void topic_patterns_release(struct topic_patterns *patterns)
{
    for (size_t i = 0; i < patterns->count; i++)
        free(patterns->items[i].text);
    free(patterns->items);
    *patterns = (struct topic_patterns){0};
}
