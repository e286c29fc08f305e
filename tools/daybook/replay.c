/*
 * tools/daybook/replay.c - `daybook replay`: events again, with their timing.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/units.h"
#include "tools/daybook/history.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/options.h"
#include "tools/daybook/output.h"
#include "tools/daybook/pace.h"
#include "tools/daybook/pace_report.h"
#include "tools/daybook/publisher.h"
#include "tools/daybook/remap.h"
#include "tools/daybook/selection.h"
#include "tools/daybook/selection_notes.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum { FLAG_LOOP = OPTIONS_LONG + 10, FLAG_REMAP, FLAG_TO, FLAG_REPORT };

/* Events that are due together leave together, but not more than so many or so much. */
enum { BATCH_EVENTS = 512, BATCH_BYTES = 32 << 10 };

static const struct options_flag replay_flags[] = {
    {'r', "rate", "X", "1 as recorded (default), 10 ten times as fast, 0.5, or max"},
    SELECTION_TIME_FLAGS,
    SELECTION_TOPIC_FLAG,
    SELECTION_WHERE_FLAG,
    SELECTION_AFTER_FLAG,
    {FLAG_LOOP, "loop", "[N]", "start again at the end, N times in all or for ever"},
    {FLAG_REMAP, "remap", "A:=B", "publish topic A as B, may be repeated"},
    {FLAG_TO, "to", "SOCKET", "publish to the daemon at this socket instead of printing"},
    {'o', "output", "FORMAT", OUTPUT_FORMATS " (default json)"},
    {'u', "utc", NULL, "times in UTC, read and printed"},
    {FLAG_REPORT, "report", "FILE", "write the closing report as JSON, too"},
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb replay_verb = {
    .name = "replay",
    .usage = "[FLAGS]",
    .about =
        "Give the events of the past again, with the gaps between them as they were recorded.\n"
        "An event whose time goes back leaves at once. Ends with a report on stderr of how\n"
        "faithful it was. Ctrl-C ends it early.",
    .flags = replay_flags,
    .example = "  daybook replay -S yesterday -U today -r 60 -t 'orders.*'\n"
               "  daybook replay -r max --to /run/test/daybook.sock --remap orders:=test/orders\n",
};

struct replay {
    double rate; /* 0: max */
    bool loop;
    uint64_t rounds; /* 0: for ever */
    struct remap remap;
    const char *to_socket;
    bool format_given;
    const char *report_path;
    struct output_style style;
    struct selection selection;

    struct history *history;
    struct output *output;       /* either this */
    struct publisher *publisher; /* or this */
    struct pace pace;
    int64_t due_ns[BATCH_EVENTS]; /* of the events that wait for the next flush */
    size_t batch_count;
    size_t batch_bytes;
    uint64_t sequence_last;
    uint64_t refused;
    uint64_t rounds_done;
    int64_t began_ns, ended_ns;
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
    replay->rounds = 0;
    if (!value)
        return;
    options_count(options, "--loop", value, &replay->rounds);
    if (!options->finished && replay->rounds == 0)
        options_refuse(options, "--loop 0 would replay nothing: without a number it never ends");
}

static void parse_format(struct replay *replay, struct options *options, const char *value)
{
    int format = (int)replay->style.format;
    options_choice(options, "-o", value, output_format_names, &format);
    replay->style.format = (enum output_format)format;
    replay->format_given = true;
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
        replay->style.zone = UNITS_UTC;
        break;
    case FLAG_LOOP:
        parse_loop(replay, options, value);
        break;
    case FLAG_REMAP:
        parse_remap(replay, options, value);
        break;
    case FLAG_TO:
        replay->to_socket = value;
        break;
    case FLAG_REPORT:
        replay->report_path = value;
        break;
    default:
        selection_flag(&replay->selection, options, id, value);
    }
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
    if (replay->loop && replay->rounds == 0 && options_operand_count(options) == 1)
        parse_loop(replay, options, options_operands(options)[0]);
    else
        options_refuse_operands(options);
    if (replay->to_socket && replay->format_given)
        options_refuse(options, "-o and --to exclude each other: with --to nothing is printed");
    selection_finish(&replay->selection, options, replay->style.zone);
    if (replay->style.format == OUTPUT_SHORT) {
        replay->style.width = terminal_width(STDOUT_FILENO);
        replay->style.colour = terminal_has_colour(STDOUT_FILENO);
    }
}

/* What is due goes out now. */
static enum error_code flush_batch(struct replay *replay, struct error *error)
{
    if (replay->batch_count == 0)
        return OK;
    enum error_code code = replay->publisher ? publisher_push(replay->publisher, error)
                                             : output_flush(replay->output, error);
    if (code)
        return code;
    int64_t sent_ns = clock_monotonic_ns();
    for (size_t i = 0; i < replay->batch_count; i++)
        pace_record(&replay->pace, replay->due_ns[i], sent_ns);
    replay->batch_count = replay->batch_bytes = 0;
    return OK;
}

static enum error_code add_to_batch(struct replay *replay, const struct event *event,
                                    int64_t due_ns, struct error *error)
{
    struct event renamed = *event;
    remap_apply(&replay->remap, &renamed);
    enum error_code code =
        replay->publisher ? publisher_send(replay->publisher, &renamed, renamed.sequence, error)
                          : output_event(replay->output, &renamed, error);
    replay->due_ns[replay->batch_count++] = due_ns;
    replay->batch_bytes += renamed.payload_bytes;
    return code;
}

/*
 * The event is converted before the wait, so that only a write stands between the deadline and the
 * event's leaving; a daemon's frame would leave at once, so there the wait comes first.
 */
static enum error_code wait_and_send(struct replay *replay, const struct event *event,
                                     int64_t due_ns, struct error *error)
{
    enum error_code code = flush_batch(replay, error); /* they were due already */
    if (!code && !replay->publisher)
        code = add_to_batch(replay, event, due_ns, error);
    if (!code && !pace_wait(due_ns)) {
        replay->batch_count = 0; /* not due, not sent */
        pace_withdraw(&replay->pace);
        return ERROR_END;
    }
    if (!code && replay->publisher)
        code = add_to_batch(replay, event, due_ns, error);
    return code ? code : flush_batch(replay, error);
}

static enum error_code send_event(struct replay *replay, const struct event *event,
                                  struct error *error)
{
    int64_t due_ns = pace_due(&replay->pace, event->time_ns);
    if (due_ns > clock_monotonic_ns())
        return wait_and_send(replay, event, due_ns, error);
    enum error_code code = add_to_batch(replay, event, due_ns, error);
    if (!code && (replay->batch_count == BATCH_EVENTS || replay->batch_bytes >= BATCH_BYTES))
        code = flush_batch(replay, error);
    return code;
}

static enum error_code replay_round(struct replay *replay, struct error *error)
{
    const struct selection *selection = &replay->selection;
    enum error_code code = history_seek(replay->history, selection->after_sequence + 1,
                                        selection->since_ns, selection->until_ns, error);
    pace_restart(&replay->pace);
    while (!code && !interrupt_seen()) {
        struct event event;
        bool wanted = false;
        code = history_next(replay->history, &event, error);
        if (!code && event.sequence > replay->sequence_last)
            code = ERROR_END;
        if (!code)
            code = selection_match(&replay->selection, &event, &wanted, error);
        if (!code && wanted)
            code = send_event(replay, &event, error);
    }
    if (!code || code == ERROR_END)
        code = flush_batch(replay, error);
    return code;
}

static enum error_code replay_rounds(struct replay *replay, struct error *error)
{
    uint64_t rounds = replay->loop ? replay->rounds : 1;
    enum error_code code = OK;
    replay->began_ns = clock_monotonic_ns();
    do {
        uint64_t events_before = replay->pace.events;
        code = replay_round(replay, error);
        replay->rounds_done++;
        if (replay->pace.events == events_before)
            break; /* nothing to replay: for ever would be a busy loop */
    } while (!code && !interrupt_seen() && (rounds == 0 || replay->rounds_done < rounds));
    if (!code && replay->publisher)
        code = publisher_flush(replay->publisher, error);
    replay->ended_ns = clock_monotonic_ns();
    return code;
}

/* The report on stderr, and into the file that was asked for. */
static enum error_code report(const struct replay *replay, struct error *error)
{
    struct pace_report report = {
        .pace = &replay->pace,
        .rounds = replay->rounds_done,
        .refused = replay->refused,
        .took_ns = replay->ended_ns - replay->began_ns,
        .sending_ns = replay->pace.sent_ns ? replay->pace.sent_ns - replay->began_ns : 0,
        .interrupted = interrupt_seen(),
    };
    pace_report_print(&report);
    return replay->report_path ? pace_report_write(&report, replay->report_path, error) : OK;
}

/* A rename that never happened is probably a typing error. */
static void tell_idle_remaps(const struct replay *replay)
{
    for (size_t i = 0; i < replay->remap.count; i++)
        if (!replay->remap.pairs[i].used)
            verb_say(replay_verb.name, "note: --remap '%s' matched no event",
                     replay->remap.pairs[i].from);
}

static void refused_by_daemon(void *context, uint64_t sequence, const char *reason)
{
    struct replay *replay = context;
    replay->refused++;
    verb_say(replay_verb.name, "event %" PRIu64 ": %s", sequence, reason);
}

static enum error_code open_destination(struct replay *replay, struct error *error)
{
    if (!replay->to_socket)
        return output_create(STDOUT_FILENO, &replay->style, &replay->output, error);
    struct publisher_options to = {
        .verb = replay_verb.name,
        .socket = replay->to_socket,
        .daemon_only = true,
        .refused = refused_by_daemon,
        .context = replay,
    };
    return publisher_open(&to, &replay->publisher, error);
}

static int status_of(const struct replay *replay, enum error_code code, const struct error *error)
{
    if (code == ERROR_CLOSED && replay->to_socket) {
        verb_say(replay_verb.name, "%s", error->text);
        return STATUS_UNREACHABLE;
    }
    if (code && code != ERROR_CLOSED) /* who closed the pipe has seen enough */
        return verb_fail(replay_verb.name, error);
    if (history_is_damaged(replay->history))
        return STATUS_DAMAGE;
    return replay->refused ? STATUS_INCOMPLETE : STATUS_OK;
}

static int replay_history(struct replay *replay)
{
    struct error error;
    enum error_code code = open_destination(replay, &error);
    if (code)
        return status_of(replay, code, &error);
    interrupt_catch();
    pace_init(&replay->pace, replay->rate);
    code = replay_rounds(replay, &error);
    struct error close_error;
    if (publisher_close(replay->publisher, NULL, &close_error) && !code) {
        code = close_error.code;
        error = close_error;
    }
    output_free(replay->output);
    int status = status_of(replay, code, &error);
    tell_idle_remaps(replay);
    if (report(replay, &error)) {
        verb_say(replay_verb.name, "%s", error.text);
        return status == STATUS_OK ? STATUS_FAILURE : status;
    }
    return status;
}

static int run(struct replay *replay, const char *directory)
{
    struct error error;
    if (history_open(replay_verb.name, directory, &replay->history, &error))
        return verb_fail_open(replay_verb.name, directory, &error);
    replay->sequence_last = history_watermark(replay->history);
    int status = replay_history(replay);
    selection_notes_tell(&replay->selection, replay_verb.name, directory);
    history_close(replay->history);
    return status;
}

int verb_replay(int argc, char **argv)
{
    struct replay *replay = calloc(1, sizeof *replay); /* its histogram is large for a stack */
    if (!replay) {
        verb_say(replay_verb.name, "no memory");
        return STATUS_FAILURE;
    }
    struct options options;
    replay->rate = 1;
    replay->style = (struct output_style){.format = OUTPUT_JSON, .zone = UNITS_LOCAL};
    options_init(&options, &replay_verb, argc, argv);
    parse(replay, &options);
    int status = options.finished ? options.status : run(replay, options_directory(&options));
    selection_release(&replay->selection);
    free(replay);
    return status;
}
