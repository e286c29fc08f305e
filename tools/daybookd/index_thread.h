/*
 * tools/daybookd/index_thread.h - the thread that keeps events.db up with the log.
 *
 * Whatever happens to the index is the index's trouble only (D7): it is reported, shown by
 * `daybook status`, and tried again, with a pause that grows to half a minute. The log goes on.
 * That includes an index which is ahead of the log. At the daemon's start the log itself is asked
 * (segment_log_open's witness) and the daemon does not start; should it turn up later, while the
 * log is healthy and acknowledging, then stopping would cost the producers and heal nothing, so it
 * is reported as an error, again and again, and the index stays as it is: as evidence.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_INDEX_THREAD_H
#define DAYBOOK_TOOLS_DAYBOOKD_INDEX_THREAD_H

#include <stdint.h>

#include "core/error.h"
#include "tools/daybookd/report.h"

struct index_thread;

/* `directory` and `report` are borrowed until stop. */
enum error_code index_thread_start(const char *directory, const struct report *report,
                                   struct index_thread **thread_out, struct error *error);

struct index_thread_state {
    uint64_t sequence;                             /* indexed up to here */
    char trouble[sizeof((struct error *)0)->text]; /* "" when all is well */
};
void index_thread_read(struct index_thread *thread, struct index_thread_state *state_out);

/* Finish the step that is being done, end the thread, free. Accepts NULL. */
void index_thread_stop(struct index_thread *thread);

#endif
