#include "tools/daybookd/config.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"

enum {
    PENDING_BYTES_MIN = 2 << 20, /* a frame of the largest size, and one more behind it */
    INPUT_BYTES_MIN = 4 << 20,
    CONNECTIONS_MAX = 100000,
};

struct setting {
    const char *name; /* flag and key */
    int letter;       /* 0: none */
    const char *value;
    const char *help;
    enum error_code (*set)(struct config *config, const char *value, struct error *error);
};

/* ---- Values ---- */

static enum error_code set_path(char path_out[PATH_MAX], const char *value, struct error *error)
{
    size_t bytes = strlen(value);
    if (bytes == 0 || bytes >= PATH_MAX)
        return error_set(error, ERROR_INVALID, "a path has 1 to %d bytes", PATH_MAX - 1);
    memcpy(path_out, value, bytes + 1);
    return OK;
}

static enum error_code set_directory(struct config *config, const char *value, struct error *error)
{
    return set_path(config->directory, value, error);
}

static enum error_code set_socket(struct config *config, const char *value, struct error *error)
{
    return set_path(config->socket, value, error);
}

static enum error_code set_segment_size(struct config *config, const char *value,
                                        struct error *error)
{
    uint64_t bytes;
    enum error_code code = units_parse_size(value, &bytes, error);
    if (code)
        return code;
    if (bytes < FORMAT_SEGMENT_BYTES_MIN || bytes > FORMAT_SEGMENT_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "'%s' is not between 64K and 4G", value);
    config->log.segment_bytes = bytes;
    return OK;
}

static enum error_code set_segment_age(struct config *config, const char *value,
                                       struct error *error)
{
    int64_t age_ns;
    enum error_code code = units_parse_duration(value, &age_ns, error);
    if (code)
        return code;
    if (age_ns < INT64_C(1000000000))
        return error_set(error, ERROR_INVALID, "'%s' is less than a second", value);
    config->log.segment_age_ns = age_ns;
    return OK;
}

static enum error_code set_write_path(struct config *config, const char *value, struct error *error)
{
    if (strcmp(value, "pwrite") == 0)
        config->log.write_path = LOG_WRITE_PWRITE;
    else if (strcmp(value, "mmap") == 0)
        config->log.write_path = LOG_WRITE_MMAP;
    else
        return error_set(error, ERROR_INVALID, "'%s' is neither pwrite nor mmap", value);
    return OK;
}

static enum error_code set_commit_align(struct config *config, const char *value,
                                        struct error *error)
{
    if (strcmp(value, "8") == 0)
        config->log.commit_align = 8;
    else if (strcmp(value, "512") == 0)
        config->log.commit_align = 512;
    else if (strcmp(value, "4096") == 0)
        config->log.commit_align = 4096;
    else
        return error_set(error, ERROR_INVALID, "'%s' is none of 8, 512, 4096", value);
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

static enum error_code set_pending_memory(struct config *config, const char *value,
                                          struct error *error)
{
    return set_memory(&config->log.pending_bytes_max, PENDING_BYTES_MIN, value, error);
}

static enum error_code set_input_memory(struct config *config, const char *value,
                                        struct error *error)
{
    return set_memory(&config->input_bytes_max, INPUT_BYTES_MIN, value, error);
}

static enum error_code set_max_connections(struct config *config, const char *value,
                                           struct error *error)
{
    char *end;
    errno = 0;
    unsigned long count = strtoul(value, &end, 10);
    if (errno || end == value || *end || value[0] == '-' || count < 1 || count > CONNECTIONS_MAX)
        return error_set(error, ERROR_INVALID, "'%s' is not a number from 1 to %d", value,
                         CONNECTIONS_MAX);
    config->connections_max = count;
    return OK;
}

static enum error_code set_verbose(struct config *config, const char *value, struct error *error)
{
    bool yes = !value || strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return error_set(error, ERROR_INVALID, "'%s' is neither yes nor no", value);
    config->verbose = yes;
    return OK;
}

/* ---- The table ---- */

static const struct setting SETTINGS[] = {
    {"dir", 'D', "DIR", "the log's directory ($DAYBOOK_DIR, else ./daybook-data)", set_directory},
    {"socket", 's', "SOCKET", "where to listen ($DAYBOOK_SOCKET, else DIR/daybook.sock)",
     set_socket},
    {"segment-size", 0, "SIZE", "the largest segment (64M)", set_segment_size},
    {"segment-age", 0, "AGE", "begin a new segment after this long (1d)", set_segment_age},
    {"write-path", 0, "PATH", "pwrite or mmap (pwrite)", set_write_path},
    {"commit-align", 0, "BYTES", "8, 512 or 4096 (8)", set_commit_align},
    {"pending-memory", 0, "SIZE", "for events on their way to the disk (8M)", set_pending_memory},
    {"input-memory", 0, "SIZE", "for frames on their way from the clients (64M)", set_input_memory},
    {"max-connections", 0, "N", "more clients are turned away (1024)", set_max_connections},
    {"verbose", 'v', NULL, "report details, too", set_verbose},
};
enum { SETTING_COUNT = sizeof SETTINGS / sizeof *SETTINGS };

void config_print_help(FILE *out)
{
    fputs("Usage: daybookd [-D DIR] [-s SOCKET] [-c FILE] [SETTING…]\n"
          "The Daybook daemon, in the foreground. Writes what happens to stderr.\n\n"
          "  -c, --config FILE           settings as lines 'name = value', the names below;\n"
          "                              flags win over the file\n",
          out);
    for (int i = 0; i < SETTING_COUNT; i++) {
        const struct setting *setting = &SETTINGS[i];
        char flag[64];
        snprintf(flag, sizeof flag, "--%s %s", setting->name, setting->value ? setting->value : "");
        if (setting->letter)
            fprintf(out, "  -%c, %-23s %s\n", setting->letter, flag, setting->help);
        else
            fprintf(out, "      %-23s %s\n", flag, setting->help);
    }
    fputs("  -h, --help                  this text\n"
          "      --version               the version\n\n"
          "Sizes take K M G T (base 1024), ages s m h d w. SIGINT and SIGTERM finish the last\n"
          "commit. Exit status: 0 stopped by a signal, 1 failure, 2 usage, 4 the log is damaged.\n",
          out);
}

/* ---- The file ---- */

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
    for (int i = 0; i < SETTING_COUNT; i++)
        if (strcmp(SETTINGS[i].name, name) == 0)
            return &SETTINGS[i];
    return NULL;
}

static enum error_code take_line(struct config *config, char *line, struct error *error)
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
    enum error_code code = setting->set(config, value, error);
    if (code)
        error_prefix(error, "%s", name);
    return code;
}

static enum error_code take_file(struct config *config, const char *path, struct error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set_errno(error, errno, "open the configuration '%s'", path);
    enum error_code code = OK;
    char *line = NULL;
    size_t capacity = 0;
    for (int number = 1; !code && getline(&line, &capacity, file) >= 0; number++) {
        code = take_line(config, line, error);
        if (code)
            error_prefix(error, "%s:%d", path, number);
    }
    if (!code && ferror(file))
        code = error_set_errno(error, errno, "read the configuration '%s'", path);
    free(line);
    fclose(file);
    return code;
}

/* ---- The flags ---- */

enum { FLAG_LONG = 256, FLAG_VERSION = FLAG_LONG + SETTING_COUNT };

struct flags {
    const char *config_path;
    const char *values[SETTING_COUNT];
    bool given[SETTING_COUNT];
    bool help;
    bool version;
};

static void describe_flags(struct option options[SETTING_COUNT + 4],
                           char letters[2 * SETTING_COUNT + 8])
{
    int o = 0;
    char *l = letters;
    *l++ = ':'; /* getopt leaves the complaining to us */
    for (int i = 0; i < SETTING_COUNT; i++) {
        int argument = SETTINGS[i].value ? required_argument : no_argument;
        options[o++] = (struct option){SETTINGS[i].name, argument, NULL, FLAG_LONG + i};
        if (SETTINGS[i].letter)
            *l++ = (char)SETTINGS[i].letter;
        if (SETTINGS[i].letter && argument == required_argument)
            *l++ = ':';
    }
    options[o++] = (struct option){"config", required_argument, NULL, 'c'};
    options[o++] = (struct option){"help", no_argument, NULL, 'h'};
    options[o++] = (struct option){"version", no_argument, NULL, FLAG_VERSION};
    options[o] = (struct option){0};
    memcpy(l, "c:h", 4);
}

static int index_of_flag(int flag)
{
    for (int i = 0; i < SETTING_COUNT; i++)
        if (flag == FLAG_LONG + i || flag == SETTINGS[i].letter)
            return i;
    return -1;
}

static enum error_code read_flags(int argc, char **argv, struct flags *flags, struct error *error)
{
    struct option options[SETTING_COUNT + 4];
    char letters[2 * SETTING_COUNT + 8];
    describe_flags(options, letters);
    int flag;
    while ((flag = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        int index = index_of_flag(flag);
        if (flag == '?' || flag == ':')
            return error_set(error, ERROR_INVALID, "%s%s", argv[optind - 1],
                             flag == ':' ? " needs a value" : ": there is no such flag");
        if (flag == 'c')
            flags->config_path = optarg;
        else if (flag == 'h')
            flags->help = true;
        else if (flag == FLAG_VERSION)
            flags->version = true;
        else if (index >= 0) {
            flags->values[index] = optarg;
            flags->given[index] = true;
        }
    }
    if (optind < argc)
        return error_set(error, ERROR_INVALID, "'%s': daybookd takes no operands", argv[optind]);
    return OK;
}

static enum error_code apply_flags(struct config *config, const struct flags *flags,
                                   struct error *error)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        if (!flags->given[i])
            continue;
        enum error_code code = SETTINGS[i].set(config, flags->values[i], error);
        if (code) {
            error_prefix(error, "--%s", SETTINGS[i].name);
            return code;
        }
    }
    return OK;
}

/* ---- All together ---- */

static enum error_code apply_environment(struct config *config, struct error *error)
{
    const char *directory = getenv("DAYBOOK_DIR");
    const char *socket = getenv("DAYBOOK_SOCKET");
    enum error_code code =
        set_directory(config, directory && *directory ? directory : "./daybook-data", error);
    if (!code && socket && *socket)
        code = set_socket(config, socket, error);
    return code;
}

static enum error_code choose_socket(struct config *config, struct error *error)
{
    if (config->socket[0])
        return OK;
    static const char NAME[] = "/daybook.sock";
    size_t bytes = strlen(config->directory);
    if (bytes + sizeof NAME > sizeof config->socket)
        return error_set(error, ERROR_INVALID, "the directory's path is too long");
    memcpy(config->socket, config->directory, bytes);
    memcpy(config->socket + bytes, NAME, sizeof NAME);
    return OK;
}

enum error_code config_parse(int argc, char **argv, struct config *config_out, struct error *error)
{
    struct flags flags = {0};
    struct config config = {.connections_max = 1024, .input_bytes_max = (size_t)64 << 20};
    enum error_code code = read_flags(argc, argv, &flags, error);
    if (code)
        return code;
    config.help = flags.help;
    config.version = flags.version;
    if (!config.help && !config.version) {
        code = apply_environment(&config, error);
        if (!code && flags.config_path)
            code = take_file(&config, flags.config_path, error);
        if (!code)
            code = apply_flags(&config, &flags, error);
        if (!code)
            code = choose_socket(&config, error);
    }
    if (!code)
        *config_out = config;
    return code;
}
