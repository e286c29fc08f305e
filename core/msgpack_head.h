/*
 * core/msgpack_head.h - the one decoder of heads, inline for who reads a value in some nanoseconds.
 *
 * Internal to core/: everybody else calls msgpack_read.
 */
#ifndef DAYBOOK_CORE_MSGPACK_HEAD_H
#define DAYBOOK_CORE_MSGPACK_HEAD_H

#include <string.h>

#include "core/msgpack.h"

static inline uint16_t msgpack_head_big16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t msgpack_head_big32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t msgpack_head_big64(const uint8_t *at)
{
    return (uint64_t)msgpack_head_big32(at) << 32 | msgpack_head_big32(at + 4);
}

static inline uint64_t msgpack_head_big_unsigned(const uint8_t *at, size_t size)
{
    switch (size) {
    case 1:
        return at[0];
    case 2:
        return msgpack_head_big16(at);
    case 4:
        return msgpack_head_big32(at);
    default:
        return msgpack_head_big64(at);
    }
}

static inline int64_t msgpack_head_big_signed(const uint8_t *at, size_t size)
{
    switch (size) {
    case 1:
        return (int8_t)at[0];
    case 2:
        return (int16_t)msgpack_head_big16(at);
    case 4:
        return (int32_t)msgpack_head_big32(at);
    default:
        return (int64_t)msgpack_head_big64(at);
    }
}

static inline double msgpack_head_big_real(const uint8_t *at, size_t size)
{
    if (size == 4) {
        uint32_t bits = msgpack_head_big32(at);
        float single;
        memcpy(&single, &bits, sizeof single);
        return (double)single;
    }
    uint64_t bits = msgpack_head_big64(at);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

/* The functions below return what is wrong as a text, or NULL when all is well. */

static const char MSGPACK_HEAD_TRUNCATED[] = "the data ends inside a value";

static inline void msgpack_head_set_signed(struct msgpack_value *value, int64_t number)
{
    value->kind = number < 0 ? MSGPACK_KIND_INT : MSGPACK_KIND_UINT;
    value->signed_ = number;
    value->unsigned_ = (uint64_t)number;
}

/* Integers and floats of `size` bytes behind the first byte. */
static inline const char *msgpack_head_read_number(struct msgpack_cursor *cursor,
                                                   enum msgpack_kind kind, size_t size,
                                                   struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return MSGPACK_HEAD_TRUNCATED;
    value->kind = kind;
    if (kind == MSGPACK_KIND_UINT)
        value->unsigned_ = msgpack_head_big_unsigned(cursor->at, size);
    else if (kind == MSGPACK_KIND_INT)
        msgpack_head_set_signed(value, msgpack_head_big_signed(cursor->at, size));
    else {
        value->real = msgpack_head_big_real(cursor->at, size);
        value->single = size == 4;
    }
    cursor->at += size;
    return NULL;
}

/* `count` bytes of a string, binary or extension. */
static inline const char *msgpack_head_take_bytes(struct msgpack_cursor *cursor,
                                                  enum msgpack_kind kind, uint32_t count,
                                                  struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < count)
        return "the data ends inside a string or binary";
    value->kind = kind;
    value->bytes = cursor->at;
    value->count = count;
    cursor->at += count;
    return NULL;
}

/* A string or binary whose length has `size` bytes. */
static inline const char *msgpack_head_read_bytes(struct msgpack_cursor *cursor,
                                                  enum msgpack_kind kind, size_t size,
                                                  struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return MSGPACK_HEAD_TRUNCATED;
    uint32_t count = (uint32_t)msgpack_head_big_unsigned(cursor->at, size);
    cursor->at += size;
    return msgpack_head_take_bytes(cursor, kind, count, value);
}

static inline const char *msgpack_head_take_extension(struct msgpack_cursor *cursor, uint32_t count,
                                                      struct msgpack_value *value)
{
    if (cursor->at == cursor->end)
        return MSGPACK_HEAD_TRUNCATED;
    value->ext_type = (int8_t)*cursor->at++;
    return msgpack_head_take_bytes(cursor, MSGPACK_KIND_EXT, count, value);
}

static inline const char *msgpack_head_read_extension(struct msgpack_cursor *cursor, size_t size,
                                                      struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return MSGPACK_HEAD_TRUNCATED;
    uint32_t count = (uint32_t)msgpack_head_big_unsigned(cursor->at, size);
    cursor->at += size;
    return msgpack_head_take_extension(cursor, count, value);
}

/* Every element takes a byte at least, so a larger count is a lie. */
static inline const char *msgpack_head_take_container(struct msgpack_cursor *cursor,
                                                      enum msgpack_kind kind, uint32_t count,
                                                      struct msgpack_value *value)
{
    uint64_t values = kind == MSGPACK_KIND_MAP ? 2 * (uint64_t)count : count;
    if (values > (uint64_t)(cursor->end - cursor->at))
        return "an array or map claims more elements than there are bytes";
    value->kind = kind;
    value->count = count;
    return NULL;
}

static inline const char *msgpack_head_read_container(struct msgpack_cursor *cursor,
                                                      enum msgpack_kind kind, size_t size,
                                                      struct msgpack_value *value)
{
    if ((size_t)(cursor->end - cursor->at) < size)
        return MSGPACK_HEAD_TRUNCATED;
    uint32_t count = (uint32_t)msgpack_head_big_unsigned(cursor->at, size);
    cursor->at += size;
    return msgpack_head_take_container(cursor, kind, count, value);
}

/* Heads 0xc0 to 0xdf; the rest carry their value or count in the first byte. */
static inline const char *msgpack_head_read_long(struct msgpack_cursor *cursor, uint8_t first,
                                                 struct msgpack_value *value)
{
    switch (first) {
    case 0xc0:
        value->kind = MSGPACK_KIND_NIL;
        return NULL;
    case 0xc2:
    case 0xc3:
        value->kind = MSGPACK_KIND_BOOL;
        value->boolean = first == 0xc3;
        return NULL;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return msgpack_head_read_bytes(cursor, MSGPACK_KIND_BIN, (size_t)1 << (first - 0xc4),
                                       value);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return msgpack_head_read_extension(cursor, (size_t)1 << (first - 0xc7), value);
    case 0xca:
    case 0xcb:
        return msgpack_head_read_number(cursor, MSGPACK_KIND_FLOAT, (size_t)4 << (first - 0xca),
                                        value);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return msgpack_head_read_number(cursor, MSGPACK_KIND_UINT, (size_t)1 << (first - 0xcc),
                                        value);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return msgpack_head_read_number(cursor, MSGPACK_KIND_INT, (size_t)1 << (first - 0xd0),
                                        value);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return msgpack_head_take_extension(cursor, UINT32_C(1) << (first - 0xd4), value);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return msgpack_head_read_bytes(cursor, MSGPACK_KIND_STR, (size_t)1 << (first - 0xd9),
                                       value);
    case 0xdc:
    case 0xdd:
        return msgpack_head_read_container(cursor, MSGPACK_KIND_ARRAY, (size_t)2 << (first - 0xdc),
                                           value);
    case 0xde:
    case 0xdf:
        return msgpack_head_read_container(cursor, MSGPACK_KIND_MAP, (size_t)2 << (first - 0xde),
                                           value);
    default:
        return "the byte 0xc1 is no msgpack";
    }
}

/*
 * NULL, or what is wrong. Moves the cursor also then. Of *value it sets what the kind has, and
 * nothing else.
 */
static inline const char *msgpack_head_read(struct msgpack_cursor *cursor,
                                            struct msgpack_value *value)
{
    if (cursor->at == cursor->end)
        return MSGPACK_HEAD_TRUNCATED;
    uint8_t first = *cursor->at++;
    if (first <= 0x7f) {
        value->kind = MSGPACK_KIND_UINT;
        value->unsigned_ = first;
        return NULL;
    }
    if (first <= 0x8f)
        return msgpack_head_take_container(cursor, MSGPACK_KIND_MAP, first & 0x0f, value);
    if (first <= 0x9f)
        return msgpack_head_take_container(cursor, MSGPACK_KIND_ARRAY, first & 0x0f, value);
    if (first <= 0xbf)
        return msgpack_head_take_bytes(cursor, MSGPACK_KIND_STR, first & 0x1f, value);
    if (first >= 0xe0) {
        msgpack_head_set_signed(value, (int8_t)first);
        return NULL;
    }
    return msgpack_head_read_long(cursor, first, value);
}

#endif
