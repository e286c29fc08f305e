/*
 * tools/daybookd/status.h - the daemon's counters, as the map of the status answer.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_STATUS_H
#define DAYBOOK_TOOLS_DAYBOOKD_STATUS_H

#include "core/bytes.h"
#include "segment/log.h"
#include "tools/daybookd/bus.h"

struct index_thread;
struct gate;

struct status {
    const struct gate *gate; /* may be NULL */
    struct segment_log *log;
    struct index_thread *index;
    const char *log_id;
    const char *directory;
    int64_t uptime_ns;
    size_t connections; /* with those who subscribe */
    struct bus_counters bus;
    uint64_t refused;     /* events */
    uint64_t closed;      /* connections, by us */
    uint64_t turned_away; /* clients */
    size_t memory_max;
};

/* Append the msgpack map whose keys docs/protocol.md lists. */
enum error_code status_write(const struct status *status, struct buffer *map, struct error *error);

#endif
