#include "segment/cursor_slot.h"

#include <assert.h>

#include "core/bytes.h"
#include "core/checksum.h"

enum {
    AT_CHECKSUM = 8,
    AT_VERSION = 12,
    AT_LOG_ID = 16,
    AT_GENERATION = 24,
    AT_KIND = 32,
    AT_COUNT = 36,
    AT_POSITION = 40,
    AT_HOLD = 48,
    AT_CREATED = 56,
    AT_COMMITTED = 64,
    AT_LETTERS = 72,
    AT_ID = 80,
    AT_ZERO = 88,

    ENTRY_LETTER = 8,
    ENTRY_TRIES = 16,
    ENTRY_ZERO = 20,
};

static const uint8_t magic[8] = {'D', 'A', 'Y', 'B', 'O', 'O', 'K', 'C'};

static_assert(CURSOR_SLOT_HEADER_BYTES + SEGMENT_CURSOR_PENDING_MAX * CURSOR_SLOT_ENTRY_BYTES <=
                  CURSOR_SLOT_SHARED_BYTES,
              "a full group fits into its slot");

size_t segment_cursor_slot_bytes(enum segment_cursor_kind kind)
{
    return kind == CURSOR_SINGLE ? CURSOR_SLOT_SINGLE_BYTES : CURSOR_SLOT_SHARED_BYTES;
}

static uint32_t compute_checksum(const uint8_t *slot, size_t slot_bytes)
{
    uint32_t checksum = checksum_extend(0, slot, AT_CHECKSUM);
    return checksum_extend(checksum, slot + AT_VERSION, slot_bytes - AT_VERSION);
}

static bool fits_kind(const struct segment_cursor_state *state, size_t slot_bytes)
{
    if (state->kind == CURSOR_SINGLE)
        return slot_bytes == CURSOR_SLOT_SINGLE_BYTES && !state->pending_count && !state->letters;
    return state->kind == CURSOR_SHARED && slot_bytes == CURSOR_SLOT_SHARED_BYTES &&
           state->pending_count <= SEGMENT_CURSOR_PENDING_MAX;
}

static bool is_sound(const struct segment_cursor_state *state, size_t slot_bytes)
{
    return fits_kind(state, slot_bytes) && state->generation > 0 &&
           state->position < EVENT_SEQUENCE_END && state->hold_bytes <= INT64_MAX;
}

static void encode_entry(const struct segment_cursor_pending *pending, uint8_t *at)
{
    bytes_store64(at, pending->sequence);
    bytes_store64(at + ENTRY_LETTER, pending->letter);
    bytes_store32(at + ENTRY_TRIES, pending->tries);
    bytes_store32(at + ENTRY_ZERO, 0);
}

static bool decode_entry(const uint8_t *at, const struct segment_cursor_state *state,
                         uint64_t sequence_before, struct segment_cursor_pending *pending_out)
{
    pending_out->sequence = bytes_load64(at);
    pending_out->letter = bytes_load64(at + ENTRY_LETTER);
    pending_out->tries = bytes_load32(at + ENTRY_TRIES);
    return pending_out->sequence > sequence_before && pending_out->sequence <= state->position &&
           pending_out->letter <= state->letters &&
           pending_out->tries <= SEGMENT_CURSOR_TRIES_MAX && !bytes_load32(at + ENTRY_ZERO);
}

void segment_cursor_slot_encode(const struct segment_cursor_state *state,
                                const struct segment_cursor_pending *pending,
                                const uint8_t log_id[FORMAT_LOG_ID_PUBLIC_BYTES], uint8_t *slot_out)
{
    size_t slot_bytes = segment_cursor_slot_bytes(state->kind);
    assert(is_sound(state, slot_bytes));
    memset(slot_out, 0, slot_bytes);
    memcpy(slot_out, magic, sizeof magic);
    bytes_store32(slot_out + AT_VERSION, CURSOR_SLOT_VERSION);
    memcpy(slot_out + AT_LOG_ID, log_id, FORMAT_LOG_ID_PUBLIC_BYTES);
    bytes_store64(slot_out + AT_GENERATION, state->generation);
    bytes_store32(slot_out + AT_KIND, state->kind);
    bytes_store32(slot_out + AT_COUNT, state->pending_count);
    bytes_store64(slot_out + AT_POSITION, state->position);
    bytes_store64(slot_out + AT_HOLD, state->hold_bytes);
    bytes_store64(slot_out + AT_CREATED, (uint64_t)state->created_ns);
    bytes_store64(slot_out + AT_COMMITTED, (uint64_t)state->committed_ns);
    bytes_store64(slot_out + AT_LETTERS, state->letters);
    bytes_store64(slot_out + AT_ID, state->id);
    for (uint32_t i = 0; i < state->pending_count; i++)
        encode_entry(&pending[i],
                     slot_out + CURSOR_SLOT_HEADER_BYTES + i * (size_t)CURSOR_SLOT_ENTRY_BYTES);
    bytes_store32(slot_out + AT_CHECKSUM, compute_checksum(slot_out, slot_bytes));
}

static bool decode_pending(const uint8_t *slot, size_t slot_bytes,
                           const struct segment_cursor_state *state,
                           struct segment_cursor_pending *pending_out)
{
    uint64_t before = 0;
    size_t at = CURSOR_SLOT_HEADER_BYTES;
    for (uint32_t i = 0; i < state->pending_count; i++, at += CURSOR_SLOT_ENTRY_BYTES) {
        struct segment_cursor_pending pending;
        if (!decode_entry(slot + at, state, before, &pending))
            return false;
        before = pending.sequence;
        if (pending_out)
            pending_out[i] = pending;
    }
    return bytes_are_zero(slot + at, slot_bytes - at);
}

enum segment_format_verdict
segment_cursor_slot_decode(const uint8_t *slot, size_t slot_bytes,
                           struct segment_cursor_state *state_out,
                           struct segment_cursor_pending *pending_out,
                           uint8_t log_id_out[FORMAT_LOG_ID_PUBLIC_BYTES])
{
    if (slot_bytes < CURSOR_SLOT_HEADER_BYTES)
        return FORMAT_BAD;
    if (memcmp(slot, magic, sizeof magic) != 0)
        return bytes_are_zero(slot, slot_bytes) ? FORMAT_ZERO : FORMAT_BAD;
    if (bytes_load32(slot + AT_CHECKSUM) != compute_checksum(slot, slot_bytes))
        return FORMAT_BAD;
    if (bytes_load32(slot + AT_VERSION) > CURSOR_SLOT_VERSION)
        return FORMAT_NEWER;
    struct segment_cursor_state state = {
        .kind = (enum segment_cursor_kind)bytes_load32(slot + AT_KIND),
        .position = bytes_load64(slot + AT_POSITION),
        .generation = bytes_load64(slot + AT_GENERATION),
        .id = bytes_load64(slot + AT_ID),
        .hold_bytes = bytes_load64(slot + AT_HOLD),
        .created_ns = (int64_t)bytes_load64(slot + AT_CREATED),
        .committed_ns = (int64_t)bytes_load64(slot + AT_COMMITTED),
        .letters = bytes_load64(slot + AT_LETTERS),
        .pending_count = bytes_load32(slot + AT_COUNT),
    };
    if (bytes_load32(slot + AT_VERSION) != CURSOR_SLOT_VERSION || !is_sound(&state, slot_bytes) ||
        !bytes_are_zero(slot + AT_ZERO, CURSOR_SLOT_HEADER_BYTES - AT_ZERO) ||
        !decode_pending(slot, slot_bytes, &state, pending_out))
        return FORMAT_BAD;
    state.needed = state.pending_count ? bytes_load64(slot + CURSOR_SLOT_HEADER_BYTES)
                                       : state.position + 1;
    *state_out = state;
    memcpy(log_id_out, slot + AT_LOG_ID, FORMAT_LOG_ID_PUBLIC_BYTES);
    return FORMAT_VALID;
}
