/*
 * segment/repair.h - make a damaged log writable again, without hiding what was lost.
 *
 * Every segment in which something is damaged is written anew, with all that can be read of it, its
 * sequences unchanged, and gaps (cause: damage) for what cannot; the old file is kept in
 * DIR/quarantine first, and the new one takes its name by rename, so a reader finds either. Where
 * segments are missing, one that holds nothing but a gap takes their place. What only a witness
 * knows of, behind the end, is put on record by an ordinary recovery (segment/opening.h), which
 * ends the repair and proves that a writer can go on. docs/format.md "Repair" has the rules.
 *
 * A crash at any point leaves the damage, or what is repaired already, and DIR/repair
 * (segment/intent.h), which keeps writers away until a repair has run to its end.
 */
#ifndef DAYBOOK_SEGMENT_REPAIR_H
#define DAYBOOK_SEGMENT_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct segment_repair_options {
    bool dry_run; /* only say what would be done */
    /*
     * Put on record as lost also that of which no byte is left that could be kept: missing
     * segments, an end that only a witness has seen, bytes that the device refuses.
     */
    bool accept_loss;
    uint64_t witness_sequence; /* the highest that the index has seen; 0: there is none */
    uint64_t witness_bound;    /* the lower bound as the index knows it; 0: it does not */
    const uint8_t *log_id;     /* the log's identity as the index knows it; NULL: it does not */

    /* One sentence for each thing that is (or would be) done, before it is done. */
    void (*tell)(void *context, const char *text);
    /* Now and then, while the log is checked, with the bytes done and to do. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    /*
     * The log is whole, and the repair not over: do away with what was derived from the old
     * segments (the index). Called again when it has failed, or when a crash came. May be NULL.
     */
    enum error_code (*retire)(void *context, struct error *error);
    void *context;
};

struct segment_repair_totals {
    uint64_t actions;      /* 0: there was nothing to repair */
    uint64_t events_kept;  /* in segments that were written anew */
    uint64_t events_lost;  /* put on record by this repair */
    uint64_t refused_lost; /* … of which this many need accept_loss, which was not given */
};

/*
 * Takes the locks of writer and retention; the caller has that of the indexer, if there is an
 * index. ERROR_BUSY names who must stop first. ERROR_DAMAGED: something would be lost for which
 * accept_loss is needed (totals_out is filled in, nothing was changed), or a person must decide.
 * ERROR_VERSION: a newer Daybook has written here.
 */
enum error_code segment_repair_run(const char *path, const struct segment_repair_options *options,
                                   struct segment_repair_totals *totals_out, struct error *error);

#endif
