/*
 * tools/client/goodbye.h - a daemon's last words on a connection, and what they mean for us.
 */
#ifndef DAYBOOK_TOOLS_CLIENT_GOODBYE_H
#define DAYBOOK_TOOLS_CLIENT_GOODBYE_H

#include "tools/client/failure.h"
#include "tools/client/wire.h"

/*
 * An error frame, behind its type. DAYBOOK_UNREACHABLE: come back later; DAYBOOK_REPLACED,
 * DAYBOOK_INVALID, DAYBOOK_PROTOCOL: coming back would not help. `error` says why.
 */
enum daybook_code goodbye_read(struct msgpack_cursor cursor, uint32_t left,
                               struct daybook_error *error);

#endif
