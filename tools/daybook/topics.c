/*
 * tools/daybook/topics.c - `daybook topics`: what topics there are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/daybook/history.h"
#include "tools/daybook/index.h"
#include "tools/daybook/infer.h"
#include "tools/daybook/listing.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

enum { FLAG_INFER = OPTIONS_LONG };

static const struct options_flag topics_flags[] = {
    {FLAG_INFER, "infer", "TOPIC", "propose a JSON Schema from the stored events of TOPIC"},
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb topics_verb = {
    .name = "topics",
    .usage = "[FLAGS]",
    .about = "List the topics of the log, the largest first, from the index. With --infer, read\n"
             "all events of one topic and print a schema that they all keep to, for 'schema add'.",
    .flags = topics_flags,
    .example = "  daybook topics -o json\n"
               "  daybook topics --infer door > door.json\n",
};

static const char *const names[] = {"topic",    "events",     "bytes",    "first_seq",
                                    "last_seq", "first_time", "last_time"};
static const char query[] =
    "SELECT topic, events, bytes, first_seq, last_seq, first_time, last_time"
    " FROM topics ORDER BY events DESC, topic";

static enum error_code add_topic(struct rows *rows, sqlite3_stmt *topic, struct error *error)
{
    rows_string(rows, (const char *)sqlite3_column_text(topic, 0));
    rows_count(rows, (uint64_t)sqlite3_column_int64(topic, 1));
    rows_size(rows, (uint64_t)sqlite3_column_int64(topic, 2));
    rows_sequence(rows, (uint64_t)sqlite3_column_int64(topic, 3));
    rows_sequence(rows, (uint64_t)sqlite3_column_int64(topic, 4));
    rows_string(rows, (const char *)sqlite3_column_text(topic, 5));
    rows_string(rows, (const char *)sqlite3_column_text(topic, 6));
    return rows_end(rows, error);
}

static enum error_code print_topics(sqlite3 *database, enum rows_format format, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(database, query, -1, &statement, NULL) != SQLITE_OK)
        return index_sql_error(database, error);
    struct listing listing = {format, names, sizeof names / sizeof names[0], add_topic};
    return listing_print(&listing, statement, error);
}

/* All that are there now; straight from the log, so that no index is needed. */
static enum error_code add_events(struct infer *infer, struct history *log, const char *topic,
                                  uint64_t *count_out, struct error *error)
{
    size_t topic_bytes = strlen(topic);
    uint64_t last = history_watermark(log);
    struct event event;
    enum error_code code = history_seek(log, history_bound(log), INT64_MIN, INT64_MAX, error);
    while (!code && !(code = history_next(log, &event, error)) && event.sequence <= last)
        if (event.topic_bytes == topic_bytes && memcmp(event.topic, topic, topic_bytes) == 0) {
            code = infer_add(infer, event.payload, event.payload_bytes, error);
            ++*count_out;
        }
    return code == ERROR_END ? OK : code;
}

static enum error_code infer_topic(struct history *log, const char *topic, uint64_t *count_out,
                                   struct buffer *schema, struct error *error)
{
    struct infer *infer = NULL;
    enum error_code code = infer_create(&infer, error);
    if (!code)
        code = add_events(infer, log, topic, count_out, error);
    if (!code && *count_out == 0)
        code = error_set(error, ERROR_INVALID, "topic '%s' has no stored events to infer from",
                         topic);
    if (!code)
        code = infer_write(infer, schema, error);
    infer_free(infer);
    return code;
}

static int run_infer(const char *directory, const char *topic)
{
    struct history *log = NULL;
    struct buffer schema = {0};
    struct error error;
    uint64_t count = 0;
    if (history_open(topics_verb.name, directory, &log, &error))
        return verb_fail_open(topics_verb.name, directory, &error);
    enum error_code code = infer_topic(log, topic, &count, &schema, &error);
    bool damaged = history_is_damaged(log);
    history_close(log);
    if (!code) {
        fwrite(schema.data, 1, schema.size, stdout);
        putchar('\n');
        verb_say(topics_verb.name,
                 "%" PRIu64 " event%s of '%s' keep%s to this; look it over before you add it",
                 count, count == 1 ? "" : "s", topic, count == 1 ? "s" : "");
    }
    buffer_release(&schema);
    if (code)
        return verb_fail(topics_verb.name, &error);
    return damaged ? STATUS_DAMAGE : STATUS_OK;
}

int verb_topics(int argc, char **argv)
{
    struct options options;
    const char *value, *topic = NULL;
    int id, format = ROWS_TABLE;
    options_init(&options, &topics_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        if (id == FLAG_INFER)
            topic = value;
        else
            options_choice(&options, "-o", value, rows_format_names, &format);
    options_refuse_operands(&options);
    struct error error;
    if (topic && event_check_topic(topic, strlen(topic), &error))
        options_refuse(&options, "--infer: %s", error.text);
    if (options.finished)
        return options.status;

    sqlite3 *database = NULL;
    struct index_trouble trouble;
    const char *directory = options_directory(&options);
    if (topic)
        return run_infer(directory, topic);
    if (index_open(topics_verb.name, directory, &database, &trouble, &error))
        return verb_fail_open(topics_verb.name, directory, &error);
    enum error_code code = print_topics(database, (enum rows_format)format, &error);
    index_close(database, &trouble);
    if (code && code != ERROR_CLOSED)
        return verb_fail(topics_verb.name, &error);
    return index_status(&trouble, directory);
}
