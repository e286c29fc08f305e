/*
 * segment/intent.h - DIR/repair: a repair has begun and is not finished.
 *
 * Written before a repair changes anything and removed when everything is done. While it is there
 * no writer starts. It holds the highest sequence that any witness knew when the repair began, so
 * that a witness which the repair itself does away with (the index) is not forgotten by a crash.
 */
#ifndef DAYBOOK_SEGMENT_INTENT_H
#define DAYBOOK_SEGMENT_INTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct segment_intent {
    bool there;
    bool damaged; /* it tells nothing: `witness` is 0, and was more perhaps */
    uint64_t witness;
};

/* ERROR_DAMAGED: a repair is unfinished. */
enum error_code segment_intent_check(int log_fd, struct error *error);

/* ERROR_IO: it cannot be read, so nobody knows what it says; it is not to be written over. */
enum error_code segment_intent_load(int log_fd, struct segment_intent *intent_out,
                                    struct error *error);
/* Durable on return. */
enum error_code segment_intent_store(int log_fd, uint64_t witness, struct error *error);
/* Durably gone on return. */
enum error_code segment_intent_remove(int log_fd, struct error *error);

#endif
