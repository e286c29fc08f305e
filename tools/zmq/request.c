#include "tools/zmq/request.h"

#include <string.h>

#include "core/event.h"
#include "core/units.h"

static bool begins_with(const char *text, size_t text_bytes, const char *with, size_t with_bytes)
{
    return text_bytes >= with_bytes && memcmp(text, with, with_bytes) == 0;
}

/* Does a first frame, the prefix and a topic, begin like this? And then the topic's part of it. */
static bool read_frame(const char *prefix, const char *text, size_t text_bytes,
                       struct request *request)
{
    size_t prefix_bytes = strlen(prefix);
    request->topic = text + text_bytes;
    request->topic_bytes = 0;
    if (begins_with(prefix, prefix_bytes, text, text_bytes))
        return true;
    if (!begins_with(text, text_bytes, prefix, prefix_bytes))
        return false;
    request->topic = text + prefix_bytes;
    request->topic_bytes = text_bytes - prefix_bytes;
    return true;
}

static bool read_sequence(const char *text, size_t bytes, uint64_t *sequence_out)
{
    uint64_t sequence = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || sequence >= EVENT_SEQUENCE_END / 10)
            return false;
        sequence = 10 * sequence + (uint64_t)(text[i] - '0');
    }
    *sequence_out = sequence;
    return bytes > 0;
}

static bool is_digits(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return bytes > 0;
}

/* `text` is what stands between the two @, without a name. */
static enum error_code read_start(const char *text, size_t bytes, int64_t now_ns,
                                  struct request *request, struct error *error)
{
    if (is_digits(text, bytes)) {
        if (!read_sequence(text, bytes, &request->after))
            return error_set(error, ERROR_INVALID, "no sequence is as high as '%.*s'", (int)bytes,
                             text);
        return OK;
    }
    request->by_time = true;
    return units_parse_time(text, bytes, UNITS_UTC, now_ns, &request->since_ns, error);
}

enum error_code request_read(const char *prefix, const void *text, size_t text_bytes,
                             int64_t now_ns, struct request *request_out, struct error *error)
{
    const char *head = text;
    struct request request = {.kind = REQUEST_LIVE};
    if (text_bytes == 0 || head[0] != '@') {
        if (!read_frame(prefix, head, text_bytes, &request))
            request.kind = REQUEST_NONE;
        *request_out = request;
        return OK;
    }
    const char *end = memchr(head + 1, '@', text_bytes - 1);
    if (!end || text_bytes > REQUEST_BYTES_MAX)
        return error_set(error, ERROR_INVALID,
                         end ? "it is too long"
                             : "a request for history is @SEQUENCE@… or @TIME@…, and it has no "
                               "second @");
    const char *name = memchr(head, '/', (size_t)(end - head));
    enum error_code code = read_start(head + 1, (size_t)((name ? name : end) - head) - 1, now_ns,
                                      &request, error);
    if (code)
        return code;
    request.kind = REQUEST_HISTORY;
    request.head = head;
    request.head_bytes = (size_t)(end - head) + 1;
    if (!read_frame(prefix, end + 1, text_bytes - request.head_bytes, &request))
        request.kind = REQUEST_NONE;
    *request_out = request;
    return OK;
}
