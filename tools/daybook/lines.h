/*
 * tools/daybook/lines.h - the lines of a file or of stdin, in bounded memory.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_LINES_H
#define DAYBOOK_TOOLS_DAYBOOK_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { LINES_BYTES_MAX = 16 << 20 };

struct line {
    const char *text; /* without its newline; not NUL-terminated; valid until the next call */
    size_t bytes;
    uint64_t number; /* from 1 */
    bool too_long;   /* more than LINES_BYTES_MAX: its text was passed over */
};

struct lines;

/* "-" is stdin. */
enum error_code lines_open(const char *path, struct lines **lines_out, struct error *error);
/* The next line. ERROR_END: no more, or the user interrupted (interrupt_seen). */
enum error_code lines_next(struct lines *lines, struct line *line_out, struct error *error);
/* Is the next line here already? If not, lines_next may wait for somebody to write it. */
bool lines_ready(const struct lines *lines);
/* The number of the last line that was given; 0: none. */
uint64_t lines_given(const struct lines *lines);
/*
 * Have all lines been given? Reads on when that does not mean waiting for somebody to write; where
 * it would, and after an error, the answer is no.
 */
bool lines_ended(struct lines *lines);
/* Accepts NULL. */
void lines_close(struct lines *lines);

#endif
