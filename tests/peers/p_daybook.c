/*
 * tests/peers/p_daybook.c - Daybook as a driver of the peers' benchmark (make bench-peers): through
 * the daemon's socket, or, with BENCH_EMBEDDED set, as an embedded directory.
 *
 * The events are the peers': payloads are JSON texts, stored as msgpack strings, so that every byte
 * can be compared with what was put in. bench.h and gen.h are the peers', beside which this is
 * compiled.
 */
#include <bench.h>

#include <sqlite3.h>
#include <unistd.h>

#include "core/clock.h"
#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/retention.h"
#include "indexer/witness.h"
#include "segment/log.h"
#include "segment/packer.h"
#include "segment/reader.h"
#include "tools/client/daybook.h"

enum { HEAD_BYTES = 3, PAYLOAD_MAX = 400 };

struct connection {
    struct daybook *client;
    sqlite3 *database;
    sqlite3_stmt *latest, *window;
    uint64_t bad; /* events that were not stored */
    uint8_t *payloads;
    int payload_count;
};

static const char *directory;
static int embedded, durable;
static struct segment_log *log_;
static struct error error;

static void check(enum error_code code)
{
    if (code)
        die("%s", error.text);
}

/* str 16, as msgpack has it; returns the payload, which lives until the next append. */
static const uint8_t *wrap(struct connection *c, int i, const ev_t *event)
{
    uint8_t *to = c->payloads + (size_t)i * PAYLOAD_MAX;
    CHECK(event->len + HEAD_BYTES <= PAYLOAD_MAX);
    to[0] = 0xda;
    to[1] = (uint8_t)(event->len >> 8);
    to[2] = (uint8_t)event->len;
    memcpy(to + HEAD_BYTES, event->p, event->len);
    return to;
}

static const char *unwrap(const uint8_t *payload, size_t size, size_t *size_out)
{
    CHECK(size > HEAD_BYTES && payload[0] == 0xda);
    *size_out = size - HEAD_BYTES;
    return (const char *)payload + HEAD_BYTES;
}

static void open_log(void)
{
    struct segment_log_options options = {0};
    if (embedded && !log_)
        check(segment_log_open(directory, &options, &log_, NULL, &error));
}

static void setup(const char *dir, int is_durable, int load)
{
    (void)load;
    directory = dir;
    durable = is_durable;
    embedded = getenv("BENCH_EMBEDDED") != NULL;
    open_log();
}

static void note_result(void *context, const struct daybook_result *result)
{
    struct connection *c = context;
    c->bad += result->code != DAYBOOK_OK;
}

static void *conn(void)
{
    struct connection *c = calloc(1, sizeof *c);
    struct daybook_error why;
    struct daybook_options options = {
        .directory = directory,
        .ack = durable ? DAYBOOK_ACK_DURABLE : DAYBOOK_ACK_WRITTEN,
        .gather = true,
        .on_result = note_result,
        .context = c,
    };
    c->payload_count = 4096;
    c->payloads = malloc((size_t)c->payload_count * PAYLOAD_MAX);
    if (!embedded && daybook_connect(&options, &c->client, &why))
        die("%s", why.text);
    return c;
}

static void close_queries(struct connection *c)
{
    sqlite3_finalize(c->latest);
    sqlite3_finalize(c->window);
    sqlite3_close_v2(c->database);
    c->latest = c->window = NULL;
    c->database = NULL;
}

static void disconn(void *v)
{
    struct connection *c = v;
    daybook_close(c->client);
    close_queries(c);
    free(c->payloads);
    free(c);
}

static void send(struct connection *c, const ev_t *e, int n)
{
    struct daybook_error why;
    for (int i = 0; i < n; i++) {
        struct daybook_event event = {
            .time_ns = e[i].ts,
            .topic = topic_name[e[i].topic],
            .topic_bytes = strlen(topic_name[e[i].topic]),
            .payload = wrap(c, 0, &e[i]),
            .payload_bytes = e[i].len + HEAD_BYTES,
        };
        if (n == 1 ? daybook_publish(c->client, &event, NULL, &why)
                   : daybook_send(c->client, &event, &why))
            die("%s", why.text);
    }
    if (n > 1 && daybook_flush(c->client, &why))
        die("%s", why.text);
    if (c->bad)
        die("%llu events were not stored", (unsigned long long)c->bad);
}

static void append_here(struct connection *c, const ev_t *e, int n)
{
    enum segment_log_outcome outcome;
    uint64_t sequence = 0;
    for (int i = 0; i < n; i++) {
        struct event event = {
            .time_ns = e[i].ts,
            .topic = topic_name[e[i].topic],
            .topic_bytes = strlen(topic_name[e[i].topic]),
            .payload = wrap(c, 0, &e[i]),
            .payload_bytes = e[i].len + HEAD_BYTES,
        };
        enum error_code code;
        while ((code = segment_log_append(log_, &event, &outcome, &sequence, &error)) == ERROR_BUSY)
            segment_log_wait_room(log_);
        check(code);
    }
    if (durable)
        check(segment_log_wait(log_, sequence, &error));
    else
        segment_log_kick(log_);
}

static void append(void *v, const ev_t *e, int n)
{
    if (embedded)
        append_here(v, e, n);
    else
        send(v, e, n);
}

/* Everything durable and indexed. */
static void wait_for_index(void)
{
    struct segment_reader *reader;
    check(segment_reader_open(directory, &reader, &error));
    uint64_t last = segment_reader_watermark(reader);
    segment_reader_close(reader);
    check(indexer_wait_for_sequence(directory, last, 600000, &error));
}

static void catch_up(void)
{
    struct indexer_follower *follower;
    check(indexer_follower_open(directory, &follower, &error));
    check(indexer_follower_catch_up(follower, &error));
    indexer_follower_close(follower);
}

static void pack(void)
{
    struct segment_packer_watcher watcher = {0};
    struct segment_packer_totals totals;
    enum error_code code;
    while ((code = segment_packer_run(directory, &watcher, &totals, &error)) == ERROR_BUSY)
        usleep(20000);
    check(code);
}

/* The log's own share of the disk, and the index's, for each event. */
static void emit_disk(void)
{
    sqlite3 *database;
    sqlite3_stmt *select;
    check(indexer_query_open(directory, &database, &error));
    CHECK(!sqlite3_prepare_v2(database,
                              "SELECT sum(stored_bytes) * 1.0 / sum(events),"
                              " (SELECT page_count * page_size * 1.0 FROM pragma_page_count,"
                              " pragma_page_size) / sum(events) FROM segments"
                              " WHERE state = 'packed'",
                              -1, &select, NULL));
    CHECK(sqlite3_step(select) == SQLITE_ROW);
    emit("G", "packed_log", sqlite3_column_double(select, 0), "B/ev");
    sqlite3_finalize(select);
    sqlite3_close_v2(database);
}

static void settle(void *v)
{
    (void)v;
    uint64_t begin = now_ns();
    if (embedded) {
        check(segment_log_close(log_, &error));
        log_ = NULL;
        catch_up();
    } else {
        wait_for_index();
    }
    emit("G", "index_behind", (double)(now_ns() - begin) / 1e9, "s");
    begin = now_ns();
    pack();
    emit("G", "pack", (double)(now_ns() - begin) / 1e9, "s");
    if (embedded)
        catch_up();
    else
        usleep(500000); /* the index learns of the last packed segment within 0.2 s */
    emit_disk();
}

static sqlite3 *database_of(struct connection *c)
{
    if (c->database)
        return c->database;
    check(indexer_query_open(directory, &c->database, &error));
    CHECK(!sqlite3_prepare_v2(c->database,
                              "SELECT payload FROM events WHERE topic = ?1"
                              " ORDER BY ts DESC LIMIT ?2",
                              -1, &c->latest, NULL));
    CHECK(!sqlite3_prepare_v2(c->database,
                              "SELECT payload FROM events WHERE topic = ?1 AND ts >= ?2"
                              " AND ts < ?3 ORDER BY ts",
                              -1, &c->window, NULL));
    return c->database;
}

static int index_of(const char *topic)
{
    for (int i = 0; i < NTOPIC; i++)
        if (strcmp(topic, topic_name[i]) == 0)
            return i;
    die("topic %s", topic);
}

static void take_counts(sqlite3 *database, const char *sql, uint64_t out[NTOPIC])
{
    sqlite3_stmt *select;
    CHECK(!sqlite3_prepare_v2(database, sql, -1, &select, NULL));
    while (sqlite3_step(select) == SQLITE_ROW)
        out[index_of((const char *)sqlite3_column_text(select, 0))] =
            (uint64_t)sqlite3_column_int64(select, 1);
    sqlite3_finalize(select);
}

static void count(void *v, uint64_t out[NTOPIC])
{
    uint64_t begin = now_ns();
    uint64_t totals[NTOPIC] = {0};
    sqlite3 *database = database_of(v);
    take_counts(database, "SELECT topic, events FROM topics", totals);
    emit("E", "count_from_topics", (double)(now_ns() - begin) / 1e6, "ms");
    take_counts(database, "SELECT topic, COUNT(*) FROM events GROUP BY topic", out);
    CHECK(!memcmp(totals, out, sizeof totals));
}

static uint64_t take_payloads(sqlite3_stmt *select)
{
    uint64_t rows = 0;
    int result;
    for (; (result = sqlite3_step(select)) == SQLITE_ROW; rows++)
        sink(sqlite3_column_text(select, 0), (size_t)sqlite3_column_bytes(select, 0));
    if (result != SQLITE_DONE)
        die("%s", sqlite3_errmsg(sqlite3_db_handle(select)));
    sqlite3_reset(select);
    return rows;
}

static int latest(void *v, int topic, int n)
{
    struct connection *c = v;
    database_of(c);
    sqlite3_bind_text(c->latest, 1, topic_name[topic], -1, SQLITE_STATIC);
    sqlite3_bind_int(c->latest, 2, n);
    return (int)take_payloads(c->latest);
}

static uint64_t window(void *v, int topic, int64_t t0, int64_t t1)
{
    struct connection *c = v;
    database_of(c);
    sqlite3_bind_text(c->window, 1, topic_name[topic], -1, SQLITE_STATIC);
    sqlite3_bind_int64(c->window, 2, t0);
    sqlite3_bind_int64(c->window, 3, t1);
    return take_payloads(c->window);
}

static uint64_t scan(void *v)
{
    struct segment_reader *reader;
    struct event event;
    uint64_t events = 0;
    enum error_code code;
    (void)v;
    check(segment_reader_open(directory, &reader, &error));
    segment_reader_read_ahead(reader);
    while ((code = segment_reader_next(reader, &event, &error)) == OK) {
        size_t size;
        const char *text = unwrap(event.payload, event.payload_bytes, &size);
        sink(text, size);
        events++;
    }
    if (code != ERROR_END)
        die("%s", error.text);
    segment_reader_close(reader);
    return events;
}

/* Whole segments: those that lie below the cut. */
static void trim(void *v, const ev_t *cut)
{
    sqlite3_stmt *select;
    sqlite3 *database = database_of(v);
    CHECK(!sqlite3_prepare_v2(database, "SELECT sum(bytes) FROM segments WHERE last_seq >= ?1", -1,
                              &select, NULL));
    sqlite3_bind_int64(select, 1, (sqlite3_int64)cut->seq);
    CHECK(sqlite3_step(select) == SQLITE_ROW);
    struct indexer_retention_options options = {
        .max_bytes = (uint64_t)sqlite3_column_int64(select, 0)};
    sqlite3_finalize(select);
    struct indexer_retention_totals totals;
    check(indexer_retention_run(directory, &options, NULL, NULL, &totals, &error));
}

static void teardown(void)
{
    check(segment_log_close(log_, &error));
}

const peer_t peer = {setup, conn,   append, disconn, settle, count,    latest,
                     window, scan, trim,   NULL,    teardown, 0};
