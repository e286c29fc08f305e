/*
 * segment/past_memory.h - producers that have left the table, until they are in a file: a run in
 * memory, with the entries as a file has them.
 *
 * Zero-initialised is empty. Internal to segment/past.c, which sees to threads.
 */
#ifndef DAYBOOK_SEGMENT_PAST_MEMORY_H
#define DAYBOOK_SEGMENT_PAST_MEMORY_H

#include "core/bytes.h"
#include "segment/producers.h"

struct segment_past_memory {
    struct buffer entries; /* as in the body of a PRODUCERS block, one a name */
    uint32_t count;
    uint64_t sequence_max;
    uint32_t *slots; /* 1 + where an entry begins; 0: free */
    size_t slot_count; /* a power of two; at most half of them are taken */
};

/* In the place of what it had of this name, if it had something. */
enum error_code segment_past_memory_put(struct segment_past_memory *memory,
                                        const struct segment_producers_entry *entry,
                                        struct error *error);
bool segment_past_memory_find(const struct segment_past_memory *memory, const char *name,
                              size_t name_bytes, uint64_t *number_out, uint64_t *sequence_out);
/* Put every entry of `entries`. */
enum error_code segment_past_memory_load(struct segment_past_memory *memory,
                                         const struct buffer *entries, struct error *error);
/* Only what a file needs: the copy finds nothing. `to` is empty. */
enum error_code segment_past_memory_copy(struct segment_past_memory *to,
                                         const struct segment_past_memory *from,
                                         struct error *error);
/* Empty it, and keep its memory. */
void segment_past_memory_clear(struct segment_past_memory *memory);
void segment_past_memory_release(struct segment_past_memory *memory);

#endif
