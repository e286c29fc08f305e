#include "tools/allowed_users.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum error_code find_user(const char *name, uid_t *uid_out, struct error *error)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9' && *end == '\0' && !errno && number < (uid_t)-1) {
        *uid_out = (uid_t)number;
        return OK;
    }
    const struct passwd *user = getpwnam(name);
    if (!user)
        return error_set(error, ERROR_INVALID, "there is no user '%s'", name);
    *uid_out = user->pw_uid;
    return OK;
}

enum error_code allowed_users_parse(const char *list, struct allowed_users *users_out,
                                    struct error *error)
{
    struct allowed_users users = {0};
    char *copy = strdup(list);
    if (!copy)
        return error_set(error, ERROR_MEMORY, "no memory for a list of users");
    enum error_code code = OK;
    char *rest = copy;
    for (char *name; !code && (name = strsep(&rest, ",")) != NULL;) {
        name += strspn(name, " ");
        if (users.count == ALLOWED_USERS_MAX)
            code =
                error_set(error, ERROR_INVALID, "there are more than %d users", ALLOWED_USERS_MAX);
        else
            code = find_user(name, &users.uids[users.count], error);
        users.count++;
    }
    free(copy);
    if (!code)
        *users_out = users;
    return code;
}

bool allowed_users_include(const struct allowed_users *users, uid_t uid)
{
    if (users->count == 0 || uid == 0 || uid == geteuid())
        return true;
    for (int i = 0; i < users->count; i++)
        if (users->uids[i] == uid)
            return true;
    return false;
}
