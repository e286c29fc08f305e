#include "segment/cursor_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "segment/lock.h"

enum { LOCK_BYTE = 0 };

enum error_code segment_cursor_tell_missing(const char *name, struct error *error)
{
    return error_set(error, ERROR_NOT_FOUND,
                     "there is no cursor '%s'; 'daybook cursors' lists those that there are", name);
}

static enum error_code tell_busy(int fd, const char *name, struct error *error)
{
    int pid;
    char program[SEGMENT_LOCK_PROGRAM_SIZE], who[64] = "";
    if (segment_lock_find_holder(fd, &pid, program))
        snprintf(who, sizeof who, " (%s, pid %d)", program, pid);
    return error_set(error, ERROR_BUSY,
                     "the cursor '%s' is in use by another consumer%s: stop it first, or take "
                     "another name",
                     name, who);
}

enum error_code segment_cursor_lock(int fd, const char *name, struct error *error)
{
    enum error_code code = file_lock(fd, name, LOCK_BYTE, error);
    /* The other lock keeps nobody out: it tells who has the first. */
    if (!code)
        file_lock_directory(fd, name, NULL);
    return code == ERROR_BUSY ? tell_busy(fd, name, error) : code;
}

enum error_code segment_cursor_is_locked(int fd, const char *name, bool *locked_out,
                                         struct error *error)
{
    return file_is_locked(fd, name, LOCK_BYTE, locked_out, error);
}

/* One that was removed meanwhile is nobody's. */
enum error_code segment_cursor_open_locked(int directory_fd, const char *name, int *fd_out,
                                           struct error *error)
{
    for (int tries = 0; tries < CURSOR_FILE_TRIES_MAX; tries++) {
        int fd = -1;
        enum error_code code = file_open(directory_fd, name, FILE_WRITE, &fd, error);
        if (code == ERROR_NOT_FOUND)
            return segment_cursor_tell_missing(name, error);
        if (!code)
            code = segment_cursor_lock(fd, name, error);
        if (!code && file_is_named(fd, directory_fd, name)) {
            *fd_out = fd;
            return OK;
        }
        file_close(&fd);
        if (code)
            return code;
    }
    return error_set(error, ERROR_BUSY, "the cursor '%s' is replaced again and again by somebody",
                     name);
}

enum error_code segment_cursor_find_kind(int fd, const char *name,
                                         enum segment_cursor_kind *kind_out, struct error *error)
{
    uint64_t size;
    enum error_code code = file_size(fd, name, &size, error);
    if (code)
        return code;
    if (size == CURSOR_SLOTS * CURSOR_SLOT_SINGLE_BYTES)
        *kind_out = CURSOR_SINGLE;
    else if (size == CURSOR_SLOTS * CURSOR_SLOT_SHARED_BYTES)
        *kind_out = CURSOR_SHARED;
    else
        return error_set(error, ERROR_DAMAGED,
                         "the cursor '%s' is damaged: its file has %" PRIu64 " bytes, which no "
                         "cursor has; remove it with 'daybook cursors --remove %s'",
                         name, size, name);
    return OK;
}

/* Bytes that the device refuses are those of a damaged slot: the other one may be had. */
static enum error_code load_slot(int fd, const char *name, unsigned number, uint8_t *slot,
                                 size_t slot_bytes, struct error *error)
{
    struct error why = {0};
    enum error_code code = file_read(fd, name, slot, slot_bytes, number * slot_bytes, &why);
    if (code == ERROR_DAMAGED || (code == ERROR_IO && error_is_of_device(&why))) {
        memset(slot, 0, slot_bytes);
        code = OK;
    }
    return code ? error_set(error, code, "%s", why.text) : OK;
}

enum error_code segment_cursor_read_slots(int fd, const char *name, enum segment_cursor_kind kind,
                                          uint8_t *slot, struct segment_cursor_pending *pending_out,
                                          struct segment_cursor_found *found_out,
                                          struct error *error)
{
    struct segment_cursor_found found = {0};
    size_t slot_bytes = segment_cursor_slot_bytes(kind);
    unsigned valid = 0;
    for (unsigned pass = 0; pass < CURSOR_SLOTS; pass++) {
        struct segment_cursor_state state;
        uint8_t log_id[FORMAT_LOG_ID_PUBLIC_BYTES];
        enum error_code code = load_slot(fd, name, pass, slot, slot_bytes, error);
        if (code)
            return code;
        enum segment_format_verdict verdict =
            segment_cursor_slot_decode(slot, slot_bytes, &state, NULL, log_id);
        found.newer |= verdict == FORMAT_NEWER;
        if (verdict != FORMAT_VALID || state.generation % CURSOR_SLOTS != pass)
            continue;
        valid++;
        if (found.valid && state.generation < found.state.generation)
            continue;
        found.valid = true;
        found.state = state;
        memcpy(found.log_id, log_id, sizeof log_id);
        if (pending_out)
            segment_cursor_slot_decode(slot, slot_bytes, &state, pending_out, log_id);
    }
    found.state.copy_lost = valid < CURSOR_SLOTS;
    *found_out = found;
    return OK;
}

enum error_code segment_cursor_judge(const char *name, const struct segment_cursor_found *found,
                                     const uint8_t *log_id, struct error *error)
{
    if (found->newer)
        return error_set(error, ERROR_VERSION,
                         "the cursor '%s' was written by a newer Daybook; use that", name);
    if (!found->valid)
        return error_set(error, ERROR_DAMAGED,
                         "the cursor '%s' is damaged: neither of its two copies is valid, so "
                         "nobody knows how far it had come; remove it with 'daybook cursors "
                         "--remove %s', and let its consumer begin where you see fit",
                         name, name);
    if (log_id && memcmp(log_id, found->log_id, sizeof found->log_id) != 0)
        return error_set(error, ERROR_FOREIGN,
                         "the cursor '%s' belongs to another log, and its position means nothing "
                         "here; remove it with 'daybook cursors --remove %s'",
                         name, name);
    return OK;
}
