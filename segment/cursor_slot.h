/*
 * segment/cursor_slot.h - the bytes of one copy of a cursor, encoded and decoded nowhere else.
 *
 * docs/format.md "Cursors" is the specification. A cursor's file is two slots of one size, which
 * its kind determines; each is a whole cursor with a checksum of its own. Internal to
 * segment/cursor*.c, its tests and its fuzz target. The decoder takes untrusted bytes.
 */
#ifndef DAYBOOK_SEGMENT_CURSOR_SLOT_H
#define DAYBOOK_SEGMENT_CURSOR_SLOT_H

#include "segment/cursor.h"
#include "segment/format.h"

enum {
    CURSOR_SLOT_VERSION = 1,
    CURSOR_SLOTS = 2,
    CURSOR_SLOT_HEADER_BYTES = 128,
    CURSOR_SLOT_ENTRY_BYTES = 24,
    CURSOR_SLOT_SINGLE_BYTES = 4096,
    CURSOR_SLOT_SHARED_BYTES = 32768,
    CURSOR_SLOT_BYTES_MAX = CURSOR_SLOT_SHARED_BYTES,
};

/* Of a cursor of this kind. */
size_t segment_cursor_slot_bytes(enum segment_cursor_kind kind);

/*
 * Fill a whole slot. `pending` has state->pending_count entries. What the decoder would refuse is
 * our own mistake here.
 */
void segment_cursor_slot_encode(const struct segment_cursor_state *state,
                                const struct segment_cursor_pending *pending,
                                const uint8_t log_id[FORMAT_LOG_ID_PUBLIC_BYTES],
                                uint8_t *slot_out);
/*
 * FORMAT_VALID: all outputs are set; `pending_out` has room for SEGMENT_CURSOR_PENDING_MAX entries,
 * or is NULL. FORMAT_ZERO: nothing was ever written. FORMAT_NEWER: by a newer Daybook.
 */
enum segment_format_verdict
segment_cursor_slot_decode(const uint8_t *slot, size_t slot_bytes,
                           struct segment_cursor_state *state_out,
                           struct segment_cursor_pending *pending_out,
                           uint8_t log_id_out[FORMAT_LOG_ID_PUBLIC_BYTES]);

#endif
