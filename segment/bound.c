#include "segment/bound.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/file.h"

/*
 * The file is exactly this line: a word, the sequence in 20 digits, the checksum of both in 8 hex
 * digits:
 *
 *     lower-bound 00000000000000000001 1a2b3c4d
 */
enum { TEXT_BYTES = 32, LINE_BYTES = TEXT_BYTES + 10 };

static const char bound_name[] = "lower-bound";

static void format_line(uint64_t sequence, char line_out[LINE_BYTES + 1])
{
    char text[TEXT_BYTES + 1];
    snprintf(text, sizeof text, "lower-bound %020" PRIu64, sequence);
    uint32_t checksum = checksum_extend(0, text, TEXT_BYTES);
    snprintf(line_out, LINE_BYTES + 1, "%s %08" PRIx32 "\n", text, checksum);
}

/* Valid is what we would write: parse the number, format it again, compare every byte. */
static bool parse_line(const char *line, size_t size, uint64_t *sequence_out)
{
    if (size != LINE_BYTES)
        return false;
    uint64_t sequence = 0;
    for (size_t at = TEXT_BYTES - 20; at < TEXT_BYTES; at++) {
        unsigned digit = (unsigned)(unsigned char)line[at] - '0';
        if (digit > 9 || __builtin_mul_overflow(sequence, 10, &sequence) ||
            __builtin_add_overflow(sequence, digit, &sequence))
            return false;
    }
    char expected[LINE_BYTES + 1];
    format_line(sequence, expected);
    if (sequence == 0 || memcmp(line, expected, LINE_BYTES) != 0)
        return false;
    *sequence_out = sequence;
    return true;
}

enum error_code segment_bound_load(int log_fd, uint64_t *sequence_out, struct error *error)
{
    struct buffer line = {0};
    enum error_code code = file_load(log_fd, bound_name, 4096, &line, error);
    if (code == ERROR_NOT_FOUND) {
        *sequence_out = 1;
        code = OK;
    } else if (!code && !parse_line((const char *)line.data, line.size, sequence_out)) {
        code = error_set(error, ERROR_DAMAGED,
                         "'%s' is damaged: it is not a sequence with a matching checksum; "
                         "restore it from a copy, or, if retention never ran here, remove it",
                         bound_name);
    }
    buffer_release(&line);
    return code;
}

enum error_code segment_bound_store(int log_fd, uint64_t sequence, struct error *error)
{
    uint64_t present = 0;
    enum error_code code = segment_bound_load(log_fd, &present, error);
    if (code)
        return code;
    if (sequence < present)
        return error_set(error, ERROR_INVALID,
                         "the lower bound of the log is %" PRIu64 " and cannot go back to %" PRIu64,
                         present, sequence);
    if (sequence == present)
        return OK;
    char line[LINE_BYTES + 1];
    format_line(sequence, line);
    return file_replace(log_fd, bound_name, line, LINE_BYTES, error);
}
