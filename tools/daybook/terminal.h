/*
 * tools/daybook/terminal.h - is somebody looking, how wide, in colour; and a progress bar.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_TERMINAL_H
#define DAYBOOK_TOOLS_DAYBOOK_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Columns of the terminal behind `fd`; 0 when it is none. */
unsigned terminal_width(int fd);
/* A terminal that shows colours, whose user has not set NO_COLOR. */
bool terminal_has_colour(int fd);
/* How many bytes of UTF-8 text fit into `columns`, one column a character. */
size_t terminal_fit(const char *text, size_t text_bytes, size_t columns);

/*
 * "checking [#####.....] 47 % 12.0 MiB of 25.6 MiB", on stderr, only when that is a terminal and
 * at most ten times a second.
 */
struct terminal_progress {
    const char *what; /* "checking" */
    bool counts;      /* done and total are numbers of events, not of bytes */
    bool duration;    /* … or nanoseconds */
    bool shown;
    int64_t last_ns;
};
void terminal_progress_show(struct terminal_progress *progress, uint64_t done, uint64_t total);
/* Wipe the bar; must come before anything else is printed. */
void terminal_progress_clear(struct terminal_progress *progress);

#endif
