#include "tools/gate_rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"

enum { SLOTS_FIRST = 16 };

static struct gate_rule **find_slot(const struct gate_rules *rules, const char *topic,
                                    size_t topic_bytes, uint32_t hash)
{
    size_t mask = rules->slot_count - 1;
    size_t i = hash & mask;
    for (; rules->slots[i]; i = (i + 1) & mask) {
        const struct gate_rule *rule = rules->slots[i];
        if (rule->hash == hash && rule->topic_bytes == topic_bytes &&
            memcmp(rule->topic, topic, topic_bytes) == 0)
            break;
    }
    return &rules->slots[i];
}

struct gate_rule *gate_rules_find(const struct gate_rules *rules, const char *topic,
                                  size_t topic_bytes)
{
    if (rules->count == 0)
        return NULL;
    return *find_slot(rules, topic, topic_bytes, checksum_extend(0, topic, topic_bytes));
}

/* Room for one more; what is there keeps its place in the list, and finds a new slot. */
static enum error_code grow(struct gate_rules *rules, struct error *error)
{
    if (2 * (rules->count + 1) <= rules->slot_count)
        return OK;
    struct gate_rules larger = *rules;
    larger.slot_count = rules->slot_count ? 2 * rules->slot_count : SLOTS_FIRST;
    larger.slots = calloc(larger.slot_count, sizeof *larger.slots);
    larger.list = realloc(rules->list, larger.slot_count / 2 * sizeof *larger.list);
    if (larger.list)
        rules->list = larger.list;
    if (!larger.slots || !larger.list) {
        free(larger.slots);
        return error_set(error, ERROR_MEMORY, "no memory for the schemas of topics");
    }
    for (size_t i = 0; i < rules->count; i++) {
        struct gate_rule *rule = rules->list[i];
        *find_slot(&larger, rule->topic, rule->topic_bytes, rule->hash) = rule;
    }
    free(rules->slots);
    *rules = larger;
    return OK;
}

enum error_code gate_rules_make(struct gate_rules *rules, const char *topic,
                                struct gate_rule **rule_out, struct error *error)
{
    size_t topic_bytes = strlen(topic);
    assert(topic_bytes <= EVENT_TOPIC_BYTES_MAX);
    struct gate_rule *rule = gate_rules_find(rules, topic, topic_bytes);
    if (rule) {
        *rule_out = rule;
        return OK;
    }
    enum error_code code = grow(rules, error);
    if (code)
        return code;
    rule = calloc(1, sizeof *rule);
    if (!rule)
        return error_set(error, ERROR_MEMORY, "no memory for the schema of a topic");
    memcpy(rule->topic, topic, topic_bytes);
    rule->topic_bytes = topic_bytes;
    rule->hash = checksum_extend(0, topic, topic_bytes);
    *find_slot(rules, topic, topic_bytes, rule->hash) = rule;
    rules->list[rules->count++] = rule;
    *rule_out = rule;
    return OK;
}

void gate_rules_release(struct gate_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        schema_free(rules->list[i]->schema);
        free(rules->list[i]);
    }
    free(rules->list);
    free(rules->slots);
    *rules = (struct gate_rules){0};
}
