#include "tools/daybook/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"
#include "tools/daybook/verb.h"

enum { HELP_COLUMN = 26, OPTIONS_HELP = 'h' };

static const char default_directory[] = "./daybook-data";

void options_init(struct options *options, const struct options_verb *verb, int argc, char **argv)
{
    *options = (struct options){.verb = verb, .argc = argc, .argv = argv};
    settings_init(&options->settings);
    opterr = 0;
    optind = 1;
}

static void finish(struct options *options, int status)
{
    options->finished = true;
    options->status = status;
}

int options_refuse(struct options *options, const char *format, ...)
{
    if (options->finished)
        return options->status;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    verb_say(options->verb->name, "%s: try 'daybook %s --help'", text, options->verb->name);
    finish(options, STATUS_USAGE);
    return STATUS_USAGE;
}

static void print_flag(const struct options_flag *flag)
{
    char left[80];
    const char *value = flag->argument ? flag->argument : "";
    const char *space = flag->argument ? " " : "";
    if (flag->id < OPTIONS_LONG)
        snprintf(left, sizeof left, "  -%c, --%s%s%s", flag->id, flag->name, space, value);
    else
        snprintf(left, sizeof left, "      --%s%s%s", flag->name, space, value);
    if (strlen(left) >= HELP_COLUMN)
        printf("%s\n%*s%s\n", left, HELP_COLUMN, "", flag->help);
    else
        printf("%-*s%s\n", HELP_COLUMN, left, flag->help);
}

static void print_help(const struct options_verb *verb)
{
    printf("Usage: daybook %s%s%s\n\n%s\n\nFlags:\n", verb->name, verb->usage[0] ? " " : "",
           verb->usage, verb->about);
    for (const struct options_flag *flag = verb->flags; flag->name; flag++)
        print_flag(flag);
    print_flag(&(struct options_flag){OPTIONS_HELP, "help", NULL, "this text"});
    printf("\nExample:\n%s", verb->example);
}

/* getopt's two tables, made from ours. */
struct getopt_tables {
    char letters[3 * OPTIONS_FLAG_MAX];
    struct option names[OPTIONS_FLAG_MAX + 2];
};

static int argument_need(const struct options_flag *flag)
{
    if (!flag->argument)
        return no_argument;
    return flag->argument[0] == '[' ? optional_argument : required_argument;
}

static void add_flag(struct getopt_tables *tables, size_t index, const struct options_flag *flag)
{
    int need = argument_need(flag);
    tables->names[index] = (struct option){flag->name, need, NULL, flag->id};
    if (flag->id >= OPTIONS_LONG)
        return;
    size_t end = strlen(tables->letters);
    tables->letters[end++] = (char)flag->id;
    if (need != no_argument)
        tables->letters[end++] = ':';
    if (need == optional_argument)
        tables->letters[end++] = ':';
    tables->letters[end] = '\0';
}

static void make_tables(const struct options_verb *verb, struct getopt_tables *tables)
{
    *tables = (struct getopt_tables){.letters = ":"}; /* tell a missing value from a wrong flag */
    size_t count = 0;
    for (const struct options_flag *flag = verb->flags; flag->name; flag++)
        if (count < OPTIONS_FLAG_MAX - 1)
            add_flag(tables, count++, flag);
    add_flag(tables, count, &(struct options_flag){OPTIONS_HELP, "help", NULL, NULL});
}

/* What getopt stumbled over: the word itself for long flags, the letter for short ones. */
static void refuse_flag(struct options *options, int kind)
{
    const char *word = optind > 0 ? options->argv[optind - 1] : "";
    bool is_long = word[0] == '-' && word[1] == '-';
    char letter[3] = {'-', (char)optopt, '\0'};
    const char *name = is_long || !optopt ? word : letter;
    int bytes = (int)(is_long ? strcspn(name, "=") : strlen(name));
    options_refuse(options, kind == ':' ? "flag '%.*s' needs a value" : "no flag '%.*s' here",
                   bytes, name);
}

int options_next(struct options *options, const char **value_out)
{
    struct getopt_tables tables;
    make_tables(options->verb, &tables);
    while (!options->finished) {
        int id = getopt_long(options->argc, options->argv, tables.letters, tables.names, NULL);
        if (id == -1)
            return OPTIONS_DONE;
        if (id == '?' || id == ':') {
            refuse_flag(options, id);
        } else if (id == OPTIONS_HELP) {
            print_help(options->verb);
            finish(options, STATUS_OK);
        } else if (id == 'D') {
            options->directory_flag = optarg;
        } else if (id == 's') {
            options->socket_flag = optarg;
        } else if (id == OPTIONS_CONFIG) {
            options->config_flag = optarg;
        } else if (id >= OPTIONS_SETTING) {
            options->setting_flags[id - OPTIONS_SETTING] = optarg;
        } else {
            *value_out = optarg;
            return id;
        }
    }
    return OPTIONS_DONE;
}

int options_operand_count(const struct options *options)
{
    return options->argc - optind;
}

char **options_operands(const struct options *options)
{
    return options->argv + optind;
}

void options_refuse_operands(struct options *options)
{
    if (!options->finished && options_operand_count(options) > 0)
        options_refuse(options, "'%s' is one word too many", options_operands(options)[0]);
}

void options_count(struct options *options, const char *flag, const char *value,
                   uint64_t *count_out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long count = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end || errno)
        options_refuse(options, "%s '%s' is not a number", flag, value);
    else
        *count_out = count;
}

void options_size(struct options *options, const char *flag, const char *value, uint64_t *bytes_out)
{
    struct error error;
    if (units_parse_size(value, bytes_out, &error))
        options_refuse(options, "%s: %s", flag, error.text);
}

void options_duration(struct options *options, const char *flag, const char *value, int64_t *ns_out)
{
    struct error error;
    if (units_parse_duration(value, ns_out, &error))
        options_refuse(options, "%s: %s", flag, error.text);
}

void options_choice(struct options *options, const char *flag, const char *value,
                    const char *const *choices, int *index_out)
{
    char list[160] = "";
    for (int i = 0; choices[i]; i++) {
        if (strcmp(choices[i], value) == 0) {
            *index_out = i;
            return;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", choices[i]);
    }
    options_refuse(options, "%s '%s' is none of %s", flag, value, list);
}

void options_settings(struct options *options, struct segment_log_options *log_out)
{
    struct settings *settings = &options->settings;
    struct error error;
    if (!options->finished && options->config_flag &&
        settings_load(settings, options->config_flag, &error))
        options_refuse(options, "%s", error.text);
    for (int i = 0; !options->finished && i < SETTINGS_COUNT; i++)
        if (options->setting_flags[i] &&
            settings_set(settings, (enum settings_id)i, options->setting_flags[i], &error))
            options_refuse(options, "%s", error.text);
    *log_out = settings->log;
}

/* An empty variable counts as none. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static const char *named_directory(const struct options *options)
{
    if (options->directory_flag)
        return options->directory_flag;
    return options->settings.directory[0] ? options->settings.directory
                                          : environment("DAYBOOK_DIR");
}

static const char *named_socket(const struct options *options)
{
    if (options->socket_flag)
        return options->socket_flag;
    return options->settings.socket[0] ? options->settings.socket : environment("DAYBOOK_SOCKET");
}

const char *options_directory(const struct options *options)
{
    const char *directory = named_directory(options);
    return directory ? directory : default_directory;
}

const char *options_socket(struct options *options)
{
    const char *socket = named_socket(options);
    if (socket)
        return socket;
    snprintf(options->socket_path, sizeof options->socket_path, "%s/daybook.sock",
             options_directory(options));
    return options->socket_path;
}

bool options_socket_is_explicit(const struct options *options)
{
    return options->socket_flag || (named_socket(options) && !named_directory(options));
}

bool options_may_disagree(const struct options *options)
{
    /* What one configuration file names belongs together. */
    bool one_file =
        !options->directory_flag && options->settings.directory[0] && options->settings.socket[0];
    return !options->socket_flag && !one_file && named_socket(options) && named_directory(options);
}
