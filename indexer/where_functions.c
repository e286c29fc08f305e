#include "indexer/where_functions.h"

#include <string.h>
#include <strings.h>

#include "core/units.h"
#include "indexer/database.h"
#include "indexer/functions.h"

static const char *const allowed[] = {
    "->", "->>", "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil",
    "ceiling", "char", "coalesce", "concat", "cos", "cosh", "daybook_field",
    "daybook_time", "degrees", "exp", "floor", "glob", "hex", "if", "ifnull", "iif",
    "instr", "json", "json_array_length", "json_extract", "json_type", "json_valid", "length",
    "like", "likelihood", "likely", "ln", "log", "log10", "log2", "lower", "max", "min", "mod",
    "nullif", "octet_length", "pi", "pow", "power", "radians", "round", "sign",
    "sin", "sinh", "sqrt", "substr", "substring", "tan", "tanh", "trunc", "typeof", "unhex",
    "unicode", "unlikely", "upper",
};

static const char *const of_the_clock[] = {
    "current_date", "current_time", "current_timestamp", "date", "datetime", "julianday",
    "strftime", "time", "timediff", "unixepoch",
};

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

enum error_code indexer_where_functions_check(const char *name, struct error *error)
{
    if (is_among(name, allowed, sizeof allowed / sizeof allowed[0]))
        return OK;
    if (is_among(name, of_the_clock, sizeof of_the_clock / sizeof of_the_clock[0]))
        return error_set(error, ERROR_INVALID,
                         "%s() may ask the clock, and a condition must give the same answer at any "
                         "time; compare time, or ts, as in ts >= daybook_time('2026-01-02 03:04')",
                         name);
    return error_set(error, ERROR_INVALID, "the function %s() is not to be had in a condition",
                     name);
}

/* NULL: it is SQL's NULL, and so is the answer; or there is no memory, which is told. */
static const char *text_of(sqlite3_context *context, sqlite3_value *value)
{
    const char *text = (const char *)sqlite3_value_text(value);
    if (!text && sqlite3_value_type(value) != SQLITE_NULL)
        sqlite3_result_error_nomem(context);
    return text;
}

/* Without a result set, it is NULL's: the empty text. */
static void hex_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    static const char digits[] = "0123456789ABCDEF";
    (void)argc;
    struct indexer_where_event *at = sqlite3_user_data(context);
    struct error error;
    const uint8_t *bytes = sqlite3_value_blob(argv[0]);
    size_t count = (size_t)sqlite3_value_bytes(argv[0]);
    if (!indexer_where_event_spend_text(at, context, 2 * (uint64_t)count, INDEXER_WHERE_TEXT_COST))
        return;
    if (count > 0 && !bytes) {
        sqlite3_result_error_nomem(context);
        return;
    }
    at->scratch.size = 0;
    if (buffer_reserve(&at->scratch, 2 * count, &error)) {
        indexer_functions_result_error(context, &error);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        at->scratch.data[at->scratch.size++] = (uint8_t)digits[bytes[i] >> 4];
        at->scratch.data[at->scratch.size++] = (uint8_t)digits[bytes[i] & 15];
    }
    sqlite3_result_text64(context, count ? (const char *)at->scratch.data : "", 2 * count,
                          SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void several_paths_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    sqlite3_result_error(context, "json_extract() takes one path in a condition", -1);
}

/* Each place in the text may be tried with each byte of the pattern. */
static bool spend_product(sqlite3_context *context, sqlite3_value *pattern, sqlite3_value *text)
{
    return indexer_where_event_spend(sqlite3_user_data(context), context,
                                     (uint64_t)sqlite3_value_bytes(pattern) *
                                         (uint64_t)sqlite3_value_bytes(text));
}

/* ESCAPE 'c': one character, in which sqlite3_strlike counts code points. */
static bool read_escape(sqlite3_context *context, sqlite3_value *value, unsigned *escape_out)
{
    const char *text = text_of(context, value);
    if (!text)
        return false;
    size_t characters = 0;
    for (const char *at = text; *at; at++)
        characters += (*at & 0xc0) != 0x80;
    if (characters != 1 || (text[0] & 0x80)) {
        sqlite3_result_error(context, "ESCAPE expression must be a single ASCII character", -1);
        return false;
    }
    *escape_out = (unsigned char)text[0];
    return true;
}

static void like_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    unsigned escape = 0;
    const char *pattern = text_of(context, argv[0]);
    const char *text = pattern ? text_of(context, argv[1]) : NULL;
    if (!text || (argc == 3 && !read_escape(context, argv[2], &escape)) ||
        !spend_product(context, argv[0], argv[1]))
        return;
    sqlite3_result_int(context, sqlite3_strlike(pattern, text, escape) == 0);
}

static void glob_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    const char *pattern = text_of(context, argv[0]);
    const char *text = pattern ? text_of(context, argv[1]) : NULL;
    if (text && spend_product(context, argv[0], argv[1]))
        sqlite3_result_int(context, sqlite3_strglob(pattern, text) == 0);
}

/* Counted in characters, except within blobs. memmem's time grows with the sum of the lengths. */
static void instr_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    bool blobs = sqlite3_value_type(argv[0]) == SQLITE_BLOB &&
                 sqlite3_value_type(argv[1]) == SQLITE_BLOB;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL || sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return;
    const char *hay = blobs ? sqlite3_value_blob(argv[0]) : text_of(context, argv[0]);
    const char *needle = blobs ? sqlite3_value_blob(argv[1]) : text_of(context, argv[1]);
    size_t hay_bytes = (size_t)sqlite3_value_bytes(argv[0]);
    size_t needle_bytes = (size_t)sqlite3_value_bytes(argv[1]);
    if (!blobs && (!hay || !needle))
        return;
    if (!indexer_where_event_spend(sqlite3_user_data(context), context, hay_bytes + needle_bytes))
        return;
    const char *found = needle_bytes ? memmem(hay, hay_bytes, needle, needle_bytes) : hay;
    int position = found || needle_bytes == 0;
    for (const char *at = hay; found && at < found; at++)
        position += blobs || (*at & 0xc0) != 0x80;
    sqlite3_result_int(context, position);
}

static void time_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    const struct indexer_where_event *at = sqlite3_user_data(context);
    int64_t time_ns;
    struct error error;
    const char *text = text_of(context, argv[0]);
    if (!text)
        return;
    if (units_parse_time(text, (size_t)sqlite3_value_bytes(argv[0]), UNITS_UTC, at->now_ns,
                         &time_ns, &error)) {
        error_prefix(&error, "daybook_time");
        sqlite3_result_error(context, error.text, -1);
        return;
    }
    sqlite3_result_int64(context, time_ns);
}

/* The payload that a JSON text says; that of the event, when it is its text. */
static enum error_code read_json(struct indexer_where_event *at, const char *text, size_t bytes,
                                 const void **payload_out, size_t *bytes_out, struct error *error)
{
    if (bytes == at->json.size && bytes && memcmp(text, at->json.data, bytes) == 0) {
        *payload_out = at->event->payload;
        *bytes_out = at->event->payload_bytes;
        return OK;
    }
    at->parsed.size = 0;
    enum error_code code = at->reader ? OK : json_reader_create(&at->reader, error);
    if (!code)
        code = json_to_msgpack(at->reader, text, bytes, EVENT_PAYLOAD_DEPTH_MAX, &at->parsed,
                               error);
    *payload_out = at->parsed.data;
    *bytes_out = at->parsed.size;
    return code;
}

/* As indexer/functions.h says; of sequences there is only the event's own. */
static void field_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct indexer_where_event *at = sqlite3_user_data(context);
    const void *payload = at->event->payload;
    size_t payload_bytes = at->event->payload_bytes;
    struct msgpack_cursor found;
    struct error error;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL || sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return;
    const struct msgpack_path *path = indexer_functions_path(context, argv[1]);
    if (!path)
        return;
    if (sqlite3_value_type(argv[0]) != SQLITE_INTEGER) {
        const char *text = text_of(context, argv[0]);
        if (!text || !indexer_where_event_spend_text(at, context,
                                                     (uint64_t)sqlite3_value_bytes(argv[0]),
                                                     INDEXER_WHERE_TEXT_COST))
            return;
        if (read_json(at, text, (size_t)sqlite3_value_bytes(argv[0]), &payload, &payload_bytes,
                      &error)) {
            if (error.code != ERROR_MEMORY)
                error_prefix(&error, "daybook_field: its first argument is no JSON");
            indexer_functions_result_error(context, &error);
            return;
        }
    } else if ((uint64_t)sqlite3_value_int64(argv[0]) != at->event->sequence) {
        sqlite3_result_error(context, "daybook_field: a condition sees one event: say payload", -1);
        return;
    }
    if (indexer_where_event_spend(at, context, payload_bytes) &&
        !msgpack_path_find(path, payload, payload_bytes, &found) &&
        indexer_where_event_spend_text(at, context, (uint64_t)(found.end - found.at),
                                       INDEXER_WHERE_TEXT_COST))
        indexer_functions_result_value(context, found, &at->scratch);
}

static const struct {
    const char *name;
    int arguments;
    void (*call)(sqlite3_context *context, int argc, sqlite3_value **argv);
    bool constant; /* of constants it is asked once, and not for each event */
} functions[] = {
    {"like", 2, like_call, true},         {"like", 3, like_call, true},
    {"glob", 2, glob_call, true},         {"instr", 2, instr_call, true},
    {"daybook_time", 1, time_call, true}, {"daybook_field", 2, field_call, false},
    {"hex", 1, hex_call, true},
};

static int attach(sqlite3 *database, struct indexer_where_event *at, size_t i)
{
    int flags = SQLITE_UTF8 | (functions[i].constant ? SQLITE_DETERMINISTIC : 0);
    return sqlite3_create_function_v2(database, functions[i].name, functions[i].arguments, flags,
                                      at, functions[i].call, NULL, NULL, NULL);
}

/* One path is SQLite's own business: the function with the right number of arguments is taken. */
static int attach_refusals(sqlite3 *database)
{
    int result = SQLITE_OK;
    for (int arguments = 3; !result && arguments <= INDEXER_WHERE_ARGUMENTS_MAX; arguments++)
        result = sqlite3_create_function_v2(database, "json_extract", arguments,
                                            SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                            several_paths_call, NULL, NULL, NULL);
    return result;
}

enum error_code indexer_where_functions_attach(sqlite3 *database, struct indexer_where_event *at,
                                               struct error *error)
{
    int result = attach_refusals(database);
    for (size_t i = 0; !result && i < sizeof functions / sizeof functions[0]; i++)
        result = attach(database, at, i);
    return result ? indexer_database_error(database, result, error) : OK;
}
