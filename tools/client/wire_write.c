#include <assert.h>
#include <string.h>

#include "tools/client/wire_element.h"

enum { FIXSTR_BYTES_MAX = 31 };

static const char *ack_mode_name(enum wire_ack_mode mode)
{
    switch (mode) {
    case WIRE_ACK_DURABLE:
        return "durable";
    case WIRE_ACK_WRITTEN:
        return "written";
    case WIRE_ACK_NONE:
        return "none";
    }
    return "durable";
}

enum error_code wire_write_hello(struct buffer *out, const struct wire_hello *hello,
                                 struct error *error)
{
    struct wire_frame frame;
    enum error_code code =
        wire_frame_begin(&frame, out, 128 + hello->client.bytes + hello->producer.bytes, error);
    if (code)
        return code;
    wire_pack_head(&frame, 2, "hello");
    uint32_t keys = 2u + (hello->client.text != NULL) + (hello->producer.text != NULL);
    msgpack_pack_map(&frame.packer, keys);
    wire_pack_key_number(&frame.packer, "version", hello->version);
    if (hello->client.text)
        wire_pack_key_text(&frame.packer, "client", &hello->client);
    if (hello->producer.text)
        wire_pack_key_text(&frame.packer, "producer", &hello->producer);
    wire_pack_word(&frame.packer, "ack");
    wire_pack_word(&frame.packer, ack_mode_name(hello->ack));
    return wire_frame_end(&frame);
}

enum error_code wire_write_welcome(struct buffer *out, const struct wire_welcome *welcome,
                                   struct error *error)
{
    struct wire_frame frame;
    enum error_code code =
        wire_frame_begin(&frame, out, 256 + welcome->server.bytes + welcome->log.bytes, error);
    if (code)
        return code;
    wire_pack_head(&frame, 2, "welcome");
    msgpack_pack_map(&frame.packer, 7);
    wire_pack_key_number(&frame.packer, "version", welcome->version);
    wire_pack_key_text(&frame.packer, "server", &welcome->server);
    wire_pack_key_text(&frame.packer, "log", &welcome->log);
    wire_pack_key_number(&frame.packer, "durable", welcome->durable);
    wire_pack_key_number(&frame.packer, "last_number", welcome->last_number);
    wire_pack_key_number(&frame.packer, "max_frame", welcome->frame_max);
    wire_pack_key_number(&frame.packer, "max_events", welcome->events_max);
    return wire_frame_end(&frame);
}

enum error_code wire_write_ping(struct buffer *out, uint64_t value, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 32, error);
    if (code)
        return code;
    wire_pack_head(&frame, 2, "ping");
    msgpack_pack_uint64(&frame.packer, value);
    return wire_frame_end(&frame);
}

enum error_code wire_write_pong(struct buffer *out, uint64_t value, uint64_t durable,
                                struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 48, error);
    if (code)
        return code;
    wire_pack_head(&frame, 3, "pong");
    msgpack_pack_uint64(&frame.packer, value);
    msgpack_pack_uint64(&frame.packer, durable);
    return wire_frame_end(&frame);
}

enum error_code wire_write_status_request(struct buffer *out, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 16, error);
    if (code)
        return code;
    wire_pack_head(&frame, 1, "status");
    return wire_frame_end(&frame);
}

enum error_code wire_write_status(struct buffer *out, const struct buffer *map, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 16 + map->size, error);
    if (code)
        return code;
    wire_pack_head(&frame, 2, "status");
    buffer_append(out, map->data, map->size, NULL);
    return wire_frame_end(&frame);
}

enum error_code wire_write_error(struct buffer *out, const char *error_code, const char *text,
                                 struct error *error)
{
    struct wire_frame frame;
    enum error_code code =
        wire_frame_begin(&frame, out, 32 + strlen(error_code) + strlen(text), error);
    if (code)
        return code;
    wire_pack_head(&frame, 3, "error");
    wire_pack_word(&frame.packer, error_code);
    wire_pack_word(&frame.packer, text);
    return wire_frame_end(&frame);
}

enum error_code wire_write_ack(struct buffer *out, const struct wire_ack *ack,
                               const struct buffer *refusals, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 64 + refusals->size, error);
    if (code)
        return code;
    wire_pack_head(&frame, 7, "ack");
    msgpack_pack_uint64(&frame.packer, ack->id);
    msgpack_pack_uint64(&frame.packer, ack->stored);
    msgpack_pack_uint64(&frame.packer, ack->sequence_first);
    msgpack_pack_uint64(&frame.packer, ack->sequence_last);
    msgpack_pack_uint64(&frame.packer, ack->duplicates);
    msgpack_pack_array(&frame.packer, ack->refused);
    buffer_append(out, refusals->data, refusals->size, NULL);
    return wire_frame_end(&frame);
}

/*
 * [index, code, ""] in one piece. A frame can have 4096 events that break a rule, and whoever sends
 * nothing else must not hold up all others.
 */
static enum error_code write_bare_refusal(struct buffer *refusals, uint32_t index, const char *code,
                                          size_t code_bytes, struct error *error)
{
    enum { FIXARRAY = 0x90, FIXSTR = 0xa0, UINT8 = 0xcc, UINT16 = 0xcd };
    uint8_t bytes[6 + FIXSTR_BYTES_MAX];
    size_t at = 0;
    assert(index <= UINT16_MAX && code_bytes <= FIXSTR_BYTES_MAX);
    bytes[at++] = FIXARRAY | 3;
    if (index > UINT8_MAX) {
        bytes[at++] = UINT16;
        bytes[at++] = (uint8_t)(index >> 8);
    } else if (index > 0x7f) {
        bytes[at++] = UINT8;
    }
    bytes[at++] = (uint8_t)index;
    bytes[at++] = (uint8_t)(FIXSTR | code_bytes);
    memcpy(bytes + at, code, code_bytes);
    at += code_bytes;
    bytes[at++] = FIXSTR;
    return buffer_append(refusals, bytes, at, error);
}

enum error_code wire_write_refusal(struct buffer *refusals, uint32_t index, const char *code,
                                   const char *reason, struct error *error)
{
    size_t code_bytes = strlen(code);
    if (!*reason && index <= UINT16_MAX && code_bytes <= FIXSTR_BYTES_MAX)
        return write_bare_refusal(refusals, index, code, code_bytes, error);
    enum error_code failure = buffer_reserve(refusals, 16 + code_bytes + strlen(reason), error);
    if (failure)
        return failure;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, refusals);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_uint32(&packer, index);
    wire_pack_word(&packer, code);
    wire_pack_word(&packer, reason);
    return OK;
}

/*
 * The count of events is known when the frame is complete, so its array always has the form with
 * two bytes of count.
 */
enum { PUB_ARRAY_HEAD = 3 };

enum error_code wire_begin_pub(struct buffer *out, uint64_t id, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, WIRE_PUB_BYTES + PUB_ARRAY_HEAD, error);
    if (code)
        return code;
    wire_pack_head(&frame, 3, "pub");
    msgpack_pack_uint64(&frame.packer, id);
    static const uint8_t ARRAY_HEAD[PUB_ARRAY_HEAD] = {0xdc, 0, 0};
    return buffer_append(out, ARRAY_HEAD, sizeof ARRAY_HEAD, error);
}

enum error_code wire_add_event(struct buffer *out, const struct event *event, struct error *error)
{
    enum error_code code =
        buffer_reserve(out, WIRE_EVENT_BYTES + event->topic_bytes + event->payload_bytes, error);
    if (code)
        return code;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    msgpack_pack_array(&packer, event->number ? 4 : 3);
    wire_pack_text(&packer, event->topic, event->topic_bytes);
    if (event->time_ns == EVENT_TIME_NONE)
        msgpack_pack_nil(&packer);
    else
        msgpack_pack_int64(&packer, event->time_ns);
    buffer_append(out, event->payload, event->payload_bytes, NULL);
    if (event->number)
        msgpack_pack_uint64(&packer, event->number);
    return OK;
}

enum error_code wire_add_expectation(struct buffer *out, size_t start,
                                     const struct wire_expectation *expected, struct error *error)
{
    enum error_code code = buffer_reserve(out, 64 + expected->topic.bytes, error);
    if (code)
        return code;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    msgpack_pack_map(&packer, expected->topic.text ? 2 : 1);
    wire_pack_key_number(&packer, "expect_last", expected->last);
    if (expected->topic.text)
        wire_pack_key_text(&packer, "expect_topic", &expected->topic);
    assert(out->data[start + WIRE_LENGTH_BYTES] == 0x93);
    out->data[start + WIRE_LENGTH_BYTES] = 0x94; /* an array of four now */
    return OK;
}

/* Where the array's head stands follows from how long msgpack writes the id. */
static size_t unsigned_bytes(uint8_t first)
{
    switch (first) {
    case 0xcc:
        return 2;
    case 0xcd:
        return 3;
    case 0xce:
        return 5;
    case 0xcf:
        return 9;
    default:
        return 1;
    }
}

void wire_end_pub(struct buffer *out, size_t start, uint16_t event_count)
{
    assert(event_count <= WIRE_EVENTS_MAX);
    size_t id_offset = start + WIRE_LENGTH_BYTES + 1 + 4; /* array of 3, "pub" */
    uint8_t *head = out->data + id_offset + unsigned_bytes(out->data[id_offset]);
    assert(head[0] == 0xdc);
    head[1] = (uint8_t)(event_count >> 8);
    head[2] = (uint8_t)event_count;
    wire_store_length(out, start);
}
