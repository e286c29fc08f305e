/*
 * tools/client/link.h - one connection to a daemon: bytes out, frames in. It knows no events.
 *
 * Non-blocking; whoever waits says for how long. Zero-initialised with fd -1 is "not connected".
 */
#ifndef DAYBOOK_TOOLS_CLIENT_LINK_H
#define DAYBOOK_TOOLS_CLIENT_LINK_H

#include <stdbool.h>

#include "core/bytes.h"
#include "core/msgpack.h"

struct link {
    int fd;
    struct buffer input;
    size_t taken; /* bytes at the front of input that were given out as frames */
};

/*
 * Connect until `deadline_ns` (monotonic). ERROR_CLOSED: nobody listens there. ERROR_BUSY: somebody
 * does, but the queue stayed full. ERROR_INVALID: the path is too long.
 */
enum error_code link_open(struct link *link, const char *path, int64_t deadline_ns,
                          struct error *error);
void link_close(struct link *link);

/* Send what the socket takes now. ERROR_CLOSED: the connection is lost. */
enum error_code link_send(struct link *link, const void *data, size_t bytes, size_t *sent_out,
                          struct error *error);
/*
 * The next whole frame that has come, if any: a cursor over it, valid until the next call.
 * ERROR_END: none yet. ERROR_CLOSED: none, and none will come. ERROR_INVALID: it is too long.
 */
enum error_code link_receive(struct link *link, struct msgpack_cursor *frame_out,
                             struct error *error);
/*
 * Wait until the socket is readable (or writable, when `for_sending`), or `timeout_ms` have
 * passed.
 */
void link_wait(const struct link *link, bool for_sending, int timeout_ms);

#endif
