/*
 * tools/daybook/fields.c - `daybook index`: which payload fields are indexed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "indexer/fields.h"
#include "indexer/query.h"
#include "indexer/wishes.h"
#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/verb.h"

static const struct options_flag index_flags[] = {
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    {0},
};

static const struct options_verb index_verb = {
    .name = "index",
    .usage = "add TOPIC FIELD… | drop TOPIC FIELD… | list [FLAGS]",
    .about =
        "Keep chosen payload fields of a topic in events.db, so that SQL finds events by them;\n"
        "or no longer; or say which are kept, and how far they are filled. A FIELD is a key\n"
        "(user_id), keys joined by dots (order.id), or a path as in SQLite's JSON\n"
        "($.items[0].id). Whoever fills the index, the daemon if one runs, takes in the older\n"
        "events in the background; until it has them all, no query uses the field.",
    .flags = index_flags,
    .example = "  daybook index add signal_generated user_id correlation_id\n"
               "  daybook index list\n",
};

/* What `list` shows of one wish. */
struct listed {
    const struct indexer_wish *wish;
    const struct indexer_field *field; /* NULL: nobody has begun with it */
};

static struct listed look_up(const struct indexer_wish *wish, const struct indexer_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        if (!strcmp(fields->list[i].topic, wish->topic) &&
            !strcmp(fields->list[i].path, wish->path))
            return (struct listed){wish, &fields->list[i]};
    return (struct listed){wish, NULL};
}

static const char *state_of(const struct indexer_field *field)
{
    if (!field)
        return "waiting";
    if (field->done)
        return "done";
    return field->done_seq < field->until_seq ? "filling" : "incomplete";
}

static void add_state(struct rows *rows, const struct indexer_field *field, bool for_people)
{
    const char *state = state_of(field);
    char text[80];
    if (for_people && !strcmp(state, "filling"))
        snprintf(text, sizeof text, "at seq %" PRIu64 " of %" PRIu64, field->done_seq,
                 field->until_seq);
    else if (for_people && !strcmp(state, "incomplete"))
        snprintf(text, sizeof text, "incomplete: events cannot be read");
    else
        snprintf(text, sizeof text, "%s", state);
    rows_string(rows, text);
}

static enum error_code add_row(struct rows *rows, const struct listed *listed, bool for_people,
                               struct error *error)
{
    const struct indexer_field *field = listed->field;
    char storage[32];
    rows_string(rows, listed->wish->topic);
    rows_string(rows, listed->wish->path);
    rows_count(rows, field ? field->events : 0);
    add_state(rows, field, for_people);
    if (!for_people) {
        rows_sequence(rows, field ? field->done_seq : 0);
        rows_sequence(rows, field ? field->until_seq : 0);
    }
    snprintf(storage, sizeof storage, "field_%" PRId64, field ? field->id : 0);
    rows_string(rows, field ? storage : NULL);
    return rows_end(rows, error);
}

static enum error_code print_fields(const struct indexer_wishes *wishes,
                                    const struct indexer_fields *fields, enum rows_format format,
                                    struct error *error)
{
    static const char *const short_names[] = {"topic", "field", "events", "state", "storage"};
    static const char *const names[] = {"topic",    "field",     "events", "state",
                                        "done_seq", "until_seq", "storage"};
    bool for_people = format == ROWS_TABLE;
    struct rows *rows = NULL;
    enum error_code code = rows_create(stdout, format, false, for_people ? short_names : names,
                                       for_people ? sizeof short_names / sizeof short_names[0]
                                                  : sizeof names / sizeof names[0],
                                       &rows, error);
    for (size_t i = 0; !code && i < wishes->count; i++) {
        struct listed listed = look_up(&wishes->list[i], fields);
        code = add_row(rows, &listed, for_people, error);
    }
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}

static enum error_code load_wishes(const char *directory, struct indexer_wishes *wishes_out,
                                   struct error *error)
{
    int log_fd = -1;
    enum error_code code = file_open_directory_to_read(directory, &log_fd, error);
    if (!code)
        code = indexer_wishes_load(log_fd, wishes_out, error);
    file_close(&log_fd);
    return code;
}

static int list_fields(const char *directory, enum rows_format format)
{
    struct error error;
    sqlite3 *database = NULL;
    struct index_trouble trouble;
    struct indexer_wishes wishes = {0};
    struct indexer_fields fields = {0};
    if (index_open(index_verb.name, directory, &database, &trouble, &error))
        return verb_fail_open(index_verb.name, directory, &error);
    enum error_code code = load_wishes(directory, &wishes, &error);
    if (!code)
        code = indexer_fields_load(database, "main", &fields, &error);
    if (!code)
        code = print_fields(&wishes, &fields, format, &error);
    indexer_fields_free(&fields);
    indexer_wishes_release(&wishes);
    index_close(database, &trouble);
    if (code && code != ERROR_CLOSED)
        return verb_fail(index_verb.name, &error);
    return index_status(&trouble, directory);
}

/* A name that was mistyped is a field that no event has. */
static void tell_empty(const char *directory, const struct indexer_wishes *added)
{
    sqlite3 *database = NULL;
    struct indexer_fields fields = {0};
    if (!indexer_query_open(directory, &database, NULL) &&
        !indexer_fields_load(database, "main", &fields, NULL)) {
        for (size_t i = 0; i < added->count; i++) {
            const struct indexer_wish *wish = &added->list[i];
            const struct indexer_field *field =
                indexer_fields_find(&fields, wish->topic, wish->path);
            if (field && field->events == 0)
                verb_say(index_verb.name, "note: no event of topic '%s' has the field '%s' so far",
                         wish->topic, wish->path);
        }
    }
    indexer_fields_free(&fields);
    sqlite3_close_v2(database);
}

static int change_fields(const char *directory, enum indexer_wishes_change change,
                         const struct indexer_wishes *fields)
{
    struct error error;
    size_t changed = 0;
    if (indexer_wishes_change(directory, change, fields, &changed, &error))
        return verb_fail_open(index_verb.name, directory, &error);
    verb_say(index_verb.name, "%zu field%s %s; 'daybook index list' shows what is done", changed,
             changed == 1 ? "" : "s", change == WISHES_ADD ? "added" : "dropped");
    index_freshen(index_verb.name, directory, NULL);
    if (change == WISHES_ADD)
        tell_empty(directory, fields);
    return STATUS_OK;
}

/* `words` are TOPIC FIELD… */
static int change_words(struct options *options, enum indexer_wishes_change change, char **words,
                        int count)
{
    struct error error;
    struct indexer_wishes fields = {0};
    if (count < 2)
        return options_refuse(options, "a topic and at least one field are missing");
    enum error_code code = OK;
    for (int i = 1; !code && i < count; i++)
        code = indexer_wishes_add(&fields, words[0], words[i], &error);
    int status = code ? options_refuse(options, "%s", error.text)
                      : change_fields(options_directory(options), change, &fields);
    indexer_wishes_release(&fields);
    return status;
}

int verb_index(int argc, char **argv)
{
    struct options options;
    const char *value;
    int id, format = ROWS_TABLE;
    options_init(&options, &index_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        options_choice(&options, "-o", value, rows_format_names, &format);
    if (options.finished)
        return options.status;
    char **words = options_operands(&options);
    int count = options_operand_count(&options);
    const char *what = count > 0 ? words[0] : "";
    if (!strcmp(what, "add"))
        return change_words(&options, WISHES_ADD, words + 1, count - 1);
    if (!strcmp(what, "drop"))
        return change_words(&options, WISHES_DROP, words + 1, count - 1);
    if (strcmp(what, "list") || count > 1)
        return options_refuse(&options, "it needs add, drop or list");
    return list_fields(options_directory(&options), (enum rows_format)format);
}
