/*
 * core/file.h - the system calls that touch the disk, checked; the only place that makes them,
 * through the table of core/file_calls.h.
 *
 * Everything is relative to a directory's descriptor, close-on-exec, never follows a symbolic link.
 * Short writes are continued; EINTR on reads and writes is retried, on fdatasync it is an error
 * like any other: after a failed sync nobody knows what is on the disk, and a second sync that
 * succeeds proves nothing (fsyncgate, 2018). `name` appears in the error text.
 */
#ifndef DAYBOOK_CORE_FILE_H
#define DAYBOOK_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/error.h"

/* Put /dev/null behind 0, 1 and 2 where they are closed, so that no data file ever gets them. */
enum error_code file_guard_standard_streams(struct error *error);

/*
 * Open the directory `path` (ERROR_FOREIGN: it is not a directory of ours, or others may write to
 * it; ERROR_NOT_FOUND). With `create` it is made, mode 0750, when it is missing, and its parent is
 * synced.
 */
enum error_code file_open_directory(const char *path, bool create, int *fd_out,
                                    struct error *error);
/* The same below `directory_fd`. */
enum error_code file_open_directory_at(int directory_fd, const char *name, bool create, int *fd_out,
                                       struct error *error);
/* To read only: the directory may belong to somebody else, and others may write to it. */
enum error_code file_open_directory_to_read(const char *path, int *fd_out, struct error *error);
enum error_code file_open_directory_to_read_at(int directory_fd, const char *name, int *fd_out,
                                               struct error *error);
/*
 * Call `visit` with each name in a directory, but for "." and "..", until it returns a positive
 * number. `name` is the directory's, for the error.
 */
enum error_code file_list(int directory_fd, const char *name,
                          int (*visit)(void *context, const char *name), void *context,
                          struct error *error);
/*
 * Refuse network file systems, where neither locks nor syncs hold what we promise:
 * NFS, CIFS, SMB, 9p and the like. FUSE is allowed.
 */
enum error_code file_check_local(int directory_fd, const char *path, struct error *error);

enum file_mode { FILE_READ, FILE_WRITE, FILE_CREATE /* exclusive: ERROR_EXISTS */ };
/*
 * Open a regular file, else ERROR_FOREIGN; to write, it must also belong to us and have one name.
 * FILE_CREATE makes it, mode 0640.
 */
enum error_code file_open(int directory_fd, const char *name, enum file_mode mode, int *fd_out,
                          struct error *error);
/*
 * Open a regular file to read what is on the disk, past the page cache (O_DIRECT: address, offset
 * and length of reads must be multiples of 4096). Where the file system cannot, reads are ordinary.
 */
enum error_code file_open_uncached(int directory_fd, const char *name, int *fd_out,
                                   struct error *error);
/* Close and set to -1; accepts -1. Close errors mean nothing after a sync and are not reported. */
void file_close(int *fd);

/* Is this open file the one that now has the name? False also when the name is gone. */
bool file_is_named(int fd, int directory_fd, const char *name);
enum error_code file_status(int fd, const char *name, struct stat *status_out, struct error *error);
/* Of the name itself, never of what a symbolic link points to. ERROR_NOT_FOUND. */
enum error_code file_status_at(int directory_fd, const char *name, struct stat *status_out,
                               struct error *error);
enum error_code file_size(int fd, const char *name, uint64_t *size_out, struct error *error);
/* Read exactly `size` bytes; an early end is ERROR_DAMAGED. */
enum error_code file_read(int fd, const char *name, void *data, size_t size, uint64_t offset,
                          struct error *error);
enum error_code file_write(int fd, const char *name, const void *data, size_t size, uint64_t offset,
                           struct error *error);
/* The kernel knows no offset beyond INT64_MAX, and would call a larger one negative. */
enum error_code file_check_range(const char *name, uint64_t offset, uint64_t size,
                                 struct error *error);
enum error_code file_sync_data(int fd, const char *name, struct error *error); /* fdatasync */
enum error_code file_sync_directory(int fd, const char *name, struct error *error);
/*
 * Give a new file the owner, group and mode of `like`, whose place it will take: who could read
 * that can read this, whoever made it.
 */
enum error_code file_make_alike(int fd, const char *name, const struct stat *like,
                                struct error *error);
enum error_code file_rename(int directory_fd, const char *from, const char *to,
                            struct error *error);
/* ERROR_NOT_FOUND when it was not there. */
enum error_code file_unlink(int directory_fd, const char *name, struct error *error);

/*
 * Make `name` (exclusive) hold `size` zero bytes that are allocated and written, sync it, and drop
 * it from the page cache: commits into such a file need no metadata and are twice as fast
 * (docs/decisions/). Removes the file again when it fails. Returns the descriptor. The directory is
 * not synced.
 */
enum error_code file_create_zeroed(int directory_fd, const char *name, uint64_t size, int *fd_out,
                                   struct error *error);
/*
 * On btrfs: ask for an empty file, or for all files that a directory is yet to get, that blocks
 * stay where they are when they are overwritten. Else each commit needs new ones, zeros written
 * ahead reserve nothing, and a full disk is a SIGBUS for whoever has the index's shared memory
 * mapped.
 */
void file_keep_in_place(int fd);
/* Make `name` (exclusive) claim `size` bytes of the disk, whatever they hold. Not synced. */
enum error_code file_claim(int directory_fd, const char *name, uint64_t size, struct error *error);
/* Make `name`, which is there, claim `size` bytes. Where that fails it keeps what it had. */
enum error_code file_claim_more(int directory_fd, const char *name, uint64_t size,
                                struct error *error);
/* Cut `name` to `size` bytes, to give the rest back. For files that nobody maps. */
enum error_code file_shrink(int directory_fd, const char *name, uint64_t size, struct error *error);

struct file_space {
    uint64_t total_bytes; /* 0: the file system does not tell */
    uint64_t free_bytes;  /* for us */
};
/* The room on the file system of `fd`; quotas do not show here. */
enum error_code file_space(int fd, const char *name, struct file_space *space_out,
                           struct error *error);
/*
 * ERROR_INVALID on file systems that write every change to a new place (btrfs, ZFS and the like):
 * there a store through a map needs room, and a full disk is a SIGBUS.
 */
enum error_code file_check_overwrites(int directory_fd, const char *path, struct error *error);

/* Write zeros over [offset, offset + size). */
enum error_code file_zero(int fd, const char *name, uint64_t offset, uint64_t size,
                          struct error *error);
/* Forget cached pages of the range, so that the next read comes from the disk. Best effort. */
void file_drop_cache(int fd, uint64_t offset, uint64_t size);
/* Begin to read the range into the cache; does not wait. Best effort. */
void file_read_soon(int fd, uint64_t offset, uint64_t size);

/*
 * Replace `name` by `data` so that after a crash it is either whole old or whole new: temporary
 * file, sync, rename, directory sync.
 */
enum error_code file_replace(int directory_fd, const char *name, const void *data, size_t size,
                             struct error *error);
/* The same, and it has the owner, group and mode of `like` (NULL: ours) before it has the name. */
enum error_code file_replace_alike(int directory_fd, const char *name, const void *data,
                                   size_t size, const struct stat *like, struct error *error);
/*
 * The same on a full disk: `spare`, a file that claims at least as much, is written over and takes
 * the name, so that nobody else can take the room. ERROR_NOT_FOUND: there is no spare. After any
 * other error the spare may have lost its room.
 */
enum error_code file_replace_by(int directory_fd, const char *spare, const char *name,
                                const void *data, size_t size, struct error *error);
/* Append a whole small file to `buffer`; more than `size_max` bytes is ERROR_DAMAGED. */
struct buffer;
enum error_code file_load(int directory_fd, const char *name, size_t size_max,
                          struct buffer *buffer, struct error *error);

/*
 * Lock one byte of an open file against every other process and every other descriptor (open file
 * description lock: not lost when somebody else in this process closes the file; fcntl(2)).
 * Never waits: ERROR_BUSY. Held until the descriptor is closed.
 */
enum error_code file_lock(int fd, const char *name, uint64_t byte, struct error *error);
/*
 * Lock an open directory against everybody who does the same through a descriptor of his own; held
 * until it is closed. Nobody can replace it, as he can a lock file, without taking everything in it
 * away. Never waits: ERROR_BUSY.
 */
enum error_code file_lock_directory(int fd, const char *name, struct error *error);
/* Is the byte locked by somebody through another descriptor? */
enum error_code file_is_locked(int fd, const char *name, uint64_t byte, bool *locked_out,
                               struct error *error);

/*
 * A read-only shared map of a whole file, for reading while others write.
 * A page that cannot be read (disk error, file cut short by a stranger) raises SIGBUS at
 * the access, so bytes leave a map only through file_map_copy, which is safe in two ways:
 * a program that has called file_map_guard() gets an error instead of the signal; everybody else is
 * served by pread, which needs no signal handler (a library must not install one in a stranger's
 * process).
 */
struct file_map {
    int fd;            /* owned */
    const void *bytes; /* NULL when size is 0 */
    uint64_t size;
};
enum error_code file_map_open(int directory_fd, const char *name, struct file_map *map_out,
                              struct error *error);
enum error_code file_map_copy(const struct file_map *map, const char *name, uint64_t offset,
                              void *to, size_t size, struct error *error);
/* Tell the kernel that the pages before `offset` are no longer needed by this process. */
void file_map_release_before(const struct file_map *map, uint64_t offset);
void file_map_close(struct file_map *map);
/*
 * A shared map of the first `size` bytes of a file for direct loads and, when `writable`, stores.
 * They must all be allocated and written already, else a full disk would be a SIGBUS. For the
 * writer with write_path = mmap, and for the watermark's page. Borrows `fd`.
 */
enum error_code file_map_shared(int fd, const char *name, uint64_t size, bool writable,
                                uint8_t **map_out, struct error *error);
void file_unmap_shared(uint8_t *map, uint64_t size);
/*
 * Run `touch`, which loads from or stores to a map. False: a page of it could not be had (disk
 * error, full disk, file cut short by a stranger), and `touch` ended there. In a program that has
 * not called file_map_guard() the signal stays fatal. `touch` holds nothing and calls nothing that
 * does.
 */
bool file_map_try(void (*touch)(void *context), void *context);

/* For main(): install the process's SIGBUS handler for file_map_copy and file_map_try. Other
 * SIGBUSes stay fatal. */
enum error_code file_map_guard(struct error *error);

#endif
