/*
 * tools/daybook/backward.h - a log's events from the last to the first.
 *
 * Blocks can only be found going forward, so this lists the places of a window's blocks, then opens
 * them from its end to its start, window by window. Memory: a place for each block of a window (at
 * most 64 Ki of them) and one block.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BACKWARD_H
#define DAYBOOK_TOOLS_DAYBOOK_BACKWARD_H

#include <stdint.h>

#include "segment/format.h"

struct backward;

struct backward_range {
    uint64_t sequence_first; /* the last one to be given */
    uint64_t sequence_last;  /* the first one to be given */
    int64_t since_ns;        /* blocks wholly outside of these times are skipped: a hint */
    int64_t until_ns;
};

enum error_code backward_open(const char *path, const struct backward_range *range,
                              struct backward **backward_out, struct error *error);
/*
 * The event before; valid until the next call. ERROR_END: none is left. ERROR_DAMAGED: the text
 * names what is missing, and the next call goes on before it.
 */
enum error_code backward_next(struct backward *backward, struct event *event_out,
                              struct error *error);
/*
 * Sequences that are on record as lost, among those that backward_next has passed: true once for
 * each. A long gap may come in pieces.
 */
bool backward_loss(struct backward *backward, struct segment_format_gap *gap_out);
/* Accepts NULL. */
void backward_close(struct backward *backward);

#endif
