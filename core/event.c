#include "core/event.h"

#include "core/msgpack.h"

/* The same letters name topics and producers: safe in file names, SQL, shells and URLs' paths. */
static bool is_name_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == ':' || c == '/' || c == '-';
}

static enum error_code refuse_name_byte(const char *what, unsigned char c, size_t position,
                                        struct error *error)
{
    static const char ALLOWED[] = "allowed are A-Z a-z 0-9 _ . : / -";
    if (c > 0x20 && c < 0x7f)
        return error_set(error, ERROR_INVALID, "the %s has '%c' at position %zu; %s", what, c,
                         position + 1, ALLOWED);
    if (c == ' ')
        return error_set(error, ERROR_INVALID, "the %s has a space at position %zu; %s", what,
                         position + 1, ALLOWED);
    return error_set(error, ERROR_INVALID, "the %s has the byte 0x%02x at position %zu; %s", what,
                     c, position + 1, ALLOWED);
}

static enum error_code check_name(const char *what, const char *name, size_t bytes,
                                  size_t bytes_max, struct error *error)
{
    if (bytes == 0)
        return error_set(error, ERROR_INVALID, "the %s is empty", what);
    if (bytes > bytes_max)
        return error_set(error, ERROR_INVALID, "the %s has %zu bytes, more than %zu", what, bytes,
                         bytes_max);
    for (size_t i = 0; i < bytes; i++)
        if (!is_name_byte((unsigned char)name[i]))
            return refuse_name_byte(what, (unsigned char)name[i], i, error);
    return OK;
}

enum error_code event_check_topic(const char *topic, size_t topic_bytes, struct error *error)
{
    return check_name("topic", topic, topic_bytes, EVENT_TOPIC_BYTES_MAX, error);
}

enum error_code event_check_producer(const char *name, size_t name_bytes, struct error *error)
{
    return check_name("producer's name", name, name_bytes, EVENT_PRODUCER_BYTES_MAX, error);
}

static enum error_code check_origin(const struct event *event, struct error *error)
{
    if (event->producer_bytes == 0) {
        if (event->number != 0)
            return error_set(error, ERROR_INVALID,
                             "the event has the producer's number %llu but no producer's name",
                             (unsigned long long)event->number);
        return OK;
    }
    enum error_code code = event_check_producer(event->producer, event->producer_bytes, error);
    if (code)
        return code;
    if (event->number == 0)
        return error_set(error, ERROR_INVALID,
                         "the producer '%.*s' gave no number; its events count from 1",
                         (int)event->producer_bytes, event->producer);
    if (event->number > EVENT_NUMBER_MAX)
        return error_set(error, ERROR_INVALID,
                         "the producer '%.*s' gave the number %llu; the highest is %llu",
                         (int)event->producer_bytes, event->producer,
                         (unsigned long long)event->number, (unsigned long long)EVENT_NUMBER_MAX);
    return OK;
}

static enum error_code check_payload(const struct event *event, struct error *error)
{
    if (event->payload_bytes > EVENT_PAYLOAD_BYTES_MAX)
        return error_set(error, ERROR_INVALID, "the payload has %zu bytes, more than %d",
                         event->payload_bytes, EVENT_PAYLOAD_BYTES_MAX);
    enum error_code code =
        msgpack_check(event->payload, event->payload_bytes, EVENT_PAYLOAD_DEPTH_MAX, error);
    if (code)
        error_prefix(error, "payload");
    return code;
}

enum error_code event_check(const struct event *event, struct error *error)
{
    enum error_code code = event_check_topic(event->topic, event->topic_bytes, error);
    if (code)
        return code;
    code = check_origin(event, error);
    if (code)
        return code;
    return check_payload(event, error);
}
