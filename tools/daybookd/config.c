#include "tools/daybookd/config.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tools/daybookd/bus.h"
#include "tools/daybookd/server.h"
#include "tools/settings.h"

void config_print_help(FILE *out)
{
    fputs("Usage: daybookd [-D DIR] [-s SOCKET] [-c FILE] [SETTING…]\n"
          "The Daybook daemon, in the foreground. Writes what happens to stderr.\n\n"
          "  -c, --config FILE           settings as lines 'name = value', the names below;\n"
          "                              flags win over the file\n",
          out);
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        const struct settings_text *setting = settings_describe((enum settings_id)i);
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

enum {
    FLAG_LONG = 256,
    FLAG_VERSION = FLAG_LONG + SETTINGS_COUNT,
    INDEX_FLAGS_MAX = 128, /* of a flag that may be repeated */
};

struct flags {
    const char *config_path;
    const char *values[SETTINGS_COUNT];
    bool given[SETTINGS_COUNT];
    const char *index[INDEX_FLAGS_MAX];
    size_t index_count;
    bool help;
    bool version;
};

static void describe_flags(struct option options[SETTINGS_COUNT + 4],
                           char letters[2 * SETTINGS_COUNT + 8])
{
    int o = 0;
    char *l = letters;
    *l++ = ':'; /* getopt leaves the complaining to us */
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        const struct settings_text *setting = settings_describe((enum settings_id)i);
        int argument = setting->value ? required_argument : no_argument;
        options[o++] = (struct option){setting->name, argument, NULL, FLAG_LONG + i};
        if (setting->letter)
            *l++ = (char)setting->letter;
        if (setting->letter && argument == required_argument)
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
    for (int i = 0; i < SETTINGS_COUNT; i++)
        if (flag == FLAG_LONG + i || flag == settings_describe((enum settings_id)i)->letter)
            return i;
    return -1;
}

static enum error_code read_flags(int argc, char **argv, struct flags *flags, struct error *error)
{
    struct option options[SETTINGS_COUNT + 4];
    char letters[2 * SETTINGS_COUNT + 8];
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
        else if (index == SETTINGS_INDEX && flags->index_count == INDEX_FLAGS_MAX)
            return error_set(error, ERROR_INVALID, "--index: not more than %d times",
                             INDEX_FLAGS_MAX);
        else if (index == SETTINGS_INDEX)
            flags->index[flags->index_count++] = optarg;
        else if (index >= 0) {
            flags->values[index] = optarg;
            flags->given[index] = true;
        }
    }
    if (optind < argc)
        return error_set(error, ERROR_INVALID, "'%s': daybookd takes no operands", argv[optind]);
    return OK;
}

static enum error_code apply_flags(struct settings *settings, const struct flags *flags,
                                   struct error *error)
{
    enum error_code code = OK;
    for (int i = 0; !code && i < SETTINGS_COUNT; i++)
        if (flags->given[i])
            code = settings_set(settings, (enum settings_id)i, flags->values[i], error);
    for (size_t i = 0; !code && i < flags->index_count; i++)
        code = settings_set(settings, SETTINGS_INDEX, flags->index[i], error);
    return code;
}

static enum error_code apply_environment(struct settings *settings, struct error *error)
{
    const char *directory = getenv("DAYBOOK_DIR");
    const char *socket = getenv("DAYBOOK_SOCKET");
    enum error_code code =
        settings_set(settings, SETTINGS_DIRECTORY,
                     directory && *directory ? directory : "./daybook-data", error);
    if (!code && socket && *socket)
        code = settings_set(settings, SETTINGS_SOCKET, socket, error);
    return code;
}

static enum error_code choose_socket(struct settings *settings, struct error *error)
{
    if (settings->socket[0])
        return OK;
    static const char NAME[] = "/daybook.sock";
    size_t bytes = strlen(settings->directory);
    if (bytes + sizeof NAME > sizeof settings->socket)
        return error_set(error, ERROR_INVALID, "the directory's path is too long");
    memcpy(settings->socket, settings->directory, bytes);
    memcpy(settings->socket + bytes, NAME, sizeof NAME);
    return OK;
}

/* Flags count more than the file, the file more than the environment. */
static enum error_code gather_settings(const struct flags *flags, struct settings *settings,
                                       struct error *error)
{
    settings_init(settings);
    enum error_code code = apply_environment(settings, error);
    if (!code && flags->config_path)
        code = settings_load(settings, flags->config_path, error);
    if (!code)
        code = apply_flags(settings, flags, error);
    if (!code)
        code = choose_socket(settings, error);
    return code;
}

static void take_settings(struct config *config, const struct settings *settings)
{
    memcpy(config->directory, settings->directory, sizeof config->directory);
    memcpy(config->socket, settings->socket, sizeof config->socket);
    config->log = settings->log;
    config->pack = settings->pack;
    config->connections_max = settings->connections_max;
    config->user_connections_max =
        settings->user_connections_max ? settings->user_connections_max : settings->connections_max;
    config->allowed = settings->allowed;
    config->input_bytes_max = settings->input_bytes_max;
    memcpy(config->index, settings->index, sizeof config->index);
    config->verbose = settings->verbose;
}

enum error_code config_parse(int argc, char **argv, struct config *config_out, struct error *error)
{
    struct flags flags = {0};
    struct settings settings;
    enum error_code code = read_flags(argc, argv, &flags, error);
    if (code)
        return code;
    struct config config = {.help = flags.help, .version = flags.version};
    if (!config.help && !config.version) {
        code = gather_settings(&flags, &settings, error);
        if (code)
            return code;
        take_settings(&config, &settings);
    }
    *config_out = config;
    return OK;
}

size_t config_memory_max(const struct config *config)
{
    enum {
        /* The index's page cache, decoders, tables of topics and producers, threads, libraries. */
        OTHERS_BYTES = 32 << 20,
        PENDING_COPIES = 3, /* in memory, encoded, and blocks kept for reuse */
        CONNECTION_BYTES = 2048 + BUS_SUBSCRIBER_BYTES,
    };
    size_t pending_bytes =
        config->log.pending_bytes_max ? config->log.pending_bytes_max : LOG_PENDING_BYTES;
    return OTHERS_BYTES + PENDING_COPIES * pending_bytes + config->input_bytes_max +
           config->input_bytes_max / SERVER_ANSWERS_SHARE + BUS_MEMORY_MAX +
           config->connections_max * CONNECTION_BYTES;
}
