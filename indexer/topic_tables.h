/*
 * indexer/topic_tables.h - which topics have a table of their own, and under which name.
 *
 * Those with a schema (segment/schemas.h), and those with fields that the index keeps
 * (indexer/fields.h); topic_columns.h says what is in them. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_TOPIC_TABLES_H
#define DAYBOOK_INDEXER_TOPIC_TABLES_H

#include "indexer/host.h"

/*
 * Create the tables in the connection's temporary schema, anew where they are there already. A
 * table has its topic's name; where that is taken (events, topics …, an SQL function that gives
 * rows, or two topics that differ only in case, which SQL does not tell apart), or not allowed
 * (sqlite_…), it is "topic.NAME", or, where that is taken, too, "topic.topic.NAME" and so on. A
 * topic whose schema is damaged has none, and the host's watcher is told.
 *
 * One that is being read stays as it is, and makes this fail in the end; all the others are made.
 */
enum error_code indexer_topic_tables_create(struct indexer_host *host, struct error *error);
/* The same, when schemas or fields have changed since; cheap, when they have not. */
enum error_code indexer_topic_tables_refresh(struct indexer_host *host, struct error *error);

#endif
