/*
 * tools/daybook/schema_history.h - `daybook schema check`: what of a topic's stored events would
 * fail a schema, and by which rules. Straight from the segments; needs no index.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SCHEMA_HISTORY_H
#define DAYBOOK_TOOLS_DAYBOOK_SCHEMA_HISTORY_H

#include "core/bytes.h"
#include "core/schema.h"
#include "tools/daybook/history.h"

enum {
    SCHEMA_HISTORY_EXAMPLES = 3, /* the first of each rule */
    SCHEMA_HISTORY_RULES = 256,  /* told apart; failures of any other are only counted */
};

struct schema_history_example {
    uint64_t sequence;
    int64_t time_ns;
    struct schema_fault fault;
    char value[80]; /* JSON, cut; "": the pointer is too long to be followed */
};

struct schema_history_rule {
    char rule[sizeof((struct schema_fault *)0)->rule];
    uint64_t count;
    struct schema_history_example examples[SCHEMA_HISTORY_EXAMPLES];
};

/* Zero-initialised is empty; release frees. */
struct schema_history {
    uint64_t events; /* of the topic */
    uint64_t failed;
    uint64_t others; /* failures of rules beyond SCHEMA_HISTORY_RULES */
    struct schema_history_rule *rules; /* in the order of their first failure */
    size_t rule_count;
};

/* Check all events of the topic that the log has now. */
enum error_code schema_history_check(struct history *log, const char *topic, struct schema *schema,
                                     struct schema_history *history, struct error *error);
void schema_history_release(struct schema_history *history);

#endif
