#include "segment/replacement.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/seal.h"
#include "segment/writer.h"

struct segment_replacement {
    const struct segment_replacement_start *start;
    struct segment_format_segment_header header;
    int fd; /* -1: only measuring */
    uint32_t seed;
    uint32_t chain;
    uint64_t offset;
    uint64_t expected;
    int64_t arrival_ns;
    struct segment_seal seal;
    uint64_t seal_offset;
    struct buffer encoded;
};

/* Begin the first or the second pass. */
static void rewind_to_beginning(struct segment_replacement *replacement, uint32_t chain)
{
    replacement->chain = chain;
    replacement->offset = FORMAT_SEGMENT_HEADER_BYTES;
    replacement->expected = replacement->header.sequence_first;
    replacement->arrival_ns = replacement->start->arrival_ns;
    segment_seal_release(&replacement->seal);
    segment_seal_init(&replacement->seal, replacement->header.sequence_first);
}

/* The block's size does not depend on its chain, so both passes come to the same offsets. */
static enum error_code put_block(struct segment_replacement *replacement,
                                 const struct segment_salvage_block *block, struct error *error)
{
    if (block->arrival_ns > replacement->arrival_ns)
        replacement->arrival_ns = block->arrival_ns;
    struct segment_format_block_header header = {
        .kind = block->kind,
        .epoch = replacement->header.epoch,
        .log_id = bytes_load64(replacement->header.log_id),
        .offset = replacement->offset,
        .sequence_first = block->sequence_first,
        .event_count = block->event_count,
        .chain = replacement->chain,
        .time_min_ns = block->kind == FORMAT_BLOCK_EVENTS ? block->time_min_ns : 0,
        .time_max_ns = block->kind == FORMAT_BLOCK_EVENTS ? block->time_max_ns : 0,
        .arrival_ns = replacement->arrival_ns,
    };
    replacement->encoded.size = 0;
    enum error_code code =
        segment_block_encode(replacement->seed, &header, block->raw, block->raw_bytes,
                             FORMAT_ALIGNMENT, &replacement->encoded, error);
    if (!code && block->kind == FORMAT_BLOCK_EVENTS)
        code = segment_seal_add(&replacement->seal, &header, block->raw, error);
    if (!code && replacement->fd >= 0)
        code = file_write(replacement->fd, REPLACEMENT_FILE_NAME, replacement->encoded.data,
                          header.size_bytes, replacement->offset, error);
    if (code)
        return code;
    replacement->chain = header.checksum;
    replacement->offset += header.size_bytes;
    return OK;
}

enum error_code segment_replacement_put(struct segment_replacement *replacement,
                                        const struct segment_salvage_block *block,
                                        struct error *error)
{
    assert(block->sequence_first == replacement->expected);
    enum error_code code = put_block(replacement, block, error);
    if (!code && block->kind == FORMAT_BLOCK_GAP)
        segment_seal_add_gap(&replacement->seal, block->sequence_last);
    if (!code)
        replacement->expected = block->sequence_last + 1;
    return code;
}

enum error_code segment_replacement_put_gap(struct segment_replacement *replacement,
                                            const struct segment_format_gap *gap,
                                            struct error *error)
{
    uint8_t body[FORMAT_GAP_BODY_BYTES];
    segment_format_encode_gap(gap, body);
    struct segment_salvage_block block = {
        .kind = FORMAT_BLOCK_GAP,
        .sequence_first = gap->sequence_first,
        .sequence_last = gap->sequence_last,
        .arrival_ns = INT64_MIN,
        .raw = body,
        .raw_bytes = sizeof body,
    };
    return segment_replacement_put(replacement, &block, error);
}

enum error_code segment_replacement_put_producers(struct segment_replacement *replacement,
                                                  const struct segment_producers *producers,
                                                  struct error *error)
{
    struct buffer body = {0};
    enum error_code code = OK;
    size_t position = 0;
    while (!code && position < segment_producers_count(producers)) {
        body.size = 0;
        code = segment_producers_encode(producers, &position, &body, error);
        struct segment_salvage_block block = {
            .kind = FORMAT_BLOCK_PRODUCERS,
            .sequence_first = replacement->expected,
            .sequence_last = replacement->expected - 1,
            .arrival_ns = INT64_MIN,
            .raw = body.data,
            .raw_bytes = body.size,
        };
        if (!code)
            code = segment_replacement_put(replacement, &block, error);
    }
    buffer_release(&body);
    return code;
}

static enum error_code put_seal(struct segment_replacement *replacement, struct error *error)
{
    struct buffer body = {0};
    struct segment_seal *seal = &replacement->seal;
    if (seal->event_count == 0)
        seal->arrival_first_ns = seal->arrival_last_ns = replacement->arrival_ns;
    replacement->seal_offset = replacement->offset;
    enum error_code code = segment_seal_encode(seal, &body, error);
    if (!code) {
        struct segment_salvage_block block = {
            .kind = FORMAT_BLOCK_SEAL,
            .sequence_first = replacement->expected,
            .arrival_ns = INT64_MIN,
            .raw = body.data,
            .raw_bytes = body.size,
        };
        code = put_block(replacement, &block, error);
    }
    buffer_release(&body);
    return code;
}

static enum error_code pass(struct segment_replacement *replacement, uint32_t chain,
                            struct error *error)
{
    rewind_to_beginning(replacement, chain);
    enum error_code code =
        replacement->start->feed(replacement->start->context, replacement, error);
    return code ? code : put_seal(replacement, error);
}

static enum error_code measure(struct segment_replacement *replacement, struct error *error)
{
    enum error_code code = pass(replacement, 0, error);
    if (code)
        return code;
    uint64_t size =
        bytes_align(replacement->offset + FORMAT_TRAILER_BYTES, FORMAT_SEGMENT_HEADER_BYTES);
    if (size < FORMAT_SEGMENT_BYTES_MIN)
        size = FORMAT_SEGMENT_BYTES_MIN;
    if (size > FORMAT_SEGMENT_BYTES_MAX)
        return error_set(error, ERROR_FULL,
                         "what is left of segment %020" PRIu64 ".seg does not fit into 4 GiB",
                         replacement->header.sequence_first);
    replacement->header.size_bytes = size;
    replacement->header.published_bytes = replacement->offset;
    return OK;
}

static enum error_code write_all(struct segment_replacement *replacement, struct error *error)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t chain;
    segment_format_encode_segment_header(&replacement->header, bytes, &chain);
    enum error_code code = pass(replacement, chain, error);
    if (!code && replacement->offset != replacement->header.published_bytes)
        code = error_set(error, ERROR_DAMAGED, "it was read in two ways: the device is failing");
    if (!code)
        code = file_write(replacement->fd, REPLACEMENT_FILE_NAME, bytes, sizeof bytes, 0, error);
    /* It gets its name only when all of it is durable, so the trailer need not wait for the seal;
     * this syncs both. */
    if (!code)
        code = segment_writer_put_trailer(replacement->fd, &replacement->header, &replacement->seal,
                                          replacement->seal_offset, replacement->chain, error);
    return code;
}

static enum error_code create_file(struct segment_replacement *replacement, struct error *error)
{
    int segments_fd = replacement->start->segments_fd;
    enum error_code code = file_unlink(segments_fd, REPLACEMENT_FILE_NAME, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    return file_create_zeroed(segments_fd, REPLACEMENT_FILE_NAME, replacement->header.size_bytes,
                              &replacement->fd, error);
}

/* As segment_set_load would find it, had it its name already. */
static void describe(const struct segment_replacement *replacement,
                     struct segment_set_segment *written_out)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    const struct segment_seal *seal = &replacement->seal;
    *written_out = (struct segment_set_segment){
        .name = REPLACEMENT_FILE_NAME,
        .sequence_first = replacement->header.sequence_first,
        .size_bytes = replacement->header.size_bytes,
        .header_verdict = FORMAT_VALID,
        .header = replacement->header,
        .seed = replacement->seed,
        .sealed = true,
        .trailer_verdict = FORMAT_VALID,
        .trailer = {.seal_offset = replacement->seal_offset,
                    .seal_checksum = replacement->chain,
                    .sequence_last = seal->sequence_last,
                    .time_min_ns = seal->time_min_ns,
                    .time_max_ns = seal->time_max_ns,
                    .arrival_last_ns = seal->arrival_last_ns},
    };
    segment_format_encode_segment_header(&written_out->header, bytes,
                                         &written_out->header_checksum);
}

enum error_code segment_replacement_write(const struct segment_replacement_start *start,
                                          struct segment_set_segment *written_out,
                                          struct error *error)
{
    struct segment_replacement replacement = {
        .start = start,
        .header = start->header,
        .fd = -1,
        .seed = segment_format_seed(start->header.log_id, start->header.sequence_first),
    };
    replacement.header.commit_align = FORMAT_ALIGNMENT;
    enum error_code code = measure(&replacement, error);
    if (!code)
        code = create_file(&replacement, error);
    if (!code)
        code = write_all(&replacement, error);
    if (!code) {
        /* Who reads it back is to see what the disk has. */
        file_drop_cache(replacement.fd, 0, replacement.header.size_bytes);
        describe(&replacement, written_out);
    }
    file_close(&replacement.fd);
    segment_seal_release(&replacement.seal);
    buffer_release(&replacement.encoded);
    return code ? error_prefix(error, "write segment %020" PRIu64 ".seg anew",
                               start->header.sequence_first)
                : OK;
}
