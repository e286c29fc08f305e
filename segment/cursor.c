#include "segment/cursor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/file.h"
#include "core/identity.h"
#include "segment/cursor_file.h"

static const char new_name[] = ".new"; /* no cursor begins with a dot */

struct segment_cursor {
    char name[SEGMENT_CURSOR_NAME_BYTES_MAX + 1];
    int fd; /* locked as long as it is open */
    bool failed;
    uint8_t log_id[FORMAT_LOG_ID_PUBLIC_BYTES];
    struct segment_cursor_state state;
    struct segment_cursor_pending *pending; /* of a group: room for all that it can have */
    uint8_t *slot;                          /* room for one */
};

enum error_code segment_cursor_check_name(const char *name, size_t name_bytes, struct error *error)
{
    bool sound = name_bytes >= 1 && name_bytes <= SEGMENT_CURSOR_NAME_BYTES_MAX && name[0] != '.';
    for (size_t i = 0; sound && i < name_bytes; i++)
        sound = name[i] && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "_.-",
                                  name[i]);
    if (sound)
        return OK;
    int shown = name_bytes > SEGMENT_CURSOR_NAME_BYTES_MAX ? SEGMENT_CURSOR_NAME_BYTES_MAX
                                                           : (int)name_bytes;
    return error_set(error, ERROR_INVALID,
                     "'%.*s' cannot be a cursor's name: that has 1 to %d of A-Z a-z 0-9 _ . - and "
                     "does not begin with a dot",
                     shown, name, SEGMENT_CURSOR_NAME_BYTES_MAX);
}

static struct segment_cursor *allocate(const char *name, const uint8_t *log_id)
{
    struct segment_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor)
        return NULL;
    cursor->fd = -1;
    snprintf(cursor->name, sizeof cursor->name, "%s", name);
    memcpy(cursor->log_id, log_id, sizeof cursor->log_id);
    return cursor;
}

/* A single cursor needs little memory: a daemon may have many open. */
static enum error_code make_room(struct segment_cursor *cursor, enum segment_cursor_kind kind,
                                 struct error *error)
{
    cursor->slot = malloc(segment_cursor_slot_bytes(kind));
    if (cursor->slot && kind == CURSOR_SHARED)
        cursor->pending = calloc(SEGMENT_CURSOR_PENDING_MAX, sizeof *cursor->pending);
    if (!cursor->slot || (kind == CURSOR_SHARED && !cursor->pending))
        return error_set(error, ERROR_MEMORY, "no memory for the cursor '%s'", cursor->name);
    return OK;
}

/*
 * What a process that was killed has written and not synced is synced first: what counts from now
 * on must not go away again in a power cut.
 */
static enum error_code load(struct segment_cursor *cursor, struct error *error)
{
    struct segment_cursor_found found;
    enum segment_cursor_kind kind;
    enum error_code code = segment_cursor_find_kind(cursor->fd, cursor->name, &kind, error);
    if (!code)
        code = make_room(cursor, kind, error);
    if (!code)
        code = file_sync_data(cursor->fd, cursor->name, error);
    /* After a sync that has failed, here or in another process, only the cache may have it. */
    if (!code)
        file_drop_cache(cursor->fd, 0, CURSOR_SLOTS * segment_cursor_slot_bytes(kind));
    if (!code)
        code = segment_cursor_read_slots(cursor->fd, cursor->name, kind, cursor->slot,
                                         cursor->pending, &found, error);
    if (!code)
        code = segment_cursor_judge(cursor->name, &found, cursor->log_id, error);
    if (!code)
        cursor->state = found.state;
    return code;
}

enum error_code segment_cursor_open(int log_fd, const char *name, const uint8_t *log_id,
                                    struct segment_cursor **cursor_out, struct error *error)
{
    struct segment_subdirectory directory = {.fd = -1};
    enum error_code code = segment_cursor_check_name(name, strlen(name), error);
    if (code)
        return code;
    struct segment_cursor *cursor = allocate(name, log_id);
    if (!cursor)
        return error_set(error, ERROR_MEMORY, "no memory for the cursor '%s'", name);
    code = segment_subdirectory_open(log_fd, SEGMENT_CURSORS_DIRECTORY, false, &directory, error);
    if (code == ERROR_NOT_FOUND)
        code = segment_cursor_tell_missing(name, error);
    if (!code)
        code = segment_cursor_open_locked(directory.fd, name, &cursor->fd, error);
    if (!code)
        code = load(cursor, error);
    segment_subdirectory_close(&directory);
    if (code)
        segment_cursor_close(cursor);
    else
        *cursor_out = cursor;
    return code;
}

void segment_cursor_close(struct segment_cursor *cursor)
{
    if (!cursor)
        return;
    file_close(&cursor->fd);
    free(cursor->pending);
    free(cursor->slot);
    free(cursor);
}

const struct segment_cursor_state *segment_cursor_state(const struct segment_cursor *cursor)
{
    return &cursor->state;
}

const struct segment_cursor_pending *segment_cursor_pending(const struct segment_cursor *cursor)
{
    return cursor->pending;
}

static enum error_code write_slot(struct segment_cursor *cursor,
                                  const struct segment_cursor_state *state,
                                  const struct segment_cursor_pending *pending,
                                  struct error *error)
{
    size_t slot_bytes = segment_cursor_slot_bytes(state->kind);
    segment_cursor_slot_encode(state, pending, cursor->log_id, cursor->slot);
    return file_write(cursor->fd, cursor->name, cursor->slot, slot_bytes,
                      state->generation % CURSOR_SLOTS * slot_bytes, error);
}

/* The whole file under the name of a new one, synced. What a crash has left there goes first. */
static enum error_code write_new(struct segment_cursor *cursor,
                                 const struct segment_subdirectory *directory, struct error *error)
{
    enum error_code code = file_unlink(directory->fd, new_name, error);
    if (!code || code == ERROR_NOT_FOUND)
        code = file_open(directory->fd, new_name, FILE_CREATE, &cursor->fd, error);
    if (!code)
        file_keep_in_place(cursor->fd);
    /* Nobody else finds it by its name without its being locked already. */
    if (!code)
        code = segment_cursor_lock(cursor->fd, cursor->name, error);
    for (unsigned i = 0; !code && i < CURSOR_SLOTS; i++) {
        cursor->state.generation++;
        code = write_slot(cursor, &cursor->state, cursor->pending, error);
    }
    if (!code && !directory->is_ours)
        code = file_make_alike(cursor->fd, new_name, &directory->like, error);
    if (!code)
        code = file_sync_data(cursor->fd, new_name, error);
    return code;
}

static enum error_code check_absent(int directory_fd, const char *name, struct error *error)
{
    struct stat status;
    enum error_code code = file_status_at(directory_fd, name, &status, error);
    if (code == ERROR_NOT_FOUND)
        return OK;
    return code ? code
                : error_set(error, ERROR_EXISTS, "there is a cursor '%s' already", name);
}

static int count_name(void *context, const char *name)
{
    size_t *count = context;
    *count += segment_cursor_check_name(name, strlen(name), NULL) == OK;
    return 0;
}

static enum error_code check_count(int directory_fd, struct error *error)
{
    size_t count = 0;
    enum error_code code =
        file_list(directory_fd, SEGMENT_CURSORS_DIRECTORY, count_name, &count, error);
    if (code || count < SEGMENT_CURSORS_MAX)
        return code;
    return error_set(error, ERROR_FULL,
                     "there are %zu cursors in this log, as many as there may be; remove those "
                     "that nobody needs with 'daybook cursors NAME --remove'",
                     count);
}

/* The directory is locked against others who make one, so that nobody's file is renamed over. */
static enum error_code make(struct segment_cursor *cursor,
                            const struct segment_subdirectory *directory, struct error *error)
{
    enum error_code code = file_lock_directory(directory->fd, SEGMENT_CURSORS_DIRECTORY, error);
    if (code == ERROR_BUSY)
        return error_set(error, code,
                         "another process is making a cursor of this log just now; try again");
    if (!code)
        code = check_absent(directory->fd, cursor->name, error);
    if (!code)
        code = check_count(directory->fd, error);
    if (code)
        return code;
    code = write_new(cursor, directory, error);
    if (!code)
        code = file_rename(directory->fd, new_name, cursor->name, error);
    if (code)
        file_unlink(directory->fd, new_name, NULL);
    return code ? code : file_sync_directory(directory->fd, cursor->name, error);
}

enum error_code segment_cursor_create(int log_fd, const char *name, const uint8_t *log_id,
                                      enum segment_cursor_kind kind, uint64_t position,
                                      int64_t now_ns, struct segment_cursor **cursor_out,
                                      struct error *error)
{
    struct segment_subdirectory directory = {.fd = -1};
    uint8_t id[sizeof(uint64_t)];
    enum error_code code = segment_cursor_check_name(name, strlen(name), error);
    if (!code)
        code = identity_draw(id, sizeof id, error);
    if (code)
        return code;
    assert(position < EVENT_SEQUENCE_END);
    struct segment_cursor *cursor = allocate(name, log_id);
    if (!cursor)
        return error_set(error, ERROR_MEMORY, "no memory for the cursor '%s'", name);
    cursor->state = (struct segment_cursor_state){
        .kind = kind,
        .position = position,
        .needed = position + 1,
        .id = bytes_load64(id),
        .created_ns = now_ns,
        .committed_ns = now_ns,
    };
    code = make_room(cursor, kind, error);
    if (!code)
        code = segment_subdirectory_open(log_fd, SEGMENT_CURSORS_DIRECTORY, true, &directory,
                                         error);
    if (!code)
        code = make(cursor, &directory, error);
    segment_subdirectory_close(&directory);
    if (code)
        segment_cursor_close(cursor);
    else
        *cursor_out = cursor;
    return code;
}

static enum error_code store(struct segment_cursor *cursor,
                             const struct segment_cursor_state *state,
                             const struct segment_cursor_pending *pending, struct error *error)
{
    if (cursor->failed)
        return error_set(error, ERROR_IO,
                         "the cursor '%s' could not be stored before, and takes nothing more until "
                         "it is opened again",
                         cursor->name);
    enum error_code code = write_slot(cursor, state, pending, error);
    if (!code)
        code = file_sync_data(cursor->fd, cursor->name, error);
    cursor->failed = code != OK;
    return code;
}

enum error_code segment_cursor_store(struct segment_cursor *cursor,
                                     const struct segment_cursor_change *change,
                                     struct error *error)
{
    assert(change->pending_count <= SEGMENT_CURSOR_PENDING_MAX);
    struct segment_cursor_state state = cursor->state;
    state.generation++;
    state.position = change->position;
    state.hold_bytes = change->hold_bytes;
    state.committed_ns = change->committed_ns;
    state.letters = change->letters;
    state.pending_count = (uint32_t)change->pending_count;
    enum error_code code = store(cursor, &state, change->pending, error);
    if (code)
        return code;
    state.copy_lost = false;
    state.needed = change->pending_count ? change->pending[0].sequence : state.position + 1;
    cursor->state = state;
    if (change->pending_count)
        memmove(cursor->pending, change->pending,
                change->pending_count * sizeof cursor->pending[0]);
    return OK;
}

enum error_code segment_cursor_commit(struct segment_cursor *cursor, uint64_t position,
                                      int64_t now_ns, struct error *error)
{
    struct segment_cursor_change change = {
        .position = position,
        .hold_bytes = cursor->state.hold_bytes,
        .committed_ns = now_ns,
        .letters = cursor->state.letters,
        .pending = cursor->pending,
        .pending_count = cursor->state.pending_count,
    };
    return segment_cursor_store(cursor, &change, error);
}

enum error_code segment_cursor_remove(int log_fd, const char *name, struct error *error)
{
    struct segment_subdirectory directory = {.fd = -1};
    int fd = -1;
    enum error_code code = segment_cursor_check_name(name, strlen(name), error);
    if (code)
        return code;
    code = segment_subdirectory_open(log_fd, SEGMENT_CURSORS_DIRECTORY, false, &directory, error);
    if (code == ERROR_NOT_FOUND)
        code = segment_cursor_tell_missing(name, error);
    if (!code)
        code = segment_cursor_open_locked(directory.fd, name, &fd, error);
    if (!code)
        code = file_unlink(directory.fd, name, error);
    if (!code)
        code = file_sync_directory(directory.fd, name, error);
    file_close(&fd);
    segment_subdirectory_close(&directory);
    return code;
}

enum error_code segment_cursor_check_position(const char *name,
                                              const struct segment_cursor_state *state,
                                              uint64_t durable, struct error *error)
{
    if (state->position <= durable)
        return OK;
    return error_set(error, ERROR_DAMAGED,
                     "the cursor '%s' stands at %" PRIu64 " and the log ends with %" PRIu64
                     ": events were lost that a consumer had seen, or this is an older copy of the "
                     "log; 'daybook cursors --reset-to latest %s' sets it to the end",
                     name, state->position, durable, name);
}
