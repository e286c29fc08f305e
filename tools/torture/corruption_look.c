#include "tools/torture/corruption_look.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/log.h"
#include "segment/reader.h"
#include "segment/verify.h"

/* A reader that has told of so much damage in a log of ours does not come to an end. */
enum { DAMAGES_MAX = 100000 };

enum error_code corruption_look_init(struct corruption_look *look,
                                     const struct corruption_specimen *specimen,
                                     struct error *error)
{
    *look = (struct corruption_look){.specimen = specimen};
    look->marks = calloc(specimen->event_count, 1);
    return look->marks ? OK : error_set(error, ERROR_MEMORY, "no memory to look at a log");
}

void corruption_look_release(struct corruption_look *look)
{
    free(look->marks);
    look->marks = NULL;
}

void corruption_look_clear(struct corruption_look *look)
{
    struct corruption_look cleared = {.specimen = look->specimen, .marks = look->marks};
    memset(look->marks, 0, look->specimen->event_count);
    *look = cleared;
}

void corruption_look_fault(struct corruption_look *look, const char *format, ...)
{
    if (look->fault[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(look->fault, sizeof look->fault, format, arguments);
    va_end(arguments);
}

static void mark_range(struct corruption_look *look, uint64_t first, uint64_t last,
                       enum corruption_mark mark)
{
    if (first == 0)
        return;
    for (uint64_t i = first; i <= last && i <= look->specimen->event_count; i++)
        look->marks[i - 1] |= (uint8_t)mark;
}

static void keep_text(char *to, size_t size, const char *text)
{
    if (to[0] != '\0')
        return;
    size_t length = strnlen(text, size - 1);
    memcpy(to, text, length);
    to[length] = '\0';
}

static void note_finding(void *context, const struct segment_verify_finding *finding)
{
    struct corruption_look *look = context;

    if (look->findings < CORRUPTION_FINDINGS_KEPT) {
        look->places[look->findings].segment_first = finding->segment_first;
        look->places[look->findings].offset = finding->offset;
    }
    look->findings++;
    mark_range(look, finding->sequence_first, finding->sequence_last, CORRUPTION_VERIFY_LOST);
    keep_text(look->verify_text, sizeof look->verify_text, finding->text);
}

void corruption_look_verify(struct corruption_look *look, const char *path)
{
    struct segment_verify_totals totals = {0};
    struct error error = {0};

    look->verify_code = segment_verify_log(path, note_finding, NULL, look, &totals, &error);
    if (look->verify_code)
        keep_text(look->verify_text, sizeof look->verify_text, error.text);
    look->torn_bytes = totals.torn_bytes;
    if (!look->verify_code && totals.findings != look->findings)
        corruption_look_fault(look, "verify counts %" PRIu64 " findings and told %" PRIu64,
                              totals.findings, look->findings);
}

/*
 * "…; event 3 cannot be read", "…; events 3 to 5 cannot be read", "…; events from 3 on, if there
 * were any, are lost", "…; no event is lost by it".
 */
static void note_loss(struct corruption_look *look, const char *text)
{
    const char *loss = strrchr(text, ';');
    uint64_t first = 0, last = 0;
    int end = 0;

    keep_text(look->reader_text, sizeof look->reader_text, text);
    if (loss &&
        sscanf(loss, "; events %" SCNu64 " to %" SCNu64 " cannot be read%n", &first, &last, &end) ==
            2 &&
        end > 0)
        mark_range(look, first, last, CORRUPTION_READER_LOST);
    else if (loss && sscanf(loss, "; event %" SCNu64 " cannot be read%n", &first, &end) == 1 &&
             end > 0)
        mark_range(look, first, first, CORRUPTION_READER_LOST);
    else if (loss &&
             sscanf(loss, "; events from %" SCNu64 " on, if there were any, are lost%n", &first,
                    &end) == 1 &&
             end > 0)
        mark_range(look, first, look->specimen->event_count, CORRUPTION_READER_LOST);
    else if (!loss || strcmp(loss, "; no event is lost by it") != 0)
        corruption_look_fault(look, "the reader does not say what is lost: %s", text);
}

static void note_event(struct corruption_look *look, const struct event *event, uint64_t *last,
                       enum corruption_mark mark)
{
    if (event->sequence <= *last)
        corruption_look_fault(look, "event %" PRIu64 " came after event %" PRIu64, event->sequence,
                              *last);
    *last = event->sequence;
    if (mark == CORRUPTION_GIVEN_AGAIN && event->sequence == look->sequence_after)
        return;
    if (corruption_specimen_holds(look->specimen, event))
        look->marks[event->sequence - 1] |= (uint8_t)mark;
    else
        corruption_look_fault(look, "FALSE RECORD: event %" PRIu64 " was never published so",
                              event->sequence);
}

/* Read everything from a sequence on. Returns what ended it. */
static enum error_code read_from(struct corruption_look *look, const char *path, uint64_t sequence,
                                 enum corruption_mark mark)
{
    struct segment_reader *reader;
    struct error error = {0};
    struct event event;
    uint64_t last = sequence - 1, damages = 0, first_gone, last_gone;

    enum error_code code = segment_reader_open(path, &reader, &error);
    if (code) {
        keep_text(look->reader_text, sizeof look->reader_text, error.text);
        return code;
    }
    if (sequence > 1)
        code = segment_reader_seek(reader, sequence, &error);
    while (code == OK || code == ERROR_DAMAGED) {
        code = segment_reader_next(reader, &event, &error);
        if (segment_reader_hole(reader, &first_gone, &last_gone) && mark == CORRUPTION_GIVEN)
            corruption_look_fault(look, "the reader says that retention deleted events");
        if (code == OK)
            note_event(look, &event, &last, mark);
        else if (code != ERROR_DAMAGED)
            break;
        else if (++damages > DAMAGES_MAX)
            corruption_look_fault(look, "the reader tells of damage for ever: %s", error.text);
        else if (mark == CORRUPTION_GIVEN)
            note_loss(look, error.text);
        if (damages > DAMAGES_MAX)
            break;
    }
    if (code != ERROR_END)
        keep_text(look->reader_text, sizeof look->reader_text, error.text);
    if (mark == CORRUPTION_GIVEN)
        look->damages = damages;
    segment_reader_close(reader);
    return code;
}

void corruption_look_read(struct corruption_look *look, const char *path)
{
    look->reader_code = read_from(look, path, 1, CORRUPTION_GIVEN);
}

void corruption_look_seek(struct corruption_look *look, const char *path, uint64_t sequence)
{
    if (read_from(look, path, sequence, CORRUPTION_SOUGHT) != look->reader_code)
        corruption_look_fault(look, "a reader that seeks event %" PRIu64 " ends differently: %s",
                              sequence, look->reader_text);
    for (uint64_t i = sequence; i <= look->specimen->event_count; i++) {
        uint8_t mark = look->marks[i - 1];
        if (!(mark & CORRUPTION_GIVEN) != !(mark & CORRUPTION_SOUGHT))
            corruption_look_fault(look,
                                  "event %" PRIu64 " %s given to a reader that seeks event %" PRIu64
                                  ", unlike to one that reads all",
                                  i, mark & CORRUPTION_SOUGHT ? "is" : "is not", sequence);
    }
}

static void publish_one(struct corruption_look *look, struct segment_log *log)
{
    static const uint8_t payload[] = {0xa5, 'a', 'f', 't', 'e', 'r'};
    struct event event = {
        .time_ns = EVENT_TIME_NONE,
        .topic = "after",
        .topic_bytes = 5,
        .payload = payload,
        .payload_bytes = sizeof payload,
    };
    enum segment_log_outcome outcome;
    struct error error = {0};

    enum error_code code = segment_log_append(log, &event, &outcome, &look->sequence_after, &error);
    if (!code)
        code = segment_log_wait(log, look->sequence_after, &error);
    if (code)
        corruption_look_fault(look, "a writer opened the log and could not write: %s", error.text);
}

/* Nothing that could be read before may be gone. */
static void compare_readings(struct corruption_look *look)
{
    for (uint64_t i = 0; i < look->specimen->event_count; i++) {
        if ((look->marks[i] & CORRUPTION_GIVEN) && !(look->marks[i] & CORRUPTION_GIVEN_AGAIN)) {
            corruption_look_fault(look,
                                  "event %" PRIu64 " could be read before a writer opened "
                                  "the log, and not afterwards",
                                  i + 1);
            return;
        }
    }
}

void corruption_look_write(struct corruption_look *look, const char *path)
{
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN};
    struct segment_log *log;
    struct error error = {0};

    look->writer_asked = true;
    look->writer_code = segment_log_open(path, &options, &log, &look->report, &error);
    if (look->writer_code) {
        keep_text(look->writer_text, sizeof look->writer_text, error.text);
        return;
    }
    publish_one(look, log);
    if (segment_log_close(log, &error))
        corruption_look_fault(look, "a writer could not close the log: %s", error.text);
    enum error_code code = read_from(look, path, 1, CORRUPTION_GIVEN_AGAIN);
    if (code != ERROR_END)
        corruption_look_fault(look, "after a writer, reading ends with: %s", look->reader_text);
    if (look->reader_code == ERROR_END)
        compare_readings(look);
}
