#include "segment/seal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "segment/block.h"

enum { FLAG_TOPICS_COMPLETE = 1, TOPIC_SLOTS_MIN = 64 };

void segment_seal_init(struct segment_seal *seal, uint64_t sequence_first)
{
    *seal = (struct segment_seal){
        .sequence_first = sequence_first,
        .sequence_last = sequence_first - 1,
        .topics_complete = true,
    };
}

void segment_seal_release(struct segment_seal *seal)
{
    free(seal->entries);
    free(seal->topics);
    free(seal->topic_slots);
    *seal = (struct segment_seal){0};
}

/* Make room for one more element of an array; doubles it. */
static enum error_code grow(void **array, size_t count, size_t *capacity, size_t element_bytes,
                            struct error *error)
{
    if (count < *capacity)
        return OK;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown = realloc(*array, wanted * element_bytes);
    if (!grown)
        return error_set(error, ERROR_MEMORY, "no memory for the footer of a segment");
    *array = grown;
    *capacity = wanted;
    return OK;
}

static enum error_code add_entry(struct segment_seal *seal,
                                 const struct segment_format_block_header *header,
                                 struct error *error)
{
    struct segment_seal_entry *last = NULL;

    if (seal->entry_count > 0)
        last = &seal->entries[seal->entry_count - 1];
    if (last && header->offset - last->offset < SEAL_ENTRY_SPACING) {
        if (header->time_min_ns < last->time_min_ns)
            last->time_min_ns = header->time_min_ns;
        if (header->time_max_ns > last->time_max_ns)
            last->time_max_ns = header->time_max_ns;
        return OK;
    }
    enum error_code code = grow((void **)&seal->entries, seal->entry_count, &seal->entry_capacity,
                                sizeof *seal->entries, error);
    if (code)
        return code;
    seal->entries[seal->entry_count++] = (struct segment_seal_entry){
        .sequence_first = header->sequence_first,
        .offset = header->offset,
        .time_min_ns = header->time_min_ns,
        .time_max_ns = header->time_max_ns,
    };
    return OK;
}

/* The slot where the topic is, or where it belongs. */
static uint32_t *topic_slot(const struct segment_seal *seal, const char *name, size_t name_bytes)
{
    size_t mask = seal->topic_slot_count - 1;
    size_t i = checksum_extend(0, name, name_bytes) & mask;

    for (;; i = (i + 1) & mask) {
        uint32_t *slot = &seal->topic_slots[i];
        if (*slot == 0)
            return slot;
        const struct segment_seal_topic *topic = &seal->topics[*slot - 1];
        if (topic->name_bytes == name_bytes && memcmp(topic->name, name, name_bytes) == 0)
            return slot;
    }
}

/* Keep the hash table at most half full. */
static enum error_code grow_slots(struct segment_seal *seal, struct error *error)
{
    if (2 * (seal->topic_count + 1) <= seal->topic_slot_count)
        return OK;
    size_t wanted = seal->topic_slot_count ? 2 * seal->topic_slot_count : TOPIC_SLOTS_MIN;
    uint32_t *slots = calloc(wanted, sizeof *slots);
    if (!slots)
        return error_set(error, ERROR_MEMORY, "no memory for the footer of a segment");
    free(seal->topic_slots);
    seal->topic_slots = slots;
    seal->topic_slot_count = wanted;
    for (size_t i = 0; i < seal->topic_count; i++)
        *topic_slot(seal, seal->topics[i].name, seal->topics[i].name_bytes) = (uint32_t)i + 1;
    return OK;
}

static void drop_topics(struct segment_seal *seal)
{
    free(seal->topics);
    free(seal->topic_slots);
    seal->topics = NULL;
    seal->topic_slots = NULL;
    seal->topic_count = seal->topic_capacity = seal->topic_slot_count = seal->topics_bytes = 0;
    seal->topics_complete = false;
}

static enum error_code new_topic(struct segment_seal *seal, const struct event *event,
                                 struct segment_seal_topic **topic_out, struct error *error)
{
    size_t bytes = SEAL_TOPIC_BYTES + event->topic_bytes;

    if (seal->topics_bytes + bytes > SEAL_TOPICS_BYTES_MAX) {
        drop_topics(seal);
        *topic_out = NULL;
        return OK;
    }
    enum error_code code = grow((void **)&seal->topics, seal->topic_count, &seal->topic_capacity,
                                sizeof *seal->topics, error);
    if (code)
        return code;
    struct segment_seal_topic *topic = &seal->topics[seal->topic_count];
    *topic = (struct segment_seal_topic){
        .sequence_first = event->sequence,
        .time_min_ns = event->time_ns,
        .time_max_ns = event->time_ns,
        .name_bytes = (uint8_t)event->topic_bytes,
    };
    memcpy(topic->name, event->topic, event->topic_bytes);
    *topic_slot(seal, event->topic, event->topic_bytes) = (uint32_t)++seal->topic_count;
    seal->topics_bytes += bytes;
    *topic_out = topic;
    return OK;
}

static enum error_code count_topic(struct segment_seal *seal, const struct event *event,
                                   struct error *error)
{
    enum error_code code = grow_slots(seal, error);
    if (code)
        return code;
    uint32_t slot = *topic_slot(seal, event->topic, event->topic_bytes);
    struct segment_seal_topic *topic = slot ? &seal->topics[slot - 1] : NULL;
    if (!topic) {
        code = new_topic(seal, event, &topic, error);
        if (code || !topic)
            return code;
    }
    topic->events++;
    topic->payload_bytes += event->payload_bytes;
    topic->sequence_last = event->sequence;
    if (event->time_ns < topic->time_min_ns)
        topic->time_min_ns = event->time_ns;
    if (event->time_ns > topic->time_max_ns)
        topic->time_max_ns = event->time_ns;
    return OK;
}

static void count_totals(struct segment_seal *seal,
                         const struct segment_format_block_header *header)
{
    bool first = seal->event_count == 0;

    if (first || header->time_min_ns < seal->time_min_ns)
        seal->time_min_ns = header->time_min_ns;
    if (first || header->time_max_ns > seal->time_max_ns)
        seal->time_max_ns = header->time_max_ns;
    if (first)
        seal->arrival_first_ns = header->arrival_ns;
    seal->arrival_last_ns = header->arrival_ns;
    seal->event_count += header->event_count;
    seal->block_count++;
    seal->sequence_last = header->sequence_first + header->event_count - 1;
}

enum error_code segment_seal_add(struct segment_seal *seal,
                                 const struct segment_format_block_header *header,
                                 const uint8_t *raw, struct error *error)
{
    enum error_code code = add_entry(seal, header, error);
    if (code)
        return code;
    count_totals(seal, header);
    if (!seal->topics_complete)
        return OK;

    struct segment_block_cursor cursor;
    struct event event;
    segment_block_cursor_init(&cursor, header, raw);
    while ((code = segment_block_cursor_next(&cursor, &event, error)) == OK) {
        code = count_topic(seal, &event, error);
        if (code || !seal->topics_complete)
            return code;
    }
    return code == ERROR_END ? OK : code;
}

void segment_seal_add_gap(struct segment_seal *seal, uint64_t sequence_last)
{
    seal->sequence_last = sequence_last;
}

size_t segment_seal_bytes(const struct segment_seal *seal)
{
    return SEAL_HEAD_BYTES + SEAL_ENTRY_BYTES * seal->entry_count + seal->topics_bytes;
}

size_t segment_seal_growth_max(size_t raw_bytes, size_t events)
{
    /* Every topic is part of a record, so new names cannot be longer than the body. */
    size_t topics = SEAL_TOPIC_BYTES * events + raw_bytes;
    if (topics > SEAL_TOPICS_BYTES_MAX)
        topics = SEAL_TOPICS_BYTES_MAX;
    return SEAL_ENTRY_BYTES + topics;
}

static void encode_head(const struct segment_seal *seal, uint8_t *b)
{
    memset(b, 0, SEAL_HEAD_BYTES);
    bytes_store64(b, seal->event_count);
    bytes_store32(b + 8, seal->block_count);
    bytes_store32(b + 12, seal->topics_complete ? FLAG_TOPICS_COMPLETE : 0);
    bytes_store64(b + 16, seal->sequence_first);
    bytes_store64(b + 24, seal->sequence_last);
    bytes_store64(b + 32, (uint64_t)seal->time_min_ns);
    bytes_store64(b + 40, (uint64_t)seal->time_max_ns);
    bytes_store64(b + 48, (uint64_t)seal->arrival_first_ns);
    bytes_store64(b + 56, (uint64_t)seal->arrival_last_ns);
    bytes_store32(b + 64, (uint32_t)seal->entry_count);
    bytes_store32(b + 68, (uint32_t)seal->topic_count);
}

static void encode_entry(const struct segment_seal_entry *entry, uint8_t *b)
{
    bytes_store64(b, entry->sequence_first);
    bytes_store64(b + 8, entry->offset);
    bytes_store64(b + 16, (uint64_t)entry->time_min_ns);
    bytes_store64(b + 24, (uint64_t)entry->time_max_ns);
}

static void encode_topic(const struct segment_seal_topic *topic, uint8_t *b)
{
    bytes_store64(b, topic->events);
    bytes_store64(b + 8, topic->payload_bytes);
    bytes_store64(b + 16, topic->sequence_first);
    bytes_store64(b + 24, topic->sequence_last);
    bytes_store64(b + 32, (uint64_t)topic->time_min_ns);
    bytes_store64(b + 40, (uint64_t)topic->time_max_ns);
    b[48] = topic->name_bytes;
    memcpy(b + SEAL_TOPIC_BYTES, topic->name, topic->name_bytes);
}

enum error_code segment_seal_encode(const struct segment_seal *seal, struct buffer *out,
                                    struct error *error)
{
    size_t size = segment_seal_bytes(seal);
    enum error_code code = buffer_reserve(out, size, error);
    if (code)
        return code;

    uint8_t *at = out->data + out->size;
    encode_head(seal, at);
    at += SEAL_HEAD_BYTES;
    for (size_t i = 0; i < seal->entry_count; i++, at += SEAL_ENTRY_BYTES)
        encode_entry(&seal->entries[i], at);
    for (size_t i = 0; i < seal->topic_count; i++) {
        encode_topic(&seal->topics[i], at);
        at += SEAL_TOPIC_BYTES + seal->topics[i].name_bytes;
    }
    assert(at == out->data + out->size + size);
    out->size += size;
    return OK;
}

static void decode_head(struct segment_seal *seal, const uint8_t *b, uint32_t *entries_out,
                        uint32_t *topics_out)
{
    seal->event_count = bytes_load64(b);
    seal->block_count = bytes_load32(b + 8);
    seal->topics_complete = bytes_load32(b + 12) & FLAG_TOPICS_COMPLETE;
    seal->sequence_first = bytes_load64(b + 16);
    seal->sequence_last = bytes_load64(b + 24);
    seal->time_min_ns = (int64_t)bytes_load64(b + 32);
    seal->time_max_ns = (int64_t)bytes_load64(b + 40);
    seal->arrival_first_ns = (int64_t)bytes_load64(b + 48);
    seal->arrival_last_ns = (int64_t)bytes_load64(b + 56);
    *entries_out = bytes_load32(b + 64);
    *topics_out = bytes_load32(b + 68);
}

static enum error_code decode_entries(struct segment_seal *seal, const uint8_t *at, uint32_t count,
                                      struct error *error)
{
    if (count == 0)
        return OK;
    seal->entries = calloc(count, sizeof *seal->entries);
    if (!seal->entries)
        return error_set(error, ERROR_MEMORY, "no memory for %" PRIu32 " directory entries", count);
    seal->entry_count = seal->entry_capacity = count;
    for (uint32_t i = 0; i < count; i++, at += SEAL_ENTRY_BYTES) {
        struct segment_seal_entry *entry = &seal->entries[i];
        entry->sequence_first = bytes_load64(at);
        entry->offset = bytes_load64(at + 8);
        entry->time_min_ns = (int64_t)bytes_load64(at + 16);
        entry->time_max_ns = (int64_t)bytes_load64(at + 24);
        if (entry->sequence_first < seal->sequence_first ||
            entry->sequence_first > seal->sequence_last)
            return error_set(error, ERROR_DAMAGED,
                             "the footer's directory names event %" PRIu64
                             ", which is not of this segment",
                             entry->sequence_first);
        if (i > 0 && (entry->offset <= entry[-1].offset ||
                      entry->sequence_first <= entry[-1].sequence_first))
            return error_set(error, ERROR_DAMAGED, "the footer's directory is out of order");
    }
    return OK;
}

static enum error_code decode_topic(struct segment_seal_topic *topic, const uint8_t **at,
                                    const uint8_t *end, struct error *error)
{
    const uint8_t *b = *at;

    if (end - b < SEAL_TOPIC_BYTES || end - b < SEAL_TOPIC_BYTES + b[48])
        return error_set(error, ERROR_DAMAGED, "the footer ends within its topics");
    topic->events = bytes_load64(b);
    topic->payload_bytes = bytes_load64(b + 8);
    topic->sequence_first = bytes_load64(b + 16);
    topic->sequence_last = bytes_load64(b + 24);
    topic->time_min_ns = (int64_t)bytes_load64(b + 32);
    topic->time_max_ns = (int64_t)bytes_load64(b + 40);
    topic->name_bytes = b[48];
    memcpy(topic->name, b + SEAL_TOPIC_BYTES, topic->name_bytes);
    *at = b + SEAL_TOPIC_BYTES + topic->name_bytes;
    return OK;
}

static enum error_code decode_topics(struct segment_seal *seal, const uint8_t *at,
                                     const uint8_t *end, uint32_t count, struct error *error)
{
    if ((size_t)(end - at) / SEAL_TOPIC_BYTES < count)
        return error_set(error, ERROR_DAMAGED, "the footer names %" PRIu32 " topics in %zu bytes",
                         count, (size_t)(end - at));
    if (count > 0) {
        seal->topics = calloc(count, sizeof *seal->topics);
        if (!seal->topics)
            return error_set(error, ERROR_MEMORY, "no memory for %" PRIu32 " topics", count);
    }
    seal->topic_count = seal->topic_capacity = count;
    for (uint32_t i = 0; i < count; i++) {
        enum error_code code = decode_topic(&seal->topics[i], &at, end, error);
        if (code)
            return code;
        seal->topics_bytes += (size_t)SEAL_TOPIC_BYTES + seal->topics[i].name_bytes;
    }
    if (at != end)
        return error_set(error, ERROR_DAMAGED, "%zu bytes behind the footer", (size_t)(end - at));
    return OK;
}

enum error_code segment_seal_decode(const void *body, size_t size, struct segment_seal *seal_out,
                                    struct error *error)
{
    const uint8_t *b = body;
    struct segment_seal seal = {0};
    uint32_t entries, topics;

    if (size < SEAL_HEAD_BYTES)
        return error_set(error, ERROR_DAMAGED, "a footer of %zu bytes is too short", size);
    if (!bytes_are_zero(b + 72, SEAL_HEAD_BYTES - 72) ||
        (bytes_load32(b + 12) & ~(uint32_t)FLAG_TOPICS_COMPLETE))
        return error_set(error, ERROR_VERSION,
                         "a footer with fields that this Daybook does not know");
    decode_head(&seal, b, &entries, &topics);
    if (seal.sequence_first == 0 || seal.sequence_last >= EVENT_SEQUENCE_END ||
        seal.sequence_last + 1 < seal.sequence_first)
        return error_set(error, ERROR_DAMAGED,
                         "a footer of events %" PRIu64 " to %" PRIu64 " is impossible",
                         seal.sequence_first, seal.sequence_last);
    if ((size - SEAL_HEAD_BYTES) / SEAL_ENTRY_BYTES < entries)
        return error_set(error, ERROR_DAMAGED, "the footer names %" PRIu32 " blocks in %zu bytes",
                         entries, size);
    enum error_code code = decode_entries(&seal, b + SEAL_HEAD_BYTES, entries, error);
    if (!code)
        code = decode_topics(&seal, b + SEAL_HEAD_BYTES + (size_t)entries * SEAL_ENTRY_BYTES,
                             b + size, topics, error);
    if (code) {
        segment_seal_release(&seal);
        return code;
    }
    *seal_out = seal;
    return OK;
}

enum error_code segment_seal_check_version(const void *body, size_t size, struct error *error)
{
    struct segment_seal seal;
    struct error why;
    enum error_code code = segment_seal_decode(body, size, &seal, &why);

    if (!code)
        segment_seal_release(&seal);
    if (code != ERROR_VERSION && code != ERROR_MEMORY)
        return OK;
    return error_set(error, code, "%s", why.text);
}
