/*
 * indexer/event_table.h - the virtual tables of events: `events`, and one for each typed topic.
 *
 *     CREATE VIRTUAL TABLE temp.events USING daybook_events
 *     CREATE VIRTUAL TABLE temp.signal_generated USING daybook_events(signal_generated)
 *
 * Rows come from the index (event_rows.h), what is in payloads from the log (lookup.h), block by
 * block, and only when a row's payload or field is asked for. So a query sees what the index has:
 * durable events, in one snapshot, whatever the daemon writes meanwhile. An event that retention
 * deletes while the query runs has no payload then (NULL), like a damaged one for who has a
 * watcher, or, where the query goes through the log itself (event_scan.h), no row. Without a
 * watcher damage is an error, SQLITE_CORRUPT, that names segment and offset.
 *
 * Read-only. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_EVENT_TABLE_H
#define DAYBOOK_INDEXER_EVENT_TABLE_H

#include "indexer/host.h"

/* Make the module known to the host's connection; it takes a reference. */
enum error_code indexer_event_table_register(struct indexer_host *host, struct error *error);

#endif
