/*
 * fuzz_cursor.c - a slot of a cursor holds any bytes at all.
 *
 * What is accepted makes sense, and written again it is the same bytes. The first byte says which
 * kind's size the slot has, and whether magic, version and checksum are made right before: else
 * nothing would come past them.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "segment/cursor_slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHARED = 1, REPAIR = 2, AT_CHECKSUM = 8, AT_VERSION = 12 };

static void repair(uint8_t *slot, size_t slot_bytes)
{
    memcpy(slot, "DAYBOOKC", 8);
    bytes_store32(slot + AT_VERSION, CURSOR_SLOT_VERSION);
    uint32_t checksum = checksum_extend(0, slot, AT_CHECKSUM);
    checksum = checksum_extend(checksum, slot + AT_VERSION, slot_bytes - AT_VERSION);
    bytes_store32(slot + AT_CHECKSUM, checksum);
}

static void expect_sense(const struct segment_cursor_state *state,
                         const struct segment_cursor_pending *pending)
{
    uint64_t before = 0;
    assert(state->kind == CURSOR_SINGLE || state->kind == CURSOR_SHARED);
    assert(state->position < EVENT_SEQUENCE_END && state->generation > 0);
    assert(state->pending_count <= SEGMENT_CURSOR_PENDING_MAX);
    assert(state->kind == CURSOR_SHARED || state->pending_count == 0);
    for (uint32_t i = 0; i < state->pending_count; i++) {
        assert(pending[i].sequence > before && pending[i].sequence <= state->position);
        assert(pending[i].letter <= state->letters);
        before = pending[i].sequence;
    }
    assert(state->needed == (state->pending_count ? pending[0].sequence : state->position + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t slot[CURSOR_SLOT_BYTES_MAX], again[CURSOR_SLOT_BYTES_MAX];
    static struct segment_cursor_pending pending[SEGMENT_CURSOR_PENDING_MAX];
    struct segment_cursor_state state;
    uint8_t log_id[FORMAT_LOG_ID_PUBLIC_BYTES];
    if (size == 0)
        return 0;
    size_t slot_bytes =
        segment_cursor_slot_bytes(data[0] & SHARED ? CURSOR_SHARED : CURSOR_SINGLE);
    size_t given = size - 1 < slot_bytes ? size - 1 : slot_bytes;
    memset(slot, 0, sizeof slot);
    memcpy(slot, data + 1, given);
    if (data[0] & REPAIR)
        repair(slot, slot_bytes);
    if (segment_cursor_slot_decode(slot, slot_bytes, &state, pending, log_id) != FORMAT_VALID)
        return 0;
    expect_sense(&state, pending);
    segment_cursor_slot_encode(&state, pending, log_id, again);
    assert(memcmp(slot, again, slot_bytes) == 0);
    return 0;
}
