#include "segment/horizon.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/file.h"
#include "segment/lock.h"
#include "segment/recovery.h"
#include "segment/set.h"
#include "segment/view.h"

#define LIVENESS_NS INT64_C(100000000)
/* With a writer but no page to follow, only scanning tells; that must not be done all the time. */
#define BLIND_SCAN_NS INT64_C(1000000000)
enum { SLICE_MS = 100, TRIES_MAX = 5 };

void segment_horizon_init(struct segment_horizon *horizon, int log_fd, int segments_fd,
                          const uint8_t log_id[FORMAT_LOG_ID_BYTES])
{
    *horizon = (struct segment_horizon){.log_fd = log_fd, .segments_fd = segments_fd};
    memcpy(horizon->log_id, log_id, FORMAT_LOG_ID_BYTES);
}

void segment_horizon_release(struct segment_horizon *horizon)
{
    segment_watermark_close(horizon->page);
    horizon->page = NULL;
}

/* The page is a convenience: one that is missing or spoilt is as good as none. */
static enum error_code look_at_page(struct segment_horizon *horizon,
                                    struct segment_horizon_basis *basis, struct error *error)
{
    if (horizon->page && !segment_watermark_is_current(horizon->page, horizon->log_fd)) {
        segment_watermark_close(horizon->page);
        horizon->page = NULL;
        horizon->basis.page = false; /* whatever comes of the new one, nobody follows this one */
    }
    if (!horizon->page) {
        enum error_code code = segment_watermark_open(horizon->log_fd, &horizon->page, error);
        if (code == ERROR_NOT_FOUND || code == ERROR_DAMAGED || code == ERROR_FOREIGN)
            return OK;
        if (code)
            return code;
    }
    struct segment_watermark_state state;
    if (!segment_watermark_read(horizon->page, &state) ||
        memcmp(state.log_id, horizon->log_id, FORMAT_LOG_ID_BYTES) != 0 ||
        (!basis->held && !state.plausible))
        return OK;
    basis->page = true;
    basis->state = state;
    return OK;
}

static enum error_code observe(struct segment_horizon *horizon,
                               struct segment_horizon_basis *basis_out, struct error *error)
{
    struct segment_horizon_basis basis = {0};
    enum error_code code = segment_lock_is_held(horizon->log_fd, LOCK_WRITER, &basis.held, error);
    if (!code)
        code = look_at_page(horizon, &basis, error);
    if (!code)
        *basis_out = basis;
    return code;
}

static bool is_live(const struct segment_horizon_basis *basis)
{
    return basis->held && basis->page && basis->state.live;
}

/* Did the same writer, or none, stand behind both looks, and has it published nothing between? */
static bool is_same(const struct segment_horizon_basis *a, const struct segment_horizon_basis *b)
{
    return a->held == b->held && a->page == b->page && a->state.epoch == b->state.epoch &&
           a->state.live == b->state.live && a->state.same_boot == b->state.same_boot &&
           a->state.sequence_durable == b->state.sequence_durable;
}

static void raise_limit(struct segment_horizon *horizon, uint64_t limit)
{
    if (limit > horizon->limit)
        horizon->limit = limit;
}

/*
 * Behind damage in the middle of the last segment: the last sequence that a block's header names. A
 * body may be damaged as well: then those events are lost, and readers have to hear of it. Only
 * where being in the file means being on the disk.
 */
static enum error_code find_last_named(const struct segment_horizon *horizon,
                                       const struct segment_set_segment *last, uint64_t from,
                                       uint64_t *sequence_out, struct error *error)
{
    struct segment_view view = {0};
    enum error_code code =
        segment_view_open(&view, horizon->segments_fd, last, horizon->log_id, error);
    while (!code) {
        struct segment_format_block_header header;
        code = segment_view_find(&view, from, &header, error);
        if (code)
            break;
        uint64_t sequence = header.sequence_first + header.event_count - 1;
        from = header.offset + header.size_bytes;
        if (sequence > *sequence_out)
            *sequence_out = sequence;
    }
    segment_view_release(&view);
    return code == ERROR_END ? OK : code;
}

/* With a damaged header the blocks can be followed nevertheless: the log's identity is known. */
static struct segment_set_segment mend_header(const struct segment_horizon *horizon,
                                              const struct segment_set_segment *last)
{
    struct segment_set_segment mended = *last;
    if (last->header_verdict == FORMAT_VALID)
        return mended;
    mended.header_verdict = FORMAT_VALID;
    memcpy(mended.header.log_id, horizon->log_id, FORMAT_LOG_ID_BYTES);
    mended.header.sequence_first = last->sequence_first;
    mended.header.size_bytes = last->size_bytes;
    mended.header.commit_align = FORMAT_ALIGNMENT;
    mended.seed = segment_format_seed(horizon->log_id, last->sequence_first);
    struct segment_view view = {0};
    struct segment_format_block_header first;
    if (!segment_view_open(&view, horizon->segments_fd, &mended, horizon->log_id, NULL) &&
        !segment_view_header(&view, FORMAT_SEGMENT_HEADER_BYTES, &first, NULL))
        mended.header_checksum = first.chain;
    segment_view_release(&view);
    return mended;
}

/*
 * What recovery would find. A segment that cannot be scanned to its end, cut short or on a failing
 * disk, is damaged from its beginning on, as far as the scan is concerned.
 */
static enum error_code scan_file(const struct segment_horizon *horizon,
                                 const struct segment_set_segment *last, uint64_t witness,
                                 struct segment_recovery_scan *scan_out, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(horizon->segments_fd, last->name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = segment_recovery_scan(fd, last, last->sealed, witness, NULL, NULL, scan_out, error);
    file_close(&fd);
    if (code != ERROR_DAMAGED && code != ERROR_IO && code != ERROR_VERSION)
        return code;
    *scan_out = (struct segment_recovery_scan){
        .verdict = RECOVERY_CORRUPT,
        .end_offset = FORMAT_SEGMENT_HEADER_BYTES,
        .sequence_next = last->sequence_first,
    };
    return OK;
}

static enum error_code scan_segment(const struct segment_horizon *horizon,
                                    const struct segment_horizon_basis *basis,
                                    const struct segment_set_segment *found, uint64_t *limit_out,
                                    struct segment_horizon_break *broken_out, struct error *error)
{
    enum error_code code = segment_set_check_version(found, error);
    if (code)
        return code;
    uint64_t witness = basis->page ? basis->state.sequence_durable : 0;
    if (found->sealed) { /* All of it was durable before the seal was written. */
        uint64_t last_sealed = found->trailer.sequence_last;
        *limit_out = witness > last_sealed ? witness : last_sealed;
        return OK;
    }
    struct segment_set_segment last = mend_header(horizon, found);
    struct segment_recovery_scan scan;
    code = scan_file(horizon, &last, witness, &scan, error);
    if (code)
        return code;

    /*
     * A seal without a trailer proves nothing: it may have been written behind blocks that were not
     * synced yet.
     */
    bool finished = scan.verdict == RECOVERY_CLEAN;
    bool on_disk = !basis->held && !(basis->page && basis->state.same_boot);
    uint64_t limit = last.sequence_first - 1;
    if (witness > limit)
        limit = witness;
    if (scan.sequence_promised > limit)
        limit = scan.sequence_promised;
    if ((on_disk || (finished && basis->page)) && scan.sequence_next - 1 > limit)
        limit = scan.sequence_next - 1;
    if (on_disk && scan.verdict == RECOVERY_CORRUPT)
        code = find_last_named(horizon, &last, scan.end_offset, &limit, error);
    if (code)
        return code;
    if (!basis->held && scan.verdict == RECOVERY_CORRUPT)
        *broken_out = (struct segment_horizon_break){last.sequence_first, scan.end_offset,
                                                     scan.sequence_next};
    *limit_out = limit;
    return OK;
}

static enum error_code scan_log(const struct segment_horizon *horizon,
                                const struct segment_horizon_basis *basis, uint64_t *limit_out,
                                struct segment_horizon_break *broken_out, struct error *error)
{
    struct segment_set set = {0};
    *broken_out = (struct segment_horizon_break){0};
    enum error_code code = segment_set_load(horizon->log_fd, horizon->segments_fd, &set, error);
    if (code)
        return code;
    *limit_out = set.bound - 1;
    /* Behind a stranger that has a segment's name, the last segment is another one. */
    for (size_t i = set.count; !code && i > 0; i--) {
        uint64_t limit = 0;
        code = scan_segment(horizon, basis, &set.segments[i - 1], &limit, broken_out, error);
        if (!code && limit > *limit_out)
            *limit_out = limit;
        if (set.segments[i - 1].header_verdict == FORMAT_VALID)
            break;
    }
    segment_set_free(&set);
    return code;
}

static bool must_scan(const struct segment_horizon *horizon,
                      const struct segment_horizon_basis *basis, int64_t now_ns)
{
    if (!horizon->known || !is_same(basis, &horizon->basis))
        return true;
    return basis->held && !basis->page && now_ns - horizon->refreshed_ns >= BLIND_SCAN_NS;
}

/*
 * A scan counts only when the same writer, or none, stood behind it before and after: what a writer
 * appends while we read need not be durable.
 */
static enum error_code determine(struct segment_horizon *horizon, int64_t now_ns,
                                 struct error *error)
{
    struct segment_horizon_basis before;
    enum error_code code = observe(horizon, &before, error);
    for (int tries = 0; !code && tries < TRIES_MAX; tries++) {
        uint64_t limit = before.page ? before.state.sequence_durable : 0;
        struct segment_horizon_break broken = {0};
        if (!is_live(&before)) {
            if (!must_scan(horizon, &before, now_ns))
                return OK;
            code = scan_log(horizon, &before, &limit, &broken, error);
            struct segment_horizon_basis after;
            if (!code)
                code = observe(horizon, &after, error);
            if (!code && !is_same(&before, &after)) {
                before = after;
                continue;
            }
        }
        if (code == ERROR_NOT_FOUND) /* the log rolled, and retention took what we listed */
            code = observe(horizon, &before, error);
        else if (!code) {
            raise_limit(horizon, limit);
            horizon->basis = before;
            horizon->broken = broken;
            horizon->known = true;
            horizon->refreshed_ns = now_ns;
            return OK;
        }
    }
    return code;
}

enum error_code segment_horizon_refresh(struct segment_horizon *horizon, struct error *error)
{
    int64_t now_ns = clock_monotonic_ns();
    if (horizon->known && is_live(&horizon->basis)) {
        raise_limit(horizon, segment_watermark_sequence(horizon->page));
        if (now_ns - horizon->refreshed_ns < LIVENESS_NS)
            return OK;
    }
    return determine(horizon, now_ns, error);
}

enum error_code segment_horizon_refresh_now(struct segment_horizon *horizon, struct error *error)
{
    return determine(horizon, clock_monotonic_ns(), error);
}

bool segment_horizon_is_live(const struct segment_horizon *horizon)
{
    return is_live(&horizon->basis);
}

/* Without a page of this log there is nobody to wake us. False: a signal came. */
static bool sleep_slice(const struct segment_horizon *horizon, uint64_t sequence, int slice_ms)
{
    if (horizon->basis.page)
        return segment_watermark_wait(horizon->page, sequence - 1, slice_ms);
    struct timespec slice = {.tv_sec = slice_ms / 1000,
                             .tv_nsec = (long)(slice_ms % 1000) * 1000000};
    return clock_nanosleep(CLOCK_MONOTONIC, 0, &slice, NULL) != EINTR;
}

enum error_code segment_horizon_wait(struct segment_horizon *horizon, uint64_t sequence,
                                     int timeout_ms, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        enum error_code code = segment_horizon_refresh(horizon, error);
        if (code || horizon->limit >= sequence)
            return code;
        int64_t left_ms = (deadline_ns - clock_monotonic_ns() + 999999) / 1000000;
        if (left_ms <= 0)
            return OK;
        if (!sleep_slice(horizon, sequence, left_ms < SLICE_MS ? (int)left_ms : SLICE_MS))
            return OK;
    }
}
