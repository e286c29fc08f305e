/*
 * segment/cursor.h - a consumer's named position in a log, durable: DIR/cursors/NAME.
 *
 * docs/format.md "Cursors" has the bytes. The file is made whole, with both of its copies, and
 * renamed to its name; from then on a store overwrites the older copy and syncs: it needs no room
 * on the disk and no directory, and whatever a crash leaves of it, the other copy is whole. The
 * valid copy with the higher generation counts. None valid is damage: it is told, never guessed.
 *
 * A cursor is *single*, for one consumer at a time: everything up to `position` is done. Or it is
 * *shared* by a group: everything up to `position` is done but for the events that are *pending*.
 *
 * It may hold retention: segments with events that are not done are kept, as long as those from the
 * first of them to the end of the log are not more than `hold_bytes`.
 *
 * Invariants
 *   - One process at a time has a cursor open, by a lock on the file. Looking needs no lock.
 *   - What a store has returned OK for survives a crash and a power loss.
 *   - After a store has failed the handle stores nothing more: the kernel may have dropped what it
 *     could not write. The file still has what was stored before.
 *
 * A handle is used by one thread at a time. Here nothing knows what a group is but its bytes.
 */
#ifndef DAYBOOK_SEGMENT_CURSOR_H
#define DAYBOOK_SEGMENT_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define SEGMENT_CURSORS_DIRECTORY "cursors"

enum {
    SEGMENT_CURSORS_MAX = 4096, /* of a log: so that whoever makes them by mistake is told */
    SEGMENT_CURSOR_NAME_BYTES_MAX = 64,
    SEGMENT_CURSOR_PENDING_MAX = 1024,
    SEGMENT_CURSOR_TRIES_MAX = 100,
};

enum segment_cursor_kind { CURSOR_SINGLE = 1, CURSOR_SHARED = 2 };

/* An event of a group that is not done although a later one may be. */
struct segment_cursor_pending {
    uint64_t sequence;
    /*
     * Not 0: its tries are used up, and this is the number of its dead letter, which may be in the
     * log already: appended again with the same number it is found to be a duplicate.
     */
    uint64_t letter;
    uint32_t tries; /* that have failed, or will have when nobody settles it */
};

struct segment_cursor_state {
    enum segment_cursor_kind kind;
    uint64_t position;   /* 0: nothing is done */
    uint64_t needed;     /* the first sequence that is not done: the first pending, or the next */
    uint64_t generation; /* counts the stores */
    uint64_t id;         /* random: a later cursor of the same name has another */
    uint64_t hold_bytes; /* 0: it holds nothing */
    int64_t created_ns;
    int64_t committed_ns; /* when the position was last stored */
    uint64_t letters;     /* of a group: how many dead letters were given a number */
    uint32_t pending_count;
    bool copy_lost; /* one of the two copies is torn or damaged: it may have been the newer one */
};

/* 1 to 64 of [A-Za-z0-9_.-], not beginning with a dot. ERROR_INVALID says so. */
enum error_code segment_cursor_check_name(const char *name, size_t name_bytes,
                                          struct error *error);

struct segment_cursor;

/*
 * Make a cursor and open it. `log_fd` is the log's directory, borrowed for the call; `log_id` the
 * log's identity, of which the public half is kept. The file gets the owner of the log's directory.
 * ERROR_EXISTS: there is one of this name. ERROR_BUSY: another process is making one just now.
 * ERROR_INVALID: the name. ERROR_FULL: there are SEGMENT_CURSORS_MAX.
 */
enum error_code segment_cursor_create(int log_fd, const char *name, const uint8_t *log_id,
                                      enum segment_cursor_kind kind, uint64_t position,
                                      int64_t now_ns, struct segment_cursor **cursor_out,
                                      struct error *error);
/*
 * Open a cursor for exclusive use, until it is closed. ERROR_NOT_FOUND; ERROR_BUSY: somebody uses
 * it, and the text says who where the kernel tells; ERROR_FOREIGN: it belongs to another log;
 * ERROR_DAMAGED: none of its copies is valid; ERROR_VERSION: a newer Daybook wrote it.
 */
enum error_code segment_cursor_open(int log_fd, const char *name, const uint8_t *log_id,
                                    struct segment_cursor **cursor_out, struct error *error);
/* For `--remove`: whatever it holds, damaged or not, as long as nobody uses it. Durable. */
enum error_code segment_cursor_remove(int log_fd, const char *name, struct error *error);
/* Accepts NULL. */
void segment_cursor_close(struct segment_cursor *cursor);

/* As of the last store. Valid until the next call on this handle. */
const struct segment_cursor_state *segment_cursor_state(const struct segment_cursor *cursor);
/* state->pending_count of them, ascending by sequence. */
const struct segment_cursor_pending *segment_cursor_pending(const struct segment_cursor *cursor);

/* What changes with a store. */
struct segment_cursor_change {
    uint64_t position;
    uint64_t hold_bytes;
    int64_t committed_ns;
    /* Of a group; all 0 and NULL for a single one. */
    uint64_t letters;
    const struct segment_cursor_pending *pending; /* ascending by sequence, none above position */
    size_t pending_count;
};
/* Durable on return. Any error: nothing more is stored by this handle, the file has what it had. */
enum error_code segment_cursor_store(struct segment_cursor *cursor,
                                     const struct segment_cursor_change *change,
                                     struct error *error);
/* The same for the position alone. */
enum error_code segment_cursor_commit(struct segment_cursor *cursor, uint64_t position,
                                      int64_t now_ns, struct error *error);

/* What anybody can see of a cursor that is perhaps in use. */
struct segment_cursor_look {
    struct segment_cursor_state state;
    bool in_use;
    int user_pid; /* 0: not known, or not in use */
    char user_name[17];
};
/* `log_id` NULL: of whatever log. Errors as of open, but never ERROR_BUSY. */
enum error_code segment_cursor_look(int log_fd, const char *name, const uint8_t *log_id,
                                    struct segment_cursor_look *look_out, struct error *error);

/*
 * Is what a cursor names in the log, whose last durable sequence is `durable`? ERROR_DAMAGED: the
 * log has lost events, or is another one's copy from before.
 */
enum error_code segment_cursor_check_position(const char *name,
                                              const struct segment_cursor_state *state,
                                              uint64_t durable, struct error *error);

#endif
