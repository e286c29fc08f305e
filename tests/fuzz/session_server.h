/*
 * tests/fuzz/session_server.h - what the daemon's connections see of a server and of a log, made of
 * a few variables, so that a run is short, alone in its thread, and the same each time.
 *
 * It defines the functions of tools/daybookd/server.h and those of segment/log.h that connections
 * and the intake call, in place of the real ones.
 */
#ifndef DAYBOOK_TESTS_FUZZ_SESSION_SERVER_H
#define DAYBOOK_TESTS_FUZZ_SESSION_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct connection;

enum { SESSION_EVENTS_MAX = 65536 };

/* The log's side. */
struct session_log {
    bool lags;                  /* durable moves with session_log_step only, else at once */
    uint64_t room;              /* this many events may wait; 0: any number */
    uint64_t fails_at;          /* the append with this number fails, 0: none … */
    enum error_code fails_with; /* … so */
    uint64_t appends;
    uint64_t appended;
    uint64_t durable;
    uint32_t checksum; /* over all that was appended */
};

/* Begin anew, with no connection. */
void session_server_reset(const struct session_log *log);
struct session_log *session_server_log(void);
/* Everything appended is durable now; whoever waited for it gets a turn. */
void session_log_step(void);
/* A client connects with this end of a socket. */
struct connection *session_server_connect(int fd);
/* Give turns until nobody has anything to do. */
void session_server_run(void);
/* Is the connection still there? */
bool session_server_has(const struct connection *connection);
void session_server_pass_time(int64_t ns);
/* Free all connections; nothing may be held then. */
void session_server_end(void);

#endif
