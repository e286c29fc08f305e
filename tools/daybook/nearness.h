/*
 * tools/daybook/nearness.h - how far is one name from another that may have been meant?
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_NEARNESS_H
#define DAYBOOK_TOOLS_DAYBOOK_NEARNESS_H

#include <stddef.h>

enum {
    NEARNESS_BYTES_MAX = 255,
    NEARNESS_FAR = 3, /* from here on it is another word */
};

/* Levenshtein's distance; NEARNESS_FAR for a name that is longer than the maximum. */
size_t nearness_distance(const char *left, const char *right);

#endif
