/*
 * tools/daybookd/ring.h - encoded events in the order of the log, as many as there is room for.
 *
 * Bytes in a circle, and for each event where it ends: so any run of events is one slice of bytes,
 * or two where the circle closes, which goes to a socket as it is, behind a small head. Who is
 * behind the oldest entry has to read the log instead.
 *
 * Invariants
 *   - Everything of the log above `before` and up to `looked` that matches is here, in order.
 *   - An entry that is `alone` is a whole frame or line of its own, and no event.
 *   - With a budget, which several rings share, a ring drops its oldest rather than grow beyond it
 *     or RING_BYTES_MAX. Without one it grows as it must, and its owner sees to it.
 *
 * One thread.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_RING_H
#define DAYBOOK_TOOLS_DAYBOOKD_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/error.h"

enum {
    RING_BYTES_MIN = 65536,
    RING_BYTES_MAX = 1 << 20, /* unless one entry alone is larger */
    RING_ENTRIES_MIN = 512,
    RING_ENTRIES_MAX = 16384,
};

struct ring_budget {
    size_t bytes_max, bytes_used;
};

struct ring_entry {
    uint64_t sequence;
    uint64_t end; /* counted from the first byte that was ever put in */
    bool alone;
};

/* Zero-initialised is empty, behind sequence 0. */
struct ring {
    struct ring_budget *budget; /* NULL: none */
    uint8_t *bytes;
    size_t capacity;
    size_t head;         /* where `begin` is in bytes */
    uint64_t begin, end; /* what is here, counted as the entries' ends are */
    struct ring_entry *entries;
    size_t first, count, entries_capacity; /* the capacity is a power of two */
    uint64_t before, looked;
};

/* Empty, at `sequence`: what is above it comes next. Keeps its memory. */
void ring_reset(struct ring *ring, uint64_t sequence);
/* Free everything. */
void ring_release(struct ring *ring);
/* Give back what only an unusually large entry needed. */
void ring_trim(struct ring *ring);

/*
 * Put in what came of `sequence`; it is above all that was looked at. Who needs no entry up to
 * `needed_above` would rather have the ring drop those than grow. ERROR_FULL: not even alone does
 * it fit into the budget. ERROR_MEMORY. After an error the ring has to be reset.
 */
enum error_code ring_append(struct ring *ring, uint64_t sequence, bool alone, const void *data,
                            size_t size, uint64_t needed_above, struct error *error);
/* Nobody needs what is at or below `sequence`. */
void ring_forget(struct ring *ring, uint64_t sequence);
/* Everything up to `sequence` was looked at; what is not here does not match. */
void ring_look(struct ring *ring, uint64_t sequence);

/* Can who has everything up to `after` go on from here? */
bool ring_reaches(const struct ring *ring, uint64_t after);
size_t ring_bytes(const struct ring *ring);
/* What is allocated for it. */
size_t ring_memory(const struct ring *ring);

struct ring_run {
    uint64_t begin, end; /* its bytes */
    uint64_t last_event;
    uint64_t last; /* looked at up to here */
    uint32_t count;      /* events; 1 when alone */
    bool alone;
};
/*
 * The run behind `after`: at most `count_max` events (1 at least) of `bytes_max` bytes, but for one
 * that is larger. False: there is none. The ring reaches `after`.
 */
bool ring_next_run(const struct ring *ring, uint64_t after, uint32_t count_max, size_t bytes_max,
                   struct ring_run *run_out);
/* All that is above `after` and up to `last`, as if it were one run; `alone` when an entry of it is.
 * The ring reaches `after` and has looked so far. */
struct ring_run ring_find_run(const struct ring *ring, uint64_t after, uint64_t last);
/* Where the bytes from `begin` to `end` are: returns how many pieces they have. */
int ring_slice(const struct ring *ring, uint64_t begin, uint64_t end, struct iovec pieces_out[2]);

#endif
