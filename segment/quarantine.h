/*
 * segment/quarantine.h - keep damaged bytes for a person before they are cut: DIR/quarantine.
 */
#ifndef DAYBOOK_SEGMENT_QUARANTINE_H
#define DAYBOOK_SEGMENT_QUARANTINE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/*
 * Copy [offset_first, offset_end) of the open segment `fd`, called `segment_name`, into a new file
 * and make it durable. The file is named after segment and offset; `name_out` gets its name below
 * DIR/quarantine. A copy that is there already is left alone, and the new one gets a number behind
 * its name.
 */
enum error_code segment_quarantine_keep(int log_fd, int fd, const char *segment_name,
                                        uint64_t offset_first, uint64_t offset_end, char *name_out,
                                        size_t name_size, struct error *error);

#endif
