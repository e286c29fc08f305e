#include "tools/daybook/publisher.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/gap.h"
#include "core/msgpack.h"
#include "indexer/witness.h"
#include "segment/lock.h"
#include "segment/reader.h"
#include "tools/daybook/index.h"
#include "tools/daybook/verb.h"
#include "tools/expectation.h"
#include "tools/gate.h"

enum {
    INDEX_WAIT_MS = 2000,
    TAGS_FIRST = 1024,
    FRUITLESS_MAX = 20, /* connections, one after the other, that end without any result */
};

struct publisher {
    struct publisher_options options;
    struct daybook *daybook; /* the connection, or */
    struct segment_log *log; /* the log itself, */
    struct gate *gate;       /* with its gate */
    uint64_t number;         /* the producer's last, without a daemon */
    struct publisher_totals totals;
    /* Without a daemon: the tags of the last events appended, which may not be durable yet. */
    uint64_t *tags;
    size_t tag_count, tag_capacity;
    bool waiting; /* the daemon was lost, and is not back */
    struct error given_up; /* why nothing waits for the daemon any more; code OK: it does */
};

static enum error_code code_of(enum daybook_code code)
{
    switch (code) {
    case DAYBOOK_OK:
        return OK;
    case DAYBOOK_INVALID:
    case DAYBOOK_REFUSED:
        return ERROR_INVALID;
    case DAYBOOK_NO_SPACE:
        return ERROR_NO_SPACE;
    case DAYBOOK_UNREACHABLE:
    case DAYBOOK_UNKNOWN:
    case DAYBOOK_TIMEOUT:
        return ERROR_CLOSED;
    case DAYBOOK_MEMORY:
        return ERROR_MEMORY;
    case DAYBOOK_CONFLICT:
        return ERROR_CONFLICT;
    default:
        return ERROR_IO;
    }
}

static enum error_code client_error(const struct daybook_error *from, struct error *error)
{
    return error_set(error, code_of(from->code), "%s", from->text);
}

/*
 * What the connection failed with. Who has waited in vain does not begin again. A daemon that is
 * there, and only ends one connection after the other, as on a full disk, may still answer.
 */
static enum error_code lose(struct publisher *publisher, const struct daybook_error *from,
                            struct error *error)
{
    struct error local;
    enum error_code code = client_error(from, error ? error : &local);
    if ((from->code == DAYBOOK_UNREACHABLE && publisher->waiting) || from->code == DAYBOOK_TIMEOUT)
        publisher->given_up = error ? *error : local;
    return code;
}

static enum error_code check_given_up(const struct publisher *publisher, struct error *error)
{
    if (publisher->given_up.code && error)
        *error = publisher->given_up;
    return publisher->given_up.code;
}

static void tell_connection(void *context, bool connected)
{
    struct publisher *publisher = context;
    publisher->waiting = !connected;
    if (connected)
        verb_say(publisher->options.verb, "connected to the daemon again");
    else
        verb_say(publisher->options.verb, "connection to the daemon lost; trying for up to %d s",
                 PUBLISHER_PATIENCE_S);
}

static void count_sequence(struct publisher_totals *totals, uint64_t sequence)
{
    if (sequence == 0)
        return;
    if (totals->sequence_first == 0 || sequence < totals->sequence_first)
        totals->sequence_first = sequence;
    if (sequence > totals->sequence_last)
        totals->sequence_last = sequence;
}

static void tell_no_space(struct publisher *publisher, uint64_t tag, const char *reason)
{
    const struct publisher_options *options = &publisher->options;
    publisher->totals.no_space++;
    if (options->no_space)
        options->no_space(options->context, tag, reason);
    else if (options->refused)
        options->refused(options->context, tag, reason);
}

static void tell_unknown(struct publisher *publisher, uint64_t tag)
{
    publisher->totals.unknown++;
    if (publisher->options.unknown)
        publisher->options.unknown(publisher->options.context, tag);
}

static void take_result(void *context, const struct daybook_result *result)
{
    struct publisher *publisher = context;
    struct publisher_totals *totals = &publisher->totals;
    switch (result->code) {
    case DAYBOOK_OK:
        totals->stored += !result->duplicate;
        totals->duplicates += result->duplicate;
        count_sequence(totals, result->sequence);
        break;
    case DAYBOOK_UNKNOWN:
        tell_unknown(publisher, result->tag);
        break;
    case DAYBOOK_NO_SPACE:
        totals->refused++;
        tell_no_space(publisher, result->tag, result->reason);
        break;
    default:
        totals->refused++;
        if (publisher->options.refused)
            publisher->options.refused(publisher->options.context, result->tag, result->reason);
    }
}

static enum daybook_code connect_to_daemon(struct publisher *publisher, struct daybook_error *error)
{
    struct daybook_options options = {
        .directory = publisher->options.directory,
        .socket = publisher->options.socket,
        .producer = publisher->options.producer,
        .client = "daybook/" DAYBOOK_VERSION,
        .ack = publisher->options.ack,
        .retry_timeout_ms = PUBLISHER_PATIENCE_S * 1000,
        .on_result = take_result,
        .on_connection = tell_connection,
        .context = publisher,
    };
    return daybook_connect(&options, &publisher->daybook, error);
}

/* A value of the daemon's status. */
static bool ask(struct publisher *publisher, const char *key, struct msgpack_value *value_out)
{
    const void *map;
    size_t map_bytes;
    struct msgpack_cursor found;
    if (daybook_status(publisher->daybook, &map, &map_bytes, NULL) != DAYBOOK_OK)
        return false;
    struct msgpack_cursor cursor = {map, (const uint8_t *)map + map_bytes};
    return msgpack_find(&cursor, key, &found, NULL) == OK &&
           msgpack_read(&found, value_out, NULL) == OK;
}

bool publisher_checks_schemas(struct publisher *publisher)
{
    struct msgpack_value value;
    return publisher->log || ask(publisher, "schemas", &value);
}

/* The identity of the log behind the connection, as hexadecimal digits; "" when it is not told. */
static void ask_log_id(struct publisher *publisher, char *text_out, size_t size)
{
    struct msgpack_value value;
    text_out[0] = '\0';
    if (ask(publisher, "log", &value) && value.kind == MSGPACK_KIND_STR)
        snprintf(text_out, size, "%.*s", (int)value.count, (const char *)value.bytes);
}

static bool keeps_our_log(struct publisher *publisher)
{
    const struct publisher_options *options = &publisher->options;
    char theirs[64], ours[FORMAT_LOG_ID_TEXT + 1] = "";
    struct segment_reader *reader = NULL;
    ask_log_id(publisher, theirs, sizeof theirs);
    if (segment_reader_open(options->directory, &reader, NULL) == OK) {
        segment_format_log_id_text(segment_reader_log_id(reader), ours);
        segment_reader_close(reader);
    }
    return strcmp(ours, theirs) == 0;
}

/* $DAYBOOK_SOCKET may belong to another log than -D: events must not go there silently. */
static enum error_code check_log(struct publisher *publisher, struct error *error)
{
    const struct publisher_options *options = &publisher->options;
    if (options->same_log && !keeps_our_log(publisher))
        return error_set(error, ERROR_FOREIGN,
                         "the daemon at '%s' keeps another log than the one in '%s': name the "
                         "right socket with -s, or unset DAYBOOK_SOCKET",
                         options->socket, options->directory);
    if (options->other_log && keeps_our_log(publisher))
        return error_set(error, ERROR_INVALID,
                         "the daemon at '%s' keeps the log in '%s' itself, where each event would "
                         "be there twice: name the daemon of another log, or other topics with "
                         "--remap",
                         options->socket, options->directory);
    return OK;
}

static enum error_code send_to_daemon(struct publisher *publisher, const struct event *event,
                                      uint64_t tag, struct error *error)
{
    struct daybook_event outgoing = {
        .time_ns = event->time_ns,
        .topic = event->topic,
        .topic_bytes = event->topic_bytes,
        .payload = event->payload,
        .payload_bytes = event->payload_bytes,
        .tag = tag,
    };
    struct daybook_error failure;
    enum error_code code = check_given_up(publisher, error);
    if (!code && daybook_send(publisher->daybook, &outgoing, &failure) != DAYBOOK_OK)
        code = lose(publisher, &failure, error);
    return code;
}

static void tell_recovery(const char *verb, const char *directory,
                          const struct segment_recovery_report *report)
{
    if (report->created) /* a directory that was meant otherwise is noticed now, not later */
        verb_say(verb, "note: there was no log in '%s'; a new one is made", directory);
    if (report->torn_bytes)
        verb_say(verb, "note: removed %" PRIu64 " bytes of a write that was never acknowledged",
                 report->torn_bytes);
    if (report->gap_last)
        verb_say(verb, "note: sequences %" PRIu64 "-%" PRIu64 " will never exist: %s",
                 report->gap_first, report->gap_last,
                 segment_format_gap_cause_text(report->gap_cause));
    if (report->past_rebuilt)
        verb_say(verb, "note: who has published before was listed anew from all events%s%s",
                 report->past_loss.code ? ", not completely: " : "", report->past_loss.text);
    if (report->quarantined[0])
        verb_say(verb, "note: damaged bytes were kept in quarantine/%s", report->quarantined);
}

/* A change that only waits is 'daybook schema list's to tell; this one changes what is taken. */
static void tell_doubt(const struct publisher *publisher)
{
    struct gate_pending pending;
    char words[GATE_WORDS_BYTES];
    if (gate_pending(publisher->gate, &pending) && pending.in_doubt &&
        gate_pending_words(publisher->gate, words))
        verb_say(publisher->options.verb, "note: %s", words);
}

/* Somebody holds the writer's lock, but does not serve us at the socket; `why` is what happened. */
static enum error_code describe_writer(const struct publisher_options *options, const char *why,
                                       struct error *error)
{
    struct error writer;
    int log_fd = -1;
    enum error_code code = file_open_directory_to_read(options->directory, &log_fd, &writer);
    if (!code)
        code = segment_lock_check_writer(log_fd, &writer);
    file_close(&log_fd);
    if (code != ERROR_BUSY)
        error_set(&writer, ERROR_BUSY, "another process wrote to this log a moment ago");
    return error_set(error, ERROR_CLOSED,
                     "open log '%s': %s, but nobody takes events at '%s' (%.300s): name its socket "
                     "with -s, or wait until it is done",
                     options->directory, writer.text, options->socket, why);
}

/* Without the daemon, for the reason `why`. */
static enum error_code open_log(struct publisher *publisher, const char *why, struct error *error)
{
    const struct publisher_options *options = &publisher->options;
    struct segment_log_options settings = options->settings;
    struct segment_recovery_report report = {0};
    enum error_code code = indexer_witness(options->directory, &settings.witness_sequence, error);
    if (!code)
        code = segment_log_open(options->directory, &settings, &publisher->log, &report, error);
    if (code == ERROR_BUSY)
        return describe_writer(options, why, error);
    if (code)
        return code;
    tell_recovery(options->verb, options->directory, &report);
    code = gate_open(options->directory, &publisher->gate, error);
    if (code) {
        segment_log_close(publisher->log, NULL);
        return code;
    }
    tell_doubt(publisher);
    publisher->totals.embedded = true;
    if (!options->producer)
        return OK;
    code = segment_log_find_producer(publisher->log, options->producer,
                                     strlen(options->producer), &publisher->number, error);
    if (!code)
        return OK;
    gate_close(publisher->gate);
    publisher->gate = NULL;
    segment_log_close(publisher->log, NULL);
    publisher->log = NULL;
    return code;
}

/* Behind the last number there is none: 0 would pass for a number that the log has already. */
static enum error_code number_event(const struct publisher *publisher, struct event *event,
                                    struct error *error)
{
    const char *producer = publisher->options.producer;
    if (!producer)
        return OK;
    if (publisher->number >= EVENT_NUMBER_MAX)
        return error_set(error, ERROR_INVALID,
                         "the producer '%s' has used up its numbers: publish under another name",
                         producer);
    event->producer = producer;
    event->producer_bytes = strlen(producer);
    event->number = publisher->number + 1;
    return OK;
}

/* Make room for one more tag; those of durable events are needed no more. */
static enum error_code reserve_tag(struct publisher *publisher, struct error *error)
{
    if (publisher->tag_count < publisher->tag_capacity)
        return OK;
    uint64_t durable = segment_log_durable(publisher->log);
    uint64_t last = publisher->totals.sequence_last;
    size_t pending = last > durable ? (size_t)(last - durable) : 0;
    if (pending < publisher->tag_count) {
        memmove(publisher->tags, publisher->tags + publisher->tag_count - pending,
                pending * sizeof *publisher->tags);
        publisher->tag_count = pending;
    }
    if (publisher->tag_capacity > 0 && publisher->tag_count <= publisher->tag_capacity / 2)
        return OK;
    size_t capacity = publisher->tag_capacity ? 2 * publisher->tag_capacity : TAGS_FIRST;
    uint64_t *tags = realloc(publisher->tags, capacity * sizeof *tags);
    if (!tags)
        return error_set(error, ERROR_MEMORY, "no memory to publish");
    publisher->tags = tags;
    publisher->tag_capacity = capacity;
    return OK;
}

static enum error_code append_to_log(struct publisher *publisher, const struct event *event,
                                     uint64_t tag, struct error *error)
{
    struct event numbered = *event;
    enum error_code code = number_event(publisher, &numbered, error);
    if (!code)
        code = gap_check(&numbered, error);
    if (!code)
        code = reserve_tag(publisher, error);
    if (code)
        return code;
    enum segment_log_outcome outcome;
    uint64_t sequence;
    code = gate_append(publisher->gate, publisher->log, &numbered, NULL, true, &outcome, &sequence,
                       error);
    if (code)
        return code;
    if (outcome == LOG_APPENDED)
        publisher->tags[publisher->tag_count++] = tag;
    publisher->number = numbered.number;
    publisher->totals.stored += outcome == LOG_APPENDED;
    publisher->totals.duplicates += outcome == LOG_DUPLICATE;
    count_sequence(&publisher->totals, sequence);
    return OK;
}

/* Which way: the daemon's socket first. */
static enum error_code choose_way(struct publisher *publisher, struct error *error)
{
    const struct publisher_options *options = &publisher->options;
    struct daybook_error failure;
    enum daybook_code answer = connect_to_daemon(publisher, &failure);
    if (answer == DAYBOOK_OK)
        return check_log(publisher, error);
    if (answer != DAYBOOK_UNREACHABLE || options->daemon_only || !options->directory)
        return client_error(&failure, error);
    return open_log(publisher, failure.text, error);
}

enum error_code publisher_open(const struct publisher_options *options,
                               struct publisher **publisher_out, struct error *error)
{
    struct publisher *publisher = calloc(1, sizeof *publisher);
    if (!publisher)
        return error_set(error, ERROR_MEMORY, "no memory to publish");
    publisher->options = *options;
    enum error_code code = choose_way(publisher, error);
    if (code) {
        daybook_close(publisher->daybook);
        free(publisher);
        return code;
    }
    *publisher_out = publisher;
    return OK;
}

enum error_code publisher_send(struct publisher *publisher, const struct event *event, uint64_t tag,
                               struct error *error)
{
    if (publisher->log)
        return append_to_log(publisher, event, tag, error);
    return send_to_daemon(publisher, event, tag, error);
}

/* ---- Together ---- */

static void count_together(struct publisher_totals *totals, uint64_t sequence, size_t count)
{
    if (sequence == 0) {
        totals->duplicates += count;
        return;
    }
    totals->stored += count;
    count_sequence(totals, sequence);
    count_sequence(totals, sequence + count - 1);
}

static enum error_code together_to_daemon(struct publisher *publisher, const struct event *events,
                                          size_t count, const struct wire_expectation *expected,
                                          struct error *error)
{
    struct daybook_expectation expectation = {expected->last, expected->topic.text};
    struct daybook_event *outgoing = calloc(count, sizeof *outgoing);
    struct daybook_error failure;
    uint64_t sequence;
    if (!outgoing)
        return error_set(error, ERROR_MEMORY, "no memory to publish");
    for (size_t i = 0; i < count; i++)
        outgoing[i] = (struct daybook_event){
            .time_ns = events[i].time_ns,
            .topic = events[i].topic,
            .topic_bytes = events[i].topic_bytes,
            .payload = events[i].payload,
            .payload_bytes = events[i].payload_bytes,
        };
    enum daybook_code code = daybook_publish_expecting(publisher->daybook, outgoing, count,
                                                       &expectation, &sequence, &failure);
    free(outgoing);
    if (!code)
        count_together(&publisher->totals, sequence, count);
    else if (code == DAYBOOK_UNKNOWN || code == DAYBOOK_TIMEOUT)
        publisher->totals.unknown += count;
    return code ? lose(publisher, &failure, error) : OK;
}

/* We hold the log: nobody else appends between the look and the events. */
static enum error_code meet_alone(struct publisher *publisher,
                                  const struct wire_expectation *expected, struct error *error)
{
    struct expectations *expectations;
    struct expectations_past past = {0};
    enum error_code code = expectations_create(&expectations, error);
    if (code)
        return code;
    uint64_t through = expectations_wants(expectations, publisher->log, expected);
    if (through > 0) {
        expectations_load(publisher->options.directory, through, &past);
        expectations_take(expectations, &past);
    }
    code = expectations_meet(expectations, publisher->log, expected, error);
    expectations_free(expectations);
    return code;
}

static enum error_code number_together(struct publisher *publisher, const struct event *events,
                                       size_t count, struct event *numbered, struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; i < count && !code; i++) {
        numbered[i] = events[i];
        code = number_event(publisher, &numbered[i], error);
        if (!code)
            code = gap_check(&numbered[i], error);
        publisher->number += numbered[i].number > 0;
    }
    return code;
}

static enum error_code together_to_log(struct publisher *publisher, const struct event *events,
                                       size_t count, const struct wire_expectation *expected,
                                       struct error *error)
{
    struct event *numbered = calloc(count, sizeof *numbered);
    uint64_t sequence, number_before = publisher->number;
    size_t culprit;
    if (!numbered)
        return error_set(error, ERROR_MEMORY, "no memory to publish");
    enum error_code code = number_together(publisher, events, count, numbered, error);
    if (!code)
        code = segment_log_wait(publisher->log, segment_log_appended(publisher->log), error);
    if (!code)
        code = meet_alone(publisher, expected, error);
    if (!code)
        code = gate_append_together(publisher->gate, publisher->log, numbered, count, NULL,
                                    &sequence, &culprit, error);
    free(numbered);
    if (!code)
        code = segment_log_wait(publisher->log, sequence + count - 1, error);
    if (!code)
        count_together(&publisher->totals, sequence, count);
    else
        publisher->number = number_before;
    return code;
}

enum error_code publisher_publish_together(struct publisher *publisher, const struct event *events,
                                           size_t count, const struct wire_expectation *expected,
                                           struct error *error)
{
    if (publisher->log)
        return together_to_log(publisher, events, count, expected, error);
    return together_to_daemon(publisher, events, count, expected, error);
}

enum error_code publisher_push(struct publisher *publisher, struct error *error)
{
    struct daybook_error failure;
    if (publisher->log) {
        segment_log_kick(publisher->log);
        return OK;
    }
    enum error_code given_up = check_given_up(publisher, error);
    if (given_up)
        return given_up;
    enum daybook_code code = daybook_poll(publisher->daybook, 0, &failure);
    return code && code != DAYBOOK_TIMEOUT ? lose(publisher, &failure, error) : OK;
}

/*
 * On a full disk the daemon closes a connection with numbered events after each frame that it
 * refuses, and when it gives frames back that it had taken; those only get their answer over the
 * next one. As long as the daemon is there, and that brings results, there are more to be had.
 */
static enum error_code flush_to_daemon(struct publisher *publisher, struct error *error)
{
    struct daybook_error failure;
    struct daybook_counts before, after;
    enum daybook_code code;
    unsigned fruitless = 0;
    enum error_code given_up = check_given_up(publisher, error);
    if (given_up)
        return given_up;
    do {
        daybook_count(publisher->daybook, &before);
        code = daybook_flush(publisher->daybook, &failure);
        daybook_count(publisher->daybook, &after);
        fruitless = after.unacknowledged < before.unacknowledged ? 0 : fruitless + 1;
    } while (code == DAYBOOK_UNREACHABLE && !publisher->waiting && fruitless < FRUITLESS_MAX);
    return code ? lose(publisher, &failure, error) : OK;
}

/* A change whose command was killed: its event may have come through us. */
static void settle_schemas(struct publisher *publisher)
{
    struct error why;
    if (gate_settle(publisher->gate, segment_log_durable(publisher->log), &why))
        verb_say(publisher->options.verb,
                 "note: a change of a schema is in effect, but that cannot be noted in "
                 "schemas/catalogue; who writes next tries again: %s",
                 why.text);
}

enum error_code publisher_flush(struct publisher *publisher, struct error *error)
{
    if (!publisher->log)
        return flush_to_daemon(publisher, error);
    enum error_code code =
        segment_log_wait(publisher->log, segment_log_appended(publisher->log), error);
    if (!code)
        settle_schemas(publisher);
    return code;
}

void publisher_count(const struct publisher *publisher, struct publisher_totals *totals_out)
{
    *totals_out = publisher->totals;
}

/* What was appended and is not durable: withdrawn on a full disk, or unknown after a failure. */
static void discount(struct publisher *publisher, uint64_t durable, bool failed, const char *reason)
{
    struct publisher_totals *totals = &publisher->totals;
    if (totals->sequence_last <= durable)
        return;
    uint64_t missing = totals->sequence_last - durable;
    if (missing > publisher->tag_count)
        missing = publisher->tag_count;
    totals->stored -= missing;
    const uint64_t *tags = publisher->tags + publisher->tag_count - missing;
    for (uint64_t i = 0; i < missing; i++) {
        if (failed)
            tell_unknown(publisher, tags[i]);
        else
            tell_no_space(publisher, tags[i], reason);
    }
    if (!failed)
        totals->sequence_last = totals->stored > 0 ? durable : 0;
}

/* The log first: what could not be made durable does not count as stored. */
static enum error_code close_log(struct publisher *publisher, struct error *error)
{
    struct error local;
    if (!error)
        error = &local;
    enum error_code code = publisher_flush(publisher, error);
    uint64_t durable = segment_log_durable(publisher->log);
    bool failed = segment_log_failure(publisher->log, NULL) != OK;
    struct error later;
    enum error_code closed = segment_log_close(publisher->log, &later);
    if (!code && closed) {
        code = closed;
        *error = later;
    }
    discount(publisher, durable, failed, code ? error->text : "");
    index_freshen(publisher->options.verb, publisher->options.directory, NULL);
    return code;
}

/*
 * Whoever publishes and then asks SQL expects to find the events. The daemon's indexer is a moment
 * behind, so give it that moment; not more, for the events are safe without it.
 */
static void wait_for_index(const struct publisher *publisher)
{
    const struct publisher_options *options = &publisher->options;

    bool ours = options->directory && (options->same_log || !options->daemon_only);

    if (ours && publisher->totals.sequence_last > 0)
        indexer_wait_for_sequence(options->directory, publisher->totals.sequence_last,
                                  INDEX_WAIT_MS, NULL);
}

enum error_code publisher_close(struct publisher *publisher, struct publisher_totals *totals_out,
                                struct error *error)
{
    if (!publisher)
        return OK;
    enum error_code code;
    if (publisher->log) {
        code = close_log(publisher, error);
    } else {
        code = publisher_flush(publisher, error);
        wait_for_index(publisher);
        daybook_close(publisher->daybook); /* gives what has no result yet its "unknown" */
    }
    if (totals_out)
        *totals_out = publisher->totals;
    gate_close(publisher->gate);
    free(publisher->tags);
    free(publisher);
    return code;
}
