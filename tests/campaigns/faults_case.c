/* One case of the fault campaign: the log, the ledger, and what must hold between the two. */
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/reader.h"
#include "tests/campaigns/faults.h"

enum { HEAD_BYTES = 5, PAYLOAD_BYTES_MIN = 24 };

_Thread_local volatile unsigned faults_case_exempt;

void faults_case_blame(struct faults_case *c, const char *format, ...)
{
    char text[1200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    c->broken = true;
    faults_case_exempt++;
    printf("not ok - %s: %s\n", c->scenario->title, text);
    printf("# to do it again: --scenario '%s' --kind %d --number %" PRIu64 "%s --seed %" PRIu64
           " (%s)\n",
           c->scenario->title, (int)c->plan.kind, c->plan.number,
           c->plan.for_ever ? " --for-ever" : "", c->seed, faults_kind_text(c->plan.kind));
    fflush(stdout);
    faults_case_exempt--;
}

uint64_t faults_case_random(struct faults_case *c, uint64_t below)
{
    c->state = c->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (c->state >> 33) % below;
}

/* What and where: a path, a quoted name, or a segment with its number. Why: the system's words. */
static void check_text(struct faults_case *c, enum error_code code, const struct error *error)
{
    const char *text = error->text;
    const char *reason = faults_kind_reason(c->plan.kind);
    size_t length = strlen(text);

    if (error->code != code)
        faults_case_blame(c, "the code is %s, the error's is %s: %s", error_name(code),
                          error_name(error->code), text);
    if (length < 10 || text[length - 1] == '.')
        faults_case_blame(c, "an error is told as '%s'", text);
    if (!strchr(text, '\'') && !strstr(text, "segment") && code != ERROR_MEMORY)
        faults_case_blame(c, "an error does not say where: %s", text);
    /* SQLite has words of its own. */
    if (reason && !strstr(text, reason) && c->plan.kind != FAULTS_ENOMEM && !c->scenario->on_kernel)
        faults_case_blame(c, "an error does not say that the reason was '%s': %s", reason, text);
}

bool faults_case_took(struct faults_case *c, enum error_code code, const struct error *error)
{
    if (!code)
        return true;
    c->refused = true;
    if (atomic_load(&c->failed_hits) == 0)
        faults_case_blame(c, "a call fails although no fault was made: %s", error->text);
    else
        check_text(c, code, error);
    /* No plan for the disk: then it is memory that fails. */
    if (c->plan.kind == FAULTS_KINDS && code != ERROR_MEMORY)
        faults_case_blame(c, "without memory the code is %s: %s", error_name(code), error->text);
    return false;
}

uint8_t *faults_case_payload(uint64_t id, size_t bytes)
{
    faults_case_exempt++;
    uint8_t *payload = malloc(bytes + 24);
    faults_case_exempt--;
    if (!payload)
        abort();
    size_t text_bytes = bytes - HEAD_BYTES;
    payload[0] = 0xdb;
    for (int i = 0; i < 4; i++)
        payload[1 + i] = (uint8_t)(text_bytes >> (24 - 8 * i));
    size_t at = HEAD_BYTES;
    at += (size_t)snprintf((char *)payload + at, 24, "%" PRIu64 ";", id);
    /* Letters that LZ4 finds no use for, so that sizes on disk can be foreseen. */
    for (uint64_t state = id; at < bytes; at++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        payload[at] = (uint8_t)('0' + (state >> 58));
    }
    return payload;
}

bool faults_case_open(struct faults_case *c, uint64_t segment_bytes)
{
    struct segment_log_options options = {
        .segment_bytes = segment_bytes,
        .segment_age_ns = c->scenario->age_ns ? c->scenario->age_ns : INT64_MAX,
        .write_path = c->scenario->by_map ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
    };
    struct segment_log *log = NULL;
    struct error error = {0};
    enum error_code code =
        segment_log_open(faults_place_path(c->place), &options, &log, NULL, &error);
    if (!faults_case_took(c, code, &error))
        return false;
    c->ledger.opened = c->ledger.count;
    atomic_store(&c->log, log);
    return true;
}

/* What is not durable and was told as "no space" will never be: it may be sent again. */
static void note_withdrawal(struct faults_case *c)
{
    struct faults_ledger *ledger = &c->ledger;
    uint64_t durable = segment_log_durable(c->log);

    if (segment_log_failure(c->log, NULL))
        return;
    for (uint64_t id = 1; id <= ledger->count; id++)
        if (id > ledger->opened && ledger->events[id].sequence > durable)
            ledger->events[id].sequence = 0;
}

bool faults_case_append(struct faults_case *c, size_t bytes)
{
    struct faults_ledger *ledger = &c->ledger;
    uint64_t id = ++ledger->count;
    enum segment_log_outcome outcome;
    struct error error = {0};
    uint64_t sequence;

    if (id >= FAULTS_EVENTS_MAX)
        abort();
    if (bytes < PAYLOAD_BYTES_MIN)
        bytes = PAYLOAD_BYTES_MIN;
    uint8_t *payload = faults_case_payload(id, bytes);
    struct event event = {
        .time_ns = (int64_t)id * 1000000000,
        .topic = id % 2 ? "odd" : "even",
        .topic_bytes = id % 2 ? 3 : 4,
        .payload = payload,
        .payload_bytes = bytes,
        .producer = "someone",
        .producer_bytes = 7,
        .number = id,
    };
    ledger->events[id].bytes = bytes;
    ledger->events[id].sequence = 0;
    ledger->events[id].acknowledged = false;
    enum error_code code;
    while ((code = segment_log_append(c->log, &event, &outcome, &sequence, &error)) == ERROR_BUSY)
        segment_log_wait_room(c->log);
    free(payload);
    if (code == ERROR_NO_SPACE)
        note_withdrawal(c);
    if (code)
        return faults_case_took(c, code, &error);
    if (outcome != LOG_APPENDED)
        faults_case_blame(c, "event %" PRIu64 " is called a duplicate", id);
    ledger->events[id].sequence = sequence;
    return true;
}

/* Whatever the log says now, it must keep. */
void faults_case_note_acks(struct faults_case *c)
{
    struct faults_ledger *ledger = &c->ledger;
    uint64_t durable = segment_log_durable(c->log);

    for (uint64_t id = ledger->opened + 1; id <= ledger->count; id++)
        if (ledger->events[id].sequence > 0 && ledger->events[id].sequence <= durable)
            ledger->events[id].acknowledged = true;
}

bool faults_case_commit(struct faults_case *c)
{
    struct error error = {0};
    enum error_code code = segment_log_wait(c->log, segment_log_appended(c->log), &error);

    if (code == ERROR_NO_SPACE)
        note_withdrawal(c);
    faults_case_note_acks(c);
    return faults_case_took(c, code, &error);
}

void faults_case_wait_until(struct faults_case *c, bool (*holds)(struct faults_case *c))
{
    struct segment_log_counters counters;

    do {
        sched_yield();
        segment_log_count(c->log, &counters);
    } while (!holds(c) && !segment_log_failure(c->log, NULL) && !counters.prepare_failures);
}

uint64_t faults_case_calls(enum faults_file file, enum faults_call call)
{
    struct faults_counts counts;
    faults_count(&counts);
    return counts.calls_on[file][call];
}

void faults_case_note_bound(struct faults_case *c)
{
    uint64_t bound = 1;
    int log_fd = -1;

    if (!file_open_directory(faults_place_path(c->place), false, &log_fd, NULL))
        segment_bound_load(log_fd, &bound, NULL);
    file_close(&log_fd);
    for (uint64_t id = 1; id <= c->ledger.count; id++)
        if (c->ledger.events[id].sequence > 0 && c->ledger.events[id].sequence < bound) {
            c->ledger.events[id].acknowledged = false;
            c->ledger.events[id].retired = true;
        }
}

void faults_case_close(struct faults_case *c)
{
    struct segment_log *log = atomic_load(&c->log);
    struct error error = {0};

    if (!log)
        return;
    faults_case_note_acks(c);
    atomic_store(&c->log, NULL);
    faults_case_took(c, segment_log_close(log, &error), &error);
}

static void take_event(struct faults_case *c, const struct event *event, const char *when)
{
    struct faults_ledger *ledger = &c->ledger;
    uint64_t id = 0;

    if (event->payload_bytes > HEAD_BYTES)
        id = strtoull((const char *)event->payload + HEAD_BYTES, NULL, 10);
    if (id == 0 || id > ledger->count || ledger->events[id].bytes != event->payload_bytes) {
        faults_case_blame(c, "%s: event %" PRIu64 " was never sent", when, event->sequence);
        return;
    }
    uint8_t *payload = faults_case_payload(id, event->payload_bytes);
    if (memcmp(payload, event->payload, event->payload_bytes) != 0 ||
        event->time_ns != (int64_t)id * 1000000000 || event->number != id)
        faults_case_blame(c, "%s: event %" PRIu64 " has another content", when, event->sequence);
    free(payload);
    if (ledger->events[id].seen)
        faults_case_blame(c, "%s: number %" PRIu64 " is there twice", when, id);
    if (ledger->events[id].sequence != event->sequence)
        faults_case_blame(c, "%s: number %" PRIu64 " is event %" PRIu64 ", it was told as %" PRIu64,
                          when, id, event->sequence, ledger->events[id].sequence);
    ledger->events[id].seen = true;
}

void faults_case_check_events(struct faults_case *c, const char *when)
{
    struct faults_ledger *ledger = &c->ledger;
    struct segment_reader *reader = NULL;
    struct error error = {0};
    struct event event;
    enum error_code code = segment_reader_open(faults_place_path(c->place), &reader, &error);

    for (uint64_t id = 1; id <= ledger->count; id++)
        ledger->events[id].seen = false;
    while (!code && (code = segment_reader_next(reader, &event, &error)) == OK)
        take_event(c, &event, when);
    segment_reader_close(reader);
    if (code && code != ERROR_END && !(code == ERROR_NOT_FOUND && ledger->count == 0))
        faults_case_blame(c, "%s: the log cannot be read: %s", when, error.text);
    for (uint64_t id = 1; id <= ledger->count; id++)
        if (ledger->events[id].acknowledged && !ledger->events[id].seen)
            faults_case_blame(c, "%s: acknowledged event %" PRIu64 " is lost", when,
                              ledger->events[id].sequence);
}
