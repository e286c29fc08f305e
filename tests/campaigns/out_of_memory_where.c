/*
 * Conditions are compiled and asked while memory runs out: each answer, and each refusal, is the
 * one of a healthy run, or there was no memory.
 */
#include <string.h>

#include "indexer/where.h"
#include "tests/campaigns/campaign.h"
#include "tests/campaigns/out_of_memory.h"

static const struct {
    const char *text;
    bool refused, matches;
} conditions[] = {
    {"n > 4 AND s = 's3' AND \"in\" = '[5]'", false, true},
    {"payload LIKE '%\"n\":5%' AND time > '1970' AND topic GLOB 'a*'", false, true},
    {"daybook_field(payload, 'in[0]') = 5 AND instr(s, '3') = 2", false, true},
    {"json_extract(payload, '$.n') || s = '5s3'", false, true},
    {"daybook_field('{\"a\":7}', 'a') = 7", false, true},
    {"ts > daybook_time('2026-01-02 03:04')", false, false},
    {"n > 1 AND N > 1", true, false},
    {"\"a[\" > 1", true, false},
    {"(SELECT 1)", true, false},
    {"datetime()", true, false},
    {"n >", true, false},
};

/* True: the question is answered. */
static bool took(struct faults_case *c, const char *text, enum error_code code,
                 const struct error *error)
{
    if (code == ERROR_MEMORY && atomic_load(&c->failed_hits) > 0)
        return false;
    if (code && code != ERROR_INVALID)
        faults_case_blame(c, "%s gives %s: %s", text, error_name(code), error->text);
    return true;
}

static void ask(struct faults_case *c, size_t i, const struct event *event)
{
    struct indexer_where *where = NULL;
    struct error error = {0};
    bool matches = false;
    const char *text = conditions[i].text;
    enum error_code code = indexer_where_compile(text, strlen(text), &where, &error);
    if (took(c, text, code, &error) && (code != OK) != conditions[i].refused)
        faults_case_blame(c, "%s is %s: %s", text, code ? "refused" : "not refused", error.text);
    for (int again = 0; where && again < 2; again++) {
        code = indexer_where_match(where, event, &matches, &error);
        if (took(c, text, code, &error) && (code || matches != conditions[i].matches))
            faults_case_blame(c, "%s gives %d, and code %d: %s", text, matches, code, error.text);
    }
    indexer_where_free(where);
}

void out_of_memory_where(struct faults_case *c)
{
    static const uint8_t payload[] = {0x83, 0xa1, 'n', 5,    0xa1, 's', 0xa2, 's',
                                      '3',  0xa2, 'i', 'n', 0x91, 5};
    struct event event = {.sequence = 7,
                          .time_ns = 7,
                          .topic = "a.b",
                          .topic_bytes = 3,
                          .payload = payload,
                          .payload_bytes = sizeof payload};
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
        ask(c, i, &event);
}
