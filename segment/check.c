#include "segment/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "segment/block.h"
#include "segment/producers.h"
#include "segment/seal.h"

enum { ZERO_STEP = 64 * 1024 };

__attribute__((format(printf, 5, 6))) static void find(const struct segment_check *check,
                                                       uint64_t offset, uint64_t sequence_first,
                                                       uint64_t sequence_last, const char *format,
                                                       ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (sequence_last < sequence_first)
        sequence_first = sequence_last = 0;
    check->found(check->context, &(struct segment_verify_finding){
                                     .segment_first = check->view->segment.sequence_first,
                                     .offset = offset,
                                     .sequence_first = sequence_first,
                                     .sequence_last = sequence_last,
                                     .text = text,
                                 });
}

const char *segment_check_loss_text(uint64_t first, uint64_t last, char *text, size_t size)
{
    text[0] = '\0';
    if (first == last)
        snprintf(text, size, "; event %" PRIu64 " is lost", first);
    else if (first < last)
        snprintf(text, size, "; events %" PRIu64 " to %" PRIu64 " are lost", first, last);
    return text;
}

static void find_at_block(struct segment_check *check, uint64_t offset, uint64_t lost_first,
                          uint64_t lost_last, const char *reason)
{
    char loss[80];
    check->intact = false;
    find(check, offset, lost_first, lost_last, "segment %s: block at byte %" PRIu64 ": %s%s",
         check->view->segment.name, offset, reason,
         segment_check_loss_text(lost_first, lost_last, loss, sizeof loss));
}

static void tell_progress(const struct segment_check *check, uint64_t done)
{
    if (check->progress)
        check->progress(check->context, done);
}

/* The records of an events block: do they decode, and lie within the times of the header? */
static enum error_code check_records(const struct segment_format_block_header *header,
                                     const uint8_t *raw, struct error *error)
{
    struct segment_block_cursor cursor;
    struct event event;
    enum error_code code;
    segment_block_cursor_init(&cursor, header, raw);
    while (!(code = segment_block_cursor_next(&cursor, &event, error))) {
        if (event.time_ns < header->time_min_ns || event.time_ns > header->time_max_ns)
            return error_set(error, ERROR_DAMAGED,
                             "the time of event %" PRIu64 " is not within those of the block",
                             event.sequence);
    }
    return code == ERROR_END ? OK : code;
}

static enum error_code check_gap(const struct segment_check *check,
                                 const struct segment_format_block_header *header,
                                 const uint8_t *raw, uint64_t *next_out, struct error *error)
{
    struct segment_format_gap gap;
    enum error_code code = segment_format_decode_gap(raw, header->raw_bytes, &gap, error);
    if (code)
        return code;
    if (gap.sequence_first != header->sequence_first)
        return error_set(error, ERROR_DAMAGED, "the gap starts elsewhere than its header says");
    *next_out = gap.sequence_last + 1;
    if (check->gap)
        check->gap(check->context, &gap);
    return OK;
}

/* The footer repeats what the blocks say; compare, unless blocks are missing anyway. */
static enum error_code check_seal(const struct segment_check *check,
                                  const struct segment_format_block_header *header,
                                  const uint8_t *raw, struct error *error)
{
    struct segment_seal seal;
    enum error_code code = segment_seal_decode(raw, header->raw_bytes, &seal, error);
    if (code)
        return code;
    bool same = seal.event_count == check->events && seal.block_count == check->blocks &&
                seal.sequence_first == check->view->segment.sequence_first &&
                seal.sequence_last + 1 == check->expected;
    if (check->intact && !same)
        code = error_set(error, ERROR_DAMAGED,
                         "the footer counts %" PRIu64 " events up to %" PRIu64
                         ", but there are %" PRIu64 " up to %" PRIu64,
                         seal.event_count, seal.sequence_last, check->events, check->expected - 1);
    segment_seal_release(&seal);
    return code;
}

static enum error_code check_body(struct segment_check *check,
                                  const struct segment_format_block_header *header,
                                  uint64_t *next_out, struct error *error)
{
    const uint8_t *raw = NULL;
    enum error_code code = segment_view_body(check->view, header, &raw, error);
    if (code)
        return code;
    switch (header->kind) {
    case FORMAT_BLOCK_EVENTS:
        return check_records(header, raw, error);
    case FORMAT_BLOCK_GAP:
        return check_gap(check, header, raw, next_out, error);
    case FORMAT_BLOCK_SEAL:
        return check_seal(check, header, raw, error);
    case FORMAT_BLOCK_PRODUCERS:
        return segment_producers_decode(NULL, raw, header->raw_bytes, error);
    case FORMAT_BLOCK_WATERMARK:
    case FORMAT_BLOCK_STOP:
        break;
    }
    return OK;
}

/* Does the block stand where its header and the block before say? */
static enum error_code check_place(const struct segment_check *check,
                                   const struct segment_format_block_header *header,
                                   struct error *error)
{
    if (check->chain_known && header->chain != check->chain)
        return error_set(error, ERROR_DAMAGED, "it does not follow the block before it");
    if (header->sequence_first != check->expected)
        return error_set(error, ERROR_DAMAGED,
                         "it starts with event %" PRIu64 " instead of %" PRIu64,
                         header->sequence_first, check->expected);
    if (header->log_id != bytes_load64(check->log_id))
        return error_set(error, ERROR_DAMAGED, "it belongs to another log");
    if (header->epoch < check->epoch)
        return error_set(error, ERROR_DAMAGED, "its writer is older than that of the block before");
    if (header->arrival_ns < check->arrival_ns)
        return error_set(error, ERROR_DAMAGED,
                         "its arrival time is before that of the block before");
    return OK;
}

/* Go behind a block whose header is good, whatever its body is. */
static void step_over(struct segment_check *check, const struct segment_format_block_header *header,
                      uint64_t next)
{
    check->offset = header->offset + header->size_bytes;
    check->expected = next;
    check->chain = header->checksum;
    check->chain_known = true;
    check->epoch = header->epoch;
    check->arrival_ns = header->arrival_ns;
    check->events += header->event_count;
    check->blocks += header->kind == FORMAT_BLOCK_EVENTS;
    if (header->kind == FORMAT_BLOCK_SEAL)
        check->seal = *header;
    check->block_count++;
    tell_progress(check, check->offset);
}

/*
 * Without memory nothing is known of the bytes, and what a newer Daybook has written is not ours to
 * judge: that is no finding, and the check ends.
 */
static bool ends(struct segment_check *check, enum error_code code, const struct error *reason)
{
    bool over = code == ERROR_MEMORY || code == ERROR_VERSION;
    if (over)
        check->ended = *reason;
    return over;
}

/*
 * No block can be taken at the offset at hand. Name what is lost up to the next one that is valid,
 * and go there. False: there is none.
 */
static bool resynchronise(struct segment_check *check, const char *reason)
{
    uint64_t bad = check->offset;
    struct segment_format_block_header found;
    struct error why;
    enum error_code code = segment_view_find(check->view, bad + FORMAT_ALIGNMENT, &found, &why);
    while (!code && found.sequence_first < check->expected)
        code = segment_view_find(check->view, found.offset + FORMAT_ALIGNMENT, &found, &why);
    if (ends(check, code, &why))
        return false;
    uint64_t lost_last = code ? check->must_last : found.sequence_first - 1;
    find_at_block(check, bad, check->expected, lost_last, reason);
    if (lost_last >= check->expected)
        check->expected = lost_last + 1;
    if (code)
        return false;
    check->offset = found.offset;
    check->chain_known = false;
    return true;
}

/* Check the block at the offset at hand. False: the walk through this segment is over. */
static bool check_block(struct segment_check *check)
{
    struct segment_format_block_header header;
    struct error reason;
    bool judged =
        check->must_seal || check->expected <= check->must_last || check->offset < check->must_end;
    enum error_code code = segment_view_header(check->view, check->offset, &header, &reason);
    if (ends(check, code, &reason))
        return false;
    if (code)
        return judged && resynchronise(check, reason.text);

    uint64_t next = header.sequence_first + header.event_count;
    if (check_place(check, &header, &reason)) {
        if (!judged)
            return false;
        uint64_t lost_last = header.sequence_first - 1;
        find_at_block(check, check->offset, check->expected, lost_last, reason.text);
        check->expected = header.sequence_first;
    }
    code = check_body(check, &header, &next, &reason);
    if (ends(check, code, &reason))
        return false;
    if (code) {
        if (!judged)
            return false;
        find_at_block(check, check->offset, header.sequence_first,
                      header.sequence_first + header.event_count - 1, reason.text);
    } else {
        check->event_count += header.event_count;
    }
    step_over(check, &header, next);
    return header.kind != FORMAT_BLOCK_SEAL;
}

static void check_zeros(struct segment_check *check, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to && !check->ended.code;) {
        size_t size = to - at < ZERO_STEP ? (size_t)(to - at) : ZERO_STEP;
        const uint8_t *bytes = NULL;
        struct error reason;
        enum error_code code = segment_view_bytes(check->view, at, size, &bytes, &reason);
        if (ends(check, code, &reason))
            return;
        if (code) {
            find(check, at, 0, 0, "segment %s: byte %" PRIu64 ": %s", check->view->segment.name, at,
                 reason.text);
            return;
        }
        if (!bytes_are_zero(bytes, size)) {
            size_t first = 0;
            while (bytes[first] == 0)
                first++;
            find(check, at + first, 0, 0,
                 "segment %s: byte %" PRIu64 " behind the seal is not zero; no event is lost by it",
                 check->view->segment.name, at + first);
            return;
        }
        at += size;
        tell_progress(check, at);
    }
}

static bool trailer_matches(const struct segment_check *check,
                            const struct segment_format_trailer *trailer)
{
    return trailer->seal_offset == check->seal.offset &&
           trailer->seal_checksum == check->seal.checksum &&
           trailer->sequence_last + 1 == check->seal.sequence_first;
}

/* Behind the seal: zeros, then the trailer. */
static void check_end(struct segment_check *check)
{
    const struct segment_set_segment *segment = &check->view->segment;
    if (check->view->segment_bytes < FORMAT_SEGMENT_BYTES_MIN)
        return; /* a stump, whose header is damaged, and told: there is no place for a trailer */
    uint64_t offset = check->view->segment_bytes - FORMAT_TRAILER_BYTES;
    struct segment_format_trailer trailer;
    struct error reason;
    if (check->seal.offset > 0)
        check_zeros(check, check->offset, offset);

    enum error_code code = segment_view_trailer(check->view, &trailer, &reason);
    /* A crash may come between the seal and the trailer; the next writer makes up for it. */
    if (ends(check, code, &reason) || code == ERROR_NOT_FOUND)
        return;
    if (code)
        find(check, offset, 0, 0,
             "segment %s: the trailer at byte %" PRIu64 " is damaged; no event is lost by it",
             segment->name, offset);
    else if (check->seal.offset > 0 && !trailer_matches(check, &trailer))
        find(check, offset, 0, 0,
             "segment %s: the trailer at byte %" PRIu64
             " does not describe the seal at byte %" PRIu64,
             segment->name, offset, check->seal.offset);
}

void segment_check_init(struct segment_check *check, struct segment_view *view,
                        const uint8_t log_id[FORMAT_LOG_ID_BYTES])
{
    const struct segment_set_segment *segment = &view->segment;
    *check = (struct segment_check){
        .view = view,
        .log_id = log_id,
        .offset = FORMAT_SEGMENT_HEADER_BYTES,
        .expected = segment->sequence_first,
        .chain = segment->header_checksum,
        .chain_known = segment->header_verdict == FORMAT_VALID,
        .epoch = segment->header_verdict == FORMAT_VALID ? segment->header.epoch : 0,
        .arrival_ns = INT64_MIN,
        .intact = true,
    };
}

enum error_code segment_check_run(struct segment_check *check, struct error *error)
{
    bool more = true;
    while (more && !check->ended.code && !(check->live && check->expected > check->must_last))
        more = check_block(check);
    if (check->must_seal && !check->ended.code)
        check_end(check);
    if (check->ended.code)
        return error_set(error, check->ended.code, "check segment %s: %s",
                         check->view->segment.name, check->ended.text);
    return OK;
}
