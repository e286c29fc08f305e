/*
 * A pub: its shape, its events into the log, its ack.
 */
#include "tools/daybookd/session_pub.h"

#include "tools/daybookd/intake.h"
#include "tools/daybookd/server.h"

static enum take stop(struct connection *connection, const char *code, const char *text)
{
    connection_fail(connection, code, text);
    return TAKE_STOP;
}

/* ---- One event after the other ---- */

/* What came of the events of one frame so far. */
struct tally {
    struct wire_ack ack;
    uint64_t sequence_wait; /* the ack waits for this */
    bool unable;            /* the log took no more; so it is asked for no more */
    enum error_code unable_code;
    struct error failure; /* of the log: nobody knows what became of the events so far */
};

static enum error_code refuse(struct intake *intake, struct tally *tally, uint32_t index,
                              enum error_code code, const char *reason)
{
    const char *name = code == ERROR_FULL ? error_name(ERROR_INVALID) : error_name(code);
    if (tally->ack.refused++ >= WIRE_REASONS_MAX)
        reason = "";
    return wire_write_refusal(&intake->refusals, index, name, reason, NULL);
}

static enum error_code take_event(struct intake *intake, const struct event *event,
                                  const struct intake_known *known, uint32_t index,
                                  struct tally *tally)
{
    if (tally->unable) {
        static const char WHY[] = "an event before it in this frame could not be stored";
        intake_note_refusal(intake, event, WHY);
        return refuse(intake, tally, index, tally->unable_code, WHY);
    }
    struct error error;
    uint64_t sequence;
    bool in_words = tally->ack.refused < WIRE_REASONS_MAX;
    enum intake_fate fate = intake_take(intake, event, known, in_words, &sequence, &error);
    if (sequence > tally->sequence_wait)
        tally->sequence_wait = sequence;
    switch (fate) {
    case INTAKE_STORED:
        if (tally->ack.stored++ == 0)
            tally->ack.sequence_first = sequence;
        tally->ack.sequence_last = sequence;
        return OK;
    case INTAKE_DUPLICATE:
        tally->ack.duplicates++;
        return OK;
    case INTAKE_UNABLE:
        tally->unable = true;
        tally->unable_code = error.code;
        break;
    case INTAKE_FAILED:
        tally->failure = error;
        return OK;
    case INTAKE_REFUSED:
        break;
    }
    return refuse(intake, tally, index, error.code, error.text);
}

static void answer_pub(struct connection *connection, const struct tally *tally)
{
    struct intake *intake = server_intake(connection->server);
    bool silent = connection->session.ack == WIRE_ACK_NONE;
    if (silent && tally->ack.refused == 0)
        return;
    enum error_code code =
        wire_write_ack(&connection->answers.bytes, &tally->ack, &intake->refusals, NULL);
    connection_answer(connection, code, silent ? 0 : tally->sequence_wait);
}

/* ---- With an expectation: all of them or none ---- */

/* Of those that are in the log already there is nothing to expect: they are behind us. */
static uint32_t count_repeated(struct connection *connection, const struct wire_pub *pub,
                               const struct event *events)
{
    const struct session *session = &connection->session;
    uint64_t last = 0;
    uint32_t count = 0;
    /* Where nobody can tell, append says so. */
    if (server_log_find_producer(connection->server, session->producer, session->producer_bytes,
                                 &last, NULL))
        return 0;
    while (count < pub->event_count && events[count].number > 0 && events[count].number <= last)
        count++;
    return count;
}

/* All of them for one reason, which is given once: with the event that it is about, or the first. */
static enum error_code refuse_together(struct intake *intake, struct tally *tally, uint32_t first,
                                       uint32_t count, size_t culprit, const struct error *why)
{
    const char *name = error_name(why->code == ERROR_FULL ? ERROR_INVALID : why->code);
    enum error_code code = OK;
    for (uint32_t i = first; i < count && !code; i++) {
        bool tells = culprit == SIZE_MAX ? i == first : i == culprit;
        tally->ack.refused++;
        code = wire_write_refusal(&intake->refusals, i, name, tells ? why->text : "", NULL);
    }
    return code;
}

static enum error_code take_together(struct intake *intake, const struct wire_pub *pub,
                                     const struct event *events, const struct intake_known *known,
                                     uint32_t first, struct tally *tally)
{
    uint32_t count = pub->event_count - first;
    uint64_t sequence;
    size_t culprit;
    struct error error;
    if (count == 0)
        return OK;
    switch (intake_take_together(intake, events + first, count, known ? known + first : NULL,
                                 &pub->expected, &sequence, &culprit, &error)) {
    case INTAKE_STORED:
        tally->ack.stored = count;
        tally->ack.sequence_first = sequence;
        tally->ack.sequence_last = tally->sequence_wait = sequence + count - 1;
        return OK;
    case INTAKE_FAILED:
        tally->failure = error;
        return OK;
    case INTAKE_UNABLE:
        tally->unable = true;
        tally->unable_code = error.code;
        break;
    case INTAKE_DUPLICATE:
    case INTAKE_REFUSED:
        break;
    }
    if (culprit != SIZE_MAX)
        culprit += first;
    return refuse_together(intake, tally, first, pub->event_count, culprit, &error);
}

/* ---- Any pub ---- */

static enum error_code take_events(struct connection *connection, const struct wire_pub *pub,
                                   const struct event *events, const struct intake_known *known,
                                   struct tally *tally)
{
    struct intake *intake = server_intake(connection->server);
    uint32_t singly = pub->expected.given ? count_repeated(connection, pub, events)
                                          : pub->event_count;
    enum error_code code = OK;
    for (uint32_t i = 0; i < singly && !code && !tally->failure.code; i++)
        code = take_event(intake, &events[i], known ? &known[i] : NULL, i, tally);
    if (!code && !tally->failure.code && pub->expected.given)
        code = take_together(intake, pub, events, known, singly, tally);
    return code;
}

/* `known` is what the examiner has found out about the events; NULL: nobody has looked yet. */
static enum take store(struct connection *connection, const struct wire_pub *pub,
                       const struct event *events, const struct intake_known *known)
{
    struct tally tally = {.ack.id = pub->id};
    server_intake(connection->server)->refusals.size = 0;
    if (take_events(connection, pub, events, known, &tally))
        return stop(connection, "busy", "no memory for an ack");
    if (tally.failure.code) { /* as server.c tells everybody, but this frame came first */
        error_prefix(&tally.failure, "outcome unknown");
        return stop(connection, "io", tally.failure.text);
    }
    connection->events += pub->event_count;
    answer_pub(connection, &tally);
    /*
     * Were later frames stored while this ack got lost, then the events refused here, sent again
     * with numbers below theirs, would pass for duplicates (docs/protocol.md, "Exactly once").
     */
    if (tally.unable && connection->session.producer_bytes > 0)
        return stop(connection, error_name(tally.unable_code),
                    "the log cannot take events at the moment; connect again later, and send what "
                    "follows the acknowledged frames again");
    return TAKE_DONE;
}

static enum take refuse_pub(struct connection *connection, const struct error *why)
{
    struct error error = *why;
    error_prefix(&error, "pub");
    return stop(connection, "malformed", error.text);
}

static bool has_room(const struct connection *connection, const struct wire_pub *pub)
{
    return intake_has_room(server_intake(connection->server), pub->event_count,
                           pub->event_bytes +
                               pub->event_count * connection->session.producer_bytes);
}

/* The examiner has looked through it. */
static enum take take_examined(struct connection *connection, const struct examiner_result *result)
{
    struct intake *intake = server_intake(connection->server);
    expectations_take(intake->expectations, result->past);
    uint64_t through = result->code ? 0 : intake_wants_past(intake, &result->pub.expected);
    if (through > server_log_sequence(connection->server, false) ||
        (!result->code && !has_room(connection, &result->pub)))
        return TAKE_STALL;
    if (through > 0) {
        connection->examination.past_through = through;
        server_forget_result(connection->server, connection);
        return TAKE_AWAY;
    }
    enum take take = result->code
                         ? refuse_pub(connection, &result->error)
                         : store(connection, &result->pub, result->events, result->known);
    server_forget_result(connection->server, connection);
    return take;
}

enum take session_take_pub(struct connection *connection, struct msgpack_cursor cursor,
                           uint32_t left)
{
    struct session *session = &connection->session;
    const struct examiner_result *result = server_result(connection->server, connection);
    if (result)
        return take_examined(connection, result);
    struct intake *intake = server_intake(connection->server);
    struct event *events = intake->events;
    struct wire_text producer = {session->producer, session->producer_bytes};
    struct wire_pub pub;
    struct error error;
    enum error_code code =
        wire_read_pub_within(cursor, left, &producer, EXAMINER_VALUES, events, &pub, &error);
    uint64_t through = code ? 0 : intake_wants_past(intake, &pub.expected);
    if (through > server_log_sequence(connection->server, false))
        return TAKE_STALL; /* it is about to become durable */
    if (code == ERROR_FULL || through > 0) {
        connection->examination = (struct examiner_job){
            .data = cursor.at,
            .size = (size_t)(cursor.end - cursor.at),
            .left = left,
            .producer = producer,
            .gate = intake->gate,
            .directory = server_directory(connection->server),
            .past_through = through,
        };
        return TAKE_AWAY;
    }
    if (code)
        return refuse_pub(connection, &error);
    return has_room(connection, &pub) ? store(connection, &pub, events, NULL) : TAKE_STALL;
}
