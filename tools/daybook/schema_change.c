#include "tools/daybook/schema_change.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/gap.h"
#include "segment/lock.h"
#include "segment/reader.h"
#include "segment/schemas_event.h"

/* How long an event may take from a daemon's memory to its disk, and between two looks for it. */
#define FIND_PATIENCE_NS (INT64_C(2) * 1000000000)
#define FIND_PAUSE_NS    (INT64_C(10) * 1000000)
/* How long others may change schemas, and the writer may take to settle what we cannot find. */
#define LOCK_PATIENCE_NS   (INT64_C(10) * 1000000000)
#define WRITER_PATIENCE_NS (INT64_C(5) * 1000000000)

/* One run of the command. */
struct changing {
    struct publisher_options options;
    int log_fd, lock_fd;
    struct segment_schemas schemas;
    struct publisher *publisher; /* NULL: not needed so far */
    char refusal[sizeof((struct error *)0)->text]; /* why the event was not taken */
};

enum error_code schema_change_check_topic(const char *topic, struct error *error)
{
    enum error_code code = event_check_topic(topic, strlen(topic), error);
    if (code)
        return code;
    if (strcmp(topic, SCHEMAS_EVENT_TOPIC) == 0 || strcmp(topic, GAP_TOPIC) == 0 ||
        strncmp(topic, SCHEMAS_REJECTED_PREFIX, sizeof SCHEMAS_REJECTED_PREFIX - 1) == 0)
        return error_set(error, ERROR_INVALID,
                         "the topic '%s' is Daybook's own and cannot have a schema", topic);
    return OK;
}

static void take_refusal(void *context, uint64_t tag, const char *reason)
{
    struct changing *changing = context;
    (void)tag;
    snprintf(changing->refusal, sizeof changing->refusal, "%s", reason);
}

static void take_unknown(void *context, uint64_t tag)
{
    take_refusal(context, tag, "the connection to the daemon was lost");
}

/* Before anything is noted: where nobody takes the event, nothing is to be left behind. */
static enum error_code reach_writer(struct changing *changing, struct error *error)
{
    struct publisher_options *options = &changing->options;
    if (changing->publisher)
        return OK;
    options->producer = NULL;
    options->ack = DAYBOOK_ACK_DURABLE;
    options->refused = take_refusal;
    options->unknown = take_unknown;
    options->context = changing;
    enum error_code code = publisher_open(options, &changing->publisher, error);
    if (code || publisher_checks_schemas(changing->publisher))
        return code;
    return error_set(error, ERROR_VERSION,
                     "the daemon at '%s' is of an older release, which knows no schemas: restart "
                     "it with this one",
                     options->socket);
}

/* The event's own time, so that it is known without reading the log again. */
static enum error_code publish(struct changing *changing, const struct buffer *payload,
                               struct error *error)
{
    struct event event = {
        .time_ns = clock_realtime_ns(),
        .topic = SCHEMAS_EVENT_TOPIC,
        .topic_bytes = strlen(SCHEMAS_EVENT_TOPIC),
        .payload = payload->data,
        .payload_bytes = payload->size,
    };
    changing->refusal[0] = '\0';
    enum error_code code = publisher_send(changing->publisher, &event, 1, error);
    return code ? code : publisher_flush(changing->publisher, error);
}

static enum error_code read_text(const struct changing *changing,
                                 const struct segment_schemas_change *line, struct buffer *text,
                                 struct error *error)
{
    return line->action == SCHEMAS_ADD
               ? segment_schemas_read_text(changing->log_fd, line, text, error)
               : OK;
}

/* For good, or nobody can tell (segment_schemas_event_find): then once more does no harm. */
static bool is_missing(enum error_code code)
{
    return code == ERROR_NOT_FOUND || code == ERROR_DAMAGED;
}

/*
 * Where the event is. One that a killed command has sent before us may be with the daemon, which
 * then refuses ours, and on the disk a moment later.
 */
static enum error_code find_soon(const char *directory, const struct segment_schemas_change *line,
                                 const struct buffer *payload, uint64_t *sequence_out,
                                 int64_t *time_out_ns, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + FIND_PATIENCE_NS;
    for (;;) {
        enum error_code code = segment_schemas_event_find(directory, line, payload, sequence_out,
                                                          time_out_ns, error);
        int64_t now_ns = clock_monotonic_ns();
        if (!is_missing(code) || now_ns >= deadline_ns)
            return code;
        clock_sleep_until_ns(now_ns + FIND_PAUSE_NS);
    }
}

/* Publish unless it is there; then look where it is, whatever the answer was. */
static enum error_code publish_and_find(struct changing *changing,
                                        const struct segment_schemas_change *line,
                                        const struct buffer *payload, uint64_t *sequence_out,
                                        int64_t *time_out_ns, struct error *error)
{
    const char *directory = changing->options.directory;
    enum error_code code = segment_schemas_event_find(directory, line, payload, sequence_out,
                                                      time_out_ns, error);
    if (!is_missing(code))
        return code;
    struct error why = {0};
    enum error_code publishing = reach_writer(changing, &why);
    if (!publishing)
        publishing = publish(changing, payload, &why);
    code = find_soon(directory, line, payload, sequence_out, time_out_ns, error);
    if (!is_missing(code))
        return code;
    if (publishing)
        return error_set(error, publishing, "%s", why.text);
    if (changing->refusal[0])
        return error_set(error, ERROR_INVALID, "the event was not taken: %s", changing->refusal);
    return error_set(error, ERROR_IO,
                     "the event was taken, but cannot be found in the log in '%s'", directory);
}

/* Steps 3 to 5. ERROR_INVALID: whoever writes the log does not take the event. */
static enum error_code finish_pending(struct changing *changing, struct error *error)
{
    const struct segment_schemas_change *line = segment_schemas_pending(&changing->schemas);
    struct buffer text = {0}, payload = {0};
    uint64_t sequence;
    int64_t time_ns;
    struct error why;
    enum error_code code = read_text(changing, line, &text, &why);
    const char *way_out = code ? "" : ": the same command again finishes it";
    if (!code)
        code = segment_schemas_event_write(line, &text, &payload, &why);
    if (!code)
        code = publish_and_find(changing, line, &payload, &sequence, &time_ns, &why);
    if (!code)
        code = segment_schemas_settle(changing->log_fd, &changing->schemas, sequence, time_ns,
                                      &why);
    buffer_release(&text);
    buffer_release(&payload);
    if (!code)
        return OK;
    return error_set(error, code, "%.600s; the change is noted, and pending%s", why.text, way_out);
}

static enum error_code take_lock(struct changing *changing, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + LOCK_PATIENCE_NS;
    for (;;) {
        enum error_code code =
            segment_lock_take(changing->log_fd, LOCK_SCHEMAS, &changing->lock_fd, error);
        int64_t now_ns = clock_monotonic_ns();
        if (code != ERROR_BUSY || now_ns >= deadline_ns)
            return code;
        clock_sleep_until_ns(now_ns + FIND_PAUSE_NS);
    }
}

static enum error_code load_again(struct changing *changing, struct error *error)
{
    segment_schemas_free(&changing->schemas);
    return segment_schemas_load(changing->log_fd, &changing->schemas, error);
}

/*
 * The writer may have taken the event before, and retention deleted it since: then the writer alone
 * knows its sequence, and settles the line as soon as it gets the lock (tools/gate.h).
 */
static enum error_code let_writer_settle(struct changing *changing, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + WRITER_PATIENCE_NS, now_ns;
    enum error_code code;
    file_close(&changing->lock_fd);
    do {
        clock_sleep_until_ns(clock_monotonic_ns() + FIND_PAUSE_NS);
        code = load_again(changing, error);
        now_ns = clock_monotonic_ns();
    } while (!code && segment_schemas_pending(&changing->schemas) && now_ns < deadline_ns);
    if (!code)
        code = take_lock(changing, error);
    return code ? code : load_again(changing, error);
}

/* What was left pending. */
static enum error_code finish_earlier(struct changing *changing,
                                      struct schema_change_result *result, struct error *error)
{
    size_t index = changing->schemas.count - 1;
    struct error later;
    enum error_code code = finish_pending(changing, error);
    if (code == ERROR_INVALID && let_writer_settle(changing, &later) == OK &&
        !segment_schemas_pending(&changing->schemas) && changing->schemas.count > index)
        code = OK;
    if (code)
        return code;
    result->finished = true;
    result->earlier = changing->schemas.changes[index];
    return OK;
}

/* ---- A new change ---- */

static bool is_same_text(const struct changing *changing, const struct segment_schemas_change *line,
                         const struct buffer *text)
{
    struct buffer present = {0};
    bool same = line->text_bytes == text->size &&
                segment_schemas_read_text(changing->log_fd, line, &present, NULL) == OK &&
                memcmp(present.data, text->data, text->size) == 0;
    buffer_release(&present);
    return same;
}

/* Is there nothing to do? */
static bool is_as_wished(const struct changing *changing, const struct schema_change_wish *wish,
                         struct schema_change_result *result)
{
    const struct segment_schemas_change *present =
        segment_schemas_present(&changing->schemas, wish->topic, strlen(wish->topic));
    result->none = !present;
    if (wish->action == SCHEMAS_REMOVE)
        return !present;
    if (!present || present->mode != wish->mode || !is_same_text(changing, present, wish->text))
        return false;
    result->present = *present;
    return true;
}

/* What the event cannot carry must not get a line: with the largest number, to be sure. */
static enum error_code check_event(const struct segment_schemas_change *change,
                                   const struct schema_change_wish *wish, struct error *error)
{
    struct segment_schemas_change largest = *change;
    char name[SCHEMAS_FILE_NAME_MAX + 1];
    struct buffer payload = {0};
    largest.version = UINT32_MAX;
    enum error_code code = segment_schemas_file_name(wish->topic, UINT32_MAX, name, error);
    if (!code)
        code = segment_schemas_event_write(&largest, wish->text, &payload, error);
    buffer_release(&payload);
    return code;
}

static enum error_code read_watermark(const struct changing *changing, uint64_t *watermark_out,
                                      struct error *error)
{
    struct segment_reader *reader = NULL;
    enum error_code code = segment_reader_open(changing->options.directory, &reader, error);
    if (!code)
        *watermark_out = segment_reader_watermark(reader);
    segment_reader_close(reader);
    return code;
}

/* Steps 1 and 2. */
static enum error_code note(struct changing *changing, const struct schema_change_wish *wish,
                            struct error *error)
{
    const struct segment_schemas_change *present =
        segment_schemas_present(&changing->schemas, wish->topic, strlen(wish->topic));
    struct segment_schemas_change change = {.action = wish->action, .mode = wish->mode};
    snprintf(change.topic, sizeof change.topic, "%s", wish->topic);
    if (wish->action == SCHEMAS_REMOVE)
        change.mode = present->mode;
    enum error_code code = wish->action == SCHEMAS_ADD ? check_event(&change, wish, error) : OK;
    if (!code)
        code = reach_writer(changing, error);
    if (!code)
        code = read_watermark(changing, &change.after, error);
    if (!code)
        code = segment_schemas_note(changing->log_fd, &changing->schemas, &change,
                                    wish->text ? wish->text->data : NULL,
                                    wish->text ? wish->text->size : 0, error);
    return code;
}

static enum error_code change(struct changing *changing, const struct schema_change_wish *wish,
                              struct schema_change_result *result, struct error *error)
{
    enum error_code code = take_lock(changing, error);
    if (!code)
        code = segment_schemas_load(changing->log_fd, &changing->schemas, error);
    if (!code && segment_schemas_pending(&changing->schemas))
        code = finish_earlier(changing, result, error);
    if (code || is_as_wished(changing, wish, result))
        return code;
    code = note(changing, wish, error);
    if (!code)
        code = finish_pending(changing, error);
    if (code)
        return code;
    result->done = true;
    result->present = changing->schemas.changes[changing->schemas.count - 1];
    return OK;
}

enum error_code schema_change(const struct publisher_options *options,
                              const struct schema_change_wish *wish,
                              struct schema_change_result *result_out, struct error *error)
{
    struct changing changing = {.options = *options, .log_fd = -1, .lock_fd = -1};
    struct error closing;
    *result_out = (struct schema_change_result){0};
    enum error_code code = file_open_directory(
        options->directory, wish->action == SCHEMAS_ADD, &changing.log_fd, error);
    if (!code)
        code = change(&changing, wish, result_out, error);
    enum error_code closed = publisher_close(changing.publisher, NULL, &closing);
    if (!code && closed)
        code = error_set(error, closed, "%s", closing.text);
    segment_schemas_free(&changing.schemas);
    file_close(&changing.lock_fd);
    file_close(&changing.log_fd);
    return code;
}
