/*
 * segment/seal.h - the footer of a segment: totals, a block directory, per-topic counts.
 *
 * The writer keeps it up to date while it appends, so that sealing costs one block, and so that it
 * knows at any moment how much room the seal will need. It is the body of the SEAL block;
 * docs/format.md has its bytes.
 *
 * The directory is sparse: an entry for the first events block behind each 64 KiB of file, so it is
 * small however small the blocks are. Topics are listed while their table stays within a bound;
 * beyond it `topics_complete` is false and none is listed.
 */
#ifndef DAYBOOK_SEGMENT_SEAL_H
#define DAYBOOK_SEGMENT_SEAL_H

#include "core/bytes.h"
#include "segment/format.h"

enum {
    SEAL_HEAD_BYTES = 80,
    SEAL_ENTRY_BYTES = 32,
    SEAL_TOPIC_BYTES = 49, /* and the name behind it */
    SEAL_ENTRY_SPACING = 65536,
    SEAL_TOPICS_BYTES_MAX = 131072,
};

struct segment_seal_entry {
    uint64_t sequence_first;
    uint64_t offset;
    /* Over all blocks from this one up to the next entry's. */
    int64_t time_min_ns;
    int64_t time_max_ns;
};

struct segment_seal_topic {
    uint64_t events;
    uint64_t payload_bytes;
    uint64_t sequence_first;
    uint64_t sequence_last;
    int64_t time_min_ns;
    int64_t time_max_ns;
    uint8_t name_bytes;
    char name[EVENT_TOPIC_BYTES_MAX];
};

struct segment_seal {
    uint64_t event_count;
    uint32_t block_count;
    uint64_t sequence_first; /* of the segment */
    uint64_t sequence_last;  /* sequence_first - 1 when nothing was given */
    int64_t time_min_ns;     /* meaningful when event_count > 0 */
    int64_t time_max_ns;
    int64_t arrival_first_ns;
    int64_t arrival_last_ns;
    bool topics_complete;
    struct segment_seal_entry *entries; /* owned */
    size_t entry_count, entry_capacity;
    struct segment_seal_topic *topics; /* owned; in order of first appearance */
    size_t topic_count, topic_capacity;
    size_t topics_bytes;
    uint32_t *topic_slots; /* hash table of topic index + 1; owned; only while writing */
    size_t topic_slot_count;
};

/* For a new segment. Frees nothing: release first. */
void segment_seal_init(struct segment_seal *seal, uint64_t sequence_first);
void segment_seal_release(struct segment_seal *seal);

/* Count one events block and its events. `raw` is its checked raw body. */
enum error_code segment_seal_add(struct segment_seal *seal,
                                 const struct segment_format_block_header *header,
                                 const uint8_t *raw, struct error *error);
/* A gap was recorded: it uses up sequences and holds no event. */
void segment_seal_add_gap(struct segment_seal *seal, uint64_t sequence_last);

/* How large the encoded footer is now. */
size_t segment_seal_bytes(const struct segment_seal *seal);
/* By how much one more block can make it grow, whose raw body is `raw_bytes` long, `events` events.
 */
size_t segment_seal_growth_max(size_t raw_bytes, size_t events);

enum error_code segment_seal_encode(const struct segment_seal *seal, struct buffer *out,
                                    struct error *error);
/* From the raw body of a SEAL block. ERROR_DAMAGED says what does not fit. Release what it gives.
 */
enum error_code segment_seal_decode(const void *body, size_t size, struct segment_seal *seal_out,
                                    struct error *error);
/*
 * For who replaces the seal or writes a trailer behind it: ERROR_VERSION when a newer Daybook says
 * more there, which would be gone. What is damaged is OK: it is worked out anew.
 */
enum error_code segment_seal_check_version(const void *body, size_t size, struct error *error);

#endif
