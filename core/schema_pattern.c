#include "core/schema_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/schema_ecma.h"

/*
 * A pattern that backtracks little needs a few. Of one that is not anchored PCRE2 counts anew for
 * each place where it tries, so the limit is divided among them.
 */
enum {
    MATCH_STEPS_MAX = 100000,
    MATCH_STEPS_MIN = 250,
    MATCH_HEAP_KIB = 4096,
    MATCH_COST = 64, /* steps of a check, for a match of a short text */
};

struct schema_pattern {
    pcre2_code *code;
    bool anchored;
    struct schema_pattern *next;
};

struct schema_matcher {
    pcre2_match_data *data; /* keeps up to MATCH_HEAP_KIB */
    pcre2_match_context *context;
};

struct schema_matcher *schema_matcher_create(void)
{
    struct schema_matcher *matcher = calloc(1, sizeof *matcher);
    if (!matcher)
        return NULL;
    matcher->data = pcre2_match_data_create(1, NULL);
    matcher->context = pcre2_match_context_create(NULL);
    if (!matcher->data || !matcher->context) {
        schema_matcher_free(matcher);
        return NULL;
    }
    pcre2_set_heap_limit(matcher->context, MATCH_HEAP_KIB);
    return matcher;
}

void schema_matcher_free(struct schema_matcher *matcher)
{
    if (!matcher)
        return;
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    free(matcher);
}

static void free_one(struct schema_pattern *pattern)
{
    pcre2_code_free(pattern->code);
    free(pattern);
}

void schema_pattern_free(struct schema_pattern *pattern)
{
    while (pattern) {
        struct schema_pattern *next = pattern->next;
        free_one(pattern);
        pattern = next;
    }
}

void schema_pattern_link(struct schema_pattern *pattern, struct schema_pattern **list)
{
    pattern->next = *list;
    *list = pattern;
}

/* *at_out: where it fails. */
static pcre2_code *compile_text(const void *text, size_t text_bytes, int *failure_out,
                                size_t *at_out)
{
    const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX |
                             PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS |
                             PCRE2_NEVER_BACKSLASH_C;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    *failure_out = PCRE2_ERROR_NOMEMORY;
    *at_out = 0;
    if (!context)
        return NULL;
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    pcre2_code *code = pcre2_compile(text, text_bytes, options, failure_out, at_out, context);
    pcre2_compile_context_free(context);
    return code;
}

static enum error_code compile(struct schema_pattern *pattern, const char *text, size_t text_bytes,
                               struct error *error)
{
    struct buffer translated = {0};
    int failure = 0;
    size_t at = 0;
    enum error_code code = schema_ecma_translate(text, text_bytes, &translated, error);
    if (!code) {
        const void *bytes = translated.size ? translated.data : (const uint8_t *)"";
        pattern->code = compile_text(bytes, translated.size, &failure, &at);
    }
    buffer_release(&translated);
    if (code || pattern->code)
        return code;
    if (failure == PCRE2_ERROR_NOMEMORY)
        return error_set(error, ERROR_MEMORY, "no memory for a pattern");
    /* Where: as a rule what was written fails, too. Else its translation is too long. */
    int ignored;
    pcre2_code *original = compile_text(text, text_bytes, &ignored, &at);
    pcre2_code_free(original);
    at = original ? text_bytes : at;
    PCRE2_UCHAR why[120];
    pcre2_get_error_message(failure, why, sizeof why);
    return error_set(error, ERROR_INVALID, "the pattern is not understood at its byte %zu: %s", at,
                     (const char *)why);
}

enum error_code schema_pattern_compile(const char *text, size_t text_bytes,
                                       struct schema_pattern **pattern_out, struct error *error)
{
    struct schema_pattern *pattern = calloc(1, sizeof *pattern);
    if (!pattern)
        return error_set(error, ERROR_MEMORY, "no memory for a pattern");
    enum error_code code = compile(pattern, text, text_bytes, error);
    if (code) {
        free_one(pattern);
        return code;
    }
    uint32_t options = 0;
    pcre2_pattern_info(pattern->code, PCRE2_INFO_ALLOPTIONS, &options);
    pattern->anchored = options & PCRE2_ANCHORED;
    /* Where it cannot be had, as in a process that may not make code, matching is only slower. */
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    *pattern_out = pattern;
    return OK;
}

size_t schema_pattern_bytes(const struct schema_pattern *pattern)
{
    size_t code = 0, machine_code = 0;
    pcre2_pattern_info(pattern->code, PCRE2_INFO_SIZE, &code);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_JITSIZE, &machine_code);
    return sizeof *pattern + code + machine_code;
}

uint64_t schema_pattern_steps(const struct schema_pattern *pattern, size_t text_bytes)
{
    uint64_t bytes = text_bytes;
    return MATCH_COST + bytes / 16 * (pattern->anchored ? 1 : bytes / 64 + 1);
}

enum schema_match schema_pattern_match(const struct schema_pattern *pattern,
                                       struct schema_matcher *matcher, const char *text,
                                       size_t text_bytes, uint32_t nth)
{
    size_t limit = MATCH_STEPS_MAX / nth / (pattern->anchored ? 1 : text_bytes + 1);
    pcre2_set_match_limit(matcher->context,
                          (uint32_t)(limit < MATCH_STEPS_MIN ? MATCH_STEPS_MIN : limit));
    int result = pcre2_match(pattern->code, (PCRE2_SPTR)text, text_bytes, 0, PCRE2_NO_UTF_CHECK,
                             matcher->data, matcher->context);
    /* The compiled code has a small stack of its own. */
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(pattern->code, (PCRE2_SPTR)text, text_bytes, 0,
                             PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, matcher->data, matcher->context);
    if (result >= 0)
        return SCHEMA_MATCH_YES;
    return result == PCRE2_ERROR_NOMATCH ? SCHEMA_MATCH_NO : SCHEMA_MATCH_GAVE_UP;
}
