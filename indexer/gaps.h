/*
 * indexer/gaps.h - the rows of numbers that are missing: the table producer_gap_rows.
 *
 * A row is a range of one producer's numbers with a cause. Its place is the first event of the
 * producer behind it, or, while there is none, the event that told of it; retention takes it away
 * with that event.
 *
 * Invariants
 *   - A number that is stored is in no row, but for rows that say "and more" (below).
 *   - A producer has about INDEXER_GAPS_MAX rows at most: from then on a further range joins the
 *     newest row of its cause, which so becomes a range with stored numbers between; `missing` goes
 *     on counting, and the reason says so.
 *
 * Everything here is for slow moments: whoever numbers without gaps never comes here.
 * Internal to indexer/; needs an open transaction; one thread.
 */
#ifndef DAYBOOK_INDEXER_GAPS_H
#define DAYBOOK_INDEXER_GAPS_H

#include <sqlite3.h>

#include "core/gap.h"

enum { INDEXER_GAPS_MAX = 256 };

/* The cause of a gap of which nobody has said why it is there. */
#define INDEXER_GAP_NEVER_ARRIVED "never arrived"
/* The reason of a row that stands for more ranges than one. */
#define INDEXER_GAP_MORE "and more: there are too many gaps for a row each, and numbers between " \
                         "these are stored"

/* SQLite's integers have a sign; moved down by 2^63, numbers keep their order in them. */
static inline int64_t indexer_gaps_cell(uint64_t number)
{
    return (int64_t)(number ^ (UINT64_C(1) << 63));
}
static inline uint64_t indexer_gaps_number(int64_t cell)
{
    return (uint64_t)cell ^ (UINT64_C(1) << 63);
}

/* What is known of one producer's rows without asking. */
struct indexer_gaps_known {
    int64_t producer;     /* its id */
    uint64_t number_last; /* no row goes beyond; 0: there is none */
    uint64_t rows;
};

/* A range of numbers, and why they are missing. */
struct indexer_gaps_range {
    uint64_t first;
    uint64_t last;
    uint64_t count; /* how many of them, at most */
    const char *cause;
    const char *reason; /* not NUL-terminated */
    size_t reason_bytes;
};

/* Where a row belongs, and when it became known. */
struct indexer_gaps_place {
    uint64_t sequence;
    int64_t time_ns;
};

struct indexer_gaps;

enum error_code indexer_gaps_create(sqlite3 *database, struct indexer_gaps **gaps_out,
                                    struct error *error);
/* Accepts NULL. */
void indexer_gaps_free(struct indexer_gaps *gaps);

/* `number` is stored, and missing no longer. */
enum error_code indexer_gaps_remove(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                    uint64_t number, struct error *error);
/*
 * Those numbers of the range that are in no row are missing for its reason. Nothing is added where
 * the place has been retired. Empty ranges (last below first) are fine.
 */
enum error_code indexer_gaps_add(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                 const struct indexer_gaps_range *range,
                                 const struct indexer_gaps_place *place, struct error *error);
/* As add; and what is in rows has an event behind it now, and so that place; it keeps its time. */
enum error_code indexer_gaps_close(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                   const struct indexer_gaps_range *range,
                                   const struct indexer_gaps_place *place, struct error *error);
/* Those numbers of the range that "never arrived" are missing for its reason, now known. */
enum error_code indexer_gaps_explain(struct indexer_gaps *gaps, struct indexer_gaps_known *known,
                                     const struct indexer_gaps_range *range, int64_t time_ns,
                                     struct error *error);

#endif
