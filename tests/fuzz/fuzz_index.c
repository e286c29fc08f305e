/*
 * fuzz_index.c - an index that lies about the log, or a log that lies to its index.
 *
 * The first byte chooses what is wrong; edits follow. Either rows of a healthy events.db are
 * changed by SQL, or its bytes are, or the blocks that it points at. Then everything that SQL can
 * ask is asked, and a follower opens what is there: errors, never a crash; and a payload, in
 * whatever table and by whatever way, is what the log has under that sequence, or NULL, or an error,
 * whatever the index says.
 */
#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/json.h"
#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/wishes.h"
#include "indexer/witness.h"
#include "segment/block.h"
#include "segment/reader.h"
#include "tests/fuzz/fixed_clock.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte. */
enum { WRONG_ROWS, WRONG_BYTES, WRONG_BLOCKS, WRONG_KINDS, LINKS = 64, FOLLOW = 128 };
enum { EVENTS = 6, EVENTS_A_BLOCK = 2, SEGMENT_BYTES = 65536, DATABASE_MAX = 262144 };

/* ---- A healthy log, the same in each run, and its index ---- */

static uint8_t database[DATABASE_MAX];
static size_t database_bytes;

static uint32_t put_block(uint8_t *at, enum segment_format_block_kind kind, uint32_t events,
                          uint64_t offset)
{
    uint8_t *body = at + FORMAT_BLOCK_HEADER_BYTES;
    uint32_t stored = 0;
    for (uint32_t i = 0; i < events; i++) {
        uint8_t payload[] = {0x81, 0xa1, 'n', (uint8_t)(offset % 100 + i)};
        struct event event = {.time_ns = 1000,
                              .topic = "topic",
                              .topic_bytes = 5,
                              .payload = payload,
                              .payload_bytes = sizeof payload};
        segment_format_encode_record(&event, body + stored);
        stored += (uint32_t)segment_format_record_bytes(&event);
    }
    uint32_t table = 4 * segment_format_piece_count(offset + FORMAT_BLOCK_HEADER_BYTES, stored);
    uint32_t size = (uint32_t)bytes_align(FORMAT_BLOCK_HEADER_BYTES + stored + table, 8);
    at[8] = (uint8_t)kind;
    bytes_store32(at + 12, 1);
    bytes_store32(at + 40, events);
    bytes_store32(at + 48, size);
    bytes_store32(at + 52, stored);
    bytes_store32(at + 56, stored);
    bytes_store64(at + 72, offset);
    bytes_store64(at + 80, stored ? 1000 : 0);
    bytes_store64(at + 88, stored ? 1000 : 0);
    bytes_store64(at + 96, 5000);
    return size;
}

static void make_healthy(struct image *image)
{
    static const uint8_t nothing[1];
    image_read(image, nothing, sizeof nothing);
    struct image_file *file = &image->files[0];
    *file = (struct image_file){.kind = IMAGE_SEGMENT,
                                .name = 1,
                                .size = SEGMENT_BYTES,
                                .bytes_count = IMAGE_SEGMENT_HEADER_BYTES,
                                .bytes = calloc(1, IMAGE_BYTES_MAX)};
    assert(file->bytes);
    image->count = 1;
    bytes_store32(file->bytes + 12, FORMAT_VERSION);
    memcpy(file->bytes + 16, "0123456789abcdef", FORMAT_LOG_ID_BYTES);
    bytes_store32(file->bytes + 56, 1);
    bytes_store32(file->bytes + 60, 8);
    bytes_store64(file->bytes + 96, FORMAT_SEGMENT_HEADER_BYTES);
    for (uint32_t i = 0; i <= EVENTS / EVENTS_A_BLOCK; i++) {
        bool last = i == EVENTS / EVENTS_A_BLOCK;
        uint64_t offset =
            file->bytes_count - IMAGE_SEGMENT_HEADER_BYTES + FORMAT_SEGMENT_HEADER_BYTES;
        file->bytes_count += put_block(file->bytes + file->bytes_count,
                                       last ? FORMAT_BLOCK_STOP : FORMAT_BLOCK_EVENTS,
                                       last ? 0 : EVENTS_A_BLOCK, offset);
    }
    image_repair(file, NULL, true);
}

static int open_database(int flags)
{
    char path[128];
    snprintf(path, sizeof path, "%s/events.db", image_directory());
    int fd = open(path, flags | O_CLOEXEC, 0640);
    assert(fd >= 0);
    return fd;
}

static void make_database(void)
{
    struct indexer_follower *follower;
    struct error error = {0};
    struct indexer_wishes wishes = {0};
    size_t changed;
    enum error_code code = indexer_wishes_add_text(&wishes, "topic n", &error);
    if (!code)
        code = indexer_wishes_change(image_directory(), WISHES_ADD, &wishes, &changed, &error);
    indexer_wishes_release(&wishes);
    if (!code)
        code = indexer_follower_open(image_directory(), &follower, &error);
    if (!code)
        code = indexer_follower_catch_up(follower, &error);
    if (code) {
        fprintf(stderr, "%s\n", error.text);
        abort();
    }
    indexer_follower_close(follower);
    int fd = open_database(O_RDONLY);
    ssize_t got = read(fd, database, sizeof database);
    assert(got > 0 && (size_t)got < sizeof database);
    database_bytes = (size_t)got;
    close(fd);
}

/* ---- Wrong things ---- */

struct edits {
    const uint8_t *at;
    const uint8_t *end;
};

static uint64_t next_number(struct edits *edits, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes && edits->at < edits->end; i++)
        number |= (uint64_t)*edits->at++ << (8 * i);
    return number;
}

/* A number of any size, most of them near one that means something. */
static int64_t next_value(struct edits *edits)
{
    static const int64_t near[] = {0, INT64_MIN, INT64_MAX, 4096, SEGMENT_BYTES, EVENTS, 1};
    uint8_t choice = (uint8_t)next_number(edits, 1);
    if (choice >= 128)
        return (int64_t)next_number(edits, 8);
    return (int64_t)((uint64_t)near[choice % (sizeof near / sizeof *near)] + choice / 8);
}

static void change_rows(struct edits *edits)
{
    static const char *const columns[][2] = {
        {"block_rows", "first_seq"},   {"block_rows", "count"},      {"block_rows", "segment"},
        {"block_rows", "offset"},      {"block_rows", "checksum"},   {"event_rows", "seq"},
        {"event_rows", "ts"},          {"event_rows", "topic_id"},   {"event_rows", "bytes"},
        {"topic_rows", "id"},          {"topic_rows", "topic"},      {"topic_rows", "first_ts"},
        {"segment_rows", "first_seq"}, {"segment_rows", "last_seq"}, {"segment_rows", "bytes"},
        {"segment_rows", "first_ts"},  {"state", "last_seq"},        {"state", "bound"},
        {"state", "log_id"},           {"gap_rows", "last_seq"},
        {"field_rows", "done_seq"},    {"field_rows", "lost_seq"},   {"field_rows", "topic"},
        {"field_rows", "path"},        {"field_1", "seq"},           {"field_1", "value"}};
    static const char *const values[] = {"%lld", "'%lld'", "zeroblob(%lld %% 1000)", "%lld / 3.0",
                                         "NULL"};
    char path[128];
    sqlite3 *connection;
    snprintf(path, sizeof path, "%s/events.db", image_directory());
    if (sqlite3_open(path, &connection))
        abort();
    for (int i = 0; i < 16 && edits->at < edits->end; i++) {
        const char *const *column =
            columns[next_number(edits, 1) % (sizeof columns / sizeof *columns)];
        uint64_t how = next_number(edits, 1);
        char value[64], sql[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(value, sizeof value, values[how / 8 % 5], (long long)next_value(edits));
#pragma GCC diagnostic pop
        if (how % 8 == 7)
            snprintf(sql, sizeof sql, "DELETE FROM %s WHERE rowid %% 3 = %d", column[0],
                     (int)(how / 8 % 3));
        else
            snprintf(sql, sizeof sql, "UPDATE OR REPLACE %s SET %s = %s WHERE rowid %% 3 = %d",
                     column[0], column[1], value, (int)(how % 3));
        sqlite3_exec(connection, sql, NULL, NULL, NULL);
    }
    sqlite3_close(connection);
}

static void change_bytes(struct edits *edits)
{
    int fd = open_database(O_WRONLY);
    while (edits->at < edits->end) {
        uint64_t at = next_number(edits, 3) % database_bytes;
        uint8_t value = (uint8_t)next_number(edits, 1);
        if (pwrite(fd, &value, 1, (off_t)at) != 1)
            abort();
    }
    close(fd);
}

static void change_blocks(struct edits *edits, bool links, struct image *image)
{
    struct image_file *file = &image->files[0];
    while (edits->at < edits->end) {
        uint64_t at = next_number(edits, 2) % file->bytes_count;
        file->bytes[at] = (uint8_t)next_number(edits, 1);
    }
    image_repair(file, NULL, links);
}

/* ---- Everything that can be asked ---- */

/* What the log itself has, as JSON; "" where it has nothing that can be read. */
static char truth[EVENTS + 1][64];

static void learn_truth(void)
{
    struct segment_reader *reader;
    struct event event;
    enum error_code code;
    memset(truth, 0, sizeof truth);
    if (segment_reader_open(image_directory(), &reader, NULL))
        return;
    for (int steps = 0; steps < 100; steps++) {
        code = segment_reader_next(reader, &event, NULL);
        if (code && code != ERROR_DAMAGED)
            break;
        struct buffer json = {0};
        if (!code && event.sequence <= EVENTS &&
            !json_from_msgpack(event.payload, event.payload_bytes, JSON_STRICT, &json, NULL) &&
            json.size < sizeof truth[0])
            memcpy(truth[event.sequence], json.data, json.size);
        buffer_release(&json);
    }
    segment_reader_close(reader);
}

/* Of a hostile block only what no reader of the log would refuse can be compared. */
static void check_payload(sqlite3_stmt *statement, bool log_is_healthy)
{
    sqlite3_int64 sequence = sqlite3_column_int64(statement, 0);
    const char *text = (const char *)sqlite3_column_text(statement, 1);
    if (!text || !log_is_healthy)
        return;
    assert(sqlite3_column_type(statement, 0) == SQLITE_INTEGER && sequence >= 1 &&
           sequence <= EVENTS && strcmp(text, truth[sequence]) == 0);
}

/* The first ones give sequences and payloads. */
#define SOME_SEQUENCES "(1), (6), (4), (2), (3), (5), (7), (0), (-1), (9223372036854775807)"
enum { WITH_PAYLOADS = 9 };
static const char *const questions[] = {
    "SELECT seq, payload(seq) FROM main.events",
    "SELECT column1, payload(column1) FROM (VALUES " SOME_SEQUENCES ")",
    "SELECT seq, payload FROM events",
    "SELECT seq, payload FROM events WHERE topic = 'topic' ORDER BY ts DESC, seq DESC",
    "SELECT seq, payload FROM events WHERE ts <= 1000 AND seq > 1 ORDER BY seq DESC",
    "SELECT seq, payload FROM topic",
    "SELECT seq, payload FROM topic WHERE n > 5 ORDER BY ts",
    "SELECT b.seq, b.payload FROM topic a CROSS JOIN topic b ON b.n = a.n",
    "SELECT e.seq, e.payload FROM (VALUES " SOME_SEQUENCES ") v CROSS JOIN events e ON"
    " e.seq = v.column1",
    "SELECT *, payload FROM events ORDER BY seq DESC",
    "SELECT * FROM topics",
    "SELECT * FROM segments",
    "SELECT * FROM gaps",
    "SELECT * FROM event_stats",
    "SELECT topic, count(*) FROM events WHERE time > '2020' GROUP BY topic",
    "SELECT n, topic, segment, daybook_field(seq, 'n') FROM topic WHERE n IN (96, 97, '96')",
    "SELECT * FROM fields, field_values",
};

static void ask_all(bool log_is_healthy)
{
    sqlite3 *connection;
    struct error error = {0};
    if (indexer_query_open(image_directory(), &connection, &error)) {
        assert(error.text[0]);
        return;
    }
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v2(connection, questions[i], -1, &statement, NULL))
            continue;
        int rows = 0, result;
        while ((result = sqlite3_step(statement)) == SQLITE_ROW && rows++ < 1000)
            if (i < WITH_PAYLOADS)
                check_payload(statement, log_is_healthy);
        if (result != SQLITE_ROW && result != SQLITE_DONE)
            assert(sqlite3_errmsg(connection)[0]);
        sqlite3_finalize(statement);
    }
    sqlite3_close_v2(connection);
}

static void follow(void)
{
    struct indexer_follower *follower;
    struct indexer_step step;
    struct error error = {0};
    uint64_t witness;
    indexer_witness(image_directory(), &witness, &error);
    if (indexer_follower_open(image_directory(), &follower, &error)) {
        assert(error.text[0]);
        return;
    }
    for (int steps = 0; steps < 50; steps++) {
        enum error_code code = indexer_follower_step(follower, &step, &error);
        if (code) {
            assert(error.text[0]);
            break;
        }
        if (step.caught_up)
            break;
        assert(steps < 49);
    }
    indexer_follower_close(follower);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image image;
    if (size == 0)
        return 0;
    fixed_clock_use();
    make_healthy(&image);
    image_unpack(&image);
    if (database_bytes == 0)
        make_database();
    int fd = open_database(O_WRONLY | O_CREAT | O_TRUNC);
    if (write(fd, database, database_bytes) != (ssize_t)database_bytes)
        abort();
    close(fd);

    struct edits edits = {data + 1, data + size};
    unsigned wrong = data[0] % 64 % WRONG_KINDS;
    if (wrong == WRONG_BLOCKS) {
        change_blocks(&edits, data[0] & LINKS, &image);
        char path[128];
        snprintf(path, sizeof path, "%s/segments/00000000000000000001.seg", image_directory());
        struct image_file *file = &image.files[0];
        fd = open(path, O_WRONLY | O_CLOEXEC);
        ssize_t head = pwrite(fd, file->bytes, IMAGE_SEGMENT_HEADER_BYTES, 0);
        ssize_t rest =
            pwrite(fd, file->bytes + IMAGE_SEGMENT_HEADER_BYTES,
                   file->bytes_count - IMAGE_SEGMENT_HEADER_BYTES, FORMAT_SEGMENT_HEADER_BYTES);
        assert(head > 0 && rest > 0);
        close(fd);
    }
    learn_truth();
    if (wrong == WRONG_ROWS)
        change_rows(&edits);
    if (wrong == WRONG_BYTES)
        change_bytes(&edits);
    ask_all(wrong != WRONG_BLOCKS);
    if (data[0] & FOLLOW) {
        follow();
        ask_all(wrong != WRONG_BLOCKS);
    }
    image_release(&image);
    return 0;
}
