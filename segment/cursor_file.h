/*
 * segment/cursor_file.h - the files of cursors: where they are, who has one, what its slots say.
 *
 * Internal to segment/cursor*.c.
 */
#ifndef DAYBOOK_SEGMENT_CURSOR_FILE_H
#define DAYBOOK_SEGMENT_CURSOR_FILE_H

#include "segment/cursor.h"
#include "segment/cursor_slot.h"
#include "segment/subdirectory.h"

/* How often a file may be replaced, or be written just now, under our eyes before we give up. */
enum { CURSOR_FILE_TRIES_MAX = 8 };

enum error_code segment_cursor_tell_missing(const char *name, struct error *error);

/* ERROR_BUSY: somebody else uses the file. Held until it is closed. */
enum error_code segment_cursor_lock(int fd, const char *name, struct error *error);
enum error_code segment_cursor_is_locked(int fd, const char *name, bool *locked_out,
                                         struct error *error);
/* Open the file that has the name, and lock it. ERROR_NOT_FOUND, ERROR_BUSY. */
enum error_code segment_cursor_open_locked(int directory_fd, const char *name, int *fd_out,
                                           struct error *error);

/* What was found in the slots of a file. */
struct segment_cursor_found {
    bool valid; /* state and log_id are meaningful */
    bool newer;
    struct segment_cursor_state state;
    uint8_t log_id[FORMAT_LOG_ID_PUBLIC_BYTES];
};

/* ERROR_DAMAGED: the file has a size that no cursor has. */
enum error_code segment_cursor_find_kind(int fd, const char *name,
                                         enum segment_cursor_kind *kind_out, struct error *error);
/*
 * Read both slots; the newer valid one counts. `slot` has room for one; `pending_out`, for all that
 * a cursor can have, may be NULL.
 */
enum error_code segment_cursor_read_slots(int fd, const char *name, enum segment_cursor_kind kind,
                                          uint8_t *slot, struct segment_cursor_pending *pending_out,
                                          struct segment_cursor_found *found_out,
                                          struct error *error);
/* OK: it is a cursor, of this log (`log_id` NULL: of any). */
enum error_code segment_cursor_judge(const char *name, const struct segment_cursor_found *found,
                                     const uint8_t *log_id, struct error *error);

#endif
