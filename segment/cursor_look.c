/* The part of segment/cursor.h that needs no lock. */
#include "segment/cursor.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/cursor_file.h"
#include "segment/lock.h"

/*
 * Without a lock: a slot that is being written is invalid for a moment, and by the time that the
 * other one is read it may be that one's turn.
 */
static enum error_code read_unlocked(int fd, const char *name,
                                     struct segment_cursor_found *found_out, struct error *error)
{
    enum segment_cursor_kind kind;
    enum error_code code = segment_cursor_find_kind(fd, name, &kind, error);
    if (code)
        return code;
    uint8_t *slot = malloc(segment_cursor_slot_bytes(kind));
    if (!slot)
        return error_set(error, ERROR_MEMORY, "no memory to look at the cursor '%s'", name);
    for (int tries = 0; tries < CURSOR_FILE_TRIES_MAX; tries++) {
        code = segment_cursor_read_slots(fd, name, kind, slot, NULL, found_out, error);
        if (code || (found_out->valid && !found_out->state.copy_lost) || found_out->newer)
            break;
    }
    free(slot);
    return code;
}

static enum error_code look_at(int place_fd, const char *name, const uint8_t *log_id,
                               struct segment_cursor_look *look_out, struct error *error)
{
    struct segment_cursor_look look = {0};
    struct segment_cursor_found found;
    int fd = -1;
    enum error_code code = file_open(place_fd, name, FILE_READ, &fd, error);
    if (code == ERROR_NOT_FOUND)
        return segment_cursor_tell_missing(name, error);
    if (code)
        return code;
    code = read_unlocked(fd, name, &found, error);
    if (!code)
        code = segment_cursor_judge(name, &found, log_id, error);
    if (!code)
        code = segment_cursor_is_locked(fd, name, &look.in_use, error);
    if (!code && look.in_use)
        segment_lock_find_holder(fd, &look.user_pid, look.user_name);
    file_close(&fd);
    look.state = found.state;
    if (!code)
        *look_out = look;
    return code;
}

enum error_code segment_cursor_look(int log_fd, const char *name, const uint8_t *log_id,
                                    struct segment_cursor_look *look_out, struct error *error)
{
    int place_fd = -1;
    enum error_code code = segment_cursor_check_name(name, strlen(name), error);
    if (code)
        return code;
    code = file_open_directory_to_read_at(log_fd, SEGMENT_CURSORS_DIRECTORY, &place_fd, error);
    if (code == ERROR_NOT_FOUND)
        return segment_cursor_tell_missing(name, error);
    if (!code)
        code = look_at(place_fd, name, log_id, look_out, error);
    file_close(&place_fd);
    return code;
}
