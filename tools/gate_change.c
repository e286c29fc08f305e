#include "tools/gate_change.h"

#include <string.h>

#include "core/file.h"
#include "segment/lock.h"
#include "segment/schemas_event.h"
#include "segment/schemas_presence.h"

static const char catalogue_path[] = "schemas/catalogue";

/* The version that a change brings; SCHEMAS_REMOVE: NULL. Takes the text. */
static enum error_code make_version(const struct segment_schemas_change *line, struct buffer *text,
                                    struct gate_version **version_out, struct error *error)
{
    *version_out = NULL;
    return line->action == SCHEMAS_ADD ? gate_version_make(line, text, version_out, error) : OK;
}

static enum error_code read_text(const struct gate_change *change,
                                 const struct segment_schemas_change *line, struct buffer *text,
                                 struct error *error)
{
    return line->action == SCHEMAS_ADD
               ? segment_schemas_read_text(change->log_fd, line, text, error)
               : OK;
}

/* Whether it is settled, and when it was noted, apart. */
static bool is_same_change(const struct segment_schemas_change *a,
                           const struct segment_schemas_change *b)
{
    return a->number == b->number && a->action == b->action && strcmp(a->topic, b->topic) == 0 &&
           a->version == b->version && a->mode == b->mode && a->text_bytes == b->text_bytes &&
           a->text_checksum == b->text_checksum;
}

/* ---- When the log is opened ---- */

static enum error_code take_present(struct gate_change *change,
                                    const struct segment_schemas_change *line, struct error *error)
{
    struct buffer text = {0};
    struct gate_version *version;
    struct gate_rule *rule;
    enum error_code code = read_text(change, line, &text, error);
    if (!code)
        code = gate_rules_make(change->rules, line->topic, &rule, error);
    if (!code)
        code = make_version(line, &text, &version, error);
    if (!code)
        gate_rules_exchange(change->rules, rule, version);
    buffer_release(&text);
    return code;
}

static void forget_pending(struct gate_change *change)
{
    gate_rules_drop(change->rules, change->next);
    change->next = NULL;
    change->pending = (struct segment_schemas_change){0};
    change->rule = NULL;
    change->payload.size = 0;
}

/* Everything that can fail, now: when its event has been appended there is no way back. */
static enum error_code stage(struct gate_change *change, const struct segment_schemas_change *line,
                             struct error *error)
{
    struct buffer text = {0};
    forget_pending(change);
    enum error_code code = read_text(change, line, &text, error);
    if (!code)
        code = segment_schemas_event_write(line, &text, &change->payload, error);
    if (!code)
        code = gate_rules_make(change->rules, line->topic, &change->rule, error);
    if (!code)
        code = make_version(line, &text, &change->next, error);
    buffer_release(&text);
    if (code)
        forget_pending(change);
    else
        change->pending = *line;
    return code;
}

/*
 * What nobody can find any more may have been in effect, and must not be unchecked then: a new
 * version is, from now on, and a removal is not. The same command finishes either.
 */
static void take_doubtful(struct gate_change *change)
{
    change->in_doubt = true;
    if (change->pending.action == SCHEMAS_REMOVE)
        return;
    gate_rules_keep(change->rules, change->next);
    gate_rules_drop(change->rules,
                    gate_rules_exchange(change->rules, change->rule, change->next));
}

/* A crash may have come between the change's event and its note in the catalogue. */
static enum error_code settle_pending(struct gate_change *change, const char *directory,
                                      const struct segment_schemas_change *line,
                                      struct error *error)
{
    uint64_t sequence = 0;
    int64_t time_ns = 0;
    enum error_code code = stage(change, line, error);
    if (code)
        return code;
    code = segment_schemas_event_find(directory, line, &change->payload, &sequence, &time_ns,
                                      error);
    if (code == ERROR_NOT_FOUND)
        return OK; /* it still waits for it */
    if (code == ERROR_DAMAGED) {
        take_doubtful(change);
        return OK;
    }
    if (code)
        return code;
    gate_change_apply(change, sequence, time_ns);
    gate_change_settle(change, sequence, NULL); /* else later */
    return OK;
}

/* The status first: what replaces the file in between is looked at again. */
static enum error_code load(struct gate_change *change, struct segment_schemas *schemas_out,
                            struct error *error)
{
    enum error_code code =
        file_status_at(change->log_fd, catalogue_path, &change->catalogue, NULL);
    change->seen = false;
    if (code)
        change->catalogue = (struct stat){0};
    code = segment_schemas_load(change->log_fd, schemas_out, error);
    change->seen = code == OK;
    return code;
}

enum error_code gate_change_init(struct gate_change *change, const char *directory,
                                 struct gate_rules *rules, struct error *error)
{
    struct segment_schemas schemas = {0};
    struct segment_schemas_presence presence = {0};
    *change = (struct gate_change){.rules = rules, .log_fd = -1};
    enum error_code code = file_open_directory_to_read(directory, &change->log_fd, error);
    if (!code)
        code = load(change, &schemas, error);
    if (!code)
        code = segment_schemas_presence_init(&schemas, &presence, error);
    for (size_t i = 0; !code && i < presence.count; i++)
        code = take_present(change, presence.list[i], error);
    const struct segment_schemas_change *pending = segment_schemas_pending(&schemas);
    if (!code && pending)
        code = settle_pending(change, directory, pending, error);
    segment_schemas_presence_release(&presence);
    segment_schemas_free(&schemas);
    return code;
}

void gate_change_release(struct gate_change *change)
{
    gate_rules_drop(change->rules, change->next);
    gate_rules_drop(change->rules, change->before);
    buffer_release(&change->payload);
    file_close(&change->log_fd);
}

/* ---- While events come ---- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool has_changed(const struct gate_change *change)
{
    struct stat now = {0};
    if (file_status_at(change->log_fd, catalogue_path, &now, NULL))
        now = (struct stat){0};
    return !change->seen || !is_same_file(&now, &change->catalogue);
}

/* A failure is tried again with the next event. */
static enum error_code look_again(struct gate_change *change, struct error *error)
{
    struct segment_schemas schemas = {0};
    enum error_code code = load(change, &schemas, error);
    const struct segment_schemas_change *pending = segment_schemas_pending(&schemas);
    if (!code && pending && is_same_change(pending, &change->applied)) {
        forget_pending(change);
        change->unsettled = true;
    } else if (!code && !pending) {
        forget_pending(change);
    } else if (!code) {
        code = stage(change, pending, error);
    }
    if (code)
        change->seen = false;
    segment_schemas_free(&schemas);
    return code;
}

enum error_code gate_change_check(struct gate_change *change, const struct event *event,
                                  struct error *error)
{
    struct error why;
    enum error_code code = has_changed(change) ? look_again(change, &why) : OK;
    if (code)
        return error_set(error, ERROR_INVALID, "the change of a schema cannot be taken up: %s",
                         why.text);
    if (change->pending.number == 0)
        return error_set(error, ERROR_INVALID,
                         "events of topic '" SCHEMAS_EVENT_TOPIC "' come from 'daybook schema' "
                         "only, which notes each change in schemas/catalogue first; none is noted "
                         "there that this log has not taken already");
    if (event->payload_bytes != change->payload.size ||
        memcmp(event->payload, change->payload.data, change->payload.size) != 0)
        return error_set(error, ERROR_INVALID,
                         "events of topic '" SCHEMAS_EVENT_TOPIC "' come from 'daybook schema' "
                         "only; this is not the change that is noted in schemas/catalogue");
    return OK;
}

void gate_change_apply(struct gate_change *change, uint64_t sequence, int64_t time_ns)
{
    gate_rules_drop(change->rules, change->before);
    change->before = gate_rules_exchange(change->rules, change->rule, change->next);
    change->applied = change->pending;
    change->applied.since = sequence;
    change->applied.time_ns = time_ns;
    change->unsettled = true;
    change->in_doubt = false;
    change->applied_rule = change->rule;
    change->next = NULL;
    forget_pending(change);
}

/* The change waits for its event again: the next one that comes makes us look. */
void gate_change_withdraw(struct gate_change *change, uint64_t durable)
{
    if (change->applied.since <= durable)
        return;
    gate_rules_drop(change->rules, gate_rules_exchange(change->rules, change->applied_rule,
                                                       change->before));
    change->before = NULL;
    change->applied = (struct segment_schemas_change){0};
    change->unsettled = false;
    change->applied_rule = NULL;
    change->seen = false;
}

/* Another process may have done it, or have put back a catalogue that knows nothing of it. */
static enum error_code settle_line(struct gate_change *change, struct error *error)
{
    struct segment_schemas schemas = {0};
    enum error_code code = segment_schemas_load(change->log_fd, &schemas, error);
    const struct segment_schemas_change *pending = segment_schemas_pending(&schemas);
    if (!code && pending && is_same_change(pending, &change->applied))
        code = segment_schemas_settle(change->log_fd, &schemas, change->applied.since,
                                      change->applied.time_ns, error);
    segment_schemas_free(&schemas);
    return code;
}

enum error_code gate_change_settle(struct gate_change *change, uint64_t durable,
                                   struct error *error)
{
    int lock_fd = -1;
    if (!change->unsettled || change->applied.since > durable)
        return OK;
    enum error_code code = segment_lock_take(change->log_fd, LOCK_SCHEMAS, &lock_fd, error);
    if (code == ERROR_BUSY)
        return OK;
    if (!code)
        code = settle_line(change, error);
    change->unsettled = code != OK;
    file_close(&lock_fd);
    return code;
}
