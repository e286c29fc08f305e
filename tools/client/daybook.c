#include "tools/client/daybook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "tools/client/handle.h"
#include "tools/client/wire.h"

#define MS_NS INT64_C(1000000)

/* ---- Options ---- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

char *handle_socket_path(const char *directory, const char *socket)
{
    if (socket)
        return strdup(socket);
    const char *named = directory ? NULL : environment("DAYBOOK_SOCKET");
    if (named)
        return strdup(named);
    if (!directory)
        directory = environment("DAYBOOK_DIR");
    char *path = NULL;
    if (asprintf(&path, "%s/daybook.sock", directory ? directory : "./daybook-data") < 0)
        return NULL;
    return path;
}

static enum daybook_code copy_texts(struct daybook *daybook, const struct daybook_options *given,
                                    struct daybook_error *error)
{
    struct daybook_options *options = &daybook->options;
    options->directory = NULL;
    options->socket = handle_socket_path(given->directory, given->socket);
    options->producer = strdup(given->producer ? given->producer : "");
    options->client = strdup(given->client ? given->client : "libdaybook/" DAYBOOK_VERSION);
    if (!options->socket || !options->producer || !options->client)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for the options");
    daybook->producer_bytes = strlen(options->producer);
    return DAYBOOK_OK;
}

static void fill_in_numbers(struct daybook_options *options)
{
    if (options->connect_timeout_ms == 0)
        options->connect_timeout_ms = 5000;
    if (options->retry_timeout_ms == 0)
        options->retry_timeout_ms = 30000;
    if (options->batch_events == 0)
        options->batch_events = 512;
    if (options->batch_events > WIRE_EVENTS_MAX)
        options->batch_events = WIRE_EVENTS_MAX;
    if (options->batch_bytes == 0)
        options->batch_bytes = 128 << 10;
    if (options->batch_bytes > EVENT_PAYLOAD_BYTES_MAX)
        options->batch_bytes = EVENT_PAYLOAD_BYTES_MAX;
    if (options->window_bytes == 0)
        options->window_bytes = 4 << 20;
}

static enum daybook_code check_options(const struct daybook *daybook, struct daybook_error *error)
{
    const struct daybook_options *options = &daybook->options;
    struct error why;
    if (daybook->producer_bytes > 0 &&
        event_check_producer(options->producer, daybook->producer_bytes, &why))
        return failure_from(error, &why);
    if (strlen(options->client) > 200)
        return failure_set(error, DAYBOOK_INVALID, "the client's name has more than 200 bytes");
    if ((unsigned)options->ack > DAYBOOK_ACK_NONE)
        return failure_set(error, DAYBOOK_INVALID, "there is no ack mode %d", (int)options->ack);
    return DAYBOOK_OK;
}

/* ---- Making and ending ---- */

static void free_handle(struct daybook *daybook)
{
    link_close(&daybook->link);
    outbox_release(&daybook->outbox);
    json_reader_free(daybook->json);
    buffer_release(&daybook->converted);
    buffer_release(&daybook->status);
    free((char *)daybook->options.socket);
    free((char *)daybook->options.producer);
    free((char *)daybook->options.client);
    free(daybook);
}

enum daybook_code daybook_connect(const struct daybook_options *given, struct daybook **daybook_out,
                                  struct daybook_error *error)
{
    static const struct daybook_options DEFAULTS;
    struct daybook *daybook = calloc(1, sizeof *daybook);
    if (!daybook)
        return failure_set(error, DAYBOOK_MEMORY, "no memory for a handle");
    daybook->options = given ? *given : DEFAULTS;
    daybook->link.fd = -1;
    daybook->outbox.ping = daybook->options.ack == DAYBOOK_ACK_NONE;
    fill_in_numbers(&daybook->options);
    enum daybook_code code = copy_texts(daybook, given ? given : &DEFAULTS, error);
    if (!code)
        code = check_options(daybook, error);
    if (!code)
        code = handle_connect_once(
            daybook, clock_monotonic_ns() + daybook->options.connect_timeout_ms * MS_NS, error);
    if (code) {
        free_handle(daybook);
        return code;
    }
    *daybook_out = daybook;
    return DAYBOOK_OK;
}

void daybook_close(struct daybook *daybook)
{
    if (!daybook)
        return;
    link_close(&daybook->link);
    while (daybook->outbox.first)
        handle_give_up_first(daybook);
    free_handle(daybook);
}

/* ---- Questions ---- */

int daybook_fd(const struct daybook *daybook)
{
    return daybook->link.fd;
}

void daybook_count(const struct daybook *daybook, struct daybook_counts *counts_out)
{
    *counts_out = daybook->counts;
    counts_out->unacknowledged = daybook->outbox.event_count;
}

static enum daybook_code send_status_request(struct daybook *daybook, struct daybook_error *error)
{
    struct buffer request = {0};
    struct error why;
    size_t sent = 0, at = 0;
    enum error_code code = wire_write_status_request(&request, &why);
    while (!code && at < request.size) {
        code = link_send(&daybook->link, request.data + at, request.size - at, &sent, &why);
        at += sent;
        if (!code && at < request.size)
            link_wait(&daybook->link, true, -1);
    }
    buffer_release(&request);
    return code ? failure_from(error, &why) : DAYBOOK_OK;
}

enum daybook_code daybook_status(struct daybook *daybook, const void **map_out,
                                 size_t *map_bytes_out, struct daybook_error *error)
{
    /* Nothing may be half sent, or the request would land in the middle of a frame. */
    enum daybook_code code = daybook_flush(daybook, error);
    if (!code)
        code = handle_ensure(daybook, error);
    if (!code)
        code = send_status_request(daybook, error);
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)daybook->options.retry_timeout_ms * MS_NS;
    daybook->status_came = false;
    while (!code && !daybook->status_came) {
        int64_t left_ms = (deadline_ns - clock_monotonic_ns()) / MS_NS;
        if (left_ms <= 0)
            return failure_set(error, DAYBOOK_TIMEOUT, "the daemon does not tell its status");
        code = handle_pump(daybook, (int)left_ms, error);
    }
    if (code)
        return code;
    *map_out = daybook->status.data;
    *map_bytes_out = daybook->status.size;
    return DAYBOOK_OK;
}
