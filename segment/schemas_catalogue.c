#include "segment/schemas_catalogue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"

static const char first_line[] = "daybook-schemas 1\n";
static const char first_word[] = "daybook-schemas ";
enum { CHECKSUM_LINE_BYTES = 18 };

const char segment_schemas_way_out[] =
    "put schemas/catalogue back from a backup, or move the directory schemas away, to go on "
    "without any schema (the events of topic _schema tell what it held)";

static enum error_code append_line(struct buffer *out, const struct segment_schemas_change *change,
                                   struct error *error)
{
    return buffer_printf(
        out, error,
        "%" PRIu64 " %s %s %" PRIu32 " %s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu32
        " %08" PRIx32 "\n",
        change->number, segment_schemas_action_name(change->action), change->topic, change->version,
        segment_schemas_mode_name(change->mode), change->after, change->since, change->time_ns,
        change->text_bytes, change->text_checksum);
}

static enum error_code append_checksum(struct buffer *out, struct error *error)
{
    return buffer_printf(out, error, "checksum %08" PRIx32 "\n",
                         checksum_extend(0, out->data, out->size));
}

enum error_code segment_schemas_encode(const struct segment_schemas *schemas, struct buffer *out,
                                       struct error *error)
{
    enum error_code code = buffer_append(out, first_line, sizeof first_line - 1, error);
    for (size_t i = 0; !code && i < schemas->count; i++)
        code = append_line(out, &schemas->changes[i], error);
    return code ? code : append_checksum(out, error);
}

/* sscanf measures all that it is given: a line at a time, or a long catalogue takes for ever. */
static bool parse_line(const char *line, struct segment_schemas_change *change_out)
{
    struct segment_schemas_change change = {0};
    char action[8], mode[12];
    if (sscanf(line,
               "%" SCNu64 " %7s %255s %" SCNu32 " %11s %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNu32
               " %8" SCNx32,
               &change.number, action, change.topic, &change.version, mode, &change.after,
               &change.since, &change.time_ns, &change.text_bytes, &change.text_checksum) != 10)
        return false;
    change.action = strcmp(action, "add") == 0 ? SCHEMAS_ADD : SCHEMAS_REMOVE;
    if (!segment_schemas_mode_find(mode, &change.mode) ||
        event_check_topic(change.topic, strlen(change.topic), NULL))
        return false;
    *change_out = change;
    return true;
}

/* A checksum says nothing about who wrote the file. */
bool segment_schemas_fits(const struct segment_schemas *before,
                          const struct segment_schemas_change *change)
{
    const struct segment_schemas_change *last =
        before->count ? &before->changes[before->count - 1] : NULL;
    if (change->number != before->count + 1 || change->version == 0 ||
        change->text_bytes > SCHEMAS_TEXT_BYTES_MAX || change->after >= EVENT_SEQUENCE_END ||
        change->since >= EVENT_SEQUENCE_END || (change->since && change->since <= change->after))
        return false;
    /* Sequences need not ascend: a log may be younger than its catalogue, from an older backup. */
    return !last || last->since != 0;
}

/* `text` ends in NUL. */
static bool parse(const char *text, size_t lines, struct segment_schemas *schemas)
{
    const char *at = text + sizeof first_line - 1;
    for (size_t i = 0; i < lines; i++) {
        struct segment_schemas_change change;
        char line[SCHEMAS_LINE_BYTES_MAX + 1];
        const char *end = strchr(at, '\n');
        if (!end || end - at > SCHEMAS_LINE_BYTES_MAX)
            return false; /* a NUL stands before it, or we would not write it */
        memcpy(line, at, (size_t)(end - at));
        line[end - at] = '\0';
        if (!parse_line(line, &change) || !segment_schemas_fits(schemas, &change))
            return false;
        schemas->changes[schemas->count++] = change;
        at = end + 1;
    }
    return true;
}

static size_t count_lines(const struct buffer *text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text->size; i++)
        lines += text->data[i] == '\n';
    return lines;
}

/* The first word and the last line are those of every version, now and later. */
static bool is_whole(const struct buffer *text)
{
    char last[CHECKSUM_LINE_BYTES + 1];
    if (text->size < sizeof first_word - 1 + CHECKSUM_LINE_BYTES ||
        memcmp(text->data, first_word, sizeof first_word - 1) != 0)
        return false;
    size_t covered = text->size - CHECKSUM_LINE_BYTES;
    snprintf(last, sizeof last, "checksum %08" PRIx32 "\n",
             checksum_extend(0, text->data, covered));
    return memcmp(text->data + covered, last, CHECKSUM_LINE_BYTES) == 0;
}

static enum error_code refuse(struct error *error)
{
    return error_set(error, ERROR_DAMAGED, "schemas/catalogue is damaged: %s",
                     segment_schemas_way_out);
}

/* Valid is what we would write. */
static enum error_code check_again(const struct buffer *text, const struct segment_schemas *schemas,
                                   struct error *error)
{
    struct buffer again = {0};
    enum error_code code = segment_schemas_encode(schemas, &again, error);
    /* Behind `text` stands a NUL. */
    if (!code &&
        (again.size + 1 != text->size || memcmp(again.data, text->data, again.size) != 0))
        code = refuse(error);
    buffer_release(&again);
    return code;
}

enum error_code segment_schemas_decode(struct buffer *text, struct segment_schemas *schemas_out,
                                       struct error *error)
{
    if (!is_whole(text))
        return refuse(error);
    if (memcmp(text->data, first_line, sizeof first_line - 1) != 0)
        return error_set(error, ERROR_VERSION,
                         "schemas/catalogue was written by a newer Daybook: use that one");
    size_t lines = count_lines(text) - 2;
    if (lines > SCHEMAS_CHANGES_MAX)
        return refuse(error);
    struct segment_schemas schemas = {calloc(lines + 1, sizeof *schemas.changes), 0};
    enum error_code code = schemas.changes ? buffer_append(text, "", 1, error) : ERROR_MEMORY;
    if (code)
        code = error_set(error, code, "no memory for the catalogue of schemas");
    else
        code = parse((char *)text->data, lines, &schemas) ? check_again(text, &schemas, error)
                                                          : refuse(error);
    if (code)
        segment_schemas_free(&schemas);
    else
        *schemas_out = schemas;
    return code;
}
