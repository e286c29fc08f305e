#include "segment/walk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/walk_damage.h"

enum error_code segment_walk_init(struct segment_walk *walk, int log_fd, int segments_fd,
                                  struct error *error)
{
    *walk = (struct segment_walk){
        .log_fd = log_fd,
        .segments_fd = segments_fd,
        .since_ns = INT64_MIN,
        .until_ns = INT64_MAX,
        .last = UINT64_MAX,
    };
    enum error_code code = segment_set_load(log_fd, segments_fd, &walk->set, error);
    if (code)
        return code;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    if (walk->set.count == 0)
        code = error_set(error, ERROR_NOT_FOUND, "there is no log: no segment");
    else
        code = segment_set_identify(&walk->set, log_fd, log_id, error);
    if (code) {
        segment_set_free(&walk->set);
        return code;
    }
    walk->bound_untold = walk->set.bound_reason;
    segment_horizon_init(&walk->horizon, log_fd, segments_fd, log_id);
    segment_walk_seek(walk, 1);
    code = segment_horizon_refresh(&walk->horizon, error);
    if (code)
        segment_walk_release(walk);
    return code;
}

static void forget_directory(struct segment_walk *walk)
{
    free(walk->entries);
    walk->entries = NULL;
    walk->entry_count = walk->entry_next = 0;
}

void segment_walk_leave_segment(struct segment_walk *walk)
{
    walk->finished = walk->view.segment.sequence_first;
    walk->reported = false;
    segment_view_close(&walk->view);
    forget_directory(walk);
}

void segment_walk_release(struct segment_walk *walk)
{
    forget_directory(walk);
    segment_view_release(&walk->view);
    segment_horizon_release(&walk->horizon);
    segment_set_free(&walk->set);
}

void segment_walk_seek(struct segment_walk *walk, uint64_t sequence)
{
    segment_walk_leave_segment(walk);
    segment_view_jump(&walk->view);
    walk->finished = 0;
    walk->at_start = sequence <= 1;
    walk->expected = walk->at_start ? 1 : sequence;
    walk->from = walk->expected;
    walk->hole_first = walk->hole_last = 0;
    walk->loss_count = 0;
    walk->lost_told = walk->break_told = 0;
}

enum error_code segment_walk_reload_set(struct segment_walk *walk, struct error *error)
{
    struct segment_set set;
    enum error_code code = segment_set_load(walk->log_fd, walk->segments_fd, &set, error);
    if (code)
        return code;
    segment_set_free(&walk->set);
    walk->set = set;
    return OK;
}

/* The first live segment with a name above `sequence`; set.count when there is none. */
size_t segment_walk_index_above(const struct segment_set *set, uint64_t sequence)
{
    size_t low = set->dead_count, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->segments[middle].sequence_first > sequence)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void step_over(struct segment_walk *walk, const struct segment_format_block_header *header,
                      uint64_t sequence_next)
{
    walk->offset = header->offset + header->size_bytes;
    walk->expected = sequence_next;
    walk->chain = header->checksum;
    walk->chain_known = true;
    walk->reported = false;
}

static bool overlaps(const struct segment_walk *walk, int64_t time_min_ns, int64_t time_max_ns)
{
    return time_max_ns >= walk->since_ns && time_min_ns <= walk->until_ns;
}

static enum error_code take_events(struct segment_walk *walk,
                                   const struct segment_format_block_header *header,
                                   const uint8_t **raw_out, struct error *error)
{
    uint64_t next = header->sequence_first + header->event_count;
    *raw_out = NULL;
    if (next <= walk->from || !overlaps(walk, header->time_min_ns, header->time_max_ns)) {
        step_over(walk, header, next);
        return OK;
    }
    struct error reason;
    enum error_code code = segment_view_body(&walk->view, header, raw_out, &reason);
    if (code == ERROR_MEMORY)
        return error_set(error, code, "%s", reason.text);
    if (!code) {
        step_over(walk, header, next);
        return OK;
    }
    *raw_out = NULL;
    if (segment_walk_was_replaced(walk))
        return segment_walk_reload_set(walk, error);
    code = segment_walk_report_block(walk, header->offset, next, reason.text, error);
    step_over(walk, header, next);
    return code;
}

static enum error_code take_gap(struct segment_walk *walk,
                                const struct segment_format_block_header *header,
                                const uint8_t **raw_out, struct error *error)
{
    struct segment_format_gap gap;
    struct error reason;
    const uint8_t *raw = NULL;
    enum error_code code = segment_view_body(&walk->view, header, &raw, &reason);
    if (!code)
        code = segment_format_decode_gap(raw, header->raw_bytes, &gap, &reason);
    if (code == ERROR_MEMORY)
        return error_set(error, code, "%s", reason.text);
    if (code == ERROR_VERSION)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         walk->view.segment.name, header->offset, reason.text);
    if (code && segment_walk_was_replaced(walk))
        return segment_walk_reload_set(walk, error);
    if (code)
        return segment_walk_resume_after_damage(walk, header->offset + header->size_bytes,
                                                reason.text, error);
    if (gap.sequence_last > walk->horizon.limit)
        return ERROR_END;
    step_over(walk, header, gap.sequence_last + 1);
    *raw_out = gap.sequence_last >= walk->from ? raw : NULL;
    if (*raw_out && segment_format_gap_is_loss(gap.cause))
        segment_walk_note_loss(walk, &gap);
    return OK;
}

/*
 * The producers as of here. No event is lost by a list that cannot be read, so it is passed like
 * one that nobody asked for; whoever checks every byte (segment/verify.h) tells of it.
 */
static enum error_code take_producers(struct segment_walk *walk,
                                      const struct segment_format_block_header *header,
                                      const uint8_t **raw_out, struct error *error)
{
    const uint8_t *raw;
    struct error reason;
    enum error_code code = segment_view_body(&walk->view, header, &raw, &reason);
    if (code == ERROR_MEMORY)
        return error_set(error, code, "%s", reason.text);
    step_over(walk, header, walk->expected);
    *raw_out = code ? NULL : raw;
    return OK;
}

/*
 * In a sealed segment the directory tells which stretches of blocks hold nothing that is wanted.
 * True: the walk has moved.
 */
static bool skip_by_directory(struct segment_walk *walk)
{
    size_t at = walk->entry_next;
    while (at < walk->entry_count && walk->entries[at].offset < walk->offset)
        at++;
    walk->entry_next = at;
    if (at == walk->entry_count || walk->entries[at].offset != walk->offset)
        return false;
    while (at < walk->entry_count &&
           !overlaps(walk, walk->entries[at].time_min_ns, walk->entries[at].time_max_ns))
        at++;
    if (at == walk->entry_next) {
        walk->entry_next++;
        return false;
    }
    walk->chain_known = false;
    if (at == walk->entry_count) {
        walk->expected = walk->view.segment.trailer.sequence_last + 1;
        segment_walk_leave_segment(walk);
        return true;
    }
    walk->entry_next = at + 1;
    walk->offset = walk->entries[at].offset;
    walk->expected = walk->entries[at].sequence_first;
    segment_view_jump(&walk->view);
    return true;
}

/* Read the header of the block at hand; what was copied before it was durable does not count. */
static enum error_code look(struct segment_walk *walk,
                            struct segment_format_block_header *header_out, struct error *reason)
{
    if (walk->expected > walk->limit_looked) {
        /* Whoever has come to the end may find little more there each time. */
        segment_view_jump(&walk->view);
        walk->limit_looked = walk->horizon.limit;
    }
    enum error_code code = segment_view_header(&walk->view, walk->offset, header_out, reason);
    if (!code && header_out->sequence_first + header_out->event_count > walk->limit_looked + 1 &&
        walk->limit_looked < walk->horizon.limit) {
        segment_view_forget(&walk->view);
        walk->limit_looked = walk->horizon.limit;
        code = segment_view_header(&walk->view, walk->offset, header_out, reason);
    }
    return code;
}

/* One block of the open segment. *raw_out stays NULL when there is nothing to give out. */
static enum error_code step(struct segment_walk *walk, struct segment_format_block_header *header,
                            const uint8_t **raw_out, struct error *error)
{
    struct error reason;
    if (skip_by_directory(walk))
        return OK;
    enum error_code code = look(walk, header, &reason);
    if (code == ERROR_MEMORY)
        return error_set(error, code, "%s", reason.text);
    if (code == ERROR_VERSION)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         walk->view.segment.name, walk->offset, reason.text);
    bool follows = !code && header->sequence_first == walk->expected &&
                   (!walk->chain_known || header->chain == walk->chain);
    if (!follows && segment_walk_was_replaced(walk))
        return segment_walk_reload_set(walk, error);
    if (code)
        return segment_walk_resume_after_damage(walk, walk->offset + FORMAT_ALIGNMENT, reason.text,
                                                error);
    if (!follows)
        return segment_walk_pass_misplaced(walk, header, error);

    switch (header->kind) {
    case FORMAT_BLOCK_EVENTS:
        if (header->sequence_first + header->event_count - 1 > walk->horizon.limit)
            return ERROR_END;
        return take_events(walk, header, raw_out, error);
    case FORMAT_BLOCK_GAP:
        return take_gap(walk, header, raw_out, error);
    case FORMAT_BLOCK_SEAL:
        segment_walk_leave_segment(walk);
        return OK;
    case FORMAT_BLOCK_PRODUCERS:
        if (walk->gives_producers)
            return take_producers(walk, header, raw_out, error);
        break;
    case FORMAT_BLOCK_WATERMARK:
    case FORMAT_BLOCK_STOP:
        break;
    }
    step_over(walk, header, walk->expected);
    return OK;
}

/* The directory of a sealed segment, when it helps. Without it each header is looked at instead. */
static void load_directory(struct segment_walk *walk)
{
    bool all_times = walk->since_ns == INT64_MIN && walk->until_ns == INT64_MAX;
    struct segment_seal seal;
    if (all_times && walk->from <= walk->expected)
        return;
    if (segment_view_seal(&walk->view, &seal, NULL))
        return;
    walk->entries = seal.entries;
    walk->entry_count = seal.entry_count;
    seal.entries = NULL;
    segment_seal_release(&seal);

    size_t at = 0;
    while (at < walk->entry_count && walk->entries[at].sequence_first <= walk->from)
        at++;
    if (at > 1) {
        walk->entry_next = at - 1;
        walk->offset = walk->entries[at - 1].offset;
        walk->expected = walk->entries[at - 1].sequence_first;
        walk->chain_known = false;
    }
    segment_view_jump(&walk->view);
}

static enum error_code open_segment(struct segment_walk *walk,
                                    const struct segment_set_segment *segment, struct error *error)
{
    enum error_code code =
        segment_view_open(&walk->view, walk->segments_fd, segment, walk->horizon.log_id, error);
    if (!code && !segment_view_is_as_listed(&walk->view)) {
        segment_view_close(&walk->view);
        code = error_set(error, ERROR_NOT_FOUND, "segment %s was replaced", segment->name);
    }
    if (code)
        return code;
    walk->limit_looked = walk->horizon.limit;
    walk->offset = FORMAT_SEGMENT_HEADER_BYTES;
    walk->chain = segment->header_checksum;
    walk->chain_known = segment->header_verdict == FORMAT_VALID;
    walk->reported = false;
    walk->at_start = false;
    return OK;
}

/* Events from `expected` to the segment's first are not here: deleted by retention, or lost. */
static enum error_code pass_missing(struct segment_walk *walk, uint64_t segment_first,
                                    struct error *error)
{
    uint64_t hole_end = walk->set.bound < segment_first ? walk->set.bound : segment_first;
    if (hole_end > walk->expected) {
        uint64_t wanted = walk->expected > walk->from ? walk->expected : walk->from;
        if (!walk->at_start && wanted < hole_end) {
            /* One that nobody has asked about yet grows. */
            walk->hole_first = walk->hole_first ? walk->hole_first : wanted;
            walk->hole_last = hole_end - 1;
        }
        walk->expected = hole_end;
        if (walk->from < hole_end)
            walk->from = hole_end;
        return OK;
    }
    if (segment_first == UINT64_MAX)
        return segment_walk_report(walk, segment_first, "the log ends before its watermark", error);
    struct error what;
    error_set(&what, ERROR_DAMAGED, "a segment is missing before %020" PRIu64 ".seg",
              segment_first);
    return segment_walk_report(walk, segment_first, what.text, error);
}

static enum error_code enter(struct segment_walk *walk, const struct segment_set_segment *segment,
                             struct error *error)
{
    enum error_code code = segment_set_check_version(segment, error);
    if (code)
        return code;
    bool foreign = segment->header_verdict == FORMAT_VALID &&
                   memcmp(segment->header.log_id, walk->horizon.log_id, FORMAT_LOG_ID_BYTES) != 0;
    bool unwanted = segment->sealed &&
                    (segment->trailer.sequence_last < walk->from ||
                     !overlaps(walk, segment->trailer.time_min_ns, segment->trailer.time_max_ns));
    if (unwanted && !foreign) {
        /*
         * A sequence that was sought may be in a segment that was not there yet when the set was
         * loaded: the walk goes on there from its first event, as from any segment to the next.
         */
        bool sought = walk->finished == 0;
        walk->finished = segment->sequence_first;
        if (sought || walk->expected <= segment->trailer.sequence_last)
            walk->expected = segment->trailer.sequence_last + 1;
        return OK;
    }
    if (foreign) {
        size_t next = segment_walk_index_above(&walk->set, segment->sequence_first);
        walk->finished = segment->sequence_first;
        struct error what;
        error_set(&what, ERROR_DAMAGED, "segment %s belongs to another log", segment->name);
        return segment_walk_report(
            walk, next < walk->set.count ? walk->set.segments[next].sequence_first : UINT64_MAX,
            what.text, error);
    }

    code = open_segment(walk, segment, error);
    if (code == ERROR_NOT_FOUND) /* Retention was faster. */
        return segment_walk_reload_set(walk, error);
    if (code)
        return code;
    /* When a sequence was sought, the events before it are passed block by block. */
    if (walk->finished == 0)
        walk->expected = segment->sequence_first;
    if (segment->header_verdict != FORMAT_VALID) {
        const struct error *unreadable = &walk->set.unreadable;
        bool refused = unreadable->code && strstr(unreadable->text, segment->name);
        return error_set(error, ERROR_DAMAGED, "segment %s: %s; no event is lost by it",
                         segment->name, refused ? unreadable->text : "its header is damaged");
    }
    load_directory(walk);
    return OK;
}

/*
 * The segment that must hold `expected`, which was sought. By its name a stranger may seem to: its
 * header does not fit, and the one before has not ended yet.
 */
static size_t index_of_sought(const struct segment_walk *walk)
{
    size_t at = segment_walk_index_above(&walk->set, walk->expected);
    at -= at > walk->set.dead_count;
    while (at > walk->set.dead_count && walk->set.segments[at].header_verdict == FORMAT_BAD) {
        const struct segment_set_segment *before = &walk->set.segments[at - 1];
        if (before->sealed && before->trailer.sequence_last < walk->expected)
            break;
        at--;
    }
    return at;
}

/* Find the segment in which `expected` must be, and open it. */
static enum error_code next_segment(struct segment_walk *walk, struct error *error)
{
    for (int fresh = 0;; fresh++) {
        size_t at = segment_walk_index_above(&walk->set, walk->finished);
        if (walk->finished == 0)
            at = index_of_sought(walk);
        uint64_t first = at < walk->set.count ? walk->set.segments[at].sequence_first : UINT64_MAX;
        if (first <= walk->expected)
            return enter(walk, &walk->set.segments[at], error);
        if (fresh)
            return pass_missing(walk, first, error);
        enum error_code code = segment_walk_reload_set(walk, error);
        if (code)
            return code;
    }
}

/* The walk ends before the damage: no event behind it is known. Tell that there may have been. */
static bool tell_broken_end(struct segment_walk *walk, struct error *error)
{
    const struct segment_horizon_break *broken = &walk->horizon.broken;
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    if (broken->segment_first == 0 || broken->segment_first == walk->break_told ||
        broken->sequence_next <= walk->horizon.limit)
        return false;
    walk->break_told = broken->segment_first;
    segment_format_segment_name(broken->segment_first, name);
    error_set(error, ERROR_DAMAGED,
              "segment %s: no valid block at byte %" PRIu64
              ", but more was durable there; events from %" PRIu64 " on, if there were any, are "
              "lost",
              name, broken->offset, broken->sequence_next);
    return true;
}

/*
 * Nothing in the last segment is known to be durable, so the walk does not enter it; but when its
 * header is damaged, that may be because everything in it is lost. Once.
 */
static bool tell_lost_end(struct segment_walk *walk, struct error *error)
{
    const struct segment_set *set = &walk->set;
    const struct segment_set_segment *last = set->count ? &set->segments[set->count - 1] : NULL;
    if (!last || last->header_verdict != FORMAT_BAD || last->sequence_first == walk->lost_told ||
        last->sequence_first <= walk->horizon.limit)
        return false;
    walk->lost_told = last->sequence_first;
    error_set(error, ERROR_DAMAGED,
              "segment %s: its header is damaged, and no event in it can be found; events from "
              "%" PRIu64 " on, if there were any, are lost",
              last->name, last->sequence_first);
    return true;
}

enum error_code segment_walk_next(struct segment_walk *walk,
                                  struct segment_format_block_header *header_out,
                                  const uint8_t **raw_out, struct error *error)
{
    const uint8_t *raw = NULL;
    if (walk->bound_untold.code) {
        walk->bound_untold.code = OK;
        return error_set(error, ERROR_DAMAGED,
                         "%s; reading begins with the first segment that is there, and what "
                         "retention has deleted cannot be told from what is missing",
                         walk->bound_untold.text);
    }
    while (!raw) {
        enum error_code code = OK;
        if (walk->expected > walk->last)
            return ERROR_END;
        if (walk->expected > walk->horizon.limit)
            code = segment_horizon_refresh(&walk->horizon, error);
        if (!code && walk->expected > walk->horizon.limit)
            return tell_lost_end(walk, error) || tell_broken_end(walk, error) ? ERROR_DAMAGED
                                                                              : ERROR_END;
        if (!code)
            code = walk->view.is_open ? step(walk, header_out, &raw, error)
                                      : next_segment(walk, error);
        if (code == ERROR_END) { /* the limit lies within a block: has it moved? */
            uint64_t limit = walk->horizon.limit;
            code = segment_horizon_refresh(&walk->horizon, error);
            if (!code && walk->horizon.limit == limit)
                return ERROR_END;
        }
        if (code)
            return code;
    }
    *raw_out = raw;
    return OK;
}

/* Open the segment with this name, wherever the walk is. */
static enum error_code open_by_name(struct segment_walk *walk, uint64_t segment_first,
                                    struct error *error)
{
    for (int fresh = 0;; fresh++) {
        size_t at = segment_walk_index_above(&walk->set, segment_first);
        if (at > 0 && walk->set.segments[at - 1].sequence_first == segment_first)
            return open_segment(walk, &walk->set.segments[at - 1], error);
        if (fresh)
            return error_set(error, ERROR_NOT_FOUND, "segment %020" PRIu64 ".seg is gone",
                             segment_first);
        enum error_code code = segment_walk_reload_set(walk, error);
        if (code)
            return code;
    }
}

static enum error_code check_block_at(struct segment_walk *walk, uint64_t offset,
                                      uint64_t sequence_first, struct error *error)
{
    struct segment_format_block_header header;
    struct error reason;
    enum error_code code = segment_view_header(&walk->view, offset, &header, &reason);
    if (!code && (header.kind != FORMAT_BLOCK_EVENTS || header.sequence_first != sequence_first))
        code = error_set(&reason, ERROR_DAMAGED, "it does not start with event %" PRIu64,
                         sequence_first);
    if (code)
        return error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                         walk->view.segment.name, offset, reason.text);
    return OK;
}

enum error_code segment_walk_seek_block(struct segment_walk *walk, uint64_t segment_first,
                                        uint64_t offset, uint64_t sequence_first,
                                        struct error *error)
{
    enum error_code code = OK;
    segment_view_jump(&walk->view);
    if (!walk->view.is_open || walk->view.segment.sequence_first != segment_first)
        code = open_by_name(walk, segment_first, error);
    if (!code)
        code = check_block_at(walk, offset, sequence_first, error);
    if (code) {
        segment_walk_seek(walk, sequence_first);
        return code;
    }
    forget_directory(walk);
    walk->limit_looked = walk->horizon.limit;
    walk->offset = offset;
    walk->expected = walk->from = sequence_first;
    walk->chain_known = false;
    walk->reported = walk->at_start = false;
    walk->hole_first = walk->hole_last = 0;
    walk->loss_count = 0;
    return OK;
}

void segment_walk_seek_near(struct segment_walk *walk, uint64_t sequence, uint64_t segment_first,
                            uint64_t offset, uint64_t sequence_first)
{
    const struct segment_set *set = &walk->set;
    bool is_newer = set->count > 0 && set->segments[set->count - 1].sequence_first < segment_first;
    if (is_newer) /* without it the walk would come to that segment through the one before */
        segment_walk_reload_set(walk, NULL);
    size_t above = segment_walk_index_above(set, sequence);
    const struct segment_set_segment *segment =
        above > set->dead_count ? &set->segments[above - 1] : NULL;
    bool helps = segment && !segment->sealed && segment->sequence_first == segment_first &&
                 sequence_first <= sequence;
    if (helps &&
        segment_walk_seek_block(walk, segment_first, offset, sequence_first, NULL) == OK)
        walk->from = sequence;
    else
        segment_walk_seek(walk, sequence);
}
