/*
 * segment/ahead.h - open the compressed blocks of a stretch of bytes on two cores.
 *
 * Whoever reads a log from front to end spends nearly all its time on checksums and decompression,
 * each block by itself. A helper thread opens the blocks that come next while the reader goes
 * through the present one, and the reader opens one itself instead of waiting for the helper's.
 *
 * Nothing but memory is touched by the helper: the stretch is private to the view that owns it
 * (segment/view.h). Nothing is decided here: a body is given out only for a header that is in every
 * byte the one it was opened with, and whatever is not there, for whatever reason, the caller opens
 * by itself, and hears then what is wrong with it.
 *
 * All calls from one thread.
 */
#ifndef DAYBOOK_SEGMENT_AHEAD_H
#define DAYBOOK_SEGMENT_AHEAD_H

#include <stdbool.h>

#include "core/bytes.h"
#include "segment/format.h"

struct segment_ahead;

/* Smaller blocks take less than handing them over does. */
enum { AHEAD_RAW_BYTES_MIN = 16 << 10 };
/* Is this a block to ask for? */
bool segment_ahead_pays(const struct segment_format_block_header *header);

/* ERROR_NOT_FOUND: this machine has one core, which the helper would take away from the reader. */
enum error_code segment_ahead_create(struct segment_ahead **ahead_out, struct error *error);

struct segment_ahead_stretch {
    uint32_t seed;          /* the segment's */
    uint64_t segment_bytes; /* where no block can end behind */
    uint64_t offset;        /* in the file: where the stretch begins, and a block with it */
    const uint8_t *bytes;   /* borrowed until segment_ahead_end */
    size_t size;
};
void segment_ahead_begin(struct segment_ahead *ahead, const struct segment_ahead_stretch *stretch);
/*
 * The checked raw body of the block, valid until the next call; NULL: it is not to be had here. May
 * be asked in any order, and is fast when it is that of the file.
 */
const uint8_t *segment_ahead_take(struct segment_ahead *ahead,
                                  const struct segment_format_block_header *header);
/* Nobody looks at the stretch's bytes any more. */
void segment_ahead_end(struct segment_ahead *ahead);
/* Accepts NULL. */
void segment_ahead_free(struct segment_ahead *ahead);

#endif
