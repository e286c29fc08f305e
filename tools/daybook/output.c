#include "tools/daybook/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/msgpack.h"
#include "tools/daybook/terminal.h"

enum { FLUSH_BYTES = 64 << 10, KEEP_BYTES = 1 << 20 };

const char *const output_format_names[] = {"short", "json",    "json-pretty", "cat",
                                           "csv",   "msgpack", NULL};

struct output {
    int fd;
    struct output_style style;
    struct buffer out;
    struct buffer scratch;
};

enum error_code output_create(int fd, const struct output_style *style, struct output **output_out,
                              struct error *error)
{
    struct output *output = calloc(1, sizeof *output);
    if (!output)
        return error_set(error, ERROR_MEMORY, "no memory for the output");
    output->fd = fd;
    output->style = *style;
    if (style->format == OUTPUT_CSV) {
        static const char header[] = "seq,time,topic,payload\n";
        enum error_code code = buffer_append(&output->out, header, sizeof header - 1, error);
        if (code) {
            output_free(output);
            return code;
        }
    }
    *output_out = output;
    return OK;
}

void output_free(struct output *output)
{
    if (!output)
        return;
    buffer_release(&output->out);
    buffer_release(&output->scratch);
    free(output);
}

static enum error_code append_text(struct buffer *out, const char *text, struct error *error)
{
    return buffer_append(out, text, strlen(text), error);
}

static enum error_code append_payload(struct buffer *out, const struct event *event,
                                      struct error *error)
{
    return json_from_msgpack(event->payload, event->payload_bytes, JSON_COMPACT, out, error);
}

enum error_code output_append_text(const struct event *event, struct buffer *out,
                                   size_t *payload_at_out, struct error *error)
{
    char time[UNITS_TIME_TEXT_SIZE];
    size_t size_before = out->size;
    units_format_time_utc(event->time_ns, time);
    enum error_code code = buffer_printf(out, error, "\"time\":\"%s\",\"topic\":", time);
    if (!code)
        code = json_append_string(out, event->topic, event->topic_bytes, error);
    if (!code)
        code = append_text(out, ",\"payload\":", error);
    *payload_at_out = out->size - size_before;
    if (!code)
        code = append_payload(out, event, error);
    if (!code)
        code = append_text(out, "}\n", error);
    if (code)
        out->size = size_before;
    return code;
}

static enum error_code append_sequence(struct output *output, uint64_t sequence,
                                       struct error *error)
{
    return buffer_printf(&output->out, error, "{\"seq\":%llu,", (unsigned long long)sequence);
}

static enum error_code append_json(struct output *output, const struct event *event,
                                   struct error *error)
{
    size_t payload_at;
    enum error_code code = append_sequence(output, event->sequence, error);
    return code ? code : output_append_text(event, &output->out, &payload_at, error);
}

static enum error_code append_packed(msgpack_packer *packer, struct buffer *out,
                                     const struct event *event, struct error *error)
{
    if (msgpack_pack_str(packer, event->topic_bytes) ||
        msgpack_pack_str_body(packer, event->topic, event->topic_bytes))
        return error_set(error, ERROR_MEMORY, "no memory for the output");
    return buffer_append(out, event->payload, event->payload_bytes, error);
}

static enum error_code append_msgpack(struct output *output, const struct event *event,
                                      struct error *error)
{
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, &output->out);
    if (msgpack_pack_array(&packer, 4) || msgpack_pack_uint64(&packer, event->sequence) ||
        msgpack_pack_int64(&packer, event->time_ns))
        return error_set(error, ERROR_MEMORY, "no memory for the output");
    return append_packed(&packer, &output->out, event, error);
}

static int pack_key(msgpack_packer *packer, const char *key)
{
    size_t bytes = strlen(key);
    return msgpack_pack_str(packer, bytes) || msgpack_pack_str_body(packer, key, bytes);
}

/* The whole event as one msgpack map, so that the JSON writer indents the payload with the rest. */
static enum error_code append_pretty(struct output *output, const struct event *event,
                                     struct error *error)
{
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(event->time_ns, time);
    struct buffer *map = &output->scratch;
    map->size = 0;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, map);
    if (msgpack_pack_map(&packer, 4) || pack_key(&packer, "seq") ||
        msgpack_pack_uint64(&packer, event->sequence) || pack_key(&packer, "time") ||
        pack_key(&packer, time) || pack_key(&packer, "topic") ||
        msgpack_pack_str(&packer, event->topic_bytes) ||
        msgpack_pack_str_body(&packer, event->topic, event->topic_bytes) ||
        pack_key(&packer, "payload"))
        return error_set(error, ERROR_MEMORY, "no memory for the output");
    enum error_code code = buffer_append(map, event->payload, event->payload_bytes, error);
    if (!code)
        code = json_from_msgpack(map->data, map->size, JSON_PRETTY, &output->out, error);
    if (!code)
        code = append_text(&output->out, "\n", error);
    return code;
}

static enum error_code append_cat(struct output *output, const struct event *event,
                                  struct error *error)
{
    enum error_code code = append_payload(&output->out, event, error);
    return code ? code : append_text(&output->out, "\n", error);
}

/* RFC 4180: a field with a quote, comma or line break is quoted, and its quotes are doubled. */
static enum error_code append_quoted(struct buffer *out, const uint8_t *text, size_t text_bytes,
                                     struct error *error)
{
    enum error_code code = append_text(out, "\"", error);
    const uint8_t *end = text + text_bytes;
    while (!code && text < end) {
        const uint8_t *quote = memchr(text, '"', (size_t)(end - text));
        const uint8_t *stop = quote ? quote + 1 : end;
        code = buffer_append(out, text, (size_t)(stop - text), error);
        if (!code && quote)
            code = append_text(out, "\"", error);
        text = stop;
    }
    return code ? code : append_text(out, "\"", error);
}

static enum error_code append_csv(struct output *output, const struct event *event,
                                  struct error *error)
{
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(event->time_ns, time);
    output->scratch.size = 0;
    enum error_code code = append_payload(&output->scratch, event, error);
    if (!code) /* No character of a topic needs quotes. */
        code =
            buffer_printf(&output->out, error, "%llu,%s,%.*s,", (unsigned long long)event->sequence,
                          time, (int)event->topic_bytes, event->topic);
    if (!code)
        code = append_quoted(&output->out, output->scratch.data, output->scratch.size, error);
    return code ? code : append_text(&output->out, "\n", error);
}

static enum error_code append_short(struct output *output, const struct event *event,
                                    struct error *error)
{
    const struct output_style *style = &output->style;
    char time[UNITS_TIME_TEXT_SIZE];
    units_format_time_short(event->time_ns, style->zone, time);
    output->scratch.size = 0;
    enum error_code code = append_payload(&output->scratch, event, error);
    if (code)
        return code;
    size_t used = strlen(time) + 1 + event->topic_bytes + 1;
    size_t payload_bytes = output->scratch.size;
    if (style->width)
        payload_bytes = terminal_fit((const char *)output->scratch.data, payload_bytes,
                                     style->width > used ? style->width - used : 0);
    return buffer_printf(&output->out, error, "%s %s%.*s%s %.*s\n", time,
                         style->colour ? "\x1b[1m" : "", (int)event->topic_bytes, event->topic,
                         style->colour ? "\x1b[0m" : "", (int)payload_bytes,
                         (const char *)output->scratch.data);
}

typedef enum error_code (*append_function)(struct output *output, const struct event *event,
                                           struct error *error);
static const append_function append_as[] = {
    [OUTPUT_SHORT] = append_short,
    [OUTPUT_JSON] = append_json,
    [OUTPUT_JSON_PRETTY] = append_pretty,
    [OUTPUT_CAT] = append_cat,
    [OUTPUT_CSV] = append_csv,
    [OUTPUT_MSGPACK] = append_msgpack,
};

enum error_code output_event(struct output *output, const struct event *event, struct error *error)
{
    size_t size_before = output->out.size;
    enum error_code code = append_as[output->style.format](output, event, error);
    if (code) {
        output->out.size = size_before; /* no half event */
        return error_prefix(error, "event %llu", (unsigned long long)event->sequence);
    }
    return output->out.size >= FLUSH_BYTES ? output_flush(output, error) : OK;
}

enum error_code output_json_line(struct output *output, uint64_t sequence, const char *text,
                                 size_t text_bytes, struct error *error)
{
    size_t size_before = output->out.size;
    enum error_code code = append_sequence(output, sequence, error);
    if (!code)
        code = buffer_append(&output->out, text, text_bytes, error);
    if (code) {
        output->out.size = size_before; /* no half event */
        return code;
    }
    return output->out.size >= FLUSH_BYTES ? output_flush(output, error) : OK;
}

enum error_code output_flush(struct output *output, struct error *error)
{
    size_t done = 0;
    while (done < output->out.size) {
        ssize_t written = write(output->fd, output->out.data + done, output->out.size - done);
        if (written >= 0)
            done += (size_t)written;
        else if (errno == EPIPE)
            return error_set(error, ERROR_CLOSED, "write output: nobody reads it any more");
        else if (errno != EINTR)
            return error_set_errno(error, errno, "write output");
    }
    output->out.size = 0;
    if (output->out.capacity > KEEP_BYTES)
        buffer_release(&output->out); /* one huge event is no reason to stay large */
    return OK;
}
