/*
 * tools/torture/order.h - is each event on the disk before it is called durable?
 *
 * A table for core/file_calls.h that wraps another one and watches the order of calls. When
 * everything up to a sequence is called durable, then for each event
 *
 *   - the last byte of its block was written, and that write had returned,
 *   - before an fdatasync of its file began that has succeeded since,
 *   - and the file's name was synced: the rename had returned before an fsync of the directory
 *     began that has succeeded since; and so for the directories that were made on the way.
 *
 * That an fdatasync happened at some time is not enough: it must have begun after the write.
 *
 * It asks how far the log is whenever a call begins, on the thread that makes it: a log that says
 * "durable" first and syncs afterwards is caught by the sync. The log must be new when it starts:
 * what it did not see written it does not believe in. The process's, as the table is.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_ORDER_H
#define DAYBOOK_TOOLS_TORTURE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/file_calls.h"

struct order_start {
    const struct file_calls *inner;
    /* The last sequence that is called durable; 0: nothing yet. Must not make calls. */
    uint64_t (*durable)(void *context);
    void *context;
};
const struct file_calls *order_start(const struct order_start *start);
/* Somebody has heard that everything up to here is durable. */
void order_check(uint64_t sequence);
/* Give everything back; the table must not be in force any more. */
void order_stop(void);

struct order_counts {
    uint64_t events; /* called durable, and checked */
    uint64_t syncs;
    uint64_t segments;
    uint64_t violations;
    char first_violation[256];
};
void order_count(struct order_counts *counts_out);

#endif
