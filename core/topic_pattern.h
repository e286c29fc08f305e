/*
 * core/topic_pattern.h - which topics are meant: "signal.*", "trade.>".
 *
 * A topic's tokens are what stands between its dots. In a pattern
 *
 *     *      matches any characters but '.', also none
 *     ?      matches one character but '.'
 *     [a-f]  matches one character of a set but '.'; [!a-f] and [^a-f] one that is not in it
 *     >      alone as the last token, matches one token or more: all that follows
 *
 * and everything else matches itself, so that a topic is the pattern of itself. There is no escape:
 * no topic has any of these characters.
 *
 * A pattern that begins with a wildcard matches no topic that begins with '_': those are the log's
 * own ("_gap", "_rejected.…"), and who asks for everything did not ask for them. "_*" and
 * "_rejected.>" do.
 *
 * Nothing is compiled. A match takes at most so many steps as the longer of the two has bytes,
 * times those of the other; patterns are strangers' and this is all that they can cost.
 */
#ifndef DAYBOOK_CORE_TOPIC_PATTERN_H
#define DAYBOOK_CORE_TOPIC_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

enum {
    TOPIC_PATTERN_BYTES_MAX = 255,
    TOPIC_PATTERNS_MAX = 64,
};

/* ERROR_INVALID: a sentence about "the pattern" that says what is wrong with it, and where. */
enum error_code topic_pattern_check(const char *pattern, size_t pattern_bytes, struct error *error);
/* `pattern` has passed the check; what has not is safe, but means nothing. */
bool topic_pattern_match(const char *pattern, size_t pattern_bytes, const char *topic,
                         size_t topic_bytes);

struct topic_pattern {
    char *text; /* ends with a NUL that does not count */
    size_t bytes;
    bool literal; /* no wildcard in it: it matches the topic of this name */
};

/*
 * Several: a topic is meant when one of them matches it, or when there is none. Zero-initialised is
 * empty and valid. Owns copies of the patterns. To look at, change it only by the functions below.
 */
struct topic_patterns {
    struct topic_pattern *items;
    size_t count;
};

/* ERROR_INVALID: the pattern is none, or it is one too many; then nothing was added. */
enum error_code topic_patterns_add(struct topic_patterns *patterns, const char *pattern,
                                   size_t pattern_bytes, struct error *error);
bool topic_patterns_match(const struct topic_patterns *patterns, const char *topic,
                          size_t topic_bytes);
/* Free, and leave an empty valid set. */
void topic_patterns_release(struct topic_patterns *patterns);

#endif
