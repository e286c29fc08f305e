#include "segment/repair_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/quarantine.h"
#include "segment/repair_part.h"
#include "segment/replacement.h"

/* Told in docs/format.md. */
#define REPAIR_FILE_NAME "replacement.tmp"

struct writing {
    const struct segment_repair_plan *plan;
    const struct segment_repair_part *part;
    struct segment_replacement *replacement;
    struct segment_producers *producers; /* to begin with; NULL: those that it has itself */
};

static enum error_code write_block(void *context, const struct segment_salvage_block *block,
                                   struct error *error)
{
    struct writing *writing = context;
    if (block->kind == FORMAT_BLOCK_PRODUCERS && writing->producers)
        return OK; /* they are in the table already */
    return segment_replacement_put(writing->replacement, block, error);
}

static enum error_code write_gap(void *context, const struct segment_format_gap *gap,
                                 bool on_record, struct error *error)
{
    (void)on_record;
    struct writing *writing = context;
    return segment_replacement_put_gap(writing->replacement, gap, error);
}

static enum error_code feed(void *context, struct segment_replacement *replacement,
                            struct error *error)
{
    struct writing *writing = context;
    struct segment_repair_part_visitor visitor = {write_block, write_gap, writing};
    writing->replacement = replacement;
    enum error_code code = OK;
    if (writing->producers)
        code = segment_replacement_put_producers(replacement, writing->producers, error);
    if (!code)
        code = segment_repair_part_walk(writing->plan, writing->part, &visitor, error);
    return code;
}

/* Note everything that a segment tells of producers. */
static enum error_code note_block(void *context, const struct segment_salvage_block *block,
                                  struct error *error)
{
    struct segment_producers *producers = context;
    if (block->kind == FORMAT_BLOCK_PRODUCERS) {
        enum error_code code =
            segment_producers_decode(producers, block->raw, block->raw_bytes, error);
        return code == ERROR_DAMAGED ? OK : code;
    }
    struct segment_format_block_header header = {.sequence_first = block->sequence_first,
                                                 .event_count = block->event_count,
                                                 .raw_bytes = (uint32_t)block->raw_bytes};
    struct segment_block_cursor cursor;
    struct event event;
    enum error_code code = OK;
    segment_block_cursor_init(&cursor, &header, block->raw);
    while (!code && (code = segment_block_cursor_next(&cursor, &event, error)) == OK)
        if (event.producer_bytes > 0)
            code = segment_producers_note(producers, event.producer, event.producer_bytes,
                                          event.number, event.sequence, error);
    return code == ERROR_END ? OK : code;
}

static enum error_code ignore_gap(void *context, const struct segment_format_gap *gap,
                                  bool on_record, struct error *error)
{
    (void)on_record;
    (void)context;
    (void)gap;
    (void)error;
    return OK;
}

/*
 * What was true at the beginning of `part`: all that the segment before it tells, and the lists at
 * its own beginning, as far as they can be read.
 */
static enum error_code gather_producers(const struct segment_repair_plan *plan,
                                        const struct segment_repair_part *part,
                                        const struct segment_set_segment *before,
                                        struct segment_producers *producers, struct error *error)
{
    struct segment_repair_part_visitor visitor = {note_block, ignore_gap, producers};
    enum error_code code = OK;
    if (before) {
        struct segment_repair_part whole = {.fate = REPAIR_KEEP,
                                            .segment = *before,
                                            .sequence_last = before->trailer.sequence_last,
                                            .sequence_promised = before->trailer.sequence_last};
        code = segment_repair_part_walk(plan, &whole, &visitor, error);
    }
    if (!code && part->fate == REPAIR_RENEW) {
        struct segment_repair_part beginning = *part;
        beginning.sequence_last = part->segment.sequence_first - 1; /* lists, and no event */
        code = segment_repair_part_walk(plan, &beginning, &visitor, error);
    }
    return code;
}

/* Where the seal block of a sealed segment ends, which has been found sound or just written. */
static enum error_code find_seal_end(const struct segment_repair_plan *plan,
                                     const struct segment_set_segment *segment, uint64_t *end_out,
                                     struct error *error)
{
    struct segment_view view = {0};
    struct segment_format_block_header seal;
    enum error_code code =
        segment_view_open(&view, plan->segments_fd, segment, plan->log_id, error);
    if (!code)
        code = segment_view_header(&view, segment->trailer.seal_offset, &seal, error);
    if (!code)
        *end_out = seal.offset + seal.size_bytes;
    segment_view_release(&view);
    return code ? error_prefix(error, "segment %s: its seal", segment->name) : OK;
}

/* Only the trailer of a packed segment knows when its last event has come. */
static int64_t last_arrival(const struct segment_repair_part *part)
{
    bool known = part->fate == REPAIR_RENEW && part->segment.sealed &&
                 part->segment.trailer.sequence_last == part->sequence_last;
    return known ? part->segment.trailer.arrival_last_ns : INT64_MIN;
}

static struct segment_format_segment_header make_header(const struct segment_repair_plan *plan,
                                                        const struct segment_repair_part *part,
                                                        const struct segment_set_segment *before,
                                                        uint64_t before_end)
{
    const struct segment_format_segment_header *old = &part->segment.header;
    bool known = part->fate == REPAIR_RENEW && part->segment.header_verdict == FORMAT_VALID;
    struct segment_format_segment_header header = {
        .sequence_first = part->segment.sequence_first,
        .epoch = part->epoch,
        .replaces = part->replaces,
    };
    memcpy(header.log_id, plan->log_id, FORMAT_LOG_ID_BYTES);
    if (known) {
        header.created_ns = old->created_ns;
        header.predecessor = old->predecessor;
    }
    /* What still fits stays: a copy of `before` as it was may be put back one day. */
    bool fits = known && before && !segment_set_check_pair(before, &part->segment, NULL) &&
                !segment_set_check_end(before, before_end, &part->segment, NULL);
    if (before && !fits) {
        header.predecessor = (struct segment_format_predecessor){
            .sequence_first = before->sequence_first,
            .sequence_last = before->trailer.sequence_last,
            .end_offset = before_end,
            .chain = before->trailer.seal_checksum,
        };
    }
    if (before && header.epoch < before->header.epoch)
        header.epoch = before->header.epoch;
    if (before && !known)
        header.created_ns = before->trailer.arrival_last_ns;
    if (header.epoch == 0)
        header.epoch = 1;
    return header;
}

static enum error_code keep_old(const struct segment_repair_plan *plan,
                                const struct segment_repair_part *part, struct error *error)
{
    char kept[64];
    int fd = -1;
    if (part->fate != REPAIR_RENEW)
        return OK;
    enum error_code code = file_open(plan->segments_fd, part->segment.name, FILE_READ, &fd, error);
    if (!code)
        code = segment_quarantine_keep_file(plan->log_fd, fd, part->segment.name, kept, sizeof kept,
                                            error);
    file_close(&fd);
    return code;
}

enum error_code segment_repair_write(const struct segment_repair_plan *plan,
                                     const struct segment_repair_part *part,
                                     const struct segment_set_segment *before,
                                     struct segment_set_segment *written_out, struct error *error)
{
    struct writing writing = {.plan = plan, .part = part};
    struct segment_replacement_sum sum;
    enum error_code code = OK;
    if (part->fate == REPAIR_FILL || part->lacks_producers)
        code = segment_producers_create(&writing.producers, error);
    if (!code && writing.producers)
        code = gather_producers(plan, part, before, writing.producers, error);
    uint64_t before_end = 0;
    if (!code && before)
        code = find_seal_end(plan, before, &before_end, error);
    if (!code)
        code = keep_old(plan, part, error);
    struct segment_replacement_start start = {
        .segments_fd = plan->segments_fd,
        .name = REPAIR_FILE_NAME,
        .effort = BLOCK_FAST,
        .arrival_ns = before ? before->trailer.arrival_last_ns : 0,
        .arrival_last_ns = last_arrival(part),
        .feed = feed,
        .context = &writing,
    };
    if (!code) {
        start.header = make_header(plan, part, before, before_end);
        code = segment_replacement_write(&start, written_out, &sum, error);
    }
    if (!code)
        code = segment_replacement_prove(&start, written_out, &sum, error);
    if (!code)
        code = segment_replacement_publish(plan->segments_fd, written_out, error);
    segment_producers_free(writing.producers);
    return code;
}
