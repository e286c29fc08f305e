/*
 * tools/daybookd/server.h - the network threads: one epoll over listener, clients, the log's
 * progress and the signals, and two threads that take turns at the helm (helm.h).
 *
 * Each round: see what is ready, give those who are ready their turns (turns.h), let the acks go
 * that the log has caught up with. What came is committed by the thread that took it in, or, while
 * that has more to do, by the log's own.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_SERVER_H
#define DAYBOOK_TOOLS_DAYBOOKD_SERVER_H

#include "segment/log.h"
#include "tools/daybookd/notices.h"
#include "tools/daybookd/progress.h"

struct server;
struct connection;
struct gate;
struct index_thread;
struct examiner_result;
struct input_pool;
struct intake;

struct server_options {
    struct segment_log *log; /* all borrowed */
    struct gate *gate;       /* may be NULL: no topic has a schema */
    struct progress *progress;
    struct index_thread *index; /* for the status */
    const struct report *report;
    const char *directory; /* for the status */
    int listen_fd;
    int signal_fd; /* a signal there stops the server */
    size_t connections_max;
    size_t user_connections_max; /* of one user */
    size_t input_bytes_max;      /* also bounds unread answers: a quarter of it */
    size_t memory_max;           /* in all, for the status */
    const struct allowed_users *allowed;
    struct notify *notify; /* the service manager; may be NULL */
};

enum { SERVER_SCRATCH_BYTES = 16384, SERVER_ANSWERS_SHARE = 4 /* of the input's memory */ };

enum error_code server_create(const struct server_options *options, struct server **server_out,
                              struct error *error);
void server_free(struct server *server);

/*
 * Serve until a signal comes; then stop accepting and reading, finish the last commit, send its
 * acks, and return OK within a second. ERROR_IO: the log failed; the producers have been told.
 */
enum error_code server_run(struct server *server, struct error *error);

/* ---- For connections. ---- */

struct intake *server_intake(struct server *server);
struct input_pool *server_input_pool(struct server *server);
struct notices *server_notices(struct server *server);
/* SERVER_SCRATCH_BYTES for whoever has its turn. */
uint8_t *server_scratch(struct server *server);
int64_t server_now_ns(const struct server *server);
/* The progress of the log that this kind of ack waits for. */
uint64_t server_log_sequence(const struct server *server, bool written);
/* segment_log_find_producer; 0 without a name. */
enum error_code server_log_find_producer(struct server *server, const char *name,
                                         size_t name_bytes, uint64_t *number_out,
                                         struct error *error);
/* Of the log; may be NULL, in tests. */
const char *server_directory(const struct server *server);
/* 32 digits and a NUL. */
const char *server_log_id_text(const struct server *server);

/* This connection's hello has named its producer: an older one with the same name has to go. */
void server_fence(struct server *server, struct connection *connection);
/* The connection that has said hello as this producer, or NULL. */
const struct connection *server_find_producer(const struct server *server, const char *name,
                                              size_t name_bytes);
/*
 * The input pool is used up: take back what somebody else has held for too long, who then has to
 * go. False: nobody has yet.
 */
bool server_reclaim_input(struct server *server, const struct connection *asking);
/* Somebody else holds some of it, which comes back, or can be reclaimed soon. */
bool server_input_will_return(struct server *server, const struct connection *asking);
/* Its answers' memory was and is so much. */
void server_count_answers(struct server *server, size_t bytes_before, size_t bytes_now);
/* The answers take more memory than they may; who is stalled has a turn when they no longer do. */
bool server_answers_are_full(const struct server *server);
/* Bytes have come from it. */
void server_note_active(struct server *server, struct connection *connection);

/* Have connection->examination looked through; it gets a turn when the result is there. */
void server_examine(struct server *server, struct connection *connection);
/* The result, while the connection is AWAY_BACK; else NULL. */
const struct examiner_result *server_result(const struct server *server,
                                            const struct connection *connection);
/* Have done with result or wish; nothing while the examiner is at it. */
void server_forget_result(struct server *server, struct connection *connection);

/* It asked for "written" acks; `more` is 1, or -1 when it goes. */
void server_count_written(struct server *server, int more);
/* Give the connection a turn; a turn when there is room again; a look when the log moves on. */
void server_make_ready(struct server *server, struct connection *connection);
void server_stall(struct server *server, struct connection *connection);
void server_await_log(struct server *server, struct connection *connection);
/* Give it a turn when its socket takes more answers; no longer. */
void server_watch_room(struct server *server, const struct connection *connection, bool wanted);

/* Append the map of the status answer. */
struct buffer;
enum error_code server_write_status(struct server *server, struct buffer *map, struct error *error);

#endif
