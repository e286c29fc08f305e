/*
 * segment/quarantine.h - keep damaged bytes for a person before they are cut: DIR/quarantine.
 */
#ifndef DAYBOOK_SEGMENT_QUARANTINE_H
#define DAYBOOK_SEGMENT_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "segment/set.h"

/*
 * Copy [offset_first, offset_end) of the open segment `fd` (which may be O_DIRECT) into a new file
 * and make it durable. The file is named after segment and offset; `name_out` gets its name below
 * DIR/quarantine. A copy that is there already is left alone, and the new one gets a number behind
 * its name.
 */
enum error_code segment_quarantine_keep(int log_fd, int fd,
                                        const struct segment_set_segment *segment,
                                        uint64_t offset_first, uint64_t offset_end, char *name_out,
                                        size_t name_size, struct error *error);
/*
 * Was this done before for bytes from this offset on (*found_out)? Then `name_out` gets the first
 * copy's name. An error: nobody can tell.
 */
enum error_code segment_quarantine_find(int log_fd, const char *segment_name,
                                        uint64_t offset_first, bool *found_out, char *name_out,
                                        size_t name_size, struct error *error);
/*
 * Copy the whole open file `fd`, called `name`, and make the copy durable. Bytes that the device
 * refuses are zeros in the copy. A copy that is there already and is the same is used again.
 */
enum error_code segment_quarantine_keep_file(int log_fd, int fd, const char *name, char *name_out,
                                             size_t name_size, struct error *error);
/* The same of the file that has this name in `directory_fd`. */
enum error_code segment_quarantine_keep_name(int log_fd, int directory_fd, const char *name,
                                             struct error *error);
/* Was something of this name kept, or moved here, whole? An error: nobody can tell. */
enum error_code segment_quarantine_holds(int log_fd, const char *name, bool *holds_out,
                                         struct error *error);
/* Move what has this name in DIR, which is no file that could be copied. Durable on return. */
enum error_code segment_quarantine_move(int log_fd, const char *name, struct error *error);

#endif
