#include "segment/schemas_event.h"

#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "segment/reader.h"

static bool pack_text(msgpack_packer *packer, const char *text)
{
    size_t bytes = strlen(text);
    return msgpack_pack_str(packer, bytes) || msgpack_pack_str_body(packer, text, bytes);
}

static bool pack_facts(msgpack_packer *packer, const struct segment_schemas_change *change)
{
    return msgpack_pack_map(packer, 5) || pack_text(packer, "topic") ||
           pack_text(packer, change->topic) || pack_text(packer, "version") ||
           msgpack_pack_uint32(packer, change->version) || pack_text(packer, "mode") ||
           pack_text(packer, segment_schemas_mode_name(change->mode)) ||
           pack_text(packer, "action") ||
           pack_text(packer, segment_schemas_action_name(change->action)) ||
           pack_text(packer, "schema");
}

static enum error_code append_document(const struct buffer *text, struct buffer *payload,
                                       struct error *error)
{
    struct json_reader *json = NULL;
    enum error_code code = json_reader_create(&json, error);
    if (!code)
        code = json_to_msgpack(json, (const char *)text->data, text->size,
                               EVENT_PAYLOAD_DEPTH_MAX - 1, payload, error);
    json_reader_free(json);
    return code;
}

static enum error_code check(const struct buffer *payload, size_t before, struct error *error)
{
    struct event event = {
        .topic = SCHEMAS_EVENT_TOPIC,
        .topic_bytes = strlen(SCHEMAS_EVENT_TOPIC),
        .payload = payload->data + before,
        .payload_bytes = payload->size - before,
    };
    enum error_code code = event_check(&event, error);
    return code ? error_prefix(error, "as an event") : OK;
}

enum error_code segment_schemas_event_write(const struct segment_schemas_change *change,
                                            const struct buffer *text, struct buffer *payload,
                                            struct error *error)
{
    size_t before = payload->size;
    struct error why = {0};
    enum error_code code = OK;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, payload);
    if (pack_facts(&packer, change))
        code = error_set(&why, ERROR_MEMORY, "no memory for an event");
    else if (change->action == SCHEMAS_ADD)
        code = append_document(text, payload, &why);
    else if (msgpack_pack_nil(&packer))
        code = error_set(&why, ERROR_MEMORY, "no memory for an event");
    if (!code)
        code = check(payload, before, &why);
    if (!code)
        return OK;
    payload->size = before;
    return error_set(error, code, "%s", why.text);
}

static bool is_it(const struct event *event, const struct buffer *payload)
{
    return event->topic_bytes == strlen(SCHEMAS_EVENT_TOPIC) &&
           memcmp(event->topic, SCHEMAS_EVENT_TOPIC, event->topic_bytes) == 0 &&
           event->payload_bytes == payload->size &&
           memcmp(event->payload, payload->data, payload->size) == 0;
}

/* What is damaged is reported by who reads it for its own sake; here only this event matters. */
static enum error_code search(struct segment_reader *reader, const struct buffer *payload,
                              uint64_t *sequence_out, int64_t *time_out_ns, struct error *error)
{
    struct event event;
    struct error why;
    enum error_code code;
    while (!(code = segment_reader_next(reader, &event, &why)) || code == ERROR_DAMAGED)
        if (!code && is_it(&event, payload)) {
            *sequence_out = event.sequence;
            *time_out_ns = event.time_ns;
            return OK;
        }
    if (code == ERROR_END)
        return error_set(error, ERROR_NOT_FOUND, "the change's event is not in the log");
    return error_set(error, code, "%s", why.text);
}

enum error_code segment_schemas_event_find(const char *path,
                                           const struct segment_schemas_change *change,
                                           const struct buffer *payload, uint64_t *sequence_out,
                                           int64_t *time_out_ns, struct error *error)
{
    struct segment_reader *reader = NULL;
    enum error_code code = segment_reader_open(path, &reader, error);
    if (!code)
        code = segment_reader_seek(reader, change->after + 1, error);
    if (!code)
        code = search(reader, payload, sequence_out, time_out_ns, error);
    segment_reader_close(reader);
    return code;
}
