#include "tools/daybook/schema_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"

static const char *const head_names[] = {"topic", "schema", "events", "passed", "failed"};
static const char *const names[] = {"rule", "failed", "seq", "time", "pointer", "reason", "value"};

static enum error_code print_head(const char *topic, const char *schema,
                                  const struct schema_history *history, struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code = rows_create(stdout, ROWS_TABLE, true, head_names,
                                       sizeof head_names / sizeof head_names[0], &rows, error);
    if (code)
        return code;
    rows_string(rows, topic);
    rows_string(rows, schema);
    rows_count(rows, history->events);
    rows_count(rows, history->events - history->failed);
    rows_count(rows, history->failed);
    code = rows_end(rows, error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}

static size_t example_count(const struct schema_history_rule *rule)
{
    return rule->count < SCHEMA_HISTORY_EXAMPLES ? (size_t)rule->count : SCHEMA_HISTORY_EXAMPLES;
}

static enum error_code add_example(struct rows *rows, const struct schema_history_rule *rule,
                                   const struct schema_history_example *example,
                                   struct error *error)
{
    rows_string(rows, rule->rule);
    rows_count(rows, rule->count);
    rows_sequence(rows, example->sequence);
    rows_time(rows, example->time_ns);
    rows_string(rows, example->fault.pointer);
    rows_string(rows, example->fault.text);
    rows_string(rows, example->value[0] ? example->value : NULL);
    return rows_end(rows, error);
}

static enum error_code print_examples(const struct schema_history *history, enum rows_format format,
                                      struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code =
        rows_create(stdout, format, false, names, sizeof names / sizeof names[0], &rows, error);
    for (size_t i = 0; !code && i < history->rule_count; i++)
        for (size_t n = 0; !code && n < example_count(&history->rules[i]); n++)
            code = add_example(rows, &history->rules[i], &history->rules[i].examples[n], error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}

/* ---- JSON ---- */

static void put_string(struct buffer *out, const char *key, const char *text)
{
    buffer_printf(out, NULL, "\"%s\":", key);
    json_append_string(out, text, strlen(text), NULL);
}

static void put_example(struct buffer *out, const struct schema_history_example *example)
{
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(example->time_ns, time);
    buffer_printf(out, NULL, "{\"seq\":%" PRIu64 ",\"time\":\"%s\",", example->sequence, time);
    put_string(out, "pointer", example->fault.pointer);
    buffer_printf(out, NULL, ",");
    put_string(out, "reason", example->fault.text);
    if (example->value[0]) {
        buffer_printf(out, NULL, ",");
        put_string(out, "value", example->value);
    }
    buffer_printf(out, NULL, "}");
}

static void put_rule(struct buffer *out, const struct schema_history_rule *rule)
{
    buffer_printf(out, NULL, "{");
    put_string(out, "rule", rule->rule);
    buffer_printf(out, NULL, ",\"failed\":%" PRIu64 ",\"examples\":[", rule->count);
    for (size_t i = 0; i < example_count(rule); i++) {
        buffer_printf(out, NULL, i ? "," : "");
        put_example(out, &rule->examples[i]);
    }
    buffer_printf(out, NULL, "]}");
}

static enum error_code print_json(const char *topic, const char *schema,
                                  const struct schema_history *history, struct error *error)
{
    struct buffer out = {0};
    buffer_printf(&out, NULL, "{");
    put_string(&out, "topic", topic);
    buffer_printf(&out, NULL, ",");
    put_string(&out, "schema", schema);
    buffer_printf(&out, NULL,
                  ",\"events\":%" PRIu64 ",\"passed\":%" PRIu64 ",\"failed\":%" PRIu64
                  ",\"rules\":[",
                  history->events, history->events - history->failed, history->failed);
    for (size_t i = 0; i < history->rule_count; i++) {
        buffer_printf(&out, NULL, i ? ",\n" : "\n");
        put_rule(&out, &history->rules[i]);
    }
    /* Memory that ran out before shows here, too: the buffer is not whole then. */
    enum error_code code = buffer_printf(&out, error, "]}\n");
    if (!code)
        fwrite(out.data, 1, out.size, stdout);
    buffer_release(&out);
    return code;
}

enum error_code schema_report(const char *topic, const char *schema,
                              const struct schema_history *history, enum rows_format format,
                              struct error *error)
{
    if (format == ROWS_JSON)
        return print_json(topic, schema, history, error);
    enum error_code code =
        format == ROWS_TABLE ? print_head(topic, schema, history, error) : OK;
    if (!code && format == ROWS_TABLE && history->failed > 0)
        putchar('\n');
    if (!code && (history->failed > 0 || format == ROWS_CSV))
        code = print_examples(history, format, error);
    return code;
}
