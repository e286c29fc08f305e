/*
 * segment/past_run.h - one file of producers that have left the table: sorted, written once, found
 * with one read.
 *
 * DIR/producers/NNNNNNNNNN, numbered from 1; docs/format.md "Producers of the past" has the bytes.
 * It is derived from the log, so nothing in it is believed before all of it was checked.
 *
 * Internal to segment/past.c. A run does not change once it is open; several threads may search it.
 */
#ifndef DAYBOOK_SEGMENT_PAST_RUN_H
#define DAYBOOK_SEGMENT_PAST_RUN_H

#include "core/bytes.h"
#include "segment/format.h"
#include "segment/producers.h"

enum {
    PAST_RUN_ENTRIES_MAX = 131072,
    PAST_RUN_NAME_BYTES = 11, /* with the NUL */
    PAST_RUN_FENCE = 512,     /* items of the directory between two that are kept in memory */
};

struct segment_past_run_head {
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    uint64_t number;       /* of this file */
    uint64_t number_first; /* of the oldest one that is needed beside it */
    uint64_t through;      /* what events below this sequence made leave is in files up to this */
    uint64_t sequence_max; /* of its entries */
    uint32_t count;
};

/* Open, checked, and searched in place. */
struct segment_past_run {
    struct segment_past_run_head head;
    char name[PAST_RUN_NAME_BYTES];
    int fd;
    uint32_t *fences; /* the hash of every PAST_RUN_FENCE-th item */
    size_t fence_count;
};

uint32_t segment_past_run_hash(const char *name, size_t name_bytes);
void segment_past_run_name(uint64_t number, char name_out[PAST_RUN_NAME_BYTES]);
/* The number of a file with this name; 0: it is none of ours. */
uint64_t segment_past_run_number(const char *name);

/*
 * Write the file so that it is whole or not there. `entries` are head->count entries, encoded as in
 * the body of a PRODUCERS block.
 */
enum error_code segment_past_run_write(int directory_fd, const struct segment_past_run_head *head,
                                       const struct buffer *entries, struct error *error);
/*
 * Open and check all of it. With `entries_out` its entries are appended there, too. ERROR_DAMAGED,
 * ERROR_FOREIGN (another log's), ERROR_VERSION, ERROR_NOT_FOUND.
 */
enum error_code segment_past_run_open(int directory_fd, uint64_t number,
                                      const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                      struct segment_past_run *run_out, struct buffer *entries_out,
                                      struct error *error);
void segment_past_run_close(struct segment_past_run *run);

/* ERROR_NOT_FOUND: it is not in there. ERROR_IO, ERROR_DAMAGED: nobody can tell. */
enum error_code segment_past_run_find(const struct segment_past_run *run, const char *name,
                                      size_t name_bytes, uint64_t *number_out,
                                      uint64_t *sequence_out, struct error *error);

#endif
