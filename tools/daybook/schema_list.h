/*
 * tools/daybook/schema_list.h - `daybook schema list`: which topics have schemas, and what became
 * of their events since the daemon was started.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SCHEMA_LIST_H
#define DAYBOOK_TOOLS_DAYBOOK_SCHEMA_LIST_H

#include "core/bytes.h"
#include "segment/schemas.h"
#include "tools/daybook/rows.h"

/* Print a row for each topic that has, or had, a schema. `status` is the daemon's map, or empty. */
enum error_code schema_list(const struct segment_schemas *schemas, const struct buffer *status,
                            enum rows_format format, struct error *error);

/* A daemon's counts, of one topic or of all (topic NULL); false: it tells none. */
struct schema_counts {
    uint64_t checked, refused, quarantined, warned;
};
bool schema_list_counts(const struct buffer *status, const char *topic,
                        struct schema_counts *counts_out);
/*
 * The daemon's status, if one answers at the socket and keeps the log in `directory`; else nothing
 * is appended.
 */
void schema_list_ask(const char *directory, const char *socket, struct buffer *status);

#endif
