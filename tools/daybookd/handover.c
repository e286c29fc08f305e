/* A connection that subscribes goes to the bus thread; its place stays taken until it ends. */
#include <string.h>
#include <sys/epoll.h>

#include "tools/daybookd/server_state.h"
#include "tools/daybookd/subscriber.h"

static enum error_code copy_input(const struct connection *connection, struct buffer *input,
                                  struct error *error)
{
    size_t bytes = input_bytes(&connection->input);
    if (bytes > 2 * SUBSCRIBER_UNIT_MAX)
        return error_set(error, ERROR_INVALID,
                         "%zu bytes behind and with the first request of a subscriber; at most %d "
                         "may come before its answer",
                         bytes, 2 * SUBSCRIBER_UNIT_MAX);
    return buffer_append(input, input_data(&connection->input), bytes, error);
}

static void free_place(struct server *server, const struct ucred *peer)
{
    server->connections--;
    peers_remove(&server->peers, peer);
}

void server_hand_over(struct server *server, struct connection *connection)
{
    struct bus_arrival arrival = {
        .fd = connection->fd,
        .number = connection->number,
        .peer = connection->peer,
        .lines = connection->mode == CONNECTION_LINES,
    };
    struct error error;
    if (copy_input(connection, &arrival.input, &error)) {
        connection_fail(connection, error.code == ERROR_INVALID ? "too_large" : "busy", error.text);
        server_make_ready(server, connection);
        return;
    }
    epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    intake_tell_refusals_of(&server->intake, connection->session.producer,
                            connection->session.producer_bytes, server->now_ns);
    server_unlink(server, connection);
    connection->fd = -1;
    connection_free(connection);
    if (bus_admit(server->bus, &arrival, &error)) {
        notices_closing(&server->notices, arrival.number, "busy", error.text);
        free_place(server, &arrival.peer);
    }
}

void server_take_departures(struct server *server)
{
    struct ucred peers[32];
    size_t count;
    while ((count = bus_take_departures(server->bus, peers, 32)) > 0)
        for (size_t i = 0; i < count; i++)
            free_place(server, &peers[i]);
    if (bus_append_letters(server->bus))
        segment_log_kick(server->options.log);
}
