/*
 * tools/daybook/status.c - `daybook status`: how the log, its writer and its index are.
 *
 * Only looks: it does not even bring the index up to date, whose lag is part of the answer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/file.h"
#include "core/msgpack.h"
#include "indexer/query.h"
#include "segment/lock.h"
#include "segment/reader.h"
#include "segment/schemas_presence.h"
#include "segment/set.h"
#include "segment/watermark.h"
#include "tools/client/daybook.h"
#include "tools/daybook/backward.h"
#include "tools/daybook/damage.h"
#include "tools/daybook/index.h"
#include "tools/daybook/options.h"
#include "tools/daybook/rows.h"
#include "tools/daybook/schema_list.h"
#include "tools/daybook/verb.h"

static const struct options_flag status_flags[] = {
    ROWS_FLAG,
    OPTIONS_DIRECTORY_FLAG,
    OPTIONS_SOCKET_FLAG,
    {0},
};

static const struct options_verb status_verb = {
    .name = "status",
    .usage = "[FLAGS]",
    .about = "Show how the log, its writer and its index are. Exits 0 with and without a daemon,\n"
             "1 when there is no log, 4 when damage is seen.",
    .flags = status_flags,
    .example = "  daybook status -o json\n",
};

struct status {
    char log_id[FORMAT_LOG_ID_TEXT + 1];
    bool writing; /* some process holds the writer's lock: the daemon or `daybook pub` */
    uint32_t writer_pid;
    bool answering; /* somebody listens at the socket */
    uint64_t durable;
    uint64_t bound;
    uint64_t segments;
    uint64_t segment_bytes;
    bool indexed;
    uint64_t index_sequence;
    uint64_t index_bytes;
    uint64_t gaps;    /* known to the index, retention's apart */
    uint64_t missing; /* sequences in them */
    uint64_t lost;    /* … of events, by damage that is on record */
    uint64_t producer_gaps; /* in the numbers of producers */
    int64_t last_time_ns;
    bool schemas_known;
    uint64_t schemas; /* in effect */
    bool counted;     /* the daemon tells what became of events held against them */
    struct schema_counts counts;
    bool asked; /* … and who subscribes */
    uint64_t subscribers, feeds, delivered;
    char trouble[256]; /* what the daemon lacks; "" when nothing, or when nobody can be asked */
    bool damaged;      /* seen; otherwise nobody knows without reading every byte */
};

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool answered = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return answered;
}

static enum error_code look_at_writer(struct status *status, int log_fd, const char *socket,
                                      struct error *error)
{
    enum error_code code = segment_lock_is_held(log_fd, LOCK_WRITER, &status->writing, error);
    struct segment_watermark *watermark = NULL;
    if (code || !status->writing)
        return code;
    if (segment_watermark_open(log_fd, &watermark, NULL) == OK) {
        struct segment_watermark_state state;
        segment_watermark_read(watermark, &state);
        status->writer_pid = state.writer_pid;
        segment_watermark_close(watermark);
    }
    status->answering = answers(socket);
    return OK;
}

/* A value of the daemon's map. */
static bool find(const struct buffer *map, const char *key, struct msgpack_value *value_out)
{
    struct msgpack_cursor cursor = {map->data, map->data + map->size}, found;
    return msgpack_find(&cursor, key, &found, NULL) == OK &&
           msgpack_read(&found, value_out, NULL) == OK;
}

static bool copy_text(const struct buffer *map, const char *key, const char *prefix,
                      char text_out[256])
{
    struct msgpack_value value = {0};
    if (!find(map, key, &value) || value.kind != MSGPACK_KIND_STR || value.count == 0)
        return false;
    snprintf(text_out, 256, "%s: %.*s", prefix, (int)value.count, (const char *)value.bytes);
    return true;
}

/* The worst first. */
static void read_trouble(struct status *status, const struct buffer *map)
{
    struct msgpack_value full = {0};
    bool refuses = find(map, "disk_full", &full) && full.kind == MSGPACK_KIND_BOOL && full.boolean;
    const char *space = refuses ? "new events are refused" : "the next segment cannot be made";
    if (!copy_text(map, "prepare_error", space, status->trouble))
        copy_text(map, "index_error", "the index stays behind", status->trouble);
}

static bool read_number(const struct buffer *map, const char *key, uint64_t *number_out)
{
    struct msgpack_value value = {0};
    if (!find(map, key, &value) || value.kind != MSGPACK_KIND_UINT)
        return false;
    *number_out = value.unsigned_;
    return true;
}

/* $DAYBOOK_SOCKET may belong to the daemon of another log. */
static void read_map(struct status *status, const struct buffer *map)
{
    struct msgpack_value log = {0};
    if (!find(map, "log", &log) || log.kind != MSGPACK_KIND_STR ||
        log.count != strlen(status->log_id) || memcmp(log.bytes, status->log_id, log.count) != 0)
        return;
    read_trouble(status, map);
    status->counted = schema_list_counts(map, NULL, &status->counts);
    status->asked = read_number(map, "subscribers", &status->subscribers) &&
                    read_number(map, "feeds", &status->feeds) &&
                    read_number(map, "delivered", &status->delivered);
}

static void ask_daemon(struct status *status, const char *directory, const char *socket)
{
    struct daybook_options options = {
        .directory = directory, .socket = socket, .client = "daybook/" DAYBOOK_VERSION};
    struct daybook *daemon = NULL;
    const void *map;
    size_t map_bytes;
    if (daybook_connect(&options, &daemon, NULL) == DAYBOOK_OK &&
        daybook_status(daemon, &map, &map_bytes, NULL) == DAYBOOK_OK)
        read_map(status, &(struct buffer){.data = (uint8_t *)(uintptr_t)map, .size = map_bytes});
    daybook_close(daemon);
}

/* While somebody changes schemas a change is pending for a moment, and that is no trouble. */
static void note_pending(struct status *status, int log_fd,
                         const struct segment_schemas_change *pending)
{
    bool changing = false;
    if (!pending || segment_lock_is_held(log_fd, LOCK_SCHEMAS, &changing, NULL) || changing)
        return;
    const char *verb = segment_schemas_action_name(pending->action);
    snprintf(status->trouble, sizeof status->trouble,
             "a change of a schema is pending: 'daybook schema %s %.160s' was interrupted, and "
             "finishes it",
             verb, pending->topic);
}

/* Without the catalogue nobody can write to the log: that is trouble, too. */
static void look_at_schemas(struct status *status, int log_fd)
{
    struct segment_schemas schemas = {0};
    struct segment_schemas_presence presence = {0};
    struct error error;
    enum error_code code = segment_schemas_load(log_fd, &schemas, &error);
    if (!code)
        code = segment_schemas_presence_init(&schemas, &presence, &error);
    if (code) {
        status->damaged = code == ERROR_DAMAGED;
        snprintf(status->trouble, sizeof status->trouble, "%.250s", error.text);
    } else {
        status->schemas_known = true;
        status->schemas = presence.count;
        note_pending(status, log_fd, segment_schemas_pending(&schemas));
    }
    segment_schemas_presence_release(&presence);
    segment_schemas_free(&schemas);
}

static uint64_t bytes_of(int directory_fd, const char *name)
{
    struct stat file;
    return fstatat(directory_fd, name, &file, 0) == 0 ? (uint64_t)file.st_size : 0;
}

static enum error_code look_at_files(struct status *status, int log_fd, struct error *error)
{
    int segments_fd = -1;
    struct segment_set set = {0};
    enum error_code code = file_open_directory_to_read_at(log_fd, "segments", &segments_fd, error);
    if (!code)
        code = segment_set_load(log_fd, segments_fd, &set, error);
    for (size_t i = set.dead_count; !code && i < set.count; i++)
        status->segment_bytes += set.segments[i].size_bytes;
    status->segments = set.count - set.dead_count;
    segment_set_free(&set);
    file_close(&segments_fd);
    /* Rows may wait in the WAL for a long time before they are copied into the database. */
    status->index_bytes = bytes_of(log_fd, "events.db") + bytes_of(log_fd, "events.db-wal");
    return code;
}

static uint64_t ask(sqlite3 *database, const char *query)
{
    sqlite3_stmt *statement = NULL;
    uint64_t answer = 0;
    if (sqlite3_prepare_v2(database, query, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        answer = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

static void look_at_index(struct status *status, const char *directory)
{
    sqlite3 *database = NULL;
    if (indexer_query_open(directory, &database, NULL))
        return;
    status->indexed = true;
    status->index_sequence = ask(database, "SELECT last_seq FROM state");
    status->gaps = ask(database, "SELECT count(*) FROM gaps"
                                 " WHERE producer IS NULL AND cause <> 'retention'");
    status->missing = ask(database, "SELECT coalesce(sum(missing), 0) FROM gaps"
                                    " WHERE producer IS NULL AND cause <> 'retention'");
    status->lost = ask(database, "SELECT coalesce(sum(missing), 0) FROM gaps WHERE producer IS NULL"
                                 " AND cause IN ('damage', 'damaged tail')");
    status->producer_gaps = ask(database, "SELECT count(*) FROM gaps WHERE producer IS NOT NULL");
    sqlite3_close_v2(database);
}

/* The newest event that is intact. */
static void look_at_last_event(struct status *status, const char *directory)
{
    struct backward_range range = {1, status->durable, INT64_MIN, INT64_MAX};
    struct backward *backward = NULL;
    struct event event;
    status->last_time_ns = INT64_MIN;
    if (backward_open(directory, &range, &backward, NULL))
        return;
    enum error_code code;
    while ((code = backward_next(backward, &event, NULL)) == ERROR_DAMAGED)
        status->damaged = true;
    if (code == OK)
        status->last_time_ns = event.time_ns;
    backward_close(backward);
}

static enum error_code look(struct status *status, const char *directory, const char *socket,
                            struct error *error)
{
    struct segment_reader *reader = NULL;
    enum error_code code = segment_reader_open(directory, &reader, error);
    if (code)
        return code;
    look_at_index(status, directory); /* before the watermark: a live index is never ahead of it */
    segment_format_log_id_text(segment_reader_log_id(reader), status->log_id);
    status->durable = segment_reader_watermark(reader);
    status->bound = segment_reader_bound(reader);
    segment_reader_close(reader);

    int log_fd = -1;
    code = file_open_directory_to_read(directory, &log_fd, error);
    if (!code)
        code = look_at_writer(status, log_fd, socket, error);
    if (!code)
        code = look_at_files(status, log_fd, error);
    if (!code)
        look_at_schemas(status, log_fd);
    file_close(&log_fd);
    if (code)
        return code;
    if (status->answering)
        ask_daemon(status, directory, socket);
    look_at_last_event(status, directory);
    status->damaged = status->damaged || damage_is_seen(directory, status->durable);
    return OK;
}

static const char *const names[] = {
    "directory",       "log_id",         "writing",        "writer_pid",
    "socket",          "answering",      "trouble",        "first_seq",
    "last_seq",        "events",         "segments",       "segment_bytes",
    "index_seq",       "index_lag",      "index_bytes",    "last_event_time",
    "gaps",            "missing",        "lost",           "producer_gaps",
    "deleted_by_retention",
    "damaged",         "schemas",        "schema_checked", "schema_refused",
    "schema_quarantined",
    "schema_warned",  "subscribers",    "feeds",          "delivered",
};

static void add_writer(struct rows *rows, const struct status *status, const char *socket)
{
    rows_boolean(rows, status->writing);
    if (status->writing)
        rows_sequence(rows, status->writer_pid);
    else
        rows_null(rows);
    rows_string(rows, socket);
    rows_boolean(rows, status->answering);
    rows_string(rows, status->trouble[0] ? status->trouble : NULL);
}

static void add_events(struct rows *rows, const struct status *status)
{
    uint64_t span = status->durable >= status->bound ? status->durable - status->bound + 1 : 0;
    rows_sequence(rows, status->bound);
    rows_sequence(rows, status->durable);
    rows_count(rows, span > status->missing ? span - status->missing : 0);
    rows_count(rows, status->segments);
    rows_size(rows, status->segment_bytes);
}

static void add_index(struct rows *rows, const struct status *status)
{
    uint64_t indexed = status->index_sequence;
    if (status->indexed) {
        rows_sequence(rows, indexed);
        rows_count(rows, status->durable > indexed ? status->durable - indexed : 0);
    } else {
        rows_null(rows);
        rows_null(rows);
    }
    rows_size(rows, status->index_bytes);
}

/* What retention has taken is no gap: it was asked for. */
static void add_losses(struct rows *rows, const struct status *status, enum rows_format format)
{
    char deleted[64];
    rows_count(rows, status->gaps);
    rows_count(rows, status->missing);
    rows_count(rows, status->lost);
    rows_count(rows, status->producer_gaps);
    snprintf(deleted, sizeof deleted, "1-%" PRIu64, status->bound - 1);
    rows_string(rows, status->bound > 1 ? deleted : NULL);
    if (status->damaged)
        rows_boolean(rows, true);
    else if (format == ROWS_TABLE)
        rows_string(rows, "not seen (daybook verify checks every byte)");
    else
        rows_null(rows);
}

static void add_schemas(struct rows *rows, const struct status *status)
{
    const struct schema_counts *counts = &status->counts;
    if (status->schemas_known)
        rows_count(rows, status->schemas);
    else
        rows_null(rows);
    const uint64_t numbers[] = {counts->checked, counts->refused, counts->quarantined,
                                counts->warned};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (status->counted)
            rows_count(rows, numbers[i]);
        else
            rows_null(rows);
}

/* Only a daemon that can be asked knows. */
static void add_subscribers(struct rows *rows, const struct status *status)
{
    const uint64_t numbers[] = {status->subscribers, status->feeds, status->delivered};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (status->asked)
            rows_count(rows, numbers[i]);
        else
            rows_null(rows);
}

static enum error_code print_status(const struct status *status, const char *directory,
                                    const char *socket, enum rows_format format,
                                    struct error *error)
{
    struct rows *rows = NULL;
    enum error_code code =
        rows_create(stdout, format, true, names, sizeof names / sizeof names[0], &rows, error);
    if (code)
        return code;
    rows_string(rows, directory);
    rows_string(rows, status->log_id);
    add_writer(rows, status, socket);
    add_events(rows, status);
    add_index(rows, status);
    rows_time(rows, status->last_time_ns);
    add_losses(rows, status, format);
    add_schemas(rows, status);
    add_subscribers(rows, status);
    code = rows_end(rows, error);
    if (!code)
        code = rows_finish(rows, error);
    rows_free(rows);
    return code;
}

int verb_status(int argc, char **argv)
{
    struct options options;
    const char *value;
    int id, format = ROWS_TABLE;
    options_init(&options, &status_verb, argc, argv);
    while ((id = options_next(&options, &value)) != OPTIONS_DONE)
        options_choice(&options, "-o", value, rows_format_names, &format);
    options_refuse_operands(&options);
    if (options.finished)
        return options.status;

    struct error error;
    struct status status = {0};
    const char *directory = options_directory(&options);
    const char *socket = options_socket(&options);
    if (look(&status, directory, socket, &error))
        return verb_fail_open(status_verb.name, directory, &error);
    enum error_code code =
        print_status(&status, directory, socket, (enum rows_format)format, &error);
    if (code && code != ERROR_CLOSED)
        return verb_fail(status_verb.name, &error);
    return status.damaged ? STATUS_DAMAGE : STATUS_OK;
}
