/*
 * segment/line.h - a small file of one line: a word, a sequence, a checksum.
 *
 *     lower-bound 00000000000000000001 1a2b3c4d
 *
 * The word is the file's name; the sequence has 20 digits; the checksum, of what stands before the
 * space in front of it, has 8 in hexadecimal. Replaced by rename, so it is whole after any crash.
 */
#ifndef DAYBOOK_SEGMENT_LINE_H
#define DAYBOOK_SEGMENT_LINE_H

#include <stdint.h>

#include "core/error.h"

/*
 * ERROR_NOT_FOUND; ERROR_FOREIGN: it is no regular file; ERROR_DAMAGED: it is not what store would
 * write, or the device refuses to open it or to give its bytes; ERROR_IO: something else keeps us
 * from looking (no permission, no descriptor), which is no damage.
 */
enum error_code segment_line_load(int log_fd, const char *name, uint64_t *sequence_out,
                                  struct error *error);
/* The same, but bytes that the device refuses are ERROR_IO: they may be right. */
enum error_code segment_line_load_readable(int log_fd, const char *name, uint64_t *sequence_out,
                                           struct error *error);
/* Durable on return. */
enum error_code segment_line_store(int log_fd, const char *name, uint64_t sequence,
                                   struct error *error);
/* The same, for a full disk: the file `spare` becomes it. */
enum error_code segment_line_store_by(int log_fd, const char *spare, const char *name,
                                      uint64_t sequence, struct error *error);

#endif
