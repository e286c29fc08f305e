/*
 * segment/committer.h - makes events durable, on a thread of its own and on those that wait.
 *
 * Who has the turn (segment/pending.h) takes whatever is pending, writes it as blocks into the
 * active segment, rolls to the next one when that is full, calls fdatasync once and publishes the
 * watermark: group commit without a timer. The thread takes what nobody waits for, rolls by age,
 * and after 100 ms without traffic writes a watermark block, so that the last commit is vouched for
 * on disk.
 *
 * The first I/O error on the active segment is final (D8): pending->failure is set, nothing more is
 * written. When no new segment can be made, what has found no room is withdrawn and new events are
 * refused, and it tries again every half second.
 */
#ifndef DAYBOOK_SEGMENT_COMMITTER_H
#define DAYBOOK_SEGMENT_COMMITTER_H

#include "segment/pending.h"
#include "segment/watermark.h"
#include "segment/writer.h"

struct segment_committer;

struct segment_committer_start {
    const struct segment_log_options *options; /* defaults filled in; copied */
    int log_fd;
    int segments_fd;
    uint32_t epoch;
    struct segment_writer *writer;       /* taken over on success */
    struct segment_producers *producers; /* as of the writer's end; taken over on success */
    struct segment_past *past;           /* borrowed */
    struct segment_pending *pending;     /* borrowed */
    struct segment_watermark *watermark; /* borrowed */
    uint64_t sequence_next;
    int64_t arrival_ns; /* the last one in the log */
};
enum error_code segment_committer_create(const struct segment_committer_start *start,
                                         struct segment_committer **committer_out,
                                         struct error *error);
uint64_t segment_committer_rolls(const struct segment_committer *committer);
void segment_committer_count(struct segment_committer *committer,
                             struct segment_log_counters *counters_out);
/* See segment_log_commit; segment_log_wait; segment_log_settle. */
bool segment_committer_help(struct segment_committer *committer);
enum error_code segment_committer_wait(struct segment_committer *committer, uint64_t sequence,
                                       struct error *error);
void segment_committer_settle(struct segment_committer *committer);
/* Why there is no next segment; code OK: it is there, or on its way. */
void segment_committer_read_trouble(struct segment_committer *committer, struct error *trouble_out);
/*
 * Commit what is pending, write a stop mark, end the thread, free. Returns the failure, if there
 * was one, or ERROR_NO_SPACE when something was withdrawn and nobody has heard of it.
 */
enum error_code segment_committer_close(struct segment_committer *committer, struct error *error);

/* The size for a segment after one of which `used_bytes` were used: twice that, within bounds. */
uint64_t segment_committer_next_size(uint64_t used_bytes, uint64_t size_max);

#endif
