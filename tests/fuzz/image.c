#include "tests/fuzz/image.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "segment/format.h"

/* ---- Bytes to image and back ---- */

static uint8_t *make_bytes(const uint8_t *from, size_t size)
{
    uint8_t *bytes = calloc(1, IMAGE_BYTES_MAX);
    assert(bytes && size <= IMAGE_BYTES_MAX);
    if (size > 0)
        memcpy(bytes, from, size);
    return bytes;
}

static uint32_t at_most(uint64_t value, uint64_t max)
{
    return (uint32_t)(value < max ? value : max);
}

void image_read(struct image *image_out, const uint8_t *data, size_t size)
{
    *image_out = (struct image){.options = size > 0 ? data[0] : 0};
    size_t at = 1;
    while (image_out->count < IMAGE_FILES_MAX && at + IMAGE_HEAD_BYTES <= size) {
        struct image_file *file = &image_out->files[image_out->count++];
        const uint8_t *head = data + at;
        at += IMAGE_HEAD_BYTES;
        file->kind = head[0] % IMAGE_KINDS;
        file->flags = head[1];
        file->name = bytes_load64(head + 2);
        file->size = at_most(bytes_load32(head + 10), IMAGE_SIZE_MAX);
        file->bytes_count = at_most(bytes_load32(head + 14), IMAGE_BYTES_MAX);
        file->bytes_count = at_most(file->bytes_count, size - at);
        file->bytes = make_bytes(data + at, file->bytes_count);
        at += file->bytes_count;
    }
}

size_t image_write(const struct image *image, uint8_t *data, size_t size_max)
{
    if (size_max == 0)
        return 0;
    data[0] = image->options;
    size_t at = 1;
    for (size_t i = 0; i < image->count; i++) {
        const struct image_file *file = &image->files[i];
        if (at + IMAGE_HEAD_BYTES + file->bytes_count > size_max)
            break;
        uint8_t *head = data + at;
        head[0] = (uint8_t)file->kind;
        head[1] = file->flags;
        bytes_store64(head + 2, file->name);
        bytes_store32(head + 10, file->size);
        bytes_store32(head + 14, file->bytes_count);
        memcpy(head + IMAGE_HEAD_BYTES, file->bytes, file->bytes_count);
        at += IMAGE_HEAD_BYTES + file->bytes_count;
    }
    return at;
}

void image_release(struct image *image)
{
    for (size_t i = 0; i < image->count; i++)
        free(image->files[i].bytes);
    *image = (struct image){0};
}

/* ---- Image to directory ---- */

static char directory[64];
static int log_fd = -1, segments_fd = -1;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_directory(void)
{
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *image_directory(void)
{
    if (directory[0])
        return directory;
    strcpy(directory, "/dev/shm/daybook-fuzz-XXXXXX");
    if (!mkdtemp(directory)) {
        strcpy(directory, "/var/tmp/daybook-fuzz-XXXXXX");
        if (!mkdtemp(directory))
            abort();
    }
    atexit(remove_directory);
    log_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log_fd < 0 || mkdirat(log_fd, "segments", 0750))
        abort();
    segments_fd = openat(log_fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (segments_fd < 0)
        abort();
    return directory;
}

static void remove_files(int directory_fd)
{
    DIR *list = fdopendir(openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const struct dirent *entry;
    if (!list)
        abort();
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            strcmp(entry->d_name, "segments") != 0) {
            int fd = openat(directory_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            remove_files(fd);
            close(fd);
            unlinkat(directory_fd, entry->d_name, AT_REMOVEDIR);
        } else if (entry->d_type != DT_DIR) {
            unlinkat(directory_fd, entry->d_name, 0);
        }
    }
    closedir(list);
}

static void put(int fd, const uint8_t *bytes, size_t size, size_t offset)
{
    if (size > 0 && pwrite(fd, bytes, size, (off_t)offset) != (ssize_t)size)
        abort();
}

/* Nothing reaches beyond the file's size, so that cut files are cut. */
static void fill_segment(int fd, const struct image_file *file)
{
    static uint8_t content[IMAGE_SIZE_MAX];
    uint32_t body_count = file->bytes_count, size = file->size;
    uint32_t trailer = 0, end = FORMAT_SEGMENT_HEADER_BYTES;
    if ((file->flags & IMAGE_TRAILER) && body_count >= FORMAT_TRAILER_BYTES)
        trailer = FORMAT_TRAILER_BYTES;
    body_count -= trailer;
    uint32_t head = at_most(body_count, IMAGE_SEGMENT_HEADER_BYTES);
    if (ftruncate(fd, (off_t)size))
        abort();
    memset(content, 0, FORMAT_SEGMENT_HEADER_BYTES);
    memcpy(content, file->bytes, head);
    memcpy(content + end, file->bytes + head, body_count - head);
    end += body_count - head;
    put(fd, content, at_most(end, size), 0);
    if (size >= FORMAT_TRAILER_BYTES)
        put(fd, file->bytes + body_count, trailer, size - FORMAT_TRAILER_BYTES);
}

static void unpack_file(const struct image_file *file)
{
    static const char *const names[] = {"", "lower-bound", "watermark", "retention-clock"};
    char segment_name[FORMAT_SEGMENT_NAME_BYTES + 1];
    bool is_segment = file->kind == IMAGE_SEGMENT;
    if (is_segment)
        segment_format_segment_name(file->name, segment_name);
    int fd =
        openat(is_segment ? segments_fd : log_fd, is_segment ? segment_name : names[file->kind],
               O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        abort();
    if (is_segment)
        fill_segment(fd, file);
    else
        put(fd, file->bytes, file->bytes_count, 0);
    /* Whatever it should hold, a page is mapped, so it must have its size to be looked at. */
    if (file->kind == IMAGE_WATERMARK && file->size == 4096 && ftruncate(fd, 4096))
        abort();
    close(fd);
}

void image_unpack(const struct image *image)
{
    image_directory();
    remove_files(segments_fd);
    remove_files(log_fd);
    for (size_t i = 0; i < image->count; i++)
        unpack_file(&image->files[i]);
}
