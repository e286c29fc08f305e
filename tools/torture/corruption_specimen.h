/*
 * tools/torture/corruption_specimen.h - a log that is made to be damaged, and what it held.
 *
 * Written by the product's own segment writer: several segments of small, large, compressible and
 * random events, watermark and stop marks, a gap, producers, padding, seals, and unused zeros. Its
 * files are then kept in memory as they were, with the place of every block and a copy of every
 * event: the oracle, which no damage to the files can reach. One seed gives the same bytes again.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_SPECIMEN_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_SPECIMEN_H

#include "core/bytes.h"
#include "core/event.h"
#include "segment/format.h"

enum { CORRUPTION_SEGMENTS_MAX = 6 };

/* How the last segment was left. */
enum corruption_ending {
    CORRUPTION_STOPPED, /* by a clean stop: behind the last commit stands a stop mark */
    CORRUPTION_IDLE,    /* killed, but a watermark block vouches for the last commit */
    CORRUPTION_BUSY,    /* killed right behind a commit that no later block vouches for */
    CORRUPTION_SEALED,  /* killed between seal and next segment */
};
const char *corruption_ending_text(enum corruption_ending ending);

struct corruption_specimen_options {
    uint64_t seed;
    size_t segment_count;
    uint64_t segment_bytes[CORRUPTION_SEGMENTS_MAX];
    uint64_t used_bytes; /* of the last segment, about */
    uint32_t commit_align;
    size_t payload_bytes_max; /* at least 8 */
    enum corruption_ending ending;
};

/* One file of the log. */
struct corruption_file {
    char name[48]; /* below the log's directory */
    struct buffer bytes;
    struct segment_format_segment_header header; /* of a segment */
    uint32_t seed;                               /* of its checksums */
    size_t block_first, block_end;               /* its blocks */
};

struct corruption_block {
    size_t file;
    struct segment_format_block_header header;
    uint64_t sequence_end; /* the sequence behind it */
};

/* An event as it was published; offsets into `contents`. */
struct corruption_event {
    bool exists; /* false: a gap's */
    size_t block;
    int64_t time_ns;
    uint64_t number;
    size_t at; /* topic, producer, payload */
    size_t topic_bytes, producer_bytes, payload_bytes;
};

struct corruption_specimen {
    struct corruption_specimen_options options;
    /* The segments in order; then the watermark page. */
    struct corruption_file files[CORRUPTION_SEGMENTS_MAX + 1];
    size_t file_count;
    struct corruption_block *blocks;
    size_t block_count, block_capacity;
    struct corruption_event *events; /* of sequence i + 1 */
    size_t event_count, event_capacity;
    struct buffer contents;
    /* What was durable when a block was put, of each one in order that is no segment's beginning or
     * seal: each must promise as much. */
    uint64_t *promises;
    size_t promise_count, promise_capacity;
    size_t event_blocks[CORRUPTION_SEGMENTS_MAX]; /* in each segment */
    uint64_t last_group_first; /* first sequence of the last commit with events */
};

/*
 * Make the log in `path`, a directory of ours that is empty, and take it into memory.
 * ERROR_INVALID: the options do not make one.
 */
enum error_code corruption_specimen_make(const char *path,
                                         const struct corruption_specimen_options *options,
                                         struct corruption_specimen *specimen_out,
                                         struct error *error);
/*
 * A log of the same shape, segments' names and blocks' events, but of another identity and with
 * other contents: what a write that went astray may bring.
 */
enum error_code corruption_specimen_make_foreign(const char *path,
                                                 const struct corruption_specimen *like,
                                                 struct corruption_specimen *specimen_out,
                                                 struct error *error);
void corruption_specimen_release(struct corruption_specimen *specimen);

/* Is this the event that was published with event->sequence? */
bool corruption_specimen_holds(const struct corruption_specimen *specimen,
                               const struct event *event);
/* The last segment, and the watermark page. */
size_t corruption_specimen_last(const struct corruption_specimen *specimen);
size_t corruption_specimen_page(const struct corruption_specimen *specimen);
/* The block that holds the byte; SIZE_MAX: none does. */
size_t corruption_specimen_block_at(const struct corruption_specimen *specimen, size_t file,
                                    uint64_t offset);

#endif
