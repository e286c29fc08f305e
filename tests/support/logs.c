#include "tests/support/logs.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/block.h"
#include "segment/recovery.h"
#include "segment/set.h"
#include "tests/support/scratch.h"

/* As cr_assert, and usable in a child of a test too, which then ends. */
__attribute__((format(printf, 2, 3))) static void require(bool holds, const char *format, ...)
{
    if (holds)
        return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (scratch_is_child()) {
        fprintf(stderr, "in a child process: %s\n", text);
        _exit(1);
    }
    cr_assert_fail("%s", text);
}

enum { PAYLOAD_BYTES_MIN = 40 };

const char *logs_segment_path(const char *log_path, uint64_t sequence_first)
{
    static char path[1024];
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    segment_format_segment_name(sequence_first, name);
    snprintf(path, sizeof path, "%s/segments/%s", log_path, name);
    return path;
}

struct segment_log *logs_open(const char *path, uint64_t segment_bytes)
{
    struct segment_log_options options = {.segment_bytes = segment_bytes};
    struct segment_log *log = NULL;
    struct error error = {0};
    enum error_code code = segment_log_open(path, &options, &log, NULL, &error);
    require(code == OK, "%s", error.text);
    return log;
}

/*
 * A msgpack string of `payload_bytes` in all: "event-n ", then letters that do not compress, so
 * that sizes on disk can be foreseen. Free it.
 */
static uint8_t *make_payload(uint64_t number, size_t payload_bytes)
{
    enum { HEAD = 5 };
    if (payload_bytes < PAYLOAD_BYTES_MIN)
        payload_bytes = PAYLOAD_BYTES_MIN;
    uint8_t *payload = malloc(payload_bytes + 1);
    require(payload != NULL, "no memory");
    size_t text_bytes = payload_bytes - HEAD;
    payload[0] = 0xdb;
    for (int i = 0; i < 4; i++)
        payload[1 + i] = (uint8_t)(text_bytes >> (24 - 8 * i));
    size_t at = HEAD;
    at += (size_t)snprintf((char *)payload + at, text_bytes + 1, "event-%" PRIu64 " ", number);
    for (uint64_t state = number; at < payload_bytes; at++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        payload[at] = (uint8_t)('0' + (state >> 58));
    }
    return payload;
}

static struct event make_event(uint64_t number, size_t payload_bytes, uint8_t *payload)
{
    return (struct event){
        .time_ns = (int64_t)number * 1000000000,
        .topic = "t",
        .topic_bytes = 1,
        .payload = payload,
        .payload_bytes = payload_bytes < PAYLOAD_BYTES_MIN ? PAYLOAD_BYTES_MIN : payload_bytes,
    };
}

static void append_one(struct segment_log *log, uint64_t number, size_t payload_bytes)
{
    uint8_t *payload = make_payload(number, payload_bytes);
    struct event event = make_event(number, payload_bytes, payload);
    enum segment_log_outcome outcome = LOG_DUPLICATE;
    uint64_t sequence = 0;
    struct error error = {0};
    enum error_code code;
    while ((code = segment_log_append(log, &event, &outcome, &sequence, &error)) == ERROR_BUSY)
        segment_log_wait_room(log);
    free(payload);
    require(code == OK, "%s", error.text);
    require(outcome == LOG_APPENDED && sequence == number, "event %" PRIu64 " became %" PRIu64,
            number, sequence);
}

void logs_append_to(struct segment_log *log, uint64_t last, size_t payload_bytes)
{
    while (segment_log_appended(log) < last)
        append_one(log, segment_log_appended(log) + 1, payload_bytes);
}

void logs_commit(struct segment_log *log)
{
    struct error error = {0};
    enum error_code code = segment_log_wait(log, segment_log_appended(log), &error);
    require(code == OK, "%s", error.text);
}

void logs_append_singly(struct segment_log *log, uint64_t last, size_t payload_bytes)
{
    while (segment_log_appended(log) < last) {
        append_one(log, segment_log_appended(log) + 1, payload_bytes);
        logs_commit(log);
    }
}

void logs_close(struct segment_log *log)
{
    struct error error = {0};
    enum error_code code = segment_log_close(log, &error);
    require(code == OK, "%s", error.text);
}

void logs_make(const char *path, uint64_t segment_bytes, uint64_t last, size_t payload_bytes)
{
    struct segment_log *log = logs_open(path, segment_bytes);
    logs_append_singly(log, last, payload_bytes);
    logs_close(log);
}

pid_t logs_start_writer(const char *path, uint64_t segment_bytes, uint64_t last,
                        size_t payload_bytes)
{
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = scratch_fork();
    if (pid == 0) {
        close(ready[0]);
        struct segment_log *log = logs_open(path, segment_bytes);
        logs_append_singly(log, last, payload_bytes);
        if (write(ready[1], "!", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1, "the writer process ended before its time");
    close(ready[0]);
    return pid;
}

void logs_kill_writer(pid_t pid)
{
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static void encode_events(struct segment_block_builder *builder, uint64_t first, uint64_t count)
{
    for (uint64_t number = first; number < first + count; number++) {
        uint8_t *payload = make_payload(number, 0);
        struct event event = make_event(number, 0, payload);
        cr_assert_eq(segment_block_builder_add(builder, &event, FORMAT_BLOCK_RAW_MAX, NULL), OK);
        free(payload);
    }
}

/* The last segment of a log at rest, and what recovery would say of it. */
static struct segment_set_segment scan_last(const char *path, struct segment_recovery_scan *scan)
{
    int log_fd = -1, segments_fd = -1, fd = -1;
    struct segment_set set;
    struct error error = {0};
    cr_assert_eq(file_open_directory(path, false, &log_fd, &error), OK, "%s", error.text);
    cr_assert_eq(file_open_directory_at(log_fd, "segments", false, &segments_fd, NULL), OK);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK, "%s", error.text);
    cr_assert_gt(set.count, 0);
    struct segment_set_segment last = set.segments[set.count - 1];
    cr_assert_eq(file_open(segments_fd, last.name, FILE_READ, &fd, NULL), OK);
    cr_assert_eq(segment_recovery_scan(fd, &last, false, 0, NULL, NULL, scan, &error), OK, "%s",
                 error.text);
    file_close(&fd);
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
    return last;
}

struct segment_format_block_header logs_write_undurable(const char *path, uint64_t count)
{
    struct segment_recovery_scan scan;
    struct segment_set_segment last = scan_last(path, &scan);
    struct segment_block_builder builder = {0};
    encode_events(&builder, scan.sequence_next, count);
    struct segment_format_block_header header = {
        .kind = FORMAT_BLOCK_EVENTS,
        .epoch = scan.epoch,
        .log_id = bytes_load64(last.header.log_id),
        .offset = scan.end_offset,
        .sequence_first = scan.sequence_next,
        .event_count = (uint32_t)count,
        .chain = scan.chain,
        .durable_offset = scan.durable_offset,
        .time_min_ns = builder.time_min_ns,
        .time_max_ns = builder.time_max_ns,
        .arrival_ns = scan.arrival_ns,
    };
    struct buffer block = {0};
    cr_assert_eq(segment_block_encode(last.seed, &header, builder.raw.data, builder.raw.size,
                                      BLOCK_FAST, 8, &block, NULL),
                 OK);
    scratch_write(logs_segment_path(path, last.sequence_first), header.offset, block.data,
                  block.size);
    buffer_release(&block);
    segment_block_builder_release(&builder);
    return header;
}

struct segment_reader *logs_read(const char *path)
{
    struct segment_reader *reader = NULL;
    struct error error = {0};
    enum error_code code = segment_reader_open(path, &reader, &error);
    require(code == OK, "%s", error.text);
    return reader;
}

void logs_expect_event(struct segment_reader *reader, uint64_t sequence)
{
    struct event event;
    struct error error = {0};
    enum error_code code = segment_reader_next(reader, &event, &error);
    cr_assert_eq(code, OK, "instead of event %" PRIu64 ": %s", sequence,
                 code == ERROR_END ? "the end" : error.text);
    cr_assert_eq(event.sequence, sequence, "event %" PRIu64 " instead of %" PRIu64, event.sequence,
                 sequence);
    uint8_t *payload = make_payload(sequence, event.payload_bytes);
    cr_assert_eq(event.time_ns, (int64_t)sequence * 1000000000);
    cr_assert_eq(memcmp(event.payload, payload, event.payload_bytes), 0,
                 "event %" PRIu64 " has another content", sequence);
    free(payload);
}

void logs_expect_events(struct segment_reader *reader, uint64_t first, uint64_t last)
{
    for (uint64_t sequence = first; sequence <= last; sequence++)
        logs_expect_event(reader, sequence);
}

void logs_expect_end(struct segment_reader *reader)
{
    struct event event = {0};
    struct error error = {0};
    enum error_code code = segment_reader_next(reader, &event, &error);
    cr_assert_neq(code, OK, "event %" PRIu64 " instead of the end", event.sequence);
    cr_assert_eq(code, ERROR_END, "instead of the end: %s", error.text);
}

void logs_expect_damage(struct segment_reader *reader, const char *text)
{
    struct event event = {0};
    struct error error = {0};
    enum error_code code = segment_reader_next(reader, &event, &error);
    cr_assert_neq(code, OK, "event %" PRIu64 " instead of damage", event.sequence);
    cr_assert_neq(code, ERROR_END, "the end instead of damage");
    cr_assert_eq(code, ERROR_DAMAGED, "%s", error.text);
    cr_assert_not_null(strstr(error.text, text), "'%s' does not say '%s'", error.text, text);
}

struct logs_place logs_find(const char *path, uint64_t sequence)
{
    struct segment_reader *reader = logs_read(path);
    struct segment_reader_block block = {0};
    struct error error = {0};
    segment_reader_seek(reader, sequence, &error);
    do
        require(segment_reader_next_block(reader, &block, &error) == OK, "%s", error.text);
    while (block.header.kind != FORMAT_BLOCK_EVENTS ||
           block.header.sequence_first + block.header.event_count <= sequence);
    struct logs_place place = {block.segment_first, block.header};
    segment_reader_close(reader);
    return place;
}
