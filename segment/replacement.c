#include "segment/replacement.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/checksum.h"
#include "core/file.h"
#include "segment/check.h"
#include "segment/seal.h"
#include "segment/writer.h"

struct segment_replacement {
    const struct segment_replacement_start *start;
    struct segment_format_segment_header header;
    int fd;
    uint32_t seed;
    uint64_t offset;
    uint64_t expected;
    int64_t arrival_ns;
    struct segment_seal seal;
    uint64_t seal_offset;
    uint32_t seal_checksum;
    uint64_t synced_bytes;
    struct segment_replacement_sum sum;
    struct buffer encoded;
};

/* So much is given to the disk at once: what others sync meanwhile does not wait for more. */
enum { SYNC_BYTES = 4 << 20 };

static enum error_code check_stopped(const struct segment_replacement_start *start,
                                     struct error *error)
{
    if (start->stopped && start->stopped(start->context))
        return error_set(error, ERROR_END, "it was stopped");
    return OK;
}

void segment_replacement_add(struct segment_replacement_sum *sum,
                             const struct segment_salvage_block *block)
{
    sum->digest = checksum_extend(sum->digest, block->raw, block->raw_bytes);
    sum->events += block->event_count;
}

/*
 * All blocks chain from the header, which says how long the whole is, and that is known when the
 * last of them is written: until then they are without their link.
 */
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
        .time_min_ns = block->kind == FORMAT_BLOCK_EVENTS ? block->time_min_ns : 0,
        .time_max_ns = block->kind == FORMAT_BLOCK_EVENTS ? block->time_max_ns : 0,
        .arrival_ns = replacement->arrival_ns,
    };
    replacement->encoded.size = 0;
    enum error_code code = segment_block_encode(
        replacement->seed, &header, block->raw, block->raw_bytes, replacement->start->effort,
        FORMAT_ALIGNMENT, &replacement->encoded, error);
    uint64_t end = replacement->offset + header.size_bytes;
    if (!code && end > FORMAT_SEGMENT_BYTES_MAX - FORMAT_SEGMENT_HEADER_BYTES)
        code = error_set(error, ERROR_FULL, "what it would hold does not fit into 4 GiB");
    if (!code && block->kind == FORMAT_BLOCK_EVENTS)
        code = segment_seal_add(&replacement->seal, &header, block->raw, error);
    if (!code)
        code = file_write(replacement->fd, replacement->start->name, replacement->encoded.data,
                          header.size_bytes, replacement->offset, error);
    if (code)
        return code;
    replacement->offset = end;
    if (end - replacement->synced_bytes < SYNC_BYTES)
        return OK;
    replacement->synced_bytes = end;
    code = check_stopped(replacement->start, error);
    return code ? code : file_sync_data(replacement->fd, replacement->start->name, error);
}

enum error_code segment_replacement_put(struct segment_replacement *replacement,
                                        const struct segment_salvage_block *block,
                                        struct error *error)
{
    assert(block->sequence_first == replacement->expected);
    enum error_code code = put_block(replacement, block, error);
    if (code)
        return code;
    if (block->kind == FORMAT_BLOCK_GAP)
        segment_seal_add_gap(&replacement->seal, block->sequence_last);
    segment_replacement_add(&replacement->sum, block);
    replacement->expected = block->sequence_last + 1;
    return OK;
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
    if (replacement->start->arrival_last_ns > seal->arrival_last_ns)
        seal->arrival_last_ns = replacement->start->arrival_last_ns;
    replacement->seal_offset = replacement->offset;
    /* The writer rolls before it comes so far; blocks that were cut otherwise may. */
    if (segment_seal_bytes(seal) > FORMAT_BLOCK_RAW_MAX)
        return error_set(error, ERROR_FULL, "the list of its blocks does not fit into one block");
    enum error_code code = segment_seal_encode(seal, &body, error);
    if (!code) {
        struct segment_salvage_block block = {
            .kind = FORMAT_BLOCK_SEAL,
            .sequence_first = replacement->expected,
            .arrival_ns = seal->arrival_last_ns,
            .raw = body.data,
            .raw_bytes = body.size,
        };
        code = put_block(replacement, &block, error);
    }
    buffer_release(&body);
    return code;
}

/* The whole, up to where the trailer will be: a header, and zeros behind the seal. */
static enum error_code put_ends(struct segment_replacement *replacement, uint32_t *chain_out,
                                struct error *error)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint64_t end = replacement->offset;
    uint64_t size = bytes_align(end + FORMAT_TRAILER_BYTES, FORMAT_SEGMENT_HEADER_BYTES);
    if (size < FORMAT_SEGMENT_BYTES_MIN)
        size = FORMAT_SEGMENT_BYTES_MIN;
    replacement->header.size_bytes = size;
    replacement->header.published_bytes = end;
    segment_format_encode_segment_header(&replacement->header, bytes, chain_out);
    enum error_code code =
        file_write(replacement->fd, replacement->start->name, bytes, sizeof bytes, 0, error);
    return code ? code
                : file_zero(replacement->fd, replacement->start->name, end, size - end, error);
}

/* Now that the header is there: give each block its link. */
static enum error_code link_blocks(struct segment_replacement *replacement, uint32_t chain,
                                   struct error *error)
{
    const char *name = replacement->start->name;
    const struct segment_format_segment_header *segment = &replacement->header;
    enum error_code code = OK;
    uint64_t offset = FORMAT_SEGMENT_HEADER_BYTES;
    while (!code && offset < segment->published_bytes) {
        uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];
        struct segment_format_block_header header;
        code = file_read(replacement->fd, name, bytes, sizeof bytes, offset, error);
        if (!code && segment_format_decode_block_header(replacement->seed, bytes, offset,
                                                        segment->size_bytes, &header))
            code = error_set(error, ERROR_IO,
                             "the block at byte %" PRIu64 " cannot be read back as it was written",
                             offset);
        if (code)
            break;
        header.chain = chain;
        segment_format_encode_block_header(replacement->seed, &header, bytes);
        code = file_write(replacement->fd, name, bytes, sizeof bytes, offset, error);
        chain = header.checksum;
        offset += header.size_bytes;
    }
    replacement->seal_checksum = chain;
    return code;
}

static enum error_code write_all(struct segment_replacement *replacement, struct error *error)
{
    uint32_t chain = 0;
    replacement->offset = FORMAT_SEGMENT_HEADER_BYTES;
    replacement->expected = replacement->header.sequence_first;
    replacement->arrival_ns = replacement->start->arrival_ns;
    const struct segment_replacement_start *start = replacement->start;
    enum error_code code = start->feed(start->context, replacement, error);
    if (!code)
        code = put_seal(replacement, error);
    if (!code)
        code = put_ends(replacement, &chain, error);
    if (!code)
        code = link_blocks(replacement, chain, error);
    /* It gets its name only when all of it is durable, so the trailer need not wait for the seal;
     * this syncs both. */
    if (!code)
        code = segment_writer_put_trailer(replacement->fd, &replacement->header, &replacement->seal,
                                          replacement->seal_offset, replacement->seal_checksum,
                                          error);
    return code;
}

static enum error_code create_file(struct segment_replacement *replacement, struct error *error)
{
    int segments_fd = replacement->start->segments_fd;
    char old_name[FORMAT_SEGMENT_NAME_BYTES + 1];
    struct stat old;
    enum error_code code = file_unlink(segments_fd, replacement->start->name, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    code = file_open(segments_fd, replacement->start->name, FILE_CREATE, &replacement->fd, error);
    segment_format_segment_name(replacement->header.sequence_first, old_name);
    if (code || file_status_at(segments_fd, old_name, &old, NULL))
        return code;
    return file_make_alike(replacement->fd, replacement->start->name, &old, error);
}

/* As segment_set_load would find it, had it its name already. */
static void describe(const struct segment_replacement *replacement,
                     struct segment_set_segment *written_out)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    const struct segment_seal *seal = &replacement->seal;
    *written_out = (struct segment_set_segment){
        .sequence_first = replacement->header.sequence_first,
        .size_bytes = replacement->header.size_bytes,
        .header_verdict = FORMAT_VALID,
        .header = replacement->header,
        .seed = replacement->seed,
        .sealed = true,
        .trailer_verdict = FORMAT_VALID,
        .trailer = {.seal_offset = replacement->seal_offset,
                    .seal_checksum = replacement->seal_checksum,
                    .sequence_last = seal->sequence_last,
                    .time_min_ns = seal->time_min_ns,
                    .time_max_ns = seal->time_max_ns,
                    .arrival_last_ns = seal->arrival_last_ns},
    };
    snprintf(written_out->name, sizeof written_out->name, "%s", replacement->start->name);
    segment_format_encode_segment_header(&written_out->header, bytes,
                                         &written_out->header_checksum);
}

enum error_code segment_replacement_write(const struct segment_replacement_start *start,
                                          struct segment_set_segment *written_out,
                                          struct segment_replacement_sum *sum_out,
                                          struct error *error)
{
    struct segment_replacement replacement = {
        .start = start,
        .header = start->header,
        .fd = -1,
        .seed = segment_format_seed(start->header.log_id, start->header.sequence_first),
    };
    replacement.header.commit_align = FORMAT_ALIGNMENT;
    segment_seal_init(&replacement.seal, start->header.sequence_first);
    enum error_code code = create_file(&replacement, error);
    if (!code)
        code = write_all(&replacement, error);
    if (code && replacement.fd >= 0)
        file_unlink(start->segments_fd, start->name, NULL);
    if (!code) {
        /* Who reads it back is to see what the disk has. */
        file_drop_cache(replacement.fd, 0, replacement.header.size_bytes);
        describe(&replacement, written_out);
        *sum_out = replacement.sum;
    }
    file_close(&replacement.fd);
    segment_seal_release(&replacement.seal);
    buffer_release(&replacement.encoded);
    return code ? error_prefix(error, "write segment %020" PRIu64 ".seg anew",
                               start->header.sequence_first)
                : OK;
}

struct proof {
    const struct segment_replacement_start *start;
    struct segment_check check;
    struct segment_replacement_sum sum;
    char finding[300];
};

static void note_finding(void *context, const struct segment_verify_finding *finding)
{
    struct proof *proof = context;
    snprintf(proof->finding, sizeof proof->finding, "%s", finding->text);
}

static void note_progress(void *context, uint64_t bytes)
{
    struct proof *proof = context;
    (void)bytes;
    check_stopped(proof->start, &proof->check.ended);
}

static enum error_code check_bytes(struct proof *proof, const struct segment_set_segment *written,
                                   struct error *error)
{
    const uint8_t *log_id = written->header.log_id;
    struct segment_check *check = &proof->check;
    struct segment_view view = {0};
    enum error_code code =
        segment_view_open(&view, proof->start->segments_fd, written, log_id, error);
    if (code)
        return code;
    segment_check_init(check, &view, log_id);
    check->found = note_finding;
    check->progress = note_progress;
    check->context = proof;
    check->must_seal = true;
    check->must_last = written->trailer.sequence_last;
    code = segment_check_run(check, error);
    segment_view_release(&view);
    return code;
}

static enum error_code add_blocks(struct proof *proof, const struct segment_set_segment *written,
                                  struct error *error)
{
    struct segment_salvage salvage = {0};
    struct segment_salvage_block block;
    bool stopped = false;
    enum error_code code =
        segment_salvage_open(&salvage, proof->start->segments_fd, written, written->header.log_id,
                             written->trailer.sequence_last, error);
    while (!code && !stopped && (code = segment_salvage_next(&salvage, &block, error)) == OK) {
        segment_replacement_add(&proof->sum, &block);
        code = check_stopped(proof->start, error);
        stopped = code != OK;
    }
    segment_salvage_release(&salvage);
    if (salvage.trouble.code && !proof->finding[0])
        snprintf(proof->finding, sizeof proof->finding, "%.299s", salvage.trouble.text);
    return code == ERROR_END && !stopped ? OK : code;
}

enum error_code segment_replacement_prove(const struct segment_replacement_start *start,
                                          const struct segment_set_segment *written,
                                          const struct segment_replacement_sum *sum,
                                          struct error *error)
{
    struct proof proof = {.start = start};
    enum error_code code = check_bytes(&proof, written, error);
    if (!code)
        code = add_blocks(&proof, written, error);
    if (!code && (proof.finding[0] || proof.sum.digest != sum->digest ||
                  proof.sum.events != sum->events))
        code = error_set(error, ERROR_IO,
                         "what was written cannot be read back as it was, nothing was replaced: %s",
                         proof.finding[0] ? proof.finding : "its events are others");
    return code;
}

enum error_code segment_replacement_publish(int segments_fd, struct segment_set_segment *written,
                                            struct error *error)
{
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    segment_format_segment_name(written->sequence_first, name);
    enum error_code code = file_rename(segments_fd, written->name, name, error);
    if (code)
        return code;
    memcpy(written->name, name, sizeof name);
    struct error why;
    /* Whatever the reason: nobody knows which of the two has the name after a power cut. */
    if (file_sync_directory(segments_fd, "segments", &why))
        return error_set(error, ERROR_IO, "%s", why.text);
    return OK;
}
