/*
 * tools/daybook/schema.c - `daybook schema`: what events of a topic must look like.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/schema.h"
#include "core/units.h"
#include "segment/reader.h"
#include "segment/schemas.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/schema_change.h"
#include "tools/daybook/schema_list.h"
#include "tools/daybook/schema_report.h"
#include "tools/daybook/verb.h"

enum { FLAG_MODE = OPTIONS_LONG, FLAG_VERSION };

static const struct options_flag schema_flags[] = {
    {FLAG_MODE, "mode", "MODE", "add: reject|quarantine|warn (default reject)"},
    {FLAG_VERSION, "version", "N", "show: this version (default the one in effect)"},
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    OPTIONS_SOCKET_FLAG,
    OPTIONS_SETTING_FLAGS,
    {0},
};

static const struct options_verb schema_verb = {
    .name = "schema",
    .usage = "add TOPIC FILE | list | show TOPIC | check TOPIC [FILE] | remove TOPIC [FLAGS]",
    .about = "Say by JSON Schema (2020-12) what the payloads of a topic must look like. 'add' puts\n"
             "a schema, or its next version, in effect: each event published from then on is held\n"
             "against it, and one that does not keep to it is refused, stored under\n"
             "_rejected.TOPIC, or stored and counted. 'check' holds what is stored already\n"
             "against the file, or the schema in effect, and changes nothing; it exits 6 when\n"
             "some would fail. FILE '-' is stdin.",
    .flags = schema_flags,
    .example = "  daybook topics --infer door > door.json\n"
               "  daybook schema check door door.json && daybook schema add door door.json\n",
};

/* Flags that have a meaning for some actions only. */
enum given { GIVEN_MODE = 1, GIVEN_VERSION = 2, GIVEN_FORMAT = 4 };

struct request {
    struct options options;
    const char *topic; /* NULL: list */
    const char *file;  /* NULL: none */
    int mode, format;
    uint64_t version; /* 0: none was asked for */
    unsigned given;   /* of enum given */
    struct segment_log_options settings;
    const char *directory;
};

static int fail(const struct error *error)
{
    int status = verb_fail(schema_verb.name, error);
    return error->code == ERROR_CLOSED ? STATUS_UNREACHABLE : status;
}

/* ---- A schema, and where it comes from ---- */

static enum error_code read_file(const char *path, struct buffer *text, struct error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t got = 1;
    enum error_code code = file ? OK : error_set_errno(error, errno, "read '%s'", path);
    while (!code && got > 0) {
        code = buffer_reserve(text, SCHEMA_TEXT_BYTES_MAX / 4, error);
        got = code ? 0 : fread(text->data + text->size, 1, SCHEMA_TEXT_BYTES_MAX / 4, file);
        text->size += got;
        if (!code && text->size > SCHEMA_TEXT_BYTES_MAX)
            code = error_set(error, ERROR_INVALID, "%s: a schema has at most %d bytes", path,
                             (int)SCHEMA_TEXT_BYTES_MAX);
    }
    if (!code && ferror(file))
        code = error_set_errno(error, errno, "read '%s'", path);
    if (file && file != stdin)
        fclose(file);
    return code;
}

static enum error_code compile(const char *name, const struct buffer *text,
                               struct schema **schema_out, struct error *error)
{
    struct error why;
    enum error_code code =
        schema_compile((const char *)text->data, text->size, schema_out, &why);
    return code ? error_set(error, code, "%s: %s", name, why.text) : OK;
}

static enum error_code load_catalogue(const char *directory, int *log_fd_out,
                                      struct segment_schemas *schemas_out, struct error *error)
{
    struct segment_reader *reader = NULL;
    /* A log that is damaged still has a catalogue. */
    enum error_code code = segment_reader_open(directory, &reader, error);
    segment_reader_close(reader);
    if (code == ERROR_NOT_FOUND)
        return code;
    code = file_open_directory_to_read(directory, log_fd_out, error);
    return code ? code : segment_schemas_load(*log_fd_out, schemas_out, error);
}

static const struct segment_schemas_change *find_version(const struct request *request,
                                                         const struct segment_schemas *schemas,
                                                         struct error *error)
{
    size_t topic_bytes = strlen(request->topic);
    const struct segment_schemas_change *change =
        request->version
            ? segment_schemas_version(schemas, request->topic, topic_bytes,
                                      request->version > UINT32_MAX ? 0
                                                                    : (uint32_t)request->version)
            : segment_schemas_present(schemas, request->topic, topic_bytes);
    if (!change && request->version)
        error_set(error, ERROR_NOT_FOUND, "topic '%s' never had a schema of version %" PRIu64,
                  request->topic, request->version);
    else if (!change)
        error_set(error, ERROR_INVALID, "topic '%s' has no schema: 'daybook schema list' tells "
                  "which have", request->topic);
    return change;
}

/* The text of the version that the request means. */
static enum error_code load_text(const struct request *request,
                                 struct segment_schemas_change *change_out, struct buffer *text,
                                 struct error *error)
{
    struct segment_schemas schemas = {0};
    int log_fd = -1;
    enum error_code code = load_catalogue(request->directory, &log_fd, &schemas, error);
    if (!code) {
        const struct segment_schemas_change *change = find_version(request, &schemas, error);
        code = change ? segment_schemas_read_text(log_fd, change, text, error) : ERROR_INVALID;
        if (!code)
            *change_out = *change;
    }
    segment_schemas_free(&schemas);
    file_close(&log_fd);
    return code;
}

/* ---- add, remove ---- */

static void tell_since(const struct segment_schemas_change *change, const char *words)
{
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(change->time_ns, time);
    if (change->action == SCHEMAS_ADD)
        printf("schema %" PRIu32 " of topic '%s' (%s) %s event %" PRIu64 " of %s\n",
               change->version, change->topic, segment_schemas_mode_name(change->mode), words,
               change->since, time);
    else
        printf("the schema of topic '%s' (version %" PRIu32 ") is removed since event %" PRIu64
               " of %s\n",
               change->topic, change->version, change->since, time);
}

static void tell_result(const struct request *request, const struct schema_change_result *result)
{
    if (result->finished)
        verb_say(schema_verb.name,
                 "note: a change of topic '%s' had been left unfinished and was finished: it is in "
                 "effect since event %" PRIu64,
                 result->earlier.topic, result->earlier.since);
    if (result->done)
        tell_since(&result->present, "is in effect since");
    else if (result->none)
        verb_say(schema_verb.name, "topic '%s' has no schema; nothing to do", request->topic);
    else
        tell_since(&result->present, "was in effect already, since");
}

static int change(struct request *request, const struct schema_change_wish *wish)
{
    struct publisher_options to = {
        .verb = schema_verb.name,
        .directory = request->directory,
        .socket = options_socket(&request->options),
        .daemon_only = options_socket_is_explicit(&request->options),
        .same_log = true, /* the catalogue is in the directory */
        .settings = request->settings,
    };
    struct schema_change_result result;
    struct error error;
    enum error_code code = schema_change(&to, wish, &result, &error);
    if (code == ERROR_NOT_FOUND)
        return verb_fail_open(schema_verb.name, request->directory, &error);
    if (code)
        return fail(&error);
    tell_result(request, &result);
    return STATUS_OK;
}

static int run_add(struct request *request)
{
    struct schema_change_wish wish = {
        SCHEMAS_ADD, request->topic, NULL, (enum segment_schemas_mode)request->mode};
    struct schema *schema = NULL;
    struct buffer text = {0};
    struct error error;
    int status;
    if (read_file(request->file, &text, &error) ||
        compile(request->file, &text, &schema, &error)) {
        status = fail(&error);
    } else {
        wish.text = &text;
        status = change(request, &wish);
    }
    schema_free(schema);
    buffer_release(&text);
    return status;
}

static int run_remove(struct request *request)
{
    struct schema_change_wish wish = {SCHEMAS_REMOVE, request->topic, NULL, SCHEMAS_REJECT};
    return change(request, &wish);
}

/* ---- list, show, check ---- */

static int run_list(struct request *request)
{
    struct segment_schemas schemas = {0};
    struct buffer status = {0};
    struct error error;
    int log_fd = -1;
    enum error_code code = load_catalogue(request->directory, &log_fd, &schemas, &error);
    if (!code) {
        schema_list_ask(request->directory, options_socket(&request->options), &status);
        code = schema_list(&schemas, &status, (enum rows_format)request->format, &error);
    }
    if (!code && segment_schemas_pending(&schemas))
        verb_say(schema_verb.name,
                 "a change is pending: it was interrupted, and 'daybook schema add' or 'remove' "
                 "finishes it");
    segment_schemas_free(&schemas);
    buffer_release(&status);
    file_close(&log_fd);
    if (code == ERROR_CLOSED)
        return STATUS_OK;
    return code ? verb_fail_open(schema_verb.name, request->directory, &error) : STATUS_OK;
}

static int run_show(struct request *request)
{
    struct segment_schemas_change change;
    struct buffer text = {0};
    struct error error;
    enum error_code code = load_text(request, &change, &text, &error);
    if (!code)
        fwrite(text.data, 1, text.size, stdout);
    buffer_release(&text);
    if (code == ERROR_NOT_FOUND)
        return verb_fail_open(schema_verb.name, request->directory, &error);
    return code ? verb_fail(schema_verb.name, &error) : STATUS_OK;
}

static int hold_history_against(const struct request *request, const char *name,
                                struct schema *schema)
{
    struct history *log = NULL;
    struct schema_history history = {0};
    struct error error;
    if (history_open(schema_verb.name, request->directory, &log, &error))
        return verb_fail_open(schema_verb.name, request->directory, &error);
    enum error_code code = schema_history_check(log, request->topic, schema, &history, &error);
    if (!code)
        code = schema_report(request->topic, name, &history, (enum rows_format)request->format,
                             &error);
    if (!code && history.others > 0)
        verb_say(schema_verb.name, "%" PRIu64 " more events break other rules", history.others);
    bool damaged = history_is_damaged(log), failed = history.failed > 0;
    schema_history_release(&history);
    history_close(log);
    if (code && code != ERROR_CLOSED)
        return verb_fail(schema_verb.name, &error);
    if (damaged)
        return STATUS_DAMAGE;
    return failed ? STATUS_DIFFERENT : STATUS_OK;
}

static int run_check(struct request *request)
{
    struct segment_schemas_change change = {0};
    struct schema *schema = NULL;
    struct buffer text = {0};
    struct error error;
    char name[64];
    enum error_code code = request->file ? read_file(request->file, &text, &error)
                                         : load_text(request, &change, &text, &error);
    snprintf(name, sizeof name, "version %" PRIu32, change.version);
    const char *what = request->file ? request->file : name;
    if (!code)
        code = compile(what, &text, &schema, &error);
    int status;
    if (code == ERROR_NOT_FOUND && !request->file)
        status = verb_fail_open(schema_verb.name, request->directory, &error);
    else
        status = code ? fail(&error) : hold_history_against(request, what, schema);
    schema_free(schema);
    buffer_release(&text);
    return status;
}

/* ---- The command line ---- */

struct action {
    const char *name;
    int (*run)(struct request *request);
    int operands_min, operands_max; /* behind the action */
    unsigned takes;                 /* of enum given */
};

static const struct action actions[] = {
    {"add", run_add, 2, 2, GIVEN_MODE},       {"list", run_list, 0, 0, GIVEN_FORMAT},
    {"show", run_show, 1, 1, GIVEN_VERSION},  {"check", run_check, 1, 2, GIVEN_FORMAT},
    {"remove", run_remove, 1, 1, 0},
};

static void parse_flag(struct request *request, int id, const char *value)
{
    static const char *const modes[] = {"reject", "quarantine", "warn", NULL};
    struct options *options = &request->options;
    switch (id) {
    case FLAG_MODE:
        options_choice(options, "--mode", value, modes, &request->mode);
        request->given |= GIVEN_MODE;
        break;
    case FLAG_VERSION:
        options_count(options, "--version", value, &request->version);
        request->given |= GIVEN_VERSION;
        break;
    default:
        options_choice(options, "-o", value, rows_format_names, &request->format);
        request->given |= GIVEN_FORMAT;
    }
}

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static void refuse_meaningless(struct request *request, const struct action *action)
{
    static const struct {
        unsigned flag;
        const char *name, *of;
    } FLAGS[] = {{GIVEN_MODE, "--mode", "add"},
                 {GIVEN_VERSION, "--version", "show"},
                 {GIVEN_FORMAT, "-o", "list and check"}};
    unsigned wrong = request->given & ~action->takes;
    for (size_t i = 0; i < sizeof FLAGS / sizeof FLAGS[0]; i++)
        if (wrong & FLAGS[i].flag) {
            options_refuse(&request->options, "%s is a flag of %s, and means nothing to %s",
                           FLAGS[i].name, FLAGS[i].of, action->name);
            return;
        }
}

/* NULL: a mistake was said. */
static const struct action *parse_operands(struct request *request)
{
    struct options *options = &request->options;
    int count = options_operand_count(options);
    char **operands = options_operands(options);
    const struct action *action = count ? find_action(operands[0]) : NULL;
    struct error error;
    if (!action)
        options_refuse(options, count ? "'%s' is none of add, list, show, check, remove"
                                      : "one of add, list, show, check, remove is needed%s",
                       count ? operands[0] : "");
    else if (count - 1 < action->operands_min)
        options_refuse(options, "%s needs %s", action->name,
                       action->operands_min == 2 ? "a topic and a file" : "a topic");
    else if (count - 1 > action->operands_max)
        options_refuse(options, "'%s' is one word too many", operands[1 + action->operands_max]);
    else if (count > 1 && schema_change_check_topic(operands[1], &error))
        options_refuse(options, "%s", error.text);
    else
        refuse_meaningless(request, action);
    if (options->finished)
        return NULL;
    request->topic = count > 1 ? operands[1] : NULL;
    request->file = count > 2 ? operands[2] : NULL;
    return action;
}

int verb_schema(int argc, char **argv)
{
    struct request request = {.format = ROWS_TABLE};
    struct options *options = &request.options;
    const char *value;
    int id;
    options_init(options, &schema_verb, argc, argv);
    while ((id = options_next(options, &value)) != OPTIONS_DONE)
        parse_flag(&request, id, value);
    options_settings(options, &request.settings);
    const struct action *action = options->finished ? NULL : parse_operands(&request);
    if (!action)
        return options->status;
    request.directory = options_directory(options);
    return action->run(&request);
}
