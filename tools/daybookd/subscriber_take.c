#include "tools/daybookd/subscriber_take.h"

#include <inttypes.h>
#include <string.h>

#include "core/event.h"
#include "core/json.h"
#include "segment/log.h"
#include "tools/daybookd/bus_state.h"

static uint64_t durable_now(const struct subscriber *subscriber)
{
    return segment_log_durable(subscriber->bus->options.log);
}

/* ---- subscribe ---- */

static enum error_code write_subscribed(struct subscriber *subscriber, uint64_t after)
{
    struct buffer *out = &subscriber->answers;
    const char *log = subscriber->bus->log_id;
    uint64_t durable = durable_now(subscriber);
    if (subscriber->lines)
        return buffer_printf(out, NULL,
                             "{\"subscribed\":{\"after\":%" PRIu64 ",\"durable\":%" PRIu64
                             ",\"log\":\"%s\"}}\n",
                             after, durable, log);
    const struct wire_subscribed subscribed = {after, durable, {log, strlen(log)}};
    return wire_write_subscribed(out, &subscribed, NULL);
}

void subscriber_begin(struct subscriber *subscriber, uint64_t after)
{
    subscriber->begun = true;
    subscriber->position = subscriber->told = after;
    subscriber_answered(subscriber, write_subscribed(subscriber, after));
    /* Who wants only what comes has no need of the log; unless the feed is ahead, or may not. */
    if (!subscriber->gone && subscriber->feed && after == durable_now(subscriber))
        bus_make_live(subscriber->bus, subscriber->feed, subscriber);
}

void subscriber_found_start(struct subscriber *subscriber, uint64_t after)
{
    if (subscriber->cursor)
        bus_cursor_make(subscriber->cursor, after);
    else if (subscriber->group)
        bus_group_make(subscriber->group, after);
    else
        subscriber_begin(subscriber, after);
}

void subscriber_find_start(struct subscriber *subscriber)
{
    subscriber->searching = subscriber->start == WIRE_START_SINCE;
    if (!subscriber->searching)
        subscriber_found_start(subscriber, subscriber->start_after);
    bus_place(subscriber->bus, subscriber);
}

/* Where it begins when it has no cursor, or a new one; unless that has to be searched for. */
static enum error_code check_start(const struct subscriber *subscriber,
                                   const struct wire_subscribe *subscribe, uint64_t *after_out,
                                   struct error *error)
{
    uint64_t durable = durable_now(subscriber);
    switch (subscribe->start) {
    case WIRE_START_AFTER:
        if (subscribe->after > durable)
            return error_set(error, ERROR_INVALID,
                             "\"after\" is %" PRIu64 ", and the last event that is durable here is "
                             "%" PRIu64 "; is this the log that it was read from?",
                             subscribe->after, durable);
        *after_out = subscribe->after;
        return OK;
    case WIRE_START_EARLIEST:
    case WIRE_START_SINCE:
        *after_out = 0;
        return OK;
    case WIRE_START_NONE:
    case WIRE_START_LATEST:
        break;
    }
    bool from_earliest = subscribe->start == WIRE_START_NONE && subscribe->cursor.text;
    *after_out = from_earliest ? 0 : durable;
    return OK;
}

static enum error_code take_filter(struct subscriber *subscriber,
                                   const struct wire_subscribe *subscribe, struct error *error)
{
    struct filter filter;
    enum error_code code = filter_init(&filter, subscribe, subscriber->lines, error);
    if (code)
        return code;
    subscriber->feed = bus_find_feed(subscriber->bus, &filter);
    return subscriber->feed ? OK : error_set(error, ERROR_BUSY,
                                              "no memory for another filter; at most %d different "
                                              "conditions are in use at a time",
                                              BUS_CONDITIONS);
}

static void say_subscribed(const struct subscriber *subscriber,
                           const struct wire_subscribe *subscribe)
{
    const struct wire_text *cursor = &subscribe->cursor, *topic = &subscribe->topics[0];
    bool all = subscribe->topic_count == 0;
    notices_line(&subscriber->bus->notices, REPORT_INFO,
                 "connection %" PRIu64 ": subscribes to %.*s%s%s%s%.*s", subscriber->number,
                 all ? 10 : (int)topic->bytes, all ? "all topics" : topic->text,
                 subscribe->topic_count > 1 ? " and others" : "",
                 subscribe->where.text ? ", with a where" : "",
                 cursor->text ? (subscribe->shared ? ", in the group " : ", with the cursor ") : "",
                 cursor->text ? (int)cursor->bytes : 0, cursor->text ? cursor->text : "");
}

static enum error_code subscribe_to(struct subscriber *subscriber,
                                    const struct wire_subscribe *subscribe, struct error *error)
{
    enum error_code code = check_start(subscriber, subscribe, &subscriber->start_after, error);
    if (!code && !subscribe->shared)
        code = take_filter(subscriber, subscribe, error);
    if (code)
        return code;
    subscriber->subscribed = true;
    subscriber->limited = subscribe->limited;
    subscriber->credit = subscribe->credit;
    subscriber->start = subscribe->start;
    subscriber->since_ns = subscribe->since_ns;
    say_subscribed(subscriber, subscribe);
    if (subscribe->shared)
        return bus_group_join(subscriber->bus, subscriber, subscribe, error);
    if (subscribe->cursor.text)
        return bus_cursor_take(subscriber->bus, subscriber, &subscribe->cursor, error);
    subscriber_find_start(subscriber);
    return OK;
}

static void take_subscribe(struct subscriber *subscriber, struct msgpack_cursor cursor,
                           uint32_t left)
{
    struct wire_subscribe subscribe;
    struct error error;
    if (subscriber->subscribed) {
        subscriber_fail(subscriber, "malformed", "a second subscribe");
        return;
    }
    if (wire_read_subscribe(cursor, left, &subscribe, &error)) {
        subscriber_fail(subscriber, "invalid", error.text);
        return;
    }
    enum error_code code = subscribe_to(subscriber, &subscribe, &error);
    if (!code)
        return;
    error_prefix(&error, "subscribe");
    subscriber_fail(subscriber,
                    code == ERROR_INVALID  ? "invalid"
                    : code == ERROR_EXISTS ? "taken"
                                           : "busy",
                    error.text);
}

/* ---- What a subscriber says later ---- */

static void take_credit(struct subscriber *subscriber, struct msgpack_cursor cursor, uint32_t left)
{
    uint64_t events;
    struct error error;
    if (wire_read_credit(cursor, left, &events, &error)) {
        subscriber_fail(subscriber, "malformed", error.text);
        return;
    }
    if (!subscriber->subscribed) {
        subscriber_fail(subscriber, "malformed", "credit before subscribe");
        return;
    }
    bool had_none = subscriber->credit == 0;
    subscriber->credit =
        events > UINT64_MAX - subscriber->credit ? UINT64_MAX : subscriber->credit + events;
    if (had_none && subscriber->credit > 0)
        bus_place(subscriber->bus, subscriber);
}

static void take_commit(struct subscriber *subscriber, struct msgpack_cursor cursor, uint32_t left)
{
    uint64_t sequence;
    struct error error;
    if (wire_read_commit(cursor, left, &sequence, &error)) {
        subscriber_fail(subscriber, "malformed", error.text);
        return;
    }
    /* Of a frame that is on its way, a client may have understood the first lines. */
    const struct subscriber_frame *frame = &subscriber->frame;
    uint64_t given = frame->begun ? frame->last_event : subscriber->position;
    if (subscriber->group)
        error_set(&error, ERROR_INVALID,
                  "commit: a group's member accepts and releases, it does not commit");
    else if (!subscriber->cursor || !subscriber->begun)
        error_set(&error, ERROR_INVALID, "commit: this subscription has no cursor");
    else if (sequence > given)
        error_set(&error, ERROR_INVALID,
                  "commit: %" PRIu64 " is above %" PRIu64 ", the last that was sent", sequence,
                  given);
    else
        error.code = OK;
    if (error.code)
        subscriber_fail(subscriber, "invalid", error.text);
    else
        bus_cursor_commit(subscriber->cursor, sequence);
}

static void take_settle(struct subscriber *subscriber, bool accept, struct msgpack_cursor cursor,
                        uint32_t left)
{
    struct wire_range ranges[WIRE_RANGES_MAX];
    uint32_t count;
    uint64_t id = 0;
    struct error error;
    enum error_code code = subscriber->lines
                               ? wire_read_ranges(&cursor, ranges, &count, &error)
                               : wire_read_settle(cursor, left, &id, ranges, &count, &error);
    if (code)
        subscriber_fail(subscriber, "malformed", error.text);
    else if (!subscriber->group || !subscriber->begun)
        subscriber_fail(subscriber, "invalid", "only a member of a group accepts and releases");
    else
        bus_group_settle(subscriber, accept, id, ranges, count);
}

static void take_cursors(struct subscriber *subscriber, struct msgpack_cursor cursor, uint32_t left)
{
    struct error error;
    if (wire_read_cursors_request(cursor, left, &error))
        subscriber_fail(subscriber, "malformed", error.text);
    else if (bus_cursors_list(subscriber->bus, subscriber, &error))
        subscriber_fail(subscriber, "busy", error.text);
}

static void take_ping(struct subscriber *subscriber, struct msgpack_cursor cursor, uint32_t left)
{
    uint64_t value;
    struct error error;
    if (wire_read_ping(cursor, left, &value, &error)) {
        subscriber_fail(subscriber, "malformed", error.text);
        return;
    }
    subscriber_answered(subscriber, wire_write_pong(&subscriber->answers, value,
                                                    durable_now(subscriber), NULL));
    if (!subscriber->gone)
        subscriber_send(subscriber, NULL);
}

void subscriber_take_frame(struct subscriber *subscriber, const uint8_t *data, size_t size)
{
    struct msgpack_cursor cursor = {data, data + size};
    enum wire_type type;
    uint32_t left;
    struct error error;
    if (wire_read_type(&cursor, &type, &left, &error)) {
        subscriber_fail(subscriber, "malformed", error.text);
        return;
    }
    switch (type) {
    case WIRE_SUBSCRIBE:
        take_subscribe(subscriber, cursor, left);
        break;
    case WIRE_CREDIT:
        take_credit(subscriber, cursor, left);
        break;
    case WIRE_COMMIT:
        take_commit(subscriber, cursor, left);
        break;
    case WIRE_ACCEPT:
        take_settle(subscriber, true, cursor, left);
        break;
    case WIRE_RELEASE:
        take_settle(subscriber, false, cursor, left);
        break;
    case WIRE_CURSORS:
        take_cursors(subscriber, cursor, left);
        break;
    case WIRE_PING:
        take_ping(subscriber, cursor, left);
        break;
    case WIRE_HELLO:
        subscriber_fail(subscriber, "malformed", "a second hello");
        break;
    case WIRE_PUB:
    case WIRE_STATUS:
        subscriber_fail(subscriber, "unsupported",
                        "a connection that subscribes does nothing else; open another one");
        break;
    default:
        subscriber_fail(subscriber, "unsupported",
                        "a frame of a type that this daemon does not know of subscribers");
        break;
    }
}

/* ---- Lines ---- */

static const char one_key[] =
    "a subscriber's line has one key: subscribe, credit, commit, accept or release";

/* An object of one key, whose value is what the frame of that name has. */
static enum error_code read_line(struct subscriber *subscriber, const char *text, size_t bytes,
                                 struct msgpack_value *key_out, struct msgpack_cursor *value_out,
                                 struct error *error)
{
    struct buffer *object = &subscriber->bus->line;
    object->size = 0;
    enum error_code code =
        json_to_msgpack(subscriber->bus->json, text, bytes, EVENT_PAYLOAD_DEPTH_MAX, object, error);
    if (code)
        return code;
    struct msgpack_cursor cursor = {object->data, object->data + object->size};
    struct msgpack_value map = {0};
    code = msgpack_read(&cursor, &map, error);
    if (code)
        return code;
    if (map.kind != MSGPACK_KIND_MAP)
        return error_set(error, ERROR_INVALID, "the line is not a JSON object");
    if (map.count != 1)
        return error_set(error, ERROR_INVALID, "%s", one_key);
    code = msgpack_read(&cursor, key_out, error);
    *value_out = cursor;
    return code;
}

static bool is_key(const struct msgpack_value *key, const char *word)
{
    return key->kind == MSGPACK_KIND_STR && key->count == strlen(word) &&
           memcmp(key->bytes, word, key->count) == 0;
}

void subscriber_take_line(struct subscriber *subscriber, const char *text, size_t bytes)
{
    struct msgpack_value key = {0};
    struct msgpack_cursor value;
    struct error error;
    if (json_is_blank(text, bytes))
        return;
    if (read_line(subscriber, text, bytes, &key, &value, &error)) {
        subscriber_fail(subscriber, "invalid", error.text);
        return;
    }
    if (is_key(&key, "subscribe"))
        take_subscribe(subscriber, value, 1);
    else if (is_key(&key, "credit"))
        take_credit(subscriber, value, 1);
    else if (is_key(&key, "commit"))
        take_commit(subscriber, value, 1);
    else if (is_key(&key, "accept") || is_key(&key, "release"))
        take_settle(subscriber, is_key(&key, "accept"), value, 1);
    else
        subscriber_fail(subscriber, "invalid", one_key);
}
