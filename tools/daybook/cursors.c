/*
 * tools/daybook/cursors.c - `daybook cursors`: how far consumers have come; move, hold, remove.
 */
#include "segment/cursors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/units.h"
#include "segment/reader.h"
#include "tools/daybook/cursors_change.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

enum { FLAG_RESET = OPTIONS_LONG, FLAG_HOLD, FLAG_REMOVE, FLAG_DRY_RUN };

static const struct options_flag cursors_flags[] = {
    {FLAG_RESET, "reset-to", "WHERE", "earliest, latest, a sequence (done up to there) or a time"},
    {FLAG_HOLD, "hold", "SIZE", "keep from retention what is not done, at most SIZE; or 'off'"},
    {FLAG_REMOVE, "remove", NULL, "remove the cursors"},
    {FLAG_DRY_RUN, "dry-run", NULL, "change nothing, say what would be changed"},
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb cursors_verb = {
    .name = "cursors",
    .usage = "[NAME…] [FLAGS]",
    .about =
        "List the cursors of the log: where each consumer stands and how far it is behind. Or\n"
        "move, hold back or remove those that are named; not while somebody uses them. Needs no\n"
        "daemon. Consumers make them: 'daybook read --cursor NAME', or a subscription.",
    .flags = cursors_flags,
    .example = "  daybook cursors\n"
               "  daybook cursors billing --reset-to '2026-01-02 03:00' --dry-run\n"
               "  daybook cursors billing --hold 5G\n",
};

static const char *const names[] = {"cursor",  "kind",   "position", "lag",      "lag_time",
                                    "pending", "in_use", "hold",     "committed"};

/* What the verb looks at. */
struct place {
    const char *directory;
    struct segment_reader *reader;
    uint64_t bound, last;
    int64_t now_ns;
    int status;
};

/* A mistake in one cursor does not keep the others from being listed, but shows in the end. */
static void complain(struct place *place, const struct error *error)
{
    int status = verb_fail(cursors_verb.name, error);
    if (place->status != STATUS_DAMAGE)
        place->status = status;
}

/* Events are counted by their sequences: some of those may be missing, or not be for it. */
static uint64_t count_lag(const struct place *place, const struct segment_cursor_state *state)
{
    uint64_t from = state->position + 1 < place->bound ? place->bound - 1 : state->position;
    return (place->last > from ? place->last - from : 0) + state->pending_count;
}

/* How long ago was the first event that is not done? */
static void add_lag_time(struct rows *rows, const struct place *place,
                         const struct segment_cursor_state *state)
{
    struct event event;
    enum error_code code = segment_reader_seek(place->reader, state->needed, NULL);
    if (!code)
        code = segment_reader_next(place->reader, &event, NULL);
    if (code)
        rows_null(rows);
    else
        rows_duration(rows, place->now_ns > event.time_ns ? place->now_ns - event.time_ns : 0);
}

static void add_user(struct rows *rows, const struct segment_cursor_look *look)
{
    char text[64];
    if (!look->in_use)
        rows_null(rows);
    else if (!look->user_pid)
        rows_string(rows, "yes");
    else {
        snprintf(text, sizeof text, "%s (pid %d)", look->user_name, look->user_pid);
        rows_string(rows, text);
    }
}

static enum error_code add_cursor(struct rows *rows, struct place *place,
                                  const struct segment_cursors_cursor *cursor, struct error *error)
{
    const struct segment_cursor_state *state = &cursor->look.state;
    rows_string(rows, cursor->name);
    if (cursor->trouble.code) {
        rows_string(rows, cursor->trouble.code == ERROR_DAMAGED   ? "damaged"
                          : cursor->trouble.code == ERROR_FOREIGN ? "foreign"
                                                                  : "unreadable");
        for (size_t i = 2; i < sizeof names / sizeof names[0]; i++)
            rows_null(rows);
        return rows_end(rows, error);
    }
    uint64_t lag = count_lag(place, state);
    rows_string(rows, state->kind == CURSOR_SHARED ? "shared" : "single");
    rows_sequence(rows, state->position);
    rows_count(rows, lag);
    if (lag)
        add_lag_time(rows, place, state);
    else
        rows_null(rows);
    rows_count(rows, state->pending_count);
    add_user(rows, &cursor->look);
    if (state->hold_bytes)
        rows_size(rows, state->hold_bytes);
    else
        rows_null(rows);
    rows_time(rows, state->committed_ns);
    return rows_end(rows, error);
}

/* What the row cannot show. */
static void tell_trouble(struct place *place, const struct segment_cursors_cursor *cursor)
{
    struct error error;
    if (cursor->trouble.code)
        complain(place, &cursor->trouble);
    else if (segment_cursor_check_position(cursor->name, &cursor->look.state, place->last, &error))
        complain(place, &error);
    else if (cursor->look.state.copy_lost)
        verb_say(cursors_verb.name,
                 "note: one of the two copies of '%s' is torn, as a crash leaves it, or damaged: "
                 "it may stand one commit behind; the next commit mends it",
                 cursor->name);
}

static bool is_asked_for(const char *name, char **operands, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(operands[i], name) == 0)
            return true;
    return count == 0;
}

static enum error_code print_cursors(struct place *place, const struct segment_cursors *cursors,
                                     char **operands, int count, enum rows_format format,
                                     struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code =
        rows_create(stdout, format, false, names, sizeof names / sizeof names[0], &rows, error);
    for (size_t i = 0; !code && i < cursors->count; i++)
        if (is_asked_for(cursors->list[i].name, operands, count))
            code = add_cursor(rows, place, &cursors->list[i], error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}

static void find_missing(struct place *place, const struct segment_cursors *cursors,
                         char **operands, int count)
{
    struct error error;
    for (int i = 0; i < count; i++)
        if (!segment_cursors_find(cursors, operands[i])) {
            error_set(&error, ERROR_NOT_FOUND, "there is no cursor '%s' in '%s'", operands[i],
                      place->directory);
            complain(place, &error);
        }
}

static int list(struct place *place, char **operands, int count, enum rows_format format)
{
    struct error error;
    struct segment_cursors cursors = {0};
    int log_fd = -1;
    enum error_code code = file_open_directory_to_read(place->directory, &log_fd, &error);
    if (!code)
        code = segment_cursors_load(log_fd, segment_reader_log_id(place->reader), &cursors, &error);
    /* What was committed before the list was made is durable by now. */
    place->last = segment_reader_watermark(place->reader);
    if (!code)
        code = print_cursors(place, &cursors, operands, count, format, &error);
    for (size_t i = 0; !code && i < cursors.count; i++)
        if (is_asked_for(cursors.list[i].name, operands, count))
            tell_trouble(place, &cursors.list[i]);
    if (!code)
        find_missing(place, &cursors, operands, count);
    segment_cursors_free(&cursors);
    file_close(&log_fd);
    if (code && code != ERROR_CLOSED)
        return verb_fail(cursors_verb.name, &error);
    return place->status;
}

static int change(struct place *place, char **operands, int count,
                  const struct cursors_request *request)
{
    struct error error;
    for (int i = 0; i < count; i++)
        if (cursors_change(place->directory, place->reader, operands[i], request, &error))
            complain(place, &error);
    return place->status;
}

static void parse_target(struct options *options, const char *value,
                         struct cursors_request *request)
{
    struct error error;
    request->reset = true;
    if (strcmp(value, "earliest") == 0)
        request->target = CURSORS_EARLIEST;
    else if (strcmp(value, "latest") == 0)
        request->target = CURSORS_LATEST;
    else if (value[0] && value[strspn(value, "0123456789")] == '\0') {
        request->target = CURSORS_SEQUENCE;
        options_count(options, "--reset-to", value, &request->sequence);
    } else if (units_parse_time(value, strlen(value), UNITS_LOCAL, clock_realtime_ns(),
                                &request->time_ns, &error))
        options_refuse(options, "--reset-to: not earliest, not latest, not a sequence, and: %s",
                       error.text);
    else
        request->target = CURSORS_TIME;
}

static void parse_flag(struct options *options, int id, const char *value, int *format,
                       struct cursors_request *request)
{
    switch (id) {
    case FLAG_RESET:
        parse_target(options, value, request);
        break;
    case FLAG_HOLD:
        request->hold = true;
        request->hold_bytes = 0;
        if (strcmp(value, "off") != 0)
            options_size(options, "--hold", value, &request->hold_bytes);
        break;
    case FLAG_REMOVE:
        request->remove = true;
        break;
    case FLAG_DRY_RUN:
        request->dry_run = true;
        break;
    default:
        options_choice(options, "-o", value, rows_format_names, format);
    }
}

/* The first mistake that a combination of flags makes; NULL: none. */
static const char *find_mistake(const struct cursors_request *request, int count)
{
    bool changes = request->reset || request->hold || request->remove;
    if (changes && count == 0)
        return "name the cursors to change: nothing is done to all of them at once";
    if (request->remove && (request->reset || request->hold))
        return "--remove goes with neither --reset-to nor --hold";
    if (request->dry_run && !changes)
        return "--dry-run of what? Say --reset-to, --hold or --remove, too";
    if (request->hold_bytes > INT64_MAX)
        return "--hold: no disk is that large";
    return NULL;
}

static int run(struct options *options, const struct cursors_request *request,
               enum rows_format format)
{
    struct error error;
    struct place place = {.directory = options_directory(options), .now_ns = clock_realtime_ns()};
    int count = options_operand_count(options), status;
    char **operands = options_operands(options);
    if (segment_reader_open(place.directory, &place.reader, &error))
        return verb_fail_open(cursors_verb.name, place.directory, &error);
    place.bound = segment_reader_bound(place.reader);
    if (request->reset || request->hold || request->remove)
        status = change(&place, operands, count, request);
    else
        status = list(&place, operands, count, format);
    segment_reader_close(place.reader);
    return status;
}

int verb_cursors(int argc, char **argv)
{
    struct options options;
    struct cursors_request request = {0};
    struct error error;
    const char *value, *mistake;
    int id, format = ROWS_TABLE;
    options_init(&options, &cursors_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        parse_flag(&options, id, value, &format, &request);
    if (!options.finished) {
        char **operands = options_operands(&options);
        mistake = find_mistake(&request, options_operand_count(&options));
        if (mistake)
            options_refuse(&options, "%s", mistake);
        for (int i = 0; !options.finished && i < options_operand_count(&options); i++)
            if (segment_cursor_check_name(operands[i], strlen(operands[i]), &error))
                options_refuse(&options, "%s", error.text);
    }
    return options.finished ? options.status
                            : run(&options, &request, (enum rows_format)format);
}
