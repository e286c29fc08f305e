#include "segment/quarantine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/file.h"
#include "segment/window.h"

enum { COPY_BYTES = 1 << 20, PIECE_BYTES = 4096, NAMES_MAX = 1000 };

/* A copy gets its final name when it is whole, so that a crash leaves no half of one under it. */
static const char unfinished_name[] = "unfinished.tmp";

static enum error_code create_copy(int directory_fd, const char *segment_name, uint64_t offset,
                                   char *name_out, size_t name_size, int *fd_out,
                                   struct error *error)
{
    enum error_code code = ERROR_EXISTS;

    for (int i = 0; code == ERROR_EXISTS && i < NAMES_MAX; i++) {
        if (i == 0)
            snprintf(name_out, name_size, "%.20s-%" PRIu64 ".bytes", segment_name, offset);
        else
            snprintf(name_out, name_size, "%.20s-%" PRIu64 "-%d.bytes", segment_name, offset, i);
        code = file_open(directory_fd, name_out, FILE_CREATE, fd_out, error);
    }
    return code;
}

static enum error_code copy(int from, const struct segment_set_segment *segment, uint64_t offset,
                            uint64_t end, int to, const char *to_name, struct error *error)
{
    struct segment_window *window = NULL;
    enum error_code code =
        segment_window_create(from, segment->name, segment->size_bytes, &window, error);

    for (uint64_t at = offset; !code && at < end;) {
        size_t size = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        const uint8_t *bytes;
        code = segment_window_get(window, at, size, &bytes, error);
        if (!code)
            code = file_write(to, to_name, bytes, size, at - offset, error);
        at += size;
    }
    segment_window_free(window);
    return code;
}

enum error_code segment_quarantine_holds(int log_fd, const char *name, bool *holds_out,
                                         struct error *error)
{
    struct stat status;
    int directory_fd = -1;
    enum error_code code =
        file_open_directory_to_read_at(log_fd, "quarantine", &directory_fd, error);
    if (!code)
        code = file_status_at(directory_fd, name, &status, error);
    file_close(&directory_fd);
    *holds_out = code == OK;
    return code == ERROR_NOT_FOUND ? OK : code;
}

enum error_code segment_quarantine_find(int log_fd, const char *segment_name,
                                        uint64_t offset_first, bool *found_out, char *name_out,
                                        size_t name_size, struct error *error)
{
    char name[64];

    snprintf(name, sizeof name, "%.20s-%" PRIu64 ".bytes", segment_name, offset_first);
    enum error_code code = segment_quarantine_holds(log_fd, name, found_out, error);
    if (!code && *found_out)
        snprintf(name_out, name_size, "%s", name);
    return code;
}

enum error_code segment_quarantine_keep(int log_fd, int fd,
                                        const struct segment_set_segment *segment,
                                        uint64_t offset_first, uint64_t offset_end, char *name_out,
                                        size_t name_size, struct error *error)
{
    int directory_fd = -1, copy_fd = -1;
    enum error_code code = file_open_directory_at(log_fd, "quarantine", true, &directory_fd, error);

    if (!code)
        code = create_copy(directory_fd, segment->name, offset_first, name_out, name_size, &copy_fd,
                           error);
    if (!code)
        code = copy(fd, segment, offset_first, offset_end, copy_fd, name_out, error);
    if (!code)
        code = file_sync_data(copy_fd, name_out, error);
    if (!code)
        code = file_sync_directory(directory_fd, "quarantine", error);
    if (code && copy_fd >= 0) /* half a copy must not keep the room that is missing */
        file_unlink(directory_fd, name_out, NULL);
    file_close(&copy_fd);
    file_close(&directory_fd);
    return code ? error_prefix(error, "keep damaged bytes of segment %s", segment->name) : OK;
}

/* Read what can be read; zeros stand for the rest. */
static enum error_code read_or_zero(int fd, const char *name, uint8_t *to, size_t size,
                                    uint64_t offset, struct error *error)
{
    enum error_code code = file_read(fd, name, to, size, offset, error);
    for (size_t at = 0; code == ERROR_IO && at < size; at += PIECE_BYTES) {
        size_t piece = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
        if (file_read(fd, name, to + at, piece, offset + at, NULL))
            memset(to + at, 0, piece);
    }
    return code == ERROR_IO ? OK : code;
}

/* What to do with each mebibyte of the original; `other` has room for as much. */
typedef enum error_code (*piece_action)(int copy_fd, uint8_t *original, uint8_t *other, size_t size,
                                        uint64_t offset, struct error *error);

static enum error_code write_piece(int copy_fd, uint8_t *original, uint8_t *other, size_t size,
                                   uint64_t offset, struct error *error)
{
    (void)other;
    return file_write(copy_fd, unfinished_name, original, size, offset, error);
}

static enum error_code compare_piece(int copy_fd, uint8_t *original, uint8_t *other, size_t size,
                                     uint64_t offset, struct error *error)
{
    enum error_code code = file_read(copy_fd, "the copy", other, size, offset, error);
    if (!code && memcmp(original, other, size) != 0)
        code = error_set(error, ERROR_FOREIGN, "the copy is another");
    return code;
}

static enum error_code for_each_piece(int fd, const char *name, uint64_t size, int copy_fd,
                                      piece_action action, struct error *error)
{
    struct buffer bytes = {0};
    enum error_code code = buffer_reserve(&bytes, 2 * (size_t)COPY_BYTES, error);
    for (uint64_t at = 0; !code && at < size; at += COPY_BYTES) {
        size_t piece = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;
        code = read_or_zero(fd, name, bytes.data, piece, at, error);
        if (!code)
            code = action(copy_fd, bytes.data, bytes.data + COPY_BYTES, piece, at, error);
    }
    buffer_release(&bytes);
    return code;
}

static bool is_copy(int directory_fd, const char *copy_name, int fd, const char *name,
                    uint64_t size)
{
    int copy_fd = -1;
    uint64_t copy_size = 0;
    bool same = !file_open(directory_fd, copy_name, FILE_READ, &copy_fd, NULL) &&
                !file_size(copy_fd, copy_name, &copy_size, NULL) && copy_size == size &&
                !for_each_piece(fd, name, size, copy_fd, compare_piece, NULL);
    file_close(&copy_fd);
    return same;
}

/*
 * The first name that is free, or that of a copy of the same bytes: *there_out. Without an `fd`
 * (-1) there is no copy.
 */
static enum error_code choose_name(int directory_fd, int fd, const char *name, uint64_t size,
                                   char *name_out, size_t name_size, bool *there_out,
                                   struct error *error)
{
    struct stat status;
    const char *ending = strchr(name, '.');
    int stem = ending ? (int)(ending - name) : (int)strlen(name);
    for (int i = 0; i < NAMES_MAX; i++) {
        if (i == 0)
            snprintf(name_out, name_size, "%s", name);
        else
            snprintf(name_out, name_size, "%.*s-%d%s", stem, name, i, ending ? ending : "");
        enum error_code code = file_status_at(directory_fd, name_out, &status, error);
        if (code && code != ERROR_NOT_FOUND) /* it may be there, and is not to be replaced */
            return code;
        *there_out = code == OK;
        if (!*there_out || (fd >= 0 && is_copy(directory_fd, name_out, fd, name, size)))
            return OK;
    }
    return error_set(error, ERROR_EXISTS, "there are %d copies of '%s' already", NAMES_MAX, name);
}

static enum error_code make_copy(int directory_fd, int fd, const char *name, uint64_t size,
                                 const char *copy_name, struct error *error)
{
    int copy_fd = -1;
    enum error_code code = file_unlink(directory_fd, unfinished_name, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    code = file_open(directory_fd, unfinished_name, FILE_CREATE, &copy_fd, error);
    if (!code)
        code = for_each_piece(fd, name, size, copy_fd, write_piece, error);
    if (!code)
        code = file_sync_data(copy_fd, unfinished_name, error);
    if (!code)
        code = file_rename(directory_fd, unfinished_name, copy_name, error);
    if (code == ERROR_NO_SPACE) /* it must not keep the room that is missing */
        file_unlink(directory_fd, unfinished_name, NULL);
    file_close(&copy_fd);
    return code;
}

enum error_code segment_quarantine_keep_file(int log_fd, int fd, const char *name, char *name_out,
                                             size_t name_size, struct error *error)
{
    int directory_fd = -1;
    uint64_t size;
    bool there = false;
    enum error_code code = file_open_directory_at(log_fd, "quarantine", true, &directory_fd, error);
    if (!code)
        code = file_size(fd, name, &size, error);
    if (!code)
        code = choose_name(directory_fd, fd, name, size, name_out, name_size, &there, error);
    if (!code && !there)
        code = make_copy(directory_fd, fd, name, size, name_out, error);
    /* Also where an earlier run has made the copy and may not have come to this line. */
    if (!code)
        code = file_sync_directory(directory_fd, "quarantine", error);
    file_close(&directory_fd);
    return code ? error_prefix(error, "keep '%s' in quarantine", name) : OK;
}

enum error_code segment_quarantine_keep_name(int log_fd, int directory_fd, const char *name,
                                             struct error *error)
{
    char kept[64];
    int fd = -1;
    enum error_code code = file_open(directory_fd, name, FILE_READ, &fd, error);
    if (!code)
        code = segment_quarantine_keep_file(log_fd, fd, name, kept, sizeof kept, error);
    file_close(&fd);
    return code;
}

enum error_code segment_quarantine_move(int log_fd, const char *name, struct error *error)
{
    char kept[64], to[sizeof "quarantine/" + sizeof kept];
    int directory_fd = -1;
    bool there;
    enum error_code code = file_open_directory_at(log_fd, "quarantine", true, &directory_fd, error);
    if (!code)
        code = choose_name(directory_fd, -1, name, 0, kept, sizeof kept, &there, error);
    if (!code) {
        snprintf(to, sizeof to, "quarantine/%s", kept);
        code = file_rename(log_fd, name, to, error);
    }
    if (!code)
        code = file_sync_directory(directory_fd, "quarantine", error);
    if (!code)
        code = file_sync_directory(log_fd, name, error);
    file_close(&directory_fd);
    return code ? error_prefix(error, "move '%s' into quarantine", name) : OK;
}
