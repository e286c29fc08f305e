#include "tools/daybook/lines.h"

#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "tools/daybook/interrupt.h"

enum { READ_BYTES = 256 << 10 };

struct lines {
    const char *path;
    int fd;
    bool own_fd;
    bool ended;
    bool skipping;      /* inside of a line that is too long */
    struct buffer text; /* what was read */
    size_t start;       /* of the line that comes next */
    size_t searched;    /* no newline from `start` up to here */
    uint64_t number;    /* of the last line given */
};

enum error_code lines_open(const char *path, struct lines **lines_out, struct error *error)
{
    struct lines *lines = calloc(1, sizeof *lines);
    if (!lines)
        return error_set(error, ERROR_MEMORY, "no memory to read '%s'", path);
    lines->path = path;
    lines->fd = STDIN_FILENO;
    if (strcmp(path, "-") != 0) {
        lines->own_fd = true;
        lines->fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (lines->fd < 0) {
        enum error_code code = error_set_errno(error, errno, "open '%s'", path);
        free(lines);
        return code;
    }
    *lines_out = lines;
    return OK;
}

void lines_close(struct lines *lines)
{
    if (!lines)
        return;
    if (lines->own_fd)
        close(lines->fd);
    buffer_release(&lines->text);
    free(lines);
}

static const char *find_newline(const struct lines *lines)
{
    size_t from = lines->searched;
    return lines->text.size > from ? memchr(lines->text.data + from, '\n', lines->text.size - from)
                                   : NULL;
}

bool lines_ready(const struct lines *lines)
{
    return find_newline(lines) || lines->ended;
}

/* Forget the lines that were given, and an overlong line's beginning. */
static void make_room(struct lines *lines)
{
    buffer_consume(&lines->text, lines->start);
    lines->start = 0;
    if (lines->text.size > LINES_BYTES_MAX) {
        lines->skipping = true;
        lines->text.size = 0;
    }
    lines->searched = lines->text.size;
}

static enum error_code read_more(struct lines *lines, struct error *error)
{
    make_room(lines);
    enum error_code code = buffer_reserve(&lines->text, READ_BYTES, error);
    if (code)
        return code;
    ssize_t got;
    do {
        if (interrupt_seen())
            return ERROR_END;
        got = read(lines->fd, lines->text.data + lines->text.size, READ_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(error, errno, "read '%s'", lines->path);
    lines->text.size += (size_t)got;
    lines->ended = got == 0;
    return OK;
}

uint64_t lines_given(const struct lines *lines)
{
    return lines->number;
}

static bool can_read_now(const struct lines *lines)
{
    struct pollfd wanted = {.fd = lines->fd, .events = POLLIN};
    return poll(&wanted, 1, 0) > 0;
}

bool lines_ended(struct lines *lines)
{
    while (!lines->ended && lines->start == lines->text.size && !lines->skipping)
        if (!can_read_now(lines) || read_more(lines, NULL))
            return false;
    return lines->ended && lines->start == lines->text.size && !lines->skipping;
}

/* Give the text from start to `end`, which is `newline_bytes` before the next line's start. */
static void take_line(struct lines *lines, size_t end, size_t newline_bytes, struct line *line_out)
{
    *line_out = (struct line){
        .text = (const char *)lines->text.data + lines->start,
        .bytes = end - lines->start,
        .number = ++lines->number,
        .too_long = lines->skipping || end - lines->start > LINES_BYTES_MAX,
    };
    lines->skipping = false;
    lines->start = lines->searched = end + newline_bytes;
}

enum error_code lines_next(struct lines *lines, struct line *line_out, struct error *error)
{
    const char *newline;
    while (!(newline = find_newline(lines))) {
        if (lines->ended) {
            if (lines->start == lines->text.size && !lines->skipping)
                return ERROR_END;
            take_line(lines, lines->text.size, 0, line_out); /* the last one, without newline */
            return OK;
        }
        enum error_code code = read_more(lines, error);
        if (code)
            return code;
    }
    take_line(lines, (size_t)(newline - (const char *)lines->text.data), 1, line_out);
    return OK;
}
