/*
 * segment/schemas_catalogue.h - DIR/schemas/catalogue as text; internal to segment/schemas*.c.
 *
 *     daybook-schemas 1
 *     1 add door 1 reject 120 121 1757386981642318000 57 1a2b3c4d
 *     checksum 5e6f7a8b
 *
 * docs/format.md names the fields. Valid is what we would write: a text is parsed, written again
 * and compared, byte for byte.
 */
#ifndef DAYBOOK_SEGMENT_SCHEMAS_CATALOGUE_H
#define DAYBOOK_SEGMENT_SCHEMAS_CATALOGUE_H

#include "segment/schemas.h"

enum {
    SCHEMAS_LINE_BYTES_MAX = 511, /* the longest topic, and nine numbers and words of 20 bytes */
    SCHEMAS_CATALOGUE_BYTES_MAX = SCHEMAS_CHANGES_MAX * (SCHEMAS_LINE_BYTES_MAX + 1),
};

/* What to do about a catalogue that cannot be read: the end of a sentence. */
extern const char segment_schemas_way_out[];

enum error_code segment_schemas_encode(const struct segment_schemas *schemas, struct buffer *out,
                                       struct error *error);
/* ERROR_DAMAGED, ERROR_VERSION. `text` gets a NUL behind it. */
enum error_code segment_schemas_decode(struct buffer *text, struct segment_schemas *schemas_out,
                                       struct error *error);
/* Does the change fit to those before it? */
bool segment_schemas_fits(const struct segment_schemas *before,
                          const struct segment_schemas_change *change);

#endif
