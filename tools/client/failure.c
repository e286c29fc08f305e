#include "tools/client/failure.h"

#include <stdarg.h>
#include <stdio.h>

enum daybook_code failure_set(struct daybook_error *error, enum daybook_code code,
                              const char *format, ...)
{
    if (!error)
        return code;
    /* Formatted aside, because an argument may be the old text. */
    struct daybook_error made = {.code = code};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(made.text, sizeof made.text, format, arguments);
    va_end(arguments);
    *error = made;
    return code;
}

static enum daybook_code code_of(enum error_code code)
{
    switch (code) {
    case OK:
        return DAYBOOK_OK;
    case ERROR_INVALID:
    case ERROR_EXISTS:
    case ERROR_FULL:
        return DAYBOOK_INVALID;
    case ERROR_NOT_FOUND:
        return DAYBOOK_NOT_FOUND;
    case ERROR_NO_SPACE:
        return DAYBOOK_NO_SPACE;
    case ERROR_BUSY:
    case ERROR_CLOSED:
        return DAYBOOK_UNREACHABLE;
    case ERROR_DAMAGED:
        return DAYBOOK_DAMAGED;
    case ERROR_FOREIGN:
    case ERROR_VERSION:
        return DAYBOOK_FOREIGN;
    case ERROR_MEMORY:
        return DAYBOOK_MEMORY;
    case ERROR_END:
        return DAYBOOK_END;
    case ERROR_CONFLICT:
        return DAYBOOK_CONFLICT;
    case ERROR_IO:
        break;
    }
    return DAYBOOK_IO;
}

enum daybook_code failure_from(struct daybook_error *error, const struct error *cause)
{
    return failure_set(error, code_of(cause->code), "%s", cause->text);
}
