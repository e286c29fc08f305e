#include "core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cut text that did not fit between two characters, not inside one. */
static void cut_whole_characters(char *text, size_t capacity)
{
    size_t length = strnlen(text, capacity);
    if (length + 1 < capacity)
        return;
    while (length > 0 && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
        length--;
    if (length > 0 && (unsigned char)text[length - 1] >= 0xc0)
        length--;
    text[length] = '\0';
}

/*
 * A text may quote what a stranger sent. Control characters would break the promise of one line,
 * and could steer the terminal that shows it.
 */
static void store_text(struct error *error, const char *text)
{
    size_t i = 0;
    for (; i + 1 < sizeof error->text && text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        error->text[i] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
    }
    error->text[i] = '\0';
    cut_whole_characters(error->text, sizeof error->text);
}

enum error_code error_set(struct error *error, enum error_code code, const char *format, ...)
{
    if (!error)
        return code;
    /* Formatted aside, because an argument may be the old text. */
    char text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    store_text(error, text);
    error->code = code;
    error->errno_value = 0;
    return code;
}

static enum error_code code_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERROR_NO_SPACE;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
        return ERROR_EXISTS;
    case ENOMEM:
        return ERROR_MEMORY;
    default:
        return ERROR_IO;
    }
}

enum error_code error_set_errno(struct error *error, int errno_value, const char *format, ...)
{
    enum error_code code = code_of_errno(errno_value);
    if (!error)
        return code;
    char text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char reason[128];
    error_set(error, code, "%s: %s", text, strerror_r(errno_value, reason, sizeof reason));
    error->errno_value = errno_value;
    return code;
}

bool error_is_of_device(const struct error *error)
{
    return error->errno_value == EIO || error->errno_value == EUCLEAN ||
           error->errno_value == EBADMSG;
}

enum error_code error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return ERROR_IO;
    char context[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    int errno_value = error->errno_value;
    error_set(error, error->code, "%s: %s", context, error->text);
    error->errno_value = errno_value;
    return error->code;
}

const char *error_name(enum error_code code)
{
    switch (code) {
    case OK:
        return "ok";
    case ERROR_INVALID:
        return "invalid";
    case ERROR_NOT_FOUND:
        return "not_found";
    case ERROR_EXISTS:
        return "exists";
    case ERROR_BUSY:
        return "busy";
    case ERROR_FULL:
        return "full";
    case ERROR_NO_SPACE:
        return "no_space";
    case ERROR_IO:
        return "io";
    case ERROR_DAMAGED:
        return "damaged";
    case ERROR_FOREIGN:
        return "foreign";
    case ERROR_VERSION:
        return "version";
    case ERROR_MEMORY:
        return "memory";
    case ERROR_CLOSED:
        return "closed";
    case ERROR_END:
        return "end";
    case ERROR_CONFLICT:
        return "conflict";
    }
    return "unknown";
}
