/*
 * Redis Streams: XADD to one stream, XREAD BLOCK by each subscriber. The server's configuration
 * says that it is durable (appendfsync always): it syncs before it answers, and before it gives an
 * event to anybody.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/peers/bus.h"

enum { MANY = 1000 }; /* events of one XREAD */

/*
 * The reply at `at`, as RESP 2 has it: the place behind it, NULL while it is not complete. What it
 * says is not looked at, but an error ends the run.
 */
static const char *skip(const char *at, const char *end)
{
    const char *line_end = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (!line_end)
        return NULL;
    if (*at == '-')
        bus_die("redis: %.*s", (int)(line_end - at - 1), at + 1);
    long number = strtol(at + 1, NULL, 10);
    const char *next = line_end + 1;
    if (*at == '$' && number >= 0)
        return end - next >= number + 2 ? next + number + 2 : NULL;
    for (long i = 0; *at == '*' && next && i < number; i++)
        next = skip(next, end);
    return next;
}

/* The line's number, as of "*12\r\n"; and *at goes behind it. */
static long read_number(const char **at)
{
    long number = strtol(*at + 1, NULL, 10);
    *at = strchr(*at, '\n') + 1;
    return number;
}

static void open_publisher(struct bus_link *link)
{
    (void)link;
}

static void read_on(struct bus_link *link)
{
    bus_write(link, "XREAD COUNT %d BLOCK 0 STREAMS bus %s\r\n", MANY, link->place);
}

static void open_subscriber(struct bus_link *link)
{
    strcpy(link->place, "$");
    read_on(link);
}

static void write_event(struct bus_link *link, const struct bench_pool_event *event)
{
    bus_write(link,
              "*7\r\n$4\r\nXADD\r\n$3\r\nbus\r\n$1\r\n*\r\n$1\r\nt\r\n$%zu\r\n%s\r\n"
              "$1\r\np\r\n$%zu\r\n",
              event->topic_bytes, event->topic, event->json_bytes);
    bus_write_bytes(link, event->json, event->json_bytes);
    bus_write(link, "\r\n");
}

static unsigned take_answers(struct bus_link *link)
{
    const char *at = (const char *)link->in.data + link->taken;
    const char *end = (const char *)link->in.data + link->in.size, *next;
    unsigned answers = 0;
    for (; (next = skip(at, end)); at = next)
        answers++;
    link->taken = (size_t)(at - (const char *)link->in.data);
    return answers;
}

/* *1 *2 $3 bus *N, then each *2 $ID id *4 …; the last id is where the next XREAD goes on. */
static unsigned take_events(struct bus_link *link)
{
    const char *at = (const char *)link->in.data + link->taken;
    const char *end = (const char *)link->in.data + link->in.size;
    const char *behind = skip(at, end);
    if (!behind)
        return 0;
    read_number(&at);
    read_number(&at);
    at = skip(at, end);
    long events = read_number(&at);
    for (long i = 0; i < events; i++) {
        read_number(&at);
        const char *id = at;
        long id_bytes = read_number(&id);
        memcpy(link->place, id, (size_t)id_bytes);
        link->place[id_bytes] = '\0';
        at = skip(skip(at, end), end);
    }
    link->taken = (size_t)(behind - (const char *)link->in.data);
    read_on(link);
    return (unsigned)events;
}

const struct bus_peer bus_redis = {"redis",       open_publisher, open_subscriber,
                                   write_event,   take_answers,   take_events};
