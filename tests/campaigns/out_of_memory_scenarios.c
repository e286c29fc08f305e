/* What the out-of-memory campaign does beside the scenarios of the fault campaign. */
#include "tests/campaigns/out_of_memory.h"

#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "segment/producers.h"
#include "segment/seal.h"
#include "segment/block.h"
#include "segment/pending.h"
#include "tools/client/wire.h"

/* An output that a failed call must leave as it was. */
static void check_untouched(struct faults_case *c, const struct buffer *out, size_t size)
{
    if (out->size != size)
        faults_case_blame(c, "a failed call leaves %zu bytes in the output instead of %zu",
                          out->size, size);
}

static void check_equal(struct faults_case *c, const struct buffer *out, const char *expected,
                        size_t bytes)
{
    if (out->size != bytes || memcmp(out->data, expected, bytes) != 0)
        faults_case_blame(c, "without memory the answer is another one: %.*s", (int)out->size,
                          (const char *)out->data);
}

/* Escapes, names of Python's, depth, a number alone, a string that never ends. */
static const char *const texts[] = {
    "{\"a\":1,\"b\":[1.5,-2,true,null,\"plain\"],\"c\":{\"d\":{\"e\":{\"f\":[]}}}}",
    "{\"escaped\":\"\\u00e9\\n\\ud83d\\ude00 and a tail that is longer than what stands before\"}",
    "[NaN,Infinity,-Infinity]",
    "12345678901234567",
    "\"unterminated",
    "{\"broken\": ]",
};

/* The last two are no JSON, with and without memory. */
enum { TEXTS = sizeof texts / sizeof texts[0], TEXTS_VALID = TEXTS - 2 };

static bool take_text(struct faults_case *c, struct json_reader *reader, size_t i,
                      struct buffer *out)
{
    struct error error = {0};
    size_t size = out->size;
    enum error_code code =
        json_to_msgpack(reader, texts[i], strlen(texts[i]), EVENT_PAYLOAD_DEPTH_MAX, out, &error);

    if (code == ERROR_INVALID && i >= TEXTS_VALID) {
        check_untouched(c, out, size);
        return true;
    }
    if (!code && i >= TEXTS_VALID)
        faults_case_blame(c, "without memory '%s' is JSON", texts[i]);
    if (code)
        check_untouched(c, out, size);
    return faults_case_took(c, code, &error);
}

static void read_json(struct faults_case *c)
{
    struct json_reader *reader = NULL;
    struct error error = {0};
    struct buffer out = {0};

    if (!faults_case_took(c, json_reader_create(&reader, &error), &error))
        return;
    for (size_t i = 0; i < TEXTS; i++)
        take_text(c, reader, i, &out);
    json_reader_free(reader);
    buffer_release(&out);
}

/* Long texts, one of them a single string with escapes: yajl's own buffers grow and grow. */
static void read_long_json(struct faults_case *c)
{
    enum { LONG_BYTES = 70000 };
    static char text[LONG_BYTES + 2];
    struct json_reader *reader = NULL;
    struct error error = {0};
    struct buffer out = {0};

    for (size_t i = 0; i < LONG_BYTES; i += 2)
        memcpy(text + i, "\\n", 2);
    text[0] = text[LONG_BYTES - 1] = '"';
    text[1] = '.';
    text[LONG_BYTES - 2] = '.';
    if (!faults_case_took(c, json_reader_create(&reader, &error), &error))
        return;
    for (size_t bytes = LONG_BYTES; bytes > LONG_BYTES - 3; bytes--) {
        enum error_code code =
            json_to_msgpack(reader, text, bytes, EVENT_PAYLOAD_DEPTH_MAX, &out, &error);
        if (bytes < LONG_BYTES && code == ERROR_INVALID)
            continue;
        faults_case_took(c, code, &error);
    }
    json_reader_free(reader);
    buffer_release(&out);
}

static void write_json(struct faults_case *c)
{
    static const char packed[] = "\x83\xa1"
                                 "a\x93\x01\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xa3"
                                 "\xc3\xa9!\xa1"
                                 "b\xc4\x03xyz\x05\xd6\x07wxyz";
    static const char expected[] = "{\"a\":[1,0.1,\"\xc3\xa9!\"],\"b\":{\"$bin\":\"eHl6\"},"
                                   "\"5\":{\"$ext\":[7,\"d3h5eg==\"]}}";
    struct error error = {0};

    for (int style = JSON_COMPACT; style <= JSON_PRETTY; style++) {
        struct buffer out = {0};
        enum error_code code =
            json_from_msgpack(packed, sizeof packed - 1, (enum json_style)style, &out, &error);
        if (faults_case_took(c, code, &error) && style == JSON_COMPACT)
            check_equal(c, &out, expected, sizeof expected - 1);
        if (code)
            check_untouched(c, &out, 0);
        buffer_release(&out);
    }
}

static void pack(struct faults_case *c)
{
    struct buffer out = {0};
    msgpack_packer packer;
    bool failed = false;

    msgpack_packer_to_buffer(&packer, &out);
    failed |= msgpack_pack_array(&packer, 300) != 0;
    for (int i = 0; i < 300 && !failed; i++)
        failed = msgpack_pack_uint64(&packer, UINT64_MAX - (uint64_t)i) != 0;
    if (!failed && msgpack_check(out.data, out.size, 4, NULL))
        faults_case_blame(c, "packed without memory, and called well");
    if (failed && atomic_load(&c->failed_hits) == 0)
        faults_case_blame(c, "packing fails although there is memory");
    buffer_release(&out);
}

static struct event make_event(uint64_t number)
{
    return (struct event){.time_ns = EVENT_TIME_NONE,
                          .topic = "topic",
                          .topic_bytes = 5,
                          .payload = "\x01",
                          .payload_bytes = 1,
                          .number = number};
}

/* What a client sends and a session reads: frames of a hello, a pub, an ack with a refusal. */
static void make_frames(struct faults_case *c)
{
    static struct event events[WIRE_EVENTS_MAX];
    struct buffer out = {0}, refusals = {0};
    struct error error = {0};
    struct wire_hello hello = {.version = 1, .producer = {"someone", 7}};
    enum error_code code = wire_write_hello(&out, &hello, &error);
    size_t start = out.size;

    if (!code)
        code = wire_begin_pub(&out, 7, &error);
    for (uint64_t i = 1; !code && i <= 100; i++) {
        struct event event = make_event(i);
        size_t size = out.size;
        code = wire_add_event(&out, &event, &error);
        if (code)
            check_untouched(c, &out, size);
    }
    if (!code) {
        wire_end_pub(&out, start, 100);
        struct msgpack_cursor cursor = {out.data + start + WIRE_LENGTH_BYTES, out.data + out.size};
        struct wire_text producer = {"someone", 7};
        struct wire_pub pub;
        enum wire_type type;
        uint32_t left;
        code = wire_read_type(&cursor, &type, &left, &error);
        if (!code)
            code = wire_read_pub(cursor, left, &producer, events, &pub, &error);
        if (!code && (type != WIRE_PUB || pub.event_count != 100))
            faults_case_blame(c, "a frame that was made without memory is another one");
    }
    struct wire_ack ack = {.id = 7, .stored = 99, .refused = 1};
    if (!code)
        code = wire_write_refusal(&refusals, 4, "invalid", "no reason", &error);
    if (!code)
        code = wire_write_ack(&out, &ack, &refusals, &error);
    faults_case_took(c, code, &error);
    buffer_release(&refusals);
    buffer_release(&out);
}

static void remember_producers(struct faults_case *c)
{
    struct segment_producers *producers = NULL, *copy = NULL;
    struct buffer body = {0};
    struct error error = {0};
    size_t position = 0;
    enum error_code code = segment_producers_create(&producers, &error);

    for (uint64_t i = 1; !code && i <= 200; i++) {
        char name[16];
        int length = snprintf(name, sizeof name, "p%u", (unsigned)i);
        code = segment_producers_note(producers, name, (size_t)length, i, i, &error);
    }
    if (!code)
        code = segment_producers_create(&copy, &error);
    if (!code)
        code = segment_producers_encode(producers, &position, &body, &error);
    if (!code)
        code = segment_producers_decode(copy, body.data, body.size, &error);
    if (!code && segment_producers_count(copy) != 200)
        faults_case_blame(c, "producers are forgotten without memory, and nobody says so");
    faults_case_took(c, code, &error);
    segment_producers_free(producers);
    segment_producers_free(copy);
    buffer_release(&body);
}

static void build_footer(struct faults_case *c)
{
    struct segment_block_builder builder = {0};
    struct segment_seal seal, read = {0};
    struct buffer body = {0};
    struct error error = {0};
    enum error_code code = OK;

    segment_seal_init(&seal, 1);
    for (uint64_t i = 0; !code && i < 200; i++) {
        char topic[16];
        struct event event = make_event(0);
        event.time_ns = (int64_t)i;
        event.topic = topic;
        event.topic_bytes = (size_t)snprintf(topic, sizeof topic, "t%u", (unsigned)i);
        code = segment_block_builder_add(&builder, &event, FORMAT_BLOCK_RAW_MAX, &error);
    }
    struct segment_format_block_header header = {.sequence_first = 1,
                                                 .event_count = builder.event_count,
                                                 .raw_bytes = (uint32_t)builder.raw.size,
                                                 .time_max_ns = 199};
    for (uint64_t i = 0; !code && i < 40; i++) {
        header.offset = 4096 + i * SEAL_ENTRY_SPACING;
        header.sequence_first = 1 + i * 200;
        code = segment_seal_add(&seal, &header, builder.raw.data, &error);
    }
    if (!code)
        code = segment_seal_encode(&seal, &body, &error);
    if (!code)
        code = segment_seal_decode(body.data, body.size, &read, &error);
    if (!code && (read.topic_count != 200 || read.entry_count != 40))
        faults_case_blame(c, "a footer is incomplete without memory, and nobody says so");
    faults_case_took(c, code, &error);
    segment_seal_release(&seal);
    segment_seal_release(&read);
    segment_block_builder_release(&builder);
    buffer_release(&body);
}

static void read_array(struct faults_case *c)
{
    enum { VALUES = 255 }; /* with one byte of head they fill the buffer, and the head must grow */
    static char text[2 * VALUES + 1];
    struct json_reader *reader = NULL;
    struct error error = {0};
    struct buffer out = {0};

    for (int i = 0; i < VALUES; i++)
        memcpy(text + 2 * i, i ? ",0" : "[0", 2);
    text[2 * VALUES] = ']';
    if (!faults_case_took(c, json_reader_create(&reader, &error), &error))
        return;
    enum error_code code =
        json_to_msgpack(reader, text, sizeof text, EVENT_PAYLOAD_DEPTH_MAX, &out, &error);
    if (code)
        check_untouched(c, &out, 0);
    faults_case_took(c, code, &error);
    json_reader_free(reader);
    buffer_release(&out);
}

static void open_compressed(struct faults_case *c)
{
    static const uint8_t raw[8192]; /* zeros */
    struct segment_format_block_header header = {
        .kind = FORMAT_BLOCK_EVENTS, .offset = 4096, .sequence_first = 1, .event_count = 1};
    struct buffer block = {0}, scratch = {0};
    const uint8_t *found = NULL;
    struct error error = {0};
    enum error_code code =
        segment_block_encode(7, &header, raw, sizeof raw, BLOCK_FAST, FORMAT_ALIGNMENT, &block,
                             &error);

    if (!code && header.codec != FORMAT_CODEC_LZ4 && atomic_load(&c->failed_hits) == 0)
        faults_case_blame(c, "zeros are not compressed");
    if (!code)
        code = segment_block_open(&header, block.data, &scratch, &found, &error);
    if (!code && memcmp(found, raw, sizeof raw) != 0)
        faults_case_blame(c, "a block that was opened without memory is another one");
    faults_case_took(c, code, &error);
    buffer_release(&block);
    buffer_release(&scratch);
}

/* An event is there with its sequence and its number, or not at all. */
static void fill_blocks(struct faults_case *c)
{
    struct segment_producers *producers = NULL;
    struct segment_pending *pending = NULL;
    struct error error = {0};
    uint64_t taken = 0, sequence;
    enum segment_log_outcome outcome;
    enum error_code code = segment_producers_create(&producers, &error);
    struct segment_pending_start start = {
        .bytes_max = 1 << 20, .block_bytes_max = 100, .sequence_next = 1, .producers = producers};

    if (!code)
        code = segment_pending_create(&start, &pending, &error);
    for (uint64_t i = 1; !code && i <= 40; i++) {
        char name[16];
        struct event event = make_event(i);
        event.producer = name;
        event.producer_bytes = (size_t)snprintf(name, sizeof name, "p%u", (unsigned)i);
        code = segment_pending_append(pending, &event, &outcome, &sequence, &error);
        taken += !code;
        uint64_t number = 0;
        if (code && (segment_pending_find_producer(pending, name, event.producer_bytes, &number,
                                                   NULL) ||
                     number != 0))
            faults_case_blame(c, "the number of an event that was refused counts as taken");
    }
    if (pending && segment_pending_appended(pending) != taken)
        faults_case_blame(c, "%u events were taken, and the last sequence is %u", (unsigned)taken,
                          (unsigned)segment_pending_appended(pending));
    faults_case_took(c, code, &error);
    segment_pending_free(pending);
    segment_producers_free(producers);
}

const struct faults_scenario out_of_memory_scenarios[] = {
    {.title = "JSON is read", .no_log = true, .run = read_json},
    {.title = "a long JSON text is read", .no_log = true, .run = read_long_json},
    {.title = "JSON is written", .no_log = true, .run = write_json},
    {.title = "msgpack is packed", .no_log = true, .run = pack},
    {.title = "a client's frames are made and read", .no_log = true, .run = make_frames},
    {.title = "producers are remembered", .no_log = true, .run = remember_producers},
    {.title = "a footer is built", .no_log = true, .run = build_footer},
    {.title = "a JSON array is read", .no_log = true, .run = read_array},
    {.title = "a compressed block is opened", .no_log = true, .run = open_compressed},
    {.title = "events fill one block after another", .no_log = true, .run = fill_blocks},
    {.title = "a damaged log is repaired", .no_log = true, .run = out_of_memory_repair},
    {.title = "a compressed log is recovered", .no_log = true, .run = out_of_memory_recovery},
    {.title = "the tables of events are asked", .no_log = true, .run = out_of_memory_sql},
    {.title = "events are subscribed to", .no_log = true, .run = out_of_memory_subscription},
    {.title = "conditions are asked of an event", .no_log = true, .run = out_of_memory_where},
};
const size_t out_of_memory_scenario_count =
    sizeof out_of_memory_scenarios / sizeof out_of_memory_scenarios[0];
