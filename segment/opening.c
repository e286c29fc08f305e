#include "segment/opening.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/identity.h"
#include "segment/bound.h"
#include "segment/committer.h"
#include "segment/intent.h"
#include "segment/lock.h"
#include "segment/past_rebuild.h"
#include "segment/preparer.h"
#include "segment/quarantine.h"
#include "segment/tail.h"

/* Everything that is known while a log is being opened. */
struct opening_work {
    struct segment_opening out;
    const struct segment_log_options *options;
    struct segment_recovery_report *report;
    struct segment_set set;
    struct segment_set_segment *last; /* in set */
    int fd;                           /* of the last segment, for writing */
    int disk_fd;                      /* … for reading past the page cache */
    struct segment_recovery_scan scan;
    struct segment_seal totals; /* of the last segment */
    uint64_t witness;
    bool same_boot;
    bool past_settled;                   /* what out.past says is true, and complete */
    bool damaged_tail;                   /* found now, or by a recovery that was interrupted */
    struct segment_watermark_state page; /* zeros when there is none of this log */
    uint64_t lost_last; /* in a repair: up to here events are lost of which only a witness knows */
    struct segment_format_gap gaps[2];
    size_t gap_count;
};

static enum error_code take_directory(struct opening_work *work, const char *path,
                                      struct error *error)
{
    struct segment_opening *out = &work->out;
    enum error_code code = file_open_directory(path, true, &out->log_fd, error);

    if (!code)
        code = file_check_local(out->log_fd, path, error);
    if (!code && work->options->write_path == LOG_WRITE_MMAP)
        code = file_check_overwrites(out->log_fd, path, error);
    if (!code)
        code = segment_lock_take(out->log_fd, LOCK_WRITER, &out->lock_fd, error);
    if (!code)
        code = file_open_directory_at(out->log_fd, "segments", true, &out->segments_fd, error);
    if (code)
        return code;
    file_keep_in_place(out->log_fd);
    file_keep_in_place(out->segments_fd);
    return OK;
}

/* Every refusal because of damage names the way forward. */
static enum error_code refuse(enum error_code code, struct error *error)
{
    if (code != ERROR_DAMAGED && code != ERROR_FOREIGN)
        return code;
    struct error why = *error;
    return error_set(error, ERROR_DAMAGED,
                     "%s; reading goes on, writing would hide the damage: 'daybook verify' names "
                     "all of it, 'daybook verify --repair' keeps the damaged bytes, puts the loss "
                     "on record and lets writing go on",
                     why.text);
}

/* Without an identity of the boot nobody can say that the machine was not restarted. */
static bool boot_is_known(void)
{
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE];

    clock_boot_id(boot_id);
    return !bytes_are_zero(boot_id, sizeof boot_id);
}

/* The watermark page of the last writer is a witness, and tells whether the machine was restarted.
 */
static enum error_code ask_watermark(struct opening_work *work, struct error *error)
{
    struct segment_watermark *page;
    struct segment_watermark_state state;
    enum error_code code = segment_watermark_open(work->out.log_fd, &page, error);

    work->witness = work->options->witness_sequence;
    if (code == ERROR_NOT_FOUND || code == ERROR_DAMAGED)
        return OK;
    if (code)
        return code;
    bool ours =
        segment_watermark_read(page, &state) && state.plausible &&
        (!work->last || memcmp(state.log_id, work->last->header.log_id, FORMAT_LOG_ID_BYTES) == 0);
    if (ours)
        work->page = state;
    if (work->page.sequence_durable > work->witness)
        work->witness = work->page.sequence_durable;
    work->same_boot = work->page.same_boot && boot_is_known();
    segment_watermark_close(page);
    return OK;
}

static enum error_code load_set(struct opening_work *work, struct error *error)
{
    enum error_code code = OK;
    if (!work->options->repairing)
        code = refuse(segment_intent_check(work->out.log_fd, error), error);
    if (code)
        return code;
    segment_set_read_soon(work->out.segments_fd);
    code = segment_set_load(work->out.log_fd, work->out.segments_fd, &work->set, error);
    if (!code)
        code = refuse(segment_set_check(&work->set, error), error);
    if (!code && work->set.count > 0)
        work->last = &work->set.segments[work->set.count - 1];
    return code;
}

/* It gets a trailer of ours, and what a newer Daybook says in it besides would be gone. */
static enum error_code visit_seal(const struct opening_work *work,
                                  const struct segment_format_block_header *header,
                                  const uint8_t *raw, struct error *error)
{
    struct error why;
    enum error_code code = segment_seal_check_version(raw, header->raw_bytes, &why);

    return code ? error_set(error, code, "segment %s: block at byte %" PRIu64 ": %s",
                            work->last->name, header->offset, why.text)
                : OK;
}

/*
 * The table is as the last segment's beginning has it: who left it before must be known, or he
 * could publish something twice.
 */
static enum error_code settle_past(struct opening_work *work, struct error *error)
{
    struct segment_opening *out = &work->out;
    struct segment_recovery_report *report = work->report;
    uint64_t through = work->last->sequence_first;

    if (work->past_settled)
        return OK;
    work->past_settled = true;
    if (!segment_past_needs_rebuild(out->past, out->producers, through, &report->past_doubt))
        return OK;
    report->past_rebuilt = true;
    return segment_past_rebuild(out->past, out->log_fd, out->segments_fd, through,
                                &report->past_loss, error);
}

/* What made somebody leave the table before is in the files already. */
static enum error_code note_producer(struct opening_work *work, const struct event *event,
                                     struct error *error)
{
    struct segment_opening *out = &work->out;
    const struct segment_producers_entry entry = {event->producer, event->producer_bytes,
                                                  event->number, event->sequence};
    if (event->producer_bytes == 0)
        return OK;
    if (event->sequence < segment_past_through(out->past))
        return segment_producers_note(out->producers, entry.name, entry.name_bytes, entry.number,
                                      entry.sequence, error);
    enum error_code code = segment_past_note(out->past, out->producers, &entry, error);
    if (!code && segment_past_wants_write(out->past))
        code = segment_past_write(out->past, segment_past_through(out->past), error);
    return code;
}

/* Rebuild from one valid block what the writer must know: producers and totals. */
static enum error_code visit_block(void *context, const struct segment_format_block_header *header,
                                   const uint8_t *raw, struct error *error)
{
    struct opening_work *work = context;
    struct segment_block_cursor cursor;
    struct segment_format_gap gap;
    struct event event;
    enum error_code code;

    switch (header->kind) {
    case FORMAT_BLOCK_PRODUCERS:
        return segment_producers_decode(work->out.producers, raw, header->raw_bytes, error);
    case FORMAT_BLOCK_GAP:
        code = segment_format_decode_gap(raw, header->raw_bytes, &gap, error);
        if (!code)
            segment_seal_add_gap(&work->totals, gap.sequence_last);
        return code;
    case FORMAT_BLOCK_SEAL:
        return visit_seal(work, header, raw, error);
    case FORMAT_BLOCK_EVENTS:
        break;
    default:
        return OK;
    }
    code = settle_past(work, error);
    if (!code)
        code = segment_seal_add(&work->totals, header, raw, error);
    work->out.event_last = header->sequence_first + header->event_count - 1;
    segment_block_cursor_init(&cursor, header, raw);
    while (!code && (code = segment_block_cursor_next(&cursor, &event, error)) == OK)
        code = note_producer(work, &event, error);
    return code == ERROR_END ? OK : code;
}

/*
 * What happened in the log that DIR/producers speaks of never happened in this one: the segments
 * are from a backup. Then only they count, and the last one is read again.
 */
static enum error_code doubt_past(struct opening_work *work, struct error *error)
{
    struct segment_opening *out = &work->out;
    struct segment_recovery_report *report = work->report;
    uint64_t through = segment_past_through(out->past);

    if (through <= work->scan.sequence_next)
        return OK;
    error_set(&report->past_doubt, ERROR_FOREIGN,
              "it spoke of events up to %" PRIu64 ", and the log ends with %" PRIu64, through - 1,
              work->scan.sequence_next - 1);
    segment_seal_release(&work->totals);
    segment_seal_init(&work->totals, work->last->sequence_first);
    segment_producers_free(out->producers);
    out->producers = NULL;
    enum error_code code = segment_producers_create(&out->producers, error);
    if (!code)
        code = segment_past_reset(out->past, error);
    work->past_settled = false;
    if (!code)
        code = segment_recovery_scan(work->disk_fd, work->last, work->last->sealed, work->witness,
                                     visit_block, work, &work->scan, error);
    return code ? code : settle_past(work, error);
}

static enum error_code scan_last(struct opening_work *work, struct error *error)
{
    const struct segment_set_segment *last = work->last;

    segment_seal_init(&work->totals, last->sequence_first);
    work->out.event_last = last->sequence_first - 1; /* or before: what is there may be a gap */
    enum error_code code =
        segment_past_open(work->out.log_fd, work->out.log_id, &work->out.past,
                          &work->report->past_doubt, error);
    if (!code)
        code = file_open(work->out.segments_fd, last->name, FILE_WRITE, &work->fd, error);
    /* Push out what a killed process left in the page cache; then believe the disk only. */
    if (!code)
        code = file_sync_data(work->fd, last->name, error);
    if (code)
        return code;
    file_drop_cache(work->fd, 0, last->size_bytes);
    code = file_open_uncached(work->out.segments_fd, last->name, &work->disk_fd, error);
    if (code)
        return code;
    code = segment_recovery_scan(work->disk_fd, last, last->sealed, work->witness, visit_block,
                                 work, &work->scan, error);
    if (!code)
        code = settle_past(work, error);
    if (!code)
        code = doubt_past(work, error);
    if (code == ERROR_IO) {
        struct error why = *error;
        return error_set(error, code,
                         "%s; when the device does not give these bytes back, 'daybook verify "
                         "--repair --accept-loss' puts on record what they held",
                         why.text);
    }
    return refuse(code, error);
}

static enum error_code refuse_corrupt(const struct opening_work *work, struct error *error)
{
    const struct segment_recovery_scan *scan = &work->scan;
    const char *why = work->last->header.published_bytes > scan->end_offset
                          ? "the segment's header says that it was durable"
                      : scan->evidence.later_promise ? "a later block says that it was durable"
                      : scan->evidence.closed        ? "the segment was complete"
                                                     : "the index or the watermark has seen it";

    error_set(error, ERROR_DAMAGED, "segment %s: no valid block at byte %" PRIu64 ", but %s",
              work->last->name, scan->end_offset, why);
    struct error what = *error;
    if (scan->sequence_promised < scan->sequence_next)
        error_set(error, ERROR_DAMAGED,
                  "%s; events from %" PRIu64 " on, if there were any, are damaged or lost",
                  what.text, scan->sequence_next);
    else if (scan->sequence_promised == scan->sequence_next)
        error_set(error, ERROR_DAMAGED, "%s; event %" PRIu64 " is damaged or lost", what.text,
                  scan->sequence_next);
    else /* behind the damage there may be sound blocks: those are not looked at here */
        error_set(error, ERROR_DAMAGED,
                  "%s; some or all of the events %" PRIu64 " to %" PRIu64 " are damaged or lost",
                  what.text, scan->sequence_next, scan->sequence_promised);
    return refuse(ERROR_DAMAGED, error);
}

/*
 * In a repair a witness alone does not stop us: what it has seen and the disk has no more goes on
 * record as lost, and the bytes that stand in its place are kept.
 */
static void accept_loss(struct opening_work *work)
{
    struct segment_recovery_scan *scan = &work->scan;
    struct segment_recovery_evidence evidence = scan->evidence;

    if (!work->options->repairing || scan->verdict != RECOVERY_CORRUPT || !evidence.witness)
        return;
    evidence.witness = false;
    enum segment_recovery_verdict verdict = segment_recovery_decide(&evidence);
    if (verdict == RECOVERY_CORRUPT)
        return;
    work->lost_last = work->witness;
    if (verdict == RECOVERY_CLEAN) /* it goes on in a new segment, which begins with the gap */
        verdict = RECOVERY_END;
    if (verdict == RECOVERY_TORN)
        verdict = RECOVERY_DAMAGED_TAIL;
    scan->verdict = verdict;
}

static struct segment_tail tail_of(const struct opening_work *work)
{
    return (struct segment_tail){work->fd, work->disk_fd, work->last, &work->scan};
}

/*
 * A stop mark says that nothing follows. The page may know that something was written there: that
 * is lost then, with the watermark that was durable before it (segment/committer.c). No crash does
 * this, but whatever did, somebody may have been told the sequences. On whichever boot: the page
 * never runs ahead of what was written. Or the page cache shows something else: then a sync has
 * failed, and that was no clean stop.
 */
static enum error_code doubt_stop(struct opening_work *work, struct error *error)
{
    struct segment_recovery_scan *scan = &work->scan;
    const struct segment_tail tail = tail_of(work);
    bool doubtful = work->page.sequence_written >= scan->sequence_next;
    enum error_code code = OK;

    if (scan->verdict != RECOVERY_CLEAN)
        return OK;
    if (!doubtful)
        code = segment_tail_is_stale(&tail, &doubtful, error);
    if (!code && doubtful)
        scan->verdict = RECOVERY_END;
    return code;
}

static void add_gap(struct opening_work *work, uint64_t first, uint64_t last,
                    enum segment_format_gap_cause cause)
{
    work->gaps[work->gap_count++] = (struct segment_format_gap){first, last, cause};
}

/*
 * A recovery that found a damaged tail and was itself interrupted has left zeros or a seal there,
 * and its report was never told; what it has put into quarantine still tells. Zeros behind a stop
 * mark would even look like a clean stop, and the sequences behind it would be given again.
 */
static enum error_code recall_damage(struct opening_work *work, struct error *error)
{
    const struct segment_recovery_scan *scan = &work->scan;
    uint64_t offset = scan->end_offset;

    if (scan->verdict == RECOVERY_SEALED)
        offset -= scan->last_size_bytes;
    work->damaged_tail = scan->verdict == RECOVERY_DAMAGED_TAIL;
    if (work->damaged_tail)
        return OK;
    return segment_quarantine_find(work->out.log_fd, work->last->name, offset, &work->damaged_tail,
                                   work->report->quarantined, sizeof work->report->quarantined,
                                   error);
}

/*
 * Sequences that may have been given to events which are gone must never be given again (D6). After
 * a power loss nobody knows how many; as long as the machine runs, the file itself still names
 * them.
 */
static void plan_gap(struct opening_work *work)
{
    const struct segment_recovery_scan *scan = &work->scan;
    uint64_t first = scan->sequence_next;
    uint64_t last = scan->sequence_seen;

    enum segment_format_gap_cause cause =
        work->damaged_tail ? FORMAT_GAP_DAMAGED_TAIL : FORMAT_GAP_TORN_TAIL;
    if (work->lost_last >= first) {
        add_gap(work, first, work->lost_last, FORMAT_GAP_DAMAGE);
        first = work->lost_last + 1;
        cause = FORMAT_GAP_TORN_TAIL; /* what is behind it was promised to nobody */
    }
    if (work->page.sequence_written > last && work->page.sequence_written >= first &&
        work->page.sequence_written - first < FORMAT_UNDURABLE_EVENTS_MAX)
        last = work->page.sequence_written;
    if (!work->same_boot) {
        cause = cause == FORMAT_GAP_TORN_TAIL ? FORMAT_GAP_POWER_LOSS : cause;
        if (last < first + FORMAT_UNDURABLE_EVENTS_MAX - 1)
            last = first + FORMAT_UNDURABLE_EVENTS_MAX - 1;
    }
    if (last >= EVENT_SEQUENCE_END)
        last = EVENT_SEQUENCE_END - 1;
    if (last >= first)
        add_gap(work, first, last, cause);
}

/* Keep damaged bytes for a person, cut the tail to zeros, and make both durable. */
static enum error_code cut_tail(struct opening_work *work, struct error *error)
{
    const struct segment_recovery_scan *scan = &work->scan;
    const struct segment_tail tail = tail_of(work);
    enum error_code code = OK;

    work->report->torn_bytes = scan->dirty_end - scan->end_offset;
    if (scan->verdict == RECOVERY_DAMAGED_TAIL)
        code = segment_quarantine_keep(work->out.log_fd, work->disk_fd, work->last,
                                       scan->end_offset, scan->dirty_end, work->report->quarantined,
                                       sizeof work->report->quarantined, error);
    return code ? code : segment_tail_settle(&tail, error);
}

static enum error_code resume_last(struct opening_work *work, struct segment_writer **writer_out,
                                   struct error *error)
{
    /* A log that was written with a smaller one before: from here on each commit begins as asked.
     */
    if (work->last->header.commit_align < work->options->commit_align)
        work->last->header.commit_align = work->options->commit_align;
    struct segment_writer_resume resume = {
        .segments_fd = work->out.segments_fd,
        .write_by_map = work->options->write_path == LOG_WRITE_MMAP,
        .header = work->last->header,
        .epoch = work->out.epoch,
        .end_offset = work->scan.end_offset,
        .chain = work->scan.chain,
        .seal = work->totals,
    };
    int fd = work->fd;

    work->fd = -1;
    enum error_code code = segment_writer_resume(&resume, fd, writer_out, error);
    work->totals = resume.seal; /* empty when it was taken over */
    return code;
}

/*
 * A file that an earlier process had made ready may take the file system long to delete, so it only
 * loses its name here, and the preparer deletes it. Unless there is no room without that.
 *
 * A crash during another start may have left it with both names: then rename(2) does nothing and
 * says that all is well, so the name is deleted as well.
 */
static enum error_code make_file(int segments_fd, uint64_t size, int *fd_out, struct error *error)
{
    enum error_code code =
        file_rename(segments_fd, PREPARER_FILE_NAME, PREPARER_DISCARDED_NAME, error);
    if (!code)
        code = file_unlink(segments_fd, PREPARER_FILE_NAME, error);
    if (code == OK || code == ERROR_NOT_FOUND)
        code = file_create_zeroed(segments_fd, PREPARER_FILE_NAME, size, fd_out, error);
    if (code == ERROR_NO_SPACE && !file_unlink(segments_fd, PREPARER_DISCARDED_NAME, NULL))
        code = file_create_zeroed(segments_fd, PREPARER_FILE_NAME, size, fd_out, error);
    return code;
}

/*
 * As small as the first of a young log, whatever came before: somebody waits for us, and a file of
 * zeros takes the disk's time. The next ones, which nobody waits for, double again.
 */
static enum error_code start_segment(struct opening_work *work, uint64_t sequence_first,
                                     const struct segment_format_predecessor *predecessor,
                                     struct error *error)
{
    struct segment_opening *out = &work->out;
    struct segment_writer_start start = {
        .segments_fd = out->segments_fd,
        .write_by_map = work->options->write_path == LOG_WRITE_MMAP,
        .header = {.sequence_first = sequence_first,
                   .created_ns = clock_realtime_ns(),
                   .epoch = out->epoch,
                   .commit_align = work->options->commit_align,
                   .predecessor = *predecessor},
        .arrival_ns = out->arrival_ns,
        .producers = out->producers,
        .gap = work->gap_count > 0 ? &work->gaps[0] : NULL,
        .gap_next = work->gap_count > 1 ? &work->gaps[1] : NULL,
    };
    uint64_t size = segment_committer_next_size(0, work->options->segment_bytes);
    uint64_t size_min = segment_writer_size_min(&start, 0, 0);
    int fd;

    memcpy(start.header.log_id, out->log_id, FORMAT_LOG_ID_BYTES);
    if (size < size_min)
        size = size_min;
    enum error_code code = make_file(out->segments_fd, size, &fd, error);
    if (code)
        return error_prefix(error, "start a new segment");
    /* Its list of producers is the table: who has left that must be on the disk before. */
    if (segment_producers_is_full(out->producers) || !segment_past_is_empty(out->past))
        code = segment_past_write(out->past, sequence_first, error);
    if (code) {
        file_close(&fd);
        return error_prefix(error, "start a new segment");
    }
    return segment_writer_create(&start, fd, size, PREPARER_FILE_NAME, &out->writer, error);
}

/* Close the last segment for good, as it stands after the cut, and describe it. */
static enum error_code seal_last(struct opening_work *work,
                                 struct segment_format_predecessor *predecessor_out,
                                 struct error *error)
{
    struct segment_writer *writer;
    enum error_code code = resume_last(work, &writer, error);

    if (code)
        return code;
    code = segment_writer_seal(writer, work->out.arrival_ns, error);
    if (!code)
        segment_writer_describe(writer, predecessor_out);
    segment_writer_close(writer);
    return code;
}

/* The seal is there; the crash came before its trailer, or right behind it. */
static enum error_code finish_seal(struct opening_work *work,
                                   struct segment_format_predecessor *predecessor_out,
                                   struct error *error)
{
    const struct segment_set_segment *last = work->last;
    const struct segment_tail tail = tail_of(work);
    bool stale;

    if (work->totals.event_count == 0)
        work->totals.arrival_first_ns = work->totals.arrival_last_ns = work->scan.arrival_ns;
    /* Of a packed segment only the trailer tells when its last event has come. */
    if (last->sealed && last->trailer.arrival_last_ns > work->totals.arrival_last_ns)
        work->totals.arrival_last_ns = last->trailer.arrival_last_ns;
    *predecessor_out = (struct segment_format_predecessor){
        .sequence_first = last->sequence_first,
        .sequence_last = work->scan.sequence_next - 1,
        .end_offset = work->scan.end_offset,
        .chain = work->scan.chain,
    };
    enum error_code code = segment_tail_is_stale(&tail, &stale, error);
    if (!code && stale)
        code = segment_tail_settle(&tail, error);
    if (code)
        return code;
    /*
     * Also where there is one: it was read through the page cache, which still shows a trailer
     * whose sync has failed and that no later sync will write.
     */
    return segment_writer_put_trailer(work->fd, &last->header, &work->totals,
                                      work->scan.end_offset - work->scan.last_size_bytes,
                                      work->scan.chain, error);
}

static enum error_code go_on(struct opening_work *work, struct error *error)
{
    const struct segment_recovery_scan *scan = &work->scan;
    struct segment_format_predecessor predecessor;
    enum error_code code = OK;

    if (scan->verdict == RECOVERY_CORRUPT)
        return refuse_corrupt(work, error);
    code = recall_damage(work, error);
    if (code)
        return code;
    /* A seal may be the work of a recovery that was interrupted, so only a stop mark is clean. */
    if (scan->verdict == RECOVERY_CLEAN && !work->damaged_tail)
        return resume_last(work, &work->out.writer, error);
    plan_gap(work);
    if (scan->verdict == RECOVERY_SEALED) {
        code = finish_seal(work, &predecessor, error);
    } else {
        code = cut_tail(work, error);
        /*
         * A segment without any sequence has the name that the next one needs, whatever blocks it
         * begins with: it is replaced by rename, not sealed, and its predecessor stays the same.
         */
        if (scan->sequence_next == work->last->sequence_first)
            predecessor = work->last->header.predecessor;
        else if (!code)
            code = seal_last(work, &predecessor, error);
    }
    if (!code)
        code = start_segment(work, predecessor.sequence_last + 1, &predecessor, error);
    return code;
}

/* Of the last block; a segment without any has a predecessor that knows. */
static int64_t last_arrival(const struct opening_work *work)
{
    const struct segment_set_segment *before = work->last - 1;

    if (work->scan.arrival_ns != INT64_MIN)
        return work->scan.arrival_ns;
    if (work->set.count - work->set.dead_count > 1 && before->sealed)
        return before->trailer.arrival_last_ns;
    return 0;
}

static enum error_code open_existing(struct opening_work *work, struct error *error)
{
    struct segment_opening *out = &work->out;
    struct segment_recovery_report *report = work->report;

    memcpy(out->log_id, work->last->header.log_id, FORMAT_LOG_ID_BYTES);
    enum error_code code = scan_last(work, error);
    if (code)
        return code;
    out->epoch = work->scan.epoch > work->page.epoch ? work->scan.epoch : work->page.epoch;
    if (out->epoch == UINT32_MAX)
        return error_set(error, ERROR_FULL,
                         "segment %s: the log has been opened for writing %" PRIu32
                         " times, and more cannot be counted; start a new directory",
                         work->last->name, out->epoch);
    out->epoch++;
    out->arrival_ns = last_arrival(work);
    accept_loss(work);
    code = doubt_stop(work, error);
    if (!code)
        code = go_on(work, error);
    const struct segment_format_gap *last =
        work->gap_count > 0 ? &work->gaps[work->gap_count - 1] : NULL;
    out->sequence_next = last ? last->sequence_last + 1 : work->scan.sequence_next;
    report->verdict = work->damaged_tail ? RECOVERY_DAMAGED_TAIL : work->scan.verdict;
    report->segment_first = work->last->sequence_first;
    report->offset = work->scan.end_offset;
    report->events = work->scan.event_count;
    if (last) {
        report->gap_first = work->gaps[0].sequence_first;
        report->gap_last = last->sequence_last;
        report->gap_cause = work->gaps[0].cause;
    }
    return code;
}

static enum error_code create_new(struct opening_work *work, struct error *error)
{
    static const struct segment_format_predecessor none;
    struct segment_opening *out = &work->out;

    if (work->witness > 0 || work->set.bound > 1) {
        error_set(error, ERROR_DAMAGED,
                  "there is no segment, but the index, the watermark or the lower bound say that "
                  "there were events up to %" PRIu64,
                  work->witness > 0 ? work->witness : work->set.bound - 1);
        return refuse(ERROR_DAMAGED, error);
    }
    enum error_code code = identity_draw(out->log_id, sizeof out->log_id, error);
    if (code)
        return code;
    out->epoch = 1;
    out->arrival_ns = 0;
    out->sequence_next = 1;
    struct error *doubt = &work->report->past_doubt;
    code = segment_past_open(out->log_fd, out->log_id, &out->past, doubt, error);
    if (!code && doubt->code) /* of another log */
        code = segment_past_reset(out->past, error);
    if (code)
        return code;
    work->report->created = true;
    work->report->verdict = RECOVERY_CLEAN;
    return start_segment(work, 1, &none, error);
}

static enum error_code run(struct opening_work *work, const char *path, struct error *error)
{
    enum error_code code = take_directory(work, path, error);

    if (!code)
        code = load_set(work, error);
    if (!code)
        code = ask_watermark(work, error);
    if (!code)
        code = segment_producers_create(&work->out.producers, error);
    if (!code)
        code = work->last ? open_existing(work, error) : create_new(work, error);
    if (!code)
        code = segment_watermark_create(work->out.log_fd, work->out.log_id, work->out.epoch,
                                        &work->out.watermark, error);
    return code;
}

enum error_code segment_opening_run(const char *path, const struct segment_log_options *options,
                                    struct segment_opening *opening_out,
                                    struct segment_recovery_report *report_out, struct error *error)
{
    int64_t started = clock_monotonic_ns();
    struct opening_work work = {
        .out = {.log_fd = -1, .segments_fd = -1, .lock_fd = -1},
        .options = options,
        .report = report_out,
        .fd = -1,
        .disk_fd = -1,
    };

    *report_out = (struct segment_recovery_report){0};
    enum error_code code = run(&work, path, error);
    report_out->sequence_next = work.out.sequence_next;
    report_out->duration_ns = clock_monotonic_ns() - started;
    file_close(&work.fd);
    file_close(&work.disk_fd);
    segment_seal_release(&work.totals);
    segment_set_free(&work.set);
    if (code) {
        segment_opening_release(&work.out);
        return error_prefix(error, "open log '%s'", path);
    }
    *opening_out = work.out;
    return OK;
}

void segment_opening_release(struct segment_opening *opening)
{
    segment_writer_close(opening->writer);
    segment_producers_free(opening->producers);
    segment_past_close(opening->past);
    segment_watermark_close(opening->watermark);
    file_close(&opening->segments_fd);
    file_close(&opening->log_fd);
    file_close(&opening->lock_fd);
}
