/*
 * indexer/aside.h - take an index out of use that describes segments which are no more.
 *
 * After a repair of the log its offsets are those of the old files, and it has rows of events that
 * are lost: a new one is built. Those rows are also the last that is known of lost events (topic,
 * time, size), so the old one is kept for a person, in DIR/quarantine.
 */
#ifndef DAYBOOK_INDEXER_ASIDE_H
#define DAYBOOK_INDEXER_ASIDE_H

#include <stddef.h>

#include "core/error.h"

/*
 * Move DIR/events.db to DIR/quarantine. `name_out` gets its name there, or "": there was none,
 * which is no error. The caller holds LOCK_INDEXER.
 */
enum error_code indexer_set_aside(int log_fd, const char *path, char *name_out, size_t name_size,
                                  struct error *error);

#endif
