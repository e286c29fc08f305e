/*
 * tools/client/wire_element.h - what frames are made of: single elements, maps, the length in
 * front. Only for the codec: wire_*.c.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_WIRE_ELEMENT_H
#define DAYBOOK_TOOLS_CLIENT_WIRE_ELEMENT_H

#include "tools/client/wire.h"

/*
 * ---- Reading. ERROR_INVALID: there is something else. `what` and `type` name the element or frame
 * in the error's text. A cursor stands behind what was read; after a failure anywhere. ----
 */

enum error_code wire_read_kind(struct msgpack_cursor *cursor, enum msgpack_kind kind,
                               const char *what, struct msgpack_value *value_out,
                               struct error *error);
enum error_code wire_read_unsigned(struct msgpack_cursor *cursor, const char *what,
                                   uint64_t *number_out, struct error *error);
enum error_code wire_read_bool(struct msgpack_cursor *cursor, const char *what, bool *bool_out,
                               struct error *error);
enum error_code wire_read_text(struct msgpack_cursor *cursor, const char *what,
                               struct wire_text *text_out, struct error *error);
/* An event's: nil is EVENT_TIME_NONE. */
enum error_code wire_read_time(struct msgpack_cursor *cursor, int64_t *time_ns_out,
                               struct error *error);

/* The value of a key that may be missing: then *text_out is left alone. */
enum error_code wire_find_text(const struct msgpack_cursor *map, const char *key,
                               struct wire_text *text_out, struct error *error);
/* The value of a key that must be there. */
enum error_code wire_find_unsigned(const struct msgpack_cursor *map, const char *key,
                                   uint64_t *number_out, struct error *error);

enum error_code wire_expect_elements(uint32_t left, uint32_t expected, const char *type,
                                     struct error *error);
enum error_code wire_expect_end(const struct msgpack_cursor *cursor, const char *type,
                                struct error *error);
/* The one element of hello, welcome, …: a valid map that ends where the frame ends. */
enum error_code wire_expect_map(const struct msgpack_cursor *cursor, uint32_t left,
                                const char *type, struct error *error);

/* ---- Writing ---- */

/*
 * Each writer first reserves the most that its frame can need; after that packing cannot fail, and
 * the packer's results need not be looked at one by one.
 */
struct wire_frame {
    struct buffer *out;
    size_t start;
    size_t end_max;
    msgpack_packer packer;
};

/* ERROR_MEMORY: the buffer is as it was. `bytes_max` is what follows the length, at most. */
enum error_code wire_frame_begin(struct wire_frame *frame, struct buffer *out, size_t bytes_max,
                                 struct error *error);
/* Always OK, so that a writer can end with it. */
enum error_code wire_frame_end(struct wire_frame *frame);
/* Set the length of the frame that begins at `start` and ends where the buffer ends. */
void wire_store_length(struct buffer *out, size_t start);

void wire_pack_text(msgpack_packer *packer, const char *text, size_t bytes);
void wire_pack_word(msgpack_packer *packer, const char *word);
void wire_pack_head(struct wire_frame *frame, uint32_t elements, const char *type);
void wire_pack_key_text(msgpack_packer *packer, const char *key, const struct wire_text *text);
void wire_pack_key_number(msgpack_packer *packer, const char *key, uint64_t number);
void wire_pack_key_bool(msgpack_packer *packer, const char *key, bool value);

#endif
