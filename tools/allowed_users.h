/*
 * tools/allowed_users.h - who may publish, beyond what the socket's mode says.
 */
#ifndef DAYBOOK_TOOLS_ALLOWED_USERS_H
#define DAYBOOK_TOOLS_ALLOWED_USERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/error.h"

enum { ALLOWED_USERS_MAX = 64 };

struct allowed_users {
    uid_t uids[ALLOWED_USERS_MAX];
    int count; /* 0: everybody whom the socket's mode lets in */
};

/* Names or numbers, with commas between them. ERROR_INVALID names the one that is unknown. */
enum error_code allowed_users_parse(const char *list, struct allowed_users *users_out,
                                    struct error *error);
/* Root and the user of this process are always allowed. */
bool allowed_users_include(const struct allowed_users *users, uid_t uid);

#endif
