/*
 * tools/daybook/pub.c - `daybook pub`: JSON lines in, events into the log.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/units.h"
#include "tools/daybook/interrupt.h"
#include "tools/daybook/lines.h"
#include "tools/daybook/options.h"
#include "tools/daybook/publisher.h"
#include "tools/daybook/shape.h"
#include "tools/daybook/together.h"
#include "tools/daybook/verb.h"
#include "tools/expectation.h"

enum {
    FLAG_TOPIC_FIELD = OPTIONS_LONG,
    FLAG_TIME_FIELD,
    FLAG_PRODUCER,
    FLAG_ACK,
    FLAG_EXPECT_LAST,
    FLAG_EXPECT_TOPIC,
};

static const struct options_flag pub_flags[] = {
    {'t', "topic", "TOPIC", "lines are bare objects, all of this topic"},
    {FLAG_TOPIC_FIELD, "topic-field", "FIELD", "lines are bare objects, this field is the topic"},
    {FLAG_TIME_FIELD, "time-field", "FIELD",
     "this field is the time: ISO text (else UTC), or s, ms, us, ns"},
    {FLAG_PRODUCER, "producer", "NAME",
     "numbered: once over reconnects within a run, but again in a new run"},
    {FLAG_ACK, "ack", "LEVEL", "durable (default), written or none; through the daemon"},
    {FLAG_EXPECT_LAST, "expect-last", "SEQ",
     "publish all lines at once, and only if no event is behind this one"},
    {FLAG_EXPECT_TOPIC, "expect-topic", "PATTERN", "… of a topic that matches"},
    OPTIONS_DIRECTORY_FLAG,
    {'s', "socket", "SOCKET", "publish to the daemon at this socket, and nowhere else"},
    OPTIONS_SETTING_FLAGS,
    {0},
};

static const struct options_verb pub_verb = {
    .name = "pub",
    .usage = "[FLAGS] [FILE…|-]",
    .about =
        "Publish JSON lines, from files or stdin. Without -t and --topic-field each line is a\n"
        "whole event, {\"topic\":\"t\",\"time\":\"2026-01-02T03:04:05Z\",\"payload\":{}}, where "
        "time may be\nmissing.\n"
        "Uses the daemon when it answers, else opens the directory itself and leaves the index\n"
        "caught up. Bad lines are named on stderr, good ones are stored, and it exits 5 then.\n"
        "When the daemon is lost, a line says so, it is waited for up to 30 s, and a second line\n"
        "says that it is back.\n"
        "A new run publishes its lines anew, with --producer too: to go on after an interruption,\n"
        "begin at the line that pub has named.\n"
        "With --expect-last all lines are stored, or none: exit status 7 when somebody else has\n"
        "published behind SEQ, 1 when a line is bad.\n"
        "The log's settings below count only without a daemon.",
    .flags = pub_flags,
    .example = "  daybook pub --topic-field pattern --time-field timestamp signals.jsonl\n"
               "  echo '{\"topic\":\"door\",\"payload\":{\"open\":true}}' | daybook pub\n"
               "  echo '{\"open\":false}' | daybook pub -t door --expect-last 41\n",
};

static_assert(PUBLISHER_PATIENCE_S == 30, "the help and daybook(1) name the time");

enum { TAG_LINE_BITS = 44 }; /* a tag is the file's index and the line's number */

/* Lines with the same fate, which is told once for all of them. */
struct span {
    uint64_t count;
    uint64_t tag_first, tag_last;
};

struct pub {
    struct shape_rules rules;
    struct publisher_options to;
    char **files;
    uint64_t file_count;

    struct wire_expectation expected;
    struct together together; /* with an expectation: the lines so far */

    struct shape *shape;
    struct publisher *publisher;
    uint64_t refused;
    struct span no_space, unknown;
    uint64_t rest; /* the tag of the first line that was not sent; its line is 0: all were */
    struct error full; /* why there is no room; code OK: there is */
    bool interrupted;
};

static const char *name_of(const struct pub *pub, uint64_t file)
{
    const char *name = pub->files[file];
    return strcmp(name, "-") == 0 ? "<stdin>" : name;
}

static void refuse_line(struct pub *pub, uint64_t file, uint64_t line, const char *reason)
{
    pub->refused++;
    fprintf(stderr, "%s:%" PRIu64 ": %s\n", name_of(pub, file), line, reason);
}

static uint64_t file_of(uint64_t tag)
{
    return tag >> TAG_LINE_BITS;
}

static uint64_t line_of(uint64_t tag)
{
    return tag & ((UINT64_C(1) << TAG_LINE_BITS) - 1);
}

static void refused_by_daemon(void *context, uint64_t tag, const char *reason)
{
    refuse_line(context, file_of(tag), line_of(tag), reason);
}

static void add_to_span(struct span *span, uint64_t tag)
{
    if (span->count++ == 0)
        span->tag_first = tag;
    span->tag_last = tag;
}

static void note_no_space(void *context, uint64_t tag, const char *reason)
{
    struct pub *pub = context;
    add_to_span(&pub->no_space, tag);
    if (!pub->full.code)
        error_set(&pub->full, ERROR_NO_SPACE, "%s", reason);
}

static void note_unknown(void *context, uint64_t tag)
{
    struct pub *pub = context;
    add_to_span(&pub->unknown, tag);
}

static uint64_t tag_of(uint64_t file, uint64_t line)
{
    return file << TAG_LINE_BITS | line;
}

/* Only what ends publishing is an error here; a bad line is named and passed over. */
static enum error_code publish_line(struct pub *pub, uint64_t file, const struct line *line,
                                    struct error *error)
{
    struct event event;
    enum error_code code;
    if (!line->too_long && json_is_blank(line->text, line->bytes))
        return OK;
    if (line->too_long)
        code = error_set(error, ERROR_INVALID, "the line is longer than %d MiB",
                         LINES_BYTES_MAX >> 20);
    else
        code = shape_event(pub->shape, line->text, line->bytes, &event, error);
    if (!code && pub->expected.given)
        code = together_add(&pub->together, &event, error);
    else if (!code)
        code = publisher_send(pub->publisher, &event, tag_of(file, line->number), error);
    if (code && pub->expected.given)
        error_prefix(error, "%s:%" PRIu64, name_of(pub, file), line->number);
    if (code != ERROR_INVALID || pub->expected.given)
        return code;
    refuse_line(pub, file, line->number, error->text);
    return OK;
}

/* A full disk refuses everything that follows, too. */
static enum error_code check_disk(const struct pub *pub, struct error *error)
{
    if (pub->full.code)
        *error = pub->full;
    return pub->full.code;
}

/* Publishing stops here. `line` is the first one of the file that was not sent, if there is one. */
static void note_rest(struct pub *pub, uint64_t file, uint64_t line, struct lines *lines)
{
    bool given = lines && line <= lines_given(lines);
    if (given || !lines || !lines_ended(lines))
        pub->rest = tag_of(file, line);
    else if (file + 1 < pub->file_count)
        pub->rest = tag_of(file + 1, 1);
}

static enum error_code publish_file(struct pub *pub, uint64_t file, struct error *error)
{
    struct lines *lines = NULL;
    uint64_t unsent = 1; /* the first line that was not sent */
    enum error_code code = lines_open(pub->files[file], &lines, error);
    while (!code && !interrupt_seen()) {
        struct line line;
        if (!lines_ready(lines))
            code = publisher_push(pub->publisher, error);
        if (!code)
            code = lines_next(lines, &line, error);
        if (!code)
            code = publish_line(pub, file, &line, error);
        if (!code) {
            unsent = line.number + 1;
            code = check_disk(pub, error);
        }
    }
    if (code != ERROR_END || interrupt_seen())
        note_rest(pub, file, unsent, lines);
    lines_close(lines);
    return code == ERROR_END ? OK : code;
}

static enum error_code publish_files(struct pub *pub, struct error *error)
{
    enum error_code code = OK;
    for (uint64_t file = 0; !code && !interrupt_seen() && file < pub->file_count; file++)
        code = publish_file(pub, file, error);
    pub->interrupted = interrupt_seen();
    if (code || pub->interrupted || pub->together.count == 0)
        return code;
    return publisher_publish_together(pub->publisher, together_events(&pub->together),
                                      pub->together.count, &pub->expected, error);
}

static const char *ack_words(const struct pub *pub, const struct publisher_totals *totals)
{
    if (totals->embedded || pub->to.ack == DAYBOOK_ACK_DURABLE)
        return "stored durably";
    return pub->to.ack == DAYBOOK_ACK_WRITTEN ? "written" : "sent";
}

static void print_summary(const struct pub *pub, const struct publisher_totals *totals,
                          double seconds)
{
    char count[UNITS_TEXT_SIZE + 8];
    units_format_count(totals->stored, count);
    fprintf(stderr, "%s event%s %s in %.2f s", count, totals->stored == 1 ? "" : "s",
            ack_words(pub, totals), seconds);
    if (totals->sequence_last && totals->sequence_first == totals->sequence_last)
        fprintf(stderr, " (sequence %" PRIu64 ")", totals->sequence_last);
    else if (totals->sequence_last)
        fprintf(stderr, " (sequences %" PRIu64 "-%" PRIu64 ")", totals->sequence_first,
                totals->sequence_last);
    if (totals->duplicates)
        fprintf(stderr, ", %" PRIu64 " were stored before", totals->duplicates);
    if (totals->unknown)
        fprintf(stderr, ", %" PRIu64 " with unknown outcome", totals->unknown);
    if (totals->no_space)
        fprintf(stderr, ", %" PRIu64 " not stored for lack of space", totals->no_space);
    if (pub->refused)
        fprintf(stderr, ", %" PRIu64 " line%s refused", pub->refused, pub->refused == 1 ? "" : "s");
    fprintf(stderr, "%s\n", pub->interrupted ? ", interrupted" : "");
}

/* "3 events from a.json:7 to a.json:9 were not stored" */
static void tell_span(const struct pub *pub, const struct span *span, const char *fate_of_one,
                      const char *fate_of_many)
{
    const char *first = name_of(pub, file_of(span->tag_first));
    const char *last = name_of(pub, file_of(span->tag_last));
    if (span->count == 1)
        verb_say(pub_verb.name, "%s:%" PRIu64 " %s", first, line_of(span->tag_first), fate_of_one);
    else if (span->count > 1)
        verb_say(pub_verb.name, "%" PRIu64 " events from %s:%" PRIu64 " to %s:%" PRIu64 " %s",
                 span->count, first, line_of(span->tag_first), last, line_of(span->tag_last),
                 fate_of_many);
}

/* Of each line there is to know what became of it, so that one can go on behind. */
static void tell_lines(const struct pub *pub)
{
    if (pub->expected.given) {
        if (pub->interrupted)
            verb_say(pub_verb.name, "interrupted: nothing was published");
        return;
    }
    tell_span(pub, &pub->no_space, "was not stored", "were not stored");
    tell_span(pub, &pub->unknown, "may be stored or not", "may be stored or not");
    if (line_of(pub->rest) > 0)
        verb_say(pub_verb.name, "%s:%" PRIu64 " and everything behind it was not sent",
                 name_of(pub, file_of(pub->rest)), line_of(pub->rest));
}

static int fail(const struct error *error)
{
    if (error->code == ERROR_NO_SPACE)
        verb_say(pub_verb.name,
                 "stopped: the log's disk is full: %s; make room, for example with "
                 "'daybook retention --max-size SIZE', which deletes the oldest events",
                 error->text);
    else if (error->code == ERROR_CONFLICT)
        verb_say(pub_verb.name, "nothing was published: %s", error->text);
    else
        verb_say(pub_verb.name, "%s", error->text);
    return error->code == ERROR_CLOSED     ? STATUS_UNREACHABLE
           : error->code == ERROR_DAMAGED  ? STATUS_DAMAGE
           : error->code == ERROR_CONFLICT ? STATUS_CONFLICT
                                           : STATUS_FAILURE;
}

static int publish(struct pub *pub)
{
    struct error error, close_error;
    struct publisher_totals totals;
    int64_t start_ns = clock_monotonic_ns();
    if (publisher_open(&pub->to, &pub->publisher, &error))
        return fail(&error);
    interrupt_catch();
    enum error_code code = publish_files(pub, &error);
    if (publisher_flush(pub->publisher, &close_error) && !code) {
        code = close_error.code;
        error = close_error;
    }
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (publisher_close(pub->publisher, &totals, &close_error) && !code) {
        code = close_error.code;
        error = close_error;
    }
    /* Whether the daemon's answer came before the last line or after it makes no difference. */
    if (code != ERROR_NO_SPACE && check_disk(pub, &close_error)) {
        code = close_error.code;
        error = close_error;
    }
    int status = STATUS_OK;
    if (code)
        status = fail(&error);
    else if (totals.unknown)
        status = STATUS_FAILURE;
    else if (pub->refused || pub->interrupted)
        status = STATUS_INCOMPLETE;
    tell_lines(pub);
    print_summary(pub, &totals, seconds);
    return status;
}

/* Better no log at all than a new one without what the user wanted in it. */
static bool check_files(const struct pub *pub)
{
    for (uint64_t i = 0; i < pub->file_count; i++) {
        struct stat status;
        const char *path = pub->files[i];
        if (strcmp(path, "-") == 0)
            continue;
        int reason = access(path, R_OK) || stat(path, &status) ? errno : 0;
        if (!reason && S_ISDIR(status.st_mode))
            reason = EISDIR;
        if (!reason)
            continue;
        verb_say(pub_verb.name, "read '%s': %s; nothing was published", path, strerror(reason));
        return false;
    }
    return true;
}

static void parse_ack(struct pub *pub, struct options *options, const char *value)
{
    static const char *const choices[] = {"durable", "written", "none", NULL};
    int index = 0;
    options_choice(options, "--ack", value, choices, &index);
    pub->to.ack = (enum daybook_ack)index;
}

static void parse_flag(struct pub *pub, struct options *options, int id, const char *value)
{
    switch (id) {
    case 't':
        pub->rules.topic = value;
        break;
    case FLAG_TOPIC_FIELD:
        pub->rules.topic_field = value;
        break;
    case FLAG_TIME_FIELD:
        pub->rules.time_field = value;
        break;
    case FLAG_PRODUCER:
        pub->to.producer = value;
        break;
    case FLAG_ACK:
        parse_ack(pub, options, value);
        break;
    case FLAG_EXPECT_LAST:
        pub->expected.given = true;
        options_count(options, "--expect-last", value, &pub->expected.last);
        break;
    case FLAG_EXPECT_TOPIC:
        pub->expected.topic = (struct wire_text){value, strlen(value)};
        break;
    default:
        break;
    }
}

static void check_flags(const struct pub *pub, struct options *options)
{
    struct error error;
    if (pub->rules.topic && pub->rules.topic_field)
        options_refuse(options, "-t and --topic-field exclude each other");
    else if (pub->rules.topic &&
             event_check_topic(pub->rules.topic, strlen(pub->rules.topic), &error))
        options_refuse(options, "-t: %s", error.text);
    else if (pub->to.producer &&
             event_check_producer(pub->to.producer, strlen(pub->to.producer), &error))
        options_refuse(options, "--producer: %s", error.text);
    else if (expectation_check(&pub->expected, &error))
        options_refuse(options, "%s", error.text);
}

int verb_pub(int argc, char **argv)
{
    char *standard_input[] = {(char[]){"-"}, NULL};
    struct options options;
    struct pub pub = {.to = {.verb = pub_verb.name,
                             .refused = refused_by_daemon,
                             .no_space = note_no_space,
                             .unknown = note_unknown}};
    const char *value;
    int id;
    options_init(&options, &pub_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        parse_flag(&pub, &options, id, value);
    options_settings(&options, &pub.to.settings);
    if (!options.finished)
        check_flags(&pub, &options);
    if (options.finished)
        return options.status;

    int operands = options_operand_count(&options);
    pub.files = operands ? options_operands(&options) : standard_input;
    pub.file_count = operands ? (uint64_t)operands : 1;
    pub.to.context = &pub;
    pub.to.directory = options_directory(&options);
    pub.to.socket = options_socket(&options);
    pub.to.daemon_only = options_socket_is_explicit(&options);
    pub.to.same_log = options_may_disagree(&options);
    if (!check_files(&pub))
        return STATUS_FAILURE;
    struct error error;
    if (shape_create(&pub.rules, &pub.shape, &error))
        return verb_fail(pub_verb.name, &error);
    int status = publish(&pub);
    together_release(&pub.together);
    shape_free(pub.shape);
    return status;
}
