#include "tools/zmq/flags.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"

enum {
    FLAG_PULL = 256,
    FLAG_PUB,
    FLAG_PREFIX,
    FLAG_PRODUCER,
    FLAG_CURSOR,
    FLAG_HEARTBEAT,
    FLAG_SETTLE,
    FLAG_HWM,
    FLAG_VERSION,
};

static const struct option known[] = {
    {"dir", required_argument, NULL, 'D'},
    {"socket", required_argument, NULL, 's'},
    {"config", required_argument, NULL, 'c'},
    {"pull", required_argument, NULL, FLAG_PULL},
    {"pub", required_argument, NULL, FLAG_PUB},
    {"prefix", required_argument, NULL, FLAG_PREFIX},
    {"producer", required_argument, NULL, FLAG_PRODUCER},
    {"cursor", required_argument, NULL, FLAG_CURSOR},
    {"heartbeat", required_argument, NULL, FLAG_HEARTBEAT},
    {"settle", required_argument, NULL, FLAG_SETTLE},
    {"hwm", required_argument, NULL, FLAG_HWM},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, FLAG_VERSION},
    {0},
};

void flags_print_help(FILE *out)
{
    fputs("usage: daybook-zmq [FLAGS]\n"
          "\n"
          "A gateway between a Daybook daemon and programs that speak ZeroMQ: JSON events from a\n"
          "PULL socket go into the log, durable events go out to a PUB socket.\n"
          "\n"
          "  -D, --dir DIR          the log's directory, to find the socket ($DAYBOOK_DIR, else\n"
          "                         ./daybook-data)\n"
          "  -s, --socket SOCKET    the daemon's socket ($DAYBOOK_SOCKET, else DIR/daybook.sock)\n"
          "  -c, --config FILE      take both from a configuration file of the daemon\n"
          "      --pull ADDRESS     where producers push (tcp://127.0.0.1:5571)\n"
          "      --pub ADDRESS      where subscribers subscribe (tcp://127.0.0.1:5570)\n"
          "      --prefix TEXT      in front of the topic, in what subscribers get (bitten.)\n"
          "      --producer NAME    under which events are stored once (daybook-zmq)\n"
          "      --cursor NAME      where it goes on after a restart (zmq)\n"
          "      --heartbeat TIME   between two system_health events; 0: none (30s)\n"
          "      --settle TIME      for subscribers to come back after a restart, before events\n"
          "                         go out (1s)\n"
          "      --hwm N            messages that are kept for one subscriber (10000)\n"
          "  -v, --verbose          report details, too\n"
          "  -h, --help             this text\n"
          "      --version          print the version\n",
          out);
}

static enum error_code set_text(const char **text_out, const char *value, size_t bytes_min,
                                size_t bytes_max, struct error *error)
{
    size_t bytes = strlen(value);
    if (bytes < bytes_min || bytes > bytes_max)
        return error_set(error, ERROR_INVALID, "a value of %zu to %zu bytes is needed", bytes_min,
                         bytes_max);
    *text_out = value;
    return OK;
}

static enum error_code set_duration(int64_t *ns_out, const char *value, struct error *error)
{
    int64_t ns;
    enum error_code code = units_parse_duration(value, &ns, error);
    if (!code && ns < 0)
        code = error_set(error, ERROR_INVALID, "'%s' is negative", value);
    if (!code)
        *ns_out = ns;
    return code;
}

static enum error_code set_hwm(int *hwm_out, const char *value, struct error *error)
{
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (errno || *end || end == value || number < 1 || number > INT_MAX)
        return error_set(error, ERROR_INVALID, "'%s' is not a number from 1 on", value);
    *hwm_out = (int)number;
    return OK;
}

/* '@' begins a subscription that asks for history (request.h). */
static enum error_code set_prefix(const char **prefix_out, const char *value, struct error *error)
{
    if (value[0] == '@')
        return error_set(error, ERROR_INVALID, "'%s' begins with an @", value);
    return set_text(prefix_out, value, 0, FLAGS_PREFIX_BYTES_MAX, error);
}

static enum error_code take_flag(struct flags *flags, int flag, const char *value,
                                 struct error *error)
{
    switch (flag) {
    case FLAG_PULL:
        return set_text(&flags->pull, value, 1, 255, error);
    case FLAG_PUB:
        return set_text(&flags->pub, value, 1, 255, error);
    case FLAG_PREFIX:
        return set_prefix(&flags->prefix, value, error);
    case FLAG_PRODUCER:
        flags->producer = value;
        return event_check_producer(value, strlen(value), error);
    case FLAG_CURSOR:
        return set_text(&flags->cursor, value, 1, 64, error);
    case FLAG_HEARTBEAT:
        return set_duration(&flags->heartbeat_ns, value, error);
    case FLAG_SETTLE:
        return set_duration(&flags->settle_ns, value, error);
    case FLAG_HWM:
        return set_hwm(&flags->hwm, value, error);
    default:
        return OK;
    }
}

static const char *name_of(int flag)
{
    for (const struct option *option = known; option->name; option++)
        if (option->val == flag)
            return option->name;
    return "?";
}

/* The file's directory and socket count less than the flags', wherever -c stands. */
static enum error_code take_settings(struct flags *flags, const char *config,
                                     const char *directory, const char *socket,
                                     struct error *error)
{
    enum error_code code = OK;
    settings_init(&flags->settings);
    if (config)
        code = settings_load(&flags->settings, config, error);
    /* With a directory on the command line, the socket is that directory's. */
    if (!code && directory && !socket)
        flags->settings.socket[0] = '\0';
    if (!code && directory)
        code = settings_set(&flags->settings, SETTINGS_DIRECTORY, directory, error);
    if (!code && socket)
        code = settings_set(&flags->settings, SETTINGS_SOCKET, socket, error);
    return code;
}

enum error_code flags_parse(int argc, char **argv, struct flags *flags_out,
                              struct error *error)
{
    const char *config = NULL, *directory = NULL, *socket = NULL;
    struct flags flags = {
        .pull = "tcp://127.0.0.1:5571",
        .pub = "tcp://127.0.0.1:5570",
        .prefix = "bitten.",
        .producer = "daybook-zmq",
        .cursor = "zmq",
        .heartbeat_ns = INT64_C(30000000000),
        .settle_ns = INT64_C(1000000000),
        .hwm = 10000,
    };
    int flag;
    while ((flag = getopt_long(argc, argv, ":D:s:c:vh", known, NULL)) != -1) {
        if (flag == '?' || flag == ':')
            return error_set(error, ERROR_INVALID, "%s%s", argv[optind - 1],
                             flag == ':' ? " needs a value" : ": there is no such flag");
        if (flag == 'D')
            directory = optarg;
        else if (flag == 's')
            socket = optarg;
        else if (flag == 'c')
            config = optarg;
        flags.verbose |= flag == 'v';
        flags.help |= flag == 'h';
        flags.version |= flag == FLAG_VERSION;
        if (take_flag(&flags, flag, optarg, error))
            return error_prefix(error, "--%s", name_of(flag));
    }
    if (optind < argc)
        return error_set(error, ERROR_INVALID, "'%s': daybook-zmq takes no operands", argv[optind]);
    enum error_code code = take_settings(&flags, config, directory, socket, error);
    if (!code)
        *flags_out = flags;
    return code;
}
