/*
 * tools/daybookd/intake.h - the one door to the log: check an event, append it through the gate
 * (tools/gate.h), or say why not.
 *
 * Used by both protocol modes, by the network thread at the helm. It also owns the scratch memory
 * that taking a frame or line needs, so that no event costs an allocation.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_INTAKE_H
#define DAYBOOK_TOOLS_DAYBOOKD_INTAKE_H

#include "core/json.h"
#include "segment/log.h"
#include "tools/daybookd/refusals.h"
#include "tools/expectation.h"
#include "tools/gate.h"

struct intake {
    struct segment_log *log; /* borrowed */
    struct gate *gate;       /* borrowed; NULL: no topic has a schema */
    struct event *events;    /* scratch for one frame: WIRE_EVENTS_MAX */
    struct buffer refusals;  /* scratch for one ack */
    struct json_reader *json;
    struct buffer converted; /* scratch for one line */
    uint64_t refused;        /* since the start */
    struct refusals *refused_numbers; /* not told to the log yet */
    struct expectations *expectations;
    bool appended;           /* something since the last kick */
};

enum error_code intake_init(struct intake *intake, struct segment_log *log, struct gate *gate,
                            struct error *error);
void intake_release(struct intake *intake);

enum intake_fate {
    INTAKE_STORED,
    INTAKE_DUPLICATE,
    INTAKE_REFUSED, /* it breaks a rule, and always will */
    INTAKE_UNABLE,  /* the log cannot take it now: there is no space, or no memory */
    INTAKE_FAILED,  /* the log has failed, and takes nothing any more */
};

/* What somebody has found out about an event already. */
struct intake_known {
    const struct error *verdict;        /* event_check's word */
    const struct gate_finding *finding; /* the gate's */
};

/*
 * Take one event. `known` NULL: it is checked here. *sequence_out is what an answer must wait for
 * (0 for a refusal: nothing); the error says why it was not stored: without `in_words` only the
 * code of a broken rule, for the words take longer than all the rest. There must be room
 * (intake_has_room).
 */
enum intake_fate intake_take(struct intake *intake, const struct event *event,
                             const struct intake_known *known, bool in_words,
                             uint64_t *sequence_out, struct error *error);
/*
 * Take all of these events, which are not in the log yet, or none; only if the log is as expected.
 * *sequence_out is that of the first; what an answer waits for is that of the last. *culprit_out:
 * the event for which the others are refused as well; SIZE_MAX: it is none of them. Their numbers
 * are not used up by a refusal, so nobody is told of it.
 */
enum intake_fate intake_take_together(struct intake *intake, const struct event *events,
                                      size_t count, const struct intake_known *known,
                                      const struct wire_expectation *expected,
                                      uint64_t *sequence_out, size_t *culprit_out,
                                      struct error *error);
/*
 * What the log was like must be read first, by the examiner: up to this sequence, when it is
 * durable. 0: nothing.
 */
uint64_t intake_wants_past(struct intake *intake, const struct wire_expectation *expected);
/* What is not durable was withdrawn. */
void intake_withdraw(struct intake *intake, uint64_t durable);
/*
 * The event was refused, for this reason; intake_take has done so for those that it refuses. Whose
 * events are numbered will be told of the gap by the index.
 */
void intake_note_refusal(struct intake *intake, const struct event *event, const char *reason);
/* About once a second: tell the log of the refusals since. */
void intake_tell_refusals(struct intake *intake, int64_t now_ns);
/* Of one producer, who has gone. */
void intake_tell_refusals_of(struct intake *intake, const char *producer, size_t producer_bytes,
                             int64_t now_ns);
/* At the end, before the log is closed. */
void intake_tell_all_refusals(struct intake *intake);
bool intake_has_room(struct intake *intake, size_t events, size_t bytes);
/* Let the log's own thread begin with what was appended. */
void intake_kick(struct intake *intake);
/* The caller sees to that itself; false: nothing was appended. */
bool intake_takes_kick(struct intake *intake);

#endif
