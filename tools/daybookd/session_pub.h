/*
 * tools/daybookd/session_pub.h - one pub of the framed protocol: its events into the log, and its
 * ack, as docs/protocol.md tells it.
 *
 * Internal to session.c, whose other half this is.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_SESSION_PUB_H
#define DAYBOOK_TOOLS_DAYBOOKD_SESSION_PUB_H

#include "tools/daybookd/connection.h"

/* `cursor` stands behind the frame's type, `left` elements follow. */
enum take session_take_pub(struct connection *connection, struct msgpack_cursor cursor,
                           uint32_t left);

#endif
