#include "tools/client/goodbye.h"

/* The codes of docs/protocol.md that coming back would not help. */
static enum daybook_code code_of(const struct wire_text *code)
{
    if (wire_text_is(code, "replaced") || wire_text_is(code, "taken"))
        return DAYBOOK_REPLACED;
    if (wire_text_is(code, "invalid"))
        return DAYBOOK_INVALID;
    static const char *const FATAL[] = {"malformed",   "too_large", "expected_hello", "version",
                                        "unsupported", "forbidden"};
    for (size_t i = 0; i < sizeof FATAL / sizeof *FATAL; i++)
        if (wire_text_is(code, FATAL[i]))
            return DAYBOOK_PROTOCOL;
    return DAYBOOK_UNREACHABLE;
}

enum daybook_code goodbye_read(struct msgpack_cursor cursor, uint32_t left,
                               struct daybook_error *error)
{
    struct wire_error goodbye;
    struct error why;
    if (wire_read_error(cursor, left, &goodbye, &why))
        return failure_set(error, DAYBOOK_PROTOCOL, "the daemon's answer makes no sense: %s",
                           why.text);
    return failure_set(error, code_of(&goodbye.code),
                       "the daemon closed the connection: %.*s: %.*s", (int)goodbye.code.bytes,
                       goodbye.code.text, (int)goodbye.text.bytes, goodbye.text.text);
}
