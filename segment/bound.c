#include "segment/bound.h"

#include <inttypes.h>

#include "core/event.h"
#include "segment/ballast.h"
#include "segment/line.h"

static const char bound_name[] = SEGMENT_BOUND_NAME;

enum error_code segment_bound_look(int log_fd, uint64_t *sequence_out, struct error *error)
{
    uint64_t sequence = 1;
    enum error_code code = segment_line_load(log_fd, bound_name, &sequence, error);
    if (code == ERROR_NOT_FOUND)
        code = OK;
    else if (!code && sequence == 0)
        code = error_set(error, ERROR_DAMAGED, "'%s' is damaged: no event has the sequence 0",
                         bound_name);
    if (!code)
        *sequence_out = sequence;
    return code;
}

enum error_code segment_bound_load(int log_fd, uint64_t *sequence_out, struct error *error)
{
    struct error why;
    enum error_code code = segment_bound_look(log_fd, sequence_out, &why);
    if (code == ERROR_DAMAGED || code == ERROR_FOREIGN)
        return error_set(error, code, "%s; 'daybook verify --repair' restores it", why.text);
    return code ? error_set(error, code, "%s", why.text) : OK;
}

enum error_code segment_bound_store(int log_fd, uint64_t sequence, struct error *error)
{
    uint64_t present = 0;
    enum error_code code = segment_bound_load(log_fd, &present, error);
    if (code)
        return code;
    if (sequence > EVENT_SEQUENCE_END)
        return error_set(
            error, ERROR_INVALID,
            "the lower bound of a log cannot be %" PRIu64 ": no event has that sequence", sequence);
    if (sequence < present)
        return error_set(error, ERROR_INVALID,
                         "the lower bound of the log is %" PRIu64 " and cannot go back to %" PRIu64,
                         present, sequence);
    return sequence == present ? OK : segment_bound_restore(log_fd, sequence, error);
}

/*
 * Deleting segments is the way out of a full disk: it gets what was kept for it. As it is, because
 * of what is given back everybody may be the first to take some; and only where even that needs
 * room by giving it back.
 */
enum error_code segment_bound_restore(int log_fd, uint64_t sequence, struct error *error)
{
    enum error_code code = segment_line_store(log_fd, bound_name, sequence, error);
    if (code != ERROR_NO_SPACE)
        return code;
    struct error why;
    enum error_code spare =
        segment_line_store_by(log_fd, BALLAST_FILE_NAME, bound_name, sequence, &why);
    if (!spare)
        return OK;
    if (spare == ERROR_IO)
        return error_set(error, spare, "%s", why.text);
    if (spare == ERROR_NO_SPACE && segment_ballast_give_all(log_fd, NULL) == OK)
        code = segment_line_store(log_fd, bound_name, sequence, error);
    return code;
}
