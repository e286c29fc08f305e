#include "segment/salvage.h"

#include <inttypes.h>
#include <string.h>

#include "segment/block.h"
#include "segment/producers.h"
#include "segment/seal.h"

/* `why` may be NULL: nothing is known but that it is not as it should be. */
static void note_bad(struct segment_salvage *salvage, const struct error *why)
{
    salvage->begins_bad |= !salvage->has_events;
    if (why && !salvage->trouble.code)
        salvage->trouble = *why;
}

static void note_seen(struct segment_salvage *salvage, uint64_t sequence)
{
    if (sequence > salvage->sequence_seen)
        salvage->sequence_seen = sequence;
}

static void note_promised(struct segment_salvage *salvage, uint64_t sequence)
{
    if (sequence > salvage->sequence_promised)
        salvage->sequence_promised = sequence;
    note_seen(salvage, sequence);
}

/* Where the header is damaged nobody has looked at the trailer, which needs only the seed. */
static enum error_code look_at_trailer(struct segment_salvage *salvage, struct error *error)
{
    struct error reason;
    enum error_code code = segment_view_trailer(&salvage->view, &salvage->trailer, &reason);
    if (code == ERROR_VERSION || code == ERROR_MEMORY)
        return error_set(error, code, "segment %s: %s", salvage->view.segment.name, reason.text);
    if (code)
        return OK;
    salvage->sealed = true;
    note_promised(salvage, salvage->trailer.sequence_last);
    return OK;
}

enum error_code segment_salvage_open(struct segment_salvage *salvage, int segments_fd,
                                     const struct segment_set_segment *segment,
                                     const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                     uint64_t sequence_last, struct error *error)
{
    *salvage = (struct segment_salvage){
        .log_id = bytes_load64(log_id),
        .sequence_last = sequence_last,
        .offset = FORMAT_SEGMENT_HEADER_BYTES,
        .expected = segment->sequence_first,
        .sequence_seen = segment->sequence_first - 1,
        .sequence_promised = segment->sequence_first - 1,
        .arrival_ns = INT64_MIN,
    };
    enum error_code code = segment_view_open(&salvage->view, segments_fd, segment, log_id, error);
    if (code)
        return code;
    if (segment->header_verdict == FORMAT_VALID)
        salvage->epoch = segment->header.epoch;
    else
        note_bad(salvage, NULL);
    return look_at_trailer(salvage, error);
}

void segment_salvage_release(struct segment_salvage *salvage)
{
    segment_view_release(&salvage->view);
}

/*
 * The events of a block that decode and are wanted, which is all of them unless somebody has made
 * the log strange. False: there is none.
 */
static bool take_events(struct segment_salvage *salvage,
                        const struct segment_format_block_header *header, const uint8_t *raw,
                        struct segment_salvage_block *block)
{
    struct segment_block_cursor cursor;
    struct event event;
    struct error reason;
    enum error_code code = OK;
    block->raw_bytes = 0;
    block->time_min_ns = INT64_MAX;
    block->time_max_ns = INT64_MIN;
    segment_block_cursor_init(&cursor, header, raw);
    while (cursor.events_left > 0 && cursor.sequence_next <= salvage->sequence_last) {
        code = segment_block_cursor_next(&cursor, &event, &reason);
        if (code)
            break;
        if (event.time_ns < block->time_min_ns)
            block->time_min_ns = event.time_ns;
        if (event.time_ns > block->time_max_ns)
            block->time_max_ns = event.time_ns;
        block->event_count++;
        block->raw_bytes = (size_t)(cursor.at - raw);
    }
    if (!code && cursor.events_left == 0) /* the end may be wrong where all events are right */
        code = segment_block_cursor_next(&cursor, &event, &reason);
    if (code && code != ERROR_END)
        note_bad(salvage, &reason);
    block->sequence_last = block->sequence_first + block->event_count - 1;
    return block->event_count > 0;
}

static enum error_code take_gap(struct segment_salvage *salvage,
                                const struct segment_format_block_header *header,
                                const uint8_t *raw, struct segment_salvage_block *block,
                                bool *taken_out, struct error *error)
{
    struct segment_format_gap gap;
    struct error reason;
    enum error_code code = segment_format_decode_gap(raw, header->raw_bytes, &gap, &reason);
    if (code == ERROR_VERSION)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         salvage->view.segment.name, header->offset, reason.text);
    if (code || gap.sequence_first != header->sequence_first) {
        note_bad(salvage, code ? &reason : NULL);
        return OK;
    }
    note_seen(salvage, gap.sequence_last);
    block->sequence_last =
        gap.sequence_last < salvage->sequence_last ? gap.sequence_last : salvage->sequence_last;
    *taken_out = block->sequence_last >= block->sequence_first;
    return OK;
}

static void learn(struct segment_salvage *salvage, const struct segment_format_block_header *header)
{
    note_seen(salvage, header->sequence_first + header->event_count - 1);
    if (header->durable_offset == header->offset)
        note_promised(salvage, header->sequence_first - 1);
    if (header->offset + header->size_bytes <= salvage->view.segment.header.published_bytes &&
        salvage->view.segment.header_verdict == FORMAT_VALID)
        note_promised(salvage, header->sequence_first + header->event_count - 1);
    if (header->epoch > salvage->epoch)
        salvage->epoch = header->epoch;
    if (header->arrival_ns > salvage->arrival_ns)
        salvage->arrival_ns = header->arrival_ns;
}

/* A list that makes no sense keeps writers away: another one takes its place. */
static bool take_producers(struct segment_salvage *salvage,
                           const struct segment_format_block_header *header, const uint8_t *raw)
{
    struct error reason;
    enum error_code code = segment_producers_decode(NULL, raw, header->raw_bytes, &reason);
    if (code)
        note_bad(salvage, &reason);
    return code == OK;
}

/* What it counts is worked out anew; what a newer Daybook says there besides would be gone. */
static enum error_code take_seal(struct segment_salvage *salvage,
                                 const struct segment_format_block_header *header,
                                 const uint8_t *raw, struct error *error)
{
    struct error reason;
    enum error_code code = segment_seal_check_version(raw, header->raw_bytes, &reason);
    note_promised(salvage, header->sequence_first - 1);
    if (code)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         salvage->view.segment.name, header->offset, reason.text);
    return OK;
}

/* *taken_out: the block at hand is one to give. Otherwise go on behind it. */
static enum error_code take_block(struct segment_salvage *salvage,
                                  const struct segment_format_block_header *header,
                                  struct segment_salvage_block *block, bool *taken_out,
                                  struct error *error)
{
    const uint8_t *raw = NULL;
    struct error reason;
    *taken_out = false;
    learn(salvage, header);
    salvage->has_events |= header->kind == FORMAT_BLOCK_EVENTS;
    if (header->sequence_first > salvage->expected && header->kind != FORMAT_BLOCK_EVENTS &&
        header->kind != FORMAT_BLOCK_GAP)
        salvage->expected = header->sequence_first;
    enum error_code code = segment_view_body(&salvage->view, header, &raw, &reason);
    if (code == ERROR_MEMORY)
        return error_set(error, code, "%s", reason.text);
    if (code) {
        note_bad(salvage, &reason);
        return OK;
    }
    *block = (struct segment_salvage_block){
        .kind = header->kind,
        .sequence_first = header->sequence_first,
        .sequence_last = header->sequence_first - 1,
        .time_min_ns = header->time_min_ns,
        .time_max_ns = header->time_max_ns,
        .arrival_ns = salvage->arrival_ns,
        .raw = raw,
        .raw_bytes = header->raw_bytes,
    };
    if (header->kind == FORMAT_BLOCK_EVENTS)
        *taken_out = take_events(salvage, header, raw, block);
    else if (header->kind == FORMAT_BLOCK_GAP)
        code = take_gap(salvage, header, raw, block, taken_out, error);
    else if (header->kind == FORMAT_BLOCK_PRODUCERS)
        *taken_out = take_producers(salvage, header, raw);
    else if (header->kind == FORMAT_BLOCK_SEAL)
        code = take_seal(salvage, header, raw, error);
    if (*taken_out && block->sequence_last >= salvage->expected)
        salvage->expected = block->sequence_last + 1;
    return code;
}

/*
 * The next valid header at or behind the offset at hand, which is moved to it. Everything that is
 * passed over is a bad place, unless there are only zeros up to the end.
 */
static enum error_code find_header(struct segment_salvage *salvage,
                                   struct segment_format_block_header *header_out,
                                   struct error *error)
{
    struct error reason;
    enum error_code code =
        segment_view_header(&salvage->view, salvage->offset, header_out, &reason);
    if (code == ERROR_VERSION || code == ERROR_MEMORY)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         salvage->view.segment.name, salvage->offset, reason.text);
    if (!code)
        return OK;
    enum error_code found =
        segment_view_find(&salvage->view, salvage->offset + FORMAT_ALIGNMENT, header_out, error);
    if (found == OK || code == ERROR_IO)
        note_bad(salvage, &reason);
    if (!found)
        salvage->offset = header_out->offset;
    return found;
}

enum error_code segment_salvage_next(struct segment_salvage *salvage,
                                     struct segment_salvage_block *block_out, struct error *error)
{
    for (;;) {
        struct segment_format_block_header header;
        bool taken;
        enum error_code code = find_header(salvage, &header, error);
        if (code)
            return code;
        salvage->offset += header.size_bytes;
        if (header.sequence_first < salvage->expected || header.log_id != salvage->log_id) {
            note_bad(salvage, NULL); /* it repeats what came before */
            continue;
        }
        code = take_block(salvage, &header, block_out, &taken, error);
        if (code || taken)
            return code;
        if (header.kind == FORMAT_BLOCK_SEAL)
            return error_set(error, ERROR_END, "nothing follows the seal");
    }
}
