/*
 * tools/daybook/bench_scratch.h - the directory in which a benchmark writes, and its file system.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_SCRATCH_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_SCRATCH_H

#include <limits.h>
#include <stdint.h>

#include "core/error.h"

/*
 * Make a new directory inside `parent`, which must have `needed_bytes` free; path_out is absolute.
 * ERROR_NO_SPACE: it has less.
 */
enum error_code bench_scratch_create(const char *parent, uint64_t needed_bytes,
                                     char path_out[PATH_MAX], struct error *error);
/* Delete a directory with all that is in it. Best effort; one that is not there is fine. */
void bench_scratch_delete(const char *path);
/* "ext4", "xfs", …; the type's number in hexadecimal when we have no name for it. */
void bench_scratch_file_system(const char *path, char name_out[24]);

#endif
