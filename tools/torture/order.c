#include "tools/torture/order.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/bytes.h"
#include "segment/format.h"
#include "tools/torture/handles.h"

/* What a segment's file has of events, and what of it is certain. */
struct segment {
    bool by_map;         /* bytes come by stores, which no call tells */
    uint64_t parsed;     /* blocks are known up to here */
    uint64_t first;      /* the first event in it; 0: none yet */
    uint64_t block_end;  /* of the block that is being written … */
    uint64_t block_last; /* … and its last event */
    uint64_t written_to; /* … and how far its writes have returned */
    uint64_t returned;   /* last event whose write has returned */
    uint64_t covered;    /* last event that a later sync has covered */
    uint64_t named;      /* when it got its name; 0: not yet */
    bool name_synced;
};

/* A directory that was made and whose name may be lost. */
struct birth {
    ino_t parent;
    uint64_t at;
    bool synced;
};

enum { BIRTHS_MAX = 16 };

/* A table of calls has no place for a context, so there is one checker a process. */
static struct {
    pthread_mutex_t mutex;
    struct order_start start;
    struct handles handles;
    struct birth births[BIRTHS_MAX];
    size_t birth_count;
    uint64_t now;     /* counts renames and directories */
    uint64_t checked; /* the last sequence that was found in order */
    struct order_counts counts;
} checker = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct segment *segment_of(struct handles_file *file)
{
    if (!file->extra)
        file->extra = calloc(1, sizeof(struct segment));
    if (!file->extra)
        abort(); /* machinery of tests: without memory there is nothing to test */
    return file->extra;
}

static struct segment *segment_behind(int fd)
{
    struct handles_file *file = handles_file_of(&checker.handles, fd);
    return file && !file->is_directory ? segment_of(file) : NULL;
}

/* ---- Is it in order? With the mutex ---------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void violation(const char *format, ...)
{
    va_list arguments;

    if (checker.counts.violations++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(checker.counts.first_violation, sizeof checker.counts.first_violation, format,
              arguments);
    va_end(arguments);
}

/* The file in which the event stands, as far as its write has returned. */
static const struct handles_file *file_with(uint64_t sequence)
{
    for (size_t i = 0; i < checker.handles.file_count; i++) {
        const struct handles_file *file = checker.handles.files[i];
        const struct segment *segment = file->extra;
        if (segment && segment->first > 0 && segment->first <= sequence &&
            sequence <= segment->returned)
            return file;
    }
    return NULL;
}

static bool directories_are_synced(void)
{
    for (size_t i = 0; i < checker.birth_count; i++)
        if (!checker.births[i].synced)
            return false;
    return true;
}

/* Up to which event of the same file as `sequence` all is well. 0: it is not. */
static uint64_t check_from(uint64_t sequence)
{
    const struct handles_file *file = file_with(sequence);

    if (!file) {
        violation("event %" PRIu64 " is called durable before its write has returned", sequence);
        return 0;
    }
    const struct segment *segment = file->extra;
    if (segment->covered < sequence)
        violation("event %" PRIu64 " is called durable, and no fdatasync of '%s' that began after "
                  "its write has succeeded",
                  sequence, file->name);
    else if (!segment->named || !segment->name_synced)
        violation("event %" PRIu64 " is called durable before the name '%s' was synced", sequence,
                  file->name);
    else if (!directories_are_synced())
        violation("event %" PRIu64 " is called durable before the directories of the log were "
                  "synced",
                  sequence);
    else
        return segment->covered;
    return 0;
}

static void check(uint64_t sequence)
{
    while (checker.checked < sequence) {
        uint64_t good = check_from(checker.checked + 1);
        uint64_t last = good && good < sequence ? good : sequence;
        checker.counts.events += last - checker.checked;
        checker.checked = last;
    }
}

void order_check(uint64_t sequence)
{
    pthread_mutex_lock(&checker.mutex);
    check(sequence);
    pthread_mutex_unlock(&checker.mutex);
}

/* Each call begins here: with the mutex, and after a look at what the log says by now. */
static void enter(void)
{
    uint64_t durable = checker.start.durable(checker.start.context);
    pthread_mutex_lock(&checker.mutex);
    check(durable);
}

static void leave(void)
{
    pthread_mutex_unlock(&checker.mutex);
}

/* ---- What was written ------------------------------------------------------------------------ */

/* An events block that begins in these bytes. */
static bool block_at(const uint8_t *bytes, size_t size, uint64_t offset, struct segment *segment)
{
    if (size < FORMAT_BLOCK_HEADER_BYTES || memcmp(bytes, "DBLK", 4) != 0 ||
        bytes_load64(bytes + 24) != offset)
        return false;
    segment->block_end = offset + bytes_load32(bytes + 48);
    segment->block_last = 0;
    if (bytes[8] != FORMAT_BLOCK_EVENTS)
        return true;
    uint64_t first = bytes_load64(bytes + 32);
    if (segment->first == 0)
        segment->first = first;
    segment->block_last = first + bytes_load32(bytes + 40) - 1;
    return true;
}

static void note_written(struct segment *segment, const uint8_t *bytes, size_t size,
                         uint64_t offset)
{
    uint64_t end = offset + size;

    while (offset < end) {
        if (offset >= segment->block_end || offset < segment->written_to) {
            if (!block_at(bytes, size, offset, segment))
                return;
        } else if (offset != segment->written_to) {
            return;
        }
        uint64_t part = end < segment->block_end ? end : segment->block_end;
        bytes += part - offset;
        size -= (size_t)(part - offset);
        offset = segment->written_to = part;
        if (part == segment->block_end && segment->block_last > segment->returned)
            segment->returned = segment->block_last;
    }
}

/* Through a map: what stands in the file when a sync begins was stored before. */
static void note_stored(int fd, struct segment *segment)
{
    uint8_t bytes[FORMAT_BLOCK_HEADER_BYTES];

    if (segment->parsed == 0)
        segment->parsed = FORMAT_SEGMENT_HEADER_BYTES;
    while (checker.start.inner->read(fd, bytes, sizeof bytes, (off_t)segment->parsed) ==
               (ssize_t)sizeof bytes &&
           block_at(bytes, sizeof bytes, segment->parsed, segment)) {
        if (segment->block_last > segment->returned)
            segment->returned = segment->block_last;
        segment->parsed = segment->block_end;
    }
}

/* ---- The calls ------------------------------------------------------------------------------- */

static int ordered_open(int directory_fd, const char *path, int flags, mode_t mode)
{
    struct stat status;

    enter();
    leave();
    int fd = checker.start.inner->open(directory_fd, path, flags, mode);
    if (fd < 0 || checker.start.inner->status(fd, &status))
        return fd;
    pthread_mutex_lock(&checker.mutex);
    handles_opened(&checker.handles, fd, directory_fd, path, flags, &status);
    leave();
    return fd;
}

static int ordered_close(int fd)
{
    enter();
    handles_closed(&checker.handles, fd);
    leave();
    return checker.start.inner->close(fd);
}

static ssize_t ordered_write(int fd, const void *data, size_t size, off_t offset)
{
    enter();
    leave();
    ssize_t written = checker.start.inner->write(fd, data, size, offset);
    pthread_mutex_lock(&checker.mutex);
    struct segment *segment = segment_behind(fd);
    if (segment && written > 0)
        note_written(segment, data, (size_t)written, (uint64_t)offset);
    leave();
    return written;
}

static int ordered_sync_data(int fd)
{
    enter();
    struct segment *segment = segment_behind(fd);
    if (segment && segment->by_map)
        note_stored(fd, segment);
    uint64_t before = segment ? segment->returned : 0;
    leave();
    int result = checker.start.inner->sync_data(fd);
    pthread_mutex_lock(&checker.mutex);
    checker.counts.syncs++;
    if (result == 0 && segment && segment->covered < before)
        segment->covered = before;
    leave();
    return result;
}

static void directory_was_synced(ino_t directory, uint64_t began)
{
    for (size_t i = 0; i < checker.handles.file_count; i++) {
        struct handles_file *file = checker.handles.files[i];
        struct segment *segment = file->extra;
        if (segment && file->directory == directory && segment->named && segment->named <= began)
            segment->name_synced = true;
    }
    for (size_t i = 0; i < checker.birth_count; i++)
        if (checker.births[i].parent == directory && checker.births[i].at <= began)
            checker.births[i].synced = true;
}

static int ordered_sync(int fd)
{
    enter();
    const struct handles_file *directory = handles_file_of(&checker.handles, fd);
    uint64_t began = checker.now;
    leave();
    int result = checker.start.inner->sync(fd);
    pthread_mutex_lock(&checker.mutex);
    if (result == 0 && directory)
        directory_was_synced(directory->inode, began);
    leave();
    return result;
}

static int ordered_rename(int directory_fd, const char *from, const char *to)
{
    enter();
    leave();
    int result = checker.start.inner->rename(directory_fd, from, to);
    pthread_mutex_lock(&checker.mutex);
    if (result == 0) {
        handles_renamed(&checker.handles, directory_fd, from, to);
        struct handles_file *file = handles_named(&checker.handles, directory_fd, to);
        if (file) {
            struct segment *segment = segment_of(file);
            segment->named = ++checker.now;
            segment->name_synced = false;
            checker.counts.segments++;
        }
    }
    leave();
    return result;
}

static int ordered_unlink(int directory_fd, const char *name)
{
    enter();
    leave();
    int result = checker.start.inner->unlink(directory_fd, name);
    pthread_mutex_lock(&checker.mutex);
    if (result == 0)
        handles_unlinked(&checker.handles, directory_fd, name);
    leave();
    return result;
}

static int ordered_make_directory(int directory_fd, const char *name, mode_t mode)
{
    enter();
    leave();
    int result = checker.start.inner->make_directory(directory_fd, name, mode);
    pthread_mutex_lock(&checker.mutex);
    const struct handles_file *parent = handles_file_of(&checker.handles, directory_fd);
    if (result == 0 && parent && checker.birth_count < BIRTHS_MAX)
        checker.births[checker.birth_count++] = (struct birth){parent->inode, ++checker.now, false};
    leave();
    return result;
}

static void *ordered_map(size_t size, int protection, int fd)
{
    enter();
    struct segment *segment = segment_behind(fd);
    if (segment && (protection & PROT_WRITE))
        segment->by_map = true;
    leave();
    return checker.start.inner->map(size, protection, fd);
}

/* ---- From outside ---------------------------------------------------------------------------- */

/* What is not watched goes to the inner table itself. */
static struct file_calls ordered_calls;

const struct file_calls *order_start(const struct order_start *start)
{
    checker.start = *start;
    checker.handles = (struct handles){.free_extra = free};
    checker.birth_count = 0;
    checker.now = checker.checked = 0;
    checker.counts = (struct order_counts){0};

    ordered_calls = *start->inner;
    ordered_calls.open = ordered_open;
    ordered_calls.close = ordered_close;
    ordered_calls.write = ordered_write;
    ordered_calls.sync_data = ordered_sync_data;
    ordered_calls.sync = ordered_sync;
    ordered_calls.rename = ordered_rename;
    ordered_calls.unlink = ordered_unlink;
    ordered_calls.make_directory = ordered_make_directory;
    ordered_calls.map = ordered_map;
    return &ordered_calls;
}

void order_stop(void)
{
    handles_release(&checker.handles);
}

void order_count(struct order_counts *counts_out)
{
    pthread_mutex_lock(&checker.mutex);
    *counts_out = checker.counts;
    pthread_mutex_unlock(&checker.mutex);
}
