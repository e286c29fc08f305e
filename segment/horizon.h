/*
 * segment/horizon.h - the last sequence that a reader may see.
 *
 * With a live writer that is what the shared page says (segment/watermark.h). Without one it is
 * what recovery would keep and what must be durable already:
 *
 *   - the page is of this boot: the page's sequence, or what the blocks themselves promise; all
 * when the last block is a stop mark or the trailer is valid. The rest may only be in the page
 * cache;
 *   - it is of another boot, or missing: every valid block. A restarted machine reads from the
 * disk.
 *
 * The horizon never moves back. One thread.
 */
#ifndef DAYBOOK_SEGMENT_HORIZON_H
#define DAYBOOK_SEGMENT_HORIZON_H

#include "segment/format.h"
#include "segment/watermark.h"

/* Who wrote last, as far as it can be seen from outside: while it stays the same, so does the log.
 */
struct segment_horizon_basis {
    bool held; /* somebody holds the writer lock */
    bool page; /* the page is there and of this log */
    struct segment_watermark_state state;
};

/* The last segment breaks off here, and something in it or the index says that more was durable. */
struct segment_horizon_break {
    uint64_t segment_first; /* 0: it does not */
    uint64_t offset;
    uint64_t sequence_next; /* nobody knows how many events there were from here on */
};

struct segment_horizon {
    int log_fd; /* borrowed, both */
    int segments_fd;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    struct segment_watermark *page; /* owned; NULL: none, or not valid */
    struct segment_horizon_basis basis;
    bool known;           /* basis and limit have been determined */
    int64_t refreshed_ns; /* monotonic */
    uint64_t limit;
    struct segment_horizon_break broken; /* as of the last scan */
};

void segment_horizon_init(struct segment_horizon *horizon, int log_fd, int segments_fd,
                          const uint8_t log_id[FORMAT_LOG_ID_BYTES]);
void segment_horizon_release(struct segment_horizon *horizon);

/*
 * Bring `limit` up to date. Cheap with a live writer, whose death is noticed within 100 ms; without
 * one a few system calls, and a scan of the last segment when a writer has been there meanwhile.
 */
enum error_code segment_horizon_refresh(struct segment_horizon *horizon, struct error *error);
/* The same, and a writer's death is noticed at once. */
enum error_code segment_horizon_refresh_now(struct segment_horizon *horizon, struct error *error);
/* As of the last refresh. */
bool segment_horizon_is_live(const struct segment_horizon *horizon);
/* Wait until `limit` reaches `sequence`, at most `timeout_ms`; returns early on a signal. */
enum error_code segment_horizon_wait(struct segment_horizon *horizon, uint64_t sequence,
                                     int timeout_ms, struct error *error);

#endif
