/*
 * tools/generate.c - daybook-generate: made-up events as JSON lines, for the demo and for trying
 * things out.
 *
 *     daybook-generate -n 1000 --seed 7 --start now --span 1h | daybook pub
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/units.h"
#include "tools/generator.h"

enum { EXIT_USAGE = 2, WRITE_BYTES = 1 << 16 };

static const char usage_text[] =
    "usage: daybook-generate [-n COUNT] [--seed S] [--start TIME] [--span DURATION] [--flat]\n"
    "\n"
    "Print COUNT made-up trading events as JSON lines for `daybook pub`; the same options\n"
    "print the same events.\n"
    "\n"
    "  -n, --count COUNT     how many (1000)\n"
    "      --seed S          another seed, other events (1)\n"
    "      --signals N       signals made before, whose numbers are not used again (0)\n"
    "      --start TIME      of the first event (2026-01-05T09:00:00Z); \"now\", \"-1h\" work too\n"
    "      --span DURATION   between the first and the last event (1h)\n"
    "      --flat            the benchmarks' events: one shape, evenly spaced\n"
    "  -h, --help            this text\n";

static int usage(const char *format, const char *argument)
{
    fputs("daybook-generate: ", stderr);
    fprintf(stderr, format, argument);
    fputs("; see daybook-generate --help\n", stderr);
    return EXIT_USAGE;
}

static enum error_code parse_number(const char *text, uint64_t *number_out, struct error *error)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return error_set(error, ERROR_INVALID, "'%s' is not a number from 0 to 2^64-1", text);
    *number_out = number;
    return OK;
}

static enum error_code append_line(const struct generator_event *event, struct buffer *out,
                                   struct error *error)
{
    char time_text[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(event->time_ns, time_text);
    enum error_code code = buffer_printf(
        out, error, "{\"time\":\"%s\",\"topic\":\"%s\",\"payload\":", time_text, event->topic);
    if (!code)
        code = generator_payload_json(event, out, error);
    if (!code)
        code = buffer_append(out, "}\n", 2, error);
    return code;
}

static enum error_code write_out(struct buffer *out, struct error *error)
{
    if (fwrite(out->data, 1, out->size, stdout) != out->size || fflush(stdout))
        return error_set_errno(error, errno, "write the events to standard output");
    out->size = 0;
    return OK;
}

static enum error_code print_events(const struct generator_options *options, struct error *error)
{
    struct generator *generator = NULL;
    struct generator_event event;
    struct buffer out = {0};

    enum error_code code = generator_create(options, &generator, error);
    while (!code && generator_next(generator, &event)) {
        code = append_line(&event, &out, error);
        if (!code && out.size >= WRITE_BYTES)
            code = write_out(&out, error);
    }
    if (!code && out.size > 0)
        code = write_out(&out, error);
    buffer_release(&out);
    generator_free(generator);
    return code;
}

/* Apply one option that takes a value. */
static enum error_code apply_option(int option, const char *value,
                                    struct generator_options *options, struct error *error)
{
    switch (option) {
    case 'n':
        return parse_number(value, &options->count, error);
    case 's':
        return parse_number(value, &options->seed, error);
    case 'i':
        return parse_number(value, &options->signals, error);
    case 't':
        return units_parse_time(value, strlen(value), UNITS_LOCAL, clock_realtime_ns(),
                                &options->start_ns, error);
    default:
        return units_parse_duration(value, &options->span_ns, error);
    }
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"count", required_argument, NULL, 'n'},   {"seed", required_argument, NULL, 's'},
        {"signals", required_argument, NULL, 'i'}, {"start", required_argument, NULL, 't'},
        {"span", required_argument, NULL, 'd'},    {"flat", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    struct generator_options options = {
        .mode = GENERATOR_TRADING,
        .seed = 1,
        .count = 1000,
        .start_ns = INT64_C(1767603600) * 1000000000, /* 2026-01-05T09:00:00Z, a Monday */
        .span_ns = INT64_C(3600) * 1000000000,
    };
    struct error error = {0};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":n:h", long_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 0;
        }
        if (option == 'f')
            options.mode = GENERATOR_FLAT;
        else if (option == ':' || option == '?')
            return usage("'%s' is unknown or lacks its value", argv[optind - 1]);
        else if (apply_option(option, optarg, &options, &error))
            return usage("%s", error.text);
    }
    if (optind < argc)
        return usage("'%s' is one argument too many", argv[optind]);
    if (print_events(&options, &error)) {
        fprintf(stderr, "daybook-generate: %s\n", error.text);
        return EXIT_FAILURE;
    }
    return 0;
}
