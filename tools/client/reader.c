#include <stdlib.h>

#include "core/json.h"
#include "segment/reader.h"
#include "tools/client/failure.h"

struct daybook_reader {
    struct segment_reader *reader;
    int64_t since_ns;
    int64_t until_ns; /* exclusive; INT64_MAX: none */
};

enum daybook_code daybook_reader_open(const char *directory, struct daybook_reader **reader_out,
                                      struct daybook_error *error)
{
    if (!directory)
        directory = getenv("DAYBOOK_DIR");
    if (!directory || !*directory)
        directory = "./daybook-data";
    struct daybook_reader *reader = malloc(sizeof *reader);
    if (!reader)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for a reader");
    *reader = (struct daybook_reader){.since_ns = INT64_MIN, .until_ns = INT64_MAX};
    struct error why;
    if (segment_reader_open(directory, &reader->reader, &why)) {
        free(reader);
        return failure_from(error, &why);
    }
    *reader_out = reader;
    return DAYBOOK_OK;
}

void daybook_reader_close(struct daybook_reader *reader)
{
    if (!reader)
        return;
    segment_reader_close(reader->reader);
    free(reader);
}

enum daybook_code daybook_reader_seek(struct daybook_reader *reader, uint64_t sequence,
                                      struct daybook_error *error)
{
    struct error why;
    if (segment_reader_seek(reader->reader, sequence, &why))
        return failure_from(error, &why);
    return DAYBOOK_OK;
}

void daybook_reader_limit(struct daybook_reader *reader, int64_t since_ns, int64_t until_ns)
{
    reader->since_ns = since_ns;
    reader->until_ns = until_ns;
    segment_reader_hint_times(reader->reader, since_ns, until_ns);
}

static bool is_wanted(const struct daybook_reader *reader, const struct event *event)
{
    return event->time_ns >= reader->since_ns &&
           (event->time_ns < reader->until_ns || reader->until_ns == INT64_MAX);
}

enum daybook_code daybook_reader_next(struct daybook_reader *reader,
                                      struct daybook_event *event_out, struct daybook_error *error)
{
    struct event event;
    struct error why;
    do {
        enum error_code code = segment_reader_next(reader->reader, &event, &why);
        if (code == ERROR_END)
            return failure_set(error, DAYBOOK_END, "no further event is durable yet");
        if (code)
            return failure_from(error, &why);
    } while (!is_wanted(reader, &event));
    *event_out = (struct daybook_event){
        .sequence = event.sequence,
        .time_ns = event.time_ns,
        .topic = event.topic,
        .topic_bytes = event.topic_bytes,
        .payload = event.payload,
        .payload_bytes = event.payload_bytes,
        .number = event.number,
    };
    return DAYBOOK_OK;
}

void daybook_reader_wait(struct daybook_reader *reader, int timeout_ms)
{
    segment_reader_wait(reader->reader, timeout_ms);
}

uint64_t daybook_reader_watermark(struct daybook_reader *reader)
{
    return segment_reader_watermark(reader->reader);
}

enum daybook_code daybook_payload_json(const void *payload, size_t payload_bytes, char **text_out,
                                       struct daybook_error *error)
{
    struct buffer text = {0};
    struct error why;
    enum error_code code = json_from_msgpack(payload, payload_bytes, JSON_COMPACT, &text, &why);
    if (!code)
        code = buffer_append(&text, "", 1, &why);
    if (code) {
        buffer_release(&text);
        return failure_from(error, &why);
    }
    *text_out = (char *)text.data;
    return DAYBOOK_OK;
}
