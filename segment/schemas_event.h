/*
 * segment/schemas_event.h - the event at which a change of schemas takes effect.
 *
 * Of topic `_schema`, with the payload {topic, version, mode, action, schema} (docs/format.md),
 * which follows from the catalogue's line and the text alone, byte for byte: so whoever writes the
 * log can tell it from a forged one, and whoever reads it can find it.
 */
#ifndef DAYBOOK_SEGMENT_SCHEMAS_EVENT_H
#define DAYBOOK_SEGMENT_SCHEMAS_EVENT_H

#include "segment/schemas.h"

#define SCHEMAS_EVENT_TOPIC "_schema"
/* Before the topic of an event that was stored aside (SCHEMAS_QUARANTINE). */
#define SCHEMAS_REJECTED_PREFIX "_rejected."

/*
 * Append the payload of the change's event to `payload`; `text` is empty for SCHEMAS_REMOVE.
 * ERROR_INVALID: the text is no JSON, or makes an event that no log takes: too large, too deep.
 */
enum error_code segment_schemas_event_write(const struct segment_schemas_change *change,
                                            const struct buffer *text, struct buffer *payload,
                                            struct error *error);

/*
 * Find the event of the last change in the log at `path`: behind change->after, with this payload.
 * Where the log ends before that, it is another one than the change was noted for, from a backup,
 * and is searched from its beginning.
 * ERROR_NOT_FOUND: it is not durable there. ERROR_DAMAGED: it is not in what can be read, but some
 * of what it may have been in cannot: retention has deleted it, or it is damaged or lost.
 */
enum error_code segment_schemas_event_find(const char *path,
                                           const struct segment_schemas_change *change,
                                           const struct buffer *payload, uint64_t *sequence_out,
                                           int64_t *time_out_ns, struct error *error);

#endif
