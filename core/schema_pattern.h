/*
 * core/schema_pattern.h - regular expressions of JSON Schema.
 *
 * Internal to core/schema_*.c. They are ECMA-262's, in its mode for Unicode, which PCRE2 reads with
 * the options that make it agree, and translated where none does (schema_ecma.h): a pattern may
 * match anywhere, '$' only at the end, characters are Unicode's, \d and \w are ASCII's. How much
 * work one match may be is bounded.
 */
#ifndef DAYBOOK_CORE_SCHEMA_PATTERN_H
#define DAYBOOK_CORE_SCHEMA_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct schema_pattern;
/* What a match needs besides, some of it kept for the next: one serves all patterns of a schema. */
struct schema_matcher;
/* NULL: there is no memory. */
struct schema_matcher *schema_matcher_create(void);
/* Accepts NULL. */
void schema_matcher_free(struct schema_matcher *matcher);

/* ERROR_INVALID says why and at which byte of the pattern. */
enum error_code schema_pattern_compile(const char *text, size_t text_bytes,
                                       struct schema_pattern **pattern_out, struct error *error);
/* Accepts NULL. Frees the list that begins here. */
void schema_pattern_free(struct schema_pattern *pattern);
/* How much memory it takes: up to some hundred times its text, as repetitions are written out. */
size_t schema_pattern_bytes(const struct schema_pattern *pattern);
/* Put it in front of a list. */
void schema_pattern_link(struct schema_pattern *pattern, struct schema_pattern **list);

enum schema_match {
    SCHEMA_MATCH_NO,
    SCHEMA_MATCH_YES,
    SCHEMA_MATCH_GAVE_UP, /* it would take too long: neither can be said */
};
/*
 * What a match may cost in steps of a check, some ten nanoseconds each: in proportion to the text
 * for a pattern that begins with '^', else to its square, as a match is tried at each place.
 */
uint64_t schema_pattern_steps(const struct schema_pattern *pattern, size_t text_bytes);
/*
 * `text` is UTF-8. It is the `nth` match of a check, from 1: the first may backtrack most, so that
 * thousands of texts that each just do not take too long cannot take long together.
 */
enum schema_match schema_pattern_match(const struct schema_pattern *pattern,
                                       struct schema_matcher *matcher, const char *text,
                                       size_t text_bytes, uint32_t nth);

#endif
