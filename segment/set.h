/*
 * segment/set.h - the segment files of a log, in order.
 *
 * Loading reads the directory, and each file's header and trailer: two small reads a segment. Names
 * that are no segments are left alone and counted.
 */
#ifndef DAYBOOK_SEGMENT_SET_H
#define DAYBOOK_SEGMENT_SET_H

#include "segment/format.h"

struct segment_set_segment {
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    uint64_t sequence_first;
    uint64_t size_bytes; /* of the file, as stat tells */
    enum segment_format_verdict header_verdict;
    struct segment_format_segment_header
        header; /* meaningful when header_verdict is FORMAT_VALID */
    uint32_t header_checksum;
    uint32_t seed;
    bool sealed; /* the trailer is valid */
    enum segment_format_verdict trailer_verdict;
    struct segment_format_trailer trailer; /* meaningful when sealed */
};

struct segment_set {
    struct segment_set_segment *segments; /* by sequence_first; owned */
    size_t count;
    size_t names_ignored;
    uint64_t bound;            /* lower bound at loading */
    bool bound_damaged;        /* DIR/lower-bound is; `bound` is that of the first segment then */
    struct error bound_reason; /* … why */
    size_t dead_count;         /* the first dead_count segments lie wholly below the bound */
    struct error unreadable;   /* the first header or trailer that the system did not let us read */
};

/*
 * Read what is there. Damage is told by header_verdict and bound_damaged, not by failing.
 * `segments_fd` is DIR/segments, `log_fd` DIR. Loaded in an order that is safe against retention:
 * files first, then the bound.
 */
enum error_code segment_set_load(int log_fd, int segments_fd, struct segment_set *set_out,
                                 struct error *error);
/* List one of them again: its file may be another now. ERROR_NOT_FOUND: it is gone. */
enum error_code segment_set_reload(int segments_fd, struct segment_set_segment *segment,
                                   struct error *error);
/* For who knows better than the file: another bound, and what is dead below it. */
void segment_set_take_bound(struct segment_set *set, uint64_t bound);
/* ERROR_VERSION: a newer Daybook has written its header, or has sealed it. Nothing there is damage.
 */
enum error_code segment_set_check_version(const struct segment_set_segment *segment,
                                          struct error *error);
/*
 * Do the live segments follow each other: every header valid and of one log, every predecessor as
 * described, all but the last sealed, none missing above the bound? ERROR_DAMAGED, ERROR_FOREIGN or
 * ERROR_VERSION for the first that does not.
 */
enum error_code segment_set_check(const struct segment_set *set, struct error *error);
/* Of that, one link: does `segment` say of its predecessor what `before` says of itself? */
enum error_code segment_set_check_pair(const struct segment_set_segment *before,
                                       const struct segment_set_segment *segment,
                                       struct error *error);
/* And, once the seal of `before` was read and ends at `seal_end`: does it say that, too? */
enum error_code segment_set_check_end(const struct segment_set_segment *before, uint64_t seal_end,
                                      const struct segment_set_segment *segment,
                                      struct error *error);
/*
 * Have the disk read the ends of all segments at the same time, for segment_set_load soon after: of
 * a long log that is not in the cache it would wait for each of them by turns. Best effort.
 */
void segment_set_read_soon(int segments_fd);
/*
 * The identity of the log, by most of the segments with a valid header (as many of two logs: the
 * newest), else by the watermark page in `log_fd`. ERROR_DAMAGED: nothing tells it. ERROR_VERSION:
 * a newer Daybook has written here.
 */
enum error_code segment_set_identify(const struct segment_set *set, int log_fd,
                                     uint8_t log_id_out[FORMAT_LOG_ID_BYTES], struct error *error);
void segment_set_free(struct segment_set *set);

#endif
