/*
 * tools/daybookd/pack_thread.h - the thread that packs segments once they are sealed.
 *
 * At low priority; looks once a second whether the log has begun a new segment. What keeps a
 * segment from being packed is reported once, and tried again with the next one: the log goes on.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_PACK_THREAD_H
#define DAYBOOK_TOOLS_DAYBOOKD_PACK_THREAD_H

#include "segment/log.h"
#include "tools/daybookd/report.h"

struct pack_thread;

/* All are borrowed until stop. */
enum error_code pack_thread_start(const char *directory, struct segment_log *log,
                                  const struct report *report, struct pack_thread **thread_out,
                                  struct error *error);
/* Leave what is being packed as it was, end the thread, free. Accepts NULL. */
void pack_thread_stop(struct pack_thread *thread);

#endif
