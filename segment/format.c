#include "segment/format.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"

static_assert(FORMAT_BLOCK_HEADER_BYTES % FORMAT_ALIGNMENT == 0, "blocks stay aligned");
static_assert(FORMAT_SEGMENT_HEADER_BYTES % FORMAT_PIECE_BYTES == 0, "blocks start on a sector");

static const uint8_t segment_magic[8] = {'D', 'A', 'Y', 'B', 'O', 'O', 'K', 'S'};
static const uint8_t block_magic[4] = {'D', 'B', 'L', 'K'};
static const uint8_t trailer_magic[4] = {'D', 'E', 'N', 'D'};

enum { BLOCK_KIND_LAST = FORMAT_BLOCK_PRODUCERS, BLOCK_CODEC_LAST = FORMAT_CODEC_LZ4 };

uint32_t segment_format_seed(const uint8_t log_id[FORMAT_LOG_ID_BYTES], uint64_t segment_first)
{
    uint8_t bytes[FORMAT_LOG_ID_BYTES + 8];

    memcpy(bytes, log_id, FORMAT_LOG_ID_BYTES);
    bytes_store64(bytes + FORMAT_LOG_ID_BYTES, segment_first);
    return checksum_extend(0, bytes, sizeof bytes);
}

/* Segment header: the offsets are those of docs/format.md. */

static uint32_t segment_header_checksum(const uint8_t *bytes)
{
    uint32_t checksum = checksum_extend(0, bytes, 8);
    return checksum_extend(checksum, bytes + 12, FORMAT_SEGMENT_HEADER_BYTES - 12);
}

static void encode_predecessor(const struct segment_format_predecessor *predecessor, uint8_t *b)
{
    bytes_store64(b, predecessor->sequence_first);
    bytes_store64(b + 8, predecessor->sequence_last);
    bytes_store64(b + 16, predecessor->end_offset);
    bytes_store32(b + 24, predecessor->chain);
}

static struct segment_format_predecessor decode_predecessor(const uint8_t *b)
{
    return (struct segment_format_predecessor){
        .sequence_first = bytes_load64(b),
        .sequence_last = bytes_load64(b + 8),
        .end_offset = bytes_load64(b + 16),
        .chain = bytes_load32(b + 24),
    };
}

void segment_format_encode_segment_header(const struct segment_format_segment_header *header,
                                          uint8_t bytes_out[FORMAT_SEGMENT_HEADER_BYTES],
                                          uint32_t *checksum_out)
{
    uint8_t *b = bytes_out;

    memset(b, 0, FORMAT_SEGMENT_HEADER_BYTES);
    memcpy(b, segment_magic, sizeof segment_magic);
    bytes_store32(b + 12, FORMAT_VERSION);
    memcpy(b + 16, header->log_id, FORMAT_LOG_ID_BYTES);
    bytes_store64(b + 32, header->sequence_first);
    bytes_store64(b + 40, header->size_bytes);
    bytes_store64(b + 48, (uint64_t)header->created_ns);
    bytes_store32(b + 56, header->epoch);
    bytes_store32(b + 60, header->commit_align);
    encode_predecessor(&header->predecessor, b + 64);
    bytes_store64(b + 96, header->published_bytes);
    encode_predecessor(&header->replaces, b + 104);
    bytes_store32(b + 132, header->packed);
    bytes_store32(b + 8, segment_header_checksum(b));
    *checksum_out = bytes_load32(b + 8);
}

static bool replaced_in_range(const struct segment_format_segment_header *header)
{
    const struct segment_format_predecessor *replaced = &header->replaces;

    if (replaced->sequence_first == 0)
        return replaced->sequence_last == 0 && replaced->end_offset == 0 && replaced->chain == 0;
    return replaced->sequence_last < EVENT_SEQUENCE_END &&
           replaced->sequence_last + 1 >= header->sequence_first &&
           replaced->sequence_last + 1 >= replaced->sequence_first;
}

static bool segment_header_in_range(const struct segment_format_segment_header *header)
{
    const struct segment_format_predecessor *before = &header->predecessor;

    return header->sequence_first > 0 && header->sequence_first <= EVENT_SEQUENCE_END &&
           header->size_bytes >= FORMAT_SEGMENT_BYTES_MIN &&
           header->size_bytes <= FORMAT_SEGMENT_BYTES_MAX &&
           header->size_bytes % FORMAT_SEGMENT_HEADER_BYTES == 0 &&
           (header->commit_align == 8 || header->commit_align == 512 ||
            header->commit_align == 4096) &&
           header->published_bytes >= FORMAT_SEGMENT_HEADER_BYTES &&
           header->published_bytes <= header->size_bytes - FORMAT_TRAILER_BYTES &&
           before->sequence_first < header->sequence_first &&
           before->sequence_last < header->sequence_first && replaced_in_range(header);
}

enum segment_format_verdict segment_format_decode_segment_header(
    const uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES],
    struct segment_format_segment_header *header_out, uint32_t *checksum_out)
{
    const uint8_t *b = bytes;
    struct segment_format_segment_header header;

    if (memcmp(b, segment_magic, sizeof segment_magic) != 0)
        return bytes_are_zero(b, FORMAT_SEGMENT_HEADER_BYTES) ? FORMAT_ZERO : FORMAT_BAD;
    if (bytes_load32(b + 8) != segment_header_checksum(b))
        return FORMAT_BAD;
    if (bytes_load32(b + 12) != FORMAT_VERSION || bytes_load32(b + 92) != 0 ||
        bytes_load32(b + 132) > 1 ||
        !bytes_are_zero(b + 136, FORMAT_SEGMENT_HEADER_BYTES - 136))
        return FORMAT_NEWER;
    memcpy(header.log_id, b + 16, FORMAT_LOG_ID_BYTES);
    header.sequence_first = bytes_load64(b + 32);
    header.size_bytes = bytes_load64(b + 40);
    header.created_ns = (int64_t)bytes_load64(b + 48);
    header.epoch = bytes_load32(b + 56);
    header.commit_align = bytes_load32(b + 60);
    header.predecessor = decode_predecessor(b + 64);
    header.published_bytes = bytes_load64(b + 96);
    header.replaces = decode_predecessor(b + 104);
    header.packed = bytes_load32(b + 132) == 1;
    if (!segment_header_in_range(&header))
        return FORMAT_BAD;
    *header_out = header;
    *checksum_out = bytes_load32(b + 8);
    return FORMAT_VALID;
}

void segment_format_encode_block_header(uint32_t seed, struct segment_format_block_header *header,
                                        uint8_t bytes_out[FORMAT_BLOCK_HEADER_BYTES])
{
    uint8_t *b = bytes_out;

    memset(b, 0, FORMAT_BLOCK_HEADER_BYTES);
    memcpy(b, block_magic, sizeof block_magic);
    b[8] = (uint8_t)header->kind;
    b[9] = (uint8_t)header->codec;
    bytes_store32(b + 12, header->epoch);
    bytes_store64(b + 16, header->log_id);
    bytes_store64(b + 24, header->offset);
    bytes_store64(b + 32, header->sequence_first);
    bytes_store32(b + 40, header->event_count);
    bytes_store32(b + 44, header->chain);
    bytes_store32(b + 48, header->size_bytes);
    bytes_store32(b + 52, header->stored_bytes);
    bytes_store32(b + 56, header->raw_bytes);
    bytes_store32(b + 60, header->raw_checksum);
    bytes_store32(b + 64, header->table_checksum);
    bytes_store64(b + 72, header->durable_offset);
    bytes_store64(b + 80, (uint64_t)header->time_min_ns);
    bytes_store64(b + 88, (uint64_t)header->time_max_ns);
    bytes_store64(b + 96, (uint64_t)header->arrival_ns);
    header->checksum = checksum_extend(seed, b + 8, FORMAT_BLOCK_HEADER_BYTES - 8);
    bytes_store32(b + 4, header->checksum);
}

/* Behind the last byte of the header that is in the same line of memory as its byte `at`. */
static size_t line_end(uint64_t offset, size_t at)
{
    const size_t line = 64;
    size_t end = at + line - (size_t)((offset + at) % line);
    return end < FORMAT_BLOCK_HEADER_BYTES ? end : FORMAT_BLOCK_HEADER_BYTES;
}

/* Does an 8-byte field say what it should, or was its line never stored? */
static bool field_fits(const uint8_t *bytes, uint64_t offset, size_t at, uint64_t expected)
{
    size_t first = 0;
    while (line_end(offset, first) <= at)
        first = line_end(offset, first);
    return bytes_load64(bytes + at) == expected ||
           bytes_are_zero(bytes + first, line_end(offset, first) - first);
}

bool segment_format_is_torn_block_header(const uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES],
                                         uint64_t log_id, uint64_t offset)
{
    const size_t word = 8;
    bool has_first = !bytes_are_zero(bytes, word);
    bool lacks = !has_first;

    for (size_t at = 0; at < FORMAT_BLOCK_HEADER_BYTES; at = line_end(offset, at))
        lacks |= bytes_are_zero(bytes + at, line_end(offset, at) - at);
    return lacks && (!has_first || memcmp(bytes, block_magic, sizeof block_magic) == 0) &&
           field_fits(bytes, offset, 16, log_id) && field_fits(bytes, offset, 24, offset);
}

/* Do the lengths stay within their limits and fit each other? */
static bool block_lengths_fit(const struct segment_format_block_header *h, uint64_t segment_bytes)
{
    if (h->raw_bytes > FORMAT_BLOCK_RAW_MAX || h->stored_bytes > h->raw_bytes)
        return false;
    if (h->codec == FORMAT_CODEC_NONE && h->stored_bytes != h->raw_bytes)
        return false;
    if ((h->raw_bytes == 0) != (h->stored_bytes == 0))
        return false;

    uint64_t body = h->offset + FORMAT_BLOCK_HEADER_BYTES;
    uint64_t least = FORMAT_BLOCK_HEADER_BYTES + (uint64_t)h->stored_bytes +
                     4 * (uint64_t)segment_format_piece_count(body, h->stored_bytes);
    /* Padding reaches at most to the next commit boundary. */
    return h->size_bytes % FORMAT_ALIGNMENT == 0 && h->size_bytes >= least &&
           h->size_bytes < least + 4096 &&
           h->offset + h->size_bytes <= segment_bytes - FORMAT_TRAILER_BYTES;
}

static bool block_fields_fit(const struct segment_format_block_header *h)
{
    bool events = h->kind == FORMAT_BLOCK_EVENTS;
    bool bodiless = h->kind == FORMAT_BLOCK_WATERMARK || h->kind == FORMAT_BLOCK_STOP;

    if (events ? h->event_count == 0 || h->event_count > FORMAT_BLOCK_EVENTS_MAX
               : h->event_count != 0)
        return false;
    if (bodiless != (h->raw_bytes == 0))
        return false;
    if (h->sequence_first == 0 || h->sequence_first > EVENT_SEQUENCE_END - h->event_count)
        return false;
    return h->durable_offset <= h->offset && h->time_min_ns <= h->time_max_ns;
}

enum segment_format_verdict segment_format_decode_block_header(
    uint32_t seed, const uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES], uint64_t offset,
    uint64_t segment_bytes, struct segment_format_block_header *header_out)
{
    const uint8_t *b = bytes;
    struct segment_format_block_header h;

    if (memcmp(b, block_magic, sizeof block_magic) != 0)
        return bytes_are_zero(b, FORMAT_BLOCK_HEADER_BYTES) ? FORMAT_ZERO : FORMAT_BAD;
    h.checksum = bytes_load32(b + 4);
    if (h.checksum != checksum_extend(seed, b + 8, FORMAT_BLOCK_HEADER_BYTES - 8))
        return FORMAT_BAD;
    h.offset = bytes_load64(b + 24);
    if (h.offset != offset)
        return FORMAT_BAD;
    if (b[8] == 0 || b[8] > BLOCK_KIND_LAST || b[9] > BLOCK_CODEC_LAST ||
        bytes_load16(b + 10) != 0 || bytes_load32(b + 68) != 0)
        return FORMAT_NEWER;
    h.kind = (enum segment_format_block_kind)b[8];
    h.codec = (enum segment_format_codec)b[9];
    h.epoch = bytes_load32(b + 12);
    h.log_id = bytes_load64(b + 16);
    h.sequence_first = bytes_load64(b + 32);
    h.event_count = bytes_load32(b + 40);
    h.chain = bytes_load32(b + 44);
    h.size_bytes = bytes_load32(b + 48);
    h.stored_bytes = bytes_load32(b + 52);
    h.raw_bytes = bytes_load32(b + 56);
    h.raw_checksum = bytes_load32(b + 60);
    h.table_checksum = bytes_load32(b + 64);
    h.durable_offset = bytes_load64(b + 72);
    h.time_min_ns = (int64_t)bytes_load64(b + 80);
    h.time_max_ns = (int64_t)bytes_load64(b + 88);
    h.arrival_ns = (int64_t)bytes_load64(b + 96);
    if (!block_lengths_fit(&h, segment_bytes) || !block_fields_fit(&h))
        return FORMAT_BAD;
    *header_out = h;
    return FORMAT_VALID;
}

void segment_format_encode_trailer(uint32_t seed, const struct segment_format_trailer *trailer,
                                   uint8_t bytes_out[FORMAT_TRAILER_BYTES])
{
    uint8_t *b = bytes_out;

    memset(b, 0, FORMAT_TRAILER_BYTES);
    memcpy(b, trailer_magic, sizeof trailer_magic);
    bytes_store64(b + 8, trailer->seal_offset);
    bytes_store32(b + 16, trailer->seal_checksum);
    bytes_store64(b + 24, trailer->sequence_last);
    bytes_store64(b + 32, (uint64_t)trailer->time_min_ns);
    bytes_store64(b + 40, (uint64_t)trailer->time_max_ns);
    bytes_store64(b + 48, (uint64_t)trailer->arrival_last_ns);
    bytes_store32(b + 4, checksum_extend(seed, b + 8, FORMAT_TRAILER_BYTES - 8));
}

enum segment_format_verdict segment_format_decode_trailer(
    uint32_t seed, const uint8_t bytes[FORMAT_TRAILER_BYTES],
    struct segment_format_trailer *trailer_out)
{
    const uint8_t *b = bytes;

    if (memcmp(b, trailer_magic, sizeof trailer_magic) != 0)
        return bytes_are_zero(b, FORMAT_TRAILER_BYTES) ? FORMAT_ZERO : FORMAT_BAD;
    if (bytes_load32(b + 4) != checksum_extend(seed, b + 8, FORMAT_TRAILER_BYTES - 8))
        return FORMAT_BAD;
    if (bytes_load32(b + 20) != 0 || bytes_load64(b + 56) != 0)
        return FORMAT_NEWER;
    if (bytes_load64(b + 24) >= EVENT_SEQUENCE_END)
        return FORMAT_BAD;
    trailer_out->seal_offset = bytes_load64(b + 8);
    trailer_out->seal_checksum = bytes_load32(b + 16);
    trailer_out->sequence_last = bytes_load64(b + 24);
    trailer_out->time_min_ns = (int64_t)bytes_load64(b + 32);
    trailer_out->time_max_ns = (int64_t)bytes_load64(b + 40);
    trailer_out->arrival_last_ns = (int64_t)bytes_load64(b + 48);
    return FORMAT_VALID;
}

uint32_t segment_format_piece_count(uint64_t offset, uint32_t size)
{
    if (size == 0)
        return 0;
    uint64_t first = offset / FORMAT_PIECE_BYTES;
    uint64_t last = (offset + size - 1) / FORMAT_PIECE_BYTES;
    return (uint32_t)(last - first + 1);
}

size_t segment_format_record_bytes(const struct event *event)
{
    return FORMAT_RECORD_HEADER_BYTES + event->topic_bytes + event->producer_bytes +
           event->payload_bytes;
}

void segment_format_encode_record(const struct event *event, uint8_t *to)
{
    assert(event->topic_bytes <= EVENT_TOPIC_BYTES_MAX);
    assert(event->producer_bytes <= EVENT_PRODUCER_BYTES_MAX);
    assert(event->payload_bytes <= EVENT_PAYLOAD_BYTES_MAX);

    bytes_store32(to, (uint32_t)event->payload_bytes);
    to[4] = (uint8_t)event->topic_bytes;
    to[5] = (uint8_t)event->producer_bytes;
    bytes_store16(to + 6, 0);
    bytes_store64(to + 8, (uint64_t)event->time_ns);
    bytes_store64(to + 16, event->number);
    to += FORMAT_RECORD_HEADER_BYTES;
    memcpy(to, event->topic, event->topic_bytes);
    to += event->topic_bytes;
    if (event->producer_bytes > 0)
        memcpy(to, event->producer, event->producer_bytes);
    to += event->producer_bytes;
    memcpy(to, event->payload, event->payload_bytes);
}

enum error_code segment_format_decode_record(const uint8_t *at, size_t available,
                                             struct event *event_out, size_t *size_out,
                                             struct error *error)
{
    if (available < FORMAT_RECORD_HEADER_BYTES)
        return error_set(error, ERROR_DAMAGED, "%zu bytes are too few for a record", available);

    struct event event = {
        .time_ns = (int64_t)bytes_load64(at + 8),
        .topic_bytes = at[4],
        .producer_bytes = at[5],
        .payload_bytes = bytes_load32(at),
        .number = bytes_load64(at + 16),
    };
    size_t rest = available - FORMAT_RECORD_HEADER_BYTES;
    if (bytes_load16(at + 6) != 0)
        return error_set(error, ERROR_DAMAGED, "a record's reserved bytes are not zero");
    if (event.topic_bytes == 0 || event.payload_bytes == 0 ||
        event.producer_bytes > EVENT_PRODUCER_BYTES_MAX ||
        event.payload_bytes > EVENT_PAYLOAD_BYTES_MAX ||
        event.topic_bytes + event.producer_bytes + event.payload_bytes > rest)
        return error_set(error, ERROR_DAMAGED,
                         "a record of %zu+%zu+%zu bytes does not fit into %zu", event.topic_bytes,
                         event.producer_bytes, event.payload_bytes, rest);
    event.topic = (const char *)at + FORMAT_RECORD_HEADER_BYTES;
    event.producer = event.topic + event.topic_bytes;
    event.payload = event.producer + event.producer_bytes;
    *size_out = segment_format_record_bytes(&event);
    *event_out = event;
    return OK;
}

const char *segment_format_gap_cause_text(enum segment_format_gap_cause cause)
{
    switch (cause) {
    case FORMAT_GAP_TORN_TAIL:
        return "torn tail";
    case FORMAT_GAP_POWER_LOSS:
        return "power loss";
    case FORMAT_GAP_DAMAGED_TAIL:
        return "damaged tail";
    case FORMAT_GAP_DAMAGE:
        return "damage";
    }
    return "unknown";
}

bool segment_format_gap_is_loss(enum segment_format_gap_cause cause)
{
    return cause == FORMAT_GAP_DAMAGED_TAIL || cause == FORMAT_GAP_DAMAGE;
}

void segment_format_encode_gap(const struct segment_format_gap *gap,
                               uint8_t bytes_out[FORMAT_GAP_BODY_BYTES])
{
    memset(bytes_out, 0, FORMAT_GAP_BODY_BYTES);
    bytes_store64(bytes_out, gap->sequence_first);
    bytes_store64(bytes_out + 8, gap->sequence_last);
    bytes_store32(bytes_out + 16, (uint32_t)gap->cause);
}

enum error_code segment_format_decode_gap(const void *body, size_t size,
                                          struct segment_format_gap *gap_out, struct error *error)
{
    const uint8_t *b = body;

    if (size != FORMAT_GAP_BODY_BYTES)
        return error_set(error, ERROR_DAMAGED, "a gap of %zu bytes instead of %d", size,
                         FORMAT_GAP_BODY_BYTES);
    struct segment_format_gap gap = {
        .sequence_first = bytes_load64(b),
        .sequence_last = bytes_load64(b + 8),
        .cause = (enum segment_format_gap_cause)bytes_load32(b + 16),
    };
    if (bytes_load32(b + 20) != 0 || gap.cause < FORMAT_GAP_TORN_TAIL ||
        gap.cause > FORMAT_GAP_DAMAGE)
        return error_set(error, ERROR_VERSION, "a gap of a cause that this Daybook does not know");
    if (gap.sequence_first == 0 || gap.sequence_last < gap.sequence_first ||
        gap.sequence_last >= EVENT_SEQUENCE_END)
        return error_set(error, ERROR_DAMAGED,
                         "a gap from %" PRIu64 " to %" PRIu64 " is impossible", gap.sequence_first,
                         gap.sequence_last);
    *gap_out = gap;
    return OK;
}

void segment_format_log_id_text(const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                char text_out[FORMAT_LOG_ID_TEXT + 1])
{
    for (size_t i = 0; i < FORMAT_LOG_ID_PUBLIC_BYTES; i++)
        snprintf(text_out + 2 * i, 3, "%02x", log_id[i]);
}

void segment_format_segment_name(uint64_t sequence_first,
                                 char name_out[FORMAT_SEGMENT_NAME_BYTES + 1])
{
    snprintf(name_out, FORMAT_SEGMENT_NAME_BYTES + 1, "%020" PRIu64 ".seg", sequence_first);
}

bool segment_format_parse_segment_name(const char *name, uint64_t *sequence_first_out)
{
    uint64_t value = 0;

    if (strlen(name) != FORMAT_SEGMENT_NAME_BYTES || strcmp(name + 20, ".seg") != 0)
        return false;
    for (int i = 0; i < 20; i++) {
        uint64_t digit = (uint64_t)(name[i] - '0');
        if (name[i] < '0' || name[i] > '9' || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value == 0 || value > EVENT_SEQUENCE_END)
        return false;
    *sequence_first_out = value;
    return true;
}
