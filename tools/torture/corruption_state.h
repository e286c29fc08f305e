/*
 * tools/torture/corruption_state.h - a specimen's files while they are damaged: in memory and on
 * the disk.
 *
 * Changes are made in memory, put onto the disk at once, and later taken back. This is the outside
 * world: it writes with the kernel's own calls, past everything that guards the log.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_STATE_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_STATE_H

#include "tools/torture/corruption_specimen.h"

/* The specimen's files, and one that was not there. */
enum { CORRUPTION_STATE_FILES = CORRUPTION_SEGMENTS_MAX + 2 };

struct corruption_state_file {
    char name[48];        /* as it is to be; empty: not there */
    char name_before[48]; /* as it is on the disk */
    struct buffer bytes;
    bool changed; /* in [from, to), or as a whole */
    bool whole;
    uint64_t from, to;
};

struct corruption_state {
    const struct corruption_specimen *specimen; /* borrowed */
    int log_fd, segments_fd;
    struct corruption_state_file files[CORRUPTION_STATE_FILES];
    size_t file_count; /* with the one that was not there */
};

/* The specimen was just made in `path`. */
enum error_code corruption_state_open(const char *path, const struct corruption_specimen *specimen,
                                      struct corruption_state *state_out, struct error *error);
void corruption_state_close(struct corruption_state *state);

/* Changes in memory. The range lies within the file. */
void corruption_state_write(struct corruption_state *state, size_t file, uint64_t offset,
                            const void *data, size_t size);
/* Other contents, of any size. */
enum error_code corruption_state_replace(struct corruption_state *state, size_t file,
                                         const void *data, size_t size, struct error *error);
/* Another name; "" removes the file. */
void corruption_state_rename(struct corruption_state *state, size_t file, const char *name);

/* Onto the disk. */
enum error_code corruption_state_put(struct corruption_state *state, struct error *error);
/*
 * Everything as it was, in memory and on the disk, and away with all that the log's own programs
 * have made. `written`: a writer had the log, so that its last segment is another now.
 */
enum error_code corruption_state_restore(struct corruption_state *state, bool written,
                                         struct error *error);

/* Is the range of the file, under its own name, as it was? */
bool corruption_state_is_intact(const struct corruption_state *state, size_t file, uint64_t offset,
                                uint64_t size);
/* Does any byte of any segment differ from what it was? */
bool corruption_state_differs(const struct corruption_state *state);

#endif
