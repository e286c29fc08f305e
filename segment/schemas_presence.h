/*
 * segment/schemas_presence.h - which schemas are in effect, of all topics at once.
 *
 * A catalogue holds thousands of changes: who asks for each topic asks here, and does not go
 * through all of them each time. Plain memory; borrows the catalogue, which must stay as it is.
 */
#ifndef DAYBOOK_SEGMENT_SCHEMAS_PRESENCE_H
#define DAYBOOK_SEGMENT_SCHEMAS_PRESENCE_H

#include "segment/schemas.h"

/* What segment_schemas_present would give, one for each topic that has a schema, by topic. */
struct segment_schemas_presence {
    const struct segment_schemas_change **list;
    size_t count;
};

enum error_code segment_schemas_presence_init(const struct segment_schemas *schemas,
                                              struct segment_schemas_presence *presence_out,
                                              struct error *error);
/* NULL: the topic has no schema. */
const struct segment_schemas_change *
segment_schemas_presence_find(const struct segment_schemas_presence *presence, const char *topic);
void segment_schemas_presence_release(struct segment_schemas_presence *presence);

#endif
