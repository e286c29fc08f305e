#include "segment/quarantine.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/bytes.h"
#include "core/file.h"

enum { COPY_BYTES = 1 << 20, NAMES_MAX = 1000 };

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

static enum error_code copy(int from, const char *from_name, uint64_t offset, uint64_t end, int to,
                            const char *to_name, struct error *error)
{
    struct buffer bytes = {0};
    enum error_code code = buffer_reserve(&bytes, COPY_BYTES, error);

    for (uint64_t at = offset; !code && at < end;) {
        size_t size = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        code = file_read(from, from_name, bytes.data, size, at, error);
        if (!code)
            code = file_write(to, to_name, bytes.data, size, at - offset, error);
        at += size;
    }
    buffer_release(&bytes);
    return code;
}

enum error_code segment_quarantine_keep(int log_fd, int fd, const char *segment_name,
                                        uint64_t offset_first, uint64_t offset_end, char *name_out,
                                        size_t name_size, struct error *error)
{
    int directory_fd = -1, copy_fd = -1;
    enum error_code code = file_open_directory_at(log_fd, "quarantine", true, &directory_fd, error);

    if (!code)
        code = create_copy(directory_fd, segment_name, offset_first, name_out, name_size, &copy_fd,
                           error);
    if (!code)
        code = copy(fd, segment_name, offset_first, offset_end, copy_fd, name_out, error);
    if (!code)
        code = file_sync_data(copy_fd, name_out, error);
    if (!code)
        code = file_sync_directory(directory_fd, "quarantine", error);
    file_close(&copy_fd);
    file_close(&directory_fd);
    return code ? error_prefix(error, "keep damaged bytes of segment %s", segment_name) : OK;
}
