/* What the gate does with events: by topic, mode and moment; and who may change a schema. */
#include "tools/gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/msgpack.h"
#include "segment/lock.h"
#include "segment/schemas_event.h"
#include "tests/support/broken_calls.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

static struct segment_log *log_open;
static struct gate *gate;
static struct segment_schemas schemas;
static struct json_reader *json;
static struct error error;
static int log_fd = -1;

static void open_log(void)
{
    struct segment_log_options options = {.takes_withdrawals = true};
    cr_assert_eq(segment_log_open(scratch_path("log"), &options, &log_open, NULL, &error), OK, "%s",
                 error.text);
    cr_assert_eq(gate_open(scratch_path("log"), &gate, &error), OK, "%s", error.text);
}

static void close_log(void)
{
    gate_close(gate);
    gate = NULL;
    cr_assert_eq(segment_log_close(log_open, &error), OK, "%s", error.text);
    log_open = NULL;
}

static void begin(void)
{
    open_log();
    cr_assert_eq(file_open_directory(scratch_path("log"), false, &log_fd, &error), OK);
    cr_assert_eq(json_reader_create(&json, &error), OK);
}

static void end(void)
{
    close_log();
    json_reader_free(json);
    segment_schemas_free(&schemas);
    file_close(&log_fd);
}

TestSuite(gate, .init = begin, .fini = end);

struct outcome {
    enum error_code code;
    enum segment_log_outcome outcome;
    uint64_t sequence;
};

static struct outcome append_bytes(const char *topic, const struct buffer *payload,
                                   uint64_t number)
{
    struct event event = {
        .topic = topic,
        .topic_bytes = strlen(topic),
        .time_ns = 77,
        .payload = payload->data,
        .payload_bytes = payload->size,
        .producer = number ? "meter" : NULL,
        .producer_bytes = number ? 5 : 0,
        .number = number,
    };
    struct outcome outcome = {0};
    error.text[0] = '\0';
    cr_assert_eq(event_check(&event, &error), OK, "%s", error.text);
    outcome.code = gate_append(gate, log_open, &event, NULL, true, &outcome.outcome,
                               &outcome.sequence, &error);
    return outcome;
}

static struct outcome append_numbered(const char *topic, const char *text, uint64_t number)
{
    struct buffer payload = {0};
    cr_assert_eq(json_to_msgpack(json, text, strlen(text), 32, &payload, &error), OK, "%s",
                 error.text);
    struct outcome outcome = append_bytes(topic, &payload, number);
    buffer_release(&payload);
    return outcome;
}

static enum error_code append(const char *topic, const char *text)
{
    return append_numbered(topic, text, 0).code;
}

static struct buffer text_of(const char *text)
{
    return (struct buffer){.data = (uint8_t *)(uintptr_t)text, .size = strlen(text)};
}

/* Step 2 of a change: its line is in the catalogue. */
static void note(enum segment_schemas_action action, const char *topic, const char *text,
                 enum segment_schemas_mode mode)
{
    struct segment_schemas_change change = {
        .action = action, .mode = mode, .after = segment_log_appended(log_open)};
    strcpy(change.topic, topic);
    cr_assert_eq(
        segment_schemas_note(log_fd, &schemas, &change, text, strlen(text), &error), OK, "%s",
        error.text);
}

/* Step 3. */
static struct outcome publish_change(const char *text)
{
    struct buffer payload = {0}, schema = text_of(text);
    cr_assert_eq(segment_schemas_event_write(&schemas.changes[schemas.count - 1], &schema, &payload,
                                             &error),
                 OK, "%s", error.text);
    struct outcome outcome = append_bytes(SCHEMAS_EVENT_TOPIC, &payload, 0);
    buffer_release(&payload);
    return outcome;
}

/* Step 5. */
static void settle(uint64_t sequence)
{
    cr_assert_eq(segment_schemas_settle(log_fd, &schemas, sequence, 77, &error), OK, "%s",
                 error.text);
}

static void add(const char *topic, const char *text, enum segment_schemas_mode mode)
{
    note(SCHEMAS_ADD, topic, text, mode);
    struct outcome outcome = publish_change(text);
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    cr_assert_eq(segment_log_wait(log_open, outcome.sequence, &error), OK);
    settle(outcome.sequence);
}

/* What the log has as event `sequence`. */
static void expect_stored(uint64_t sequence, const char *topic, const char *text)
{
    struct segment_reader *reader = logs_read(scratch_path("log"));
    struct event event;
    struct buffer found = {0};
    cr_assert_eq(segment_log_wait(log_open, sequence, &error), OK);
    cr_assert_eq(segment_reader_seek(reader, sequence, &error), OK);
    cr_assert_eq(segment_reader_next(reader, &event, &error), OK, "%s", error.text);
    cr_assert_eq(event.sequence, sequence);
    cr_assert_eq(json_from_msgpack(event.payload, event.payload_bytes, JSON_COMPACT, &found, NULL),
                 OK);
    cr_assert_eq(buffer_append(&found, "", 1, NULL), OK);
    cr_assert_eq(event.topic_bytes, strlen(topic));
    cr_assert_eq(memcmp(event.topic, topic, event.topic_bytes), 0);
    cr_assert_str_eq((char *)found.data, text);
    cr_assert_eq(event.time_ns, 77);
    buffer_release(&found);
    segment_reader_close(reader);
}

static const char price[] = "{\"properties\":{\"price\":{\"minimum\":0}}}";

Test(gate, refuses_what_does_not_keep_to_the_schema_and_says_where_and_why)
{
    add("door", price, SCHEMAS_REJECT);
    cr_assert_eq(append("door", "{\"price\":1}"), OK);
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_INVALID);
    cr_assert_str_eq(error.text, "payload at /price: -1 is less than the minimum 0 "
                                 "(#/properties/price/minimum of schema 1)");
    cr_assert_eq(append("lamp", "{\"price\":-1}"), OK);
    cr_assert_eq(append("doo", "{\"price\":-1}"), OK);
    struct gate_count count = gate_count(gate, 0);
    cr_assert_eq(gate_topics(gate), 1);
    cr_assert_eq(count.checked, 2);
    cr_assert_eq(count.refused, 1);
}

Test(gate, stores_it_under_another_topic_instead_with_everything_that_it_had)
{
    add("door", price, SCHEMAS_QUARANTINE);
    struct outcome outcome = append_numbered("door", "{\"price\":-1}", 5);
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    expect_stored(outcome.sequence, "_rejected.door",
                  "{\"topic\":\"door\",\"version\":1,\"pointer\":\"/price\",\"rule\":"
                  "\"#/properties/price/minimum\",\"reason\":\"-1 is less than the minimum 0\","
                  "\"payload\":{\"price\":-1}}");
    outcome = append_numbered("door", "{\"price\":-1}", 5);
    cr_assert_eq(outcome.outcome, LOG_DUPLICATE, "a retry is still exactly once");
    cr_assert_eq(append_numbered("door", "{\"price\":1}", 6).outcome, LOG_APPENDED);
    cr_assert_eq(gate_count(gate, 0).quarantined, 1);
}

Test(gate, refuses_what_cannot_be_stored_instead)
{
    add("door", price, SCHEMAS_QUARANTINE);
    struct buffer payload = {0};
    char *large = malloc(EVENT_PAYLOAD_BYTES_MAX);
    memset(large, 'x', EVENT_PAYLOAD_BYTES_MAX);
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, &payload);
    msgpack_pack_map(&packer, 2);
    msgpack_pack_str(&packer, 5);
    msgpack_pack_str_body(&packer, "price", 5);
    msgpack_pack_int(&packer, -1);
    msgpack_pack_str(&packer, 1);
    msgpack_pack_str_body(&packer, "x", 1);
    size_t rest = EVENT_PAYLOAD_BYTES_MAX - payload.size - 5;
    msgpack_pack_str(&packer, rest);
    msgpack_pack_str_body(&packer, large, rest);
    cr_assert_eq(append_bytes("door", &payload, 0).code, ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "payload at /price: -1 is less"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "and it cannot be kept as '_rejected."), "%s",
                       error.text);
    cr_assert_eq(gate_count(gate, 0).refused, 1);
    cr_assert_eq(gate_count(gate, 0).quarantined, 0);

    /* A level deeper is too deep. The longest topic that has a schema is not too long. */
    char deep[128] = "{\"price\":-1,\"x\":";
    for (int i = 0; i < EVENT_PAYLOAD_DEPTH_MAX - 1; i++)
        strcat(deep, "[");
    for (int i = 0; i < EVENT_PAYLOAD_DEPTH_MAX - 1; i++)
        strcat(deep, "]");
    cr_assert_eq(append("door", strcat(deep, "}")), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "cannot be kept"), "%s", error.text);
    char topic[EVENT_TOPIC_BYTES_MAX + 1] = {0};
    memset(topic, 'x', 244);
    add(topic, price, SCHEMAS_QUARANTINE);
    cr_assert_eq(append(topic, "{\"price\":-1}"), OK, "%s", error.text);
    buffer_release(&payload);
    free(large);
}

Test(gate, stores_and_counts_what_it_only_warns_of)
{
    add("door", price, SCHEMAS_WARN);
    cr_assert_eq(append("door", "{\"price\":-1}"), OK);
    cr_assert_eq(append("door", "{\"price\":1}"), OK);
    cr_assert_eq(gate_count(gate, 0).checked, 2);
    cr_assert_eq(gate_count(gate, 0).warned, 1);
}

Test(gate, calls_a_repeated_event_a_duplicate_even_if_the_schema_came_since)
{
    cr_assert_eq(append_numbered("door", "{\"price\":-1}", 5).code, OK);
    add("door", price, SCHEMAS_REJECT);
    struct outcome outcome = append_numbered("door", "{\"price\":-1}", 5);
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    cr_assert_eq(outcome.outcome, LOG_DUPLICATE);
    cr_assert_eq(append_numbered("door", "{\"price\":-1}", 6).code, ERROR_INVALID);
}

Test(gate, takes_a_change_up_exactly_at_its_event)
{
    note(SCHEMAS_ADD, "door", price, SCHEMAS_REJECT);
    cr_assert_eq(append("door", "{\"price\":-1}"), OK, "noted is not in effect");
    settle(publish_change(price).sequence);
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_INVALID);
    note(SCHEMAS_ADD, "door", "true", SCHEMAS_REJECT);
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_INVALID);
    settle(publish_change("true").sequence);
    cr_assert_eq(append("door", "{\"price\":-1}"), OK);
    add("door", "false", SCHEMAS_REJECT);
    cr_assert_eq(append("door", "{}"), ERROR_INVALID);
    note(SCHEMAS_REMOVE, "door", "", SCHEMAS_REJECT);
    settle(publish_change("").sequence);
    cr_assert_eq(append("door", "{}"), OK);
    cr_assert_eq(gate_count(gate, 0).version, 0);
}

Test(gate, lets_nobody_else_publish_what_looks_like_stored_aside)
{
    cr_assert_eq(append("_rejected.door", "{}"), ERROR_INVALID);
    cr_assert_str_eq(error.text, "topics that begin with '_rejected.' are where the log's writer "
                                 "keeps what a schema did not let through: use another topic, or "
                                 "leave the event out");
    cr_assert_eq(append("_rejected", "{}"), OK);
    cr_assert_eq(append("x_rejected.door", "{}"), OK);
    struct event event = {.topic = "_rejected.", .topic_bytes = 10};
    enum segment_log_outcome outcome;
    uint64_t sequence;
    cr_assert_eq(gate_append(gate, log_open, &event, NULL, false, &outcome, &sequence, &error),
                 ERROR_INVALID);
    cr_assert_str_eq(error.text, "", "nobody reads it");
    /* One that an older release has stored is still a duplicate. */
    cr_assert_eq(append_numbered("door", "{}", 5).code, OK);
    cr_assert_eq(append_numbered("_rejected.door", "{}", 5).outcome, LOG_DUPLICATE);
    cr_assert_eq(append_numbered("_rejected.door", "{}", 6).code, ERROR_INVALID);
}

Test(gate, counts_as_quarantined_or_warned_only_what_was_stored)
{
    struct broken_plan plan = {.call = BROKEN_SYNC, .number = 1, .for_ever = true, .reason = EIO};
    add("door", price, SCHEMAS_QUARANTINE);
    add("lamp", price, SCHEMAS_WARN);
    broken_calls_begin(&plan);
    cr_assert_eq(append("other", "1"), OK);
    cr_assert_neq(segment_log_wait(log_open, segment_log_appended(log_open), &error), OK);
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_IO, "%s", error.text);
    cr_assert_eq(append("lamp", "{\"price\":-1}"), ERROR_IO);
    cr_assert_eq(gate_count(gate, 0).quarantined + gate_count(gate, 1).warned, 0);
    broken_calls_end();
    gate_close(gate);
    segment_log_close(log_open, &error); /* it has failed */
    log_open = NULL;
    open_log();
}

Test(gate, lets_nobody_forge_a_change)
{
    static const char forged[] = "{\"topic\":\"door\",\"version\":1,\"mode\":\"warn\",\"action\":"
                                 "\"add\",\"schema\":true}";
    cr_assert_eq(append("_schema", forged), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "come from 'daybook schema' only"), "%s", error.text);
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    cr_assert_eq(append("_schema", forged), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "this is not the change that is noted"), "%s",
                       error.text);
    cr_assert_eq(append("door", "{}"), OK);
    settle(publish_change("false").sequence);
    cr_assert_eq(publish_change("false").code, ERROR_INVALID, "once is enough");
    cr_assert_eq(append("door", "{}"), ERROR_INVALID);
}

Test(gate, refuses_a_second_event_of_a_change_that_is_not_settled_yet)
{
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    cr_assert_eq(publish_change("false").code, OK);
    cr_assert_eq(publish_change("false").code, ERROR_INVALID);
    cr_assert_eq(append("door", "{}"), ERROR_INVALID);
}

/* Every state that a crash of 'daybook schema' can leave, and the writer that starts then. */
Test(gate, of_a_writer_that_starts_in_between_follows_what_the_log_says)
{
    add("door", price, SCHEMAS_REJECT);
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    close_log();
    open_log();
    cr_assert_eq(append("door", "{\"price\":1}"), OK, "no event, no effect");
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_INVALID);
    struct outcome outcome = publish_change("false");
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    close_log();
    open_log();
    cr_assert_eq(append("door", "{\"price\":1}"), ERROR_INVALID, "the event is in the log");
    cr_assert_eq(publish_change("false").code, ERROR_INVALID);
    settle(outcome.sequence);
    close_log();
    open_log();
    cr_assert_eq(append("door", "{\"price\":1}"), ERROR_INVALID);
}

/* What is pending on disk; number 0: nothing is. */
static struct segment_schemas_change pending_on_disk(void)
{
    struct segment_schemas loaded = {0};
    struct segment_schemas_change found = {0};
    cr_assert_eq(segment_schemas_load(log_fd, &loaded, &error), OK, "%s", error.text);
    if (segment_schemas_pending(&loaded))
        found = *segment_schemas_pending(&loaded);
    segment_schemas_free(&loaded);
    return found;
}

Test(gate, notes_that_a_change_is_in_effect_when_its_event_is_durable_and_the_command_is_gone)
{
    int lock = -1;
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    struct outcome outcome = publish_change("false");
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    cr_assert_eq(gate_settle(gate, outcome.sequence - 1, &error), OK);
    cr_assert_eq(pending_on_disk().number, 1, "it is not durable");
    cr_assert_eq(segment_log_wait(log_open, outcome.sequence, &error), OK);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_SCHEMAS, &lock, &error), OK);
    cr_assert_eq(gate_settle(gate, outcome.sequence, &error), OK);
    cr_assert_eq(pending_on_disk().number, 1, "the command is at it");
    file_close(&lock);
    cr_assert_eq(gate_settle(gate, outcome.sequence, &error), OK, "%s", error.text);
    cr_assert_eq(pending_on_disk().number, 0);
    segment_schemas_free(&schemas);
    cr_assert_eq(segment_schemas_load(log_fd, &schemas, &error), OK);
    cr_assert_eq(schemas.changes[0].since, outcome.sequence);
    cr_assert_eq(schemas.changes[0].time_ns, 77);
    add("door", "true", SCHEMAS_REJECT);
    cr_assert_eq(gate_settle(gate, UINT64_MAX, &error), OK);
    cr_assert_eq(schemas.count, 2);
}

Test(gate, tries_again_when_that_cannot_be_noted)
{
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    struct outcome outcome = publish_change("false");
    scratch_flip(scratch_path("log/schemas/catalogue"), 30, 1);
    cr_assert_eq(gate_settle(gate, outcome.sequence, &error), ERROR_DAMAGED);
    scratch_flip(scratch_path("log/schemas/catalogue"), 30, 1);
    cr_assert_eq(gate_settle(gate, outcome.sequence, &error), OK, "%s", error.text);
    cr_assert_eq(pending_on_disk().number, 0);
}

Test(gate, leaves_a_catalogue_alone_that_knows_nothing_of_the_change)
{
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    struct outcome outcome = publish_change("false");
    segment_schemas_free(&schemas);
    scratch_delete(scratch_path("log/schemas/catalogue"));
    scratch_delete(scratch_path("log/schemas/door.1.json"));
    note(SCHEMAS_ADD, "door", "true", SCHEMAS_REJECT);
    cr_assert_eq(gate_settle(gate, outcome.sequence, &error), OK, "%s", error.text);
    cr_assert_eq(pending_on_disk().number, 1);
}

Test(gate, settles_what_it_finds_in_the_log_when_it_opens)
{
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    cr_assert_eq(publish_change("false").code, OK);
    close_log();
    cr_assert_eq(pending_on_disk().number, 1);
    open_log();
    cr_assert_eq(pending_on_disk().number, 0);
    cr_assert_eq(append("door", "{}"), ERROR_INVALID);
}

/* The log that was restored is older than the catalogue. */
Test(gate, finds_a_change_in_a_log_that_is_younger_than_its_line)
{
    struct segment_schemas_change change = {.topic = "door", .after = 5000};
    cr_assert_eq(append("door", "{}"), OK);
    cr_assert_eq(segment_schemas_note(log_fd, &schemas, &change, "false", 5, &error), OK);
    struct outcome outcome = publish_change("false");
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    close_log();
    open_log();
    cr_assert_eq(append("door", "{}"), ERROR_INVALID, "the log has the event");
    segment_schemas_free(&schemas);
    cr_assert_eq(segment_schemas_load(log_fd, &schemas, &error), OK, "%s", error.text);
    cr_assert_eq(schemas.changes[0].since, outcome.sequence);
    cr_assert_eq(schemas.changes[0].after, outcome.sequence - 1);
}

/* The block of the last event of topic `_schema`, which is too short to be compressed. */
static void damage_change(void)
{
    const char *path = logs_segment_path(scratch_path("log"), 1);
    size_t size = (size_t)scratch_size(path);
    char *bytes = malloc(size);
    scratch_read(path, 0, bytes, size);
    const char *found = NULL, *end = bytes + size;
    for (const char *at = bytes; (at = memmem(at, (size_t)(end - at), "_schema", 7)); at++)
        found = at;
    cr_assert_not_null(found);
    scratch_flip(path, (uint64_t)(found - bytes), 1);
    free(bytes);
}

static struct gate *open_other(void)
{
    struct gate *other = NULL;
    cr_assert_eq(gate_open(scratch_path("log"), &other, &error), OK, "%s", error.text);
    return other;
}

static enum error_code append_through(struct gate *other, const char *topic, const char *text)
{
    struct gate *before = gate;
    gate = other;
    enum error_code code = append(topic, text);
    gate = before;
    return code;
}

Test(gate, checks_what_may_have_been_in_effect_when_nobody_can_tell_any_more)
{
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    struct outcome outcome = publish_change("false");
    cr_assert_eq(segment_log_wait(log_open, outcome.sequence, &error), OK);
    damage_change();
    struct gate *other = open_other();
    struct gate_pending pending = {0};
    char words[GATE_WORDS_BYTES];
    cr_assert_eq(append_through(other, "door", "{}"), ERROR_INVALID, "never silently unchecked");
    cr_assert(gate_pending(other, &pending));
    cr_assert(pending.in_doubt);
    cr_assert(gate_pending_words(other, words));
    cr_assert_not_null(strstr(words, "schema 1 of topic 'door' was in effect cannot be told"));
    cr_assert_eq(pending_on_disk().number, 1, "where it was is not known");

    /* The same command publishes it once more. */
    struct gate *before = gate;
    gate = other;
    outcome = publish_change("false");
    gate = before;
    cr_assert_eq(outcome.code, OK, "%s", error.text);
    cr_assert_not(gate_pending(other, &pending));
    cr_assert_eq(segment_log_wait(log_open, outcome.sequence, &error), OK);
    cr_assert_eq(gate_settle(other, outcome.sequence, &error), OK, "%s", error.text);
    cr_assert_eq(pending_on_disk().number, 0);
    cr_assert_eq(append_through(other, "door", "{}"), ERROR_INVALID);
    gate_close(other);
}

Test(gate, goes_on_checking_when_nobody_can_tell_whether_a_schema_was_removed)
{
    add("door", "false", SCHEMAS_REJECT);
    note(SCHEMAS_REMOVE, "door", "", SCHEMAS_REJECT);
    struct outcome outcome = publish_change("");
    cr_assert_eq(segment_log_wait(log_open, outcome.sequence, &error), OK);
    damage_change();
    struct gate *other = open_other();
    cr_assert_eq(append_through(other, "door", "{}"), ERROR_INVALID);
    gate_close(other);
}

Test(gate, gives_a_change_back_that_the_log_withdraws)
{
    add("door", price, SCHEMAS_REJECT);
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_REJECT);
    struct outcome outcome = publish_change("false");
    cr_assert_eq(outcome.code, OK);
    gate_withdraw(gate, outcome.sequence);
    cr_assert_eq(append("door", "{\"price\":1}"), ERROR_INVALID, "it is durable");
    gate_withdraw(gate, outcome.sequence - 1);
    cr_assert_eq(append("door", "{\"price\":1}"), OK);
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_INVALID);
    cr_assert_eq(publish_change("false").code, OK, "%s", error.text);
    cr_assert_eq(append("door", "{\"price\":1}"), ERROR_INVALID);
}

Test(gate, does_not_open_when_what_it_needs_is_damaged)
{
    struct gate *other = NULL;
    add("door", price, SCHEMAS_REJECT);
    scratch_flip(scratch_path("log/schemas/door.1.json"), 3, 1);
    cr_assert_eq(gate_open(scratch_path("log"), &other, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "schemas/door.1.json is damaged"), "%s", error.text);
    scratch_flip(scratch_path("log/schemas/door.1.json"), 3, 1);
    scratch_flip(scratch_path("log/schemas/catalogue"), 30, 1);
    cr_assert_eq(gate_open(scratch_path("log"), &other, &error), ERROR_DAMAGED);
    cr_assert_null(other);
}

Test(gate, keeps_to_what_it_has_while_the_catalogue_is_damaged)
{
    add("door", price, SCHEMAS_REJECT);
    note(SCHEMAS_ADD, "door", "true", SCHEMAS_REJECT);
    scratch_flip(scratch_path("log/schemas/catalogue"), 30, 1);
    cr_assert_eq(publish_change("true").code, ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "schemas/catalogue is damaged"), "%s", error.text);
    cr_assert_eq(append("door", "{\"price\":-1}"), ERROR_INVALID);
    scratch_flip(scratch_path("log/schemas/catalogue"), 30, 1);
    cr_assert_eq(publish_change("true").code, OK, "%s", error.text);
    cr_assert_eq(append("door", "{\"price\":-1}"), OK);
}

Test(gate, holds_many_topics_apart)
{
    char topic[32], schema[64];
    for (int i = 0; i < 200; i++) {
        snprintf(topic, sizeof topic, "t%d", i);
        snprintf(schema, sizeof schema, "{\"const\":%d}", i);
        add(topic, schema, SCHEMAS_REJECT);
    }
    for (int i = 0; i < 200; i++) {
        snprintf(topic, sizeof topic, "t%d", i);
        snprintf(schema, sizeof schema, "%d", i);
        cr_assert_eq(append(topic, schema), OK, "%s", error.text);
        cr_assert_eq(append(topic, "-1"), ERROR_INVALID);
    }
}

static const uint8_t minus_one[] = {0x81, 0xa5, 'p', 'r', 'i', 'c', 'e', 0xff};
static const uint8_t plus_one[] = {0x81, 0xa5, 'p', 'r', 'i', 'c', 'e', 0x01};

static struct event door_event(const uint8_t *payload)
{
    return (struct event){
        .topic = "door", .topic_bytes = 4, .payload = payload, .payload_bytes = sizeof minus_one};
}

static enum error_code append_known(const uint8_t *payload, const struct gate_finding *finding)
{
    struct event event = door_event(payload);
    enum segment_log_outcome outcome;
    uint64_t sequence;
    return gate_append(gate, log_open, &event, finding, true, &outcome, &sequence, &error);
}

Test(gate, believes_what_was_found_beforehand_as_long_as_the_version_is_the_same)
{
    struct event bad = door_event(minus_one), good = door_event(plus_one);
    struct gate_finding of_bad, of_good, of_other;
    struct event other = {.topic = "lamp", .topic_bytes = 4, .payload = "\x01", .payload_bytes = 1};
    add("door", price, SCHEMAS_REJECT);
    gate_examine(gate, &bad, &of_bad);
    gate_examine(gate, &good, &of_good);
    gate_examine(gate, &other, &of_other);
    cr_assert_null(of_other.version);
    cr_assert_not_null(of_bad.fault);
    cr_assert_null(of_good.fault);
    cr_assert_eq(append_known(minus_one, &of_bad), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "payload at /price"), "%s", error.text);
    cr_assert_eq(append_known(minus_one, &of_good), OK, "it is not looked at again");
    add("door", "{\"properties\":{\"price\":{\"maximum\":0}}}", SCHEMAS_REJECT);
    cr_assert_eq(append_known(minus_one, &of_bad), OK, "that was another version");
    cr_assert_eq(append_known(plus_one, &of_good), ERROR_INVALID);
    gate_forget(gate, &of_bad);
    gate_forget(gate, &of_good);
    gate_forget(gate, &of_other);
    cr_assert_null(of_bad.version);
}

Test(gate, without_words_costs_none)
{
    add("door", price, SCHEMAS_REJECT);
    struct event event = door_event(minus_one);
    enum segment_log_outcome outcome;
    uint64_t sequence;
    cr_assert_eq(gate_append(gate, log_open, &event, NULL, false, &outcome, &sequence, &error),
                 ERROR_INVALID);
    cr_assert_str_eq(error.text, "");
}
