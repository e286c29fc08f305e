#include "tools/gate_rules.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"

enum { SLOTS_FIRST = 16 };

void gate_rules_init(struct gate_rules *rules)
{
    *rules = (struct gate_rules){0};
    pthread_mutex_init(&rules->mutex, NULL);
}

/* ---- The table ---- */

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

/* While nobody else looks. */
static enum error_code add(struct gate_rules *rules, struct gate_rule *rule, struct error *error)
{
    pthread_mutex_lock(&rules->mutex);
    enum error_code code = grow(rules, error);
    if (!code) {
        *find_slot(rules, rule->topic, rule->topic_bytes, rule->hash) = rule;
        rules->list[rules->count++] = rule;
    }
    pthread_mutex_unlock(&rules->mutex);
    return code;
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
    rule = calloc(1, sizeof *rule);
    if (!rule)
        return error_set(error, ERROR_MEMORY, "no memory for the schema of a topic");
    memcpy(rule->topic, topic, topic_bytes);
    rule->topic_bytes = topic_bytes;
    rule->hash = checksum_extend(0, topic, topic_bytes);
    enum error_code code = add(rules, rule, error);
    if (code)
        free(rule);
    else
        *rule_out = rule;
    return code;
}

struct gate_version *gate_rules_exchange(struct gate_rules *rules, struct gate_rule *rule,
                                         struct gate_version *version)
{
    pthread_mutex_lock(&rules->mutex);
    struct gate_version *before = rule->version;
    rule->version = version;
    pthread_mutex_unlock(&rules->mutex);
    return before;
}

/* ---- Versions ---- */

static void free_version(struct gate_version *version)
{
    schema_free(version->schema);
    schema_free(version->examiners);
    buffer_release(&version->text);
    free(version);
}

enum error_code gate_version_make(const struct segment_schemas_change *line, struct buffer *text,
                                  struct gate_version **version_out, struct error *error)
{
    struct gate_version *version = calloc(1, sizeof *version);
    struct error why;
    if (!version) {
        buffer_release(text);
        return error_set(error, ERROR_MEMORY, "no memory for the schema of a topic");
    }
    version->text = *text; /* the version owns it now */
    *text = (struct buffer){0};
    version->number = line->version;
    version->mode = line->mode;
    version->holders = 1;
    enum error_code code = schema_compile((const char *)version->text.data, version->text.size,
                                          &version->schema, &why);
    if (code) {
        free_version(version);
        return error_set(error, code, "schema %" PRIu32 " of topic '%s': %s", line->version,
                         line->topic, why.text);
    }
    *version_out = version;
    return OK;
}

struct gate_version *gate_rules_hold(struct gate_rules *rules, const char *topic,
                                     size_t topic_bytes)
{
    pthread_mutex_lock(&rules->mutex);
    const struct gate_rule *rule = gate_rules_find(rules, topic, topic_bytes);
    struct gate_version *version = rule ? rule->version : NULL;
    if (version)
        version->holders++;
    pthread_mutex_unlock(&rules->mutex);
    return version;
}

void gate_rules_keep(struct gate_rules *rules, struct gate_version *version)
{
    pthread_mutex_lock(&rules->mutex);
    version->holders++;
    pthread_mutex_unlock(&rules->mutex);
}

void gate_rules_drop(struct gate_rules *rules, struct gate_version *version)
{
    if (!version)
        return;
    pthread_mutex_lock(&rules->mutex);
    bool last = --version->holders == 0;
    pthread_mutex_unlock(&rules->mutex);
    if (last)
        free_version(version);
}

void gate_rules_release(struct gate_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        gate_rules_drop(rules, rules->list[i]->version);
        free(rules->list[i]);
    }
    free(rules->list);
    free(rules->slots);
    pthread_mutex_destroy(&rules->mutex);
}
