/*
 * tools/daybook/replay.c - `daybook replay`: events again, with their timing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/units.h"
#include "tools/daybook/certificate.h"
#include "tools/daybook/options.h"
#include "tools/daybook/selection_notes.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum {
    FLAG_LOOP = OPTIONS_LONG + 10,
    FLAG_REMAP,
    FLAG_TO,
    FLAG_REPORT,
    FLAG_MAX_GAP,
    FLAG_MERGE_WINDOW,
    FLAG_PREFIX,
    FLAG_SUBSCRIBERS,
    FLAG_NO_KEYS,
};

#define MERGE_WINDOW_NS INT64_C(10000000000)

static const struct options_flag replay_flags[] = {
    {'r', "rate", "X", "1 as recorded (default), 10 ten times as fast, 0.5, or max"},
    SELECTION_TIME_FLAGS,
    SELECTION_TOPIC_FLAG,
    SELECTION_WHERE_FLAG,
    SELECTION_AFTER_FLAG,
    {FLAG_MAX_GAP, "max-gap", "DURATION", "make longer gaps in the recording as short as this"},
    {FLAG_MERGE_WINDOW, "merge-window", "DURATION",
     "what is late by less has its place in time (default 10s; 0: as in the log)"},
    {FLAG_LOOP, "loop", "[N]", "start again at the end, N times in all or for ever"},
    {FLAG_REMAP, "remap", "A:=B", "publish topic A as B, may be repeated"},
    {FLAG_TO, "to", "TARGET",
     "a daemon's SOCKET, zmq:ADDR, zmq-push:ADDR or udp://HOST:PORT, not stdout"},
    {FLAG_PREFIX, "prefix", "TEXT", "put in front of the topic for ZeroMQ (default 'bitten.')"},
    {FLAG_SUBSCRIBERS, "subscribers", "N",
     "wait for so many ZeroMQ subscriptions before the first event (default 1)"},
    {'o', "output", "FORMAT", OUTPUT_FORMATS " (default json)"},
    {'u', "utc", NULL, "times in UTC, read and printed"},
    {FLAG_REPORT, "report", "FILE", "write the closing report as JSON, too"},
    {FLAG_NO_KEYS, "no-keys", NULL, "leave the terminal alone: no keys, no status line"},
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb replay_verb = {
    .name = "replay",
    .usage = "[FLAGS]",
    .about =
        "Give the events of the past again, all topics by one clock, with the gaps between them\n"
        "as they were recorded. Ends with a report on stderr of how faithful it was, and a hash\n"
        "of what was sent. Keys on a terminal: " REPLAY_KEYS_HELP ".",
    .flags = replay_flags,
    .example = "  daybook replay -S yesterday -U today -r 60 -t 'orders.*'\n"
               "  daybook replay -r max --to /run/test/daybook.sock --remap orders:=test/orders\n",
};

struct replay {
    double rate; /* 0: max */
    int64_t gap_max_ns;
    bool loop;
    bool no_keys;
    bool format_given;
    bool zmq_flag_given;
    const char *report_path;
    struct remap remap;
    struct selection selection;
    struct replay_source_options from;
    struct replay_target_options to;
    struct replay_orders orders;
    struct replay_progress progress;
    struct replay_player player;
};

static void parse_rate(struct replay *replay, struct options *options, const char *value)
{
    char *end = NULL;
    if (strcmp(value, "max") == 0) {
        replay->rate = 0;
        return;
    }
    double rate = strtod(value, &end);
    if (end == value || *end || !isfinite(rate) || rate <= 0)
        options_refuse(options, "-r '%s' is neither 'max' nor a number above 0", value);
    else
        replay->rate = rate;
}

static void parse_remap(struct replay *replay, struct options *options, const char *value)
{
    struct error error;
    if (remap_add(&replay->remap, value, &error))
        options_refuse(options, "--remap: %s", error.text);
}

static void parse_loop(struct replay *replay, struct options *options, const char *value)
{
    replay->loop = true;
    replay->from.rounds = 0;
    if (!value)
        return;
    options_count(options, "--loop", value, &replay->from.rounds);
    if (!options->finished && replay->from.rounds == 0)
        options_refuse(options, "--loop 0 would replay nothing: without a number it never ends");
}

static void parse_format(struct replay *replay, struct options *options, const char *value)
{
    int format = (int)replay->to.style.format;
    options_choice(options, "-o", value, output_format_names, &format);
    replay->to.style.format = (enum output_format)format;
    replay->format_given = true;
}

static void parse_to(struct replay *replay, struct options *options, const char *value)
{
    struct error error;
    replay->to.to = value;
    if (replay_target_check(value, &error))
        options_refuse(options, "--to %s", error.text);
}

static void parse_flag(struct replay *replay, struct options *options, int id, const char *value)
{
    switch (id) {
    case 'r':
        parse_rate(replay, options, value);
        break;
    case 'o':
        parse_format(replay, options, value);
        break;
    case 'u':
        replay->to.style.zone = UNITS_UTC;
        break;
    case FLAG_LOOP:
        parse_loop(replay, options, value);
        break;
    case FLAG_REMAP:
        parse_remap(replay, options, value);
        break;
    case FLAG_MAX_GAP:
        options_duration(options, "--max-gap", value, &replay->gap_max_ns);
        break;
    case FLAG_MERGE_WINDOW:
        options_duration(options, "--merge-window", value, &replay->from.merge_window_ns);
        break;
    case FLAG_TO:
        parse_to(replay, options, value);
        break;
    case FLAG_PREFIX:
        replay->to.prefix = value;
        replay->zmq_flag_given = true;
        break;
    case FLAG_SUBSCRIBERS:
        options_count(options, "--subscribers", value, &replay->to.subscribers);
        replay->zmq_flag_given = true;
        break;
    case FLAG_NO_KEYS:
        replay->no_keys = true;
        break;
    case FLAG_REPORT:
        replay->report_path = value;
        break;
    default:
        selection_flag(&replay->selection, options, id, value);
    }
}

/* Flags that do not go together. */
static void check_flags(const struct replay *replay, struct options *options)
{
    const char *to = replay->to.to;
    if (to && replay->format_given)
        options_refuse(options, "-o and --to exclude each other: with --to nothing is printed");
    else if (replay->zmq_flag_given && (!to || strncmp(to, "zmq", 3) != 0))
        options_refuse(options, "--prefix and --subscribers are for --to zmq:, which is not given");
    else if (replay->gap_max_ns < 0 || replay->from.merge_window_ns < 0)
        options_refuse(options, "--max-gap and --merge-window cannot be negative");
}

static void parse(struct replay *replay, struct options *options)
{
    const char *value;
    int id;
    while ((id = options_next(options, &value)) != OPTIONS_DONE)
        parse_flag(replay, options, id, value);
    if (options->finished)
        return;
    /* "--loop 3": getopt takes an optional value only behind a '='. */
    if (replay->loop && replay->from.rounds == 0 && options_operand_count(options) == 1)
        parse_loop(replay, options, options_operands(options)[0]);
    else
        options_refuse_operands(options);
    if (!options->finished)
        check_flags(replay, options);
    struct output_style *style = &replay->to.style;
    selection_finish(&replay->selection, options, style->zone);
    if (style->format == OUTPUT_SHORT) {
        style->width = terminal_width(STDOUT_FILENO);
        style->colour = terminal_has_colour(STDOUT_FILENO);
    }
}

/* A rename that never happened is probably a typing error. */
static void tell_idle_remaps(const struct replay *replay)
{
    for (size_t i = 0; i < replay->remap.count; i++)
        if (!replay->remap.pairs[i].used)
            verb_say(replay_verb.name, "note: --remap '%s' matched no event",
                     replay->remap.pairs[i].from);
}

/* The report on stderr, and into the file that was asked for. Returns what is missing. */
static enum error_code report(const struct replay *replay, uint64_t *missing_out,
                              struct error *error)
{
    struct certificate certificate = {
        .player = &replay->player,
        .counts = replay_target_counted(replay->player.target),
        .to = replay->to.to,
        .merge_window_ns = replay->from.merge_window_ns,
    };
    *missing_out = certificate_missing(&certificate);
    certificate_print(&certificate);
    return replay->report_path ? certificate_write(&certificate, replay->report_path, error) : OK;
}

static int status_of(const struct replay *replay, enum error_code code, const struct error *error)
{
    if (code == ERROR_CLOSED && replay->to.to) {
        verb_say(replay_verb.name, "%s", error->text);
        return STATUS_UNREACHABLE;
    }
    if (code && code != ERROR_CLOSED) /* who closed the pipe has seen enough */
        return verb_fail(replay_verb.name, error);
    return history_is_damaged(replay->from.history) ? STATUS_DAMAGE : STATUS_OK;
}

/* With a target and a console there: play, and say how it went. */
static int play(struct replay *replay, struct replay_console *console)
{
    struct error error;
    struct replay_player *player = &replay->player;
    pace_init(&player->pace, replay->rate, replay->gap_max_ns);
    digest_init(&player->digest);
    enum error_code code = replay_source_open(&replay->from, &player->source, &error);
    if (code)
        return verb_fail(replay_verb.name, &error);
    if (replay->rate > 0)
        pace_prepare_thread();
    code = replay_player_run(player, &error);
    replay_source_close(player->source);
    replay_console_close(console); /* before anything is said */
    int status = status_of(replay, code, &error);
    tell_idle_remaps(replay);
    uint64_t missing = 0;
    if (report(replay, &missing, &error)) {
        verb_say(replay_verb.name, "%s", error.text);
        return status == STATUS_OK ? STATUS_FAILURE : status;
    }
    return status == STATUS_OK && missing > 0 ? STATUS_INCOMPLETE : status;
}

static int open_and_play(struct replay *replay)
{
    struct error error;
    struct replay_console *console;
    struct replay_console_options terminal = {
        .orders = &replay->orders,
        .progress = &replay->progress,
        .rate = replay->rate,
        .zone = replay->to.style.zone,
        .keys = !replay->no_keys,
        .prints = !replay->to.to && isatty(STDOUT_FILENO),
    };
    if (replay_console_open(&terminal, &console, &error))
        return verb_fail(replay_verb.name, &error);
    enum error_code code = replay_target_open(&replay->to, &replay->player.target, &error);
    if (code) {
        replay_console_close(console);
        return code == ERROR_END ? STATUS_OK : status_of(replay, code, &error);
    }
    int status = play(replay, console);
    replay_target_close(replay->player.target);
    return status;
}

static int run(struct replay *replay, const char *directory)
{
    struct error error;
    if (history_open(replay_verb.name, directory, &replay->from.history, &error))
        return verb_fail_open(replay_verb.name, directory, &error);
    if (replay->remap.count == 0)
        replay->to.other_than = directory;
    int status = open_and_play(replay);
    selection_notes_tell(&replay->selection, replay_verb.name, directory);
    history_close(replay->from.history);
    return status;
}

static void set_defaults(struct replay *replay)
{
    replay->rate = 1;
    replay->gap_max_ns = INT64_MAX;
    replay->progress.next_ns = INT64_MIN;
    replay->from = (struct replay_source_options){
        .selection = &replay->selection,
        .remap = &replay->remap,
        .merge_window_ns = MERGE_WINDOW_NS,
        .rounds = 1,
        .bell = &replay->orders.bell,
    };
    replay->to = (struct replay_target_options){
        .verb = replay_verb.name,
        .style = {.format = OUTPUT_JSON, .zone = UNITS_LOCAL},
        .prefix = "bitten.",
        .subscribers = 1,
    };
    replay->player.orders = &replay->orders;
    replay->player.progress = &replay->progress;
}

int verb_replay(int argc, char **argv)
{
    struct replay *replay = calloc(1, sizeof *replay); /* its histogram is large for a stack */
    if (!replay) {
        verb_say(replay_verb.name, "no memory");
        return STATUS_FAILURE;
    }
    struct options options;
    set_defaults(replay);
    options_init(&options, &replay_verb, argc, argv);
    parse(replay, &options);
    int status = options.finished ? options.status : run(replay, options_directory(&options));
    selection_release(&replay->selection);
    free(replay);
    return status;
}
