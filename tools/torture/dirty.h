/*
 * tools/torture/dirty.h - what a file has that its disk has not: pages that a failed sync loses.
 *
 * For simulated files the disk itself knows (torture_disk_lose_dirty_pages). For the kernel's files
 * it is imitated: a copy of the bytes as of the last successful sync, which is put back. Small
 * files only. Internal to tools/torture/faults.c; every function runs under its mutex.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_DIRTY_H
#define DAYBOOK_TOOLS_TORTURE_DIRTY_H

#include "core/file_calls.h"
#include "tools/torture/handles.h"

/* `file` was opened. What it holds when it is first seen counts as synced; a new file's nothing. */
void dirty_opened(const struct file_calls *inner, int fd, int flags, struct handles_file *file);
/* A sync of it has succeeded: what it holds now is on the disk, unless it was lost before. */
void dirty_synced(const struct file_calls *inner, int fd, struct handles_file *file);
/* Take away what the disk has not: now, or with `keep_cache` when the page cache is dropped. */
void dirty_lose(const struct file_calls *inner, int fd, struct handles_file *file, bool keep_cache);
void dirty_cache_dropped(const struct file_calls *inner, int fd, struct handles_file *file);
/* What it holds beyond the disk will be lost, and its next sync will tell. */
void dirty_doom(struct handles_file *file);
bool dirty_is_doomed(const struct handles_file *file);
void dirty_free(void *extra);

#endif
