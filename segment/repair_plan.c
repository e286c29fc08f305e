#include "segment/repair_plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/check.h"
#include "segment/intent.h"
#include "segment/recovery.h"
#include "segment/repair_part.h"
#include "segment/watermark.h"

/* While a plan is made. */
struct planning {
    const struct segment_repair_options *options;
    struct segment_repair_plan *plan;
    struct segment_view view;
    size_t part_capacity;
    uint64_t bytes_done;
    uint64_t bytes_total;
};

void segment_repair_plan_release(struct segment_repair_plan *plan)
{
    free(plan->strangers);
    free(plan->parts);
    segment_set_free(&plan->set);
    plan->strangers = NULL;
    plan->parts = NULL;
}

/* The page of another log says nothing about this one. */
static void ask_page(struct segment_repair_plan *plan)
{
    struct segment_watermark *page = NULL;
    struct segment_watermark_state state;
    if (!segment_watermark_open(plan->log_fd, &page, NULL) &&
        segment_watermark_read(page, &state) && state.plausible &&
        (plan->unknown_log || memcmp(state.log_id, plan->log_id, FORMAT_LOG_ID_BYTES) == 0) &&
        state.sequence_durable > plan->witness)
        plan->witness = state.sequence_durable;
    segment_watermark_close(page);
}

static enum error_code identify(struct planning *planning, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    for (size_t i = 0; i < plan->set.count; i++)
        if (segment_set_check_version(&plan->set.segments[i], NULL))
            return error_set(error, ERROR_VERSION,
                             "segment %s was written by a newer Daybook; repair with that",
                             plan->set.segments[i].name);
    enum error_code code = segment_set_identify(&plan->set, plan->log_fd, plan->log_id, error);
    if (code != ERROR_DAMAGED)
        return code;
    plan->unknown_log = planning->options->log_id == NULL;
    if (!plan->unknown_log)
        memcpy(plan->log_id, planning->options->log_id, FORMAT_LOG_ID_BYTES);
    return OK;
}

/* A segment under the name of another only looks damaged: all of it is there. */
static enum error_code check_name(const struct segment_repair_plan *plan,
                                  const struct segment_set_segment *segment, struct error *error)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    struct segment_format_segment_header header;
    uint32_t checksum;
    int fd = -1;
    if (segment->header_verdict == FORMAT_VALID || plan->unknown_log)
        return OK;
    enum error_code code = file_open(plan->segments_fd, segment->name, FILE_READ, &fd, error);
    if (code)
        return code;
    bool misnamed =
        !file_read(fd, segment->name, bytes, sizeof bytes, 0, NULL) &&
        segment_format_decode_segment_header(bytes, &header, &checksum) == FORMAT_VALID &&
        memcmp(header.log_id, plan->log_id, FORMAT_LOG_ID_BYTES) == 0;
    file_close(&fd);
    if (!misnamed)
        return OK;
    return error_set(error, ERROR_DAMAGED,
                     "the file segments/%s is segment %020" PRIu64
                     ".seg under another name: nothing was changed; give it its name back, then "
                     "verify again",
                     segment->name, header.sequence_first);
}

static enum error_code add_part(struct planning *planning, const struct segment_repair_part *part,
                                struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    if (plan->part_count == planning->part_capacity) {
        size_t wanted = planning->part_capacity ? 2 * planning->part_capacity : 16;
        void *grown = realloc(plan->parts, wanted * sizeof *plan->parts);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "no memory for the plan of a repair");
        plan->parts = grown;
        planning->part_capacity = wanted;
    }
    plan->parts[plan->part_count++] = *part;
    return OK;
}

/* Bytes that the device refuses may be a block: who has not seen them cannot say that none is. */
static enum error_code holds_a_block(const struct segment_repair_plan *plan,
                                     const struct segment_set_segment *segment, bool *holds_out,
                                     struct error *error)
{
    struct segment_view view = {0};
    struct segment_format_block_header header;
    struct segment_format_trailer trailer;
    enum error_code code =
        segment_view_open(&view, plan->segments_fd, segment, plan->log_id, error);
    if (!code && segment_view_trailer(&view, &trailer, error) == ERROR_VERSION)
        code = error_prefix(error, "segment %s", segment->name);
    if (!code) {
        code = segment_view_find(&view, FORMAT_SEGMENT_HEADER_BYTES, &header, error);
        *holds_out = code == OK;
    }
    segment_view_release(&view);
    return code == ERROR_END ? segment_repair_part_is_unreadable(plan, segment, holds_out, error)
                             : code;
}

/* Does a neighbour, or the lower bound, say that a segment must stand here? */
static bool is_expected(const struct segment_repair_plan *plan, size_t index)
{
    const struct segment_set *set = &plan->set;
    uint64_t first = set->segments[index].sequence_first;
    if (first == set->bound)
        return true;
    if (index > 0 && set->segments[index - 1].sealed &&
        set->segments[index - 1].trailer.sequence_last + 1 == first)
        return true;
    return index + 1 < set->count && set->segments[index + 1].header_verdict == FORMAT_VALID &&
           set->segments[index + 1].header.predecessor.sequence_first == first;
}

/*
 * Of another log; or a file of which nothing but the name says that it belongs here: to believe the
 * name would be to call everything up to it lost.
 */
static enum error_code is_stranger(const struct segment_repair_plan *plan, size_t index,
                                   bool *stranger_out, struct error *error)
{
    const struct segment_set_segment *segment = &plan->set.segments[index];
    *stranger_out = plan->unknown_log;
    if (plan->unknown_log)
        return OK;
    if (segment->header_verdict == FORMAT_VALID) {
        *stranger_out = memcmp(segment->header.log_id, plan->log_id, FORMAT_LOG_ID_BYTES) != 0;
        return OK;
    }
    if (is_expected(plan, index))
        return OK;
    bool holds = false;
    enum error_code code = holds_a_block(plan, segment, &holds, error);
    *stranger_out = !holds;
    return code;
}

/* What is below the bound is retention's business. */
static enum error_code sort_files(struct planning *planning, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    size_t live = plan->set.count - plan->set.dead_count;
    plan->strangers = calloc(live + 1, sizeof *plan->strangers);
    if (!plan->strangers)
        return error_set(error, ERROR_MEMORY, "no memory for the plan of a repair");
    enum error_code code = OK;
    for (size_t i = plan->set.dead_count; !code && i < plan->set.count; i++) {
        const struct segment_set_segment *segment = &plan->set.segments[i];
        bool stranger = false;
        code = check_name(plan, segment, error);
        if (!code)
            code = is_stranger(plan, i, &stranger, error);
        if (!code && stranger) {
            plan->strangers[plan->stranger_count++] = *segment;
            continue;
        }
        struct segment_repair_part part = {.fate = REPAIR_KEEP, .segment = *segment};
        if (!code)
            code = add_part(planning, &part, error);
        planning->bytes_total += segment->size_bytes;
    }
    return code;
}

/* The first finding says what is wrong; how many more there are is seen in what is lost. */
static void note_finding(void *context, const struct segment_verify_finding *finding)
{
    struct segment_repair_part *part = context;
    if (part->fate == REPAIR_KEEP)
        snprintf(part->why, sizeof part->why, "%s", finding->text);
    part->fate = REPAIR_RENEW;
}

__attribute__((format(printf, 2, 3))) static void renew(struct segment_repair_part *part,
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (part->fate == REPAIR_KEEP)
        vsnprintf(part->why, sizeof part->why, format, arguments);
    va_end(arguments);
    part->fate = REPAIR_RENEW;
}

/* Push out what a killed process left dirty: only then the disk can be asked. */
static enum error_code sync_last(const struct segment_repair_plan *plan,
                                 const struct segment_set_segment *segment, int *fd_out,
                                 struct error *error)
{
    enum error_code code = file_open(plan->segments_fd, segment->name, FILE_READ, fd_out, error);
    if (!code)
        code = file_sync_data(*fd_out, segment->name, error);
    if (code)
        file_close(fd_out);
    return code;
}

/* What recovery says of the last segment; zeros where bytes are refused, which renews it. */
static enum error_code scan_last(const struct segment_repair_plan *plan,
                                 struct segment_repair_part *part, int fd,
                                 struct segment_recovery_scan *scan_out, struct error *error)
{
    const struct segment_set_segment *segment = &part->segment;
    *scan_out = (struct segment_recovery_scan){0};
    enum error_code code = segment_recovery_scan(fd, segment, segment->sealed, plan->witness, NULL,
                                                 NULL, scan_out, error);
    if (code != ERROR_DAMAGED && code != ERROR_IO)
        return code;
    renew(part, "%s", error->text);
    return OK;
}

/* The end of the log, as everybody reads it. */
static void judge_end(struct segment_repair_plan *plan, struct segment_repair_part *part,
                      const struct segment_recovery_scan *scan, struct segment_check *check)
{
    check->must_seal = scan->verdict == RECOVERY_SEALED;
    check->must_last = scan->sequence_next - 1;
    if (segment_recovery_is_damage(scan))
        renew(part,
              "segment %s: no valid block at byte %" PRIu64
              ", but a later one says that it was durable",
              part->segment.name, scan->end_offset);
    else if (scan->verdict == RECOVERY_CORRUPT)
        plan->tail_needs_acceptance = scan->evidence.rest_is_zero;
    if (part->fate == REPAIR_KEEP && scan->verdict == RECOVERY_DAMAGED_TAIL)
        plan->tail_last = scan->sequence_seen;
    plan->tail = part->fate == REPAIR_KEEP &&
                 (scan->verdict == RECOVERY_CORRUPT || scan->verdict == RECOVERY_DAMAGED_TAIL);
    part->sequence_last = scan->sequence_next - 1;
}

/*
 * The end of the log: what would recovery say? It reads past the page cache, and a repair must find
 * whatever it refuses there. Everything else reads through the cache, which a reader may keep: what
 * it still has of such a place is rescued. So it is dropped only where that can cost nothing.
 */
static enum error_code judge_last(struct segment_repair_plan *plan,
                                  struct segment_repair_part *part, struct segment_check *check,
                                  struct error *error)
{
    const struct segment_set_segment *segment = &part->segment;
    struct segment_recovery_scan disk, scan;
    int fd = -1, disk_fd = -1;
    enum error_code code = sync_last(plan, segment, &fd, error);
    if (!code)
        code = file_open_uncached(plan->segments_fd, segment->name, &disk_fd, error);
    if (!code)
        code = scan_last(plan, part, disk_fd, &disk, error);
    file_close(&disk_fd);
    if (!code && part->fate == REPAIR_KEEP && disk.verdict != RECOVERY_CORRUPT)
        file_drop_cache(fd, 0, segment->size_bytes);
    if (!code)
        code = scan_last(plan, part, fd, &scan, error);
    file_close(&fd);
    if (code || scan.sequence_next == 0)
        return code;
    if (segment_recovery_only_cached(&disk, &scan))
        renew(part,
              "segment %s: no valid block at byte %" PRIu64
              " of the disk, though the page cache still has one",
              segment->name, disk.end_offset);
    if (!segment->sealed) /* else every byte is checked anyway */
        judge_end(plan, part, &scan, check);
    return OK;
}

/* Check every byte of one segment. */
static enum error_code examine(struct planning *planning, size_t index, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    struct segment_repair_part *part = &plan->parts[index];
    const struct segment_set_segment *segment = &part->segment;
    bool last = index + 1 == plan->part_count;
    if (segment->header_verdict != FORMAT_VALID) {
        renew(part, "segment %s: its header is damaged", segment->name);
        return OK;
    }
    if (segment->size_bytes != segment->header.size_bytes) {
        renew(part, "segment %s has %" PRIu64 " bytes, but was made with %" PRIu64, segment->name,
              segment->size_bytes, segment->header.size_bytes);
        return OK;
    }
    if (!segment->sealed && !last)
        renew(part, "segment %s is not sealed, but segment %s follows it", segment->name,
              plan->parts[index + 1].segment.name);
    part->sequence_last = segment->sealed ? segment->trailer.sequence_last : 0;

    enum error_code code =
        segment_view_open(&planning->view, plan->segments_fd, segment, plan->log_id, error);
    if (code)
        return code;
    struct segment_check check;
    segment_check_init(&check, &planning->view, plan->log_id);
    check.found = note_finding;
    check.context = part;
    check.must_seal = segment->sealed || !last;
    check.must_last = part->sequence_last;
    if (last)
        code = judge_last(plan, part, &check, error);
    if (!code)
        code = segment_check_run(&check, error);
    part->seal_end = check.seal.offset > 0 ? check.offset : 0;
    return code;
}

static enum error_code examine_all(struct planning *planning, struct error *error)
{
    const struct segment_repair_options *options = planning->options;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < planning->plan->part_count; i++) {
        code = examine(planning, i, error);
        planning->bytes_done += planning->plan->parts[i].segment.size_bytes;
        if (!code && options->progress)
            options->progress(options->context, planning->bytes_done, planning->bytes_total);
    }
    return code;
}

/* What `part` says of the one before it, which there is; NULL when it cannot be read, or cannot be.
 */
static const struct segment_format_predecessor *told_by(struct segment_repair_part *part)
{
    const struct segment_format_predecessor *told = &part->segment.header.predecessor;
    if (part->segment.header_verdict != FORMAT_VALID)
        return NULL;
    if (told->sequence_first > 0 && told->sequence_last + 1 == part->segment.sequence_first)
        return told;
    renew(part, "segment %s says that it follows event %" PRIu64, part->segment.name,
          told->sequence_last);
    return NULL;
}

static struct segment_repair_part filling(uint64_t first, uint64_t last,
                                          const struct segment_format_predecessor *replaces)
{
    struct segment_repair_part part = {
        .fate = REPAIR_FILL,
        .segment = {.sequence_first = first},
        .sequence_last = last,
        .sequence_promised = last,
        .events_lost = last - first + 1,
        .needs_acceptance = true,
    };
    segment_format_segment_name(first, part.segment.name);
    if (replaces)
        part.replaces = *replaces;
    if (first == last)
        snprintf(part.lost, sizeof part.lost, "%" PRIu64, first);
    else
        snprintf(part.lost, sizeof part.lost, "%" PRIu64 " to %" PRIu64, first, last);
    return part;
}

/* Does `next` say of `part`, which stays as it is, what verify wants it to say? */
static bool is_known(const struct segment_repair_part *part, const struct segment_repair_part *next)
{
    return !segment_set_check_pair(&part->segment, &next->segment, NULL) &&
           (part->seal_end == 0 ||
            !segment_set_check_end(&part->segment, part->seal_end, &next->segment, NULL));
}

/*
 * `part` must end where `next` begins. *end_out is where it will end: before that, when a segment
 * is missing between the two.
 */
static enum error_code link_pair(struct planning *planning, struct segment_repair_part *part,
                                 struct segment_repair_part *next, uint64_t *end_out,
                                 struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    const struct segment_format_predecessor *told = told_by(next);
    uint64_t target = next->segment.sequence_first - 1;
    uint64_t own_last = part->sequence_last;
    bool between = told && told->sequence_first > part->segment.sequence_first;

    if (part->fate == REPAIR_KEEP) {
        bool fits = own_last == target && (!told || is_known(part, next));
        *end_out = own_last;
        if (fits || (own_last < target && (between || !told)))
            return OK;
        renew(part, "segment %s does not end as segment %s, which follows it, says",
              part->segment.name, next->segment.name);
    }
    uint64_t events_last = 0;
    enum error_code code = segment_repair_part_end(plan, part, &own_last, &events_last, error);
    if (code)
        return code;
    if (events_last > target)
        return error_set(error, ERROR_DAMAGED,
                         "segment %s has events up to %" PRIu64 ", but segment %s begins with %"
                         PRIu64 ": one of the two is of another history, and nothing was changed; "
                         "move that one away, then verify again",
                         part->segment.name, events_last, next->segment.name, target + 1);
    *end_out = target;
    /* Where it reaches as far as the next one, nothing can be missing, whatever that says. */
    if (between && own_last < target)
        *end_out = own_last ? own_last : told->sequence_first - 1;
    if (*end_out < events_last)
        *end_out = events_last;
    /* It is sealed, and ends before: what is to be lost then, no byte but that word speaks of. */
    part->needs_acceptance = own_last > 0 && own_last < *end_out;
    part->sequence_last = part->sequence_promised = *end_out;
    if (told && *end_out == target)
        part->replaces = *told;
    return OK;
}

/* Put the parts in a row without holes. */
static enum error_code link_all(struct planning *planning, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    struct segment_repair_part *found = plan->parts;
    size_t count = plan->part_count;
    plan->parts = NULL;
    plan->part_count = planning->part_capacity = 0;

    uint64_t expected = plan->set.bound;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < count; i++) {
        uint64_t first = found[i].segment.sequence_first;
        if (expected < first) {
            struct segment_repair_part fill = filling(expected, first - 1, told_by(&found[i]));
            code = add_part(planning, &fill, error);
        }
        if (!code && i + 1 < count)
            code = link_pair(planning, &found[i], &found[i + 1], &expected, error);
        expected++;
        if (!code)
            code = add_part(planning, &found[i], error);
    }
    free(found);
    return code;
}

/*
 * No segment is left. The one that is made covers every sequence that may have been given; where
 * nobody knows, no file can have held more than its names and sizes allow.
 */
static enum error_code fill_all(struct planning *planning, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    uint64_t first = plan->set.bound;
    uint64_t last = first + FORMAT_UNDURABLE_EVENTS_MAX - 1;
    if (plan->witness > last)
        last = plan->witness;
    for (size_t i = 0; i < plan->stranger_count && plan->unknown_log; i++) {
        uint64_t bytes = plan->strangers[i].size_bytes;
        if (bytes > FORMAT_SEGMENT_BYTES_MAX)
            bytes = FORMAT_SEGMENT_BYTES_MAX;
        uint64_t most = plan->strangers[i].sequence_first + bytes * REPAIR_EVENTS_PER_BYTE_MAX;
        if (most > last)
            last = most;
    }
    if (last >= EVENT_SEQUENCE_END)
        last = EVENT_SEQUENCE_END - 1;
    /* The repair's note must know: when it is interrupted, the strangers may be gone by then. */
    plan->witness = last;
    struct segment_repair_part fill = filling(first, last, NULL);
    return add_part(planning, &fill, error);
}

static enum error_code measure_all(struct planning *planning, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < plan->part_count; i++)
        if (plan->parts[i].fate == REPAIR_RENEW)
            code = segment_repair_part_measure(plan, &plan->parts[i], i + 1 == plan->part_count,
                                               error);
    return code;
}

/* What lies behind the last segment, as witnesses tell. */
static void plan_tail(struct segment_repair_plan *plan)
{
    const struct segment_repair_part *last = &plan->parts[plan->part_count - 1];
    plan->tail_first = last->sequence_last + 1;
    if (plan->witness > last->sequence_last) {
        plan->tail_last = plan->witness;
        if (!plan->tail)
            plan->tail_needs_acceptance = true;
        plan->tail = true;
    }
    /* What it kept in quarantine may be cut from the segment already. */
    if (plan->tail_last <= plan->agreed)
        plan->tail_needs_acceptance = false;
}

static enum error_code make(struct planning *planning, struct error *error)
{
    struct segment_repair_plan *plan = planning->plan;
    struct segment_repair_bound_knowledge knowledge = {.witness = planning->options->witness_bound};
    struct segment_intent intent = {0};
    enum error_code code = segment_intent_load(plan->log_fd, &intent, error);
    plan->unfinished = intent.there;
    plan->note_damaged = intent.damaged;
    plan->witness = plan->agreed = intent.witness;
    if (!code)
        code = segment_set_load(plan->log_fd, plan->segments_fd, &plan->set, error);
    if (!code)
        code = identify(planning, error);
    knowledge.unfinished = plan->unfinished;
    if (!code)
        code = segment_repair_bound_plan(plan->log_fd, &plan->set, &knowledge, &plan->bound, error);
    if (code)
        return code;
    if (planning->options->witness_sequence > plan->witness)
        plan->witness = planning->options->witness_sequence;
    ask_page(plan);
    if (plan->set.count == 0 && plan->witness == 0 && plan->set.bound == 1 && !plan->unfinished)
        return error_set(error, ERROR_NOT_FOUND, "there is no log: no segment");
    code = sort_files(planning, error);
    if (!code)
        code = examine_all(planning, error);
    if (!code)
        code = plan->part_count > 0 ? link_all(planning, error) : fill_all(planning, error);
    if (!code)
        code = measure_all(planning, error);
    if (!code)
        plan_tail(plan);
    return code;
}

enum error_code segment_repair_plan_make(int log_fd, int segments_fd,
                                         const struct segment_repair_options *options,
                                         struct segment_repair_plan *plan_out, struct error *error)
{
    *plan_out = (struct segment_repair_plan){.log_fd = log_fd, .segments_fd = segments_fd};
    struct planning planning = {.options = options, .plan = plan_out};
    enum error_code code = make(&planning, error);
    segment_view_release(&planning.view);
    return code;
}

size_t segment_repair_plan_count(const struct segment_repair_plan *plan)
{
    size_t count = plan->stranger_count + plan->tail + plan->unfinished;
    count += plan->bound.fate != REPAIR_BOUND_KEEP;
    for (size_t i = 0; i < plan->part_count; i++)
        count += plan->parts[i].fate != REPAIR_KEEP;
    return count;
}

bool segment_repair_plan_needs_acceptance(const struct segment_repair_plan *plan)
{
    bool needed =
        plan->tail_needs_acceptance || plan->bound.uncertain || plan->note_damaged;
    for (size_t i = 0; i < plan->part_count; i++)
        needed |= plan->parts[i].needs_acceptance;
    return needed;
}
