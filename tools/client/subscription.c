#include "tools/client/subscription.h"

#include <stdlib.h>
#include <string.h>

#include "tools/client/handle.h"

#define MS_NS INT64_C(1000000)

enum {
    WINDOW_EVENTS = 8192,
    /* Who hoards a group's events keeps them from the others, and lets their time run out. */
    WINDOW_EVENTS_SHARED = 16,
};

/* ---- Options ---- */

static void fill_in_numbers(struct daybook_subscription_options *options)
{
    if (options->connect_timeout_ms == 0)
        options->connect_timeout_ms = 5000;
    if (options->retry_timeout_ms == 0)
        options->retry_timeout_ms = 30000;
    if (options->window_events == 0)
        options->window_events = options->shared ? WINDOW_EVENTS_SHARED : WINDOW_EVENTS;
    if (!options->client)
        options->client = "libdaybook/" DAYBOOK_VERSION;
}

static enum daybook_code check_length(const char *what, const char *text, size_t bytes_max,
                                      struct daybook_error *error)
{
    if (!text || strlen(text) <= bytes_max)
        return DAYBOOK_OK;
    return failure_set(error, DAYBOOK_INVALID, "%s has %zu bytes; it may have at most %zu", what,
                       strlen(text), bytes_max);
}

/* The list ends with NULL. */
static enum daybook_code count_topics(struct daybook_subscription *sub, struct daybook_error *error)
{
    const char *const *topics = sub->options.topics;
    uint32_t count = 0;
    while (topics && topics[count] && count <= WIRE_TOPICS_MAX)
        count++;
    if (count > WIRE_TOPICS_MAX)
        return failure_set(error, DAYBOOK_INVALID, "more than %d topics", WIRE_TOPICS_MAX);
    sub->request.topic_count = count;
    return DAYBOOK_OK;
}

/* So that hello and subscribe fit into their frames; the rest of the rules is looked at below. */
static enum daybook_code check_lengths(const struct daybook_subscription *sub,
                                       struct daybook_error *error)
{
    const struct daybook_subscription_options *options = &sub->options;
    enum daybook_code code = check_length("the client's name", options->client, 200, error);
    if (!code)
        code = check_length("the cursor's name", options->cursor, WIRE_CURSOR_BYTES_MAX, error);
    if (!code)
        code = check_length("where", options->where, WIRE_WHERE_BYTES_MAX, error);
    for (uint32_t i = 0; !code && i < sub->request.topic_count; i++)
        code = check_length("a pattern of topics", options->topics[i], EVENT_TOPIC_BYTES_MAX,
                            error);
    return code;
}

/* Texts are copied into one piece of memory, which is as large as all of them. */
static const char *keep(const char *text, char **at)
{
    if (!text)
        return NULL;
    char *copy = *at;
    size_t bytes = strlen(text) + 1;
    memcpy(copy, text, bytes);
    *at += bytes;
    return copy;
}

static struct wire_text keep_text(const char *text, char **at)
{
    const char *copy = keep(text, at);
    return (struct wire_text){copy, copy ? strlen(copy) : 0};
}

static size_t bytes_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static enum daybook_code copy_texts(struct daybook_subscription *sub, const char *socket,
                                    struct daybook_error *error)
{
    struct daybook_subscription_options *options = &sub->options;
    size_t bytes = bytes_of(socket) + bytes_of(options->client) + bytes_of(options->cursor) +
                   bytes_of(options->where);
    for (uint32_t i = 0; i < sub->request.topic_count; i++)
        bytes += bytes_of(options->topics[i]);
    char *at = sub->texts = malloc(bytes);
    if (!at)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for the options");
    options->directory = NULL;
    options->socket = keep(socket, &at);
    options->client = keep(options->client, &at);
    sub->request.cursor = keep_text(options->cursor, &at);
    sub->request.where = keep_text(options->where, &at);
    for (uint32_t i = 0; i < sub->request.topic_count; i++)
        sub->request.topics[i] = keep_text(options->topics[i], &at);
    options->cursor = sub->request.cursor.text;
    options->where = sub->request.where.text;
    options->topics = NULL;
    return DAYBOOK_OK;
}

static void make_request(struct daybook_subscription *sub)
{
    static const enum wire_start STARTS[] = {
        [DAYBOOK_START_DEFAULT] = WIRE_START_NONE,
        [DAYBOOK_START_AFTER] = WIRE_START_AFTER,
        [DAYBOOK_START_SINCE] = WIRE_START_SINCE,
        [DAYBOOK_START_EARLIEST] = WIRE_START_EARLIEST,
        [DAYBOOK_START_LATEST] = WIRE_START_LATEST,
    };
    const struct daybook_subscription_options *options = &sub->options;
    struct wire_subscribe *request = &sub->request;
    sub->window = options->window_events;
    request->start = STARTS[options->start];
    request->after = options->after;
    request->since_ns = options->since_ns;
    request->shared = options->shared;
    request->ack_timeout_ns = options->ack_timeout_ms * MS_NS;
    request->tries = options->tries;
    request->limited = true;
    request->credit = sub->window;
}

/* What our own decoder refuses the daemon would refuse, too: better said before it is sent. */
static enum daybook_code check_request(const struct daybook_subscription *sub,
                                       struct daybook_error *error)
{
    struct buffer frame = {0};
    struct wire_subscribe read;
    struct error why;
    enum wire_type type;
    uint32_t left = 0;
    enum error_code code = wire_write_subscribe(&frame, &sub->request, &why);
    struct msgpack_cursor cursor = {frame.data, frame.data};
    if (!code) {
        cursor.end = frame.data + frame.size;
        cursor.at += WIRE_LENGTH_BYTES;
        code = wire_read_type(&cursor, &type, &left, &why);
    }
    if (!code)
        code = wire_read_subscribe(cursor, left, &read, &why);
    buffer_release(&frame);
    return code ? failure_from(error, &why) : DAYBOOK_OK;
}

static enum daybook_code make_ranges(struct daybook_subscription *sub, struct daybook_error *error)
{
    if (!sub->options.shared)
        return DAYBOOK_OK;
    sub->accepted.ranges = calloc(WIRE_RANGES_MAX, sizeof *sub->accepted.ranges);
    sub->released.ranges = calloc(WIRE_RANGES_MAX, sizeof *sub->released.ranges);
    if (!sub->accepted.ranges || !sub->released.ranges)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for what a group's member accepts");
    return DAYBOOK_OK;
}

static enum daybook_code take_options(struct daybook_subscription *sub, struct daybook_error *error)
{
    if ((unsigned)sub->options.start > DAYBOOK_START_LATEST)
        return failure_set(error, DAYBOOK_INVALID, "there is no start %d",
                           (int)sub->options.start);
    enum daybook_code code = count_topics(sub, error);
    if (!code)
        code = check_lengths(sub, error);
    if (code)
        return code;
    char *socket = handle_socket_path(sub->options.directory, sub->options.socket);
    if (!socket)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for the options");
    code = copy_texts(sub, socket, error);
    free(socket);
    if (code)
        return code;
    make_request(sub);
    code = check_request(sub, error);
    return code ? code : make_ranges(sub, error);
}

/* ---- Making and ending ---- */

void daybook_subscription_close(struct daybook_subscription *sub)
{
    if (!sub)
        return;
    link_close(&sub->link);
    buffer_release(&sub->output);
    buffer_release(&sub->held);
    buffer_release(&sub->backlog);
    free(sub->accepted.ranges);
    free(sub->released.ranges);
    free(sub->texts);
    free(sub);
}

/* The first connection has one attempt: that nobody listens is news, then. */
static enum daybook_code begin(struct daybook_subscription *sub, struct daybook_error *error)
{
    while (!sub->begun) {
        struct subscription_frame frame;
        enum daybook_code code = subscription_pump(sub, INT64_MAX, error);
        if (!code)
            code = subscription_receive(sub, &frame, error);
        if (code && code != DAYBOOK_END)
            return code;
        if (sub->state == SUBSCRIPTION_OFF)
            return failure_set(error, sub->gone.code, "%s", sub->gone.text);
    }
    return DAYBOOK_OK;
}

enum daybook_code subscription_create(const struct daybook_subscription_options *options,
                                      struct daybook_subscription **subscription_out,
                                      struct daybook_error *error)
{
    struct daybook_subscription *sub = calloc(1, sizeof *sub);
    if (!sub)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for a subscription");
    sub->link.fd = -1;
    if (options)
        sub->options = *options;
    fill_in_numbers(&sub->options);
    enum daybook_code code = take_options(sub, error);
    if (code) {
        daybook_subscription_close(sub);
        return code;
    }
    *subscription_out = sub;
    return DAYBOOK_OK;
}

enum daybook_code daybook_subscribe(const struct daybook_subscription_options *options,
                                    struct daybook_subscription **subscription_out,
                                    struct daybook_error *error)
{
    struct daybook_subscription *sub;
    enum daybook_code code = subscription_create(options, &sub, error);
    if (code)
        return code;
    code = begin(sub, error);
    if (code) {
        daybook_subscription_close(sub);
        return code;
    }
    *subscription_out = sub;
    return DAYBOOK_OK;
}

/* ---- Questions ---- */

int daybook_subscription_fd(const struct daybook_subscription *sub)
{
    return sub->link.fd;
}

uint64_t daybook_subscription_position(const struct daybook_subscription *sub)
{
    return sub->position;
}

void daybook_subscription_lost(const struct daybook_subscription *sub,
                               struct daybook_lost *lost_out)
{
    *lost_out = sub->lost;
}

void daybook_subscription_count(const struct daybook_subscription *sub,
                                struct daybook_subscription_counts *counts_out)
{
    *counts_out = sub->counts;
}
