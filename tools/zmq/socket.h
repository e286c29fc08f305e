/*
 * tools/zmq/socket.h - the few calls of libzmq that both directions need, with our errors.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_SOCKET_H
#define DAYBOOK_TOOLS_ZMQ_SOCKET_H

#include <stdint.h>

#include "core/error.h"

/* For a call of libzmq that has just failed: as error_set_errno, with its own words. */
enum error_code socket_fail(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum error_code socket_set(void *socket, int option, int value, struct error *error);
/* ERROR_EXISTS: somebody else listens there. */
enum error_code socket_bind(void *socket, const char *address, struct error *error);
/* Accepts NULL. `linger_ms`: how long what was sent may still take to leave. */
void socket_close(void *socket, int linger_ms);

/*
 * Wait until there is something to read from the socket (may be NULL) or one of the descriptors
 * (negative ones are passed over), or the time is up.
 */
enum error_code socket_wait(void *socket, const int *fds, int fd_count, int64_t timeout_ns,
                            struct error *error);

#endif
