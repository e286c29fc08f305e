/*
 * segment/watermark.h - the shared page by which the writer tells every process how far the log is
 * durable.
 *
 * DIR/watermark is one 4 KiB page, mapped by the writer and by all readers; docs/format.md has its
 * layout. It holds no truth of its own: what it says was durable before it was said, so a stale
 * page is merely late. Delete it and only convenience is lost.
 *
 * Atomic 64-bit stores with release order after fdatasync; loads with acquire. Waiting is a futex
 * on the page, so a reader sleeps without polling and without knowing the daemon.
 */
#ifndef DAYBOOK_SEGMENT_WATERMARK_H
#define DAYBOOK_SEGMENT_WATERMARK_H

#include "segment/format.h"

struct segment_watermark;

/* For the writer, under the writer lock: make or reset the page. State: not live yet. */
enum error_code segment_watermark_create(int log_fd, const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                         uint32_t epoch, struct segment_watermark **watermark_out,
                                         struct error *error);
/*
 * Everything up to `sequence_durable` is durable. The first call makes the page live. Wakes all
 * waiters.
 */
void segment_watermark_publish(struct segment_watermark *watermark, uint64_t sequence_durable);

/*
 * Sequences up to here were written, though perhaps not durable, and may have been told. As long as
 * the machine runs the page remembers it, whatever becomes of the segment's pages: they are never
 * given again (D6).
 */
void segment_watermark_set_written(struct segment_watermark *watermark, uint64_t sequence);

/* For readers. ERROR_NOT_FOUND: no page yet. ERROR_DAMAGED: its size is not that of a page. */
enum error_code segment_watermark_open(int log_fd, struct segment_watermark **watermark_out,
                                       struct error *error);

struct segment_watermark_state {
    uint64_t sequence_durable;
    uint64_t sequence_written; /* at least sequence_durable */
    uint32_t epoch;
    uint32_t writer_pid;
    bool live;      /* the writer that made the page has finished its recovery */
    bool same_boot; /* … and the machine has not been started again since */
    /*
     * The two sequences fit each other. They are outside of the page's checksum, so without a live
     * writer (with one they move between two looks) a pair that does not fit says nothing.
     */
    bool plausible;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
};
/* False: the page holds nothing valid (a stranger's file, or being made anew just now). */
bool segment_watermark_read(const struct segment_watermark *watermark,
                            struct segment_watermark_state *state_out);
/* Is this still the page that readers find by name, and whole? Else open it again. */
bool segment_watermark_is_current(const struct segment_watermark *watermark, int log_fd);
/* The hot half of watermark_read. */
uint64_t segment_watermark_sequence(const struct segment_watermark *watermark);
/*
 * Wait until the watermark is beyond `sequence_seen` or `timeout_ms` have passed. False: a signal
 * came first.
 */
bool segment_watermark_wait(const struct segment_watermark *watermark, uint64_t sequence_seen,
                            int timeout_ms);
/* Unmap. The page stays. Accepts NULL. */
void segment_watermark_close(struct segment_watermark *watermark);

#endif
