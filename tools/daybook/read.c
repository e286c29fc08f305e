/*
 * tools/daybook/read.c - `daybook read`: history, and what comes.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "segment/cursor.h"
#include "tools/daybook/backward.h"
#include "tools/daybook/history.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/options.h"
#include "tools/daybook/output.h"
#include "tools/daybook/read_cursor.h"
#include "tools/daybook/selection.h"
#include "tools/daybook/selection_notes.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum { FLAG_CURSOR = OPTIONS_LONG + 32, FOLLOW_LINES = 10, FOLLOW_WAIT_MS = 1000 };

static const struct options_flag read_flags[] = {
    {'f', "follow", NULL, "go on with events as they become durable; Ctrl-C ends"},
    {'n', "lines", "N", "only the last N events, or 'all' (default all; with -f 10)"},
    SELECTION_TIME_FLAGS,
    SELECTION_TOPIC_FLAG,
    SELECTION_WHERE_FLAG,
    SELECTION_GREP_FLAG,
    SELECTION_AFTER_FLAG,
    {FLAG_CURSOR, "cursor", "NAME", "go on behind this cursor, move it behind what was printed"},
    {'r', "reverse", NULL, "the newest first"},
    {'o', "output", "FORMAT", OUTPUT_FORMATS " (default short)"},
    {'u', "utc", NULL, "times in UTC, read and printed"},
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb read_verb = {
    .name = "read",
    .usage = "[FLAGS]",
    .about =
        "Print events in the order of their sequences. Needs no daemon; sees what is durable.\n"
        "Times: '2026-01-02 03:04:05', '03:04', now, today, yesterday, -1h, RFC 3339.",
    .flags = read_flags,
    .example = "  daybook read -f -t 'orders.>'\n"
               "  daybook read -t trade --where \"price > 100 AND side = 'buy'\" -o json\n"
               "  daybook read -S -1h -g '\"status\":\"failed\"' -o json\n",
};

struct read_request {
    bool follow;
    bool reverse;
    bool lines_given;
    bool limited; /* print at most `lines` events of history; with a cursor, of all that come */
    uint64_t lines;
    const char *cursor_name; /* NULL: none */
    struct output_style style;
    struct selection selection;
};

/* What the verb works with once the flags are understood. */
struct read_run {
    struct read_request *request;
    const char *directory;
    struct history *history;
    struct output *output;
    struct read_cursor *cursor; /* NULL: none */
    uint64_t sequence_last; /* of the history that is printed: what was durable at the start */
    bool noted;             /* why nothing is printed, if so */
};

static void parse_lines(struct read_request *request, struct options *options, const char *value)
{
    request->lines_given = true;
    request->limited = strcmp(value, "all") != 0;
    if (request->limited)
        options_count(options, "-n", value, &request->lines);
}

static void parse_flag(struct read_request *request, struct options *options, int id,
                       const char *value)
{
    int format = (int)request->style.format;
    switch (id) {
    case 'f':
        request->follow = true;
        break;
    case 'r':
        request->reverse = true;
        break;
    case 'u':
        request->style.zone = UNITS_UTC;
        break;
    case FLAG_CURSOR:
        request->cursor_name = value;
        break;
    case 'n':
        parse_lines(request, options, value);
        break;
    case 'o':
        options_choice(options, "-o", value, output_format_names, &format);
        request->style.format = (enum output_format)format;
        break;
    default:
        selection_flag(&request->selection, options, id, value);
    }
}

/* As in journalctl: -f shows the last ten first, unless a beginning was named. */
static void default_lines(struct read_request *request)
{
    const struct selection *selection = &request->selection;
    if (!request->follow || request->lines_given || selection->since_text ||
        selection->after_sequence || request->cursor_name)
        return;
    request->limited = true;
    request->lines = FOLLOW_LINES;
}

/*
 * A cursor moves behind what was passed over as not wanted, too: that must be what the user wants
 * to be done with, and not what he has not come to yet.
 */
static void check_cursor(const struct read_request *request, struct options *options)
{
    struct error error;
    const char *name = request->cursor_name;
    if (!name)
        return;
    if (segment_cursor_check_name(name, strlen(name), &error))
        options_refuse(options, "--cursor: %s", error.text);
    else if (request->reverse)
        options_refuse(options, "--cursor and --reverse exclude each other");
    else if (request->selection.until_text)
        options_refuse(options, "--cursor and --until exclude each other: what comes later would "
                                "count as done; see -n");
}

static void parse(struct read_request *request, struct options *options)
{
    const char *value;
    int id;
    request->style.zone = UNITS_LOCAL;
    while ((id = options_next(options, &value)) != OPTIONS_DONE)
        parse_flag(request, options, id, value);
    options_refuse_operands(options);
    if (options->finished)
        return;
    if (request->follow && request->reverse)
        options_refuse(options, "--follow and --reverse exclude each other");
    if (!options->finished)
        check_cursor(request, options);
    selection_finish(&request->selection, options, request->style.zone);
    default_lines(request);
    if (request->style.format == OUTPUT_SHORT) {
        request->style.width = terminal_width(STDOUT_FILENO);
        request->style.colour = terminal_has_colour(STDOUT_FILENO);
    }
}

static enum error_code open_backward(const struct read_run *run, struct backward **backward_out,
                                     struct error *error)
{
    const struct selection *selection = &run->request->selection;
    struct backward_range range = {
        .sequence_first = selection->after_sequence + 1,
        .sequence_last = run->sequence_last,
        .since_ns = selection->since_ns,
        .until_ns = selection->until_ns,
    };
    return backward_open(run->directory, &range, backward_out, error);
}

/* The next wanted event going backwards. Damage is told when `tell`, and passed over. */
static enum error_code previous_wanted(struct read_run *run, struct backward *backward, bool tell,
                                       struct event *event_out, struct error *error)
{
    for (;;) {
        enum error_code code = backward_next(backward, event_out, error);
        if (code == ERROR_DAMAGED) {
            if (tell)
                history_tell_damage(run->history, error);
            continue;
        }
        struct segment_format_gap gap;
        while (tell && backward_loss(backward, &gap))
            history_tell_loss(run->history, &gap);
        bool wanted = false;
        if (code == OK)
            code = selection_match(&run->request->selection, event_out, &wanted, error);
        if (code || wanted)
            return code;
    }
}

/* Forwards the history tells: whoever names a sequence to start behind expects what follows it. */
static void tell_deleted(struct read_run *run)
{
    uint64_t after = run->request->selection.after_sequence;
    uint64_t bound = history_bound(run->history);
    if (after && bound > after + 1)
        history_tell_hole(run->history, after + 1, bound - 1);
}

static enum error_code print_backward(struct read_run *run, struct error *error)
{
    struct backward *backward = NULL;
    enum error_code code = open_backward(run, &backward, error);
    uint64_t left = run->request->limited ? run->request->lines : UINT64_MAX;
    for (; !code && left > 0; left--) {
        struct event event;
        code = previous_wanted(run, backward, true, &event, error);
        if (!code)
            code = output_event(run->output, &event, error);
    }
    backward_close(backward);
    if (code == ERROR_END)
        tell_deleted(run);
    return code == ERROR_END ? OK : code;
}

/* Where must reading start so that `lines` wanted events come up to the end? */
static enum error_code find_start(struct read_run *run, uint64_t *sequence_out, struct error *error)
{
    uint64_t start = run->sequence_last + 1;
    struct backward *backward = NULL;
    enum error_code code = open_backward(run, &backward, error);
    for (uint64_t left = run->request->lines; !code && left > 0; left--) {
        struct event event;
        code = previous_wanted(run, backward, false, &event, error);
        if (!code)
            start = event.sequence;
    }
    backward_close(backward);
    if (code && code != ERROR_END)
        return code;
    *sequence_out = start;
    return OK;
}

/* Show what there is, and then say that it is done. */
static enum error_code settle(struct read_run *run, struct error *error)
{
    enum error_code code = output_flush(run->output, error);
    if (!code && run->cursor)
        code = read_cursor_commit(run->cursor, error);
    return code;
}

/* `left` counts down where a cursor's events are limited: ERROR_END behind the last of them. */
static enum error_code print_if_wanted(struct read_run *run, const struct event *event,
                                       uint64_t *left, struct error *error)
{
    bool wanted = false;
    uint64_t sequence = event->sequence;
    enum error_code code = selection_match(&run->request->selection, event, &wanted, error);
    if (!code && wanted)
        code = output_event(run->output, event, error);
    if (code || !run->cursor)
        return code;
    read_cursor_note(run->cursor, sequence);
    if (wanted && --*left == 0)
        return ERROR_END;
    return read_cursor_is_due(run->cursor) ? settle(run, error) : OK;
}

/* At the end of the history; with -f before the wait for more, and once. */
static void tell_why_nothing(struct read_run *run)
{
    if (!run->noted)
        selection_notes_tell(&run->request->selection, read_verb.name, run->directory);
    run->noted = true;
}

/* Nothing more for now: show what there is before sleeping. ERROR_END: that was all. */
static enum error_code wait_for_more(struct read_run *run, struct error *error)
{
    if (!run->request->follow)
        return ERROR_END;
    enum error_code code = settle(run, error);
    if (!code && interrupt_seen())
        return ERROR_END;
    tell_why_nothing(run);
    if (!code)
        history_wait(run->history, FOLLOW_WAIT_MS);
    return code;
}

static enum error_code print_forward(struct read_run *run, struct error *error)
{
    const struct selection *selection = &run->request->selection;
    uint64_t start = selection->after_sequence + 1, left = UINT64_MAX;
    enum error_code code = OK;
    if (run->cursor) {
        uint64_t behind = read_cursor_position(run->cursor) + 1;
        start = behind > start ? behind : start;
        left = run->request->limited ? run->request->lines : UINT64_MAX;
        code = left ? OK : ERROR_END;
    } else if (run->request->limited) {
        code = find_start(run, &start, error);
    }
    if (!code)
        code = history_seek(run->history, start, selection->since_ns, selection->until_ns, error);
    while (!code && !interrupt_seen()) {
        struct event event;
        code = history_next(run->history, &event, error);
        if (code == ERROR_END)
            code = wait_for_more(run, error);
        else if (!code && event.sequence > run->sequence_last && !run->request->follow)
            code = ERROR_END; /* newer than the command: a fast writer must not keep us for ever */
        else if (!code)
            code = print_if_wanted(run, &event, &left, error);
    }
    return code == ERROR_END ? OK : code;
}

static int print_events(struct read_run *run)
{
    struct error error;
    enum error_code code = output_create(STDOUT_FILENO, &run->request->style, &run->output, &error);
    if (!code)
        code = run->request->reverse ? print_backward(run, &error) : print_forward(run, &error);
    /* What came before a failure was asked for, too. */
    if (!code)
        code = settle(run, &error);
    else if (code != ERROR_CLOSED)
        settle(run, NULL);
    output_free(run->output);
    if (code && code != ERROR_CLOSED) /* who closed the pipe has seen enough */
        return verb_fail(read_verb.name, &error);
    if (!code)
        tell_why_nothing(run);
    return history_is_damaged(run->history) ? STATUS_DAMAGE : STATUS_OK;
}

static int run_read(struct read_request *request, const char *directory)
{
    struct error error;
    struct read_run run = {.request = request, .directory = directory};
    if (history_open(read_verb.name, directory, &run.history, &error))
        return verb_fail_open(read_verb.name, directory, &error);
    run.sequence_last = history_watermark(run.history);
    if (request->cursor_name && read_cursor_open(directory, request->cursor_name, run.history,
                                                 &run.cursor, &error)) {
        history_close(run.history);
        return verb_fail(read_verb.name, &error);
    }
    /* Who has a cursor ends in an orderly way, or what it has printed would come again. */
    if (request->follow || run.cursor)
        interrupt_catch();
    int status = print_events(&run);
    read_cursor_close(run.cursor);
    history_close(run.history);
    return status;
}

int verb_read(int argc, char **argv)
{
    struct read_request request = {0};
    struct options options;
    options_init(&options, &read_verb, argc, argv);
    parse(&request, &options);
    int status =
        options.finished ? options.status : run_read(&request, options_directory(&options));
    selection_release(&request.selection);
    return status;
}
