/*
 * tests/support/scratch.h - a directory of its own for each test, on a real disk.
 *
 * Below $TMPDIR, else /var/tmp (not /tmp, which may be memory). Removed when the test's process
 * ends.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_SCRATCH_H
#define DAYBOOK_TESTS_SUPPORT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The directory's path; made at the first call. */
const char *scratch_directory(void);
/*
 * A child process of a test, which dies when the test does. It must not use cr_assert_*: a failure
 * would wait for ever for an answer that goes to the parent. Returns 0 in the child.
 */
pid_t scratch_fork(void);
/* Is this process such a child? */
bool scratch_is_child(void);
/* A path below it, from a format as printf's; valid until the eighth call after this one. */
const char *scratch_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Change one byte of a file (XOR with `mask`). */
void scratch_flip(const char *path, uint64_t offset, uint8_t mask);
/* Overwrite a range by one value. */
void scratch_fill(const char *path, uint64_t offset, size_t size, uint8_t value);
/* Read a range. */
void scratch_read(const char *path, uint64_t offset, void *to, size_t size);
void scratch_write(const char *path, uint64_t offset, const void *bytes, size_t size);
/* Cut a file short. */
void scratch_cut(const char *path, uint64_t size);
void scratch_delete(const char *path);
uint64_t scratch_size(const char *path);
/* Copy a directory with everything in it (cp -a). */
void scratch_copy(const char *from, const char *to);

#endif
