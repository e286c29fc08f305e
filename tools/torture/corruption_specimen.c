#include "tools/torture/corruption_specimen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/watermark.h"
#include "segment/writer.h"
#include "tools/torture/corruption_image.h"
#include "tools/torture/chance.h"

#define TEMPORARY_NAME "prepared.tmp"
/* 2026-01-01T00:00:00Z: where the specimen's own clock starts. */
#define FIRST_ARRIVAL_NS (INT64_C(1767225600) * 1000000000)

/* One log while it is written. */
struct making {
    const struct corruption_specimen_options *options;
    const struct corruption_specimen *like; /* NULL: choose the shape */
    struct corruption_specimen *out;
    uint64_t shape;    /* sizes and kinds: the same for a foreign twin */
    uint64_t contents; /* bytes */
    int log_fd, segments_fd;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    uint32_t epoch;
    int64_t arrival_ns;
    uint64_t sequence_next;
    size_t payload_bytes_max; /* in the segment at hand */
    struct segment_writer *writer;
    uint64_t durable_offset; /* what was synced of its segment */
    struct segment_producers *producers;
    struct segment_format_predecessor predecessor;
    uint64_t producer_numbers[8];
};

const char *corruption_ending_text(enum corruption_ending ending)
{
    switch (ending) {
    case CORRUPTION_STOPPED:
        return "stopped";
    case CORRUPTION_IDLE:
        return "killed when idle";
    case CORRUPTION_BUSY:
        return "killed when busy";
    case CORRUPTION_SEALED:
        return "sealed";
    }
    return "unknown";
}

static enum error_code no_memory(struct error *error)
{
    return error_set(error, ERROR_MEMORY, "no memory for a log to be damaged");
}

/* Room for one more element, and a zeroed element. NULL: no memory. */
static void *grow(void **array, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        size_t wanted = *capacity ? 2 * *capacity : 256;
        void *grown = realloc(*array, wanted * size);
        if (!grown)
            return NULL;
        *array = grown;
        *capacity = wanted;
    }
    return memset((char *)*array + size * (*count)++, 0, size);
}

/* Payloads are one msgpack value each: text that compresses, noise that does not, mostly zeros. */
enum texture { TEXT, NOISE, ZEROS };

static void fill(struct making *making, enum texture texture, uint8_t *to, size_t size)
{
    static const char *const words[] = {"alpha ", "beta ",   "gamma ",
                                        "delta ", "opened ", "closed "};
    size_t at = 0;
    switch (texture) {
    case TEXT:
        while (at < size) {
            const char *word = words[chance_below(&making->contents, 6)];
            size_t length = strlen(word) < size - at ? strlen(word) : size - at;
            memcpy(to + at, word, length);
            at += length;
        }
        break;
    case NOISE:
        for (; at < size; at++)
            to[at] = (uint8_t)(chance_draw(&making->contents) >> 56);
        break;
    case ZEROS:
        memset(to, 0, size);
        for (size_t i = 0; i < size / 256 + 1; i++)
            to[chance_below(&making->contents, size)] = (uint8_t)chance_draw(&making->contents);
        break;
    }
}

/* A sixteenth of the segment at most, or next to nothing would fit; and what the block takes. */
static size_t choose_payload_bytes(struct making *making, size_t block_bytes,
                                   enum texture *texture_out)
{
    size_t room = FORMAT_BLOCK_RAW_MAX - 4096 - block_bytes;
    uint64_t *shape = &making->shape;
    size_t max = making->payload_bytes_max < room ? making->payload_bytes_max : room;
    size_t size = 0;
    uint64_t dice = chance_below(shape, 1000);

    if (dice < 900)
        size = 8 + chance_below(shape, 200);
    else if (dice < 990)
        size = 200 + chance_below(shape, 6000);
    else
        size = 6200 + chance_below(shape, EVENT_PAYLOAD_BYTES_MAX - 6200 + 1);
    /* Large ones are noise mostly, or the specimen would be cheap on the disk and slow to read. */
    *texture_out = (enum texture)chance_below(shape, 3);
    if (size > 6200 && chance_below(shape, 4))
        *texture_out = NOISE;
    return size < max ? size : max;
}

/* Append the event to the block and to the oracle. */
static enum error_code add_event(struct making *making, struct segment_block_builder *builder,
                                 struct error *error)
{
    static const char *const topics[] = {"t", "orders", "a/long.topic:name-with_everything/in/it",
                                         "sensors/7"};
    struct corruption_specimen *out = making->out;
    enum texture texture;
    size_t payload_bytes = choose_payload_bytes(making, builder->raw.size, &texture);
    const char *topic = topics[chance_below(&making->shape, 4)];
    unsigned producer = (unsigned)chance_below(&making->shape, 9);
    char name[8];
    struct corruption_event *event =
        grow((void **)&out->events, &out->event_count, &out->event_capacity, sizeof *event);
    if (!event)
        return no_memory(error);
    snprintf(name, sizeof name, "p%u", producer);
    *event = (struct corruption_event){
        .exists = true,
        .time_ns = making->arrival_ns - (int64_t)chance_below(&making->shape, 1000000000),
        .number = producer < 8 ? ++making->producer_numbers[producer] : 0,
        .at = out->contents.size,
        .topic_bytes = strlen(topic),
        .producer_bytes = producer < 8 ? strlen(name) : 0,
        .payload_bytes = payload_bytes,
    };
    enum error_code code = buffer_reserve(
        &out->contents, event->topic_bytes + event->producer_bytes + payload_bytes, error);
    if (code)
        return code;
    uint8_t *at = out->contents.data + out->contents.size;
    memcpy(at, topic, event->topic_bytes);
    memcpy(at + event->topic_bytes, name, event->producer_bytes);
    uint8_t *payload = at + event->topic_bytes + event->producer_bytes;
    payload[0] = 0xc6; /* bin 32 */
    for (int i = 0; i < 4; i++)
        payload[1 + i] = (uint8_t)((payload_bytes - 5) >> (24 - 8 * i));
    fill(making, texture, payload + 5, payload_bytes - 5);
    out->contents.size += event->topic_bytes + event->producer_bytes + payload_bytes;
    struct event added = {
        .time_ns = event->time_ns,
        .topic = (const char *)at,
        .topic_bytes = event->topic_bytes,
        .producer = (const char *)at + event->topic_bytes,
        .producer_bytes = event->producer_bytes,
        .payload = payload,
        .payload_bytes = payload_bytes,
        .number = event->number,
    };
    code = segment_block_builder_add(builder, &added, FORMAT_BLOCK_RAW_MAX, error);
    if (!code && event->producer_bytes > 0)
        code = segment_producers_note(making->producers, added.producer, added.producer_bytes,
                                      added.number, out->event_count, error);
    return code;
}

static enum error_code sync(struct making *making, struct error *error)
{
    enum error_code code = segment_writer_sync(making->writer, error);
    if (!code)
        making->durable_offset = segment_writer_offset(making->writer);
    return code;
}

static enum error_code put(struct making *making, const struct segment_writer_block *block,
                           struct error *error)
{
    struct corruption_specimen *out = making->out;
    uint64_t *promise =
        grow((void **)&out->promises, &out->promise_count, &out->promise_capacity, sizeof *promise);
    if (!promise)
        return no_memory(error);
    *promise = making->durable_offset;
    return segment_writer_put(making->writer, block, error);
}

/* A block takes events until it has so many bytes. */
static size_t block_bytes(const struct making *making, size_t segment)
{
    uint64_t bytes = making->options->segment_bytes[segment] / 32;
    return bytes < 200000 ? (size_t)bytes : 200000;
}

/* The next block will have so many events: mostly few, sometimes many. */
static size_t choose_event_count(struct making *making)
{
    uint64_t dice = chance_below(&making->shape, 100);
    return 1 + chance_below(&making->shape, dice < 60 ? 3 : dice < 95 ? 25 : 300);
}

static enum error_code put_events(struct making *making, size_t bytes_max, struct error *error)
{
    struct segment_block_builder builder = {0};
    size_t count = choose_event_count(making);
    enum error_code code = OK;

    making->arrival_ns += 1000000;
    for (size_t i = 0; !code && i < count && builder.raw.size < bytes_max; i++)
        code = add_event(making, &builder, error);
    if (!code && !segment_writer_fits(making->writer, builder.raw.size, builder.event_count))
        code = error_set(error, ERROR_INVALID, "the segments are too small for their events");
    struct segment_writer_block block = {
        .kind = FORMAT_BLOCK_EVENTS,
        .sequence_first = making->sequence_next,
        .event_count = builder.event_count,
        .time_min_ns = builder.time_min_ns,
        .time_max_ns = builder.time_max_ns,
        .arrival_ns = making->arrival_ns,
        .raw = builder.raw.data,
        .raw_bytes = builder.raw.size,
    };
    if (!code)
        code = put(making, &block, error);
    making->sequence_next += builder.event_count;
    segment_block_builder_release(&builder);
    return code;
}

static enum error_code put_mark(struct making *making, enum segment_format_block_kind kind,
                                struct error *error)
{
    struct segment_writer_block block = {
        .kind = kind,
        .sequence_first = making->sequence_next,
        .arrival_ns = making->arrival_ns,
    };
    enum error_code code = put(making, &block, error);
    return code ? code : sync(making, error);
}

static bool is_full(const struct making *making, size_t segment, size_t blocks)
{
    if (making->like)
        return blocks == making->like->event_blocks[segment];
    if (segment + 1 == making->options->segment_count &&
        segment_writer_offset(making->writer) >= making->options->used_bytes)
        return true;
    size_t largest = block_bytes(making, segment) + making->payload_bytes_max + 400;
    return !segment_writer_fits(making->writer, largest, 300);
}

/* Commits of one to four blocks; sometimes with a mark behind them. */
static enum error_code put_commits(struct making *making, size_t segment, struct error *error)
{
    enum error_code code = OK;
    size_t left = 0, blocks = 0;

    while (!code && !is_full(making, segment, blocks)) {
        if (left == 0) {
            left = 1 + chance_below(&making->shape, 4);
            making->out->last_group_first = making->sequence_next;
        }
        code = put_events(making, block_bytes(making, segment), error);
        blocks++;
        if (code || --left > 0)
            continue;
        code = sync(making, error);
        uint64_t dice = chance_below(&making->shape, 100);
        if (!code && dice < 20 && !is_full(making, segment, blocks))
            code = put_mark(making, dice < 12 ? FORMAT_BLOCK_WATERMARK : FORMAT_BLOCK_STOP, error);
    }
    making->out->event_blocks[segment] = blocks;
    return code;
}

/* As a recovery after a power cut would begin a segment. */
static enum error_code skip_sequences(struct making *making, struct segment_format_gap *gap_out,
                                      struct error *error)
{
    uint64_t count = 1 + chance_below(&making->shape, 40);
    *gap_out = (struct segment_format_gap){making->sequence_next, making->sequence_next + count - 1,
                                           FORMAT_GAP_POWER_LOSS};
    struct corruption_specimen *out = making->out;
    for (uint64_t i = 0; i < count; i++)
        if (!grow((void **)&out->events, &out->event_count, &out->event_capacity,
                  sizeof *out->events))
            return no_memory(error);
    making->sequence_next += count;
    making->epoch++;
    return OK;
}

static enum error_code start_segment(struct making *making, size_t segment, struct error *error)
{
    uint64_t size = making->options->segment_bytes[segment];
    uint64_t first = making->sequence_next;
    making->payload_bytes_max = size / 16 < making->options->payload_bytes_max
                                    ? (size_t)(size / 16)
                                    : making->options->payload_bytes_max;
    struct segment_format_gap gap;
    enum error_code code = OK;
    int fd;

    if (segment % 2 == 1)
        code = skip_sequences(making, &gap, error);
    struct segment_writer_start start = {
        .segments_fd = making->segments_fd,
        .header = {.sequence_first = first,
                   .created_ns = making->arrival_ns,
                   .epoch = making->epoch,
                   .commit_align = making->options->commit_align,
                   .predecessor = making->predecessor},
        .arrival_ns = making->arrival_ns,
        .producers = making->producers,
        .gap = segment % 2 == 1 ? &gap : NULL,
    };
    memcpy(start.header.log_id, making->log_id, FORMAT_LOG_ID_BYTES);
    if (!code)
        code = file_create_zeroed(making->segments_fd, TEMPORARY_NAME, size, &fd, error);
    if (!code)
        code = segment_writer_create(&start, fd, size, TEMPORARY_NAME, &making->writer, error);
    if (!code)
        making->durable_offset = segment_writer_offset(making->writer);
    return code;
}

static enum error_code end_last_segment(struct making *making, struct error *error)
{
    enum error_code code = sync(making, error);
    if (code)
        return code;
    switch (making->options->ending) {
    case CORRUPTION_STOPPED:
        return put_mark(making, FORMAT_BLOCK_STOP, error);
    case CORRUPTION_IDLE:
        return put_mark(making, FORMAT_BLOCK_WATERMARK, error);
    case CORRUPTION_SEALED:
        return segment_writer_seal(making->writer, making->arrival_ns, error);
    case CORRUPTION_BUSY:
        break;
    }
    return OK;
}

static enum error_code write_segments(struct making *making, struct error *error)
{
    const struct corruption_specimen_options *options = making->options;
    enum error_code code = OK;

    for (size_t i = 0; !code && i < options->segment_count; i++) {
        bool last = i + 1 == options->segment_count;
        code = start_segment(making, i, error);
        if (!code)
            code = put_commits(making, i, error);
        if (!code && last)
            code = end_last_segment(making, error);
        if (!code && !last)
            code = segment_writer_seal(making->writer, making->arrival_ns, error);
        if (!code && !last)
            segment_writer_describe(making->writer, &making->predecessor);
        segment_writer_close(making->writer);
        making->writer = NULL;
    }
    return code;
}

static enum error_code write_page(struct making *making, struct error *error)
{
    struct segment_watermark *page;
    enum error_code code =
        segment_watermark_create(making->log_fd, making->log_id, making->epoch, &page, error);
    if (code)
        return code;
    segment_watermark_publish(page, making->sequence_next - 1);
    segment_watermark_set_written(page, making->sequence_next - 1);
    segment_watermark_close(page);
    return OK;
}

static enum error_code make(const char *path, struct making *making, struct error *error)
{
    for (size_t i = 0; i < sizeof making->log_id; i++)
        making->log_id[i] = (uint8_t)chance_draw(&making->contents);
    enum error_code code = file_open_directory(path, true, &making->log_fd, error);
    if (!code)
        code =
            file_open_directory_at(making->log_fd, "segments", true, &making->segments_fd, error);
    if (!code)
        code = segment_producers_create(&making->producers, error);
    if (!code)
        code = write_segments(making, error);
    if (!code)
        code = write_page(making, error);
    if (!code)
        code = corruption_image_load(making->log_fd, making->segments_fd, making->out, error);
    segment_producers_free(making->producers);
    file_close(&making->segments_fd);
    file_close(&making->log_fd);
    if (code)
        corruption_specimen_release(making->out);
    return code;
}

enum error_code corruption_specimen_make(const char *path,
                                         const struct corruption_specimen_options *options,
                                         struct corruption_specimen *specimen_out,
                                         struct error *error)
{
    struct making making = {
        .options = options,
        .out = specimen_out,
        .shape = options->seed,
        .contents = ~options->seed,
        .log_fd = -1,
        .segments_fd = -1,
        .epoch = 1,
        .arrival_ns = FIRST_ARRIVAL_NS,
        .sequence_next = 1,
    };
    *specimen_out = (struct corruption_specimen){.options = *options};
    return make(path, &making, error);
}

enum error_code corruption_specimen_make_foreign(const char *path,
                                                 const struct corruption_specimen *like,
                                                 struct corruption_specimen *specimen_out,
                                                 struct error *error)
{
    struct making making = {
        .options = &like->options,
        .like = like,
        .out = specimen_out,
        .shape = like->options.seed,
        .contents = ~like->options.seed + 1,
        .log_fd = -1,
        .segments_fd = -1,
        .epoch = 1,
        .arrival_ns = FIRST_ARRIVAL_NS,
        .sequence_next = 1,
    };
    *specimen_out = (struct corruption_specimen){.options = like->options};
    return make(path, &making, error);
}
