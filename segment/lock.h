/*
 * segment/lock.h - who may do what in a log's directory: byte locks on DIR/LOCK.
 *
 * Open file description locks (fcntl(2)): they die with their holder, survive an unrelated close in
 * the same process, and are held for life. There is no PID file and no override. The writer also
 * locks the directory itself: who deletes or replaces DIR/LOCK under it lets no second writer in.
 */
#ifndef DAYBOOK_SEGMENT_LOCK_H
#define DAYBOOK_SEGMENT_LOCK_H

#include "core/file.h"

enum segment_lock_role {
    LOCK_WRITER = 0,    /* appends to the log */
    LOCK_RETENTION = 1, /* deletes segments */
    LOCK_INDEXER = 2,   /* writes events.db */
    LOCK_PACKER = 3,    /* packs segments */
    LOCK_SCHEMAS = 4,   /* changes the schemas of topics */
    LOCK_FIELDS = 5,    /* changes the list of indexed fields */
};

/*
 * Take the role, without waiting: ERROR_BUSY names what holds it, a writer's process only where the
 * kernel's list of locks tells it. *fd_out keeps it until file_close, and the writer's `log_fd` has
 * to be closed, too, before the next one gets in. After locking, checks that the file is still the
 * one named DIR/LOCK.
 */
enum error_code segment_lock_take(int log_fd, enum segment_lock_role role, int *fd_out,
                                  struct error *error);
/* Does a live process hold the role? Through another descriptor than any of ours. */
enum error_code segment_lock_is_held(int log_fd, enum segment_lock_role role, bool *held_out,
                                     struct error *error);
/*
 * ERROR_BUSY: a live process writes to the log. The text names it as segment_lock_take's does, and
 * ends there: what to do about it depends on what the caller wants.
 */
enum error_code segment_lock_check_writer(int log_fd, struct error *error);

enum { SEGMENT_LOCK_PROGRAM_SIZE = 17 }; /* 15 bytes, a newline, NUL */
/*
 * Which other process has locked (file_lock_directory) this open file or directory? False: nobody,
 * or the kernel does not tell.
 */
bool segment_lock_find_holder(int fd, int *pid_out, char name_out[SEGMENT_LOCK_PROGRAM_SIZE]);

#endif
