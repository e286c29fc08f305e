#include "tools/daybookd/intake.h"

#include <stdlib.h>

#include "core/gap.h"
#include "tools/client/wire.h"

enum error_code intake_init(struct intake *intake, struct segment_log *log, struct gate *gate,
                            struct error *error)
{
    struct intake made = {.log = log, .gate = gate};
    enum error_code code = json_reader_create(&made.json, error);
    if (code)
        return code;
    made.events = calloc(WIRE_EVENTS_MAX, sizeof *made.events);
    code = made.events ? refusals_create(&made.refused_numbers, error)
                       : error_set(error, ERROR_MEMORY, "no memory for the events of a frame");
    if (!code)
        code = expectations_create(&made.expectations, error);
    if (code) {
        intake_release(&made);
        return code;
    }
    *intake = made;
    return OK;
}

void intake_release(struct intake *intake)
{
    json_reader_free(intake->json);
    free(intake->events);
    refusals_free(intake->refused_numbers);
    expectations_free(intake->expectations);
    buffer_release(&intake->refusals);
    buffer_release(&intake->converted);
    *intake = (struct intake){0};
}

bool intake_has_room(struct intake *intake, size_t events, size_t bytes)
{
    return segment_log_has_room(intake->log, events, bytes);
}

static enum error_code check(const struct event *event, const struct error *verdict, bool in_words,
                             struct error *error)
{
    enum error_code code = verdict ? verdict->code : event_check(event, in_words ? error : NULL);

    if (!code) {
        code = gap_check(event, in_words ? error : NULL);
        verdict = NULL;
    }
    if (code && !in_words) {
        error->code = code;
        error->text[0] = '\0';
    } else if (code && verdict) {
        error_set(error, code, "%s", verdict->text);
    }
    return code;
}

static enum intake_fate judge(const struct intake *intake, enum error_code code)
{
    struct error why;
    if (code == ERROR_INVALID || code == ERROR_FULL || code == ERROR_CONFLICT)
        return INTAKE_REFUSED;
    return segment_log_failure(intake->log, &why) ? INTAKE_FAILED : INTAKE_UNABLE;
}

enum intake_fate intake_take(struct intake *intake, const struct event *event,
                             const struct intake_known *known, bool in_words,
                             uint64_t *sequence_out, struct error *error)
{
    *sequence_out = 0;
    if (check(event, known ? known->verdict : NULL, in_words, error)) {
        intake->refused++;
        intake_note_refusal(intake, event, error->text);
        return INTAKE_REFUSED;
    }
    enum segment_log_outcome outcome;
    uint64_t sequence;
    /*
     * Whoever calls has asked for room, so the gate waits rarely: the log counted otherwise than we
     * did. Nothing else could be done for this frame, which is stored in part already.
     */
    enum error_code code = gate_append(intake->gate, intake->log, event,
                                       known ? known->finding : NULL, in_words, &outcome,
                                       &sequence, error);
    if (code) {
        intake->refused++;
        enum intake_fate fate = judge(intake, code);
        if (fate != INTAKE_FAILED)
            intake_note_refusal(intake, event, error->text);
        return fate;
    }
    *sequence_out = sequence;
    if (outcome == LOG_DUPLICATE)
        return INTAKE_DUPLICATE;
    intake->appended = true;
    expectations_note(intake->expectations, event->topic, event->topic_bytes, sequence);
    return INTAKE_STORED;
}

/* ---- With an expectation ---- */

uint64_t intake_wants_past(struct intake *intake, const struct wire_expectation *expected)
{
    return expectations_wants(intake->expectations, intake->log, expected);
}

void intake_withdraw(struct intake *intake, uint64_t durable)
{
    expectations_withdraw(intake->expectations, durable);
}

static enum error_code check_all(const struct event *events, size_t count,
                                 const struct intake_known *known, size_t *culprit_out,
                                 struct error *error)
{
    enum error_code code = OK;

    for (size_t i = 0; i < count && !code; i++) {
        *culprit_out = i;
        code = check(&events[i], known ? known[i].verdict : NULL, true, error);
    }
    return code;
}

/* The gate takes an array of findings of its own: only where somebody has some. */
static enum error_code append_all(struct intake *intake, const struct event *events, size_t count,
                                  const struct intake_known *known, uint64_t *sequence_out,
                                  size_t *culprit_out, struct error *error)
{
    const struct gate_finding *findings = known ? known[0].finding : NULL;

    return gate_append_together(intake->gate, intake->log, events, count, findings, sequence_out,
                                culprit_out, error);
}

enum intake_fate intake_take_together(struct intake *intake, const struct event *events,
                                      size_t count, const struct intake_known *known,
                                      const struct wire_expectation *expected,
                                      uint64_t *sequence_out, size_t *culprit_out,
                                      struct error *error)
{
    uint64_t sequence;
    enum error_code code = check_all(events, count, known, culprit_out, error);
    if (!code) {
        *culprit_out = SIZE_MAX;
        code = expectation_check(expected, error);
    }
    if (!code)
        code = expectations_meet(intake->expectations, intake->log, expected, error);
    if (!code)
        code = append_all(intake, events, count, known, &sequence, culprit_out, error);
    if (code) {
        intake->refused += count;
        return judge(intake, code);
    }
    for (size_t i = 0; i < count; i++)
        expectations_note(intake->expectations, events[i].topic, events[i].topic_bytes,
                          sequence + i);
    intake->appended = true;
    *sequence_out = sequence;
    return INTAKE_STORED;
}

void intake_note_refusal(struct intake *intake, const struct event *event, const char *reason)
{
    refusals_note(intake->refused_numbers, event, reason);
}

void intake_tell_refusals(struct intake *intake, int64_t now_ns)
{
    if (refusals_tell(intake->refused_numbers, intake->log, now_ns) > 0)
        intake->appended = true;
}

void intake_tell_refusals_of(struct intake *intake, const char *producer, size_t producer_bytes,
                             int64_t now_ns)
{
    struct refusals *refusals = intake->refused_numbers;
    if (refusals_tell_of(refusals, intake->log, producer, producer_bytes, now_ns) > 0)
        intake->appended = true;
}

void intake_tell_all_refusals(struct intake *intake)
{
    refusals_tell_all(intake->refused_numbers, intake->log);
}

void intake_kick(struct intake *intake)
{
    if (intake_takes_kick(intake))
        segment_log_kick(intake->log);
}

bool intake_takes_kick(struct intake *intake)
{
    bool appended = intake->appended;
    intake->appended = false;
    return appended;
}
