/*
 * segment/cursors.h - all cursors of a log: which there are, and what they keep from retention.
 */
#ifndef DAYBOOK_SEGMENT_CURSORS_H
#define DAYBOOK_SEGMENT_CURSORS_H

#include "segment/cursor.h"

struct segment_cursors_cursor {
    char name[SEGMENT_CURSOR_NAME_BYTES_MAX + 1];
    struct segment_cursor_look look; /* meaningful when trouble.code is OK */
    struct error trouble;            /* why it could not be read */
};

/* Zero-initialised is empty and valid. */
struct segment_cursors {
    struct segment_cursors_cursor *list; /* by name; owned */
    size_t count;
    size_t names_ignored; /* in the directory, and no cursor's */
};

/*
 * Look at each of them; a cursor that cannot be read is one with trouble. A log without any has
 * none. `log_id` NULL: of whatever log.
 */
enum error_code segment_cursors_load(int log_fd, const uint8_t *log_id,
                                     struct segment_cursors *cursors_out, struct error *error);
/* NULL: there is none of this name. */
const struct segment_cursors_cursor *segment_cursors_find(const struct segment_cursors *cursors,
                                                          const char *name);
void segment_cursors_free(struct segment_cursors *cursors);

#endif
