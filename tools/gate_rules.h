/*
 * tools/gate_rules.h - the compiled schemas of a gate, by topic; internal to tools/gate*.c.
 */
#ifndef DAYBOOK_TOOLS_GATE_RULES_H
#define DAYBOOK_TOOLS_GATE_RULES_H

#include "core/schema.h"
#include "segment/schemas.h"

struct gate_rule {
    char topic[EVENT_TOPIC_BYTES_MAX + 1];
    size_t topic_bytes;
    uint32_t hash;
    /* What is in effect; schema NULL: nothing is. */
    struct schema *schema;
    uint32_t version;
    enum segment_schemas_mode mode;
    uint64_t checked, refused, quarantined, warned;
};

/* Zero-initialised is empty; release frees. A hash table: open addressing, at most half full. */
struct gate_rules {
    struct gate_rule **slots;
    size_t slot_count; /* a power of two, or 0 */
    struct gate_rule **list; /* in the order in which they came */
    size_t count;
};

/* NULL: the topic has none. */
struct gate_rule *gate_rules_find(const struct gate_rules *rules, const char *topic,
                                  size_t topic_bytes);
/* The topic's, which is made when there is none. It stays where it is until release. */
enum error_code gate_rules_make(struct gate_rules *rules, const char *topic,
                                struct gate_rule **rule_out, struct error *error);
void gate_rules_release(struct gate_rules *rules);

#endif
