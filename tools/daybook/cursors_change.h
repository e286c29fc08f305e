/*
 * tools/daybook/cursors_change.h - move a cursor, let it hold retention, remove it: what `daybook
 * cursors` does besides listing.
 *
 * Refused while somebody uses the cursor. Each change is said on stdout, one line a cursor.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_CURSORS_CHANGE_H
#define DAYBOOK_TOOLS_DAYBOOK_CURSORS_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

enum cursors_target { CURSORS_EARLIEST, CURSORS_LATEST, CURSORS_SEQUENCE, CURSORS_TIME };

struct cursors_request {
    bool reset, hold, remove; /* none: list */
    bool dry_run;
    enum cursors_target target;
    uint64_t sequence; /* CURSORS_SEQUENCE: everything up to here counts as done */
    int64_t time_ns;   /* CURSORS_TIME: everything before the first event of this time or later */
    uint64_t hold_bytes; /* 0: off */
};

struct segment_reader;

/* Do it to one cursor of the log in `directory`, which `reader` reads. */
enum error_code cursors_change(const char *directory, struct segment_reader *reader,
                               const char *name, const struct cursors_request *request,
                               struct error *error);

#endif
