/*
 * segment/packer.h - pack whatever can be packed in a log, the oldest first.
 *
 * For the daemon, in the background, and for `daybook pack`; beside a writer, readers and
 * retention. One thread.
 */
#ifndef DAYBOOK_SEGMENT_PACKER_H
#define DAYBOOK_SEGMENT_PACKER_H

#include "segment/pack.h"

struct segment_packer_watcher {
    /* All may be NULL. Asked often; true: leave the rest. */
    bool (*stopped)(void *context);
    /* False: not this one, which was left before, and is the same still. */
    bool (*wanted)(void *context, const struct segment_set_segment *segment);
    void (*packed)(void *context, const struct segment_set_segment *segment,
                   const struct segment_pack_result *result);
    /* It stays as it is, and why. */
    void (*left)(void *context, const struct segment_set_segment *segment,
                 const struct error *why);
    void *context;
};

struct segment_packer_totals {
    uint64_t segments_packed;
    uint64_t segments_left; /* that should be packed, and could not */
    uint64_t bytes_before;  /* of those that were packed */
    uint64_t bytes_after;
};

/*
 * ERROR_BUSY: another process packs this log. What is wrong with a single segment is told to the
 * watcher and does not end the run.
 */
enum error_code segment_packer_run(const char *path, const struct segment_packer_watcher *watcher,
                                   struct segment_packer_totals *totals_out, struct error *error);
/* Only delete what a packing that was killed has left, unless somebody is packing. */
void segment_packer_clean(const char *path);

#endif
