/*
 * indexer/typed_columns.h - the columns that a topic's JSON Schema promises.
 *
 * One for each property, in the schema's order, also of those that allOf and a local $ref bring in;
 * a property that is an object is a column of JSON text, and its own properties follow as
 * "order.id". The type is the schema's: string is TEXT, integer INTEGER, number REAL, boolean
 * BOOLEAN (1 and 0), array and object TEXT (JSON). Where it may be of several, or of any, the
 * column has no type, and values are compared as they are.
 *
 * A name that is taken already (SQL does not tell a from A, and every table has seq, ts, time …) is
 * written "payload.NAME". Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_TYPED_COLUMNS_H
#define DAYBOOK_INDEXER_TYPED_COLUMNS_H

#include "indexer/event_columns.h"

enum {
    TYPED_COLUMNS_MAX = 400,     /* what comes behind is left out */
    TYPED_COLUMNS_DEPTH_MAX = 8, /* of properties within properties, and of references */
    /* Schemas that are looked into: references to references soon name more than anybody reads. */
    TYPED_COLUMNS_LOOKS_MAX = 10000,
};

/*
 * Append the columns of a schema (core/schema.h has accepted its text). What says nothing of
 * properties adds none. ERROR_INVALID: the text is no JSON.
 */
enum error_code indexer_typed_columns_add(struct indexer_event_columns *columns, const char *json,
                                          size_t json_bytes, struct error *error);

#endif
