#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "indexer/field_fill.h"
#include "indexer/fields.h"
#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/reindex.h"
#include "indexer/retention.h"
#include "indexer/wishes.h"
#include "segment/bound.h"
#include "segment/packer.h"
#include "tests/indexer/scene.h"

TestSuite(fields, .init = scene_begin, .fini = scene_end);

static struct error error;

static void change(enum indexer_wishes_change what, const char *text)
{
    struct indexer_wishes fields = {0};
    size_t changed;
    cr_assert_eq(indexer_wishes_add_text(&fields, text, &error), OK, "%s", error.text);
    cr_assert_eq(indexer_wishes_change(scene_directory(), what, &fields, &changed, &error), OK,
                 "%s", error.text);
    indexer_wishes_release(&fields);
}

static struct indexer_follower *open_follower(void)
{
    struct indexer_follower *follower = NULL;
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), OK, "%s", error.text);
    return follower;
}

static struct indexer_step step_once(struct indexer_follower *follower)
{
    struct indexer_step step;
    cr_assert_eq(indexer_follower_step(follower, &step, &error), OK, "%s", error.text);
    return step;
}

static void catch_up(struct indexer_follower *follower)
{
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
}

/* NULL: a query must not be answered from it. The caller frees. */
static struct indexer_field *find_done(const char *topic, const char *path)
{
    sqlite3 *database = scene_open_database();
    struct indexer_fields fields = {0};
    cr_assert_eq(indexer_fields_load(database, "main", &fields, &error), OK, "%s", error.text);
    const struct indexer_field *found = indexer_fields_find(&fields, topic, path);
    struct indexer_field *copy = NULL;
    if (found) {
        copy = malloc(sizeof *copy);
        *copy = *found;
    }
    indexer_fields_free(&fields);
    sqlite3_close(database);
    return copy;
}

static bool is_done(const char *topic, const char *path)
{
    struct indexer_field *field = find_done(topic, path);
    free(field);
    return field != NULL;
}

Test(fields, of_an_attached_index_are_told_from_tables_of_the_same_name)
{
    scene_write(500);
    change(WISHES_ADD, "a n");
    scene_index();
    sqlite3 *database = NULL;
    struct indexer_fields fields = {0};
    cr_assert_eq(sqlite3_open(":memory:", &database), SQLITE_OK);
    char *sql = sqlite3_mprintf("CREATE TABLE state(bound); CREATE TABLE field_rows(x);"
                                "ATTACH %Q AS \"the \"\"log\"",
                                scene_path("events.db"));
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(database));
    cr_assert_eq(indexer_fields_load(database, "the \"log", &fields, &error), OK, "%s",
                 error.text);
    cr_assert_not_null(indexer_fields_find(&fields, "a", "n"));
    cr_assert_null(indexer_fields_find(&fields, "a", "m"));
    indexer_fields_free(&fields);
    sqlite3_free(sql);
    sqlite3_close(database);
}

/* The field's table, by either name, holds exactly what SQLite's JSON finds in the payloads. */
static void expect_complete(const char *topic, const char *path)
{
    struct indexer_field *field = find_done(topic, path);
    cr_assert_not_null(field, "%s of %s is not done", path, topic);
    sqlite3 *database = NULL;
    cr_assert_eq(indexer_query_open(scene_directory(), &database, &error), OK, "%s", error.text);
    char *sql = sqlite3_mprintf(
        "WITH kept AS (SELECT seq, value, typeof(value) AS type FROM field_%lld),"
        " shown AS (SELECT seq, value, typeof(value) AS type FROM field_values"
        "  WHERE topic = %Q AND field = %Q),"
        " found AS (SELECT seq, json_extract(payload(seq), '$.' || %Q) AS value,"
        "  typeof(json_extract(payload(seq), '$.' || %Q)) AS type FROM events WHERE topic = %Q)"
        " SELECT (SELECT count(*) FROM (SELECT * FROM kept EXCEPT SELECT * FROM found)),"
        " (SELECT count(*) FROM (SELECT * FROM found WHERE type != 'null'"
        "  EXCEPT SELECT * FROM kept)),"
        " (SELECT count(*) FROM (SELECT * FROM shown EXCEPT SELECT * FROM kept)),"
        " (SELECT count(*) FROM shown) - (SELECT count(*) FROM kept),"
        " (SELECT count(*) FROM kept) - (SELECT events FROM fields"
        "  WHERE topic = %Q AND field = %Q),"
        " (SELECT count(*) FROM kept NOT INDEXED)"
        "  - (SELECT count(*) FROM field_%lld INDEXED BY field_%lld_by_value WHERE value NOTNULL)",
        (long long)field->id, topic, path, path, path, topic, topic, path, (long long)field->id,
        (long long)field->id);
    char *rows = scene_rows(database, sql);
    cr_assert_str_eq(rows, "0|0|0|0|0|0\n", "%s of %s: %s", path, topic, rows);
    free(rows);
    sqlite3_free(sql);
    sqlite3_close(database);
    free(field);
}

static void expect_table_gone(int64_t id)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'field_%lld%%'",
             (long long)id);
    cr_assert_eq(scene_number(sql), 0);
}

/* Events of the topic t, a JSON payload each. */
static void append_json(struct segment_log *log, const char *json)
{
    struct json_reader *reader = NULL;
    struct buffer payload = {0};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    cr_assert_eq(json_reader_create(&reader, &error), OK);
    cr_assert_eq(json_to_msgpack(reader, json, strlen(json), EVENT_PAYLOAD_DEPTH_MAX, &payload,
                                 &error),
                 OK, "%s", error.text);
    struct event event = {.time_ns = 1,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = payload.data,
                          .payload_bytes = payload.size};
    cr_assert_eq(segment_log_append(log, &event, &outcome, &sequence, &error), OK, "%s",
                 error.text);
    json_reader_free(reader);
    buffer_release(&payload);
}

static void write_json(const char *const *payloads, size_t count)
{
    struct segment_log *log = scene_open_log();
    for (size_t i = 0; i < count; i++)
        append_json(log, payloads[i]);
    cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK);
    cr_assert_eq(segment_log_close(log, &error), OK);
}

Test(fields, are_kept_with_new_events)
{
    scene_write(10);
    change(WISHES_ADD, "a n");
    change(WISHES_ADD, "orders.new n nothing");
    scene_index();
    scene_write(1000);

    scene_index();

    expect_complete("a", "n");
    expect_complete("orders.new", "n");
    expect_complete("orders.new", "nothing");
    scene_expect_rows("SELECT topic, field, events > 100, done, storage LIKE 'field_%' FROM fields",
                      "a|n|1|1|1\norders.new|n|1|1|1\norders.new|nothing|0|1|1\n");
    cr_assert(!is_done("sensor/1", "n"));
    scene_expect_index_equals_log();
}

Test(fields, of_older_events_are_filled_in)
{
    scene_write(1000);
    scene_index();
    change(WISHES_ADD, "a n");
    scene_write(100);

    scene_index();

    expect_complete("a", "n");
    scene_expect_index_equals_log();
}

enum { SLICES = 3, MANY = SLICES * INDEXER_FIELD_FILL_EVENTS };

/* Without waiting for the disk each time. */
static void write_many(void)
{
    struct segment_log *log = scene_open_log();
    char json[64];
    for (int i = 1; i <= MANY; i++) {
        snprintf(json, sizeof json, "{\"n\":%d,\"m\":\"m%d\"}", i, i % 7);
        append_json(log, json);
        if (i % 500 == 0)
            cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK);
    }
    cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK);
    cr_assert_eq(segment_log_close(log, &error), OK);
}

Test(fields, are_not_used_before_they_are_complete)
{
    write_many();
    scene_index();
    change(WISHES_ADD, "t n");
    struct indexer_follower *follower = open_follower();
    uint64_t filled = 0;
    for (;;) {
        struct indexer_step step = step_once(follower);
        filled += step.filled;
        if (!step.working_on_fields)
            break;
        cr_assert(!step.caught_up);
        cr_assert(!is_done("t", "n"), "done after %llu events", (unsigned long long)filled);
        scene_expect_rows("SELECT count(*) FROM field_values", "0\n");
        scene_expect_rows("SELECT done, done_seq BETWEEN events AND 24575, until_seq FROM fields",
                          "0|1|24576\n");
    }
    cr_assert_geq(filled, MANY);
    expect_complete("t", "n");
    scene_expect_rows("SELECT events, done, done_seq, until_seq FROM fields",
                      "24576|1|24576|24576\n");
    indexer_follower_close(follower);
}

Test(fields, do_not_hold_up_new_events)
{
    write_many();
    scene_index();
    change(WISHES_ADD, "t n m");
    struct indexer_follower *follower = open_follower();
    struct segment_log *log = scene_open_log();
    unsigned steps = 0;
    for (struct indexer_step step = {.working_on_fields = true}; step.working_on_fields; steps++) {
        append_json(log, "{\"n\":-1}");
        cr_assert_eq(segment_log_wait(log, segment_log_appended(log), &error), OK);
        step = step_once(follower);
        cr_assert_eq(step.last_sequence, MANY + steps + 1);
    }
    cr_assert_geq(steps, SLICES);
    catch_up(follower);
    indexer_follower_close(follower);
    cr_assert_eq(segment_log_close(log, &error), OK);
    expect_complete("t", "n");
    expect_complete("t", "m");
}

/* In the child: the n-th commit of the process does not take place, and nothing after it. */
static int commits_left;

static int kill_at_commit(void *context)
{
    (void)context;
    if (commits_left-- == 0)
        raise(SIGKILL);
    return 0;
}

static int count_commits(sqlite3 *database, const char **message, const void *api)
{
    (void)message;
    (void)api;
    sqlite3_commit_hook(database, kill_at_commit, NULL);
    return SQLITE_OK;
}

/* False: it came to its end before. */
static bool follow_until_commit(int commit)
{
    pid_t child = fork();
    if (child == 0) {
        struct indexer_follower *follower = NULL;
        commits_left = commit;
        sqlite3_auto_extension((void (*)(void))count_commits);
        if (indexer_follower_open(scene_directory(), &follower, NULL) ||
            indexer_follower_catch_up(follower, NULL))
            _exit(1);
        indexer_follower_close(follower);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "status %d", status);
    return WIFSIGNALED(status);
}

Test(fields, killed_between_any_two_transactions_go_on_where_they_were)
{
    write_many();
    scene_index();
    change(WISHES_ADD, "t n m");
    /* Each run gets one commit farther, at least. */
    int runs = 0;
    for (int commit = 1; follow_until_commit(commit); runs++) {
        bool done = is_done("t", "n");
        cr_assert_eq(done, scene_number("SELECT count(*) FROM field_values") > 0);
        if (scene_number("SELECT count(*) FROM field_rows") > 0)
            scene_expect_rows("SELECT (SELECT count(*) FROM field_1) - done_seq,"
                              " events - done_seq FROM field_rows WHERE id = 1",
                              "0|0\n");
    }
    cr_assert_geq(runs, SLICES);
    expect_complete("t", "n");
    expect_complete("t", "m");
    scene_expect_index_equals_log();

    change(WISHES_DROP, "t n");
    for (runs = 0; follow_until_commit(1); runs++)
        expect_complete("t", "m");
    cr_assert_geq(runs, SLICES);
    expect_table_gone(2); /* m was the first */
    expect_complete("t", "m");
}

Test(fields, that_are_dropped_go_in_small_steps_and_come_back_as_others)
{
    write_many();
    change(WISHES_ADD, "t n m");
    scene_index();
    struct indexer_field *before = find_done("t", "n");
    cr_assert_not_null(before);
    struct indexer_follower *follower = open_follower();
    change(WISHES_DROP, "t n");
    change(WISHES_ADD, "t n");
    change(WISHES_DROP, "t n");
    unsigned steps = 0;
    uint64_t removed = 0;
    for (struct indexer_step step = {.working_on_fields = true}; step.working_on_fields; steps++) {
        step = step_once(follower);
        cr_assert_leq(step.retired, INDEXER_FIELD_SET_ROWS);
        removed += step.retired;
        cr_assert(!is_done("t", "n"));
    }
    cr_assert_geq(steps, SLICES);
    cr_assert_eq(removed, MANY);
    expect_table_gone(before->id);
    scene_expect_rows("SELECT field FROM fields", "m\n");
    expect_complete("t", "m");

    change(WISHES_ADD, "t n");
    catch_up(follower);
    struct indexer_field *after = find_done("t", "n");
    cr_assert_not_null(after);
    cr_assert_gt(after->id, before->id);
    expect_complete("t", "n");
    indexer_follower_close(follower);
    free(before);
    free(after);
}

Test(fields, that_are_added_while_the_follower_runs_are_seen)
{
    scene_write(300);
    struct indexer_follower *follower = open_follower();
    catch_up(follower);
    change(WISHES_ADD, "a n");
    catch_up(follower);
    scene_write(300);
    catch_up(follower);
    expect_complete("a", "n");
    change(WISHES_DROP, "a n");
    change(WISHES_ADD, "orders.new n");
    catch_up(follower);
    scene_write(300);
    catch_up(follower);
    expect_complete("orders.new", "n");
    scene_expect_rows("SELECT topic FROM fields", "orders.new\n");
    indexer_follower_close(follower);
}

Test(fields, are_the_same_in_an_index_that_is_made_anew)
{
    scene_write(1000);
    change(WISHES_ADD, "a n");
    scene_index();
    cr_assert_eq(unlink(scene_path("events.db")), 0);
    scene_index();
    expect_complete("a", "n");

    cr_assert_eq(indexer_reindex(scene_directory(), NULL, NULL, NULL, &error), OK, "%s",
                 error.text);
    expect_complete("a", "n");

    /* The new one has them from its first event on, and need not be filled. */
    struct indexer_follower *follower = open_follower();
    cr_assert_eq(unlink(scene_path("events.db")), 0);
    for (struct indexer_step step = {0}; !step.caught_up;) {
        step = step_once(follower);
        cr_assert_eq(step.filled, 0);
        if (step.caught_up && step.last_sequence < 1000)
            step.caught_up = false;
    }
    indexer_follower_close(follower);
    expect_complete("a", "n");
}

static void pack_all(void)
{
    struct segment_packer_watcher watcher = {0};
    struct segment_packer_totals totals = {0};
    cr_assert_eq(segment_packer_run(scene_directory(), &watcher, &totals, &error), OK, "%s",
                 error.text);
    cr_assert_gt(totals.segments_packed, 2);
}

Test(fields, are_filled_from_packed_segments_and_survive_packing)
{
    scene_write(2000);
    change(WISHES_ADD, "a n");
    scene_index();
    pack_all();
    change(WISHES_ADD, "orders.new n");
    scene_index();
    expect_complete("a", "n");
    expect_complete("orders.new", "n");
}

static void retire_below(uint64_t bound)
{
    int fd = -1;
    cr_assert_eq(file_open_directory(scene_directory(), false, &fd, NULL), OK);
    cr_assert_eq(segment_bound_store(fd, bound, NULL), OK);
    file_close(&fd);
}

Test(fields, lose_the_rows_of_what_retention_deletes)
{
    scene_write(4000);
    change(WISHES_ADD, "a n");
    scene_index();
    change(WISHES_ADD, "sensor/1 n");
    struct indexer_retention_options options = {.max_bytes = 200000};
    struct indexer_retention_totals totals;

    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 OK, "%s", error.text);

    scene_index();
    cr_assert_gt(totals.bound, 1000);
    cr_assert_eq((uint64_t)scene_number("SELECT min(seq) >= bound FROM field_1, state"), 1);
    expect_complete("a", "n");
    expect_complete("sensor/1", "n");
    scene_write(500);
    scene_index();
    expect_complete("a", "n");
}

/* The rows go first, and nothing is filled in below the new bound meanwhile. */
Test(fields, that_are_being_filled_let_retention_pass)
{
    write_many();
    scene_index();
    change(WISHES_ADD, "t n");
    struct indexer_follower *follower = open_follower();
    step_once(follower);
    cr_assert(!is_done("t", "n"));
    retire_below(MANY - 100);
    catch_up(follower);
    indexer_follower_close(follower);
    expect_complete("t", "n");
    scene_expect_rows("SELECT count(*), min(seq) FROM field_1", "101|24476\n");
    scene_expect_rows("SELECT events, done FROM fields", "101|1\n");

    follower = open_follower();
    change(WISHES_ADD, "t m");
    step_once(follower);
    retire_below(MANY + 1);
    catch_up(follower);
    indexer_follower_close(follower);
    expect_complete("t", "m");
    scene_expect_rows("SELECT count(*) FROM field_values", "0\n");
}

Test(fields, have_the_types_that_sql_knows)
{
    static const char *const PAYLOADS[] = {
        "{\"x\":1}",
        "{\"x\":-9223372036854775808}",
        "{\"x\":9223372036854775807}",
        "{\"x\":9223372036854775808}",
        "{\"x\":18446744073709551615}",
        "{\"x\":1.5}",
        "{\"x\":1.0}",
        "{\"x\":-0.0}",
        "{\"x\":1e300}",
        "{\"x\":\"text\"}",
        "{\"x\":\"\"}",
        "{\"x\":\"1\"}",
        "{\"x\":true}",
        "{\"x\":false}",
        "{\"x\":null}",
        "{\"y\":1}",
        "{\"x\":NaN}",
        "{\"x\":-Infinity}",
        "{\"x\":[1,\"two\",null]}",
        "{\"x\":{\"y\":{\"z\":2}}}",
        "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
        "{\"x\":{\"items\":[{\"id\":1},{\"id\":\"b\"}]}}",
        "{\"x\":1,\"x\":2}",
        "[1]",
        "17",
        "null",
    };
    write_json(PAYLOADS, sizeof PAYLOADS / sizeof PAYLOADS[0]);
    scene_index();
    change(WISHES_ADD, "t x x.y.z x.items[#-1].id x[1]");
    scene_index();
    write_json(PAYLOADS, sizeof PAYLOADS / sizeof PAYLOADS[0]);
    scene_index();
    expect_complete("t", "x");
    expect_complete("t", "x.y.z");
    expect_complete("t", "x.items[#-1].id");
    expect_complete("t", "x[1]");
    scene_expect_rows(
        "SELECT seq, typeof(value), value FROM field_values WHERE field = 'x' AND seq < 27",
        "1|integer|1\n2|integer|-9223372036854775808\n3|integer|9223372036854775807\n"
        "4|real|9.22337203685478e+18\n5|real|1.84467440737096e+19\n6|real|1.5\n7|real|1.0\n"
        "8|real|0.0\n9|real|1.0e+300\n10|text|text\n11|text|\n12|text|1\n13|integer|1\n"
        "14|integer|0\n19|text|[1,\"two\",null]\n20|text|{\"y\":{\"z\":2}}\n"
        "21|text|[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"
        "22|text|{\"items\":[{\"id\":1},{\"id\":\"b\"}]}\n23|integer|1\n");
    scene_expect_rows("SELECT seq FROM field_values WHERE field = 'x' AND value = 1 AND seq < 27",
                      "1\n7\n13\n23\n");
}

/* Flip a byte in the block that holds the event. */
static void damage_block_of(uint64_t sequence)
{
    char sql[200], name[64];
    snprintf(sql, sizeof sql, "SELECT offset FROM events WHERE seq = %llu",
             (unsigned long long)sequence);
    uint64_t offset = (uint64_t)scene_number(sql);
    snprintf(sql, sizeof sql, "SELECT segment FROM events WHERE seq = %llu",
             (unsigned long long)sequence);
    snprintf(name, sizeof name, "segments/%020llu.seg", (unsigned long long)scene_number(sql));
    scene_flip(name, offset + 150);
}

Test(fields, of_events_that_cannot_be_read_are_incomplete_until_those_are_gone)
{
    scene_write(1000);
    scene_index();
    damage_block_of(501); /* topic orders.done, not a */
    change(WISHES_ADD, "a n");
    change(WISHES_ADD, "orders.done n");
    struct indexer_follower *follower = open_follower();
    bool told = false;
    for (struct indexer_step step = {.working_on_fields = true}; step.working_on_fields;) {
        step = step_once(follower);
        told |= step.notice && strstr(step.notice, "indexed fields lack what cannot be read: ") &&
                strstr(step.notice, "segment");
    }
    cr_assert(told);
    cr_assert(!is_done("orders.done", "n"));
    scene_expect_rows("SELECT events BETWEEN 150 AND 199, done, done_seq, until_seq FROM fields"
                      " WHERE topic = 'orders.done'",
                      "1|0|1000|1000\n");
    scene_expect_rows("SELECT count(*) FROM field_values WHERE topic = 'orders.done'", "0\n");

    retire_below(600);
    catch_up(follower);
    indexer_follower_close(follower);
    cr_assert(is_done("orders.done", "n"));
    cr_assert(is_done("a", "n"));
    scene_expect_rows("SELECT count(*), min(seq) FROM field_values WHERE topic = 'orders.done'",
                      "79|601\n");
}

Test(fields, lack_nothing_where_the_damaged_block_had_none_of_theirs)
{
    scene_write(1000);
    scene_index();
    /* A block of one event. */
    int64_t other = scene_number("SELECT e.seq FROM events e JOIN block_rows b"
                                 " ON b.first_seq = e.seq AND b.count = 1"
                                 " WHERE e.topic = 'orders.done' AND e.seq > 100 LIMIT 1");
    damage_block_of((uint64_t)other);
    change(WISHES_ADD, "a n");
    change(WISHES_ADD, "orders.done n");
    scene_index();
    cr_assert(is_done("a", "n"));
    cr_assert(!is_done("orders.done", "n"));
}

Test(fields, stay_when_the_list_of_them_is_damaged)
{
    scene_write(500);
    change(WISHES_ADD, "a n");
    scene_index();
    scene_flip(INDEXER_WISHES_NAME, 27);
    struct indexer_follower *follower = open_follower();
    struct indexer_step step = step_once(follower);
    cr_assert_not_null(step.notice);
    cr_assert(strstr(step.notice, "'index-fields', is damaged"), "%s", step.notice);
    catch_up(follower); /* looks again, and again */
    step = step_once(follower);
    cr_assert_null(step.notice, "told twice: %s", step.notice);
    scene_write(500);
    catch_up(follower);
    expect_complete("a", "n");

    /* The same file, healed: neither its time nor its size tells. */
    scene_flip(INDEXER_WISHES_NAME, 27);
    catch_up(follower);
    expect_complete("a", "n");
    cr_assert_eq(unlink(scene_path(INDEXER_WISHES_NAME)), 0);
    catch_up(follower);
    indexer_follower_close(follower);
    scene_expect_rows("SELECT count(*) FROM field_rows", "0\n");
}

static void run_sql(const char *sql)
{
    sqlite3 *database = scene_open_database();
    cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(database));
    sqlite3_close(database);
}

Test(fields, whose_table_somebody_has_changed_make_the_index_anew)
{
    static const struct {
        const char *sql, *reason;
    } CASES[] = {
        {"DROP TABLE field_1", "without its table or index field_1"},
        {"DROP INDEX field_1_by_value", "without its table or index field_1"},
        {"UPDATE field_rows SET path = 'a..b'", "its field 1 makes no sense"},
        {"UPDATE field_rows SET topic = ''", "its field 1 makes no sense"},
    };
    scene_write(100);
    change(WISHES_ADD, "a n");
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        scene_index();
        run_sql(CASES[i].sql);
        struct indexer_follower *follower = open_follower();
        const char *rebuilt = indexer_follower_rebuilt(follower);
        cr_assert_not_null(rebuilt, "%s", CASES[i].sql);
        cr_assert(strstr(rebuilt, CASES[i].reason), "%s: %s", CASES[i].sql, rebuilt);
        indexer_follower_close(follower);
    }
    scene_index();
    expect_complete("a", "n");
}

static void expect_plan(sqlite3 *database, const char *sql, const char *has, const char *lacks)
{
    char explain[512];
    snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", sql);
    char *plan = scene_rows(database, explain);
    cr_assert(strstr(plan, has), "%s:\n%s", sql, plan);
    cr_assert_null(strstr(plan, lacks), "%s:\n%s", sql, plan);
    free(plan);
}

Test(fields, answer_queries_of_the_stock_shell_by_their_index)
{
    scene_write(200);
    change(WISHES_ADD, "a n");
    change(WISHES_ADD, "orders.new n");
    scene_index();
    sqlite3 *database = scene_open_database();
    expect_plan(database, "SELECT seq FROM field_1 WHERE value = 4 ORDER BY seq",
                "SEARCH field_1 USING COVERING INDEX field_1_by_value (value=?)", "SCAN");
    expect_plan(database, "SELECT seq FROM field_1 WHERE value = 4 ORDER BY seq", "SEARCH",
                "TEMP B-TREE");
    expect_plan(database,
                "SELECT e.* FROM field_values f JOIN events e USING(seq)"
                " WHERE f.topic = 'a' AND f.field = 'n' AND f.value = 4",
                "SEARCH field_1 USING COVERING INDEX field_1_by_value (value=?)", "SCAN");
    scene_expect_rows("SELECT e.seq, e.topic FROM field_values f JOIN events e USING(seq)"
                      " WHERE f.topic = 'a' AND f.field = 'n' AND f.value = 4",
                      "4|a\n");
    sqlite3_close(database);
}
