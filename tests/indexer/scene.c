#include "tests/indexer/scene.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/msgpack.h"
#include "indexer/follower.h"
#include "segment/reader.h"
#include "segment/set.h"

enum { NOISE_BYTES = 180 };

static char directory[256];
static uint64_t numbers_used; /* of events appended in this test */

void scene_begin(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/daybook-indexer-XXXXXX",
             parent && *parent ? parent : "/var/tmp");
    cr_assert_not_null(mkdtemp(directory), "no directory for the test below %s", directory);
    numbers_used = 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void scene_end(void)
{
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scene_directory(void)
{
    return directory;
}

const char *scene_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

const char *scene_topic(uint64_t number)
{
    static const char *const topics[] = {"orders.new", "orders.done", "sensor/1",
                                         "sensor/2",   "a",           "rare:one"};
    if (number % 97 == 0)
        return topics[5];
    return topics[number % 5];
}

/* Mostly forward, some of it in the past, some before 1970. */
int64_t scene_time(uint64_t number)
{
    if (number % 101 == 0)
        return -(int64_t)number * 1000000007;
    int64_t back = number % 13 == 0 ? INT64_C(7200000000000) : 0;
    return INT64_C(1764000000000000000) + (int64_t)number * 1234567891 - back;
}

static void make_payload(struct buffer *out, uint64_t number)
{
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, out);
    uint8_t noise[NOISE_BYTES];
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < sizeof noise; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        noise[i] = (uint8_t)(state >> 56);
    }
    msgpack_pack_map(&packer, 2);
    msgpack_pack_str_with_body(&packer, "n", 1);
    msgpack_pack_uint64(&packer, number);
    msgpack_pack_str_with_body(&packer, "noise", 5);
    /* A different length for each, so that byte counts tell events apart. */
    msgpack_pack_bin_with_body(&packer, noise, sizeof noise - number % 7);
}

static void append(struct segment_log *log, const char *topic, uint64_t number)
{
    struct buffer payload = {0};
    make_payload(&payload, number);
    struct event event = {
        .time_ns = scene_time(number),
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = payload.data,
        .payload_bytes = payload.size,
    };
    struct error error = {0};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    while (segment_log_append(log, &event, &outcome, &sequence, &error)) {
        cr_assert_eq(error.code, ERROR_BUSY, "%s", error.text);
        segment_log_wait_room(log);
    }
    buffer_release(&payload);
}

static void wait_durable(struct segment_log *log)
{
    struct error error = {0};
    cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK, "%s", error.text);
}

struct segment_log *scene_open_log(void)
{
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN};
    struct segment_log *log = NULL;
    struct error error = {0};
    cr_assert_eq(segment_log_open(directory, &options, &log, NULL, &error), OK, "%s", error.text);
    return log;
}

void scene_append(struct segment_log *log, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        numbers_used++;
        append(log, scene_topic(numbers_used), numbers_used);
        /* Some blocks of one event, some of many. */
        if (numbers_used % 40 < 3)
            wait_durable(log);
    }
    wait_durable(log);
}

void scene_write(unsigned count)
{
    struct segment_log *log = scene_open_log();
    scene_append(log, count);
    struct error error = {0};
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
}

void scene_write_topics(unsigned count)
{
    struct segment_log *log = scene_open_log();
    for (unsigned i = 1; i <= count; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "many.%u", i);
        append(log, topic, ++numbers_used);
        if (i % 100 == 1)
            wait_durable(log);
    }
    wait_durable(log);
    struct error error = {0};
    cr_assert_eq(segment_log_close(log, &error), OK, "%s", error.text);
}

void scene_index(void)
{
    struct indexer_follower *follower = NULL;
    struct error error = {0};
    cr_assert_eq(indexer_follower_open(directory, &follower, &error), OK, "%s", error.text);
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
    indexer_follower_close(follower);
}

sqlite3 *scene_open_database(void)
{
    sqlite3 *database = NULL;
    int result = sqlite3_open_v2(scene_path("events.db"), &database, SQLITE_OPEN_READWRITE, NULL);
    cr_assert_eq(result, SQLITE_OK, "%s", sqlite3_errstr(result));
    sqlite3_busy_timeout(database, 10000);
    return database;
}

char *scene_rows(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *select = NULL;
    cr_assert_eq(sqlite3_prepare_v2(database, sql, -1, &select, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(database));
    struct buffer text = {0};
    int result;
    while ((result = sqlite3_step(select)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(select); i++) {
            const char *value = (const char *)sqlite3_column_text(select, i);
            buffer_printf(&text, NULL, "%s%s", i ? "|" : "", value ? value : "NULL");
        }
        buffer_append(&text, "\n", 1, NULL);
    }
    cr_assert_eq(result, SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(database));
    sqlite3_finalize(select);
    buffer_append(&text, "", 1, NULL);
    return (char *)text.data;
}

int64_t scene_number(const char *sql)
{
    sqlite3 *database = scene_open_database();
    char *rows = scene_rows(database, sql);
    int64_t number = strtoll(rows, NULL, 10);
    free(rows);
    sqlite3_close(database);
    return number;
}

void scene_expect_rows(const char *sql, const char *rows)
{
    sqlite3 *database = scene_open_database();
    char *found = scene_rows(database, sql);
    cr_assert_str_eq(found, rows, "%s gives\n%snot\n%s", sql, found, rows);
    free(found);
    sqlite3_close(database);
}

char *scene_dump(void)
{
    static const char *const views[] = {
        "SELECT * FROM events ORDER BY seq",       "SELECT * FROM topics ORDER BY topic",
        "SELECT * FROM segments ORDER BY segment",
        "SELECT * FROM gaps ORDER BY first_seq, producer, length(first_number), first_number",
        "SELECT * FROM event_stats ORDER BY 1, 2",
    };
    sqlite3 *database = scene_open_database();
    struct buffer text = {0};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        char *rows = scene_rows(database, views[i]);
        buffer_printf(&text, NULL, "%s:\n%s", views[i], rows);
        free(rows);
    }
    sqlite3_close(database);
    buffer_append(&text, "", 1, NULL);
    return (char *)text.data;
}

/* One line an event, as "SELECT seq, ts, topic, bytes, segment, offset FROM events" gives it. */
static void print_log(struct buffer *text)
{
    struct segment_reader *reader = NULL;
    struct error error = {0};
    cr_assert_eq(segment_reader_open(directory, &reader, &error), OK, "%s", error.text);
    cr_assert_eq(segment_reader_seek(reader, 1, &error), OK, "%s", error.text);
    struct event event;
    enum error_code code;
    while (!(code = segment_reader_next(reader, &event, &error)))
        buffer_printf(text, NULL, "%llu|%lld|%.*s|%zu\n", (unsigned long long)event.sequence,
                      (long long)event.time_ns, (int)event.topic_bytes, event.topic,
                      event.payload_bytes);
    cr_assert_eq(code, ERROR_END, "%s", error.text);
    segment_reader_close(reader);
    buffer_append(text, "", 1, NULL);
}

void scene_expect_index_equals_log(void)
{
    struct buffer log = {0};
    print_log(&log);
    sqlite3 *database = scene_open_database();
    char *index = scene_rows(database, "SELECT seq, ts, topic, bytes FROM events ORDER BY seq");
    cr_assert(!strcmp(index, (const char *)log.data), "the index differs from the log");
    free(index);
    char *wrong = scene_rows(
        database, "SELECT * FROM (SELECT topic, events, bytes, first_seq, last_seq FROM topics"
                  " EXCEPT SELECT topic, count(*), sum(bytes), min(seq), max(seq) FROM events"
                  " GROUP BY topic)"
                  " UNION ALL SELECT topic, 0, 0, 0, 0 FROM events"
                  " WHERE topic NOT IN (SELECT topic FROM topics)");
    cr_assert_str_eq(wrong, "", "topics with wrong totals:\n%s", wrong);
    free(wrong);
    sqlite3_close(database);
    buffer_release(&log);
}

static void load_set(struct segment_set *set)
{
    int log_fd = -1, segments_fd = -1;
    struct error error = {0};
    cr_assert_eq(file_open_directory(directory, false, &log_fd, &error), OK, "%s", error.text);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, &error), OK, "%s",
                 error.text);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, set, &error), OK, "%s", error.text);
    file_close(&segments_fd);
    file_close(&log_fd);
}

size_t scene_segment_count(void)
{
    struct segment_set set;
    load_set(&set);
    size_t count = set.count;
    segment_set_free(&set);
    return count;
}

uint64_t scene_segment_first(size_t n)
{
    struct segment_set set;
    load_set(&set);
    cr_assert_lt(n, set.count);
    uint64_t first = set.segments[n].sequence_first;
    segment_set_free(&set);
    return first;
}

uint64_t scene_segment_bytes(size_t n)
{
    struct segment_set set;
    load_set(&set);
    cr_assert_lt(n, set.count);
    uint64_t bytes = set.segments[n].size_bytes;
    segment_set_free(&set);
    return bytes;
}

void scene_flip(const char *name, uint64_t offset)
{
    int fd = open(scene_path(name), O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0, "open %s", name);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

void scene_copy(const char *from, const char *to)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s/%s' && cp -a '%s/%s' '%s/%s'", directory, to,
             directory, from, directory, to);
    cr_assert_eq(system(command), 0, "%s", command);
}
