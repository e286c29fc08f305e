/*
 * tools/daybook/read_cursor.h - the cursor of `daybook read --cursor NAME`.
 *
 * Opened for as long as the command runs, made when it is not there. What was printed is first
 * noted and then, once it has left the process, committed: at the end, and about once a second.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_READ_CURSOR_H
#define DAYBOOK_TOOLS_DAYBOOK_READ_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct read_cursor;
struct history;

/*
 * ERROR_BUSY: somebody else uses it. ERROR_INVALID: it belongs to a group. ERROR_DAMAGED: it, or
 * the log has lost events that it has seen.
 */
enum error_code read_cursor_open(const char *directory, const char *name, struct history *history,
                                 struct read_cursor **cursor_out, struct error *error);
/* Everything up to here was committed. */
uint64_t read_cursor_position(const struct read_cursor *cursor);
/* This event was printed, or passed over as not wanted. */
void read_cursor_note(struct read_cursor *cursor, uint64_t sequence);
/* Has something been noted that should be flushed and committed now, without the log's end? */
bool read_cursor_is_due(const struct read_cursor *cursor);
/* All that was noted has been flushed: make that durable. */
enum error_code read_cursor_commit(struct read_cursor *cursor, struct error *error);
/* Accepts NULL. Commits nothing. */
void read_cursor_close(struct read_cursor *cursor);

#endif
