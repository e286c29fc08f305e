#include "tools/daybook/schema_list.h"

#include <stdio.h>
#include <string.h>

#include "core/msgpack.h"
#include "segment/reader.h"
#include "tools/client/daybook.h"

static const char *const names[] = {"topic",      "state",   "version", "mode",        "since_seq",
                                    "since_time", "checked", "refused", "quarantined", "warned"};

/* ---- The daemon's counts ---- */

static uint64_t read_number(const struct msgpack_cursor *map, const char *key)
{
    struct msgpack_cursor found;
    struct msgpack_value value = {0};
    bool is_there = !msgpack_find(map, key, &found, NULL) && !msgpack_read(&found, &value, NULL) &&
                    value.kind == MSGPACK_KIND_UINT;
    return is_there ? value.unsigned_ : 0;
}

static struct schema_counts read_counts(const struct msgpack_cursor *map)
{
    return (struct schema_counts){
        .checked = read_number(map, "checked"),
        .refused = read_number(map, "refused"),
        .quarantined = read_number(map, "quarantined"),
        .warned = read_number(map, "warned"),
    };
}

bool schema_list_counts(const struct buffer *status, const char *topic,
                        struct schema_counts *counts_out)
{
    struct msgpack_cursor whole = {status->data, status->data + status->size}, found, counts;
    if (status->size == 0 ||
        msgpack_find(&whole, topic ? "schemas" : "schemas_total", &found, NULL))
        return false;
    if (topic && msgpack_find(&found, topic, &counts, NULL))
        return false;
    *counts_out = read_counts(topic ? &counts : &found);
    return true;
}

static bool is_of_log(const struct msgpack_cursor *map, const char *directory)
{
    char ours[FORMAT_LOG_ID_TEXT + 1];
    struct segment_reader *reader = NULL;
    struct msgpack_cursor found;
    struct msgpack_value value;
    if (msgpack_find(map, "log", &found, NULL) || msgpack_read(&found, &value, NULL) ||
        value.kind != MSGPACK_KIND_STR || segment_reader_open(directory, &reader, NULL))
        return false;
    segment_format_log_id_text(segment_reader_log_id(reader), ours);
    segment_reader_close(reader);
    return value.count == strlen(ours) && memcmp(value.bytes, ours, value.count) == 0;
}

void schema_list_ask(const char *directory, const char *socket, struct buffer *status)
{
    struct daybook_options options = {
        .directory = directory, .socket = socket, .client = "daybook/" DAYBOOK_VERSION};
    struct daybook *daemon = NULL;
    const void *map;
    size_t map_bytes;
    if (daybook_connect(&options, &daemon, NULL) == DAYBOOK_OK &&
        daybook_status(daemon, &map, &map_bytes, NULL) == DAYBOOK_OK) {
        struct msgpack_cursor cursor = {map, (const uint8_t *)map + map_bytes};
        if (is_of_log(&cursor, directory))
            buffer_append(status, map, map_bytes, NULL);
    }
    daybook_close(daemon);
}

/* ---- Rows ---- */

static const char *state_of(const struct segment_schemas_change *change)
{
    if (change->since == 0)
        return change->action == SCHEMAS_ADD ? "pending" : "removal pending";
    return change->action == SCHEMAS_ADD ? "in effect" : "removed";
}

static void add_numbers(struct rows *rows, const struct buffer *status, const char *topic)
{
    struct schema_counts counts;
    if (!schema_list_counts(status, topic, &counts)) {
        for (int i = 0; i < 4; i++)
            rows_null(rows);
        return;
    }
    rows_count(rows, counts.checked);
    rows_count(rows, counts.refused);
    rows_count(rows, counts.quarantined);
    rows_count(rows, counts.warned);
}

static enum error_code add_row(struct rows *rows, const struct segment_schemas_change *change,
                               const struct buffer *status, struct error *error)
{
    rows_string(rows, change->topic);
    rows_string(rows, state_of(change));
    rows_sequence(rows, change->version);
    rows_string(rows, segment_schemas_mode_name(change->mode));
    if (change->since) {
        rows_sequence(rows, change->since);
        rows_time(rows, change->time_ns);
    } else {
        rows_null(rows);
        rows_null(rows);
    }
    add_numbers(rows, status, change->topic);
    return rows_end(rows, error);
}

/* Is there no later change of the same topic? */
static bool is_last(const struct segment_schemas *schemas, size_t index)
{
    for (size_t i = index + 1; i < schemas->count; i++)
        if (strcmp(schemas->changes[i].topic, schemas->changes[index].topic) == 0)
            return false;
    return true;
}

enum error_code schema_list(const struct segment_schemas *schemas, const struct buffer *status,
                            enum rows_format format, struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code =
        rows_create(stdout, format, false, names, sizeof names / sizeof names[0], &rows, error);
    for (size_t i = 0; !code && i < schemas->count; i++)
        if (is_last(schemas, i))
            code = add_row(rows, &schemas->changes[i], status, error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}
