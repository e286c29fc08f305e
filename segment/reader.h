/*
 * segment/reader.h - read a log's events in order, while it is written or at rest.
 *
 * Opens a directory; needs no daemon, takes no lock, writes nothing. Sees events only up to the
 * watermark: with a live writer that is the shared page (segment/watermark.h); without one it is
 * what recovery would keep and what must already be durable (docs/format.md "What a reader may
 * see").
 *
 * Damage: a call returns ERROR_DAMAGED with segment, offset and the sequences concerned, and the
 * next call goes on with the next intact block; nothing is skipped silently. Retention: when
 * segments were deleted before they were read, the reader goes on at the first that is left and
 * segment_reader_hole() tells it.
 *
 * One thread a reader.
 */
#ifndef DAYBOOK_SEGMENT_READER_H
#define DAYBOOK_SEGMENT_READER_H

#include "core/bytes.h"
#include "segment/format.h"

struct segment_reader;

/* ERROR_NOT_FOUND: there is no log in `path`. */
enum error_code segment_reader_open(const char *path, struct segment_reader **reader_out,
                                    struct error *error);
void segment_reader_close(struct segment_reader *reader);

/*
 * Go to the first event with a sequence >= `sequence` (1: the first that is left). Cheap. Who asks
 * for a later one that retention has deleted is told by segment_reader_hole.
 */
enum error_code segment_reader_seek(struct segment_reader *reader, uint64_t sequence,
                                    struct error *error);
/*
 * For who will read much in order: when that comes about, a thread opens the blocks that come next
 * (segment/ahead.h). A process that forks must not use or close such a reader in the child.
 */
void segment_reader_read_ahead(struct segment_reader *reader);
/*
 * From here on, blocks without any event in [since_ns, until_ns] may be skipped unread. A hint, for
 * speed: the caller still compares each event's time, for producers' times come in any order.
 * INT64_MIN and INT64_MAX: no limit.
 */
void segment_reader_hint_times(struct segment_reader *reader, int64_t since_ns, int64_t until_ns);
/*
 * From here on, ERROR_END comes behind the block with this sequence, without a look at what
 * follows. UINT64_MAX: no limit.
 */
void segment_reader_stop_behind(struct segment_reader *reader, uint64_t sequence);
/*
 * Where the reader stands, for segment_reader_seek_block: before the block with this sequence.
 * False: between two segments, which a seek to the sequence finds as quickly.
 */
bool segment_reader_stands(const struct segment_reader *reader, uint64_t *segment_first_out,
                           uint64_t *offset_out, uint64_t *sequence_out);

/*
 * The next event, valid until the next call on this reader. ERROR_END: none is durable yet, or
 * ever; try again after reader_wait. ERROR_DAMAGED: see above.
 */
enum error_code segment_reader_next(struct segment_reader *reader, struct event *event_out,
                                    struct error *error);

/* Or block by block: the whole events block at the current position. */
struct segment_reader_block {
    uint64_t segment_first; /* the segment's name */
    bool packed;            /* the segment is: segment/pack.h */
    uint32_t seal_checksum; /* … and then this tells its file from every other */
    /* Of the last event that is known to have arrived: of a packed segment, its last one. */
    int64_t arrival_last_ns;
    struct segment_format_block_header header;
    const uint8_t *raw; /* the raw body (segment_block_cursor_init), valid until the next call */
};
/*
 * Give PRODUCERS blocks, too, from segment_reader_next_block: at the beginning of a segment, where
 * the reader starts there or comes from the one before. For who must know what was before.
 */
void segment_reader_give_producers(struct segment_reader *reader);
/*
 * As reader_next, for blocks; also reports GAP blocks (header.kind says), whose body is in raw.
 * After a seek into the middle of a block the whole block comes.
 */
enum error_code segment_reader_next_block(struct segment_reader *reader,
                                          struct segment_reader_block *block_out,
                                          struct error *error);

/*
 * Position at one block whose place is known (from the index): ERROR_DAMAGED when the block there
 * is not valid or does not start with `sequence_first`; ERROR_NOT_FOUND when the segment is gone.
 * Then the reader stands where segment_reader_seek(sequence_first) would put it: packing may have
 * put the events into another block, which comes next.
 */
enum error_code segment_reader_seek_block(struct segment_reader *reader, uint64_t segment_first,
                                          uint64_t offset, uint64_t sequence_first,
                                          struct error *error);

/*
 * As segment_reader_seek(sequence), which in a segment without a directory looks at each header
 * before it: there, with a block that is known to stand before it, it begins at that one. What is
 * known of a sealed segment, which has a directory, of another one than the sequence's, or of
 * blocks that have moved is not used.
 */
void segment_reader_seek_near(struct segment_reader *reader, uint64_t sequence,
                              uint64_t segment_first, uint64_t offset, uint64_t sequence_first);

/* Wait for more than has been read, at most `timeout_ms`; returns early on a signal. */
void segment_reader_wait(struct segment_reader *reader, int timeout_ms);

/* The last durable sequence that this reader may see now; 0 in an empty log. */
uint64_t segment_reader_watermark(struct segment_reader *reader);
/* The first sequence that is left after retention (the lower bound). */
uint64_t segment_reader_bound(struct segment_reader *reader);
/* The identity of the log. */
const uint8_t *segment_reader_log_id(const struct segment_reader *reader);
/* Is a writer alive now? */
bool segment_reader_is_live(struct segment_reader *reader);

/*
 * Sequences missing between what was given last and what came now because retention deleted them:
 * true once per hole. Meant to be asked after each successful next.
 */
bool segment_reader_hole(struct segment_reader *reader, uint64_t *first_out, uint64_t *last_out);
/*
 * Sequences between what was given last and what came now (or the end) that are on record as lost
 * by damage: true once for each gap, at most 16 of them. Known losses are no ERROR_DAMAGED.
 */
bool segment_reader_loss(struct segment_reader *reader, struct segment_format_gap *gap_out);

#endif
