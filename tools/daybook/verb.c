#include "tools/daybook/verb.h"

#include <stdarg.h>
#include <stdio.h>

void verb_say(const char *verb, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    flockfile(stderr);
    fprintf(stderr, "daybook %s: ", verb);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(arguments);
}

int verb_fail(const char *verb, const struct error *error)
{
    verb_say(verb, "%s", error->text);
    return error->code == ERROR_DAMAGED ? STATUS_DAMAGE : STATUS_FAILURE;
}

int verb_fail_open(const char *verb, const char *directory, const struct error *error)
{
    if (error->code != ERROR_NOT_FOUND)
        return verb_fail(verb, error);
    verb_say(verb, "no log in '%s': start one with 'daybookd -D %s' or 'daybook pub -D %s'",
             directory, directory, directory);
    return STATUS_FAILURE;
}
