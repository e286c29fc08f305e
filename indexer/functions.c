#include "indexer/functions.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/msgpack_path.h"
#include "core/units.h"
#include "indexer/database.h"
#include "indexer/field_value.h"
#include "indexer/topic_tables.h"

/* A JSON text, to SQLite's own JSON functions (their documentation names the value). */
enum { SUBTYPE_JSON = 'J' };

/* SQLite wants to be told of subtypes since 3.45, and may refuse them otherwise. */
#ifdef SQLITE_RESULT_SUBTYPE
enum { JSON_FLAGS = SQLITE_UTF8 | SQLITE_RESULT_SUBTYPE };
#else
enum { JSON_FLAGS = SQLITE_UTF8 };
#endif

/* The state behind one function. */
struct function {
    struct indexer_host *host;
    struct json_reader *reader; /* made by the first call that needs one */
    struct buffer json;
    struct buffer payload; /* of a JSON text that was given */
};

static void function_free(void *argument)
{
    struct function *function = argument;
    json_reader_free(function->reader);
    buffer_release(&function->json);
    buffer_release(&function->payload);
    indexer_host_release(function->host);
    free(function);
}

int indexer_functions_sql_code(enum error_code code)
{
    switch (code) {
    case ERROR_MEMORY:
        return SQLITE_NOMEM;
    case ERROR_DAMAGED:
        return SQLITE_CORRUPT;
    case ERROR_BUSY:
        return SQLITE_BUSY;
    case ERROR_CLOSED:
        return SQLITE_INTERRUPT;
    default:
        return SQLITE_ERROR;
    }
}

void indexer_functions_result_error(sqlite3_context *context, const struct error *error)
{
    sqlite3_result_error(context, error->text, -1);
    /* Keeps the text. */
    sqlite3_result_error_code(context, indexer_functions_sql_code(error->code));
}

void indexer_functions_result_json(sqlite3_context *context, const struct buffer *json)
{
    sqlite3_result_text64(context, (const char *)json->data, json->size, SQLITE_TRANSIENT,
                          SQLITE_UTF8);
    sqlite3_result_subtype(context, SUBTYPE_JSON);
}

static enum error_code result_json(sqlite3_context *context, const void *value,
                                   size_t value_bytes, struct buffer *json)
{
    struct error error;
    json->size = 0;
    /* SQLite's JSON functions do not know NaN, and would refuse the whole text. */
    enum error_code code = json_from_msgpack(value, value_bytes, JSON_STRICT, json, &error);
    if (code) {
        indexer_functions_result_error(context, &error);
        return code;
    }
    indexer_functions_result_json(context, json);
    return OK;
}

void indexer_functions_result_payload(sqlite3_context *context, struct indexer_host *host,
                                      const void *payload, size_t payload_bytes)
{
    struct error error;
    host->payload.size = 0;
    if (!result_json(context, payload, payload_bytes, &host->json) &&
        buffer_append(&host->payload, payload, payload_bytes, &error))
        host->payload.size = 0; /* Without memory it is parsed again, if need be. */
}

void indexer_functions_result_value(sqlite3_context *context, struct msgpack_cursor found,
                                    struct buffer *scratch)
{
    struct indexer_field_value value;
    struct error error;
    if (indexer_field_value_read(&found, scratch, &value, &error)) {
        indexer_functions_result_error(context, &error);
        return;
    }
    switch (value.type) {
    case FIELD_NULL:
        return;
    case FIELD_INTEGER:
        sqlite3_result_int64(context, value.integer);
        return;
    case FIELD_REAL:
        sqlite3_result_double(context, value.real);
        return;
    case FIELD_TEXT:
        sqlite3_result_text64(context, value.text, value.text_bytes, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
        if (value.text == (const char *)scratch->data)
            sqlite3_result_subtype(context, SUBTYPE_JSON);
    }
}

/* *event_out becomes NULL when there is none. */
static enum error_code find_event(struct function *function, sqlite3_int64 sequence,
                                  const struct event **event_out, struct error *error)
{
    *event_out = NULL;
    if (sequence < 1)
        return OK;
    struct indexer_host *host = function->host;
    enum error_code code = OK;
    if (!host->lookup)
        code = indexer_host_take_lookup(host, &host->lookup, error);
    if (!code)
        code = indexer_lookup_event(host->lookup, (uint64_t)sequence, event_out, error);
    return code == ERROR_NOT_FOUND ? OK : code;
}

static void payload_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
        return; /* NULL */
    struct function *function = sqlite3_user_data(context);
    sqlite3_int64 sequence = sqlite3_value_int64(argv[0]);
    const struct event *event;
    struct error error;
    if (find_event(function, sequence, &event, &error)) {
        error_prefix(&error, "payload(%lld)", (long long)sequence);
        indexer_functions_result_error(context, &error);
    } else if (event) {
        indexer_functions_result_payload(context, function->host, event->payload,
                                         event->payload_bytes);
    }
}

const struct msgpack_path *indexer_functions_path(sqlite3_context *context, sqlite3_value *text)
{
    struct msgpack_path *path = sqlite3_get_auxdata(context, 1);
    if (path)
        return path;
    struct error error;
    path = sqlite3_malloc(sizeof *path);
    if (!path) {
        sqlite3_result_error_nomem(context);
        return NULL;
    }
    const char *bytes = (const char *)sqlite3_value_text(text);
    if (!bytes || msgpack_path_parse(bytes, (size_t)sqlite3_value_bytes(text), path, &error)) {
        if (bytes) {
            error_prefix(&error, "daybook_field");
            sqlite3_result_error(context, error.text, -1);
        }
        sqlite3_free(path);
        return NULL;
    }
    sqlite3_set_auxdata(context, 1, path, sqlite3_free);
    /* SQLite may have freed it at once, when it is out of memory. */
    return sqlite3_get_auxdata(context, 1);
}

/* The payload that the first argument means; false: there is none, and the result is set. */
static bool find_payload(sqlite3_context *context, struct function *function, sqlite3_value *value,
                         const void **payload_out, size_t *bytes_out)
{
    struct error error = {0};
    if (sqlite3_value_type(value) == SQLITE_INTEGER) {
        const struct event *event;
        if (find_event(function, sqlite3_value_int64(value), &event, &error)) {
            error_prefix(&error, "daybook_field(%lld, …)", (long long)sqlite3_value_int64(value));
            indexer_functions_result_error(context, &error);
            return false;
        }
        if (!event)
            return false;
        *payload_out = event->payload;
        *bytes_out = event->payload_bytes;
        return true;
    }
    const struct indexer_host *host = function->host;
    const char *text = (const char *)sqlite3_value_text(value);
    size_t text_bytes = (size_t)sqlite3_value_bytes(value);
    if (text && host->payload.size > 0 && text_bytes == host->json.size &&
        memcmp(text, host->json.data, text_bytes) == 0) {
        *payload_out = host->payload.data;
        *bytes_out = host->payload.size;
        return true;
    }
    function->payload.size = 0;
    enum error_code code = text ? OK : error_set(&error, ERROR_MEMORY, "no memory");
    if (!code && !function->reader)
        code = json_reader_create(&function->reader, &error);
    if (!code)
        code = json_to_msgpack(function->reader, text, text_bytes, EVENT_PAYLOAD_DEPTH_MAX,
                               &function->payload, &error);
    if (code) {
        if (code != ERROR_MEMORY)
            error_prefix(&error, "daybook_field: its first argument is no JSON");
        indexer_functions_result_error(context, &error);
        return false;
    }
    *payload_out = function->payload.data;
    *bytes_out = function->payload.size;
    return true;
}

static void field_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct function *function = sqlite3_user_data(context);
    const void *payload;
    size_t payload_bytes;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL || sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return; /* NULL */
    const struct msgpack_path *path = indexer_functions_path(context, argv[1]);
    if (!path || !find_payload(context, function, argv[0], &payload, &payload_bytes))
        return;
    struct msgpack_cursor found;
    enum error_code code = msgpack_path_find(path, payload, payload_bytes, &found);
    if (!code)
        indexer_functions_result_value(context, found, &function->json);
    else if (code != ERROR_NOT_FOUND)
        sqlite3_result_error(context, "daybook_field: the payload is no msgpack", -1);
}

static void time_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    const char *text = (const char *)sqlite3_value_text(argv[0]);
    if (!text)
        return; /* NULL */
    int64_t time_ns;
    struct error error;
    if (units_parse_time(text, (size_t)sqlite3_value_bytes(argv[0]), UNITS_UTC,
                         clock_realtime_ns(), &time_ns, &error)) {
        error_prefix(&error, "daybook_time");
        sqlite3_result_error(context, error.text, -1);
        return;
    }
    sqlite3_result_int64(context, time_ns);
}

/*
 * Making tables within a function is no more than what a program may do between two steps of a
 * statement; none of ours may be in use, which SQLite checks.
 */
static void refresh_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    struct function *function = sqlite3_user_data(context);
    struct error error;
    if (indexer_topic_tables_refresh(function->host, &error)) {
        error_prefix(&error, "daybook_refresh");
        indexer_functions_result_error(context, &error);
    }
}

static const struct {
    const char *name;
    int arguments;
    int flags;
    void (*call)(sqlite3_context *context, int argc, sqlite3_value **argv);
} functions[] = {
    {"payload", 1, JSON_FLAGS, payload_call},
    {"daybook_payload", 1, JSON_FLAGS, payload_call},
    {"daybook_field", 2, JSON_FLAGS, field_call},
    {"daybook_refresh", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, refresh_call},
    /* Within a statement, now is now; but no schema may be built upon it. */
    {"daybook_time", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, time_call},
};

enum error_code indexer_functions_attach(struct indexer_host *host, struct error *error)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        struct function *function = calloc(1, sizeof *function);
        if (!function)
            return error_set(error, ERROR_MEMORY, "no memory for SQL functions");
        function->host = indexer_host_retain(host);
        /* SQLite calls function_free with the connection's end, and also when this call fails. */
        int result = sqlite3_create_function_v2(host->database, functions[i].name,
                                                functions[i].arguments, functions[i].flags,
                                                function, functions[i].call, NULL, NULL,
                                                function_free);
        if (result)
            return indexer_database_error(host->database, result, error);
    }
    return OK;
}
