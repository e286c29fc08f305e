/*
 * segment/producers.h - the last number of each producer: what makes a retry harmless.
 *
 * A bounded table, least recently used first out. It is written as PRODUCERS blocks at the start of
 * each segment and kept up by the events behind them, so that recovery rebuilds it from the last
 * segment alone. Who leaves it is kept elsewhere (segment/past.h).
 *
 * One thread at a time; the log guards it with its mutex.
 */
#ifndef DAYBOOK_SEGMENT_PRODUCERS_H
#define DAYBOOK_SEGMENT_PRODUCERS_H

#include "core/bytes.h"
#include "core/event.h"

enum {
    PRODUCERS_MAX = 16384,        /* remembered at once */
    PRODUCERS_BLOCK_MAX = 262144, /* bytes of one encoded snapshot block */
};

struct segment_producers;

enum error_code segment_producers_create(struct segment_producers **producers_out,
                                         struct error *error);
void segment_producers_free(struct segment_producers *producers);

/* The last number and the sequence that it got; false when the name is unknown. */
bool segment_producers_find(const struct segment_producers *producers, const char *name,
                            size_t name_bytes, uint64_t *number_out, uint64_t *sequence_out);
/* One of them: a producer, its last number and the sequence that it got. */
struct segment_producers_entry {
    const char *name; /* borrowed */
    size_t name_bytes;
    uint64_t number; /* 0, with the sequence 0: it was about to publish, and has not */
    uint64_t sequence;
};
bool segment_producers_is_full(const struct segment_producers *producers);
/*
 * Who would be forgotten if `name` were noted: the producer that was silent for longest, when the
 * table is full and does not have the name. False: nobody would.
 */
bool segment_producers_leaver(const struct segment_producers *producers, const char *name,
                              size_t name_bytes, struct segment_producers_entry *leaver_out);
/*
 * Remember that `name` published `number` as `sequence`. Makes room by forgetting the producer that
 * was silent for longest.
 */
enum error_code segment_producers_note(struct segment_producers *producers, const char *name,
                                       size_t name_bytes, uint64_t number, uint64_t sequence,
                                       struct error *error);
/* Make `to` a copy of `from`. Nothing is allocated when `to` had as many entries before. */
enum error_code segment_producers_copy(struct segment_producers *to,
                                       const struct segment_producers *from, struct error *error);
size_t segment_producers_count(const struct segment_producers *producers);

/*
 * Append the body of one PRODUCERS block to `out`, starting with entry *position (0 at first), at
 * most PRODUCERS_BLOCK_MAX bytes; moves *position. Nothing is appended when all are done.
 */
enum error_code segment_producers_encode(const struct segment_producers *producers,
                                         size_t *position, struct buffer *out, struct error *error);
/*
 * The entry at `*position` of a body (0 at first), which is moved behind it. ERROR_END: that was
 * all. ERROR_DAMAGED: it is malformed.
 */
enum error_code segment_producers_next(const void *body, size_t size, size_t *position,
                                       struct segment_producers_entry *entry_out,
                                       struct error *error);
/* Note every entry of a body; with NULL only look at it. ERROR_DAMAGED when it is malformed. */
enum error_code segment_producers_decode(struct segment_producers *producers, const void *body,
                                         size_t size, struct error *error);

#endif
