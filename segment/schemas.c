#include "segment/schemas.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "core/file.h"
#include "segment/subdirectory.h"
#include "segment/schemas_catalogue.h"

static const char directory_name[] = "schemas";
static const char catalogue_name[] = "catalogue";
static const char text_ending[] = ".json";

static const char *const MODE_NAMES[SCHEMAS_MODES] = {"reject", "quarantine", "warn"};

const char *segment_schemas_mode_name(enum segment_schemas_mode mode)
{
    return MODE_NAMES[mode];
}

bool segment_schemas_mode_find(const char *name, enum segment_schemas_mode *mode_out)
{
    for (unsigned i = 0; i < SCHEMAS_MODES; i++)
        if (strcmp(name, MODE_NAMES[i]) == 0) {
            *mode_out = (enum segment_schemas_mode)i;
            return true;
        }
    return false;
}

const char *segment_schemas_action_name(enum segment_schemas_action action)
{
    return action == SCHEMAS_ADD ? "add" : "remove";
}

static int is_text(void *context, const char *name)
{
    size_t length = strlen(name), ending = sizeof text_ending - 1;
    bool found = length > ending && strcmp(name + length - ending, text_ending) == 0;
    *(bool *)context |= found;
    return found;
}

/*
 * The first catalogue is written before the first text. So where there are texts, one was lost;
 * and where there are none, a crash came before everything else.
 */
static enum error_code check_empty(int directory_fd, struct error *error)
{
    bool texts = false;
    enum error_code code = file_list(directory_fd, directory_name, is_text, &texts, error);
    if (!code && texts)
        code = error_set(error, ERROR_DAMAGED,
                         "schemas/%s is missing, but there are texts of schemas beside it: %s",
                         catalogue_name, segment_schemas_way_out);
    return code;
}

static enum error_code load_from(int directory_fd, struct segment_schemas *schemas_out,
                                 struct error *error)
{
    struct buffer text = {0};
    struct error why;
    enum error_code code =
        file_load(directory_fd, catalogue_name, SCHEMAS_CATALOGUE_BYTES_MAX, &text, &why);
    if (code == ERROR_NOT_FOUND) {
        code = check_empty(directory_fd, error);
        if (!code)
            *schemas_out = (struct segment_schemas){0};
    } else if (code == ERROR_DAMAGED) {
        error_set(error, code, "schemas/%s is damaged: %s: %s", catalogue_name, why.text,
                  segment_schemas_way_out);
    } else if (code) {
        error_set(error, code, "schemas/%s: %s", catalogue_name, why.text);
    } else {
        code = segment_schemas_decode(&text, schemas_out, error);
    }
    buffer_release(&text);
    return code;
}

enum error_code segment_schemas_load(int log_fd, struct segment_schemas *schemas_out,
                                     struct error *error)
{
    int directory_fd = -1;
    struct error why;
    enum error_code code =
        file_open_directory_to_read_at(log_fd, directory_name, &directory_fd, &why);
    if (code == ERROR_NOT_FOUND) {
        *schemas_out = (struct segment_schemas){0};
        return OK;
    }
    if (code)
        return error_set(error, code, "%s", why.text);
    code = load_from(directory_fd, schemas_out, error);
    file_close(&directory_fd);
    return code;
}

void segment_schemas_free(struct segment_schemas *schemas)
{
    free(schemas->changes);
    *schemas = (struct segment_schemas){0};
}

static bool is_of(const struct segment_schemas_change *change, const char *topic,
                  size_t topic_bytes)
{
    return strlen(change->topic) == topic_bytes && memcmp(change->topic, topic, topic_bytes) == 0;
}

const struct segment_schemas_change *
segment_schemas_present(const struct segment_schemas *schemas, const char *topic,
                        size_t topic_bytes)
{
    for (size_t i = schemas->count; i-- > 0;) {
        const struct segment_schemas_change *change = &schemas->changes[i];
        if (change->since && is_of(change, topic, topic_bytes))
            return change->action == SCHEMAS_ADD ? change : NULL;
    }
    return NULL;
}

const struct segment_schemas_change *
segment_schemas_version(const struct segment_schemas *schemas, const char *topic,
                        size_t topic_bytes, uint32_t version)
{
    for (size_t i = 0; i < schemas->count; i++) {
        const struct segment_schemas_change *change = &schemas->changes[i];
        if (change->action == SCHEMAS_ADD && change->version == version &&
            is_of(change, topic, topic_bytes))
            return change;
    }
    return NULL;
}

const struct segment_schemas_change *segment_schemas_pending(const struct segment_schemas *schemas)
{
    const struct segment_schemas_change *last =
        schemas->count ? &schemas->changes[schemas->count - 1] : NULL;
    return last && last->since == 0 ? last : NULL;
}

/* Where a byte of a topic could mean something in a file's name, or hide it, it is escaped. */
static bool stays(const char *topic, const char *at)
{
    return *at != '/' && *at != ':' && !(*at == '.' && at == topic);
}

enum error_code segment_schemas_file_name(const char *topic, uint32_t version,
                                          char name_out[SCHEMAS_FILE_NAME_MAX + 1],
                                          struct error *error)
{
    enum { ROOM = SCHEMAS_FILE_NAME_MAX - 4 }; /* file_replace puts ".tmp" behind it */
    char name[3 * EVENT_TOPIC_BYTES_MAX + 32];
    size_t size = 0;
    for (const char *at = topic; *at; at++)
        size += (size_t)snprintf(name + size, sizeof name - size,
                                 stays(topic, at) ? "%c" : "%%%02X", (unsigned char)*at);
    size_t topic_bytes = size;
    size += (size_t)snprintf(name + size, sizeof name - size, ".%" PRIu32 "%s", version,
                             text_ending);
    if (size > ROOM)
        return error_set(error, ERROR_INVALID,
                         "the topic '%s' is too long to have a schema: it takes %zu bytes in the "
                         "name of a file, where each '/', each ':' and a '.' at the beginning "
                         "takes three, and %zu are possible",
                         topic, topic_bytes, ROOM - (size - topic_bytes));
    memcpy(name_out, name, size + 1);
    return OK;
}

static enum error_code load_text(int log_fd, const char *name, struct buffer *text,
                                 struct error *error)
{
    int directory_fd = -1;
    enum error_code code =
        file_open_directory_to_read_at(log_fd, directory_name, &directory_fd, error);
    if (!code)
        code = file_load(directory_fd, name, SCHEMAS_TEXT_BYTES_MAX, text, error);
    file_close(&directory_fd);
    return code;
}

enum error_code segment_schemas_read_text(int log_fd, const struct segment_schemas_change *change,
                                          struct buffer *text, struct error *error)
{
    char name[SCHEMAS_FILE_NAME_MAX + 1];
    size_t before = text->size;
    struct error why;
    assert(change->action == SCHEMAS_ADD);
    enum error_code code = segment_schemas_file_name(change->topic, change->version, name, error);
    if (code)
        return code;
    code = load_text(log_fd, name, text, &why);
    if (!code && (text->size - before != change->text_bytes ||
                  checksum_extend(0, text->data + before, text->size - before) !=
                      change->text_checksum))
        code = error_set(&why, ERROR_DAMAGED, "it is not what was written");
    if (!code)
        return OK;
    text->size = before;
    if (change->since == 0 && (code == ERROR_NOT_FOUND || code == ERROR_DAMAGED))
        return error_set(error, ERROR_DAMAGED,
                         "the schema schemas/%s, whose change is pending, is damaged: %s; put back "
                         "the file, or the very text that 'daybook schema add' was given",
                         name, why.text);
    if (code == ERROR_NOT_FOUND || code == ERROR_DAMAGED)
        return error_set(error, ERROR_DAMAGED,
                         "the schema schemas/%s is damaged: %s; put the file back from a backup, "
                         "or its text from the event %" PRIu64 " of topic _schema",
                         name, why.text, change->since);
    return error_set(error, code, "the schema schemas/%s: %s", name, why.text);
}

static enum error_code put(const struct segment_subdirectory *directory, const char *name,
                           const void *data, size_t size, struct error *error)
{
    return file_replace_alike(directory->fd, name, data, size,
                              directory->is_ours ? NULL : &directory->like, error);
}

static enum error_code store(const struct segment_subdirectory *directory,
                             const struct segment_schemas *schemas, struct error *error)
{
    struct buffer text = {0};
    enum error_code code = segment_schemas_encode(schemas, &text, error);
    if (!code)
        code = put(directory, catalogue_name, text.data, text.size, error);
    buffer_release(&text);
    return code;
}

static uint32_t last_version(const struct segment_schemas *schemas, const char *topic)
{
    uint32_t last = 0;
    for (size_t i = 0; i < schemas->count; i++)
        if (is_of(&schemas->changes[i], topic, strlen(topic)) && schemas->changes[i].version > last)
            last = schemas->changes[i].version;
    return last;
}

/* A text that a crash has left without its line is of nobody, and is written over. */
static enum error_code store_text(const struct segment_subdirectory *directory,
                                  const struct segment_schemas *schemas,
                                  const struct segment_schemas_change *change, const void *text,
                                  struct error *error)
{
    char name[SCHEMAS_FILE_NAME_MAX + 1];
    enum error_code code = segment_schemas_file_name(change->topic, change->version, name, error);
    if (!code && schemas->count == 0)
        code = store(directory, schemas, error);
    if (!code)
        code = put(directory, name, text, change->text_bytes, error);
    return code;
}

/* The catalogue with one more line becomes the one on disk, then the caller's. */
static enum error_code store_with(const struct segment_subdirectory *directory,
                                  struct segment_schemas *schemas,
                                  const struct segment_schemas_change *change, struct error *error)
{
    struct segment_schemas_change *changes =
        realloc(schemas->changes, (schemas->count + 1) * sizeof *changes);
    if (!changes)
        return error_set(error, ERROR_MEMORY, "no memory for the catalogue of schemas");
    schemas->changes = changes;
    changes[schemas->count] = *change;
    struct segment_schemas longer = {changes, schemas->count + 1};
    enum error_code code = store(directory, &longer, error);
    if (!code)
        *schemas = longer;
    return code;
}

static enum error_code check_change(const struct segment_schemas *schemas,
                                    const struct segment_schemas_change *change, size_t text_bytes,
                                    struct error *error)
{
    if (schemas->count == SCHEMAS_CHANGES_MAX)
        return error_set(error, ERROR_INVALID,
                         "the schemas of this log have been changed %d times, which is all that "
                         "its catalogue holds",
                         (int)SCHEMAS_CHANGES_MAX);
    if (text_bytes > SCHEMAS_TEXT_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "a schema of %zu bytes is longer than %d",
                         text_bytes, (int)SCHEMAS_TEXT_BYTES_MAX);
    return event_check_topic(change->topic, strlen(change->topic), error);
}

enum error_code segment_schemas_note(int log_fd, struct segment_schemas *schemas,
                                     const struct segment_schemas_change *change, const void *text,
                                     size_t text_bytes, struct error *error)
{
    assert(!segment_schemas_pending(schemas));
    assert((change->action == SCHEMAS_ADD) == (text_bytes > 0));
    enum error_code code = check_change(schemas, change, text_bytes, error);
    if (code)
        return code;
    uint32_t last = last_version(schemas, change->topic);
    struct segment_schemas_change noted = *change;
    noted.number = schemas->count + 1;
    noted.version = change->action == SCHEMAS_ADD ? last + 1 : last;
    noted.since = 0;
    noted.time_ns = 0;
    noted.text_bytes = (uint32_t)text_bytes;
    noted.text_checksum = checksum_extend(0, text, text_bytes);
    assert(segment_schemas_fits(schemas, &noted));

    struct segment_subdirectory directory;
    code = segment_subdirectory_open(log_fd, directory_name, true, &directory, error);
    if (code)
        return code;
    if (change->action == SCHEMAS_ADD)
        code = store_text(&directory, schemas, &noted, text, error);
    if (!code)
        code = store_with(&directory, schemas, &noted, error);
    segment_subdirectory_close(&directory);
    return code;
}

enum error_code segment_schemas_settle(int log_fd, struct segment_schemas *schemas, uint64_t since,
                                       int64_t time_ns, struct error *error)
{
    assert(segment_schemas_pending(schemas));
    struct segment_schemas_change *last = &schemas->changes[schemas->count - 1];
    struct segment_schemas_change before = *last;
    assert(since > 0);
    struct segment_subdirectory directory;
    enum error_code code =
        segment_subdirectory_open(log_fd, directory_name, false, &directory, error);
    if (code)
        return code;
    if (since <= last->after)
        last->after = since - 1;
    last->since = since;
    last->time_ns = time_ns;
    code = store(&directory, schemas, error);
    if (code)
        *last = before;
    segment_subdirectory_close(&directory);
    return code;
}
