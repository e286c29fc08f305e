#include "segment/intent.h"

#include "core/file.h"
#include "segment/line.h"

static const char intent_name[] = "repair";

enum error_code segment_intent_load(int log_fd, struct segment_intent *intent_out,
                                    struct error *error)
{
    struct segment_intent intent = {.there = true};
    struct error why;
    enum error_code code =
        segment_line_load_readable(log_fd, intent_name, &intent.witness, &why);
    if (code == ERROR_NOT_FOUND)
        intent.there = false;
    else if (code == ERROR_DAMAGED)
        intent.damaged = true;
    else if (code)
        return error_set(error, code,
                         "%s: a repair of this log was begun and is not finished, and this file "
                         "tells how far the log had come; when it stays unreadable, empty it, and "
                         "repair with --accept-loss",
                         why.text);
    *intent_out = intent;
    return OK;
}

enum error_code segment_intent_check(int log_fd, struct error *error)
{
    struct segment_intent intent;
    enum error_code code = segment_intent_load(log_fd, &intent, error);
    if (code || !intent.there)
        return code;
    return error_set(error, ERROR_DAMAGED, "a repair of this log was begun and is not finished");
}

enum error_code segment_intent_store(int log_fd, uint64_t witness, struct error *error)
{
    return segment_line_store(log_fd, intent_name, witness, error);
}

enum error_code segment_intent_remove(int log_fd, struct error *error)
{
    enum error_code code = file_unlink(log_fd, intent_name, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    return file_sync_directory(log_fd, intent_name, error);
}
