#include "core/topic_pattern.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static bool match(const char *pattern, const char *topic)
{
    cr_assert_eq(topic_pattern_check(pattern, strlen(pattern), NULL), OK, "'%s'", pattern);
    return topic_pattern_match(pattern, strlen(pattern), topic, strlen(topic));
}

Test(topic_pattern, says_which_topics_are_meant)
{
    static const struct {
        const char *pattern, *topic;
        bool matches;
    } CASES[] = {
        {"orders", "orders", true},
        {"orders", "orders.new", false},
        {"orders.new", "orders", false},
        {"orders.*", "orders.new", true},
        {"orders.*", "orders.eu.new", false},
        {"orders.*", "orders", false},
        {"orders.*", "orders.", true}, /* a token may be empty */
        {"*.new", "orders.new", true},
        {"*.new", "orders.eu.new", false},
        {"orders.*.new", "orders.eu.new", true},
        {"o*s.n*", "orders.new", true},
        {"o*s.n*", "orders.new.x", false},
        {"*r*r*r*.*", "orders.new", false},
        {"*r*r*.*", "orders.new", true},
        {"orders**", "orders", true},
        {"orders.ne?", "orders.new", true},
        {"orders.ne?", "orders.ne", false},
        {"orders?new", "orders.new", false},
        {"orders?new", "orders:new", true},
        {"orders.>", "orders.new", true},
        {"orders.>", "orders.eu.new", true},
        {"orders.>", "orders", false},
        {"orders.>", "order.new", false},
        {"*.>", "orders.eu.new", true},
        {"*.>", "orders", false},
        {">", "orders", true},
        {">", "orders.eu.new", true},
        {"order[s-u].*", "orders.x", true},
        {"order[!s-u].*", "orders.x", false},
        {"order[^s-u].*", "orderz.x", true},
        {"order[abs].*", "orders.x", true},
        {"a[b-]c", "a-c", true},
        {"a[--0]c", "a.c", false}, /* '.' is in no set, though it stands between '-' and '0' */
        {"a[!x]c", "a.c", false},
        {"a[.]c", "a.c", false},
        /* The log's own are only meant by who names them. */
        {"*", "_gap", false},
        {">", "_gap", false},
        {"?gap", "_gap", false},
        {"[_]gap", "_gap", false},
        {"_*", "_gap", true},
        {"_gap", "_gap", true},
        {"_rejected.>", "_rejected.a.b", true},
        {"a.*", "a._b", true},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        cr_assert_eq(match(CASES[i].pattern, CASES[i].topic), CASES[i].matches, "'%s' '%s'",
                     CASES[i].pattern, CASES[i].topic);
}

/* The definition, word for word: whatever a wildcard may take is tried. Sets are not in it. */
static bool means(const char *pattern, const char *topic)
{
    if (*pattern == '\0')
        return *topic == '\0';
    if (*pattern == '>')
        return true;
    if (*pattern == '*')
        return means(pattern + 1, topic) ||
               (*topic && *topic != '.' && means(pattern, topic + 1));
    if (*pattern == '?')
        return *topic && *topic != '.' && means(pattern + 1, topic + 1);
    return *pattern == *topic && means(pattern + 1, topic + 1);
}

static bool asked_for(const char *pattern, const char *topic)
{
    return !(*topic == '_' && strchr("*?>", *pattern)) && means(pattern, topic);
}

/* The `number`-th text of `length` letters. */
static void spell(size_t number, const char *letters, size_t length, char *text_out)
{
    for (size_t i = 0; i < length; i++, number /= strlen(letters))
        text_out[i] = letters[number % strlen(letters)];
    text_out[length] = '\0';
}

static size_t power(size_t base, size_t exponent)
{
    return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

static void expect_as_defined(const char *pattern)
{
    static const char LETTERS[] = "ab._";
    for (size_t length = 1; length <= 5; length++)
        for (size_t i = 0; i < power(strlen(LETTERS), length); i++) {
            char topic[8];
            spell(i, LETTERS, length, topic);
            cr_assert_eq(topic_pattern_match(pattern, strlen(pattern), topic, length),
                         asked_for(pattern, topic), "'%s' '%s'", pattern, topic);
        }
}

Test(topic_pattern, matches_as_defined_for_all_short_patterns_and_topics)
{
    static const char LETTERS[] = "a.*?>_";
    size_t tried = 0;
    for (size_t length = 1; length <= 5; length++)
        for (size_t i = 0; i < power(strlen(LETTERS), length); i++) {
            char pattern[8];
            spell(i, LETTERS, length, pattern);
            if (topic_pattern_check(pattern, length, NULL))
                continue;
            expect_as_defined(pattern);
            tried++;
        }
    cr_assert_gt(tried, 3000);
}

/* Were every '*' tried with every other, this would not end. */
Test(topic_pattern, costs_no_more_than_its_bytes_times_the_topics)
{
    char pattern[TOPIC_PATTERN_BYTES_MAX + 1], topic[256];
    for (size_t i = 0; i + 1 < sizeof pattern; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 2] = 'b';
    pattern[sizeof pattern - 1] = '\0';
    memset(topic, 'a', 255);
    topic[255] = '\0';
    cr_assert_not(match(pattern, topic));
    topic[254] = 'b';
    cr_assert(match(pattern, topic));
}

Test(topic_pattern, says_what_is_wrong_with_a_pattern)
{
    static const struct {
        const char *pattern, *text;
    } CASES[] = {
        {"", "the pattern is empty"},
        {"a b", "the pattern can match no topic: it has a space, 0x20 at position 2; a topic has "
                "A-Z a-z 0-9 _ . : / -, and a pattern also * ? [ ] >"},
        {"a\n", "the pattern can match no topic: it has the byte 0x0a at position 2; a topic has "
                "A-Z a-z 0-9 _ . : / -, and a pattern also * ? [ ] >"},
        {"a.$", "the pattern can match no topic: it has '$' at position 3; a topic has "
                "A-Z a-z 0-9 _ . : / -, and a pattern also * ? [ ] >"},
        {"a]", "the pattern can match no topic: it has ']' at position 2; a topic has "
               "A-Z a-z 0-9 _ . : / -, and a pattern also * ? [ ] >"},
        {"[a*]", "the pattern can match no topic: it has '*' at position 3; a topic has "
                 "A-Z a-z 0-9 _ . : / -, and a pattern also * ? [ ] >"},
        {"x[abc", "the pattern has a '[' at position 2 that no ']' ends"},
        {"x[!", "the pattern has a '[' at position 2 that no ']' ends"},
        {"x[", "the pattern has a '[' at position 2 that no ']' ends"},
        {"x[]", "the pattern has a set without characters at position 2"},
        {"x[!]", "the pattern has a set without characters at position 2"},
        {"a.>.b", "the pattern has '>' at position 3; it may only be alone the last token, as in "
                  "'orders.>'"},
        {"a>", "the pattern has '>' at position 2; it may only be alone the last token, as in "
               "'orders.>'"},
        {">>", "the pattern has '>' at position 1; it may only be alone the last token, as in "
               "'orders.>'"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct error error = {0};
        const char *pattern = CASES[i].pattern;
        cr_assert_eq(topic_pattern_check(pattern, strlen(pattern), &error), ERROR_INVALID, "'%s'",
                     pattern);
        cr_assert_str_eq(error.text, CASES[i].text);
    }
    char endless[TOPIC_PATTERN_BYTES_MAX + 1];
    struct error error = {0};
    memset(endless, 'a', sizeof endless);
    cr_assert_eq(topic_pattern_check(endless, sizeof endless, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, "the pattern has 256 bytes, more than 255");
    cr_assert_eq(topic_pattern_check(endless, sizeof endless - 1, NULL), OK);
}

/* Strangers' bytes may reach the matcher; it reads nothing behind them (the sanitizers look). */
Test(topic_pattern, reads_nothing_behind_its_pattern)
{
    static const char *const PATTERNS[] = {"[", "[!", "[a", "[a-", "[a-z", "a[", "*", "*["};
    for (size_t i = 0; i < sizeof PATTERNS / sizeof PATTERNS[0]; i++) {
        char *pattern = strdup(PATTERNS[i]), *exact = realloc(pattern, strlen(PATTERNS[i]));
        memcpy(exact, PATTERNS[i], strlen(PATTERNS[i]));
        topic_pattern_match(exact, strlen(PATTERNS[i]), "abc", 3);
        free(exact);
    }
}

static bool meant(const struct topic_patterns *patterns, const char *topic)
{
    return topic_patterns_match(patterns, topic, strlen(topic));
}

Test(topic_pattern, of_several_takes_what_one_of_them_matches)
{
    struct topic_patterns patterns = {0};
    cr_assert(meant(&patterns, "any"));
    cr_assert(meant(&patterns, "_gap"), "no pattern at all matches everything");

    cr_assert_eq(topic_patterns_add(&patterns, "signal.*", 8, NULL), OK);
    cr_assert_eq(topic_patterns_add(&patterns, "trade.buyXXX", 9, NULL), OK);
    cr_assert_eq(patterns.count, 2);
    cr_assert(meant(&patterns, "signal.a"));
    cr_assert(meant(&patterns, "trade.buy"));
    cr_assert_not(meant(&patterns, "trade.buyXXX"));
    cr_assert_not(meant(&patterns, "trade"));
    cr_assert_not(meant(&patterns, "any"));

    struct error error = {0};
    cr_assert_eq(topic_patterns_add(&patterns, "a b", 3, &error), ERROR_INVALID);
    cr_assert_eq(patterns.count, 2);
    while (patterns.count < TOPIC_PATTERNS_MAX)
        cr_assert_eq(topic_patterns_add(&patterns, "x", 1, NULL), OK);
    cr_assert_eq(topic_patterns_add(&patterns, "x", 1, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text, "these are more than 64 patterns; one with a wildcard does for "
                                 "many topics");
    topic_patterns_release(&patterns);
    cr_assert_eq(patterns.count, 0);
    cr_assert(meant(&patterns, "any"));
}
