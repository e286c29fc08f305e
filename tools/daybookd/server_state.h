/*
 * tools/daybookd/server_state.h - what server.c, admission.c, examination.c and news.c share; for
 * nobody else.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_SERVER_STATE_H
#define DAYBOOK_TOOLS_DAYBOOKD_SERVER_STATE_H

#include <stdatomic.h>

#include "tools/daybookd/bus.h"
#include "tools/daybookd/connection.h"
#include "tools/daybookd/examiner.h"
#include "tools/daybookd/helm.h"
#include "tools/daybookd/intake.h"
#include "tools/daybookd/peers.h"
#include "tools/daybookd/places.h"
#include "tools/daybookd/server.h"
#include "tools/daybookd/turns.h"

/* What epoll knows things by; connections have theirs from places.h. */
enum server_source {
    SOURCE_LISTENER,
    SOURCE_SIGNAL,
    SOURCE_PROGRESS,
    SOURCE_EXAMINER,
    SOURCE_WAKE,
    SOURCE_BUS,
    SOURCE_END,
};

struct server {
    struct server_options options;
    int epoll_fd;
    int wake_fd;           /* written when a thread must not sleep as long as it does */
    int end_fd;            /* readable from the end on, so that nobody sleeps */
    atomic_bool ended;     /* the network threads have nothing left to do */
    atomic_int trouble;    /* errno of an epoll that has failed */
    atomic_int timeout_ms; /* for how long a thread may sleep */
    struct helm helm; /* whoever is there has all that follows for itself */
    char log_id[FORMAT_LOG_ID_TEXT + 1];
    struct intake intake;
    struct input_pool pool;
    int64_t started_ns;
    int64_t now_ns; /* of this round */
    int64_t ticked_ns;
    uint64_t connections_ever;
    size_t connections;
    struct places places;
    struct turns turns;
    int64_t worked_ns;                 /* for heavy connections, since it last slept or gave way */
    int64_t light_ns;                  /* when a light one had a turn last */
    struct list_link all;              /* the longest idle one first */
    struct list_link waiting, stalled; /* for the log */
    struct list_link away;             /* for the examiner */
    struct examiner *examiner;
    struct connection *examined; /* whose input the examiner has, or had: AWAY_RUNNING, AWAY_BACK */
    const struct examiner_result *result; /* AWAY_BACK only */
    struct peers peers;
    struct notices notices;
    struct bus *bus; /* has those who subscribe; they count as connections, and peers, as before */
    size_t answers_bytes; /* of all connections */
    uint8_t scratch[SERVER_SCRATCH_BYTES];
    bool disk_full;     /* as last said in the log */
    bool next_missing;  /* … the same */
    bool settle_failed; /* … of a change of schemas that cannot be noted */
    bool accept_paused; /* no descriptor was left for the next client */
    bool stopping;
    int64_t stop_deadline_ns;
    struct error failure; /* of the log; code OK: none */
};

/*
 * What of a client's socket is told. Edge-triggered: a connection that waits for room costs nothing
 * while its data waits too. EPOLLOUT comes to it only while answers wait for the client
 * (server_watch_room): or each answer that is read would wake a network thread.
 */
#define SERVER_CLIENT_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

enum error_code server_watch(struct server *server, int fd, uint32_t events, uint64_t source,
                             struct error *error);
/* It is in no list any more, and epoll's events find it no more. */
void server_unlink(struct server *server, struct connection *connection);
/* Close the connection and free it. */
void server_forget(struct server *server, struct connection *connection);

/* admission.c: the listening socket is readable; may clients come in at all? */
void server_accept(struct server *server);
void server_set_accepting(struct server *server, bool accepting);

/* Accept nobody any more, and end when all connections have, or soon. */
void server_begin_stop(struct server *server);

/* handover.c: it subscribes: from now on the bus has it. Frees the connection. */
void server_hand_over(struct server *server, struct connection *connection);
/* Subscribers have gone: their places are free. */
void server_take_departures(struct server *server);

/* news.c: the log has moved on, failed, or run out of room: tell those whom it concerns. */
void server_take_news(struct server *server);
/* A change of a schema is durable: note it, if 'daybook schema' has not. Now and then, and last. */
void server_settle_schemas(struct server *server);
/* Whatever they waited for may be there: room in the log, or memory. */
void server_wake_stalled(struct server *server);

/* examination.c: the examiner is done with one. */
void server_take_result(struct server *server);

#endif
