/*
 * tools/expectation.h - publishing that must not race: events that are stored only when nothing
 * else was, since their writer has looked.
 *
 * Whoever publishes with an expectation names the sequence up to which he knows the log ("the last
 * one is 41"). If there is an event behind that one, he is refused (ERROR_CONFLICT), reads on, and
 * decides anew. With a pattern only events of such topics count.
 *
 * The log itself knows its last event. What its topics' last events are is remembered here, from
 * the first time on that somebody asks for it: before that this costs a comparison an event. What
 * was before then is read once, from the log (expectations_load), by a thread that may wait.
 *
 * One thread at a time, the one that appends; but for expectations_load.
 */
#ifndef DAYBOOK_TOOLS_EXPECTATION_H
#define DAYBOOK_TOOLS_EXPECTATION_H

#include "segment/log.h"
#include "tools/client/wire.h"

enum {
    EXPECTATIONS_TOPICS_MAX = 4096,   /* remembered; of the others only how old they are */
    EXPECTATIONS_STEPS_MAX = 1 << 21, /* of matching patterns, at most, for one expectation */
};

/* ERROR_INVALID: it means nothing: the pattern is none, or the sequence is none. */
enum error_code expectation_check(const struct wire_expectation *expectation, struct error *error);

struct expectations;

enum error_code expectations_create(struct expectations **expectations_out, struct error *error);
/* Accepts NULL. */
void expectations_free(struct expectations *expectations);

/*
 * Must expectations_load come before this expectation can be looked at? Then everything that is
 * appended from now on is remembered, and this is the sequence up to which it has to be read, once
 * that is durable; else 0.
 */
uint64_t expectations_wants(struct expectations *expectations, const struct segment_log *log,
                            const struct wire_expectation *expectation);
/* What was read; zero-initialised is nothing. */
struct expectations_past {
    struct expectations_topics *topics;
};
/*
 * Read what was before, up to `through`: on another thread than the one that appends, or on that
 * one when nobody else needs it. What cannot be read is not known afterwards, and is no error.
 */
void expectations_load(const char *directory, uint64_t through,
                       struct expectations_past *past_out);
/* Take it over, and leave nothing of it behind. */
void expectations_take(struct expectations *expectations, struct expectations_past *past);
/* Nobody needs it. */
void expectations_forget(struct expectations_past *past);

/* Every event that was appended, with its topic as stored. */
void expectations_note(struct expectations *expectations, const char *topic, size_t topic_bytes,
                       uint64_t sequence);
/* What is not durable was withdrawn. */
void expectations_withdraw(struct expectations *expectations, uint64_t durable);

/*
 * Is the log as expected? ERROR_CONFLICT: it is not, or nobody can tell; the text says which, and
 * what to expect instead.
 */
enum error_code expectations_meet(struct expectations *expectations, const struct segment_log *log,
                                  const struct wire_expectation *expectation, struct error *error);

#endif
