#include "segment/line.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/checksum.h"
#include "core/event.h"
#include "core/file.h"

enum { LINE_BYTES_MAX = 80, DIGITS = 20 };

/* Returns the line's length. */
static size_t format_line(const char *name, uint64_t sequence, char line_out[LINE_BYTES_MAX])
{
    int size = snprintf(line_out, LINE_BYTES_MAX, "%s %0*" PRIu64, name, DIGITS, sequence);
    assert(size > 0 && size + 10 < LINE_BYTES_MAX);
    uint32_t checksum = checksum_extend(0, line_out, (size_t)size);
    size += snprintf(line_out + size, LINE_BYTES_MAX - (size_t)size, " %08" PRIx32 "\n", checksum);
    return (size_t)size;
}

/* Valid is what we would write: parse the number, format it again, compare every byte. */
static bool parse_line(const char *name, const char *line, size_t size, uint64_t *sequence_out)
{
    size_t at = strlen(name) + 1;
    uint64_t sequence = 0;
    if (size < at + DIGITS)
        return false;
    for (size_t end = at + DIGITS; at < end; at++) {
        unsigned digit = (unsigned)(unsigned char)line[at] - '0';
        if (digit > 9 || __builtin_mul_overflow(sequence, 10, &sequence) ||
            __builtin_add_overflow(sequence, digit, &sequence))
            return false;
    }
    char expected[LINE_BYTES_MAX];
    if (sequence > EVENT_SEQUENCE_END || format_line(name, sequence, expected) != size ||
        memcmp(line, expected, size) != 0)
        return false;
    *sequence_out = sequence;
    return true;
}

/* One refusal may pass: look again. */
static enum error_code read_line(int fd, const char *name, char line_out[LINE_BYTES_MAX],
                                 size_t size, bool *refused_out, struct error *error)
{
    enum error_code code = file_read(fd, name, line_out, size, 0, error);
    if (code == ERROR_IO)
        code = file_read(fd, name, line_out, size, 0, error);
    *refused_out = code == ERROR_IO;
    return code;
}

/* *refused_out: the file is there, and the device refuses its bytes. */
static enum error_code load(int log_fd, const char *name, uint64_t *sequence_out, bool *refused_out,
                            struct error *error)
{
    char line[LINE_BYTES_MAX];
    uint64_t size = 0;
    int fd = -1;
    *refused_out = false;
    enum error_code code = file_open(log_fd, name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = file_size(fd, name, &size, error);
    if (!code && size <= sizeof line)
        code = read_line(fd, name, line, (size_t)size, refused_out, error);
    if (!code && (size > sizeof line || !parse_line(name, line, (size_t)size, sequence_out)))
        code = error_set(error, ERROR_DAMAGED,
                         "'%s' is damaged: it is not a sequence with a matching checksum", name);
    file_close(&fd);
    return code;
}

enum error_code segment_line_load(int log_fd, const char *name, uint64_t *sequence_out,
                                  struct error *error)
{
    struct error why;
    bool refused;
    enum error_code code = load(log_fd, name, sequence_out, &refused, &why);
    if (refused)
        return error_set(error, ERROR_DAMAGED, "'%s' is damaged: %s", name, why.text);
    return code ? error_set(error, code, "%s", why.text) : OK;
}

enum error_code segment_line_load_readable(int log_fd, const char *name, uint64_t *sequence_out,
                                           struct error *error)
{
    bool refused;
    return load(log_fd, name, sequence_out, &refused, error);
}

enum error_code segment_line_store(int log_fd, const char *name, uint64_t sequence,
                                   struct error *error)
{
    char line[LINE_BYTES_MAX];
    size_t size = format_line(name, sequence, line);
    return file_replace(log_fd, name, line, size, error);
}
