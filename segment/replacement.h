/*
 * segment/replacement.h - write a whole, sealed segment that takes the place of another.
 *
 * Published segments are never rewritten, because readers have them mapped: a repair, or packing,
 * writes a new file beside the old one, makes it durable, reads it back and renames it over. Its
 * sequences are those of the old one; what is missing is told by gap blocks; its header's
 * `replaces` is what the segment behind it says of the old one, so that the chain from segment to
 * segment stays provable.
 *
 * One thread.
 */
#ifndef DAYBOOK_SEGMENT_REPLACEMENT_H
#define DAYBOOK_SEGMENT_REPLACEMENT_H

#include "segment/block.h"
#include "segment/producers.h"
#include "segment/salvage.h"

struct segment_replacement;

/* Put the blocks of the replacement, in the order of their sequences. */
typedef enum error_code (*segment_replacement_feed)(void *context,
                                                    struct segment_replacement *replacement,
                                                    struct error *error);

struct segment_replacement_start {
    int segments_fd; /* borrowed */
    /* In DIR/segments: no segment's name, so that nobody reads it; a crash leaves at most this. */
    const char *name;
    /* size_bytes, published_bytes, commit_align are set here */
    struct segment_format_segment_header header;
    enum segment_block_effort effort;
    int64_t arrival_ns;      /* for what comes before the first block that has one */
    int64_t arrival_last_ns; /* the footer's; INT64_MIN: that of the last block */
    segment_replacement_feed feed;
    /* Asked often: true ends the work with ERROR_END. May be NULL. */
    bool (*stopped)(void *context);
    void *context; /* of both */
};

/* What a segment says, however it is cut into blocks. */
struct segment_replacement_sum {
    uint32_t digest; /* of all records, gaps and lists of producers, in their order */
    uint64_t events;
};
void segment_replacement_add(struct segment_replacement_sum *sum,
                             const struct segment_salvage_block *block);

/*
 * Write start->name and make its bytes durable; one that was left is deleted. The caller proves it
 * and publishes it. Leaves no file when it fails. *written_out is how a set would list it, under
 * its temporary name; *sum_out is what was put.
 */
enum error_code segment_replacement_write(const struct segment_replacement_start *start,
                                          struct segment_set_segment *written_out,
                                          struct segment_replacement_sum *sum_out,
                                          struct error *error);
/* Read back what was written: is every byte as it must be, and does it say `sum`? ERROR_IO: no.
 */
enum error_code segment_replacement_prove(const struct segment_replacement_start *start,
                                          const struct segment_set_segment *written,
                                          const struct segment_replacement_sum *sum,
                                          struct error *error);
/*
 * Give it the name of the segment whose place it takes; written->name becomes that. ERROR_IO also
 * when it has the name, and nobody knows whether it keeps it.
 */
enum error_code segment_replacement_publish(int segments_fd, struct segment_set_segment *written,
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
