#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/allowed_users.h"
#include "tools/client/wire.h"
#include "tools/daybookd/eviction.h"
#include "tools/daybookd/server_state.h"

/* Each costs some system calls, and those who are in have their turns only afterwards. */
enum { ACCEPTS_PER_ROUND = 4 };

/* The client may speak either mode; a frame is also readable enough for a person with nc. */
static void turn_away(struct server *server, int fd, const char *code, const char *why)
{
    struct buffer answer = {0};
    server->notices.turned_away++;
    notices_line(&server->notices, REPORT_WARNING, "a client was turned away: %s: %s", code, why);
    if (!wire_write_error(&answer, code, why, NULL) &&
        send(fd, answer.data, answer.size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        notices_line(&server->notices, REPORT_DETAIL, "it did not hear why");
    buffer_release(&answer);
    close(fd);
}

static void admit(struct server *server, int fd, const struct ucred *peer)
{
    struct connection *connection;
    struct error error;
    if (peers_add(&server->peers, peer, &error)) {
        turn_away(server, fd, "busy", error.text);
        return;
    }
    if (connection_create(server, fd, server->connections_ever + 1, &connection, &error)) {
        peers_remove(&server->peers, peer);
        turn_away(server, fd, "busy", error.text);
        return;
    }
    if (places_add(&server->places, connection, &connection->place, &error)) {
        connection->fd = -1;
        connection_free(connection);
        peers_remove(&server->peers, peer);
        turn_away(server, fd, "busy", error.text);
        return;
    }
    server->connections_ever++;
    server->connections++;
    list_append(&server->all, &connection->in_all);
    notices_line(&server->notices, REPORT_INFO,
                 "connection %" PRIu64 ": from pid %d, uid %u, gid %u", connection->number,
                 (int)peer->pid, (unsigned)peer->uid, (unsigned)peer->gid);
    if (server_watch(server, fd, SERVER_CLIENT_EVENTS, connection->place, &error)) {
        notices_line(&server->notices, REPORT_WARNING, "connection %" PRIu64 ": %s",
                     connection->number, error.text);
        server_forget(server, connection);
    }
}

/*
 * Those who have most may have nothing but subscribers: one of them ends, as soon as the bus comes
 * to it, and until then there are some connections more than allowed.
 */
static bool make_subscriber_go(struct server *server, const struct ucred *newcomer)
{
    struct peers_entry whose;
    size_t connections_max = server->options.connections_max;
    return server->connections < connections_max + BUS_EVICTIONS &&
           eviction_greediest(&server->peers, connections_max, newcomer, &whose) &&
           bus_evict(server->bus, whose.pid, whose.uid);
}

/*
 * A place for a client, if need be that of another. Who has to go is freed in this round's turns,
 * not here: the events of this round may still speak of it.
 */
static bool make_place(struct server *server, const struct ucred *newcomer)
{
    bool process;
    struct connection *idle = eviction_for_place(
        &server->all, &server->peers, server->options.connections_max, newcomer, &process);
    if (!idle)
        return make_subscriber_go(server, newcomer);
    struct error why;
    if (process)
        error_set(&why, ERROR_BUSY,
                  "all %zu connections are in use, most of them by this process (pid %d), and this "
                  "one was idle for longest",
                  server->options.connections_max, (int)idle->peer.pid);
    else
        error_set(&why, ERROR_BUSY,
                  "all %zu connections are in use, most of them by this user (uid %u), and this "
                  "one was idle for longest",
                  server->options.connections_max, (unsigned)idle->peer.uid);
    connection_evict(idle, why.text);
    return true;
}

/* The code and the reason for which it may not come in; NULL: it may. */
static const char *refuse(struct server *server, const struct ucred *peer, struct error *why)
{
    const struct server_options *options = &server->options;
    if (!allowed_users_include(options->allowed, peer->uid)) {
        error_set(why, ERROR_FOREIGN, "user %u may not publish here (--allow-users)",
                  (unsigned)peer->uid);
        return "forbidden";
    }
    if (options->user_connections_max < options->connections_max &&
        peers_of_user(&server->peers, peer->uid) >= options->user_connections_max) {
        error_set(why, ERROR_BUSY,
                  "all %zu connections that one user may have are in use by user %u; try again "
                  "later",
                  options->user_connections_max, (unsigned)peer->uid);
        return "busy";
    }
    if (server->connections >= options->connections_max && !make_place(server, peer)) {
        error_set(why, ERROR_BUSY, "all %zu connections are in use; try again later",
                  options->connections_max);
        return "busy";
    }
    return NULL;
}

void server_set_accepting(struct server *server, bool accepting)
{
    struct epoll_event event = {.events = accepting ? EPOLLIN | EPOLLONESHOT : 0,
                                .data.u64 = SOURCE_LISTENER};
    epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->options.listen_fd, &event);
    server->accept_paused = !accepting;
}

static void accept_one(struct server *server, int fd)
{
    struct error why;
    struct ucred peer = connection_peer(fd);
    const char *code = refuse(server, &peer, &why);
    if (code)
        turn_away(server, fd, code, why.text);
    else
        admit(server, fd, &peer);
}

static void accept_some(struct server *server)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        bool full = server->connections >= server->options.connections_max;
        int fd = accept4(server->options.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            /* Or epoll would tell us at once again, for ever. The next tick tries again. */
            notices_line(&server->notices, REPORT_WARNING, "cannot accept a client: %s",
                         strerror(errno));
            server_set_accepting(server, false);
            return;
        }
        if (fd < 0)
            return;
        accept_one(server, fd);
        if (full)
            return; /* Finding a place takes longer. */
    }
}

/* The listener has told once, and tells again when it is asked to. */
void server_accept(struct server *server)
{
    bool paused = server->accept_paused || server->stopping;
    if (!paused)
        accept_some(server);
    if (!paused && !server->accept_paused)
        server_set_accepting(server, true);
}
