/*
 * segment/pack.h - write a sealed segment anew, its events in large blocks, tightly compressed.
 *
 * At a low rate each event is a block of its own: fast to commit, and large. Once the segment is
 * sealed and another one follows it, its events are gathered into blocks of PACK_RAW_BYTES; LZ4 has
 * time to look for what repeats. Sequences, records, gaps and lists of producers stay as they are,
 * and so does the last arrival time; of the others only that of each block's first event does.
 *
 * Nothing is taken from a segment that is not sound in every byte: damage is for a repair. The new
 * file is synced, read back and compared with the old one before it takes its name; a crash leaves
 * the one or the other. Who has the old one open reads on in it.
 *
 * One packer a log, in all processes: LOCK_PACKER, taken by the caller. Retention need not be kept
 * away: what it deletes meanwhile stays deleted.
 */
#ifndef DAYBOOK_SEGMENT_PACK_H
#define DAYBOOK_SEGMENT_PACK_H

#include "segment/set.h"

/* In DIR/segments; a crash leaves at most this, and the next run deletes it. */
#define PACK_FILE_NAME "packed.tmp"

enum { PACK_RAW_BYTES = 128 << 10 };

struct segment_pack_place {
    int log_fd; /* borrowed, both */
    int segments_fd;
    bool (*stopped)(void *context); /* asked often: true ends the work. May be NULL */
    void *context;
};

struct segment_pack_result {
    uint64_t events;
    uint64_t bytes_before; /* of the files */
    uint64_t bytes_after;
};

/* Is segment `i` one that can be packed, and is not: sealed, with events, and not the last? */
bool segment_pack_wants(const struct segment_set *set, size_t i);

/*
 * Pack segment `i` of the set. ERROR_DAMAGED: it, or what follows, is not as it must be.
 * ERROR_NOT_FOUND: retention took it meanwhile. ERROR_NO_SPACE: both do not fit beside what the log
 * itself needs. ERROR_END: it was stopped. The old file is there then as it was; only after
 * ERROR_IO the new one may have its name already.
 */
enum error_code segment_pack(const struct segment_pack_place *place, const struct segment_set *set,
                             size_t i, struct segment_pack_result *result_out, struct error *error);
/* Delete what a crash has left. OK also when there is nothing. */
enum error_code segment_pack_clean(int segments_fd, struct error *error);

#endif
