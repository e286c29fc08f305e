/*
 * NATS JetStream: one stream in a file, an ephemeral push consumer without acks for each subscriber
 * (what an ordered consumer of its clients is). The server's configuration says that it is durable
 * (sync_interval: always).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/peers/bus.h"

static const char connect_line[] =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1,"
    "\"headers\":true,\"no_responders\":true}\r\n";

/* A request to the JetStream API, answered at `inbox`. */
static void ask(struct bus_link *link, const char *subject, const char *inbox, const char *json)
{
    bus_write(link, "PUB %s %s %zu\r\n%s\r\n", subject, inbox, strlen(json), json);
}

static void open_publisher(struct bus_link *link)
{
    bus_write(link, "%sSUB bus_api 1\r\nSUB bus_ack 2\r\n", connect_line);
    ask(link, "$JS.API.STREAM.CREATE.BUS", "bus_api",
        "{\"name\":\"BUS\",\"subjects\":[\"bus.>\"],\"storage\":\"file\",\"retention\":\"limits\","
        "\"discard\":\"old\",\"num_replicas\":1,\"max_consumers\":-1,\"max_msgs\":-1,"
        "\"max_bytes\":-1}");
}

static void open_subscriber(struct bus_link *link)
{
    char json[300], inbox[32];
    snprintf(link->place, sizeof link->place, "to.%u.%d", link->number, link->fd);
    snprintf(inbox, sizeof inbox, "api.%u.%d", link->number, link->fd);
    snprintf(json, sizeof json,
             "{\"stream_name\":\"BUS\",\"config\":{\"deliver_subject\":\"%s\","
             "\"deliver_policy\":\"new\",\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
             "\"mem_storage\":true,\"num_replicas\":1}}",
             link->place);
    bus_write(link, "%sSUB %s 1\r\nSUB %s 2\r\n", connect_line, inbox, link->place);
    ask(link, "$JS.API.CONSUMER.CREATE.BUS", inbox, json);
}

static void write_event(struct bus_link *link, const struct bench_pool_event *event)
{
    bus_write(link, "PUB bus.%s bus_ack %zu\r\n", event->topic, event->json_bytes);
    bus_write_bytes(link, event->json, event->json_bytes);
    bus_write(link, "\r\n");
}

/*
 * Use up whole protocol lines and messages, and count the messages of subscription 2; those of 1
 * are answers of the API, which must not be errors.
 */
static unsigned take_messages(struct bus_link *link)
{
    unsigned messages = 0;
    for (;;) {
        const char *at = (const char *)link->in.data + link->taken;
        size_t left = link->in.size - link->taken;
        const char *line_end = left ? memchr(at, '\n', left) : NULL;
        if (!line_end)
            return messages;
        size_t bytes = (size_t)(line_end + 1 - at);
        if (strncmp(at, "-ERR", 4) == 0)
            bus_die("nats: %.*s", (int)bytes, at);
        if (strncmp(at, "PING", 4) == 0)
            bus_write(link, "PONG\r\n");
        if (strncmp(at, "MSG ", 4) == 0 || strncmp(at, "HMSG ", 5) == 0) {
            char subject[200], word[200];
            int id = 0;
            if (sscanf(at, "%*s %199s %d", subject, &id) != 2)
                bus_die("nats: it says %.*s", (int)bytes, at);
            const char *size_at = line_end;
            while (size_at > at && size_at[-1] != ' ')
                size_at--;
            size_t size = strtoul(size_at, NULL, 10);
            if (left < bytes + size + 2)
                return messages;
            snprintf(word, sizeof word, "%.*s", (int)(size < 190 ? size : 190), line_end + 1);
            if ((id == 1 || strcmp(subject, "bus_ack") == 0) && strstr(word, "\"error\""))
                bus_die("nats: %s", word);
            messages += id == 2;
            bytes += size + 2;
        }
        link->taken += bytes;
    }
}

const struct bus_peer bus_nats = {"nats",      open_publisher, open_subscriber,
                                  write_event, take_messages,  take_messages};
