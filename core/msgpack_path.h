/*
 * core/msgpack_path.h - the one meaning of a path such as order.items[0]: read its text, find its
 * value in a payload.
 *
 *     user_id  order.id  items[0].price      keys joined by dots, as if "$." stood in front
 *     $.order.id  $."a key"  $[0]  $[#-1]    SQLite's JSON path; $ alone is the whole payload
 *
 * A key ends at the next '.' or '['; in double quotes it may be anything, also empty, with \" and
 * \\ for the two characters that would not fit. [N] counts from 0, [#-N] from behind the end.
 *
 * Invariants
 *   - A path is a value of fixed size: copy it, forget it. Nothing is allocated.
 *   - msgpack_path_find reads no byte outside of the payload and takes time linear in its bytes,
 *     whatever a stranger has written into it.
 *   - Only keys that are strings are found; the first of equal keys counts, as in msgpack_find.
 *
 * A guess where the key was last time would save nothing here: all values before it must be stepped
 * over anyway, and their keys be compared so that the first of equal keys counts. Therefore a path
 * does not change after parsing, and may be used by many threads.
 */
#ifndef DAYBOOK_CORE_MSGPACK_PATH_H
#define DAYBOOK_CORE_MSGPACK_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/msgpack.h"

enum {
    MSGPACK_PATH_STEPS_MAX = 32,
    MSGPACK_PATH_BYTES_MAX = 255, /* of a text, and of a canonical text */
};

enum msgpack_path_kind {
    MSGPACK_PATH_KEY,      /* of a map */
    MSGPACK_PATH_INDEX,    /* of an array, from 0 */
    MSGPACK_PATH_FROM_END, /* of an array: 1 is the last element, 0 is never there */
};

struct msgpack_path_step {
    enum msgpack_path_kind kind;
    uint32_t number;     /* INDEX, FROM_END */
    uint16_t key_offset; /* KEY: in `keys` */
    uint16_t key_bytes;
};

/* Internal: read it with the functions below. */
struct msgpack_path {
    uint32_t step_count;
    struct msgpack_path_step steps[MSGPACK_PATH_STEPS_MAX];
    char keys[MSGPACK_PATH_BYTES_MAX];
};

/*
 * Read the text of a path. ERROR_INVALID says what is wrong with it, and at which byte; control
 * characters and what is no UTF-8 are refused, so that a path always fits a line of a file.
 */
enum error_code msgpack_path_parse(const char *text, size_t text_bytes,
                                   struct msgpack_path *path_out, struct error *error);

/*
 * The one text for all paths that mean the same: keys joined by dots, quoted only where they must
 * be; with `$` in front when it does not begin with a key. Parsing it gives the path again.
 * ERROR_INVALID: quoting makes it longer than MSGPACK_PATH_BYTES_MAX.
 */
enum error_code msgpack_path_text(const struct msgpack_path *path,
                                  char text_out[MSGPACK_PATH_BYTES_MAX + 1], struct error *error);

/*
 * Find the value in one msgpack value: *found_out is a cursor from its first byte to its end.
 * ERROR_NOT_FOUND: it is not there. ERROR_INVALID: the payload is no msgpack, as far as it was
 * read. There is no text of the error: to write one would take longer than the finding.
 */
enum error_code msgpack_path_find(const struct msgpack_path *path, const void *payload,
                                  size_t payload_bytes, struct msgpack_cursor *found_out);

#endif
