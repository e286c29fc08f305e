/*
 * segment/writer.h - append blocks to the active segment of a log, sync it, seal it.
 *
 * The writer never reads back what it wrote: see segment/reader.h.
 *
 * Invariants
 *   - Durable bytes never change again.
 *   - There is always room left for the seal, a watermark and a stop mark.
 *   - A segment has its final name only when its header, the producers and the gap at its beginning
 * are durable.
 *   - After an ERROR_IO the writer accepts close only: the kernel may have dropped pages that it
 * could not write.
 *
 * One thread.
 */
#ifndef DAYBOOK_SEGMENT_WRITER_H
#define DAYBOOK_SEGMENT_WRITER_H

#include "segment/format.h"
#include "segment/producers.h"
#include "segment/seal.h"

struct segment_writer;

struct segment_writer_start {
    int segments_fd;   /* borrowed for the writer's life */
    bool write_by_map; /* put bytes by stores into a map, else by pwrite; both sync by fdatasync */
    struct segment_format_segment_header header; /* size_bytes, published_bytes are set by create */
    int64_t arrival_ns;
    const struct segment_producers *producers; /* snapshot to begin with */
    const struct segment_format_gap *gap;      /* NULL: none */
    const struct segment_format_gap *gap_next; /* a second one, right behind it; NULL: none */
};

/* How large a segment must at least be, to hold its beginning and then a block of such a body. */
uint64_t segment_writer_size_min(const struct segment_writer_start *start, size_t raw_bytes,
                                 size_t events);
/*
 * Turn the zeroed file `fd` of `size_bytes`, named `temporary_name`, into the segment
 * start->header.sequence_first. Takes the descriptor over, also when it fails. ERROR_NO_SPACE:
 * there is no such segment (even a name may need room); try again with another file.
 */
enum error_code segment_writer_create(const struct segment_writer_start *start, int fd,
                                      uint64_t size_bytes, const char *temporary_name,
                                      struct segment_writer **writer_out, struct error *error);

/* What a scan found in a segment that is to be written on. */
struct segment_writer_resume {
    int segments_fd; /* borrowed */
    bool write_by_map;
    struct segment_format_segment_header header;
    uint32_t epoch; /* the new writer's */
    uint64_t end_offset;
    uint32_t chain;
    struct segment_seal seal; /* counted so far; taken over on success */
};
/* Write on in an existing segment, behind its last valid block; all of it is durable. Takes `fd`
 * over. */
enum error_code segment_writer_resume(struct segment_writer_resume *resume, int fd,
                                      struct segment_writer **writer_out, struct error *error);

/* Is there room for a block with such a body? */
bool segment_writer_fits(const struct segment_writer *writer, size_t raw_bytes, size_t events);

struct segment_writer_block {
    enum segment_format_block_kind kind;
    uint64_t sequence_first;
    uint32_t event_count;
    int64_t time_min_ns;
    int64_t time_max_ns;
    int64_t arrival_ns;
    const void *raw; /* the raw body, NULL when it has none */
    size_t raw_bytes;
};
/*
 * Encode and write one block, up to the next commit boundary: any block may turn out to be the last
 * of its group, when the one behind it finds no room. It is not durable before the next sync.
 */
enum error_code segment_writer_put(struct segment_writer *writer,
                                   const struct segment_writer_block *block, struct error *error);
/* Make every block durable. Called once for each state of the file: an error is final. */
enum error_code segment_writer_sync(struct segment_writer *writer, struct error *error);
/* Write the seal block and the trailer, and sync. Then the writer accepts close only. */
enum error_code segment_writer_seal(struct segment_writer *writer, int64_t arrival_ns,
                                    struct error *error);

/*
 * Write the trailer of a segment whose seal block is durable, and sync: what a crash between the
 * two left undone. For recovery.
 */
enum error_code segment_writer_put_trailer(int fd,
                                           const struct segment_format_segment_header *header,
                                           const struct segment_seal *totals, uint64_t seal_offset,
                                           uint32_t seal_checksum, struct error *error);

/* What the next segment's header has to say of this one, once it is sealed. */
void segment_writer_describe(const struct segment_writer *writer,
                             struct segment_format_predecessor *predecessor_out);
const struct segment_format_segment_header *segment_writer_header(
    const struct segment_writer *writer);
/* Bytes used, from the file's beginning. */
uint64_t segment_writer_offset(const struct segment_writer *writer);
bool segment_writer_has_undurable(const struct segment_writer *writer);
/* Is the last events block durable, and no later block says so? Then a watermark block helps. */
bool segment_writer_wants_watermark(const struct segment_writer *writer);
/* Then it accepts close and describe only. */
bool segment_writer_is_sealed(const struct segment_writer *writer);
/* Has this writer put a block since it was made? */
bool segment_writer_has_put(const struct segment_writer *writer);
/* Totals so far. */
const struct segment_seal *segment_writer_totals(const struct segment_writer *writer);

/* Close without syncing, and free. Accepts NULL. */
void segment_writer_close(struct segment_writer *writer);

#endif
