#include "segment/recovery.h"

#include <inttypes.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/window.h"

/*
 * The decision at the first position without a valid, chained block. The first row that matches
 * decides;
 * "-" in a column means that it does not matter.
 *
 * Why this order: a promise (A), a successor (B) or a witness (C) proves that these bytes were
 * durable, and then no crash explains them: silence would lose acknowledged events. Without such
 * proof zeros are simply the end. Bytes that are there but that no write of ours leaves behind,
 * whatever sectors of it reached the disk (D), may be a damaged last commit, so they are kept for a
 * person and told loudly. Everything else is what a crash leaves of an unacknowledged write (E).
 */
enum column { NO, YES, ANY };

struct decision {
    enum column last_is_seal, closed, later_promise, witness, rest_is_zero, last_is_stop, not_torn;
    enum segment_recovery_verdict verdict;
};

static const struct decision decisions[] = {
    /* seal  closed promise witness zero  stop  not_torn */
    {YES, ANY, NO, NO, YES, ANY, ANY, RECOVERY_SEALED},
    {ANY, ANY, YES, ANY, ANY, ANY, ANY, RECOVERY_CORRUPT}, /* A */
    {ANY, YES, ANY, ANY, ANY, ANY, ANY, RECOVERY_CORRUPT}, /* B */
    {YES, ANY, ANY, ANY, NO, ANY, ANY, RECOVERY_CORRUPT},  /* B: nothing is written behind a seal */
    {ANY, ANY, ANY, YES, ANY, ANY, ANY, RECOVERY_CORRUPT}, /* C */
    {NO, NO, NO, NO, YES, YES, ANY, RECOVERY_CLEAN},
    {NO, NO, NO, NO, YES, NO, ANY, RECOVERY_END},
    {NO, NO, NO, NO, NO, ANY, YES, RECOVERY_DAMAGED_TAIL}, /* D */
    {NO, NO, NO, NO, NO, ANY, NO, RECOVERY_TORN},          /* E */
};

static bool matches(enum column column, bool value)
{
    return column == ANY || (column == YES) == value;
}

enum segment_recovery_verdict segment_recovery_decide(
    const struct segment_recovery_evidence *evidence)
{
    for (size_t i = 0; i < sizeof decisions / sizeof *decisions; i++) {
        const struct decision *row = &decisions[i];
        if (matches(row->last_is_seal, evidence->last_is_seal) &&
            matches(row->closed, evidence->closed) &&
            matches(row->later_promise, evidence->later_promise) &&
            matches(row->witness, evidence->witness) &&
            matches(row->rest_is_zero, evidence->rest_is_zero) &&
            matches(row->last_is_stop, evidence->last_is_stop) &&
            matches(row->not_torn, evidence->not_torn))
            return row->verdict;
    }
    return RECOVERY_CORRUPT; /* Unreachable: a test tries every combination. */
}

bool segment_recovery_is_damage(const struct segment_recovery_scan *scan)
{
    struct segment_recovery_evidence evidence = scan->evidence;

    evidence.witness = false;
    return scan->verdict == RECOVERY_CORRUPT &&
           segment_recovery_decide(&evidence) == RECOVERY_CORRUPT;
}

bool segment_recovery_only_cached(const struct segment_recovery_scan *disk,
                                  const struct segment_recovery_scan *cache)
{
    return disk->verdict == RECOVERY_CORRUPT &&
           (disk->sequence_next < cache->sequence_next ||
            (segment_recovery_is_damage(disk) && !segment_recovery_is_damage(cache)));
}

const char *segment_recovery_verdict_text(enum segment_recovery_verdict verdict)
{
    switch (verdict) {
    case RECOVERY_CLEAN:
        return "clean stop";
    case RECOVERY_END:
        return "stopped between commits";
    case RECOVERY_SEALED:
        return "sealed";
    case RECOVERY_TORN:
        return "torn tail";
    case RECOVERY_DAMAGED_TAIL:
        return "damaged tail";
    case RECOVERY_CORRUPT:
        return "corrupt";
    }
    return "unknown";
}

/* One walk over a segment. */
struct walk {
    const struct segment_set_segment *segment;
    struct segment_window *window;
    struct segment_recovery_scan scan;
    struct buffer scratch;
    uint64_t limit; /* the trailer's offset */
    enum segment_format_block_kind last_kind;
    uint64_t stop_last; /* of the block at the stop, when only its body is bad */
};

/* More than so many are never on their way (segment/pending.c); a torn tail may hold anything. */
static void note_sequences(struct segment_recovery_scan *scan,
                           const struct segment_format_block_header *header)
{
    uint64_t last = header->sequence_first + header->event_count - 1;
    if (last > scan->sequence_seen && last - scan->sequence_next < FORMAT_UNDURABLE_EVENTS_MAX)
        scan->sequence_seen = last;
}

/* Read the header at `offset`. Too close to the trailer for a header counts as zero. */
static enum error_code header_at(struct walk *walk, uint64_t offset,
                                 enum segment_format_verdict *verdict_out,
                                 struct segment_format_block_header *header_out,
                                 struct error *error)
{
    const uint8_t *bytes;

    *verdict_out = FORMAT_ZERO;
    if (offset + FORMAT_BLOCK_HEADER_BYTES > walk->limit)
        return OK;
    enum error_code code =
        segment_window_get(walk->window, offset, FORMAT_BLOCK_HEADER_BYTES, &bytes, error);
    if (code)
        return code;
    *verdict_out = segment_format_decode_block_header(walk->segment->seed, bytes, offset,
                                                      walk->segment->header.size_bytes, header_out);
    return OK;
}

/* Where the sequences go on behind a valid block. */
static enum error_code next_sequence(const struct segment_format_block_header *header,
                                     const uint8_t *raw, uint64_t *next_out, struct error *error)
{
    struct segment_format_gap gap;

    *next_out = header->sequence_first + header->event_count;
    if (header->kind != FORMAT_BLOCK_GAP)
        return OK;
    enum error_code code = segment_format_decode_gap(raw, header->raw_bytes, &gap, error);
    if (!code && gap.sequence_first != header->sequence_first)
        code = error_set(error, ERROR_DAMAGED, "a gap that begins elsewhere than its block says");
    if (!code)
        *next_out = gap.sequence_last + 1;
    return code;
}

static bool follows(const struct walk *walk, const struct segment_format_block_header *header)
{
    return header->chain == walk->scan.chain &&
           header->sequence_first == walk->scan.sequence_next &&
           header->log_id == bytes_load64(walk->segment->header.log_id) &&
           header->epoch >= walk->scan.epoch && header->arrival_ns >= walk->scan.arrival_ns;
}

static void accept(struct walk *walk, const struct segment_format_block_header *header,
                   uint64_t next)
{
    struct segment_recovery_scan *scan = &walk->scan;

    scan->end_offset += header->size_bytes;
    scan->sequence_next = next;
    if (next - 1 > scan->sequence_seen)
        scan->sequence_seen = next - 1;
    scan->chain = header->checksum;
    scan->epoch = header->epoch;
    scan->arrival_ns = header->arrival_ns;
    scan->event_count += header->event_count;
    scan->last_size_bytes = header->size_bytes;
    if (header->durable_offset > scan->durable_offset)
        scan->durable_offset = header->durable_offset;
    /* The first block of a group says that all before it is durable; so does the segment's header.
     */
    if (header->durable_offset == header->offset)
        scan->sequence_promised = header->sequence_first - 1;
    if (scan->end_offset <= walk->segment->header.published_bytes)
        scan->sequence_promised = next - 1;
    walk->last_kind = header->kind;
}

/*
 * Take the block at the end of what is accepted. *taken_out tells whether there was one; a read
 * error, no memory or a visitor's error is the only failure.
 */
static enum error_code take_block(struct walk *walk, segment_recovery_visit visit, void *context,
                                  bool *taken_out, struct error *error)
{
    struct segment_format_block_header header;
    enum segment_format_verdict verdict;
    const uint8_t *block, *raw;
    uint64_t next;

    *taken_out = false;
    enum error_code code = header_at(walk, walk->scan.end_offset, &verdict, &header, error);
    if (!code && verdict == FORMAT_NEWER)
        return error_set(error, ERROR_VERSION,
                         "segment %s: the block at byte %" PRIu64
                         " was written by a newer Daybook; use that one",
                         walk->segment->name, walk->scan.end_offset);
    if (code || verdict != FORMAT_VALID || !follows(walk, &header))
        return code;
    code = segment_window_get(walk->window, header.offset, header.size_bytes, &block, error);
    if (code)
        return code;
    struct error reason;
    code = segment_block_open(&header, block, &walk->scratch, &raw, &reason);
    if (code == ERROR_MEMORY) /* nothing is known of the block: it is not the end of the log */
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         walk->segment->name, header.offset, reason.text);
    if (!code)
        code = next_sequence(&header, raw, &next, &reason);
    if (code == ERROR_VERSION)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s; use a newer one",
                         walk->segment->name, header.offset, reason.text);
    if (code)
        return OK;
    if (visit) {
        code = visit(context, &header, raw, error);
        if (code)
            return code;
    }
    accept(walk, &header, next);
    *taken_out = true;
    return OK;
}

/* Could the block at the stop be one of ours of which only some sectors were written? */
static enum error_code judge_stop(struct walk *walk, struct error *error)
{
    uint64_t offset = walk->scan.end_offset;
    struct segment_format_block_header header;
    enum segment_format_verdict verdict;
    const uint8_t *bytes;

    enum error_code code = header_at(walk, offset, &verdict, &header, error);
    if (code || verdict == FORMAT_ZERO)
        return code;
    if (verdict == FORMAT_VALID) {
        note_sequences(&walk->scan, &header);
        if (!follows(walk, &header)) {
            walk->scan.evidence.not_torn = true;
            return OK;
        }
        walk->stop_last = header.sequence_first + header.event_count - 1;
        code = segment_window_get(walk->window, offset, header.size_bytes, &bytes, error);
        if (!code)
            walk->scan.evidence.not_torn = !segment_block_is_torn(&header, bytes);
        return code;
    }
    code = segment_window_get(walk->window, offset, FORMAT_BLOCK_HEADER_BYTES, &bytes, error);
    if (code)
        return code;
    uint64_t log_id = bytes_load64(walk->segment->header.log_id);
    walk->scan.evidence.not_torn = !segment_format_is_torn_block_header(bytes, log_id, offset);
    return OK;
}

/*
 * At least the next sequence must have been durable, and with it all of its block; the first block
 * of a group tells exactly.
 */
static void note_promise(struct walk *walk, const struct segment_format_block_header *header)
{
    struct segment_recovery_scan *scan = &walk->scan;
    uint64_t promised =
        walk->stop_last > scan->sequence_next ? walk->stop_last : scan->sequence_next;

    if (header->durable_offset <= scan->end_offset)
        return;
    if (header->durable_offset == header->offset)
        promised = header->sequence_first - 1;
    if (promised > scan->sequence_promised)
        scan->sequence_promised = promised;
}

/* Look for blocks behind the stop: each 8-byte step that holds a valid header of this segment. */
static void search_piece(struct walk *walk, const uint8_t *bytes, uint64_t offset, size_t size)
{
    struct segment_format_block_header header;

    for (size_t i = 0; i + FORMAT_BLOCK_HEADER_BYTES <= size; i += FORMAT_ALIGNMENT) {
        if (segment_format_decode_block_header(walk->segment->seed, bytes + i, offset + i,
                                               walk->segment->header.size_bytes,
                                               &header) != FORMAT_VALID)
            continue;
        note_sequences(&walk->scan, &header);
        if (header.durable_offset > walk->scan.durable_offset)
            walk->scan.durable_offset = header.durable_offset;
        note_promise(walk, &header);
    }
}

/* Everything from the stop to the trailer: zeros, or what else? */
static enum error_code search_rest(struct walk *walk, struct error *error)
{
    const uint64_t step = 1 << 20; /* pieces overlap by a header */
    const uint8_t *bytes;

    walk->scan.dirty_end = walk->scan.end_offset;
    for (uint64_t at = walk->scan.end_offset; at < walk->limit; at += step) {
        uint64_t left = walk->limit - at;
        size_t size =
            (size_t)(left < step + FORMAT_BLOCK_HEADER_BYTES ? left
                                                             : step + FORMAT_BLOCK_HEADER_BYTES);
        enum error_code code = segment_window_get(walk->window, at, size, &bytes, error);
        if (code)
            return code;
        if (bytes_are_zero(bytes, size))
            continue;
        search_piece(walk, bytes, at, size);
        while (size > 0 && bytes[size - 1] == 0)
            size--;
        walk->scan.dirty_end = at + size;
    }
    return OK;
}

static void decide(struct walk *walk, bool closed, uint64_t witness_sequence)
{
    struct segment_recovery_scan *scan = &walk->scan;
    struct segment_recovery_evidence *evidence = &scan->evidence;

    evidence->rest_is_zero = scan->dirty_end == scan->end_offset;
    evidence->last_is_stop = walk->last_kind == FORMAT_BLOCK_STOP;
    evidence->last_is_seal = walk->last_kind == FORMAT_BLOCK_SEAL;
    evidence->later_promise = scan->durable_offset > scan->end_offset;
    evidence->closed = closed;
    evidence->witness = witness_sequence >= scan->sequence_next;
    scan->verdict = segment_recovery_decide(evidence);
    if (witness_sequence > scan->sequence_promised)
        scan->sequence_promised = witness_sequence;
}

static enum error_code scan_walk(struct walk *walk, bool closed, uint64_t witness_sequence,
                                 segment_recovery_visit visit, void *context, struct error *error)
{
    enum error_code code;
    bool taken;

    do
        code = take_block(walk, visit, context, &taken, error);
    while (!code && taken && walk->last_kind != FORMAT_BLOCK_SEAL);
    if (!code)
        code = judge_stop(walk, error);
    if (!code)
        code = search_rest(walk, error);
    if (!code)
        decide(walk, closed, witness_sequence);
    return code;
}

enum error_code segment_recovery_scan(int fd, const struct segment_set_segment *segment,
                                      bool closed, uint64_t witness_sequence,
                                      segment_recovery_visit visit, void *context,
                                      struct segment_recovery_scan *scan_out, struct error *error)
{
    struct walk walk = {
        .segment = segment,
        .limit = segment->header.size_bytes - FORMAT_TRAILER_BYTES,
        .scan =
            {
                .end_offset = FORMAT_SEGMENT_HEADER_BYTES,
                .sequence_next = segment->sequence_first,
                .sequence_seen = segment->sequence_first - 1,
                .sequence_promised = segment->sequence_first - 1,
                .chain = segment->header_checksum,
                .epoch = segment->header.epoch,
                .durable_offset = segment->header.published_bytes,
                .arrival_ns = INT64_MIN,
            },
    };

    enum error_code code = OK;
    if (segment->size_bytes != segment->header.size_bytes)
        return error_set(error, ERROR_DAMAGED,
                         "segment %s: the file has %" PRIu64 " bytes, its header says %" PRIu64,
                         segment->name, segment->size_bytes, segment->header.size_bytes);
    code = segment_window_create(fd, segment->name, segment->size_bytes, &walk.window, error);
    if (!code)
        code = scan_walk(&walk, closed, witness_sequence, visit, context, error);
    segment_window_free(walk.window);
    buffer_release(&walk.scratch);
    if (!code)
        *scan_out = walk.scan;
    return code;
}
