/*
 * tools/daybook/history.h - a log's events in order, for verbs: what is missing is said on stderr.
 *
 * A segment reader (segment/reader.h) which goes on behind damage and behind what retention has
 * deleted, tells the user about both, and remembers whether there was damage.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_HISTORY_H
#define DAYBOOK_TOOLS_DAYBOOK_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "segment/format.h"

struct history;

/* `verb` is named in messages. ERROR_NOT_FOUND: no log in `path`. */
enum error_code history_open(const char *verb, const char *path, struct history **history_out,
                             struct error *error);
/* Start with `sequence`; skip what lies wholly outside of the times (a hint: still compare). */
enum error_code history_seek(struct history *history, uint64_t sequence, int64_t since_ns,
                             int64_t until_ns, struct error *error);
/* The next event, valid until the next call. ERROR_END: no more for now. Never ERROR_DAMAGED. */
enum error_code history_next(struct history *history, struct event *event_out, struct error *error);
/* Wait for more, at most `timeout_ms`, or until a signal comes. */
void history_wait(struct history *history, int timeout_ms);
/* The last durable sequence now. */
uint64_t history_watermark(struct history *history);
/* The identity of the log. */
const uint8_t *history_log_id(const struct history *history);
/* The first sequence that retention has left. */
uint64_t history_bound(struct history *history);
/* Say that retention has deleted these sequences, which the user asked for. */
void history_tell_hole(struct history *history, uint64_t first, uint64_t last);
/* Say that these sequences are known to be lost, which is no damage any more. */
void history_tell_loss(struct history *history, const struct segment_format_gap *gap);
/* Has damage been met? */
bool history_is_damaged(const struct history *history);
/* Say damage that somebody else has met, and remember it. */
void history_tell_damage(struct history *history, const struct error *error);
void history_close(struct history *history);

#endif
