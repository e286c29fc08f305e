/*
 * indexer/field_fill.h - give indexed fields the values of events that were indexed before them.
 *
 * Reads the log once more, with a reader of its own, in slices of one small transaction each, for
 * all fields that lack something at once, oldest events first. field_rows.done_seq moves in the
 * same transaction as the rows, so that a crash anywhere costs a slice. Internal to indexer/.
 *
 * The log's trouble (a disk error, damage) never fails the caller, who has newer events to index:
 * what cannot be read twice is skipped, noted in field_rows.lost_seq where it concerns an event
 * that the index has, and told; after a disk error the next try comes some seconds later.
 */
#ifndef DAYBOOK_INDEXER_FIELD_FILL_H
#define DAYBOOK_INDEXER_FIELD_FILL_H

#include "indexer/field_set.h"
#include "segment/reader.h"

/* Zero-initialised, with `path` set, is ready; release closes the reader. */
struct indexer_field_fill {
    const char *path; /* of the log; borrowed */
    struct segment_reader *reader;
    uint64_t next;    /* the reader stands before this sequence; 0: anywhere */
    uint64_t doubted; /* at this sequence damage was met once, and looked at again */
    int64_t pause_until_ns;
};

enum { INDEXER_FIELD_FILL_EVENTS = 8192 };

struct indexer_field_fill_slice {
    uint64_t events; /* that were read */
    bool more;       /* another slice can be done now */
    bool settled;    /* a field has got complete */
    char notice[sizeof((struct error *)0)->text]; /* "", or what a person should read */
};

/*
 * One slice of about INDEXER_FIELD_FILL_EVENTS events, of those from `bound` on. Not while rows
 * below a newer bound are being removed.
 */
enum error_code indexer_field_fill_some(struct indexer_field_fill *fill,
                                        struct indexer_field_set *set, uint64_t bound,
                                        struct indexer_field_fill_slice *slice_out,
                                        struct error *error);
void indexer_field_fill_release(struct indexer_field_fill *fill);

#endif
