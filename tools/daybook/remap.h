/*
 * tools/daybook/remap.h - topics that are given another name: --remap A:=B.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REMAP_H
#define DAYBOOK_TOOLS_DAYBOOK_REMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "core/event.h"

enum { REMAP_MAX = 64 };

struct remap {
    struct {
        const char *from; /* argv's "A:=B", whose first from_bytes are A */
        size_t from_bytes;
        const char *to;
        bool used; /* has renamed an event */
    } pairs[REMAP_MAX];
    size_t count;
};

/* Add "A:=B"; ERROR_INVALID says what is wrong with it. Borrows the text. */
enum error_code remap_add(struct remap *remap, const char *text, struct error *error);
/* Rename the event's topic where a pair says so: the first counts. */
void remap_apply(struct remap *remap, struct event *event);

#endif
