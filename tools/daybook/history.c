#include "tools/daybook/history.h"

#include <stdlib.h>

#include "segment/reader.h"
#include "tools/daybook/verb.h"

struct history {
    const char *verb;
    struct segment_reader *reader;
    bool damaged;
};

enum error_code history_open(const char *verb, const char *path, struct history **history_out,
                             struct error *error)
{
    struct history *history = calloc(1, sizeof *history);
    if (!history)
        return error_set(error, ERROR_MEMORY, "no memory for a reader");
    history->verb = verb;
    enum error_code code = segment_reader_open(path, &history->reader, error);
    if (code) {
        free(history);
        return code;
    }
    segment_reader_read_ahead(history->reader);
    *history_out = history;
    return OK;
}

void history_close(struct history *history)
{
    if (!history)
        return;
    segment_reader_close(history->reader);
    free(history);
}

enum error_code history_seek(struct history *history, uint64_t sequence, int64_t since_ns,
                             int64_t until_ns, struct error *error)
{
    segment_reader_hint_times(history->reader, since_ns, until_ns);
    return segment_reader_seek(history->reader, sequence, error);
}

void history_tell_damage(struct history *history, const struct error *error)
{
    history->damaged = true;
    verb_say(history->verb, "%s", error->text);
}

void history_tell_hole(struct history *history, uint64_t first, uint64_t last)
{
    if (first == last)
        verb_say(history->verb, "note: event %llu was deleted by retention",
                 (unsigned long long)first);
    else
        verb_say(history->verb, "note: events %llu to %llu were deleted by retention",
                 (unsigned long long)first, (unsigned long long)last);
}

void history_tell_loss(struct history *history, const struct segment_format_gap *gap)
{
    if (gap->sequence_first == gap->sequence_last)
        verb_say(history->verb, "note: event %llu is lost, as is on record: %s",
                 (unsigned long long)gap->sequence_first,
                 segment_format_gap_cause_text(gap->cause));
    else
        verb_say(history->verb, "note: events %llu to %llu are lost, as is on record: %s",
                 (unsigned long long)gap->sequence_first, (unsigned long long)gap->sequence_last,
                 segment_format_gap_cause_text(gap->cause));
}

enum error_code history_next(struct history *history, struct event *event_out, struct error *error)
{
    struct error local;
    if (!error)
        error = &local;
    for (;;) {
        enum error_code code = segment_reader_next(history->reader, event_out, error);
        uint64_t first, last;
        if (code == OK && segment_reader_hole(history->reader, &first, &last))
            history_tell_hole(history, first, last);
        struct segment_format_gap gap;
        while (segment_reader_loss(history->reader, &gap))
            history_tell_loss(history, &gap);
        if (code != ERROR_DAMAGED)
            return code;
        history_tell_damage(history, error);
    }
}

void history_wait(struct history *history, int timeout_ms)
{
    segment_reader_wait(history->reader, timeout_ms);
}

uint64_t history_watermark(struct history *history)
{
    return segment_reader_watermark(history->reader);
}

const uint8_t *history_log_id(const struct history *history)
{
    return segment_reader_log_id(history->reader);
}

uint64_t history_bound(struct history *history)
{
    return segment_reader_bound(history->reader);
}

bool history_is_damaged(const struct history *history)
{
    return history->damaged;
}
