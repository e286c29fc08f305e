/*
 * core/msgpack.h - msgpack values from strangers: check them, walk them, write them.
 *
 * Writing is msgpack-c's packer (msgpack_pack_*), into a struct buffer. Checking and walking are
 * ours: msgpack-c's unpacker builds a tree, whose size a hostile sender chooses
 * (docs/decisions/). Nothing here recurses, allocates per value, or trusts a count:
 * each array, map, string and binary length is compared with the bytes that remain.
 */
#ifndef DAYBOOK_CORE_MSGPACK_H
#define DAYBOOK_CORE_MSGPACK_H

#include <msgpack/pack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"

/* No more containers inside each other than this, whatever `depth_max` a caller gives. */
enum { MSGPACK_DEPTH_LIMIT = 128 };

/*
 * Check that `data` is exactly one value: complete, no byte left over, no reserved code (0xc1),
 * strings of valid UTF-8, at most `depth_max` containers inside each other. One pass.
 */
enum error_code msgpack_check(const void *data, size_t size, unsigned depth_max,
                              struct error *error);

/* As msgpack_check, for the first value of `data`; *size_out is where it ends. */
enum error_code msgpack_check_prefix(const void *data, size_t size, unsigned depth_max,
                                     size_t *size_out, struct error *error);

enum msgpack_kind {
    MSGPACK_KIND_NIL,
    MSGPACK_KIND_BOOL,
    MSGPACK_KIND_UINT, /* >= 0 */
    MSGPACK_KIND_INT,  /* < 0 */
    MSGPACK_KIND_FLOAT,
    MSGPACK_KIND_STR,
    MSGPACK_KIND_BIN,
    MSGPACK_KIND_EXT,
    MSGPACK_KIND_ARRAY,
    MSGPACK_KIND_MAP,
};

/* The head of one value: scalars whole, strings by reference, containers by their count. */
struct msgpack_value {
    enum msgpack_kind kind;
    bool boolean;
    bool single;        /* FLOAT came as 32 bits */
    uint64_t unsigned_; /* UINT */
    int64_t signed_;    /* INT */
    double real;        /* FLOAT */
    const void *bytes;  /* STR, BIN, EXT: borrowed from the cursor's data */
    uint32_t count;     /* bytes of STR, BIN, EXT; elements of ARRAY; pairs of MAP */
    int8_t ext_type;
};

/* A position in msgpack bytes. Reading past the end or a malformed value is ERROR_INVALID. */
struct msgpack_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

/*
 * Read one head and step past it; a container's elements follow as values of their own.
 * Text is not checked for UTF-8 here. After a failure the cursor stands where it stood.
 */
enum error_code msgpack_read(struct msgpack_cursor *cursor, struct msgpack_value *value_out,
                             struct error *error);
/* Step over one whole value, with everything inside it. */
enum error_code msgpack_skip(struct msgpack_cursor *cursor, struct error *error);
/*
 * The same, for at most *values_left values in all, which are counted down; ERROR_FULL: there are
 * more. For who cannot spend the time that a million values take.
 */
enum error_code msgpack_skip_within(struct msgpack_cursor *cursor, uint64_t *values_left,
                                    struct error *error);
/*
 * In a map at the cursor's position (not moved), find the value of the string key `key`:
 * *found_out is a cursor from that value to the value's end. ERROR_NOT_FOUND when it is not a map
 * or has no such key; the first of equal keys counts.
 */
enum error_code msgpack_find(const struct msgpack_cursor *cursor, const char *key,
                             struct msgpack_cursor *found_out, struct error *error);

/*
 * A msgpack-c packer that appends to `buffer`: msgpack_pack_*(&packer, …) return 0, or -1 when
 * memory ran out.
 */
void msgpack_packer_to_buffer(msgpack_packer *packer, struct buffer *buffer);
/* A text that ends in NUL, as str. */
static inline int msgpack_pack_text(msgpack_packer *packer, const char *text)
{
    return msgpack_pack_str_with_body(packer, text, strlen(text));
}

#endif
