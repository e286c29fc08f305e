#include "indexer/clock_guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/file.h"
#include "core/units.h"

static const char note_name[] = "retention-clock";

enum {
    BOOT_ID_TEXT_SIZE = 2 * CLOCK_BOOT_ID_SIZE + 1,
    NOTE_BYTES_MAX = 160,
};

/* The note, one line of text: "daybook-clock 1 REALTIME BOOTTIME BOOTID CHECKSUM". */
static const char note_format[] = "daybook-clock 1 %" PRId64 " %" PRId64 " %s";

void indexer_clock_read(struct indexer_clock_reading *reading_out)
{
    reading_out->boottime_ns = clock_boottime_ns();
    reading_out->realtime_ns = clock_realtime_ns();
    clock_boot_id(reading_out->boot_id);
}

static void write_boot_id(const uint8_t boot_id[CLOCK_BOOT_ID_SIZE],
                          char text_out[BOOT_ID_TEXT_SIZE])
{
    for (size_t i = 0; i < CLOCK_BOOT_ID_SIZE; i++)
        snprintf(text_out + 2 * i, 3, "%02x", boot_id[i]);
}

static enum error_code store_note(int log_fd, const struct indexer_clock_reading *reading,
                                  struct error *error)
{
    char boot[BOOT_ID_TEXT_SIZE], line[NOTE_BYTES_MAX];
    write_boot_id(reading->boot_id, boot);
    int size =
        snprintf(line, sizeof line, note_format, reading->realtime_ns, reading->boottime_ns, boot);
    uint32_t checksum = checksum_extend(0, line, (size_t)size);
    size += snprintf(line + size, sizeof line - (size_t)size, " %08" PRIx32 "\n", checksum);
    return file_replace(log_fd, note_name, line, (size_t)size, error);
}

static bool parse_note(const char *text, struct indexer_clock_reading *reading_out)
{
    struct indexer_clock_reading reading = {0};
    char boot[BOOT_ID_TEXT_SIZE];
    uint32_t checksum;
    int covered = 0;
    if (sscanf(text, "daybook-clock 1 %" SCNd64 " %" SCNd64 " %32[0-9a-f]%n %8" SCNx32,
               &reading.realtime_ns, &reading.boottime_ns, boot, &covered, &checksum) != 4)
        return false;
    if (strlen(boot) != BOOT_ID_TEXT_SIZE - 1 ||
        checksum != checksum_extend(0, text, (size_t)covered))
        return false;
    for (size_t i = 0; i < CLOCK_BOOT_ID_SIZE; i++) {
        unsigned byte;
        sscanf(boot + 2 * i, "%2x", &byte);
        reading.boot_id[i] = (uint8_t)byte;
    }
    *reading_out = reading;
    return true;
}

/* A note that is missing or unreadable tells nothing: ERROR_NOT_FOUND. */
static enum error_code load_note(int log_fd, struct indexer_clock_reading *reading_out,
                                 struct error *error)
{
    struct buffer text = {0};
    enum error_code code = file_load(log_fd, note_name, NOTE_BYTES_MAX, &text, error);
    if (!code)
        code = buffer_append(&text, "", 1, error);
    if (code == ERROR_DAMAGED || (!code && !parse_note((const char *)text.data, reading_out)))
        code = ERROR_NOT_FOUND;
    buffer_release(&text);
    return code;
}

/*
 * Where the difference does not fit, the farthest that does: both come from files. Never INT64_MIN,
 * so that it can be negated.
 */
static int64_t difference(int64_t a, int64_t b)
{
    int64_t result;
    if (__builtin_sub_overflow(a, b, &result) || result == INT64_MIN)
        return a < b ? -INT64_MAX : INT64_MAX;
    return result;
}

/* How far the wall clock is from where it should be; 0 where nothing tells. */
static int64_t jump_since(const struct indexer_clock_reading *note,
                          const struct indexer_clock_reading *now)
{
    int64_t passed = difference(now->realtime_ns, note->realtime_ns);
    if (!memcmp(note->boot_id, now->boot_id, sizeof note->boot_id))
        return difference(passed, difference(now->boottime_ns, note->boottime_ns));
    return passed < 0 ? passed : 0;
}

static enum error_code refuse(int64_t jump_ns, const char *against, const char *way_out,
                              struct error *error)
{
    char size[UNITS_TEXT_SIZE];
    units_format_duration(jump_ns < 0 ? -jump_ns : jump_ns, size);
    return error_set(
        error, ERROR_INVALID,
        "the clock is %s %s where %s says it should be, so ages cannot be trusted; set "
        "the clock right%s",
        size, jump_ns < 0 ? "behind" : "ahead of", against, way_out);
}

enum error_code indexer_clock_guard_check(int log_fd, const struct indexer_clock_reading *now,
                                          int64_t arrival_newest_ns, bool keep_note,
                                          struct error *error)
{
    if (arrival_newest_ns != INT64_MIN &&
        difference(now->realtime_ns, arrival_newest_ns) < -INDEXER_CLOCK_JUMP_NS)
        return refuse(difference(now->realtime_ns, arrival_newest_ns), "the newest event", "",
                      error);

    struct indexer_clock_reading note;
    enum error_code code = load_note(log_fd, &note, error);
    if (code && code != ERROR_NOT_FOUND)
        return code;
    int64_t jump = code ? 0 : jump_since(&note, now);
    if (jump > INDEXER_CLOCK_JUMP_NS || jump < -INDEXER_CLOCK_JUMP_NS)
        return refuse(jump, "the last run", ", or remove the file retention-clock if it is", error);
    return keep_note ? OK : store_note(log_fd, now, error);
}

void indexer_clock_guard_begin(int log_fd)
{
    struct indexer_clock_reading now, note;
    indexer_clock_read(&now);
    enum error_code code = load_note(log_fd, &note, NULL);
    if (!code && !memcmp(note.boot_id, now.boot_id, sizeof note.boot_id))
        return;
    indexer_clock_guard_check(log_fd, &now, INT64_MIN, false, NULL);
}
