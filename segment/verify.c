#include "segment/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/bound.h"
#include "segment/horizon.h"
#include "segment/intent.h"
#include "segment/recovery.h"
#include "segment/seal.h"
#include "segment/set.h"
#include "segment/view.h"

enum {
    PROGRESS_BYTES = 4 * 1024 * 1024,
    REPLACED_MAX = 3, /* times that one segment is put in the place of another while we look */
};

struct verify {
    const struct segment_verify_watcher *watcher;
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
    uint64_t expected; /* the sequence behind the segment before */
};

static void note_finding(void *context, const struct segment_verify_finding *finding)
{
    struct verify *verify = context;
    verify->totals.findings++;
    verify->watcher->found(verify->watcher->context, finding);
}

static void note_gap(void *context, const struct segment_format_gap *gap)
{
    struct verify *verify = context;
    if (!segment_format_gap_is_loss(gap->cause))
        return;
    verify->totals.lost_before += gap->sequence_last - gap->sequence_first + 1;
    if (verify->watcher->gap)
        verify->watcher->gap(verify->watcher->context, gap);
}

static void note_progress(void *context, uint64_t bytes)
{
    struct verify *verify = context;
    uint64_t done = verify->totals.bytes + bytes;
    if (done - verify->bytes_told < PROGRESS_BYTES)
        return;
    verify->bytes_told = done;
    verify->watcher->progress(verify->watcher->context, done, verify->bytes_total);
}

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
    note_finding(verify, &(struct segment_verify_finding){
                             .segment_first = segment_first,
                             .offset = offset,
                             .sequence_first = sequence_first,
                             .sequence_last = sequence_last,
                             .text = text,
                         });
}

static void find_damaged_tail(struct verify *verify, const struct segment_check *check,
                              const struct segment_recovery_scan *scan)
{
    char loss[80];
    find(verify, check->view->segment.sequence_first, scan->end_offset, scan->sequence_next,
         scan->sequence_seen,
         "segment %s: at byte %" PRIu64 " lie %" PRIu64
         " bytes that are no valid block and that no crash alone explains%s",
         check->view->segment.name, scan->end_offset, scan->dirty_end - scan->end_offset,
         segment_check_loss_text(scan->sequence_next, scan->sequence_seen, loss, sizeof loss));
}

static uint64_t last_witnessed(const struct verify *verify)
{
    const struct segment_horizon_basis *basis = &verify->horizon.basis;
    return basis->page ? basis->state.sequence_durable : 0;
}

/* What recovery says of the last segment. *told_out: bytes are refused, and that was told. */
static enum error_code scan_last(struct verify *verify, const struct segment_set_segment *segment,
                                 int fd, struct segment_recovery_scan *scan_out, bool *told_out,
                                 struct error *error)
{
    struct error reason;
    enum error_code code = segment_recovery_scan(
        fd, segment, segment->sealed, last_witnessed(verify), NULL, NULL, scan_out, &reason);
    *told_out = code == ERROR_DAMAGED || code == ERROR_IO;
    /* The walk ends with the last block; a writer wants to see the rest as well. */
    if (*told_out)
        find(verify, segment->sequence_first, 0, 0, 0, "segment %s cannot be read to its end: %s",
             segment->name, reason.text);
    return code && !*told_out ? error_set(error, code, "%s", reason.text) : OK;
}

/*
 * The next writer reads the last segment past the page cache. What is gone from the disk, and still
 * there, keeps it away, and nobody else meets it.
 */
static enum error_code judge_disk(struct verify *verify, const struct segment_set_segment *segment,
                                  const struct segment_recovery_scan *cache, struct error *error)
{
    struct segment_recovery_scan disk;
    bool told;
    int fd = -1;
    enum error_code code = file_open_uncached(verify->segments_fd, segment->name, &fd, error);
    /* Somebody may have put another in its place. */
    if (code || !file_is_named(verify->view.map.fd, verify->segments_fd, segment->name)) {
        file_close(&fd);
        return code == ERROR_NOT_FOUND ? OK : code;
    }
    code = scan_last(verify, segment, fd, &disk, &told, error);
    file_close(&fd);
    if (!code && !told && segment_recovery_only_cached(&disk, cache))
        find(verify, segment->sequence_first, disk.end_offset, 0, 0,
             "segment %s: no valid block at byte %" PRIu64
             " of the disk, though the page cache still has one",
             segment->name, disk.end_offset);
    return code;
}

/* Every byte of it is checked, as the page cache has it: what that refuses is told there. */
static enum error_code judge_sealed_last(struct verify *verify,
                                         const struct segment_set_segment *segment,
                                         struct error *error)
{
    struct segment_recovery_scan cache;
    struct error reason;
    enum error_code code = segment_recovery_scan(verify->view.map.fd, segment, true, 0, NULL, NULL,
                                                 &cache, &reason);
    if (code == ERROR_MEMORY)
        return error_set(error, code, "%s", reason.text);
    return code ? OK : judge_disk(verify, segment, &cache, error);
}

/* Without a live writer the last segment is judged as recovery would. */
static enum error_code judge_as_recovery(struct verify *verify, struct segment_check *check,
                                         struct error *error)
{
    const struct segment_set_segment *segment = &check->view->segment;
    struct segment_recovery_scan scan;
    bool told;
    check->must_last = last_witnessed(verify);
    if (segment->header_verdict != FORMAT_VALID ||
        segment->size_bytes != segment->header.size_bytes)
        return OK;
    enum error_code code = scan_last(verify, segment, verify->view.map.fd, &scan, &told, error);
    if (code || told)
        return code;
    if (scan.sequence_next - 1 > check->must_last)
        check->must_last = scan.sequence_next - 1;
    if (scan.verdict == RECOVERY_CORRUPT && scan.sequence_promised > check->must_last)
        check->must_last = scan.sequence_promised;
    /* A block without events that was promised is damaged too. */
    if (scan.verdict == RECOVERY_CORRUPT && scan.evidence.later_promise)
        check->must_end = scan.durable_offset;
    if (scan.verdict == RECOVERY_SEALED)
        check->must_seal = true;
    if (scan.verdict == RECOVERY_TORN)
        verify->totals.torn_bytes += scan.dirty_end - scan.end_offset;
    if (scan.verdict == RECOVERY_DAMAGED_TAIL)
        find_damaged_tail(verify, check, &scan);
    return judge_disk(verify, segment, &scan, error);
}

/* What must be there: in a sealed segment everything, in the last one what is durable. */
static enum error_code judge(struct verify *verify, size_t index, struct segment_check *check,
                             struct error *error)
{
    const struct segment_set_segment *segment = &check->view->segment;
    bool is_last = index + 1 == verify->set.count;
    check->must_seal = segment->sealed || !is_last;
    if (segment->sealed)
        check->must_last = segment->trailer.sequence_last;
    else if (!is_last)
        check->must_last = verify->set.segments[index + 1].sequence_first - 1;
    bool live = segment_horizon_is_live(&verify->horizon);
    if (check->must_seal)
        return is_last && !live ? judge_sealed_last(verify, segment, error) : OK;
    check->live = live;
    check->must_last = verify->horizon.limit;
    return check->live ? OK : judge_as_recovery(verify, check, error);
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

/* Open the file that has the name now: packing may have put another there since the set was loaded.
 */
static enum error_code open_segment(struct verify *verify, struct segment_set_segment *segment,
                                    struct error *error)
{
    for (int tries = 0;; tries++) {
        enum error_code code =
            segment_view_open(&verify->view, verify->segments_fd, segment, verify->log_id, error);
        if (code || tries == REPLACED_MAX || segment_view_is_as_listed(&verify->view))
            return code;
        code = segment_set_reload(verify->segments_fd, segment, error);
        if (!code)
            code = segment_set_check_version(segment, error);
        if (code)
            return code;
    }
}

static enum error_code verify_segment(struct verify *verify, size_t index, struct error *error)
{
    struct segment_set_segment *segment = &verify->set.segments[index];
    enum error_code code = segment_set_check_version(segment, error);
    if (code)
        return code;
    code = open_segment(verify, segment, error);
    if (code == ERROR_NOT_FOUND)
        return check_vanished(verify, segment, error);
    if (code)
        return error_prefix(error, "segment %s", segment->name);
    if (!check_segment_header(verify, segment))
        return OK;
    struct segment_check check;
    segment_check_init(&check, &verify->view, verify->log_id);
    check.found = note_finding;
    check.gap = note_gap;
    check.progress = verify->watcher->progress ? note_progress : NULL;
    check.context = verify;
    code = judge(verify, index, &check, error);
    if (code)
        return code;
    /* A stranger among the segments does not hold what those before it were seen to hold. */
    if (segment->header_verdict != FORMAT_VALID && verify->expected > check.expected)
        check.expected = verify->expected;
    code = segment_check_run(&check, error);
    if (code)
        return code;
    verify->expected = check.expected;
    /* Nobody writes there before the segment is sealed. */
    if (!check.must_seal && !check.live && segment->trailer_verdict == FORMAT_BAD &&
        segment->header_verdict == FORMAT_VALID &&
        segment->size_bytes == segment->header.size_bytes)
        find(verify, segment->sequence_first, segment->size_bytes - FORMAT_TRAILER_BYTES, 0, 0,
             "segment %s: the trailer at byte %" PRIu64 " is damaged; no event is lost by it",
             segment->name, segment->size_bytes - FORMAT_TRAILER_BYTES);
    verify->totals.blocks += check.block_count;
    verify->totals.events += check.event_count;
    verify->seal_end = check.seal.offset > 0 ? check.offset : 0;
    verify->totals.segments++;
    verify->totals.bytes += check.must_seal ? segment->size_bytes : check.offset;
    return OK;
}

/* Between two segments: does the later one know the earlier one as it is? */
static void verify_pair(struct verify *verify, const struct segment_set_segment *before,
                        const struct segment_set_segment *segment)
{
    struct error reason;
    if (before->header_verdict != FORMAT_VALID || segment->header_verdict != FORMAT_VALID)
        return;
    enum error_code code = segment_set_check_pair(before, segment, &reason);
    if (!code && verify->seal_end > 0)
        code = segment_set_check_end(before, verify->seal_end, segment, &reason);
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
    /* Retention never deletes the last segment, so the one at the bound is there. */
    if (!any)
        find(verify, bound, 0, 0, 0,
             "no segment is left, but the log should have events from %" PRIu64 " on", bound);
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
    if (!code && verify->watcher->progress)
        verify->watcher->progress(verify->watcher->context, verify->bytes_total,
                                  verify->bytes_total);
    return code;
}

/* Without the log's identity, which seeds every checksum, no block can be judged. */
static void find_all_headers(struct verify *verify)
{
    for (size_t i = verify->set.dead_count; i < verify->set.count; i++)
        check_segment_header(verify, &verify->set.segments[i]);
}

/* DIR itself: an unfinished repair, a lower bound that says nothing. */
static enum error_code verify_directory(struct verify *verify, struct error *error)
{
    struct error reason;
    enum error_code code = segment_intent_check(verify->log_fd, &reason);
    if (code == ERROR_DAMAGED)
        find(verify, 0, 0, 0, 0, "%s", reason.text);
    else if (code)
        return error_set(error, code, "%s", reason.text);
    if (verify->set.bound_damaged)
        find(verify, 0, 0, 0, 0,
             "%s; what retention has deleted cannot be told from what is missing",
             verify->set.bound_reason.text);
    return OK;
}

/* Only a witness can tell that there was a log. */
static enum error_code verify_nothing(struct verify *verify, struct error *error)
{
    struct segment_watermark *page = NULL;
    struct segment_watermark_state state = {0};
    if (!segment_watermark_open(verify->log_fd, &page, NULL) &&
        (!segment_watermark_read(page, &state) || !state.plausible))
        state.sequence_durable = 0;
    segment_watermark_close(page);
    uint64_t last = verify->set.bound - 1;
    if (state.sequence_durable > last)
        last = state.sequence_durable;
    if (last == 0 && verify->totals.findings == 0)
        return error_set(error, ERROR_NOT_FOUND, "there is no log: no segment");
    if (last > 0)
        find(verify, 0, 0, verify->set.bound, last,
             "no segment is left, but there were events up to %" PRIu64, last);
    return OK;
}

static enum error_code verify_open_log(struct verify *verify, struct error *error)
{
    enum error_code code =
        segment_set_load(verify->log_fd, verify->segments_fd, &verify->set, error);
    if (code)
        return code;
    code = verify_directory(verify, error);
    if (code)
        return code;
    if (verify->set.count == 0)
        return verify_nothing(verify, error);
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
        code =
            verify->set.count > 0 ? verify_segments(verify, error) : verify_nothing(verify, error);
    segment_horizon_release(&verify->horizon);
    return code;
}

enum error_code segment_verify_watch(const char *path, const struct segment_verify_watcher *watcher,
                                     struct segment_verify_totals *totals_out, struct error *error)
{
    struct verify verify = {.watcher = watcher, .log_fd = -1, .segments_fd = -1};
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

enum error_code segment_verify_log(
    const char *path, void (*found)(void *context, const struct segment_verify_finding *finding),
    void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
    struct segment_verify_totals *totals_out, struct error *error)
{
    struct segment_verify_watcher watcher = {
        .found = found, .progress = progress, .context = context};
    return segment_verify_watch(path, &watcher, totals_out, error);
}
