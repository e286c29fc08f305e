/*
 * indexer/topic_columns.h - the columns of one topic's table, as things are now.
 *
 * Those that its schema promises (segment/schemas.h, typed_columns.h) come first, then the fields
 * that the index keeps and the schema does not name (indexer/fields.h). Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_TOPIC_COLUMNS_H
#define DAYBOOK_INDEXER_TOPIC_COLUMNS_H

#include "indexer/event_columns.h"
#include "indexer/host.h"

/* ERROR_DAMAGED: the schema cannot be read. Runs no statement on the host's connection. */
enum error_code indexer_topic_columns_load(struct indexer_host *host, const char *topic,
                                           struct indexer_event_columns *columns_out,
                                           struct error *error);

#endif
