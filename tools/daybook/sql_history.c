#include "tools/daybook/sql_history.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/file.h"

enum { FILE_BYTES_MAX = 16 << 20 }; /* what is before them is not read */

struct sql_history {
    char *path;
};

/* An empty text is no directory, as the XDG specification says. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* NULL: none is wanted, there is no home, or no memory. */
static char *find_path(void)
{
    const char *file = getenv("DAYBOOK_HISTORY");
    const char *state = setting("XDG_STATE_HOME");
    const char *home = setting("HOME");
    char *path = NULL;
    if (file)
        return file[0] ? strdup(file) : NULL;
    if (state) {
        mkdir(state, 0700); /* whether it was there, or cannot be made, the open will tell */
        if (asprintf(&path, "%s/daybook", state) < 0)
            return NULL;
        mkdir(path, 0700);
        free(path);
        return asprintf(&path, "%s/daybook/history", state) < 0 ? NULL : path;
    }
    return home && asprintf(&path, "%s/.daybook_history", home) >= 0 ? path : NULL;
}

/* Opened anew for each use: another shell may have put a shorter file in its place. */
static enum error_code open_file(const struct sql_history *history, int *fd_out,
                                 struct error *error)
{
    int fd = open(history->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) ||
        (S_ISREG(status.st_mode) && (status.st_mode & 0077) && fchmod(fd, 0600))) {
        int reason = errno;
        file_close(&fd);
        return error_set_errno(error, reason,
                               "history file '%s' (DAYBOOK_HISTORY names another, or none)",
                               history->path);
    }
    *fd_out = fd;
    return OK;
}

static enum error_code read_all(const struct sql_history *history, struct buffer *text,
                                struct error *error)
{
    int fd = -1;
    enum error_code code = open_file(history, &fd, error);
    if (code)
        return code;
    off_t size = lseek(fd, 0, SEEK_END);
    lseek(fd, size > FILE_BYTES_MAX ? size - FILE_BYTES_MAX : 0, SEEK_SET);
    ssize_t got = 1;
    while (!code && got > 0 && text->size < FILE_BYTES_MAX) {
        code = buffer_reserve(text, 65536, error);
        got = code ? 0 : read(fd, text->data + text->size, 65536);
        if (got < 0)
            code = error_set_errno(error, errno, "read history file '%s'", history->path);
        else
            text->size += (size_t)got;
    }
    file_close(&fd);
    return code;
}

static enum error_code write_all(int fd, const void *data, size_t size, const char *path,
                                 struct error *error)
{
    /* One call, so that two shells do not mix their lines. */
    ssize_t written = write(fd, data, size);
    if (written == (ssize_t)size)
        return OK;
    return error_set_errno(error, written < 0 ? errno : ENOSPC, "write history file '%s'", path);
}

/* Where the last `count` lines begin. */
static size_t find_last_lines(const struct buffer *text, size_t count)
{
    size_t at = text->size;
    while (at > 0) {
        if (at < text->size && text->data[at - 1] == '\n' && --count == 0)
            return at;
        at--;
    }
    return 0;
}

static size_t count_lines(const struct buffer *text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text->size; i++)
        lines += text->data[i] == '\n';
    return lines;
}

/*
 * A new file takes the place of the old one, so that a crash leaves one of both. What another shell
 * appends in just this moment may be lost.
 */
static enum error_code replace(const struct sql_history *history, const uint8_t *data, size_t size,
                               struct error *error)
{
    char real[PATH_MAX]; /* a symbolic link stays one */
    char *temporary = NULL;
    if (!realpath(history->path, real) || asprintf(&temporary, "%s.tmp", real) < 0)
        return error_set_errno(error, errno, "history file '%s'", history->path);
    enum error_code code = OK;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        code = error_set_errno(error, errno, "history file '%s'", temporary);
    if (!code)
        code = write_all(fd, data, size, temporary, error);
    file_close(&fd);
    if (!code)
        code = file_rename(AT_FDCWD, temporary, real, error);
    free(temporary);
    return code;
}

enum error_code sql_history_open(struct sql_history **history_out, struct error *error)
{
    char *path = find_path();
    *history_out = NULL;
    if (!path)
        return OK;
    struct sql_history *history = calloc(1, sizeof *history);
    int fd = -1;
    if (!history) {
        free(path);
        return error_set(error, ERROR_MEMORY, "no memory for the history");
    }
    history->path = path;
    enum error_code code = open_file(history, &fd, error);
    file_close(&fd);
    if (code)
        sql_history_close(history);
    else
        *history_out = history;
    return code;
}

/* One line of the file, in place. */
static void decode(char *line)
{
    char *to = line;
    for (const char *at = line; *at; at++) {
        if (*at == '\\' && at[1]) {
            at++;
            *to++ = *at == 'n' ? '\n' : *at;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
}

enum error_code sql_history_load(struct sql_history *history,
                                 void (*entry)(void *context, const char *text), void *context,
                                 struct error *error)
{
    struct buffer text = {0};
    enum error_code code = read_all(history, &text, error);
    size_t start = code ? 0 : find_last_lines(&text, SQL_HISTORY_ENTRIES_MAX);
    if (!code && count_lines(&text) > 2 * SQL_HISTORY_ENTRIES_MAX)
        code = replace(history, text.data + start, text.size - start, error);
    char *end;
    for (size_t at = start; !code && at < text.size; at = (size_t)(end + 1 - (char *)text.data)) {
        char *line = (char *)text.data + at;
        end = memchr(line, '\n', text.size - at);
        if (!end)
            break; /* cut off by a crash, or a full disk */
        *end = '\0';
        decode(line);
        if (line[0])
            entry(context, line);
    }
    buffer_release(&text);
    return code;
}

static enum error_code encode(const char *text, struct buffer *line, struct error *error)
{
    enum error_code code = OK;
    for (const char *at = text; !code && *at; at++) {
        if (*at == '\n')
            code = buffer_append(line, "\\n", 2, error);
        else if (*at == '\\')
            code = buffer_append(line, "\\\\", 2, error);
        else
            code = buffer_append(line, at, 1, error);
    }
    return code ? code : buffer_append(line, "\n", 1, error);
}

enum error_code sql_history_add(struct sql_history *history, const char *text, struct error *error)
{
    if (!history || !text[0] || strlen(text) > SQL_HISTORY_BYTES_MAX)
        return OK;
    struct buffer line = {0};
    int fd = -1;
    enum error_code code = encode(text, &line, error);
    if (!code)
        code = open_file(history, &fd, error);
    if (!code)
        code = write_all(fd, line.data, line.size, history->path, error);
    file_close(&fd);
    buffer_release(&line);
    return code;
}

void sql_history_close(struct sql_history *history)
{
    if (!history)
        return;
    free(history->path);
    free(history);
}
