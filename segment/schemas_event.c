#include "segment/schemas_event.h"

#include <inttypes.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "segment/reader.h"

static bool pack_facts(msgpack_packer *packer, const struct segment_schemas_change *change)
{
    return msgpack_pack_map(packer, 5) || msgpack_pack_text(packer, "topic") ||
           msgpack_pack_text(packer, change->topic) || msgpack_pack_text(packer, "version") ||
           msgpack_pack_uint32(packer, change->version) || msgpack_pack_text(packer, "mode") ||
           msgpack_pack_text(packer, segment_schemas_mode_name(change->mode)) ||
           msgpack_pack_text(packer, "action") ||
           msgpack_pack_text(packer, segment_schemas_action_name(change->action)) ||
           msgpack_pack_text(packer, "schema");
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

/* Did the last step pass over events that were there once? */
static bool has_lost(struct segment_reader *reader)
{
    uint64_t first, last;
    struct segment_format_gap gap;
    bool lost = segment_reader_hole(reader, &first, &last);
    while (segment_reader_loss(reader, &gap))
        lost |= segment_format_gap_is_loss(gap.cause);
    return lost;
}

/* Damage is reported by who reads for its own sake; here it only means that nobody can tell. */
static enum error_code search(struct segment_reader *reader, uint64_t first,
                              const struct buffer *payload, uint64_t *sequence_out,
                              int64_t *time_out_ns, struct error *error)
{
    struct event event;
    struct error why;
    enum error_code code;
    bool lost = false;
    while (!(code = segment_reader_next(reader, &event, &why)) || code == ERROR_DAMAGED) {
        if (!code && is_it(&event, payload)) {
            *sequence_out = event.sequence;
            *time_out_ns = event.time_ns;
            return OK;
        }
        lost |= code == ERROR_DAMAGED || has_lost(reader);
    }
    if (code != ERROR_END)
        return error_set(error, code, "%s", why.text);
    if (lost || has_lost(reader) || segment_reader_bound(reader) > first)
        return error_set(error, ERROR_DAMAGED,
                         "the change's event is not in the log, which has lost events from %" PRIu64
                         " on, by retention or damage: so nobody can tell whether it was there",
                         first);
    return error_set(error, ERROR_NOT_FOUND, "the change's event is not in the log");
}

enum error_code segment_schemas_event_find(const char *path,
                                           const struct segment_schemas_change *change,
                                           const struct buffer *payload, uint64_t *sequence_out,
                                           int64_t *time_out_ns, struct error *error)
{
    struct segment_reader *reader = NULL;
    uint64_t first = change->after + 1;
    enum error_code code = segment_reader_open(path, &reader, error);
    if (!code && change->after > segment_reader_watermark(reader))
        first = 1;
    if (!code)
        code = segment_reader_seek(reader, first, error);
    if (!code)
        code = search(reader, first, payload, sequence_out, time_out_ns, error);
    segment_reader_close(reader);
    return code;
}
