#include "segment/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/bound.h"
#include "segment/horizon.h"
#include "segment/recovery.h"
#include "segment/seal.h"
#include "segment/set.h"
#include "segment/view.h"

enum { PROGRESS_BYTES = 4 * 1024 * 1024, ZERO_STEP = 64 * 1024 };

struct verify {
    void (*found)(void *context, const struct segment_verify_finding *finding);
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
    struct segment_verify_totals totals;
    uint64_t bytes_total;
    uint64_t bytes_told;
    int log_fd;
    int segments_fd;
    struct segment_set set;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    struct segment_horizon horizon;
    struct segment_view view;
    uint64_t seal_end; /* in the segment before; 0: not known */
};

/* One segment while its blocks are checked. */
struct check {
    const struct segment_set_segment *segment;
    bool must_seal;     /* every byte is judged, else only what is durable */
    bool live;          /* a writer is at work behind `must_last` */
    uint64_t must_last; /* the last sequence that must be here */
    uint64_t offset;    /* of the block at hand */
    uint64_t expected;  /* its sequence */
    uint32_t chain;     /* of the block before, when known */
    bool chain_known;
    uint32_t epoch;
    int64_t arrival_ns;
    uint64_t events;
    uint32_t blocks; /* of events */
    bool intact;     /* no block so far was bad, so that totals can be compared */
    struct segment_format_block_header seal; /* offset 0: not met */
};

__attribute__((format(printf, 6, 7))) static void find(struct verify *verify,
                                                       uint64_t segment_first, uint64_t offset,
                                                       uint64_t sequence_first,
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
    verify->totals.findings++;
    verify->found(verify->context, &(struct segment_verify_finding){
                                       .segment_first = segment_first,
                                       .offset = offset,
                                       .sequence_first = sequence_first,
                                       .sequence_last = sequence_last,
                                       .text = text,
                                   });
}

/* "; events 3 to 5 are lost", or nothing when first > last. */
static const char *loss_text(uint64_t first, uint64_t last, char *text, size_t size)
{
    text[0] = '\0';
    if (first == last)
        snprintf(text, size, "; event %" PRIu64 " is lost", first);
    else if (first < last)
        snprintf(text, size, "; events %" PRIu64 " to %" PRIu64 " are lost", first, last);
    return text;
}

static void find_at_block(struct verify *verify, struct check *check, uint64_t offset,
                          uint64_t lost_first, uint64_t lost_last, const char *reason)
{
    char loss[80];
    check->intact = false;
    find(verify, check->segment->sequence_first, offset, lost_first, lost_last,
         "segment %s: block at byte %" PRIu64 ": %s%s", check->segment->name, offset, reason,
         loss_text(lost_first, lost_last, loss, sizeof loss));
}

static void tell_progress(struct verify *verify, uint64_t done)
{
    if (!verify->progress || done - verify->bytes_told < PROGRESS_BYTES)
        return;
    verify->bytes_told = done;
    verify->progress(verify->context, done, verify->bytes_total);
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

static enum error_code check_gap(const struct segment_format_block_header *header,
                                 const uint8_t *raw, uint64_t *next_out, struct error *error)
{
    struct segment_format_gap gap;
    enum error_code code = segment_format_decode_gap(raw, header->raw_bytes, &gap, error);
    if (code)
        return code;
    if (gap.sequence_first != header->sequence_first)
        return error_set(error, ERROR_DAMAGED, "the gap starts elsewhere than its header says");
    *next_out = gap.sequence_last + 1;
    return OK;
}

/* The footer repeats what the blocks say; compare, unless blocks are missing anyway. */
static enum error_code check_seal(const struct check *check,
                                  const struct segment_format_block_header *header,
                                  const uint8_t *raw, struct error *error)
{
    struct segment_seal seal;
    enum error_code code = segment_seal_decode(raw, header->raw_bytes, &seal, error);
    if (code)
        return code;
    bool same = seal.event_count == check->events && seal.block_count == check->blocks &&
                seal.sequence_first == check->segment->sequence_first &&
                seal.sequence_last + 1 == check->expected;
    if (check->intact && !same)
        code = error_set(error, ERROR_DAMAGED,
                         "the footer counts %" PRIu64 " events up to %" PRIu64
                         ", but there are %" PRIu64 " up to %" PRIu64,
                         seal.event_count, seal.sequence_last, check->events, check->expected - 1);
    segment_seal_release(&seal);
    return code;
}

static enum error_code check_body(struct verify *verify, struct check *check,
                                  const struct segment_format_block_header *header,
                                  uint64_t *next_out, struct error *error)
{
    const uint8_t *raw = NULL;
    enum error_code code = segment_view_body(&verify->view, header, &raw, error);
    if (code)
        return code;
    switch (header->kind) {
    case FORMAT_BLOCK_EVENTS:
        return check_records(header, raw, error);
    case FORMAT_BLOCK_GAP:
        return check_gap(header, raw, next_out, error);
    case FORMAT_BLOCK_SEAL:
        return check_seal(check, header, raw, error);
    case FORMAT_BLOCK_WATERMARK:
    case FORMAT_BLOCK_STOP:
    case FORMAT_BLOCK_PRODUCERS:
        break;
    }
    return OK;
}

/* Does the block stand where its header and the block before say? */
static enum error_code check_place(const struct verify *verify, const struct check *check,
                                   const struct segment_format_block_header *header,
                                   struct error *error)
{
    if (check->chain_known && header->chain != check->chain)
        return error_set(error, ERROR_DAMAGED, "it does not follow the block before it");
    if (header->sequence_first != check->expected)
        return error_set(error, ERROR_DAMAGED,
                         "it starts with event %" PRIu64 " instead of %" PRIu64,
                         header->sequence_first, check->expected);
    if (header->log_id != bytes_load64(verify->log_id))
        return error_set(error, ERROR_DAMAGED, "it belongs to another log");
    if (header->epoch < check->epoch)
        return error_set(error, ERROR_DAMAGED, "its writer is older than that of the block before");
    if (header->arrival_ns < check->arrival_ns)
        return error_set(error, ERROR_DAMAGED,
                         "its arrival time is before that of the block before");
    return OK;
}

/* Go behind a block whose header is good, whatever its body is. */
static void step_over(struct verify *verify, struct check *check,
                      const struct segment_format_block_header *header, uint64_t next)
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
    verify->totals.blocks++;
    tell_progress(verify, verify->totals.bytes + check->offset);
}

/*
 * No block can be taken at the offset at hand. Name what is lost up to the next one that is valid,
 * and go there. False: there is none.
 */
static bool resynchronise(struct verify *verify, struct check *check, const char *reason)
{
    uint64_t bad = check->offset;
    struct segment_format_block_header found;
    enum error_code code = segment_view_find(&verify->view, bad + FORMAT_ALIGNMENT, &found, NULL);
    while (!code && found.sequence_first < check->expected)
        code = segment_view_find(&verify->view, found.offset + FORMAT_ALIGNMENT, &found, NULL);
    uint64_t lost_last = code ? check->must_last : found.sequence_first - 1;
    find_at_block(verify, check, bad, check->expected, lost_last, reason);
    if (lost_last >= check->expected)
        check->expected = lost_last + 1;
    if (code)
        return false;
    check->offset = found.offset;
    check->chain_known = false;
    return true;
}

/* Check the block at the offset at hand. False: the walk through this segment is over. */
static bool check_block(struct verify *verify, struct check *check)
{
    struct segment_format_block_header header;
    struct error reason;
    bool judged = check->must_seal || check->expected <= check->must_last;
    if (segment_view_header(&verify->view, check->offset, &header, &reason))
        return judged && resynchronise(verify, check, reason.text);

    uint64_t next = header.sequence_first + header.event_count;
    if (check_place(verify, check, &header, &reason)) {
        if (!judged)
            return false;
        uint64_t lost_last = header.sequence_first - 1;
        find_at_block(verify, check, check->offset, check->expected, lost_last, reason.text);
        check->expected = header.sequence_first;
    }
    if (check_body(verify, check, &header, &next, &reason)) {
        if (!judged)
            return false;
        find_at_block(verify, check, check->offset, header.sequence_first,
                      header.sequence_first + header.event_count - 1, reason.text);
    } else {
        verify->totals.events += header.event_count;
    }
    step_over(verify, check, &header, next);
    return header.kind != FORMAT_BLOCK_SEAL;
}

static void check_zeros(struct verify *verify, const struct check *check, uint64_t from,
                        uint64_t to)
{
    for (uint64_t at = from; at < to;) {
        size_t size = to - at < ZERO_STEP ? (size_t)(to - at) : ZERO_STEP;
        const uint8_t *bytes = NULL;
        struct error reason;
        if (segment_view_bytes(&verify->view, at, size, &bytes, &reason)) {
            find(verify, check->segment->sequence_first, at, 0, 0,
                 "segment %s: byte %" PRIu64 ": %s", check->segment->name, at, reason.text);
            return;
        }
        if (!bytes_are_zero(bytes, size)) {
            size_t first = 0;
            while (bytes[first] == 0)
                first++;
            find(verify, check->segment->sequence_first, at + first, 0, 0,
                 "segment %s: byte %" PRIu64 " behind the seal is not zero; no event is lost by it",
                 check->segment->name, at + first);
            return;
        }
        at += size;
        tell_progress(verify, verify->totals.bytes + at);
    }
}

static bool trailer_matches(const struct check *check, const struct segment_format_trailer *trailer)
{
    return trailer->seal_offset == check->seal.offset &&
           trailer->seal_checksum == check->seal.checksum &&
           trailer->sequence_last + 1 == check->seal.sequence_first;
}

/* Behind the seal: zeros, then the trailer. */
static void check_end(struct verify *verify, const struct check *check)
{
    const struct segment_set_segment *segment = check->segment;
    uint64_t offset = verify->view.segment_bytes - FORMAT_TRAILER_BYTES;
    struct segment_format_trailer trailer;
    const uint8_t *bytes = NULL;
    struct error reason;
    if (check->seal.offset > 0)
        check_zeros(verify, check, check->offset, offset);

    enum segment_format_verdict verdict = FORMAT_BAD;
    if (!segment_view_bytes(&verify->view, offset, FORMAT_TRAILER_BYTES, &bytes, &reason))
        verdict = segment_format_decode_trailer(segment->seed, bytes, &trailer);
    /* A crash may come between the seal and the trailer; the next writer makes up for it. */
    if (verdict == FORMAT_ZERO)
        return;
    if (verdict != FORMAT_VALID)
        find(verify, segment->sequence_first, offset, 0, 0,
             "segment %s: the trailer at byte %" PRIu64 " is damaged; no event is lost by it",
             segment->name, offset);
    else if (check->seal.offset > 0 && !trailer_matches(check, &trailer))
        find(verify, segment->sequence_first, offset, 0, 0,
             "segment %s: the trailer at byte %" PRIu64
             " does not describe the seal at byte %" PRIu64,
             segment->name, offset, check->seal.offset);
}

static void find_damaged_tail(struct verify *verify, const struct check *check,
                              const struct segment_recovery_scan *scan)
{
    char loss[80];
    find(verify, check->segment->sequence_first, scan->end_offset, scan->sequence_next,
         scan->sequence_seen,
         "segment %s: at byte %" PRIu64 " lie %" PRIu64
         " bytes that are no valid block and that no crash alone explains%s",
         check->segment->name, scan->end_offset, scan->dirty_end - scan->end_offset,
         loss_text(scan->sequence_next, scan->sequence_seen, loss, sizeof loss));
}

/* Without a live writer the last segment is judged as recovery would. */
static enum error_code judge_as_recovery(struct verify *verify, struct check *check,
                                         struct error *error)
{
    const struct segment_horizon_basis *basis = &verify->horizon.basis;
    uint64_t witness = basis->page ? basis->state.sequence_durable : 0;
    struct segment_recovery_scan scan;
    check->must_last = witness;
    if (check->segment->header_verdict != FORMAT_VALID ||
        check->segment->size_bytes != check->segment->header.size_bytes)
        return OK;
    enum error_code code =
        segment_recovery_scan(verify->view.map.fd, check->segment, check->segment->sealed, witness,
                              NULL, NULL, &scan, error);
    if (code == ERROR_DAMAGED || code == ERROR_IO) /* The walk meets the reason and names it. */
        return OK;
    if (code)
        return code;
    if (scan.sequence_next - 1 > check->must_last)
        check->must_last = scan.sequence_next - 1;
    if (scan.verdict == RECOVERY_CORRUPT && scan.sequence_promised > check->must_last)
        check->must_last = scan.sequence_promised;
    if (scan.verdict == RECOVERY_SEALED)
        check->must_seal = true;
    if (scan.verdict == RECOVERY_TORN)
        verify->totals.torn_bytes += scan.dirty_end - scan.end_offset;
    if (scan.verdict == RECOVERY_DAMAGED_TAIL)
        find_damaged_tail(verify, check, &scan);
    return OK;
}

/* What must be there: in a sealed segment everything, in the last one what is durable. */
static enum error_code judge(struct verify *verify, size_t index, struct check *check,
                             struct error *error)
{
    const struct segment_set_segment *segment = check->segment;
    bool is_last = index + 1 == verify->set.count;
    check->must_seal = segment->sealed || !is_last;
    if (segment->sealed)
        check->must_last = segment->trailer.sequence_last;
    else if (!is_last)
        check->must_last = verify->set.segments[index + 1].sequence_first - 1;
    if (check->must_seal)
        return OK;
    check->live = segment_horizon_is_live(&verify->horizon);
    check->must_last = verify->horizon.limit;
    return check->live ? OK : judge_as_recovery(verify, check, error);
}

static void check_blocks(struct verify *verify, struct check *check)
{
    bool more = true;
    while (more && !(check->live && check->expected > check->must_last))
        more = check_block(verify, check);
    if (check->must_seal)
        check_end(verify, check);
}

static bool check_segment_header(struct verify *verify, const struct segment_set_segment *segment)
{
    if (segment->header_verdict != FORMAT_VALID) {
        find(verify, segment->sequence_first, 0, 0, 0,
             "segment %s: its header, bytes 0 to %d, is damaged", segment->name,
             FORMAT_SEGMENT_HEADER_BYTES - 1);
        return true;
    }
    if (memcmp(segment->header.log_id, verify->log_id, FORMAT_LOG_ID_BYTES) != 0) {
        find(verify, segment->sequence_first, 0, 0, 0, "segment %s belongs to another log",
             segment->name);
        return false;
    }
    if (segment->size_bytes != segment->header.size_bytes)
        find(verify, segment->sequence_first, segment->size_bytes, 0, 0,
             "segment %s has %" PRIu64 " bytes, but was made with %" PRIu64, segment->name,
             segment->size_bytes, segment->header.size_bytes);
    return true;
}

/* A segment that vanished was taken by retention, if the bound says so. */
static enum error_code check_vanished(struct verify *verify,
                                      const struct segment_set_segment *segment,
                                      struct error *error)
{
    uint64_t bound = 0;
    enum error_code code = segment_bound_load(verify->log_fd, &bound, error);
    if (!code && segment->sequence_first >= bound)
        find(verify, segment->sequence_first, 0, 0, 0,
             "segment %s was deleted while it was about to be checked, and not by retention",
             segment->name);
    return code;
}

static enum error_code verify_segment(struct verify *verify, size_t index, struct error *error)
{
    const struct segment_set_segment *segment = &verify->set.segments[index];
    if (!check_segment_header(verify, segment))
        return OK;
    enum error_code code =
        segment_view_open(&verify->view, verify->segments_fd, segment, verify->log_id, error);
    if (code == ERROR_NOT_FOUND)
        return check_vanished(verify, segment, error);
    if (code)
        return error_prefix(error, "segment %s", segment->name);
    struct check check = {
        .segment = &verify->view.segment,
        .offset = FORMAT_SEGMENT_HEADER_BYTES,
        .expected = segment->sequence_first,
        .chain = segment->header_checksum,
        .chain_known = segment->header_verdict == FORMAT_VALID,
        .arrival_ns = INT64_MIN,
        .intact = true,
    };
    code = judge(verify, index, &check, error);
    if (code)
        return code;
    check_blocks(verify, &check);
    verify->seal_end = check.seal.offset > 0 ? check.offset : 0;
    verify->totals.segments++;
    verify->totals.bytes += check.must_seal ? segment->size_bytes : check.offset;
    return OK;
}

/* Between two segments: does the later one know the earlier one as it is? */
static void verify_pair(struct verify *verify, const struct segment_set_segment *before,
                        const struct segment_set_segment *segment)
{
    const struct segment_format_predecessor *told = &segment->header.predecessor;
    struct error reason;
    if (before->header_verdict != FORMAT_VALID || segment->header_verdict != FORMAT_VALID)
        return;
    enum error_code code = segment_set_check_pair(before, segment, &reason);
    if (!code && verify->seal_end > 0 && verify->seal_end != told->end_offset)
        code = error_set(&reason, ERROR_DAMAGED,
                         "segment %s ends at byte %" PRIu64 ", but segment %s says at %" PRIu64,
                         before->name, verify->seal_end, segment->name, told->end_offset);
    if (!code)
        return;
    uint64_t lost_first = before->sealed ? before->trailer.sequence_last + 1 : 0;
    uint64_t lost_last = before->sealed ? segment->sequence_first - 1 : 0;
    find(verify, segment->sequence_first, 0, lost_first, lost_last, "%s", reason.text);
}

static void verify_beginning(struct verify *verify)
{
    uint64_t bound = verify->set.bound;
    bool any = verify->set.dead_count < verify->set.count;
    uint64_t first = any ? verify->set.segments[verify->set.dead_count].sequence_first : 0;
    if (any && first > bound)
        find(verify, first, 0, bound, first - 1,
             "the log starts with event %" PRIu64 ", but should start with %" PRIu64
             "; events %" PRIu64 " to %" PRIu64 " are lost",
             first, bound, bound, first - 1);
}

/* The watermark page is a witness: the log must reach as far as it says. */
static void verify_ending(struct verify *verify)
{
    const struct segment_horizon_basis *basis = &verify->horizon.basis;
    if (verify->set.count == 0)
        return;
    const struct segment_set_segment *last = &verify->set.segments[verify->set.count - 1];
    uint64_t end = last->trailer.sequence_last;
    if (last->sealed && basis->page && basis->state.sequence_durable > end)
        find(verify, last->sequence_first, last->size_bytes, end + 1, basis->state.sequence_durable,
             "the log ends with segment %s and event %" PRIu64
             ", but the watermark has seen %" PRIu64 "; events %" PRIu64 " to %" PRIu64 " are lost",
             last->name, end, basis->state.sequence_durable, end + 1,
             basis->state.sequence_durable);
}

static enum error_code verify_segments(struct verify *verify, struct error *error)
{
    const struct segment_set *set = &verify->set;
    for (size_t i = set->dead_count; i < set->count; i++)
        verify->bytes_total += set->segments[i].size_bytes;
    verify_beginning(verify);
    enum error_code code = OK;
    for (size_t i = set->dead_count; !code && i < set->count; i++) {
        if (i > set->dead_count)
            verify_pair(verify, &set->segments[i - 1], &set->segments[i]);
        verify->seal_end = 0;
        code = verify_segment(verify, i, error);
    }
    if (!code)
        verify_ending(verify);
    if (!code && verify->progress)
        verify->progress(verify->context, verify->bytes_total, verify->bytes_total);
    return code;
}

/* Without the log's identity, which seeds every checksum, no block can be judged. */
static void find_all_headers(struct verify *verify)
{
    for (size_t i = verify->set.dead_count; i < verify->set.count; i++)
        check_segment_header(verify, &verify->set.segments[i]);
}

static enum error_code verify_open_log(struct verify *verify, struct error *error)
{
    enum error_code code =
        segment_set_load(verify->log_fd, verify->segments_fd, &verify->set, error);
    if (code)
        return code;
    if (verify->set.count == 0)
        return error_set(error, ERROR_NOT_FOUND, "there is no log: no segment");
    code = segment_set_identify(&verify->set, verify->log_fd, verify->log_id, error);
    if (code == ERROR_DAMAGED) {
        find_all_headers(verify);
        return OK;
    }
    if (code)
        return code;
    segment_horizon_init(&verify->horizon, verify->log_fd, verify->segments_fd, verify->log_id);
    code = segment_horizon_refresh(&verify->horizon, error);
    /* What was durable by then must be in the files that are listed now. */
    segment_set_free(&verify->set);
    if (!code)
        code = segment_set_load(verify->log_fd, verify->segments_fd, &verify->set, error);
    if (!code)
        code = verify_segments(verify, error);
    segment_horizon_release(&verify->horizon);
    return code;
}

enum error_code segment_verify_log(
    const char *path, void (*found)(void *context, const struct segment_verify_finding *finding),
    void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
    struct segment_verify_totals *totals_out, struct error *error)
{
    struct verify verify = {
        .found = found, .progress = progress, .context = context, .log_fd = -1, .segments_fd = -1};
    enum error_code code = file_open_directory_to_read(path, &verify.log_fd, error);
    if (!code)
        code =
            file_open_directory_to_read_at(verify.log_fd, "segments", &verify.segments_fd, error);
    if (!code)
        code = verify_open_log(&verify, error);
    segment_view_release(&verify.view);
    segment_set_free(&verify.set);
    file_close(&verify.segments_fd);
    file_close(&verify.log_fd);
    if (code) {
        error_prefix(error, "verify the log '%s'", path);
        return code;
    }
    *totals_out = verify.totals;
    return OK;
}
