/*
 * segment/tail.h - the end of the last segment: in the page cache, and on the disk.
 *
 * After a failed sync the page cache may show other bytes than the disk, in pages that count as
 * clean and that no advice drops while a reader has them mapped. Recovery believes the disk, which
 * its scan has read past the cache; but the first write into such a page takes all of it to the
 * disk. So before a writer goes on, both must be the same.
 */
#ifndef DAYBOOK_SEGMENT_TAIL_H
#define DAYBOOK_SEGMENT_TAIL_H

#include <stdbool.h>

#include "segment/recovery.h"

/* All borrowed. */
struct segment_tail {
    int fd;      /* of the segment, for writing */
    int disk_fd; /* … for reading past the page cache */
    const struct segment_set_segment *segment;
    const struct segment_recovery_scan *scan; /* made through disk_fd */
};

/*
 * Does the cache show other bytes than the disk, from the last durable one on? The trailer is not
 * looked at: whoever goes on writes it anew.
 */
enum error_code segment_tail_is_stale(const struct segment_tail *tail, bool *stale_out,
                                      struct error *error);
/*
 * Write the accepted end once more, as the disk has shown it, and zeros behind it. Durable on
 * return.
 */
enum error_code segment_tail_settle(const struct segment_tail *tail, struct error *error);

#endif
