#include "segment/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/bound.h"
#include "segment/walk.h"

struct segment_reader {
    int log_fd;
    int segments_fd;
    struct segment_walk walk;
    bool in_block; /* `cursor` has events to give */
    struct segment_format_block_header header;
    struct segment_block_cursor cursor;
};

static enum error_code open_directories(struct segment_reader *reader, const char *path,
                                        struct error *error)
{
    enum error_code code = file_open_directory_to_read(path, &reader->log_fd, error);
    if (!code)
        code =
            file_open_directory_to_read_at(reader->log_fd, "segments", &reader->segments_fd, error);
    return code;
}

enum error_code segment_reader_open(const char *path, struct segment_reader **reader_out,
                                    struct error *error)
{
    struct segment_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return error_set(error, ERROR_MEMORY, "read the log '%s': no memory", path);
    reader->log_fd = reader->segments_fd = -1;
    enum error_code code = open_directories(reader, path, error);
    if (!code)
        code = segment_walk_init(&reader->walk, reader->log_fd, reader->segments_fd, error);
    if (code) {
        file_close(&reader->segments_fd);
        file_close(&reader->log_fd);
        free(reader);
        if (code == ERROR_NOT_FOUND)
            return error_set(error, code,
                             "there is no log in '%s'; publish something, or name another "
                             "directory with -D",
                             path);
        error_prefix(error, "read the log '%s'", path);
        return code;
    }
    *reader_out = reader;
    return OK;
}

void segment_reader_close(struct segment_reader *reader)
{
    if (!reader)
        return;
    segment_walk_release(&reader->walk);
    file_close(&reader->segments_fd);
    file_close(&reader->log_fd);
    free(reader);
}

enum error_code segment_reader_seek(struct segment_reader *reader, uint64_t sequence,
                                    struct error *error)
{
    (void)error;
    reader->in_block = false;
    segment_walk_seek(&reader->walk, sequence);
    return OK;
}

void segment_reader_read_ahead(struct segment_reader *reader)
{
    reader->walk.view.reads_ahead = true;
}

void segment_reader_hint_times(struct segment_reader *reader, int64_t since_ns, int64_t until_ns)
{
    reader->walk.since_ns = since_ns;
    reader->walk.until_ns = until_ns;
}

void segment_reader_give_producers(struct segment_reader *reader)
{
    reader->walk.gives_producers = true;
}

void segment_reader_stop_behind(struct segment_reader *reader, uint64_t sequence)
{
    reader->walk.last = sequence;
}

bool segment_reader_stands(const struct segment_reader *reader, uint64_t *segment_first_out,
                           uint64_t *offset_out, uint64_t *sequence_out)
{
    const struct segment_walk *walk = &reader->walk;
    if (!walk->view.is_open)
        return false;
    *segment_first_out = walk->view.segment.sequence_first;
    *offset_out = walk->offset;
    *sequence_out = walk->expected;
    return true;
}

/* The checksums were right and the records are not: then they were written so. */
static enum error_code report_records(const struct segment_reader *reader, const char *reason,
                                      struct error *error)
{
    const struct segment_format_block_header *header = &reader->header;
    uint64_t last = header->sequence_first + header->event_count - 1;
    struct error lost;
    error_set(&lost, ERROR_DAMAGED, "no event is lost by it");
    if (reader->cursor.events_left > 0)
        error_set(&lost, ERROR_DAMAGED, "events %" PRIu64 " to %" PRIu64 " cannot be read",
                  reader->cursor.sequence_next, last);
    return error_set(error, ERROR_DAMAGED, "segment %s: block at byte %" PRIu64 ": %s; %s",
                     reader->walk.view.segment.name, header->offset, reason, lost.text);
}

enum error_code segment_reader_next(struct segment_reader *reader, struct event *event_out,
                                    struct error *error)
{
    for (;;) {
        if (!reader->in_block) {
            const uint8_t *raw = NULL;
            enum error_code code = segment_walk_next(&reader->walk, &reader->header, &raw, error);
            if (code)
                return code;
            reader->in_block = reader->header.kind == FORMAT_BLOCK_EVENTS;
            if (reader->in_block)
                segment_block_cursor_init(&reader->cursor, &reader->header, raw);
            continue;
        }
        struct error reason;
        enum error_code code = segment_block_cursor_next(&reader->cursor, event_out, &reason);
        if (!code && event_out->sequence >= reader->walk.from)
            return OK;
        if (code)
            reader->in_block = false;
        if (code == ERROR_DAMAGED)
            return report_records(reader, reason.text, error);
    }
}

enum error_code segment_reader_next_block(struct segment_reader *reader,
                                          struct segment_reader_block *block_out,
                                          struct error *error)
{
    const uint8_t *raw = NULL;
    reader->in_block = false;
    enum error_code code = segment_walk_next(&reader->walk, &reader->header, &raw, error);
    if (code)
        return code;
    const struct segment_set_segment *segment = &reader->walk.view.segment;
    bool packed = segment->header.packed && segment->sealed;
    *block_out = (struct segment_reader_block){
        .segment_first = segment->sequence_first,
        .packed = packed,
        .seal_checksum = packed ? segment->trailer.seal_checksum : 0,
        .arrival_last_ns = packed ? segment->trailer.arrival_last_ns : reader->header.arrival_ns,
        .header = reader->header,
        .raw = raw,
    };
    return OK;
}

enum error_code segment_reader_seek_block(struct segment_reader *reader, uint64_t segment_first,
                                          uint64_t offset, uint64_t sequence_first,
                                          struct error *error)
{
    reader->in_block = false;
    return segment_walk_seek_block(&reader->walk, segment_first, offset, sequence_first, error);
}

void segment_reader_seek_near(struct segment_reader *reader, uint64_t sequence,
                              uint64_t segment_first, uint64_t offset, uint64_t sequence_first)
{
    reader->in_block = false;
    segment_walk_seek_near(&reader->walk, sequence, segment_first, offset, sequence_first);
}

void segment_reader_wait(struct segment_reader *reader, int timeout_ms)
{
    if (reader->in_block && reader->cursor.events_left > 0)
        return;
    /* An error comes back, with its text, from the next call that can give one. */
    if (segment_horizon_wait(&reader->walk.horizon, reader->walk.expected, timeout_ms, NULL))
        clock_sleep_until_ns(clock_monotonic_ns() + (int64_t)timeout_ms * 1000000);
}

uint64_t segment_reader_watermark(struct segment_reader *reader)
{
    segment_horizon_refresh(&reader->walk.horizon, NULL);
    return reader->walk.horizon.limit;
}

uint64_t segment_reader_bound(struct segment_reader *reader)
{
    uint64_t bound = reader->walk.set.bound;
    /* A damaged file is told by whoever loads the set; here the last known bound will do. */
    segment_bound_load(reader->log_fd, &bound, NULL);
    return bound;
}

const uint8_t *segment_reader_log_id(const struct segment_reader *reader)
{
    return reader->walk.horizon.log_id;
}

bool segment_reader_is_live(struct segment_reader *reader)
{
    segment_horizon_refresh_now(&reader->walk.horizon, NULL);
    return segment_horizon_is_live(&reader->walk.horizon);
}

bool segment_reader_hole(struct segment_reader *reader, uint64_t *first_out, uint64_t *last_out)
{
    struct segment_walk *walk = &reader->walk;
    if (walk->hole_first == 0)
        return false;
    *first_out = walk->hole_first;
    *last_out = walk->hole_last;
    walk->hole_first = walk->hole_last = 0;
    return true;
}

bool segment_reader_loss(struct segment_reader *reader, struct segment_format_gap *gap_out)
{
    struct segment_walk *walk = &reader->walk;
    if (walk->loss_count == 0)
        return false;
    *gap_out = walk->losses[0];
    memmove(walk->losses, walk->losses + 1, --walk->loss_count * sizeof walk->losses[0]);
    return true;
}
