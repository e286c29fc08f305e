/*
 * tools/daybook/together.h - copies of events that are to be published at once.
 *
 * Zero-initialised is empty; release frees.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_TOGETHER_H
#define DAYBOOK_TOOLS_DAYBOOK_TOGETHER_H

#include "core/bytes.h"
#include "core/event.h"

struct together {
    struct buffer bytes; /* topics and payloads, one behind the other */
    struct event *events; /* without pointers, until together_events */
    size_t count, capacity;
};

/* ERROR_FULL: more than can be published at once. */
enum error_code together_add(struct together *together, const struct event *event,
                             struct error *error);
/* All of them, valid until the next call. */
const struct event *together_events(struct together *together);
void together_release(struct together *together);

#endif
