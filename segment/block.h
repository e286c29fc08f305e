/*
 * segment/block.h - a block of events: gathered in memory, encoded to bytes, checked and opened
 * again.
 *
 * The body is compressed by LZ4 when that saves at least an eighth. Each 512-byte sector of the
 * file that the stored body touches has its own checksum in a table behind the body, so that
 * recovery can tell a sector that was never written (torn by a crash) from one that changed
 * afterwards (damage).
 */
#ifndef DAYBOOK_SEGMENT_BLOCK_H
#define DAYBOOK_SEGMENT_BLOCK_H

#include "core/bytes.h"
#include "segment/format.h"

/* Events gathered for one block. Zero-initialised is empty; release frees. */
struct segment_block_builder {
    struct buffer raw; /* encoded records */
    uint64_t sequence_first;
    uint32_t event_count;
    bool has_producers; /* one of the events has */
    int64_t time_min_ns;
    int64_t time_max_ns;
    int64_t arrival_ns; /* of the first event */
};

/*
 * Copy one event in. Its sequence follows the one before; time_ns must be set. ERROR_FULL: it does
 * not fit beside what is there (raw size over `raw_max`, or too many events), nothing changed. An
 * empty builder takes any valid event.
 */
enum error_code segment_block_builder_add(struct segment_block_builder *builder,
                                          const struct event *event, size_t raw_max,
                                          struct error *error);
/* Empty it again; keeps at most `capacity_keep` bytes of memory. */
void segment_block_builder_reset(struct segment_block_builder *builder, size_t capacity_keep);
void segment_block_builder_release(struct segment_block_builder *builder);

/* How long compression may take: the writer's commit waits for it, packing has time. */
enum segment_block_effort { BLOCK_FAST, BLOCK_TIGHT };

/*
 * Append the encoded block to `out` (header, body, table, zero padding up to size_bytes). The
 * caller has set in `header`: kind, epoch, log_id, offset, sequence_first, event_count, chain,
 * durable_offset, times; this sets the rest. The block's end (offset + size) is rounded up to
 * `end_align` (a power of two, >= 8).
 */
enum error_code segment_block_encode(uint32_t seed, struct segment_format_block_header *header,
                                     const void *raw, size_t raw_bytes,
                                     enum segment_block_effort effort, uint32_t end_align,
                                     struct buffer *out, struct error *error);
/* No encoded block of `raw_bytes` is larger than this. */
size_t segment_block_encoded_bytes_max(size_t raw_bytes, uint32_t end_align);

/*
 * Check the body and table of a block whose header was valid: `block` holds header->size_bytes
 * bytes, private to the caller (never a shared map: it could change after the check). On success
 * *raw_out points at the raw body: into `block`, or into `scratch` where it was compressed.
 * ERROR_DAMAGED says which sector. Padding must be zero.
 */
enum error_code segment_block_open(const struct segment_format_block_header *header,
                                   const uint8_t *block, struct buffer *scratch,
                                   const uint8_t **raw_out, struct error *error);

/* For recovery: is each bad sector of the body all zero, as if it had never been written? */
bool segment_block_is_torn(const struct segment_format_block_header *header, const uint8_t *block);

/* The events of a raw body, in order; each must decode and the count must match. */
struct segment_block_cursor {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t sequence_next;
    uint32_t events_left;
};
void segment_block_cursor_init(struct segment_block_cursor *cursor,
                               const struct segment_format_block_header *header,
                               const uint8_t *raw);
/* ERROR_END after the last; ERROR_DAMAGED when the body contradicts its header. */
enum error_code segment_block_cursor_next(struct segment_block_cursor *cursor,
                                          struct event *event_out, struct error *error);

#endif
