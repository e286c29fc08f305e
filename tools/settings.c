#include "tools/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"
#include "indexer/wishes.h"

enum {
    PENDING_BYTES_MIN = 2 << 20, /* a frame of the largest size, and one more behind it */
    INPUT_BYTES_MIN = 4 << 20,
    INPUT_BYTES = 64 << 20,
    CONNECTIONS = 1024,
    CONNECTIONS_MAX = 100000,
};

struct setting {
    struct settings_text text;
    enum error_code (*set)(struct settings *settings, const char *value, struct error *error);
};

static enum error_code set_path(char path_out[PATH_MAX], const char *value, struct error *error)
{
    size_t bytes = strlen(value);
    if (bytes == 0 || bytes >= PATH_MAX)
        return error_set(error, ERROR_INVALID, "a path has 1 to %d bytes", PATH_MAX - 1);
    memcpy(path_out, value, bytes + 1);
    return OK;
}

static enum error_code set_directory(struct settings *settings, const char *value,
                                     struct error *error)
{
    return set_path(settings->directory, value, error);
}

static enum error_code set_socket(struct settings *settings, const char *value, struct error *error)
{
    return set_path(settings->socket, value, error);
}

static enum error_code set_segment_size(struct settings *settings, const char *value,
                                        struct error *error)
{
    uint64_t bytes;
    enum error_code code = units_parse_size(value, &bytes, error);
    if (code)
        return code;
    if (bytes < FORMAT_SEGMENT_BYTES_MIN || bytes > FORMAT_SEGMENT_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "'%s' is not between 64K and 4G", value);
    settings->log.segment_bytes = bytes;
    return OK;
}

static enum error_code set_segment_age(struct settings *settings, const char *value,
                                       struct error *error)
{
    int64_t age_ns;
    enum error_code code = units_parse_duration(value, &age_ns, error);
    if (code)
        return code;
    if (age_ns < INT64_C(1000000000))
        return error_set(error, ERROR_INVALID, "'%s' is less than a second", value);
    settings->log.segment_age_ns = age_ns;
    return OK;
}

static enum error_code set_write_path(struct settings *settings, const char *value,
                                      struct error *error)
{
    if (strcmp(value, "pwrite") == 0)
        settings->log.write_path = LOG_WRITE_PWRITE;
    else if (strcmp(value, "mmap") == 0)
        settings->log.write_path = LOG_WRITE_MMAP;
    else
        return error_set(error, ERROR_INVALID, "'%s' is neither pwrite nor mmap", value);
    return OK;
}

static enum error_code set_commit_align(struct settings *settings, const char *value,
                                        struct error *error)
{
    if (strcmp(value, "8") == 0)
        settings->log.commit_align = 8;
    else if (strcmp(value, "512") == 0)
        settings->log.commit_align = 512;
    else if (strcmp(value, "4096") == 0)
        settings->log.commit_align = 4096;
    else
        return error_set(error, ERROR_INVALID, "'%s' is none of 8, 512, 4096", value);
    return OK;
}

static enum error_code set_pack(struct settings *settings, const char *value, struct error *error)
{
    bool on = strcmp(value, "on") == 0;
    if (!on && strcmp(value, "off") != 0)
        return error_set(error, ERROR_INVALID, "'%s' is neither on nor off", value);
    settings->pack = on;
    return OK;
}

static enum error_code set_memory(size_t *bytes_out, size_t bytes_min, const char *value,
                                  struct error *error)
{
    uint64_t bytes;
    enum error_code code = units_parse_size(value, &bytes, error);
    if (code)
        return code;
    if (bytes < bytes_min || bytes > SIZE_MAX / 4)
        return error_set(error, ERROR_INVALID, "'%s' is less than %zuM, or more than there is",
                         value, bytes_min >> 20);
    *bytes_out = (size_t)bytes;
    return OK;
}

static enum error_code set_pending_memory(struct settings *settings, const char *value,
                                          struct error *error)
{
    return set_memory(&settings->log.pending_bytes_max, PENDING_BYTES_MIN, value, error);
}

static enum error_code set_input_memory(struct settings *settings, const char *value,
                                        struct error *error)
{
    return set_memory(&settings->input_bytes_max, INPUT_BYTES_MIN, value, error);
}

static enum error_code set_count(size_t *count_out, const char *value, struct error *error)
{
    char *end;
    errno = 0;
    unsigned long count = strtoul(value, &end, 10);
    if (errno || end == value || *end || value[0] == '-' || count < 1 || count > CONNECTIONS_MAX)
        return error_set(error, ERROR_INVALID, "'%s' is not a number from 1 to %d", value,
                         CONNECTIONS_MAX);
    *count_out = count;
    return OK;
}

static enum error_code set_max_connections(struct settings *settings, const char *value,
                                           struct error *error)
{
    return set_count(&settings->connections_max, value, error);
}

static enum error_code set_max_user_connections(struct settings *settings, const char *value,
                                                struct error *error)
{
    return set_count(&settings->user_connections_max, value, error);
}

static enum error_code set_allow_users(struct settings *settings, const char *value,
                                       struct error *error)
{
    return allowed_users_parse(value, &settings->allowed, error);
}

static enum error_code set_index(struct settings *settings, const char *value, struct error *error)
{
    struct indexer_wishes wishes = {0};
    enum error_code code = indexer_wishes_add_text(&wishes, value, error);
    indexer_wishes_release(&wishes);
    if (code)
        return code;
    size_t used = strlen(settings->index), bytes = strlen(value);
    if (used + bytes + 2 > sizeof settings->index)
        return error_set(error, ERROR_INVALID, "more than %d bytes of fields to index",
                         SETTINGS_INDEX_BYTES - 2);
    memcpy(settings->index + used, value, bytes);
    memcpy(settings->index + used + bytes, "\n", 2);
    return OK;
}

static enum error_code set_verbose(struct settings *settings, const char *value,
                                   struct error *error)
{
    bool yes = !value || strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return error_set(error, ERROR_INVALID, "'%s' is neither yes nor no", value);
    settings->verbose = yes;
    return OK;
}

static const struct setting table[SETTINGS_COUNT] = {
    [SETTINGS_DIRECTORY] = {{"dir", 'D', "DIR",
                             "the log's directory ($DAYBOOK_DIR, else ./daybook-data)"},
                            set_directory},
    [SETTINGS_SOCKET] = {{"socket", 's', "SOCKET",
                          "where to listen ($DAYBOOK_SOCKET, else DIR/daybook.sock)"},
                         set_socket},
    [SETTINGS_SEGMENT_SIZE] = {{"segment-size", 0, "SIZE", "the largest segment (64M)"},
                               set_segment_size},
    [SETTINGS_SEGMENT_AGE] = {{"segment-age", 0, "AGE", "begin a new segment after this long (1d)"},
                              set_segment_age},
    [SETTINGS_WRITE_PATH] = {{"write-path", 0, "PATH", "pwrite or mmap (pwrite)"}, set_write_path},
    [SETTINGS_COMMIT_ALIGN] = {{"commit-align", 0, "BYTES", "8, 512 or 4096 (8)"},
                               set_commit_align},
    [SETTINGS_PACK] = {{"pack", 0, "on|off", "pack segments once they are sealed (on)"}, set_pack},
    [SETTINGS_PENDING_MEMORY] = {{"pending-memory", 0, "SIZE",
                                  "for events on their way to the disk (8M)"},
                                 set_pending_memory},
    [SETTINGS_INPUT_MEMORY] = {{"input-memory", 0, "SIZE",
                                "for frames on their way from the clients (64M)"},
                               set_input_memory},
    [SETTINGS_MAX_CONNECTIONS] = {{"max-connections", 0, "N",
                                   "more clients are turned away (1024)"},
                                  set_max_connections},
    [SETTINGS_MAX_USER_CONNECTIONS] = {{"max-user-connections", 0, "N",
                                        "the same for each user (all of them)"},
                                       set_max_user_connections},
    [SETTINGS_ALLOW_USERS] = {{"allow-users", 0, "LIST",
                               "names or numbers; others are turned away (all)"},
                              set_allow_users},
    [SETTINGS_INDEX] = {{"index", 0, "'TOPIC FIELD…'",
                         "index these fields, too; may be repeated"},
                        set_index},
    [SETTINGS_VERBOSE] = {{"verbose", 'v', NULL, "report details, too"}, set_verbose},
};

const struct settings_text *settings_describe(enum settings_id id)
{
    return &table[id].text;
}

void settings_init(struct settings *settings)
{
    *settings = (struct settings){
        .pack = true, .connections_max = CONNECTIONS, .input_bytes_max = INPUT_BYTES};
}

enum error_code settings_set(struct settings *settings, enum settings_id id, const char *value,
                             struct error *error)
{
    enum error_code code = table[id].set(settings, value, error);
    if (code)
        error_prefix(error, "--%s", table[id].text.name);
    return code;
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(" \t\r\n", text[bytes - 1]))
        text[--bytes] = '\0';
    return text;
}

static const struct setting *find_setting(const char *name)
{
    for (int i = 0; i < SETTINGS_COUNT; i++)
        if (strcmp(table[i].text.name, name) == 0)
            return &table[i];
    return NULL;
}

static enum error_code take_line(struct settings *settings, char *line, struct error *error)
{
    char *name = trim(line);
    if (*name == '\0' || *name == '#')
        return OK;
    char *equals = strchr(name, '=');
    if (!equals)
        return error_set(error, ERROR_INVALID, "'%s' is not 'name = value'", name);
    *equals = '\0';
    char *value = trim(equals + 1);
    name = trim(name);
    const struct setting *setting = find_setting(name);
    if (!setting)
        return error_set(error, ERROR_INVALID, "there is no setting '%s'; see daybookd --help",
                         name);
    enum error_code code = setting->set(settings, value, error);
    if (code)
        error_prefix(error, "%s", name);
    return code;
}

enum error_code settings_load(struct settings *settings, const char *path, struct error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set_errno(error, errno, "open the configuration '%s'", path);
    enum error_code code = OK;
    char *line = NULL;
    size_t capacity = 0;
    for (int number = 1; !code && getline(&line, &capacity, file) >= 0; number++) {
        code = take_line(settings, line, error);
        if (code)
            error_prefix(error, "%s:%d", path, number);
    }
    if (!code && ferror(file))
        code = error_set_errno(error, errno, "read the configuration '%s'", path);
    free(line);
    fclose(file);
    return code;
}
