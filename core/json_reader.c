/* JSON text to msgpack: the first half of core/json.h. yajl parses; its callbacks write msgpack. */
#include "core/json.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "core/event.h"
#include "core/json_memory.h"
#include "core/msgpack.h"
#include "core/utf8.h"

/* A container whose end has not come yet, so that its count is not known. */
struct open_container {
    size_t head; /* where in the output its first byte is */
    uint64_t values;
    bool is_map;
};

struct json_reader {
    locale_t c_locale; /* strtod must not take ',' for the decimal point */
    struct buffer patched;
    struct json_memory memory; /* yajl's */

    /* The text at hand. */
    const char *text; /* as the caller gave it */
    size_t text_bytes;
    const char *parsed; /* what yajl sees: text, or its patched copy */
    unsigned depth_max;
    struct buffer *out;
    msgpack_packer packer;
    struct error *error;
    enum error_code code; /* of a callback that cancelled the parse */
    unsigned depth;
    struct open_container open[MSGPACK_DEPTH_LIMIT];
};

enum error_code json_reader_create(struct json_reader **reader_out, struct error *error)
{
    struct json_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return error_set(error, ERROR_MEMORY, "no memory for a JSON reader");
    reader->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!reader->c_locale) {
        free(reader);
        return error_set(error, ERROR_MEMORY, "no memory for the C locale");
    }
    *reader_out = reader;
    return OK;
}

void json_reader_free(struct json_reader *reader)
{
    if (!reader)
        return;
    freelocale(reader->c_locale);
    buffer_release(&reader->patched);
    json_memory_release(&reader->memory);
    free(reader);
}

/* yajl's word for "stop" and "go on". */
enum { CANCEL = 0, CONTINUE = 1 };

static int refuse(struct json_reader *reader, size_t at, const char *why)
{
    reader->code =
        error_set(reader->error, ERROR_INVALID, "not usable JSON at byte %zu: %s", at, why);
    return CANCEL;
}

static int out_of_memory(struct json_reader *reader)
{
    reader->code = error_set(reader->error, ERROR_MEMORY, "no memory for %zu bytes of JSON",
                             reader->text_bytes);
    return CANCEL;
}

/* Where yajl is now. Inside callbacks it does not tell, except by the pointers that it passes. */
static size_t offset_of(const struct json_reader *reader, const void *token)
{
    const char *at = token;
    if (at >= reader->parsed && at < reader->parsed + reader->text_bytes)
        return (size_t)(at - reader->parsed);
    return 0; /* It was copied, which yajl does only to a single number, the whole text. */
}

/* Every value and key passes here first. */
static void count_value(struct json_reader *reader)
{
    if (reader->depth > 0)
        reader->open[reader->depth - 1].values++;
}

static int packed(struct json_reader *reader, int result)
{
    return result == 0 ? CONTINUE : out_of_memory(reader);
}

static int on_null(void *context)
{
    struct json_reader *reader = context;
    count_value(reader);
    return packed(reader, msgpack_pack_nil(&reader->packer));
}

static int on_boolean(void *context, int value)
{
    struct json_reader *reader = context;
    count_value(reader);
    return packed(reader,
                  value ? msgpack_pack_true(&reader->packer) : msgpack_pack_false(&reader->packer));
}

static int on_string(void *context, const unsigned char *string, size_t bytes)
{
    struct json_reader *reader = context;
    count_value(reader);
    if (bytes > UINT32_MAX)
        return refuse(reader, offset_of(reader, string), "a string has more than 4 GiB");
    if (msgpack_pack_str(&reader->packer, bytes))
        return out_of_memory(reader);
    return packed(reader, msgpack_pack_str_body(&reader->packer, string, bytes));
}

static bool parse_digits(const char *text, size_t bytes, uint64_t *value_out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *value_out = value;
    return true;
}

static int on_integer(struct json_reader *reader, const char *text, size_t bytes)
{
    bool negative = text[0] == '-';
    uint64_t magnitude;
    if (!parse_digits(text + negative, bytes - negative, &magnitude) ||
        (negative && magnitude > (uint64_t)INT64_MAX + 1)) {
        reader->code = error_set(reader->error, ERROR_INVALID,
                                 "not usable JSON at byte %zu: the integer %.*s%s does not fit "
                                 "into 64 bits",
                                 offset_of(reader, text), bytes > 40 ? 40 : (int)bytes, text,
                                 bytes > 40 ? "..." : "");
        return CANCEL;
    }
    if (negative && magnitude == 0) /* no integer keeps this sign */
        return packed(reader, msgpack_pack_double(&reader->packer, -0.0));
    if (negative)
        return packed(reader, msgpack_pack_int64(&reader->packer, (int64_t)(0 - magnitude)));
    return packed(reader, msgpack_pack_uint64(&reader->packer, magnitude));
}

/* What stood in the text where the patched copy has a number: see patch_names. */
static bool patched_double(const struct json_reader *reader, const char *number, double *value_out)
{
    if (reader->parsed == reader->text)
        return false;
    const char *original = reader->text + offset_of(reader, number);
    if (original[0] == 'N')
        *value_out = (double)NAN;
    else if (original[0] == 'I')
        *value_out = (double)INFINITY;
    else if (original[0] == '-' && original[1] == 'I')
        *value_out = -(double)INFINITY;
    else
        return false;
    return true;
}

/* Is any digit before the exponent not 0? */
static bool is_nonzero(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes && text[i] != 'e' && text[i] != 'E'; i++)
        if (text[i] >= '1' && text[i] <= '9')
            return true;
    return false;
}

static int on_double(struct json_reader *reader, const char *text, size_t bytes)
{
    /* Stops in time: behind a number yajl has seen a byte that ends it, or its own NUL. */
    double value = strtod_l(text, NULL, reader->c_locale);
    bool vanished = value == 0 && is_nonzero(text, bytes);
    if (isfinite(value) && !vanished)
        return packed(reader, msgpack_pack_double(&reader->packer, value));
    reader->code = error_set(reader->error, ERROR_INVALID,
                             "not usable JSON at byte %zu: the number %.*s%s is too %s for a "
                             "double",
                             offset_of(reader, text), bytes > 40 ? 40 : (int)bytes, text,
                             bytes > 40 ? "..." : "", vanished ? "small" : "large");
    return CANCEL;
}

static bool is_integer(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] == '.' || text[i] == 'e' || text[i] == 'E')
            return false;
    return true;
}

static int on_number(void *context, const char *text, size_t bytes)
{
    struct json_reader *reader = context;
    count_value(reader);
    double named;
    if (patched_double(reader, text, &named))
        return packed(reader, msgpack_pack_double(&reader->packer, named));
    if (is_integer(text, bytes))
        return on_integer(reader, text, bytes);
    return on_double(reader, text, bytes);
}

static int on_open(struct json_reader *reader, bool is_map)
{
    count_value(reader);
    if (reader->depth == reader->depth_max) {
        /* Not depth_max, which counts the braces of a line around the payload as well. */
        reader->code = error_set(reader->error, ERROR_INVALID,
                                 "not usable JSON: arrays and objects lie too deep inside each "
                                 "other; a payload may have %d levels",
                                 EVENT_PAYLOAD_DEPTH_MAX);
        return CANCEL;
    }
    reader->open[reader->depth++] =
        (struct open_container){.head = reader->out->size, .is_map = is_map};
    /* Most containers are small, so take one byte now and make room at the end if it must be. */
    uint8_t placeholder = 0;
    return packed(reader, buffer_append(reader->out, &placeholder, 1, NULL) ? -1 : 0);
}

/* Write the head of a container whose content is complete; 0, or -1 when memory ran out. */
static int write_head(struct json_reader *reader, const struct open_container *container)
{
    uint64_t count = container->is_map ? container->values / 2 : container->values;
    uint8_t head[5];
    size_t head_bytes = 1;
    if (count < 16) {
        head[0] = (uint8_t)((container->is_map ? 0x80 : 0x90) | count);
    } else if (count <= UINT16_MAX) {
        head[0] = container->is_map ? 0xde : 0xdc;
        head[1] = (uint8_t)(count >> 8);
        head[2] = (uint8_t)count;
        head_bytes = 3;
    } else {
        head[0] = container->is_map ? 0xdf : 0xdd;
        for (int i = 0; i < 4; i++)
            head[1 + i] = (uint8_t)(count >> (24 - 8 * i));
        head_bytes = 5;
    }
    struct buffer *out = reader->out;
    if (buffer_reserve(out, head_bytes - 1, NULL))
        return -1;
    uint8_t *at = out->data + container->head;
    memmove(at + head_bytes, at + 1, out->size - container->head - 1);
    memcpy(at, head, head_bytes);
    out->size += head_bytes - 1;
    return 0;
}

static int on_close(void *context)
{
    struct json_reader *reader = context;
    const struct open_container *container = &reader->open[--reader->depth];
    if (container->values > UINT32_MAX)
        return refuse(reader, reader->text_bytes, "an array or object has too many elements");
    return packed(reader, write_head(reader, container));
}

static int on_open_map(void *context)
{
    return on_open(context, true);
}

static int on_open_array(void *context)
{
    return on_open(context, false);
}

static const yajl_callbacks CALLBACKS = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_open_map,
    .yajl_map_key = on_string,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open_array,
    .yajl_end_array = on_close,
};

/* yajl's reason, such as "lexical error: invalid char in json text.", without its trimmings. */
static enum error_code describe_failure(const struct json_reader *reader, yajl_handle parser,
                                        size_t at)
{
    unsigned char *text = yajl_get_error(parser, 0, NULL, 0);
    const char *reason = text ? (const char *)text : "unknown reason";
    /* Most lexical errors are found by a look at the byte behind what was consumed. */
    if (at < reader->text_bytes && strncmp(reason, "lexical", 7) == 0 &&
        !strstr(reason, "invalid char in json"))
        at++;
    const char *colon = strstr(reason, ": ");
    if (colon)
        reason = colon + 2;
    bool in_string = strncmp(reason, "invalid character inside string", 31) == 0;
    if (strncmp(reason, "premature EOF", 13) == 0 || (at == reader->text_bytes && in_string))
        reason = "premature end, the text is cut off";
    else if (strncmp(reason, "trailing garbage", 16) == 0)
        reason = "something follows the value; one is expected";
    size_t length = strcspn(reason, "\n");
    if (length > 0 && reason[length - 1] == '.')
        length--;

    char shown[] = " (' ')";
    bool printable = at < reader->text_bytes && reader->text[at] > ' ' && reader->text[at] < 0x7f;
    if (printable)
        shown[3] = reader->text[at];
    error_set(reader->error, ERROR_INVALID, "not JSON at byte %zu%s: %.*s", at,
              printable ? shown : "", (int)length, reason);
    yajl_free_error(parser, text);
    return ERROR_INVALID;
}

/*
 * Tell yajl that the text is over. Its own way of doing so overlooks a string that has begun and
 * not ended, as in {}"x, but no string survives a line break.
 */
static yajl_status finish(yajl_handle parser)
{
    yajl_status status = yajl_parse(parser, (const unsigned char *)"\n", 1);
    return status == yajl_status_ok ? yajl_complete_parse(parser) : status;
}

static enum error_code run_parser(struct json_reader *reader, yajl_handle parser, size_t bytes)
{
    size_t at = reader->text_bytes;
    yajl_status status = yajl_parse(parser, (const unsigned char *)reader->parsed, bytes);
    if (status == yajl_status_error) {
        size_t consumed = yajl_get_bytes_consumed(parser);
        at = consumed > 0 ? consumed - 1 : 0;
    } else if (status == yajl_status_ok) {
        status = finish(parser);
    }
    if (status == yajl_status_error)
        return describe_failure(reader, parser, at);
    return reader->code; /* OK, unless a callback cancelled */
}

/* Let yajl parse `parsed`, which is as long as the text, or longer by white space. */
static enum error_code parse(struct json_reader *reader, const char *parsed, size_t bytes)
{
    reader->parsed = parsed;
    reader->code = OK;
    reader->depth = 0;
    bool has_escapes = memchr(parsed, '\\', bytes) != NULL;
    enum error_code code = json_memory_reserve(&reader->memory, bytes, has_escapes, reader->error);
    if (code)
        return code;
    yajl_alloc_funcs functions = json_memory_functions(&reader->memory);
    yajl_handle parser = yajl_alloc(&CALLBACKS, &functions, reader);
    /* Our own check is stricter, and was made already. */
    yajl_config(parser, yajl_dont_validate_strings, 1);
    code = run_parser(reader, parser, bytes);
    yajl_free(parser);
    json_memory_reset(&reader->memory);
    return code;
}

static bool is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '+' || c == '-' || (unsigned char)c >= 0x80;
}

/* Does `name` stand at `at`, as a word of its own? A '-' may precede Infinity, only. */
static bool is_name_at(const char *text, size_t bytes, size_t at, const char *name)
{
    size_t length = strlen(name);
    if (bytes - at < length || memcmp(text + at, name, length) != 0)
        return false;
    if (at + length < bytes && is_word_byte(text[at + length]))
        return false;
    if (at > 0 && text[at - 1] == '-' && name[0] == 'I')
        at--;
    return at == 0 || !is_word_byte(text[at - 1]);
}

/*
 * Put numbers of the same length where NaN and Infinity stand outside of strings, so that
 * offsets stay what they were and patched_double can look up the name. True when there was one.
 */
static bool patch_names(char *text, size_t bytes)
{
    bool patched = false;
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string && text[i] == '\\')
            i++;
        else if (in_string)
            continue;
        else if (is_name_at(text, bytes, i, "NaN")) {
            memcpy(text + i, "1e9", 3);
            patched = true;
        } else if (is_name_at(text, bytes, i, "Infinity")) {
            memcpy(text + i, "1e999999", 8);
            patched = true;
        }
    }
    return patched;
}

/* The text did not parse: try again without Python's names for numbers, if it has any. */
static enum error_code parse_patched(struct json_reader *reader, enum error_code refusal)
{
    reader->patched.size = 0;
    enum error_code code =
        buffer_append(&reader->patched, reader->text, reader->text_bytes, reader->error);
    /* With white space behind it yajl passes even a lone number by its place in the text. */
    if (!code)
        code = buffer_append(&reader->patched, " ", 1, reader->error);
    if (code)
        return code;
    if (!patch_names((char *)reader->patched.data, reader->text_bytes))
        return refusal;
    return parse(reader, (const char *)reader->patched.data, reader->patched.size);
}

/* The value of an escape such as \u00e9 at `at`, or -1 when there is none. */
static int unicode_escape(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    int value = 0;
    for (int i = 2; i < 6; i++) {
        int digit = bytes_hex_digit(at[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/*
 * Refuse halves of surrogate pairs: yajl writes '?' or worse for them. Backslashes are legal in
 * strings only, so it does not matter here where strings begin.
 */
static enum error_code check_surrogates(const char *text, size_t bytes, struct error *error)
{
    const char *end = text + bytes;
    const char *at = text;
    while ((at = memchr(at, '\\', (size_t)(end - at)))) {
        int value = unicode_escape(at, end);
        if (value < 0) {
            if (end - at < 2)
                return OK;
            at += 2;
            continue;
        }
        if (value >= 0xd800 && value <= 0xdfff) {
            int low = unicode_escape(at + 6, end);
            if (value > 0xdbff || low < 0xdc00 || low > 0xdfff)
                return error_set(error, ERROR_INVALID,
                                 "not usable JSON at byte %zu: the escape %.6s is half of a "
                                 "surrogate pair",
                                 (size_t)(at - text), at);
            at += 6;
        }
        at += 6;
    }
    return OK;
}

static bool is_blank(const char *text, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r'))
        i++;
    return i == bytes;
}

static enum error_code check_text(const char *text, size_t bytes, struct error *error)
{
    if (is_blank(text, bytes))
        return error_set(error, ERROR_INVALID, "not JSON: the text is empty");
    size_t valid = utf8_valid_bytes(text, bytes);
    if (valid != bytes)
        return error_set(error, ERROR_INVALID, "not JSON at byte %zu: the text is not UTF-8",
                         valid);
    return check_surrogates(text, bytes, error);
}

enum error_code json_to_msgpack(struct json_reader *reader, const char *text, size_t text_bytes,
                                unsigned depth_max, struct buffer *out, struct error *error)
{
    enum error_code code = check_text(text, text_bytes, error);
    if (code)
        return code;
    reader->text = text;
    reader->text_bytes = text_bytes;
    reader->depth_max = depth_max < MSGPACK_DEPTH_LIMIT ? depth_max : MSGPACK_DEPTH_LIMIT;
    reader->out = out;
    reader->error = error;
    msgpack_packer_to_buffer(&reader->packer, out);

    size_t size = out->size;
    code = parse(reader, text, text_bytes);
    /* Only what yajl itself refuses may be one of Python's names. */
    if (code == ERROR_INVALID && !reader->code) {
        out->size = size;
        code = parse_patched(reader, code);
    }
    if (code)
        out->size = size;
    return code;
}

bool json_is_blank(const char *text, size_t text_bytes)
{
    for (size_t i = 0; i < text_bytes; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}
