#include <assert.h>

#include "tools/client/wire_element.h"
#include "tools/client/wire_subscription.h"

/* ---- Writing ---- */

static void pack_start(msgpack_packer *packer, const struct wire_subscribe *subscribe)
{
    switch (subscribe->start) {
    case WIRE_START_NONE:
        return;
    case WIRE_START_AFTER:
        wire_pack_key_number(packer, "after", subscribe->after);
        return;
    case WIRE_START_SINCE:
        wire_pack_word(packer, "since");
        msgpack_pack_int64(packer, subscribe->since_ns);
        return;
    case WIRE_START_EARLIEST:
    case WIRE_START_LATEST:
        wire_pack_word(packer, "from");
        wire_pack_word(packer, subscribe->start == WIRE_START_EARLIEST ? "earliest" : "latest");
        return;
    }
}

static void pack_topics(msgpack_packer *packer, const struct wire_subscribe *subscribe)
{
    wire_pack_word(packer, "topics");
    msgpack_pack_array(packer, subscribe->topic_count);
    for (uint32_t i = 0; i < subscribe->topic_count; i++)
        wire_pack_text(packer, subscribe->topics[i].text, subscribe->topics[i].bytes);
}

static uint32_t subscribe_keys(const struct wire_subscribe *subscribe)
{
    return (uint32_t)((subscribe->start != WIRE_START_NONE) + (subscribe->cursor.text != NULL) +
                      subscribe->shared + (subscribe->ack_timeout_ns > 0) +
                      (subscribe->tries > 0) + (subscribe->topic_count > 0) +
                      (subscribe->where.text != NULL) + subscribe->limited);
}

enum error_code wire_write_subscribe(struct buffer *out, const struct wire_subscribe *subscribe,
                                     struct error *error)
{
    struct wire_frame frame;
    size_t bytes_max = 256 + subscribe->cursor.bytes + subscribe->where.bytes;
    assert(subscribe->topic_count <= WIRE_TOPICS_MAX);
    for (uint32_t i = 0; i < subscribe->topic_count; i++)
        bytes_max += 5 + subscribe->topics[i].bytes;
    enum error_code code = wire_frame_begin(&frame, out, bytes_max, error);
    if (code)
        return code;
    msgpack_packer *packer = &frame.packer;
    wire_pack_head(&frame, 2, "subscribe");
    msgpack_pack_map(packer, subscribe_keys(subscribe));
    pack_start(packer, subscribe);
    if (subscribe->cursor.text)
        wire_pack_key_text(packer, "cursor", &subscribe->cursor);
    if (subscribe->shared)
        wire_pack_key_bool(packer, "shared", true);
    if (subscribe->ack_timeout_ns > 0)
        wire_pack_key_number(packer, "ack_timeout", (uint64_t)subscribe->ack_timeout_ns);
    if (subscribe->tries > 0)
        wire_pack_key_number(packer, "tries", subscribe->tries);
    if (subscribe->topic_count > 0)
        pack_topics(packer, subscribe);
    if (subscribe->where.text)
        wire_pack_key_text(packer, "where", &subscribe->where);
    if (subscribe->limited)
        wire_pack_key_number(packer, "credit", subscribe->credit);
    return wire_frame_end(&frame);
}

enum error_code wire_write_subscribed(struct buffer *out, const struct wire_subscribed *subscribed,
                                      struct error *error)
{
    struct wire_frame frame;
    enum error_code code = wire_frame_begin(&frame, out, 96 + subscribed->log.bytes, error);
    if (code)
        return code;
    wire_pack_head(&frame, 2, "subscribed");
    msgpack_pack_map(&frame.packer, 3);
    wire_pack_key_number(&frame.packer, "after", subscribed->after);
    wire_pack_key_number(&frame.packer, "durable", subscribed->durable);
    wire_pack_key_text(&frame.packer, "log", &subscribed->log);
    return wire_frame_end(&frame);
}

/* ---- Reading: one function a key ---- */

typedef enum error_code read_key(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                 struct error *error);

static enum error_code set_start(struct wire_subscribe *subscribe, enum wire_start start,
                                 struct error *error)
{
    if (subscribe->start != WIRE_START_NONE)
        return error_set(error, ERROR_INVALID,
                         "more than one of after, since, from: a subscription begins at one place");
    subscribe->start = start;
    return OK;
}

static enum error_code read_after(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                  struct error *error)
{
    enum error_code code = set_start(subscribe, WIRE_START_AFTER, error);
    return code ? code : wire_read_unsigned(cursor, "after", &subscribe->after, error);
}

static enum error_code read_since(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                  struct error *error)
{
    enum error_code code = set_start(subscribe, WIRE_START_SINCE, error);
    if (!code)
        code = wire_read_time(cursor, &subscribe->since_ns, error);
    if (!code && subscribe->since_ns == EVENT_TIME_NONE)
        code = error_set(error, ERROR_INVALID, "it is nil; give nanoseconds since 1970");
    if (code)
        error_prefix(error, "since");
    return code;
}

static enum error_code read_from(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                 struct error *error)
{
    struct wire_text word;
    enum error_code code = wire_read_text(cursor, "from", &word, error);
    if (code)
        return code;
    if (wire_text_is(&word, "earliest"))
        return set_start(subscribe, WIRE_START_EARLIEST, error);
    if (wire_text_is(&word, "latest"))
        return set_start(subscribe, WIRE_START_LATEST, error);
    return error_set(error, ERROR_INVALID, "from is neither 'earliest' nor 'latest'");
}

static enum error_code read_text_within(struct msgpack_cursor *cursor, const char *what,
                                        size_t bytes_max, struct wire_text *text_out,
                                        struct error *error)
{
    enum error_code code = wire_read_text(cursor, what, text_out, error);
    if (!code && (text_out->bytes == 0 || text_out->bytes > bytes_max))
        code = error_set(error, ERROR_INVALID, "%s has %zu bytes; it may have 1 to %zu", what,
                         text_out->bytes, bytes_max);
    return code;
}

static enum error_code read_cursor_name(struct msgpack_cursor *cursor,
                                        struct wire_subscribe *subscribe, struct error *error)
{
    return read_text_within(cursor, "cursor", WIRE_CURSOR_BYTES_MAX, &subscribe->cursor, error);
}

static enum error_code read_shared(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                   struct error *error)
{
    return wire_read_bool(cursor, "shared", &subscribe->shared, error);
}

static enum error_code read_ack_timeout(struct msgpack_cursor *cursor,
                                        struct wire_subscribe *subscribe, struct error *error)
{
    uint64_t ns = 0;
    enum error_code code = wire_read_unsigned(cursor, "ack_timeout", &ns, error);
    if (code)
        return code;
    if (ns < (uint64_t)WIRE_ACK_TIMEOUT_NS_MIN || ns > (uint64_t)WIRE_ACK_TIMEOUT_NS_MAX)
        return error_set(error, ERROR_INVALID,
                         "ack_timeout is %llu; give nanoseconds from 1 ms to 1 day",
                         (unsigned long long)ns);
    subscribe->ack_timeout_ns = (int64_t)ns;
    return OK;
}

static enum error_code read_tries(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                  struct error *error)
{
    uint64_t tries = 0;
    enum error_code code = wire_read_unsigned(cursor, "tries", &tries, error);
    if (code)
        return code;
    if (tries == 0 || tries > WIRE_TRIES_MAX)
        return error_set(error, ERROR_INVALID, "tries is %llu; it may be 1 to %d",
                         (unsigned long long)tries, WIRE_TRIES_MAX);
    subscribe->tries = (uint32_t)tries;
    return OK;
}

static enum error_code read_topics(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                   struct error *error)
{
    struct msgpack_value array = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_ARRAY, "topics", &array, error);
    if (code)
        return code;
    if (array.count > WIRE_TOPICS_MAX)
        return error_set(error, ERROR_INVALID, "%u topics; at most %d are allowed", array.count,
                         WIRE_TOPICS_MAX);
    for (uint32_t i = 0; !code && i < array.count; i++)
        code = read_text_within(cursor, "a pattern of topics", EVENT_TOPIC_BYTES_MAX,
                                &subscribe->topics[i], error);
    subscribe->topic_count = array.count;
    return code;
}

static enum error_code read_where(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                  struct error *error)
{
    return read_text_within(cursor, "where", WIRE_WHERE_BYTES_MAX, &subscribe->where, error);
}

static enum error_code read_credit(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                   struct error *error)
{
    subscribe->limited = true;
    return wire_read_unsigned(cursor, "credit", &subscribe->credit, error);
}

static const struct {
    const char *name;
    read_key *read;
} KEYS[] = {
    {"after", read_after},
    {"since", read_since},
    {"from", read_from},
    {"cursor", read_cursor_name},
    {"shared", read_shared},
    {"ack_timeout", read_ack_timeout},
    {"tries", read_tries},
    {"topics", read_topics},
    {"where", read_where},
    {"credit", read_credit},
};
enum { KEY_COUNT = sizeof KEYS / sizeof *KEYS };

/* An unknown key may be a filter that we do not have: to give more than asked for is harm. */
static enum error_code find_key(const struct wire_text *key, unsigned *seen, size_t *index_out,
                                struct error *error)
{
    int shown = key->bytes < 40 ? (int)key->bytes : 40;
    size_t i = 0;
    while (i < KEY_COUNT && !wire_text_is(key, KEYS[i].name))
        i++;
    if (i == KEY_COUNT)
        return error_set(error, ERROR_INVALID, "there is no key '%.*s'", shown, key->text);
    if (*seen & 1u << i)
        return error_set(error, ERROR_INVALID, "the key '%.*s' is there twice", shown, key->text);
    *seen |= 1u << i;
    *index_out = i;
    return OK;
}

static enum error_code read_keys(struct msgpack_cursor *cursor, struct wire_subscribe *subscribe,
                                 struct error *error)
{
    struct msgpack_value map = {0};
    enum error_code code = wire_read_kind(cursor, MSGPACK_KIND_MAP, "subscribe", &map, error);
    unsigned seen = 0;
    for (uint32_t i = 0; !code && i < map.count; i++) {
        struct wire_text key;
        size_t index = 0;
        code = wire_read_text(cursor, "a key", &key, error);
        if (!code)
            code = find_key(&key, &seen, &index, error);
        if (!code)
            code = KEYS[index].read(cursor, subscribe, error);
    }
    return code;
}

static enum error_code check_together(const struct wire_subscribe *subscribe, struct error *error)
{
    if (subscribe->shared && !subscribe->cursor.text)
        return error_set(error, ERROR_INVALID,
                         "shared without a cursor: a group is known by its cursor's name");
    if (!subscribe->shared && (subscribe->ack_timeout_ns > 0 || subscribe->tries > 0))
        return error_set(error, ERROR_INVALID,
                         "ack_timeout and tries are for groups: they need shared to be true");
    return OK;
}

enum error_code wire_read_subscribe(struct msgpack_cursor cursor, uint32_t left,
                                    struct wire_subscribe *subscribe_out, struct error *error)
{
    struct wire_subscribe subscribe = {.start = WIRE_START_NONE};
    /* The whole map is valid msgpack; so a text in it is UTF-8. */
    enum error_code code = wire_expect_map(&cursor, left, "subscribe", error);
    if (code)
        return code;
    code = read_keys(&cursor, &subscribe, error);
    if (!code)
        code = check_together(&subscribe, error);
    if (code)
        error_prefix(error, "subscribe");
    else
        *subscribe_out = subscribe;
    return code;
}

enum error_code wire_read_subscribed(struct msgpack_cursor cursor, uint32_t left,
                                     struct wire_subscribed *subscribed_out, struct error *error)
{
    struct wire_subscribed subscribed = {0};
    enum error_code code = wire_expect_map(&cursor, left, "subscribed", error);
    if (!code)
        code = wire_find_unsigned(&cursor, "after", &subscribed.after, error);
    if (!code)
        code = wire_find_unsigned(&cursor, "durable", &subscribed.durable, error);
    if (!code)
        code = wire_find_text(&cursor, "log", &subscribed.log, error);
    if (!code && subscribed.log.bytes != WIRE_LOG_ID_TEXT)
        code = error_set(error, ERROR_INVALID, "the key 'log' is not the identity of a log");
    if (!code)
        *subscribed_out = subscribed;
    return code;
}
