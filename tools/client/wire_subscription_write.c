#include <assert.h>

#include "tools/client/wire_element.h"
#include "tools/client/wire_subscription.h"

/* Most of these frames are a type and a few unsigned numbers. */
static enum error_code write_numbers(struct buffer *out, const char *type, const uint64_t *numbers,
                                     uint32_t count, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 16 + 9 * (size_t)count, error);
    if (code)
        return code;
    wire_pack_head(&frame, 1 + count, type);
    for (uint32_t i = 0; i < count; i++)
        msgpack_pack_uint64(&frame.packer, numbers[i]);
    return wire_frame_end(&frame);
}

/* ---- events ---- */

static void store_big_endian32(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

enum error_code wire_write_events_head(struct buffer *out, uint64_t last, uint32_t count,
                                       size_t events_bytes, struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, WIRE_EVENTS_HEAD_BYTES, error);
    if (code)
        return code;
    wire_pack_head(&frame, 3, "events");
    msgpack_pack_uint64(&frame.packer, last);
    msgpack_pack_array(&frame.packer, count);
    size_t head_bytes = out->size - frame.start;
    assert(head_bytes <= WIRE_EVENTS_HEAD_BYTES);
    assert(head_bytes - WIRE_LENGTH_BYTES + events_bytes <= WIRE_FRAME_MAX);
    store_big_endian32(out->data + frame.start, head_bytes - WIRE_LENGTH_BYTES + events_bytes);
    return OK;
}

static enum error_code write_event(struct buffer *out, const struct event *event,
                                   uint32_t try_number, struct error *error)
{
    assert(event->time_ns != EVENT_TIME_NONE);
    enum error_code code = buffer_reserve(
        out, WIRE_GIVEN_BYTES + 5 + event->topic_bytes + event->payload_bytes, error);
    if (code)
        return code;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    msgpack_pack_array(&packer, try_number > 0 ? 5 : 4);
    msgpack_pack_uint64(&packer, event->sequence);
    msgpack_pack_int64(&packer, event->time_ns);
    wire_pack_text(&packer, event->topic, event->topic_bytes);
    buffer_append(out, event->payload, event->payload_bytes, NULL);
    if (try_number > 0)
        msgpack_pack_uint32(&packer, try_number);
    return OK;
}

enum error_code wire_write_event(struct buffer *out, const struct event *event,
                                 struct error *error)
{
    return write_event(out, event, 0, error);
}

enum error_code wire_write_event_try(struct buffer *out, const struct event *event,
                                     uint32_t try_number, struct error *error)
{
    assert(try_number > 0);
    return write_event(out, event, try_number, error);
}

enum error_code wire_write_caught_up(struct buffer *out, uint64_t last, struct error *error)
{
    return write_numbers(out, "caught_up", &last, 1, error);
}

enum error_code wire_write_lost(struct buffer *out, const struct wire_lost *lost,
                                struct error *error)
{
    struct wire_frame frame;
    enum error_code code =
        wire_frame_begin(&frame, out, 48 + lost->cause.bytes + lost->text.bytes, error);
    if (code)
        return code;
    wire_pack_head(&frame, 5, "lost");
    msgpack_pack_uint64(&frame.packer, lost->first);
    msgpack_pack_uint64(&frame.packer, lost->last);
    wire_pack_text(&frame.packer, lost->cause.text, lost->cause.bytes);
    wire_pack_text(&frame.packer, lost->text.text, lost->text.bytes);
    return wire_frame_end(&frame);
}

/* ---- credit, commits, settling ---- */

enum error_code wire_write_credit(struct buffer *out, uint64_t events, struct error *error)
{
    return write_numbers(out, "credit", &events, 1, error);
}

enum error_code wire_write_commit(struct buffer *out, uint64_t sequence, struct error *error)
{
    return write_numbers(out, "commit", &sequence, 1, error);
}

enum error_code wire_write_committed(struct buffer *out, uint64_t sequence, struct error *error)
{
    return write_numbers(out, "committed", &sequence, 1, error);
}

static enum error_code write_ranges(struct buffer *out, const char *type, uint64_t id,
                                    const struct wire_range *ranges, uint32_t count,
                                    struct error *error)
{
    enum { RANGE_BYTES = 1 + 9 + 9 };
    struct wire_frame frame;
    assert(count <= WIRE_RANGES_MAX);
    enum error_code code = wire_frame_begin(&frame, out, 32 + RANGE_BYTES * (size_t)count, error);
    if (code)
        return code;
    wire_pack_head(&frame, 3, type);
    msgpack_pack_uint64(&frame.packer, id);
    msgpack_pack_array(&frame.packer, count);
    for (uint32_t i = 0; i < count; i++) {
        msgpack_pack_array(&frame.packer, 2);
        msgpack_pack_uint64(&frame.packer, ranges[i].first);
        msgpack_pack_uint64(&frame.packer, ranges[i].last);
    }
    return wire_frame_end(&frame);
}

enum error_code wire_write_accept(struct buffer *out, uint64_t id, const struct wire_range *ranges,
                                  uint32_t count, struct error *error)
{
    return write_ranges(out, "accept", id, ranges, count, error);
}

enum error_code wire_write_release(struct buffer *out, uint64_t id, const struct wire_range *ranges,
                                   uint32_t count, struct error *error)
{
    return write_ranges(out, "release", id, ranges, count, error);
}

enum error_code wire_write_settled(struct buffer *out, uint64_t id, uint64_t events,
                                   struct error *error)
{
    return write_numbers(out, "settled", (const uint64_t[]){id, events}, 2, error);
}

/* ---- cursors ---- */

enum error_code wire_write_cursors_request(struct buffer *out, struct error *error)
{
    return write_numbers(out, "cursors", NULL, 0, error);
}

enum error_code wire_write_cursors(struct buffer *out, const struct buffer *list, uint32_t count,
                                   struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 32 + list->size, error);
    if (code)
        return code;
    wire_pack_head(&frame, 2, "cursors");
    msgpack_pack_array(&frame.packer, count);
    buffer_append(out, list->data, list->size, NULL);
    return wire_frame_end(&frame);
}

enum error_code wire_write_cursor(struct buffer *list, const struct wire_cursor *entry,
                                  struct error *error)
{
    enum error_code code = buffer_reserve(list, 160 + entry->name.bytes, error);
    if (code)
        return code;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, list);
    msgpack_pack_map(&packer, 7);
    wire_pack_key_text(&packer, "name", &entry->name);
    wire_pack_key_number(&packer, "position", entry->position);
    wire_pack_key_number(&packer, "lag", entry->lag);
    wire_pack_key_bool(&packer, "shared", entry->shared);
    wire_pack_key_bool(&packer, "in_use", entry->in_use);
    wire_pack_key_bool(&packer, "hold", entry->hold);
    wire_pack_word(&packer, "committed_at");
    msgpack_pack_int64(&packer, entry->committed_at_ns);
    return OK;
}
