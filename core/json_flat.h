/*
 * core/json_flat.h - JSON text of an object of numbers, strings, booleans and nulls.
 *
 * Nearly every event is one, and a query or a replay may want millions: this writes it in one go,
 * much faster than core/json_writer.c, which decides what the text looks like and does all others.
 * Internal to core/.
 */
#ifndef DAYBOOK_CORE_JSON_FLAT_H
#define DAYBOOK_CORE_JSON_FLAT_H

#include <stdbool.h>

#include "core/bytes.h"

/*
 * Append the text of the msgpack value in `data`. False: it is not such an object, or has a string
 * with other characters than ASCII that need no escape, or is large, or there is no memory; `out`
 * is as it was.
 */
bool json_append_flat(const void *data, size_t size, bool strict, struct buffer *out);

#endif
