/*
 * segment/replacement.h - write a whole, sealed segment that takes the place of another.
 *
 * Published segments are never rewritten, because readers have them mapped: a repair writes a new
 * file beside the old one, makes it durable, and renames it over. Its sequences are those of the
 * old one; what is missing is told by gap blocks; its header's `replaces` is what the segment
 * behind it says of the old one, so that the chain from segment to segment stays provable.
 *
 * One thread.
 */
#ifndef DAYBOOK_SEGMENT_REPLACEMENT_H
#define DAYBOOK_SEGMENT_REPLACEMENT_H

#include "segment/producers.h"
#include "segment/salvage.h"

/* In DIR/segments. No segment's name, so that nobody reads it; a crash leaves at most this one. */
#define REPLACEMENT_FILE_NAME "replacement.tmp"

struct segment_replacement;

/*
 * Put the blocks of the replacement, in the order of their sequences. Called twice, and must put
 * the same each time: the header at the front, from which all blocks chain, says how long the whole
 * is.
 */
typedef enum error_code (*segment_replacement_feed)(void *context,
                                                    struct segment_replacement *replacement,
                                                    struct error *error);

struct segment_replacement_start {
    int segments_fd; /* borrowed */
    /* size_bytes, published_bytes, commit_align are set here */
    struct segment_format_segment_header header;
    int64_t arrival_ns; /* for what comes before the first block that has one */
    segment_replacement_feed feed;
    void *context;
};

/*
 * Write REPLACEMENT_FILE_NAME and make its bytes durable; one that was left is deleted. The caller
 * checks it and renames it. Leaves no file when it fails for want of space. *written_out is how a
 * set would list it, under its temporary name.
 */
enum error_code segment_replacement_write(const struct segment_replacement_start *start,
                                          struct segment_set_segment *written_out,
                                          struct error *error);

/* For feed. Arrival times that go backwards are raised to the one before. */
enum error_code segment_replacement_put(struct segment_replacement *replacement,
                                        const struct segment_salvage_block *block,
                                        struct error *error);
enum error_code segment_replacement_put_gap(struct segment_replacement *replacement,
                                            const struct segment_format_gap *gap,
                                            struct error *error);
enum error_code segment_replacement_put_producers(struct segment_replacement *replacement,
                                                  const struct segment_producers *producers,
                                                  struct error *error);

#endif
