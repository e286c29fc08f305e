#include "segment/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"

struct segment_writer {
    int segments_fd; /* borrowed */
    int fd;
    uint8_t *map; /* NULL: by pwrite */
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    struct segment_format_segment_header header;
    uint32_t epoch;
    uint32_t seed;
    uint32_t chain;
    uint64_t log_id;
    uint64_t offset;          /* behind the last block */
    uint64_t durable_offset;  /* everything before was synced */
    uint64_t promised_offset; /* … and the last block says so */
    uint64_t events_end;      /* behind the last events block */
    bool has_put;
    bool sealed;
    struct segment_seal seal;
    struct buffer encoded;
};

/* A block without a body, padded as far as it may be. */
static size_t mark_bytes_max(uint32_t commit_align)
{
    return segment_block_encoded_bytes_max(0, commit_align);
}

/* What must stay free behind a block: seal, a watermark, a stop mark, the trailer. */
static uint64_t tail_bytes_max(size_t seal_bytes, uint32_t commit_align)
{
    return segment_block_encoded_bytes_max(seal_bytes, commit_align) +
           2 * mark_bytes_max(commit_align) + FORMAT_TRAILER_BYTES;
}

uint64_t segment_writer_size_min(const struct segment_writer_start *start, size_t raw_bytes,
                                 size_t events)
{
    uint32_t align = start->header.commit_align;
    /* 17 bytes and a name an entry (segment/producers.c), in blocks of at most 256 KiB. */
    size_t producers =
        segment_producers_count(start->producers) * (17 + (size_t)EVENT_PRODUCER_BYTES_MAX);
    size_t snapshot_blocks = producers / (PRODUCERS_BLOCK_MAX - 128) + 1;
    uint64_t size = FORMAT_SEGMENT_HEADER_BYTES;

    size += segment_block_encoded_bytes_max(producers, align) + snapshot_blocks * 4096;
    size += 2 * segment_block_encoded_bytes_max(FORMAT_GAP_BODY_BYTES, align);
    size += segment_block_encoded_bytes_max(raw_bytes, align);
    size += tail_bytes_max(SEAL_HEAD_BYTES + segment_seal_growth_max(raw_bytes, events), align);
    size = bytes_align(size, FORMAT_SEGMENT_HEADER_BYTES);
    return size < FORMAT_SEGMENT_BYTES_MIN ? FORMAT_SEGMENT_BYTES_MIN : size;
}

bool segment_writer_fits(const struct segment_writer *writer, size_t raw_bytes, size_t events)
{
    uint32_t align = writer->header.commit_align;
    size_t seal = segment_seal_bytes(&writer->seal) + segment_seal_growth_max(raw_bytes, events);
    /* Behind a stop mark a watermark comes first (segment/committer.c). */
    size_t first = writer->has_put ? 0 : mark_bytes_max(align);

    return !writer->sealed && seal <= FORMAT_BLOCK_RAW_MAX &&
           writer->offset + first + segment_block_encoded_bytes_max(raw_bytes, align) +
                   tail_bytes_max(seal, align) <=
               writer->header.size_bytes;
}

struct stores {
    uint8_t *to;
    const uint8_t *bytes;
    size_t size;
};

/*
 * Through the map the body goes first and the header's first word last: when the process is killed
 * on the way, or the kernel writes the page, that is still zero and recovery sees a torn block
 * instead of a strange one. Blocks begin at multiples of 8, so the word is stored at once.
 */
static void store_block(void *context)
{
    const struct stores *stores = context;
    uint64_t first;

    memcpy(&first, stores->bytes, sizeof first);
    memcpy(stores->to + FORMAT_BLOCK_HEADER_BYTES, stores->bytes + FORMAT_BLOCK_HEADER_BYTES,
           stores->size - FORMAT_BLOCK_HEADER_BYTES);
    memcpy(stores->to + sizeof first, stores->bytes + sizeof first,
           FORMAT_BLOCK_HEADER_BYTES - sizeof first);
    __atomic_store_n((uint64_t *)(void *)stores->to, first, __ATOMIC_RELEASE);
}

static enum error_code put_bytes(struct segment_writer *writer, const uint8_t *bytes, size_t size,
                                 struct error *error)
{
    if (!writer->map)
        return file_write(writer->fd, writer->name, bytes, size, writer->offset, error);

    struct stores stores = {writer->map + writer->offset, bytes, size};
    if (file_map_try(store_block, &stores))
        return OK;
    return error_set(error, ERROR_IO,
                     "cannot write '%s' at byte %" PRIu64
                     " through its map: the disk failed, or somebody cut the file short",
                     writer->name, writer->offset);
}

enum error_code segment_writer_put(struct segment_writer *writer,
                                   const struct segment_writer_block *block, struct error *error)
{
    struct segment_format_block_header header = {
        .kind = block->kind,
        .epoch = writer->epoch,
        .log_id = writer->log_id,
        .offset = writer->offset,
        .sequence_first = block->sequence_first,
        .event_count = block->event_count,
        .chain = writer->chain,
        .durable_offset = writer->durable_offset,
        .time_min_ns = block->time_min_ns,
        .time_max_ns = block->time_max_ns,
        .arrival_ns = block->arrival_ns,
    };

    assert(!writer->sealed);
    writer->encoded.size = 0;
    enum error_code code = segment_block_encode(writer->seed, &header, block->raw, block->raw_bytes,
                                                BLOCK_FAST, writer->header.commit_align,
                                                &writer->encoded, error);
    if (code)
        return code;
    assert(writer->offset + header.size_bytes <= writer->header.size_bytes - FORMAT_TRAILER_BYTES);
    if (block->kind == FORMAT_BLOCK_EVENTS)
        code = segment_seal_add(&writer->seal, &header, block->raw, error);
    if (!code)
        code = put_bytes(writer, writer->encoded.data, header.size_bytes, error);
    if (code)
        return error_prefix(error, "segment %s", writer->name);
    writer->has_put = true;
    writer->chain = header.checksum;
    writer->offset += header.size_bytes;
    writer->promised_offset = header.durable_offset;
    if (block->kind == FORMAT_BLOCK_EVENTS)
        writer->events_end = writer->offset;
    return OK;
}

enum error_code segment_writer_sync(struct segment_writer *writer, struct error *error)
{
    enum error_code code = file_sync_data(writer->fd, writer->name, error);
    if (code)
        return error_prefix(error, "segment %s", writer->name);
    writer->durable_offset = writer->offset;
    return OK;
}

/* The trailer is written once and read never by this process, so the map is not needed for it. */
enum error_code segment_writer_put_trailer(int fd,
                                           const struct segment_format_segment_header *header,
                                           const struct segment_seal *totals, uint64_t seal_offset,
                                           uint32_t seal_checksum, struct error *error)
{
    struct segment_format_trailer trailer = {
        .seal_offset = seal_offset,
        .seal_checksum = seal_checksum,
        .sequence_last = totals->sequence_last,
        .time_min_ns = totals->time_min_ns,
        .time_max_ns = totals->time_max_ns,
        .arrival_last_ns = totals->arrival_last_ns,
    };
    uint8_t bytes[FORMAT_TRAILER_BYTES];
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];

    segment_format_segment_name(header->sequence_first, name);
    segment_format_encode_trailer(segment_format_seed(header->log_id, header->sequence_first),
                                  &trailer, bytes);
    enum error_code code =
        file_write(fd, name, bytes, sizeof bytes, header->size_bytes - FORMAT_TRAILER_BYTES, error);
    return code ? code : file_sync_data(fd, name, error);
}

enum error_code segment_writer_seal(struct segment_writer *writer, int64_t arrival_ns,
                                    struct error *error)
{
    struct buffer body = {0};
    uint64_t seal_offset = writer->offset;

    if (writer->seal.event_count == 0)
        writer->seal.arrival_first_ns = writer->seal.arrival_last_ns = arrival_ns;
    enum error_code code = segment_seal_encode(&writer->seal, &body, error);
    if (!code) {
        struct segment_writer_block block = {
            .kind = FORMAT_BLOCK_SEAL,
            .sequence_first = writer->seal.sequence_last + 1,
            .arrival_ns = arrival_ns,
            .raw = body.data,
            .raw_bytes = body.size,
        };
        code = segment_writer_put(writer, &block, error);
    }
    /* Two syncs, so that a valid trailer proves that the seal was durable (segment/recovery.c, B).
     */
    if (!code)
        code = segment_writer_sync(writer, error);
    if (!code)
        code = segment_writer_put_trailer(writer->fd, &writer->header, &writer->seal, seal_offset,
                                          writer->chain, error);
    writer->sealed = true;
    buffer_release(&body);
    return code;
}

static enum error_code put_gap(struct segment_writer *writer, const struct segment_format_gap *gap,
                               int64_t arrival_ns, struct error *error)
{
    uint8_t bytes[FORMAT_GAP_BODY_BYTES];
    segment_format_encode_gap(gap, bytes);
    struct segment_writer_block block = {
        .kind = FORMAT_BLOCK_GAP,
        .sequence_first = gap->sequence_first,
        .arrival_ns = arrival_ns,
        .raw = bytes,
        .raw_bytes = sizeof bytes,
    };
    enum error_code code = segment_writer_put(writer, &block, error);
    if (!code)
        segment_seal_add_gap(&writer->seal, gap->sequence_last);
    return code;
}

/* Producers and gaps: they are durable before the segment has its name. */
static enum error_code put_beginning(struct segment_writer *writer,
                                     const struct segment_writer_start *start, struct error *error)
{
    uint64_t sequence = start->header.sequence_first;
    struct buffer body = {0};
    enum error_code code = OK;
    size_t position = 0;

    while (!code && position < segment_producers_count(start->producers)) {
        body.size = 0;
        code = segment_producers_encode(start->producers, &position, &body, error);
        struct segment_writer_block block = {
            .kind = FORMAT_BLOCK_PRODUCERS,
            .sequence_first = sequence,
            .arrival_ns = start->arrival_ns,
            .raw = body.data,
            .raw_bytes = body.size,
        };
        if (!code)
            code = segment_writer_put(writer, &block, error);
    }
    if (!code && start->gap)
        code = put_gap(writer, start->gap, start->arrival_ns, error);
    if (!code && start->gap_next)
        code = put_gap(writer, start->gap_next, start->arrival_ns, error);
    buffer_release(&body);
    return code;
}

/*
 * The header names where the beginning ends, and the beginning's blocks chain from the header. So
 * encode the beginning twice: once to learn its length (it does not depend on the chain), once for
 * good.
 */
static enum error_code put_header(struct segment_writer *writer, uint64_t published_bytes,
                                  struct error *error)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];

    writer->header.published_bytes = published_bytes;
    segment_format_encode_segment_header(&writer->header, bytes, &writer->chain);
    return file_write(writer->fd, writer->name, bytes, sizeof bytes, 0, error);
}

static void rewind_to_beginning(struct segment_writer *writer)
{
    segment_seal_release(&writer->seal);
    segment_seal_init(&writer->seal, writer->header.sequence_first);
    writer->offset = FORMAT_SEGMENT_HEADER_BYTES;
}

static enum error_code write_beginning(struct segment_writer *writer,
                                       const struct segment_writer_start *start,
                                       struct error *error)
{
    rewind_to_beginning(writer);
    enum error_code code = put_beginning(writer, start, error);
    uint64_t published = writer->offset;
    if (!code)
        code = put_header(writer, published, error);
    rewind_to_beginning(writer);
    if (!code)
        code = put_beginning(writer, start, error);
    assert(code || writer->offset == published);
    return code;
}

static struct segment_writer *allocate(int segments_fd, int fd,
                                       const struct segment_format_segment_header *header,
                                       uint32_t epoch)
{
    struct segment_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return NULL;
    writer->segments_fd = segments_fd;
    writer->fd = fd;
    writer->header = *header;
    writer->epoch = epoch;
    writer->seed = segment_format_seed(header->log_id, header->sequence_first);
    writer->log_id = bytes_load64(header->log_id);
    segment_format_segment_name(header->sequence_first, writer->name);
    return writer;
}

static enum error_code map_if_asked(struct segment_writer *writer, bool write_by_map,
                                    struct error *error)
{
    if (!write_by_map)
        return OK;
    return file_map_shared(writer->fd, writer->name, writer->header.size_bytes, true, &writer->map,
                           error);
}

/* Whatever the reason: the name may be on the disk, so this is no failure to begin again after. */
static enum error_code sync_name(int segments_fd, struct error *error)
{
    struct error why;
    enum error_code code = file_sync_directory(segments_fd, "segments", &why);

    return code ? error_set(error, ERROR_IO, "%s", why.text) : OK;
}

enum error_code segment_writer_create(const struct segment_writer_start *start, int fd,
                                      uint64_t size_bytes, const char *temporary_name,
                                      struct segment_writer **writer_out, struct error *error)
{
    struct segment_format_segment_header header = start->header;

    header.size_bytes = size_bytes;
    struct segment_writer *writer = allocate(start->segments_fd, fd, &header, header.epoch);
    if (!writer) {
        file_close(&fd);
        return error_set(error, ERROR_MEMORY, "no memory for a writer");
    }
    enum error_code code = write_beginning(writer, start, error);
    if (!code)
        code = segment_writer_sync(writer, error);
    if (!code)
        code = file_rename(start->segments_fd, temporary_name, writer->name, error);
    if (!code)
        code = sync_name(start->segments_fd, error);
    if (!code)
        code = map_if_asked(writer, start->write_by_map, error);
    if (code) {
        segment_writer_close(writer);
        return code;
    }
    writer->has_put = true; /* its header, at least: a clean stop is worth a mark */
    *writer_out = writer;
    return OK;
}

enum error_code segment_writer_resume(struct segment_writer_resume *resume, int fd,
                                      struct segment_writer **writer_out, struct error *error)
{
    struct segment_writer *writer =
        allocate(resume->segments_fd, fd, &resume->header, resume->epoch);
    if (!writer) {
        file_close(&fd);
        return error_set(error, ERROR_MEMORY, "no memory for a writer");
    }
    enum error_code code = map_if_asked(writer, resume->write_by_map, error);
    if (code) {
        segment_writer_close(writer);
        return code;
    }
    writer->chain = resume->chain;
    writer->offset = writer->durable_offset = resume->end_offset;
    writer->seal = resume->seal;
    resume->seal = (struct segment_seal){0};
    *writer_out = writer;
    return OK;
}

void segment_writer_describe(const struct segment_writer *writer,
                             struct segment_format_predecessor *predecessor_out)
{
    assert(writer->sealed);
    *predecessor_out = (struct segment_format_predecessor){
        .sequence_first = writer->header.sequence_first,
        .sequence_last = writer->seal.sequence_last,
        .end_offset = writer->offset,
        .chain = writer->chain,
    };
}

const struct segment_format_segment_header *segment_writer_header(
    const struct segment_writer *writer)
{
    return &writer->header;
}

uint64_t segment_writer_offset(const struct segment_writer *writer)
{
    return writer->offset;
}

bool segment_writer_has_undurable(const struct segment_writer *writer)
{
    return writer->durable_offset < writer->offset;
}

bool segment_writer_wants_watermark(const struct segment_writer *writer)
{
    return writer->promised_offset < writer->events_end && !writer->sealed &&
           !segment_writer_has_undurable(writer);
}

bool segment_writer_is_sealed(const struct segment_writer *writer)
{
    return writer->sealed;
}

bool segment_writer_has_put(const struct segment_writer *writer)
{
    return writer->has_put;
}

const struct segment_seal *segment_writer_totals(const struct segment_writer *writer)
{
    return &writer->seal;
}

void segment_writer_close(struct segment_writer *writer)
{
    if (!writer)
        return;
    if (writer->map)
        file_unmap_shared(writer->map, writer->header.size_bytes);
    file_close(&writer->fd);
    segment_seal_release(&writer->seal);
    buffer_release(&writer->encoded);
    free(writer);
}
