/*
 * tools/daybookd/line.h - what one line of the line mode says, as docs/protocol.md tells it.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_LINE_H
#define DAYBOOK_TOOLS_DAYBOOKD_LINE_H

#include "core/event.h"
#include "core/json.h"
#include "tools/client/wire.h"

struct line_said {
    struct event event;
    struct wire_expectation expected;
};

/*
 * Append the line's object to `converted`, which what it says borrows. Its shape is checked here, its
 * contents are not (event_check). ERROR_INVALID says what is wrong.
 */
enum error_code line_read(struct json_reader *json, const char *text, size_t bytes,
                          struct buffer *converted, struct line_said *said_out,
                          struct error *error);

#endif
