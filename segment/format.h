/*
 * segment/format.h - the bytes of a segment file, encoded and decoded nowhere else.
 *
 * docs/format.md is the specification; the constants here are its offsets. A segment is
 *
 *     segment header, 4096 bytes | blocks, each 8-byte aligned | zeros | trailer, 64 bytes
 *
 * and the trailer is zero until the segment is sealed. Every decoder takes untrusted bytes.
 */
#ifndef DAYBOOK_SEGMENT_FORMAT_H
#define DAYBOOK_SEGMENT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"

enum {
    FORMAT_VERSION = 1,
    FORMAT_SEGMENT_HEADER_BYTES = 4096,
    FORMAT_BLOCK_HEADER_BYTES = 104,
    FORMAT_TRAILER_BYTES = 64,
    FORMAT_RECORD_HEADER_BYTES = 24,
    FORMAT_ALIGNMENT = 8,
    FORMAT_PIECE_BYTES = 512,       /* one checksum for each sector that a body touches */
    FORMAT_LOG_ID_BYTES = 16,       /* random; */
    FORMAT_LOG_ID_PUBLIC_BYTES = 8, /* the first of them are shown, the others are not */
    FORMAT_SEGMENT_NAME_BYTES = 24, /* "00000000000000000001.seg" */

    /* One event of the largest size still fits into a block. */
    FORMAT_BLOCK_RAW_MAX = EVENT_PAYLOAD_BYTES_MAX + 4096,
    FORMAT_BLOCK_EVENTS_MAX = 4096,
};

/*
 * So many events at most are given sequences before they are durable; after a power loss as many
 * sequences are skipped, because some of them may have been told to producers ("written" acks).
 */
enum { FORMAT_UNDURABLE_EVENTS_MAX = 65536 };

/* No segment is smaller: header, a small block, seal and trailer must fit. */
#define FORMAT_SEGMENT_BYTES_MIN (UINT64_C(64) << 10)
#define FORMAT_SEGMENT_BYTES_MAX (UINT64_C(4) << 30)

/* What a segment says of the one before it, so that a missing or shortened one is provable. */
struct segment_format_predecessor {
    uint64_t sequence_first; /* its name; 0: there was none */
    uint64_t sequence_last;
    uint64_t end_offset; /* behind its seal block */
    uint32_t chain;      /* header checksum of its seal block */
};

struct segment_format_segment_header {
    uint8_t log_id[FORMAT_LOG_ID_BYTES]; /* the same in all segments of a log */
    uint64_t sequence_first;             /* of the first event here; also the file's name */
    uint64_t size_bytes;                 /* of the whole file */
    int64_t created_ns;
    uint32_t epoch; /* counts the writers of this log: +1 at each opening */
    uint32_t commit_align;
    /* Blocks up to here were durable before the file got its name: never a torn tail. */
    uint64_t published_bytes;
    struct segment_format_predecessor predecessor;
    /*
     * In a segment that a repair or packing has written: what the one behind it says of its
     * predecessor, which described the file that stood here before. sequence_first 0: nothing.
     */
    struct segment_format_predecessor replaces;
    bool packed; /* its blocks were gathered anew, see segment/pack.h */
};

enum segment_format_block_kind {
    FORMAT_BLOCK_EVENTS = 1,
    FORMAT_BLOCK_WATERMARK = 2, /* no body: says that all before it is durable */
    FORMAT_BLOCK_STOP = 3,      /* no body: the writer stopped cleanly here */
    FORMAT_BLOCK_SEAL = 4,      /* the footer: directory, totals; nothing follows */
    FORMAT_BLOCK_GAP = 5,       /* sequences that will never exist, and why */
    FORMAT_BLOCK_PRODUCERS = 6, /* last number of each producer, as of here */
};

enum segment_format_codec { FORMAT_CODEC_NONE = 0, FORMAT_CODEC_LZ4 = 1 };

struct segment_format_block_header {
    enum segment_format_block_kind kind;
    enum segment_format_codec codec;
    uint32_t epoch;
    uint64_t log_id; /* first 8 bytes of the log's identity */
    uint64_t offset; /* where this block stands in its file */
    /* EVENTS, GAP: the first of them. Others: the next sequence to be given. */
    uint64_t sequence_first;
    uint32_t event_count; /* EVENTS only, else 0 */
    uint32_t chain;       /* header checksum of the block (or segment header) before */
    uint32_t size_bytes;  /* header, body, table and padding: the next block is at offset + size */
    uint32_t stored_bytes;
    uint32_t raw_bytes;
    uint32_t raw_checksum;   /* over the raw body; 0 when the body is stored raw */
    uint32_t table_checksum; /* over the table of piece checksums; 0 without a body */
    /* Everything in this file before this offset was durable when the block was written. */
    uint64_t durable_offset;
    int64_t time_min_ns; /* of the events; 0 in other kinds */
    int64_t time_max_ns;
    int64_t arrival_ns; /* never goes backwards within a log */
    uint32_t checksum;  /* out: of the encoded header */
};

struct segment_format_trailer {
    uint64_t seal_offset;
    uint32_t seal_checksum; /* header checksum of the seal block */
    uint64_t sequence_last; /* first - 1 when there is no event */
    int64_t time_min_ns;
    int64_t time_max_ns;
    int64_t arrival_last_ns;
};

/* Why bytes are not the thing that a decoder looks for. */
enum segment_format_verdict {
    FORMAT_VALID,
    FORMAT_ZERO,  /* nothing but zeros: never written */
    FORMAT_BAD,   /* neither zero nor valid */
    FORMAT_NEWER, /* valid, of a version or kind that we do not know */
};

/* The seed of all checksums in one segment: no block of another segment or log is valid here. */
uint32_t segment_format_seed(const uint8_t log_id[FORMAT_LOG_ID_BYTES], uint64_t segment_first);

void segment_format_encode_segment_header(const struct segment_format_segment_header *header,
                                          uint8_t bytes_out[FORMAT_SEGMENT_HEADER_BYTES],
                                          uint32_t *checksum_out);
/* Checks every field's range. *checksum_out starts the segment's chain. */
enum segment_format_verdict segment_format_decode_segment_header(
    const uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES],
    struct segment_format_segment_header *header_out, uint32_t *checksum_out);

/* Sets header->checksum. */
void segment_format_encode_block_header(uint32_t seed, struct segment_format_block_header *header,
                                        uint8_t bytes_out[FORMAT_BLOCK_HEADER_BYTES]);
/*
 * FORMAT_VALID promises that all lengths are within limits and fit each other, that the block
 * starts at `offset` of a file of `segment_bytes` and ends before its trailer.
 */
enum segment_format_verdict segment_format_decode_block_header(
    uint32_t seed, const uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES], uint64_t offset,
    uint64_t segment_bytes, struct segment_format_block_header *header_out);

/*
 * Of a block header that is not valid: was one at `offset` only written in part? A sector boundary
 * may cut it. And a page that is mapped may go to the disk, or stay behind when its writer is
 * killed, while the header is being stored, its first word last (segment/writer.c): another
 * processor, or the disk, sees each line of memory as it was at some moment. No line of a whole
 * header is zero.
 */
bool segment_format_is_torn_block_header(const uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES],
                                         uint64_t log_id, uint64_t offset);

void segment_format_encode_trailer(uint32_t seed, const struct segment_format_trailer *trailer,
                                   uint8_t bytes_out[FORMAT_TRAILER_BYTES]);
enum segment_format_verdict segment_format_decode_trailer(
    uint32_t seed, const uint8_t bytes[FORMAT_TRAILER_BYTES],
    struct segment_format_trailer *trailer_out);

/* How many 512-byte sectors of the file the range touches: the table has an entry for each. */
uint32_t segment_format_piece_count(uint64_t offset, uint32_t size);

/* One event in a block's raw body. */
size_t segment_format_record_bytes(const struct event *event);
/* Write segment_format_record_bytes(event) bytes. event->time_ns is set, lengths have been checked.
 */
void segment_format_encode_record(const struct event *event, uint8_t *to);
/*
 * Decode the record at `at`, of which `available` bytes may be read. The event borrows them; its
 * sequence is left 0. *size_out is the record's length.
 */
enum error_code segment_format_decode_record(const uint8_t *at, size_t available,
                                             struct event *event_out, size_t *size_out,
                                             struct error *error);

enum segment_format_gap_cause {
    FORMAT_GAP_TORN_TAIL = 1,    /* unacknowledged events of a killed process */
    FORMAT_GAP_POWER_LOSS = 2,   /* numbers that may have been given out before the power went */
    FORMAT_GAP_DAMAGED_TAIL = 3, /* the tail was quarantined */
    FORMAT_GAP_DAMAGE = 4,       /* durable events were damaged or missing, and a repair said so */
};
const char *segment_format_gap_cause_text(enum segment_format_gap_cause cause);
/* Were there events, of which somebody may have been told that they are safe? */
bool segment_format_gap_is_loss(enum segment_format_gap_cause cause);

enum { FORMAT_GAP_BODY_BYTES = 24 };
struct segment_format_gap {
    uint64_t sequence_first;
    uint64_t sequence_last;
    enum segment_format_gap_cause cause;
};
void segment_format_encode_gap(const struct segment_format_gap *gap,
                               uint8_t bytes_out[FORMAT_GAP_BODY_BYTES]);
enum error_code segment_format_decode_gap(const void *body, size_t size,
                                          struct segment_format_gap *gap_out, struct error *error);

/*
 * The public half of a log's identity, in hexadecimal digits. The other half stays in the files:
 * who knew all of it could forge a block inside of a payload, which a search behind damage would
 * take for ours.
 */
enum { FORMAT_LOG_ID_TEXT = 2 * FORMAT_LOG_ID_PUBLIC_BYTES };
void segment_format_log_id_text(const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                char text_out[FORMAT_LOG_ID_TEXT + 1]);

/* "00000000000000000001.seg"; the only names that are segments. */
void segment_format_segment_name(uint64_t sequence_first,
                                 char name_out[FORMAT_SEGMENT_NAME_BYTES + 1]);
bool segment_format_parse_segment_name(const char *name, uint64_t *sequence_first_out);

#endif
