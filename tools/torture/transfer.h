/*
 * tools/torture/transfer.h - copy a directory of plain files from one table of system calls to the
 * kernel's, and delete it there.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_TRANSFER_H
#define DAYBOOK_TOOLS_TORTURE_TRANSFER_H

#include "core/error.h"
#include "core/file_calls.h"

/*
 * Make the directory `to` on the real disk, with everything in `from` as the calls see it.
 * ERROR_NOT_FOUND: there is no `from`.
 */
enum error_code torture_transfer_tree(const struct file_calls *calls, const char *from,
                                      const char *to, struct error *error);
/* Delete a real directory and all that is in it. */
enum error_code torture_transfer_delete(const char *path, struct error *error);

#endif
