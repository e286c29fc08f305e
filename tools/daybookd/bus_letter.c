#include "tools/daybookd/bus_letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/msgpack.h"
#include "segment/log.h"
#include "segment/reader.h"
#include "tools/daybookd/bus_state.h"

enum { RETRY_NS = 1000000000 };

static const char prefix[] = BUS_LETTER_PREFIX;

void bus_letter_name_producer(uint64_t cursor_id, char name_out[EVENT_PRODUCER_BYTES_MAX + 1])
{
    snprintf(name_out, EVENT_PRODUCER_BYTES_MAX + 1, "%s%016" PRIx64, prefix, cursor_id);
}

/* ---- Written by the keeper ---- */

/* ERROR_NOT_FOUND: the event is not in the log any more, and cannot be read whole again. */
static enum error_code find_event(struct segment_reader *reader, uint64_t sequence,
                                  struct event *event_out, struct error *error)
{
    enum error_code code = segment_reader_seek(reader, sequence, error);
    if (!code)
        code = segment_reader_next(reader, event_out, error);
    if (code == ERROR_DAMAGED || code == ERROR_END || (!code && event_out->sequence != sequence))
        return error_set(error, ERROR_NOT_FOUND, "event %" PRIu64 " is not there", sequence);
    return code;
}

static bool pack_head(msgpack_packer *packer, const char *cursor,
                      const struct segment_cursor_pending *what)
{
    return msgpack_pack_map(packer, 6) || msgpack_pack_text(packer, "cursor") ||
           msgpack_pack_text(packer, cursor) || msgpack_pack_text(packer, "seq") ||
           msgpack_pack_uint64(packer, what->sequence) || msgpack_pack_text(packer, "tries") ||
           msgpack_pack_uint32(packer, what->tries);
}

/* `event` NULL: it is gone, and its sequence tells all that is known. */
static bool pack_event(msgpack_packer *packer, const struct event *event)
{
    if (!event)
        return msgpack_pack_text(packer, "topic") || msgpack_pack_nil(packer) ||
               msgpack_pack_text(packer, "time") || msgpack_pack_nil(packer);
    return msgpack_pack_text(packer, "topic") ||
           msgpack_pack_str_with_body(packer, event->topic, event->topic_bytes) ||
           msgpack_pack_text(packer, "time") || msgpack_pack_int64(packer, event->time_ns);
}

static enum error_code write_payload(struct bus_letter *letter, const char *cursor,
                                     const struct event *event, bool with_payload,
                                     struct error *error)
{
    msgpack_packer packer;
    letter->payload.size = 0;
    msgpack_packer_to_buffer(&packer, &letter->payload);
    bool failed = pack_head(&packer, cursor, &letter->what) || pack_event(&packer, event) ||
                  msgpack_pack_text(&packer, "payload");
    if (!failed && event && with_payload)
        failed = buffer_append(&letter->payload, event->payload, event->payload_bytes, NULL);
    else if (!failed)
        failed = msgpack_pack_nil(&packer);
    return failed ? error_set(error, ERROR_MEMORY, "no memory for a dead letter") : OK;
}

static struct event event_of(const struct bus_letter *letter)
{
    return (struct event){
        .time_ns = EVENT_TIME_NONE,
        .topic = letter->topic,
        .topic_bytes = strlen(letter->topic),
        .payload = letter->payload.data,
        .payload_bytes = letter->payload.size,
        .producer = letter->producer,
        .producer_bytes = strlen(letter->producer),
        .number = letter->what.letter,
    };
}

/* A payload so large or deep that nothing fits around it stays where it is: "seq" tells where. */
static enum error_code write_letter(struct bus_group *group, const struct event *event,
                                    struct error *error)
{
    struct bus_letter *letter = &group->letter;
    snprintf(letter->topic, sizeof letter->topic, "%s%s", prefix, group->name);
    enum error_code code = write_payload(letter, group->name, event, true, error);
    struct event whole = event_of(letter);
    if (!code && event && event_check(&whole, NULL))
        code = write_payload(letter, group->name, event, false, error);
    return code;
}

static void work_letter(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    struct segment_reader *reader = NULL;
    struct event event;
    enum error_code code =
        segment_reader_open(group->bus->options.directory, &reader, &group->error);
    if (!code)
        code = find_event(reader, group->letter.what.sequence, &event, &group->error);
    if (!code || code == ERROR_NOT_FOUND)
        code = write_letter(group, code ? NULL : &event, &group->error);
    segment_reader_close(reader);
    group->error.code = code;
}

static void done_letter(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    struct bus_letter *letter = &group->letter;
    group->busy = false;
    letter->state = LETTER_WRITTEN;
    if (group->error.code) {
        bus_letter_drop(group);
        notices_line(&group->bus->notices, REPORT_WARNING,
                     "group '%s': the dead letter of event %" PRIu64 " cannot be written yet: %s",
                     group->name, letter->what.sequence, group->error.text);
        letter->retry_ns = group->bus->now_ns + RETRY_NS;
    }
    bus_group_step(group);
}

/* ---- Appended by a network thread ---- */

static void ring_departures(struct bus *bus)
{
    uint64_t one = 1;
    ssize_t written = write(bus->departures_fd, &one, sizeof one);
    (void)written; /* fails only when the counter is full, and then it is readable anyway */
}

static void post(struct bus *bus, struct bus_letter *letter)
{
    pthread_mutex_lock(&bus->mutex);
    letter->sequence = 0;
    letter->why.code = OK;
    list_append(&bus->letters, &letter->in_letters);
    pthread_mutex_unlock(&bus->mutex);
    letter->state = LETTER_POSTED;
    letter->retry_ns = bus->now_ns + RETRY_NS;
    ring_departures(bus);
}

bool bus_append_letters(struct bus *bus)
{
    bool appended = false;
    pthread_mutex_lock(&bus->mutex);
    for (struct list_link *link = bus->letters.next; link != &bus->letters; link = link->next) {
        struct bus_letter *letter = LIST_MEMBER(link, struct bus_letter, in_letters);
        enum segment_log_outcome outcome;
        uint64_t sequence;
        struct event event = event_of(letter);
        /* What the log cannot take now is offered again. */
        if (letter->sequence > 0 ||
            segment_log_append(bus->options.log, &event, &outcome, &sequence, &letter->why))
            continue;
        letter->sequence = sequence;
        appended = true;
    }
    pthread_mutex_unlock(&bus->mutex);
    return appended;
}

static void offer_again(struct bus *bus, struct bus_letter *letter)
{
    pthread_mutex_lock(&bus->mutex);
    struct error why = letter->why;
    letter->sequence = 0;
    letter->why.code = OK;
    pthread_mutex_unlock(&bus->mutex);
    if (why.code)
        notices_line(&bus->notices, REPORT_WARNING,
                     "the dead letter of event %" PRIu64 " cannot be stored in %s yet: %s",
                     letter->what.sequence, letter->topic, why.text);
    letter->retry_ns = bus->now_ns + RETRY_NS;
    ring_departures(bus);
}

/*
 * Is it durable? A letter that found no room on the disk may have been withdrawn after it was
 * appended, and its sequence given to another event: then the log does not know its number.
 */
static bool is_durable(struct bus *bus, struct bus_letter *letter)
{
    struct segment_log *log = bus->options.log;
    pthread_mutex_lock(&bus->mutex);
    uint64_t sequence = letter->sequence;
    pthread_mutex_unlock(&bus->mutex);
    if (sequence > 0 && segment_log_durable(log) < sequence)
        return false;
    bool is_there = sequence > 0 &&
                    segment_log_producer_number(log, letter->producer, strlen(letter->producer)) >=
                        letter->what.letter;
    if (!is_there && (sequence > 0 || bus->now_ns >= letter->retry_ns))
        offer_again(bus, letter);
    return is_there;
}

void bus_letter_drop(struct bus_group *group)
{
    struct bus_letter *letter = &group->letter;
    pthread_mutex_lock(&group->bus->mutex);
    list_remove(&letter->in_letters);
    pthread_mutex_unlock(&group->bus->mutex);
    group->bus->letters_on_their_way -= letter->state != LETTER_NONE;
    letter->state = LETTER_NONE;
    letter->retry_ns = 0;
    buffer_release(&letter->payload);
}

/* ---- Step by step ---- */

/* In the order of the numbers: the log takes a producer's numbers in no other. */
static bool begin(struct bus_group *group)
{
    struct bus_letter *letter = &group->letter;
    if (group->bus->now_ns < letter->retry_ns ||
        group->bus->letters_on_their_way == BUS_LETTERS ||
        !group_next_letter(group->group, 0, &letter->what) ||
        letter->what.letter > group->stored_letters)
        return false;
    letter->state = LETTER_BEGUN;
    group->bus->letters_on_their_way++;
    bus_group_task(group, work_letter, done_letter);
    return true;
}

bool bus_letter_step(struct bus_group *group)
{
    struct bus_letter *letter = &group->letter;
    switch (letter->state) {
    case LETTER_NONE:
        return begin(group);
    case LETTER_WRITTEN:
        post(group->bus, letter);
        return false;
    case LETTER_BEGUN:
        return false;
    case LETTER_POSTED:
        break;
    }
    if (!is_durable(group->bus, letter))
        return false;
    notices_line(&group->bus->notices, REPORT_WARNING,
                 "group '%s': event %" PRIu64 " was not settled in %" PRIu32
                 " tries; it is in %s now",
                 group->name, letter->what.sequence, letter->what.tries, letter->topic);
    bus_letter_drop(group);
    group_bury(group->group, letter->what.sequence);
    group->due = true; /* for another round: that has to be stored, and the next one may begin */
    return false;
}
