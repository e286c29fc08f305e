#include "core/gap.h"

#include "core/msgpack.h"
#include "core/utf8.h"

static const char *const cause_texts[] = {[GAP_REFUSED] = "refused", [GAP_DROPPED] = "dropped"};

const char *gap_cause_text(enum gap_cause cause)
{
    return cause_texts[cause];
}

/* At most GAP_REASON_BYTES_MAX of it, and no half character at the end. */
static size_t cut_reason(const char *reason, size_t bytes)
{
    return utf8_valid_bytes(reason, bytes < GAP_REASON_BYTES_MAX ? bytes : GAP_REASON_BYTES_MAX);
}

static int pack_number(msgpack_packer *packer, const char *key, uint64_t number)
{
    return msgpack_pack_text(packer, key) | msgpack_pack_uint64(packer, number);
}

enum error_code gap_write(const struct gap *gap, struct buffer *out, struct error *error)
{
    const char *cause = gap_cause_text(gap->cause);
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    int failed = msgpack_pack_map(&packer, 6);
    failed |= msgpack_pack_text(&packer, "producer");
    failed |= msgpack_pack_str_with_body(&packer, gap->producer, gap->producer_bytes);
    failed |= pack_number(&packer, "first", gap->first);
    failed |= pack_number(&packer, "last", gap->last);
    failed |= pack_number(&packer, "count", gap->count);
    failed |= msgpack_pack_text(&packer, "cause") | msgpack_pack_text(&packer, cause);
    failed |= msgpack_pack_text(&packer, "reason");
    failed |= msgpack_pack_str_with_body(&packer, gap->reason,
                                         cut_reason(gap->reason, gap->reason_bytes));
    return failed ? error_set(error, ERROR_MEMORY, "no memory for the payload of a gap") : OK;
}

/* The value of `key`; kind NIL when it is missing. */
static struct msgpack_value find(const struct msgpack_cursor *map, const char *key)
{
    struct msgpack_value value = {.kind = MSGPACK_KIND_NIL};
    struct msgpack_cursor at;
    if (!msgpack_find(map, key, &at, NULL))
        msgpack_read(&at, &value, NULL);
    return value;
}

static enum error_code read_producer(const struct msgpack_cursor *map, struct gap *gap,
                                     struct error *error)
{
    struct msgpack_value value = find(map, "producer");
    if (value.kind != MSGPACK_KIND_STR)
        return error_set(error, ERROR_INVALID, "\"producer\" must be a producer's name");
    gap->producer = value.bytes;
    gap->producer_bytes = value.count;
    return event_check_producer(gap->producer, gap->producer_bytes, error);
}

static enum error_code read_numbers(const struct msgpack_cursor *map, struct gap *gap,
                                    struct error *error)
{
    struct msgpack_value first = find(map, "first");
    struct msgpack_value last = find(map, "last");
    struct msgpack_value count = find(map, "count");
    if (first.kind != MSGPACK_KIND_UINT || last.kind != MSGPACK_KIND_UINT ||
        first.unsigned_ == 0 || first.unsigned_ > last.unsigned_ ||
        last.unsigned_ > EVENT_NUMBER_MAX)
        return error_set(error, ERROR_INVALID,
                         "\"first\" and \"last\" must be numbers of events, in this order");
    gap->first = first.unsigned_;
    gap->last = last.unsigned_;
    gap->count = last.unsigned_ - first.unsigned_ + 1;
    if (count.kind == MSGPACK_KIND_NIL)
        return OK;
    if (count.kind != MSGPACK_KIND_UINT || count.unsigned_ == 0 || count.unsigned_ > gap->count)
        return error_set(error, ERROR_INVALID,
                         "\"count\" must be how many of the numbers from \"first\" to \"last\"");
    gap->count = count.unsigned_;
    return OK;
}

static enum error_code read_cause(const struct msgpack_cursor *map, struct gap *gap,
                                  struct error *error)
{
    struct msgpack_value value = find(map, "cause");
    for (int cause = GAP_REFUSED; value.kind == MSGPACK_KIND_STR && cause <= GAP_DROPPED; cause++)
        if (value.count == strlen(cause_texts[cause]) &&
            memcmp(value.bytes, cause_texts[cause], value.count) == 0) {
            gap->cause = (enum gap_cause)cause;
            return OK;
        }
    return error_set(error, ERROR_INVALID, "\"cause\" must be \"refused\" or \"dropped\"");
}

static enum error_code read_reason(const struct msgpack_cursor *map, struct gap *gap,
                                   struct error *error)
{
    struct msgpack_value value = find(map, "reason");
    gap->reason = "";
    gap->reason_bytes = 0;
    if (value.kind == MSGPACK_KIND_NIL)
        return OK;
    if (value.kind != MSGPACK_KIND_STR)
        return error_set(error, ERROR_INVALID, "\"reason\" must be a text");
    gap->reason = value.bytes;
    gap->reason_bytes = cut_reason(value.bytes, value.count);
    return OK;
}

enum error_code gap_read(const void *payload, size_t payload_bytes, struct gap *gap_out,
                         struct error *error)
{
    if (payload_bytes > GAP_PAYLOAD_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "a payload of %zu bytes, more than %d",
                         payload_bytes, GAP_PAYLOAD_BYTES_MAX);
    const uint8_t *bytes = payload;
    struct msgpack_cursor map = {bytes, bytes + payload_bytes};
    struct gap gap = {0};
    enum error_code code = read_producer(&map, &gap, error);
    if (!code)
        code = read_numbers(&map, &gap, error);
    if (!code)
        code = read_cause(&map, &gap, error);
    if (!code)
        code = read_reason(&map, &gap, error);
    if (!code)
        *gap_out = gap;
    return code;
}

static bool is_of(const struct gap *gap, const struct event *event)
{
    return gap->producer_bytes == event->producer_bytes &&
           memcmp(gap->producer, event->producer, gap->producer_bytes) == 0;
}

static enum error_code check_origin(const struct gap *gap, const struct event *event,
                                    struct error *error)
{
    if (!is_of(gap, event))
        return error_set(error, ERROR_INVALID,
                         "it names the producer '%.*s', and '%.*s' may only speak of itself",
                         (int)gap->producer_bytes, gap->producer, (int)event->producer_bytes,
                         event->producer);
    if (gap->cause != GAP_DROPPED)
        return error_set(error, ERROR_INVALID,
                         "only the log's writer says what was refused; \"cause\" must be "
                         "\"dropped\"");
    if (gap->last >= event->number)
        return error_set(error, ERROR_INVALID,
                         "it speaks of the number %llu, which is not below its own, %llu",
                         (unsigned long long)gap->last, (unsigned long long)event->number);
    return OK;
}

enum error_code gap_check(const struct event *event, struct error *error)
{
    if (!gap_is_topic(event->topic, event->topic_bytes))
        return OK;
    if (event->producer_bytes == 0)
        return error_set(error, ERROR_INVALID,
                         "topic '" GAP_TOPIC "' is where producers report numbers that they "
                         "dropped; this event has no producer: use another topic, or leave it out");
    struct gap gap;
    enum error_code code = gap_read(event->payload, event->payload_bytes, &gap, error);
    if (!code)
        code = check_origin(&gap, event, error);
    if (code && error)
        error_prefix(error, "topic '" GAP_TOPIC "'");
    return code;
}

bool gap_from_event(const struct event *event, struct gap *gap_out)
{
    struct gap gap;
    if (!gap_is_topic(event->topic, event->topic_bytes) ||
        gap_read(event->payload, event->payload_bytes, &gap, NULL))
        return false;
    if (event->producer_bytes > 0 && check_origin(&gap, event, NULL))
        return false;
    *gap_out = gap;
    return true;
}
