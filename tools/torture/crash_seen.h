/*
 * tools/torture/crash_seen.h - the hashes of all states that were met: a set of 64-bit numbers.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CRASH_SEEN_H
#define DAYBOOK_TOOLS_TORTURE_CRASH_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. */
struct crash_seen {
    uint64_t *slots; /* 0: free */
    size_t count, capacity;
};

/* True when it was not there. */
bool crash_seen_add(struct crash_seen *seen, uint64_t hash);
void crash_seen_free(struct crash_seen *seen);

#endif
