#include "tools/expectation.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "core/topic_pattern.h"
#include "segment/topics_last.h"

enum { SLOTS = 2 * EXPECTATIONS_TOPICS_MAX, KEEP = EXPECTATIONS_TOPICS_MAX / 2 };

/* ---- The last events of topics ---- */

struct topic {
    uint64_t sequence;
    uint8_t bytes;
    char name[EVENT_TOPIC_BYTES_MAX];
};

struct expectations_topics {
    uint64_t known_above; /* of the events up to this one nothing is known */
    size_t count;
    uint16_t slots[SLOTS]; /* 1 + the place of a topic; 0: free */
    struct topic list[EXPECTATIONS_TOPICS_MAX];
};

static uint16_t *slot_of(struct expectations_topics *topics, const char *name, size_t bytes)
{
    size_t i = checksum_extend(0, name, bytes) % SLOTS;

    while (topics->slots[i]) {
        const struct topic *topic = &topics->list[topics->slots[i] - 1];
        if (topic->bytes == bytes && memcmp(topic->name, name, bytes) == 0)
            break;
        i = (i + 1) % SLOTS;
    }
    return &topics->slots[i];
}

static int by_age(const void *a, const void *b)
{
    const struct topic *left = a, *right = b;
    return left->sequence < right->sequence ? 1 : left->sequence > right->sequence ? -1 : 0;
}

/* Forget half of them, the oldest; how old they are is known. */
static void forget_oldest(struct expectations_topics *topics)
{
    qsort(topics->list, topics->count, sizeof *topics->list, by_age);
    if (topics->list[KEEP].sequence > topics->known_above)
        topics->known_above = topics->list[KEEP].sequence;
    topics->count = KEEP;
    memset(topics->slots, 0, sizeof topics->slots);
    for (size_t i = 0; i < topics->count; i++)
        *slot_of(topics, topics->list[i].name, topics->list[i].bytes) = (uint16_t)(i + 1);
}

static void note(struct expectations_topics *topics, const char *name, size_t bytes,
                 uint64_t sequence)
{
    uint16_t *slot = slot_of(topics, name, bytes);

    if (!*slot && sequence <= topics->known_above)
        return;
    if (!*slot && topics->count == EXPECTATIONS_TOPICS_MAX) {
        forget_oldest(topics);
        slot = slot_of(topics, name, bytes);
    }
    if (!*slot) {
        struct topic *topic = &topics->list[topics->count++];
        *topic = (struct topic){.bytes = (uint8_t)bytes};
        memcpy(topic->name, name, bytes);
        *slot = (uint16_t)topics->count;
    }
    struct topic *topic = &topics->list[*slot - 1];
    if (sequence > topic->sequence)
        topic->sequence = sequence;
}

/* ---- */

struct expectations {
    struct expectations_topics *topics; /* NULL: nobody has asked for one yet */
    bool loaded;                        /* what was before, too, as far as it can be had */
    uint64_t load_through;
    uint64_t known_before; /* known_above as it was at first */
};

enum error_code expectation_check(const struct wire_expectation *expectation, struct error *error)
{
    if (!expectation->given && expectation->topic.text)
        return error_set(error, ERROR_INVALID, "expect_topic means nothing without expect_last");
    if (!expectation->given)
        return OK;
    if (expectation->last >= EVENT_SEQUENCE_END)
        return error_set(error, ERROR_INVALID, "expect_last: no event has the sequence %" PRIu64,
                         expectation->last);
    if (!expectation->topic.text)
        return OK;
    if (expectation->topic.bytes > 0 && expectation->topic.text[0] == '_')
        return error_set(error, ERROR_INVALID,
                         "expect_topic: topics that begin with '_' are the log's own, and nothing "
                         "can be expected of them");
    enum error_code code =
        topic_pattern_check(expectation->topic.text, expectation->topic.bytes, error);
    return code && error ? error_prefix(error, "expect_topic") : code;
}

enum error_code expectations_create(struct expectations **expectations_out, struct error *error)
{
    struct expectations *made = calloc(1, sizeof *made);
    if (!made)
        return error_set(error, ERROR_MEMORY, "no memory for what is expected of the log");
    *expectations_out = made;
    return OK;
}

void expectations_free(struct expectations *expectations)
{
    if (!expectations)
        return;
    free(expectations->topics);
    free(expectations);
}

/* ---- What was before ---- */

uint64_t expectations_wants(struct expectations *expectations, const struct segment_log *log,
                            const struct wire_expectation *expectation)
{
    if (!expectation->given || !expectation->topic.text || expectations->loaded)
        return 0;
    if (!expectations->topics) {
        expectations->topics = calloc(1, sizeof *expectations->topics);
        if (!expectations->topics)
            return 0; /* nobody can tell, then; expectations_meet says so */
        expectations->load_through = segment_log_appended(log);
        expectations->known_before = expectations->load_through;
        expectations->topics->known_above = expectations->load_through;
        expectations->loaded = expectations->load_through == 0;
    }
    return expectations->loaded ? 0 : expectations->load_through;
}

static enum error_code note_past(void *context, const char *topic, size_t topic_bytes,
                                 uint64_t sequence, struct error *error)
{
    (void)error;
    note(context, topic, topic_bytes, sequence);
    return OK;
}

void expectations_load(const char *directory, uint64_t through,
                       struct expectations_past *past_out)
{
    struct expectations_topics *topics = calloc(1, sizeof *topics);
    uint64_t known_above = through;

    past_out->topics = topics;
    if (!topics)
        return;
    if (!directory ||
        segment_topics_last(directory, through, note_past, topics, &known_above, NULL))
        topics->known_above = through;
    else if (known_above > topics->known_above)
        topics->known_above = known_above;
}

void expectations_forget(struct expectations_past *past)
{
    free(past->topics);
    past->topics = NULL;
}

/* Where the one's knowledge ends the other's begins. */
void expectations_take(struct expectations *expectations, struct expectations_past *past)
{
    struct expectations_topics *topics = expectations->topics, *before = past->topics;

    past->topics = NULL;
    if (topics && before && !expectations->loaded) {
        /* Unless memory has been too small for what came meanwhile. */
        if (topics->known_above <= expectations->known_before)
            topics->known_above = before->known_above;
        for (size_t i = 0; i < before->count; i++)
            note(topics, before->list[i].name, before->list[i].bytes, before->list[i].sequence);
    }
    expectations->loaded |= before != NULL;
    free(before);
}

/* ---- What is now ---- */

void expectations_note(struct expectations *expectations, const char *topic, size_t topic_bytes,
                       uint64_t sequence)
{
    if (expectations->topics)
        note(expectations->topics, topic, topic_bytes, sequence);
}

/* What they had before is not known any more, but it was not behind `durable`. */
void expectations_withdraw(struct expectations *expectations, uint64_t durable)
{
    struct expectations_topics *topics = expectations->topics;

    for (size_t i = 0; topics && i < topics->count; i++)
        if (topics->list[i].sequence > durable)
            topics->list[i].sequence = durable;
    if (expectations->load_through > durable)
        expectations->load_through = durable;
}

static enum error_code tell_untold(const struct segment_log *log, uint64_t last,
                                   struct error *error)
{
    return error_set(error, ERROR_CONFLICT,
                     "what was published behind %" PRIu64 " cannot be told any more: read the log "
                     "on to its end, which is %" PRIu64 ", and expect that",
                     last, segment_log_event_last(log));
}

/* The newest event of a topic that matches, if it is behind the one expected; NULL: there is none.
 */
static const struct topic *find_newer(struct expectations_topics *topics,
                                      const struct wire_expectation *expectation,
                                      bool *too_many_out)
{
    const struct topic *found = NULL;
    size_t steps = 0;

    *too_many_out = false;
    for (size_t i = 0; i < topics->count && !*too_many_out; i++) {
        const struct topic *topic = &topics->list[i];
        if (topic->sequence <= expectation->last || (found && topic->sequence < found->sequence))
            continue;
        steps += (size_t)topic->bytes * expectation->topic.bytes;
        *too_many_out = steps > EXPECTATIONS_STEPS_MAX;
        if (!*too_many_out && topic_pattern_match(expectation->topic.text, expectation->topic.bytes,
                                                  topic->name, topic->bytes))
            found = topic;
    }
    return found;
}

static enum error_code meet_topic(struct expectations *expectations, const struct segment_log *log,
                                  const struct wire_expectation *expectation, struct error *error)
{
    struct expectations_topics *topics = expectations->topics;
    bool too_many;

    if (!topics || expectation->last < topics->known_above)
        return tell_untold(log, expectation->last, error);
    const struct topic *newer = find_newer(topics, expectation, &too_many);
    if (newer)
        return error_set(error, ERROR_CONFLICT,
                         "event %" PRIu64 " of topic '%.*s' is behind %" PRIu64, newer->sequence,
                         (int)newer->bytes, newer->name, expectation->last);
    return too_many ? tell_untold(log, expectation->last, error) : OK;
}

enum error_code expectations_meet(struct expectations *expectations, const struct segment_log *log,
                                  const struct wire_expectation *expectation, struct error *error)
{
    uint64_t event_last = segment_log_event_last(log);

    if (!expectation->given)
        return OK;
    /* Sequences behind the last event that a crash has left unused are as good as that one. */
    if (expectation->last <= segment_log_appended(log)) {
        if (event_last <= expectation->last)
            return OK;
        if (expectation->topic.text)
            return meet_topic(expectations, log, expectation, error);
    }
    return error_set(error, ERROR_CONFLICT,
                     "the log's last sequence is %" PRIu64 ", not %" PRIu64, event_last,
                     expectation->last);
}
