#include "segment/intent.h"

#include "core/file.h"
#include "segment/line.h"

static const char intent_name[] = "repair";

enum error_code segment_intent_load(int log_fd, bool *there_out, uint64_t *witness_out,
                                    struct error *error)
{
    *there_out = false;
    *witness_out = 0;
    enum error_code code = segment_line_load(log_fd, intent_name, witness_out, error);
    if (code == ERROR_NOT_FOUND)
        return OK;
    if (code && code != ERROR_DAMAGED)
        return code;
    *there_out = true;
    return OK;
}

enum error_code segment_intent_check(int log_fd, struct error *error)
{
    bool there;
    uint64_t witness;
    enum error_code code = segment_intent_load(log_fd, &there, &witness, error);
    if (code || !there)
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
