#include "tools/torture/corruption_image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/set.h"

#define SEGMENTS_DIRECTORY "segments/"

static enum error_code load_file(int directory_fd, const char *name, struct buffer *bytes,
                                 struct error *error)
{
    uint64_t size = 0;
    int fd;
    enum error_code code = file_open(directory_fd, name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = file_size(fd, name, &size, error);
    if (!code)
        code = buffer_reserve(bytes, size, error);
    if (!code)
        code = file_read(fd, name, bytes->data, size, 0, error);
    if (!code)
        bytes->size = size;
    file_close(&fd);
    return code;
}

static enum error_code add_block(struct corruption_specimen *specimen, size_t file,
                                 const struct segment_format_block_header *header,
                                 struct error *error)
{
    if (specimen->block_count == specimen->block_capacity) {
        size_t wanted = specimen->block_capacity ? 2 * specimen->block_capacity : 256;
        void *grown = realloc(specimen->blocks, wanted * sizeof *specimen->blocks);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "no memory for a log to be damaged");
        specimen->blocks = grown;
        specimen->block_capacity = wanted;
    }
    specimen->blocks[specimen->block_count++] =
        (struct corruption_block){.file = file,
                                  .header = *header,
                                  .sequence_end = header->sequence_first + header->event_count};
    return OK;
}

static enum error_code end_of_gap(const struct corruption_file *file,
                                  struct corruption_block *block, struct error *error)
{
    const uint8_t *bytes = file->bytes.data + block->header.offset;
    struct segment_format_gap gap;
    enum error_code code = segment_format_decode_gap(bytes + FORMAT_BLOCK_HEADER_BYTES,
                                                     block->header.raw_bytes, &gap, error);
    if (!code)
        block->sequence_end = gap.sequence_last + 1;
    return code;
}

/* From block to block, up to the first place that holds none. */
static enum error_code find_blocks(struct corruption_specimen *specimen, size_t index,
                                   struct error *error)
{
    struct corruption_file *file = &specimen->files[index];
    struct segment_format_block_header header;
    uint64_t at = FORMAT_SEGMENT_HEADER_BYTES;
    enum error_code code = OK;

    file->block_first = specimen->block_count;
    while (!code && at + FORMAT_BLOCK_HEADER_BYTES <= file->bytes.size &&
           segment_format_decode_block_header(file->seed, file->bytes.data + at, at,
                                              file->bytes.size, &header) == FORMAT_VALID) {
        code = add_block(specimen, index, &header, error);
        if (!code && header.kind == FORMAT_BLOCK_GAP)
            code = end_of_gap(file, &specimen->blocks[specimen->block_count - 1], error);
        at += header.size_bytes;
    }
    file->block_end = specimen->block_count;
    return code;
}

static enum error_code load_segment(int segments_fd, const struct segment_set_segment *segment,
                                    struct corruption_specimen *specimen, struct error *error)
{
    size_t index = specimen->file_count++;
    struct corruption_file *file = &specimen->files[index];

    *file = (struct corruption_file){.header = segment->header, .seed = segment->seed};
    snprintf(file->name, sizeof file->name, SEGMENTS_DIRECTORY "%s", segment->name);
    enum error_code code = load_file(segments_fd, segment->name, &file->bytes, error);
    return code ? code : find_blocks(specimen, index, error);
}

/* By the specimen's own account, which the judgement of every case rests on. */
static enum error_code check_promises(const struct corruption_specimen *specimen,
                                      struct error *error)
{
    size_t at = 0;
    for (size_t i = 0; i < specimen->block_count; i++) {
        const struct segment_format_block_header *header = &specimen->blocks[i].header;
        if (header->kind == FORMAT_BLOCK_PRODUCERS || header->kind == FORMAT_BLOCK_GAP ||
            header->kind == FORMAT_BLOCK_SEAL)
            continue;
        if (at == specimen->promise_count || header->durable_offset != specimen->promises[at])
            return error_set(error, ERROR_DAMAGED,
                             "block %zu promises that %" PRIu64
                             " bytes are durable, which is not what was synced",
                             i, header->durable_offset);
        at++;
    }
    return OK;
}

static enum error_code tie_events(struct corruption_specimen *specimen, struct error *error)
{
    uint64_t expected = 1;
    for (size_t i = 0; i < specimen->block_count; i++) {
        const struct corruption_block *block = &specimen->blocks[i];
        if (block->header.sequence_first != expected ||
            block->sequence_end > specimen->event_count + 1)
            return error_set(error, ERROR_DAMAGED, "block %zu holds other events than were put", i);
        for (; expected < block->sequence_end; expected++)
            specimen->events[expected - 1].block = i;
    }
    if (expected != specimen->event_count + 1)
        return error_set(error, ERROR_DAMAGED, "the files end before event %" PRIu64, expected);
    return OK;
}

enum error_code corruption_image_load(int log_fd, int segments_fd,
                                      struct corruption_specimen *specimen, struct error *error)
{
    struct segment_set set;
    enum error_code code = segment_set_load(log_fd, segments_fd, &set, error);
    if (code)
        return code;
    if (set.count != specimen->options.segment_count)
        code = error_set(error, ERROR_DAMAGED, "%zu segments instead of %zu", set.count,
                         specimen->options.segment_count);
    for (size_t i = 0; !code && i < set.count; i++)
        code = load_segment(segments_fd, &set.segments[i], specimen, error);
    segment_set_free(&set);
    if (code)
        return code;
    struct corruption_file *page = &specimen->files[specimen->file_count++];
    *page = (struct corruption_file){.name = "watermark"};
    code = load_file(log_fd, page->name, &page->bytes, error);
    if (!code)
        code = check_promises(specimen, error);
    return code ? code : tie_events(specimen, error);
}

void corruption_specimen_release(struct corruption_specimen *specimen)
{
    for (size_t i = 0; i < specimen->file_count; i++)
        buffer_release(&specimen->files[i].bytes);
    free(specimen->blocks);
    free(specimen->events);
    free(specimen->promises);
    buffer_release(&specimen->contents);
    *specimen = (struct corruption_specimen){0};
}

bool corruption_specimen_holds(const struct corruption_specimen *specimen,
                               const struct event *event)
{
    if (event->sequence == 0 || event->sequence > specimen->event_count)
        return false;
    const struct corruption_event *held = &specimen->events[event->sequence - 1];
    const uint8_t *topic = specimen->contents.data + held->at;
    const uint8_t *producer = topic + held->topic_bytes;
    return held->exists && event->time_ns == held->time_ns && event->number == held->number &&
           event->topic_bytes == held->topic_bytes &&
           event->producer_bytes == held->producer_bytes &&
           event->payload_bytes == held->payload_bytes &&
           memcmp(event->topic, topic, held->topic_bytes) == 0 &&
           memcmp(event->producer, producer, held->producer_bytes) == 0 &&
           memcmp(event->payload, producer + held->producer_bytes, held->payload_bytes) == 0;
}

size_t corruption_specimen_last(const struct corruption_specimen *specimen)
{
    return specimen->options.segment_count - 1;
}

size_t corruption_specimen_page(const struct corruption_specimen *specimen)
{
    return specimen->options.segment_count;
}

size_t corruption_specimen_block_at(const struct corruption_specimen *specimen, size_t file,
                                    uint64_t offset)
{
    size_t low = specimen->files[file].block_first, high = specimen->files[file].block_end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct segment_format_block_header *header = &specimen->blocks[middle].header;
        if (offset < header->offset)
            high = middle;
        else if (offset >= header->offset + header->size_bytes)
            low = middle + 1;
        else
            return middle;
    }
    return SIZE_MAX;
}
