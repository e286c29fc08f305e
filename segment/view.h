/*
 * segment/view.h - one segment file, open for reading: its blocks, copied and checked.
 *
 * Others may write to the file, or the disk may give different bytes at each look, so nothing is
 * ever checked in the map and then used from there: bytes are copied to private memory, checked
 * there and handed out from there. What is copied is a window that grows while reading goes on in
 * order, so that small blocks do not cost a system call each.
 *
 * A view does not know what is durable: its owner does, and calls segment_view_forget before it
 * looks again at bytes that may have been written since the last look.
 */
#ifndef DAYBOOK_SEGMENT_VIEW_H
#define DAYBOOK_SEGMENT_VIEW_H

#include "core/bytes.h"
#include "core/file.h"
#include "segment/ahead.h"
#include "segment/format.h"
#include "segment/seal.h"
#include "segment/set.h"

/* Zero-initialised is closed. */
struct segment_view {
    bool is_open;
    struct segment_set_segment segment;
    uint64_t segment_bytes; /* as its header says; as stat says when that is damaged */
    struct file_map map;
    struct buffer window;
    uint64_t window_offset;
    size_t window_wanted;
    struct buffer scratch;
    uint64_t released;
    bool reads_ahead;            /* its owner has asked for a helper when much is read in order */
    struct segment_ahead *ahead; /* … and this is it, when it could be had */
    bool looks_ahead;            /* it is at work on the window */
};

/*
 * Open `segment` of the log `log_id`, and close what the view had open. When the segment's header
 * is damaged its blocks can be read nevertheless. ERROR_NOT_FOUND: it is gone.
 */
enum error_code segment_view_open(struct segment_view *view, int segments_fd,
                                  const struct segment_set_segment *segment,
                                  const uint8_t log_id[FORMAT_LOG_ID_BYTES], struct error *error);
/*
 * The set may be older than the file: packing and repairs put another one under the same name, and
 * so does a writer in the place of a segment without any event. False: list it again.
 */
bool segment_view_is_as_listed(const struct segment_view *view);
/* Keeps the memory for the next segment. */
void segment_view_close(struct segment_view *view);
/* Close, and free the memory too. */
void segment_view_release(struct segment_view *view);

/*
 * *bytes_out are `size` bytes at `offset`, private and valid until the next call on the view.
 * ERROR_DAMAGED or ERROR_IO: they are not there or cannot be read.
 */
enum error_code segment_view_bytes(struct segment_view *view, uint64_t offset, size_t size,
                                   const uint8_t **bytes_out, struct error *error);
/*
 * The block header at `offset`. ERROR_DAMAGED says why there is none; ERROR_VERSION: it is of a
 * newer Daybook.
 */
enum error_code segment_view_header(struct segment_view *view, uint64_t offset,
                                    struct segment_format_block_header *header_out,
                                    struct error *error);
/* The checked raw body of a block whose header was valid; valid until the next call on the view. */
enum error_code segment_view_body(struct segment_view *view,
                                  const struct segment_format_block_header *header,
                                  const uint8_t **raw_out, struct error *error);
/* The first valid block header at or behind `from`. ERROR_END: there is none. */
enum error_code segment_view_find(struct segment_view *view, uint64_t from,
                                  struct segment_format_block_header *header_out,
                                  struct error *error);
/*
 * The trailer. ERROR_NOT_FOUND: there are only zeros; ERROR_DAMAGED or ERROR_IO: it is not valid,
 * or cannot be read; ERROR_VERSION: it is of a newer Daybook.
 */
enum error_code segment_view_trailer(struct segment_view *view,
                                     struct segment_format_trailer *trailer_out,
                                     struct error *error);
/* The footer of a sealed segment. Release what it gives. */
enum error_code segment_view_seal(struct segment_view *view, struct segment_seal *seal_out,
                                  struct error *error);

/* The file may have changed: look again. */
void segment_view_forget(struct segment_view *view);
/* The owner has moved to another place: start with a small window again. */
void segment_view_jump(struct segment_view *view);

#endif
