#include "tools/daybook/selection.h"

#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "tools/daybook/sql_hints.h"
#include "tools/daybook/verb.h"

static void add_topic(struct selection *selection, struct options *options, const char *pattern)
{
    struct error error;
    if (topic_patterns_add(&selection->topics, pattern, strlen(pattern), &error))
        options_refuse(options, "-t '%s': %s", pattern, error.text);
}

static void set_grep(struct selection *selection, struct options *options, const char *pattern)
{
    if (selection->has_grep)
        regfree(&selection->grep);
    int failure = regcomp(&selection->grep, pattern, REG_EXTENDED | REG_NOSUB);
    selection->has_grep = failure == 0;
    if (failure) {
        char text[160];
        regerror(failure, &selection->grep, text, sizeof text);
        options_refuse(options, "-g '%s' is no regular expression: %s", pattern, text);
    }
}

/* Twice would need a rule that nobody knows. */
static void set_where(struct selection *selection, struct options *options, const char *text)
{
    struct error error;
    if (selection->where)
        options_refuse(options, "--where is given twice; join the conditions with AND");
    else if (indexer_where_compile(text, strlen(text), &selection->where, &error))
        options_refuse(options, "--where '%s': %s", text, error.text);
    else if (sql_hints_for_statement(text))
        verb_say(options->verb->name, "%s", sql_hints_for_statement(text));
}

bool selection_flag(struct selection *selection, struct options *options, int id, const char *value)
{
    switch (id) {
    case 'S':
        selection->since_text = value;
        return true;
    case 'U':
        selection->until_text = value;
        return true;
    case 't':
        add_topic(selection, options, value);
        return true;
    case 'g':
        set_grep(selection, options, value);
        return true;
    case SELECTION_WHERE:
        set_where(selection, options, value);
        return true;
    case SELECTION_AFTER_SEQ:
        options_count(options, "--after-seq", value, &selection->after_sequence);
        return true;
    default:
        return false;
    }
}

static void parse_time(struct options *options, const char *flag, const char *text,
                       enum units_zone zone, int64_t *time_ns_out)
{
    struct error error;
    if (text &&
        units_parse_time(text, strlen(text), zone, clock_realtime_ns(), time_ns_out, &error))
        options_refuse(options, "%s: %s", flag, error.text);
}

void selection_finish(struct selection *selection, struct options *options, enum units_zone zone)
{
    selection->since_ns = INT64_MIN;
    selection->until_ns = INT64_MAX;
    parse_time(options, "-S", selection->since_text, zone, &selection->since_ns);
    parse_time(options, "-U", selection->until_text, zone, &selection->until_ns);
    if (!options->finished && selection->since_ns > selection->until_ns)
        options_refuse(options, "-S '%s' is later than -U '%s'", selection->since_text,
                       selection->until_text);
}

static enum error_code grep_payload(struct selection *selection, const struct event *event,
                                    bool *matches_out, struct error *error)
{
    struct buffer *text = &selection->text;
    text->size = 0;
    enum error_code code =
        json_from_msgpack(event->payload, event->payload_bytes, JSON_COMPACT, text, error);
    if (!code)
        code = buffer_append(text, "", 1, error); /* the NUL; JSON escapes those of the data */
    if (code)
        return code;
    *matches_out = regexec(&selection->grep, (const char *)text->data, 0, NULL, 0) == 0;
    return OK;
}

static bool is_in_range(const struct selection *selection, const struct event *event)
{
    return event->sequence > selection->after_sequence && event->time_ns >= selection->since_ns &&
           event->time_ns <= selection->until_ns &&
           topic_patterns_match(&selection->topics, event->topic, event->topic_bytes);
}

enum error_code selection_match(struct selection *selection, const struct event *event,
                                bool *matches_out, struct error *error)
{
    enum error_code code = OK;
    bool matches = is_in_range(selection, event);
    if (matches && selection->where) {
        code = indexer_where_match(selection->where, event, &matches, error);
        if (code)
            return error_prefix(error, "--where");
    }
    if (matches && selection->has_grep)
        code = grep_payload(selection, event, &matches, error);
    if (code)
        return code;
    selection->passed += matches;
    *matches_out = matches;
    return OK;
}

void selection_release(struct selection *selection)
{
    if (selection->has_grep)
        regfree(&selection->grep);
    topic_patterns_release(&selection->topics);
    indexer_where_free(selection->where);
    buffer_release(&selection->text);
    *selection = (struct selection){0};
}
