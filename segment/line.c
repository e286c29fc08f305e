#include "segment/line.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
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

static enum error_code load_once(int log_fd, const char *name, uint64_t *sequence_out,
                                 struct error *error)
{
    char line[LINE_BYTES_MAX];
    uint64_t size = 0;
    int fd = -1;
    enum error_code code = file_open(log_fd, name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = file_size(fd, name, &size, error);
    if (!code && size <= sizeof line)
        code = file_read(fd, name, line, (size_t)size, 0, error);
    if (!code && (size > sizeof line || !parse_line(name, line, (size_t)size, sequence_out)))
        code = error_set(error, ERROR_DAMAGED,
                         "'%s' is damaged: it is not a sequence with a matching checksum", name);
    file_close(&fd);
    return code;
}

/* One refusal of the device may pass: look again. */
static enum error_code load(int log_fd, const char *name, uint64_t *sequence_out,
                            struct error *why_out)
{
    *why_out = (struct error){0};
    enum error_code code = load_once(log_fd, name, sequence_out, why_out);
    if (code == ERROR_IO && error_is_of_device(why_out))
        code = load_once(log_fd, name, sequence_out, why_out);
    return code;
}

enum error_code segment_line_load(int log_fd, const char *name, uint64_t *sequence_out,
                                  struct error *error)
{
    struct error why;
    enum error_code code = load(log_fd, name, sequence_out, &why);
    /* What cannot be read is as damaged as what reads wrong. */
    if (code == ERROR_IO && error_is_of_device(&why))
        return error_set(error, ERROR_DAMAGED, "'%s' is damaged: %s", name, why.text);
    if (code == ERROR_IO && why.errno_value == EACCES)
        return error_set(error, code,
                         "%s: that is no damage; give it the owner and the mode that the segments "
                         "have",
                         why.text);
    return code ? error_set(error, code, "%s", why.text) : OK;
}

enum error_code segment_line_load_readable(int log_fd, const char *name, uint64_t *sequence_out,
                                           struct error *error)
{
    struct error why;
    enum error_code code = load(log_fd, name, sequence_out, &why);
    return code ? error_set(error, code, "%s", why.text) : OK;
}

enum error_code segment_line_store(int log_fd, const char *name, uint64_t sequence,
                                   struct error *error)
{
    char line[LINE_BYTES_MAX];
    size_t size = format_line(name, sequence, line);
    return file_replace(log_fd, name, line, size, error);
}

enum error_code segment_line_store_by(int log_fd, const char *spare, const char *name,
                                      uint64_t sequence, struct error *error)
{
    char line[LINE_BYTES_MAX];
    size_t size = format_line(name, sequence, line);
    return file_replace_by(log_fd, spare, name, line, size, error);
}
