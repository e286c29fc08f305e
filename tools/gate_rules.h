/*
 * tools/gate_rules.h - the compiled schemas of a gate, by topic; internal to tools/gate*.c.
 *
 * Threads: one changes and finds rules. Another one, the examiner, may look with hold and drop:
 * what it holds stays, whatever is put in its place meanwhile.
 */
#ifndef DAYBOOK_TOOLS_GATE_RULES_H
#define DAYBOOK_TOOLS_GATE_RULES_H

#include <pthread.h>

#include "core/schema.h"
#include "segment/schemas.h"

/* One version of a schema. Of the two compiled forms each is one thread's (core/schema.h). */
struct gate_version {
    struct schema *schema;
    struct schema *examiners; /* made from `text` when it is first needed */
    struct buffer text;
    uint32_t number;
    enum segment_schemas_mode mode;
    unsigned holders;
};

struct gate_rule {
    char topic[EVENT_TOPIC_BYTES_MAX + 1];
    size_t topic_bytes;
    uint32_t hash;
    struct gate_version *version; /* in effect; NULL: none is */
    uint64_t checked, refused, quarantined, warned;
};

/* A hash table: open addressing, at most half full. */
struct gate_rules {
    pthread_mutex_t mutex;
    struct gate_rule **slots;
    size_t slot_count;       /* a power of two, or 0 */
    struct gate_rule **list; /* in the order in which they came */
    size_t count;
};

void gate_rules_init(struct gate_rules *rules);
void gate_rules_release(struct gate_rules *rules);

/* NULL: the topic has none. */
struct gate_rule *gate_rules_find(const struct gate_rules *rules, const char *topic,
                                  size_t topic_bytes);
/* The topic's, which is made when there is none. It stays where it is until release. */
enum error_code gate_rules_make(struct gate_rules *rules, const char *topic,
                                struct gate_rule **rule_out, struct error *error);
/* Put a version (NULL: none) into effect, and take over the caller's hold on it; returns the one
 * before, which the caller holds now. */
struct gate_version *gate_rules_exchange(struct gate_rules *rules, struct gate_rule *rule,
                                         struct gate_version *version);

/* The version that a change brings, held by the caller; takes the text, whatever is returned. */
enum error_code gate_version_make(const struct segment_schemas_change *line, struct buffer *text,
                                  struct gate_version **version_out, struct error *error);
/* For the examiner: what is in effect for the topic, held; NULL: nothing. */
struct gate_version *gate_rules_hold(struct gate_rules *rules, const char *topic,
                                     size_t topic_bytes);
/* One hold more on a version that is held. */
void gate_rules_keep(struct gate_rules *rules, struct gate_version *version);
/* Accepts NULL. */
void gate_rules_drop(struct gate_rules *rules, struct gate_version *version);

#endif
