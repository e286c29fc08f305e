#include "tools/gate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/msgpack.h"
#include "segment/schemas_event.h"
#include "tools/gate_change.h"
#include "tools/gate_rules.h"

static const char rejected_prefix[] = SCHEMAS_REJECTED_PREFIX;
static const char dead_prefix[] = "_dead.";

struct gate {
    struct gate_rules rules;
    struct gate_change change;
    struct buffer wrapped; /* payload and topic of an event that is stored instead */
    char wrapped_topic[sizeof rejected_prefix + EVENT_TOPIC_BYTES_MAX];
};

enum error_code gate_open(const char *directory, struct gate **gate_out, struct error *error)
{
    struct gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        return error_set(error, ERROR_MEMORY, "no memory for the schemas of topics");
    gate_rules_init(&gate->rules);
    enum error_code code = gate_change_init(&gate->change, directory, &gate->rules, error);
    if (code) {
        gate_close(gate);
        return code;
    }
    *gate_out = gate;
    return OK;
}

void gate_close(struct gate *gate)
{
    if (!gate)
        return;
    gate_change_release(&gate->change);
    gate_rules_release(&gate->rules);
    buffer_release(&gate->wrapped);
    free(gate);
}

/* ---- An event that does not keep to its schema ---- */

/* The log has this number already: then append says so, and where the first one is. */
static bool is_repeated(struct segment_log *log, const struct event *event)
{
    return event->producer_bytes > 0 &&
           event->number <= segment_log_producer_number(log, event->producer,
                                                        event->producer_bytes);
}

static enum error_code refuse_silently(struct error *error)
{
    error->code = ERROR_INVALID;
    error->text[0] = '\0';
    return ERROR_INVALID;
}

static enum error_code refuse(const struct gate_rule *rule, const struct schema_fault *fault,
                              bool in_words, struct error *error)
{
    if (!in_words)
        return refuse_silently(error);
    return error_set(error, ERROR_INVALID, "payload%s%s: %s (%s of schema %" PRIu32 ")",
                     fault->pointer[0] ? " at " : "", fault->pointer, fault->text, fault->rule,
                     rule->version->number);
}

static bool pack_reason(msgpack_packer *packer, const struct gate_rule *rule,
                        const struct schema_fault *fault)
{
    return msgpack_pack_map(packer, 6) || msgpack_pack_text(packer, "topic") ||
           msgpack_pack_text(packer, rule->topic) || msgpack_pack_text(packer, "version") ||
           msgpack_pack_uint32(packer, rule->version->number) ||
           msgpack_pack_text(packer, "pointer") || msgpack_pack_text(packer, fault->pointer) ||
           msgpack_pack_text(packer, "rule") || msgpack_pack_text(packer, fault->rule) ||
           msgpack_pack_text(packer, "reason") || msgpack_pack_text(packer, fault->text) ||
           msgpack_pack_text(packer, "payload");
}

/* The event that is stored instead; it lives until the next one. */
static enum error_code wrap(struct gate *gate, const struct gate_rule *rule,
                            const struct schema_fault *fault, const struct event *event,
                            struct event *wrapped_out, struct error *error)
{
    struct event wrapped = *event;
    msgpack_packer packer;
    gate->wrapped.size = 0;
    msgpack_packer_to_buffer(&packer, &gate->wrapped);
    if (pack_reason(&packer, rule, fault) ||
        buffer_append(&gate->wrapped, event->payload, event->payload_bytes, NULL))
        return error_set(error, ERROR_MEMORY, "no memory to keep an event as '%s%s'",
                         rejected_prefix, rule->topic);
    snprintf(gate->wrapped_topic, sizeof gate->wrapped_topic, "%s%s", rejected_prefix, rule->topic);
    wrapped.topic = gate->wrapped_topic;
    wrapped.topic_bytes = strlen(gate->wrapped_topic);
    wrapped.payload = gate->wrapped.data;
    wrapped.payload_bytes = gate->wrapped.size;
    enum error_code code = event_check(&wrapped, error);
    if (!code)
        *wrapped_out = wrapped;
    return code;
}

static enum error_code quarantine(struct gate *gate, struct gate_rule *rule,
                                  const struct schema_fault *fault, const struct event *event,
                                  bool in_words, struct event *stored_out, struct error *error)
{
    struct error why;
    enum error_code code = wrap(gate, rule, fault, event, stored_out, &why);
    if (!code)
        return OK;
    rule->refused++;
    refuse(rule, fault, in_words, error);
    if (!in_words)
        return ERROR_INVALID;
    struct error reason = *error;
    return error_set(error, code == ERROR_MEMORY ? code : ERROR_INVALID,
                     "%.440s; and it cannot be kept as '%s…': %.200s", reason.text,
                     rejected_prefix, why.text);
}

/* ---- Appending ---- */

/* What was found before counts as long as the version is the same one. */
static bool keeps_to(const struct gate_rule *rule, const struct event *event,
                     const struct gate_finding *finding, struct schema_fault *fault_out)
{
    if (!finding || finding->version != rule->version)
        return schema_check(rule->version->schema, event->payload, event->payload_bytes,
                            fault_out);
    if (finding->fault)
        *fault_out = *finding->fault;
    return !finding->fault;
}

/*
 * OK: *stored is what is to be appended, the event itself or what stands for it; *count_out, unless
 * it is NULL, counts it then.
 */
static enum error_code admit(struct gate *gate, struct segment_log *log, struct event *stored,
                             const struct gate_finding *finding, bool in_words,
                             uint64_t **count_out, struct error *error)
{
    *count_out = NULL;
    struct schema_fault fault;
    struct gate_rule *rule = gate_rules_find(&gate->rules, stored->topic, stored->topic_bytes);
    if (!rule || !rule->version)
        return OK;
    rule->checked++;
    if (keeps_to(rule, stored, finding, &fault) || is_repeated(log, stored))
        return OK;
    switch (rule->version->mode) {
    case SCHEMAS_WARN:
        *count_out = &rule->warned;
        return OK;
    case SCHEMAS_QUARANTINE: {
        struct event event = *stored;
        *count_out = &rule->quarantined;
        return quarantine(gate, rule, &fault, &event, in_words, stored, error);
    }
    case SCHEMAS_REJECT:
        break;
    }
    rule->refused++;
    return refuse(rule, &fault, in_words, error);
}

static enum error_code append(struct segment_log *log, const struct event *event,
                              enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                              struct error *error)
{
    enum error_code code;
    while ((code = segment_log_append(log, event, outcome_out, sequence_out, error)) ==
           ERROR_BUSY) {
        segment_log_kick(log);
        segment_log_wait_room(log);
    }
    return code;
}

static bool is_change(const struct event *event)
{
    return event->topic_bytes == sizeof SCHEMAS_EVENT_TOPIC - 1 &&
           memcmp(event->topic, SCHEMAS_EVENT_TOPIC, sizeof SCHEMAS_EVENT_TOPIC - 1) == 0;
}

/* What is stored aside is our word, with the reason in it: nobody else's. */
static bool is_rejected(const struct event *event)
{
    return event->topic_bytes >= sizeof rejected_prefix - 1 &&
           memcmp(event->topic, rejected_prefix, sizeof rejected_prefix - 1) == 0;
}

/*
 * Dead letters come from the daemon's groups of subscribers and from nobody else, and so do the
 * numbers of those who write them: a stranger's would keep a letter out as a duplicate.
 */
static bool is_dead_letter(const struct event *event)
{
    const size_t bytes = sizeof dead_prefix - 1;
    return (event->topic_bytes >= bytes && memcmp(event->topic, dead_prefix, bytes) == 0) ||
           (event->producer_bytes >= bytes && memcmp(event->producer, dead_prefix, bytes) == 0);
}

static enum error_code refuse_dead_letter(bool in_words, struct error *error)
{
    if (!in_words)
        return refuse_silently(error);
    return error_set(error, ERROR_INVALID,
                     "topics and producers that begin with '%s' are the daemon's own, for what no "
                     "member of a group could settle: use another name, or leave the event out",
                     dead_prefix);
}

static enum error_code refuse_rejected(bool in_words, struct error *error)
{
    if (!in_words)
        return refuse_silently(error);
    return error_set(error, ERROR_INVALID,
                     "topics that begin with '%s' are where the log's writer keeps what a schema "
                     "did not let through: use another topic, or leave the event out",
                     rejected_prefix);
}

static enum error_code append_change(struct gate *gate, struct segment_log *log,
                                     const struct event *event,
                                     enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                                     struct error *error)
{
    struct event timed = *event; /* its time is noted, too */
    if (timed.time_ns == EVENT_TIME_NONE)
        timed.time_ns = clock_realtime_ns();
    enum error_code code =
        is_repeated(log, event) ? OK : gate_change_check(&gate->change, event, error);
    if (!code)
        code = append(log, &timed, outcome_out, sequence_out, error);
    if (!code && *outcome_out == LOG_APPENDED)
        gate_change_apply(&gate->change, *sequence_out, timed.time_ns);
    return code;
}

enum error_code gate_append(struct gate *gate, struct segment_log *log, const struct event *event,
                            const struct gate_finding *finding, bool in_words,
                            enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                            struct error *error)
{
    if (!gate)
        return append(log, event, outcome_out, sequence_out, error);
    if (is_change(event))
        return append_change(gate, log, event, outcome_out, sequence_out, error);
    if (is_rejected(event) && !is_repeated(log, event))
        return refuse_rejected(in_words, error);
    if (is_dead_letter(event))
        return refuse_dead_letter(in_words, error);
    struct event stored = *event;
    uint64_t *count;
    enum error_code code = admit(gate, log, &stored, finding, in_words, &count, error);
    if (!code)
        code = append(log, &stored, outcome_out, sequence_out, error);
    if (!code && count && *outcome_out == LOG_APPENDED)
        ++*count;
    return code;
}

/* ---- Together ---- */

static enum error_code admit_as_it_is(struct gate *gate, const struct event *event,
                                      const struct gate_finding *finding,
                                      struct gate_rule **warned_out, struct error *error)
{
    struct schema_fault fault;

    *warned_out = NULL;
    if (is_change(event))
        return error_set(error, ERROR_INVALID,
                         "a change of a schema cannot be published together with others, nor with "
                         "an expectation; 'daybook schema' publishes it");
    if (is_rejected(event))
        return refuse_rejected(true, error);
    struct gate_rule *rule =
        gate ? gate_rules_find(&gate->rules, event->topic, event->topic_bytes) : NULL;
    if (!rule || !rule->version)
        return OK;
    rule->checked++;
    if (keeps_to(rule, event, finding, &fault))
        return OK;
    if (rule->version->mode == SCHEMAS_WARN) {
        *warned_out = rule;
        return OK;
    }
    rule->refused++;
    return refuse(rule, &fault, true, error);
}

enum error_code gate_append_together(struct gate *gate, struct segment_log *log,
                                     const struct event *events, size_t count,
                                     const struct gate_finding *findings, uint64_t *sequence_out,
                                     size_t *index_out, struct error *error)
{
    struct gate_rule *warned;
    enum error_code code = OK;

    for (size_t i = 0; i < count && !code; i++) {
        *index_out = i;
        code = admit_as_it_is(gate, &events[i], findings ? &findings[i] : NULL, &warned, error);
        if (warned)
            warned->warned++;
    }
    if (code)
        return code;
    *index_out = SIZE_MAX;
    while ((code = segment_log_append_together(log, events, count, sequence_out, error)) ==
           ERROR_BUSY) {
        segment_log_kick(log);
        segment_log_wait_room(log);
    }
    return code;
}

/* ---- Beforehand, on another thread ---- */

/* Without memory for it nothing is known, and who appends looks again. */
static bool find_fault(struct gate_version *version, const struct event *event,
                       struct schema_fault **fault_out)
{
    struct schema_fault fault;
    if (!version->examiners && schema_compile((const char *)version->text.data,
                                              version->text.size, &version->examiners, NULL))
        return false;
    if (schema_check(version->examiners, event->payload, event->payload_bytes, &fault))
        return true;
    *fault_out = malloc(sizeof **fault_out);
    if (*fault_out)
        **fault_out = fault;
    return *fault_out != NULL;
}

void gate_examine(struct gate *gate, const struct event *event, struct gate_finding *finding_out)
{
    *finding_out = (struct gate_finding){0};
    if (!gate)
        return;
    struct gate_version *version = gate_rules_hold(&gate->rules, event->topic, event->topic_bytes);
    if (version && find_fault(version, event, &finding_out->fault))
        finding_out->version = version;
    else
        gate_rules_drop(&gate->rules, version);
}

void gate_forget(struct gate *gate, struct gate_finding *finding)
{
    if (!gate)
        return;
    gate_rules_drop(&gate->rules, finding->version);
    free(finding->fault);
    *finding = (struct gate_finding){0};
}

void gate_withdraw(struct gate *gate, uint64_t durable)
{
    if (gate)
        gate_change_withdraw(&gate->change, durable);
}

enum error_code gate_settle(struct gate *gate, uint64_t durable, struct error *error)
{
    return gate ? gate_change_settle(&gate->change, durable, error) : OK;
}

bool gate_pending(const struct gate *gate, struct gate_pending *pending_out)
{
    const struct segment_schemas_change *line = gate ? &gate->change.pending : NULL;
    if (!line || line->number == 0)
        return false;
    *pending_out = (struct gate_pending){
        .topic = line->topic,
        .version = line->version,
        .removal = line->action == SCHEMAS_REMOVE,
        .in_doubt = gate->change.in_doubt,
    };
    return true;
}

bool gate_pending_words(const struct gate *gate, char words_out[GATE_WORDS_BYTES])
{
    struct gate_pending pending;
    if (!gate_pending(gate, &pending))
        return false;
    const char *verb = pending.removal ? "remove" : "add";
    if (!pending.in_doubt)
        snprintf(words_out, GATE_WORDS_BYTES,
                 "a change of topic '%s' is noted, but not in effect: 'daybook schema %s' was "
                 "interrupted, and the same command finishes it",
                 pending.topic, verb);
    else
        snprintf(words_out, GATE_WORDS_BYTES,
                 "whether schema %" PRIu32 " of topic '%s' was %s cannot be told any more, as the "
                 "log has lost events since then, by retention or damage: events are held against "
                 "%s from now on, and 'daybook schema %s' finishes it",
                 pending.version, pending.topic, pending.removal ? "removed" : "in effect",
                 pending.removal ? "the schema before" : "it", verb);
    return true;
}

size_t gate_topics(const struct gate *gate)
{
    return gate ? gate->rules.count : 0;
}

struct gate_count gate_count(const struct gate *gate, size_t index)
{
    const struct gate_rule *rule = gate->rules.list[index];
    return (struct gate_count){
        .topic = rule->topic,
        .version = rule->version ? rule->version->number : 0,
        .mode = rule->version ? rule->version->mode : SCHEMAS_REJECT,
        .checked = rule->checked,
        .refused = rule->refused,
        .quarantined = rule->quarantined,
        .warned = rule->warned,
    };
}
