/*
 * tools/gate.h - schemas at the door: what becomes of an event of a topic that has one.
 *
 * Whoever writes a log has one gate, and appends through it. It loads the schemas (DIR/schemas,
 * segment/schemas.h) when the log is opened, and takes up a change exactly where its event is
 * appended: the events before that one were held against the old schema, those behind it are held
 * against the new one. An event of topic `_schema` that does not say what the catalogue says is
 * refused, so nobody can forge a change. When the event is durable, gate_settle notes that.
 *
 * An event that does not keep to its topic's schema is, by the schema's mode,
 *   - refused: the reason names the JSON pointer into the payload and the rule,
 *   - stored as _rejected.TOPIC instead, with the same time, producer and number, and the payload
 *     {topic, version, pointer, rule, reason, payload}; what does not fit there is refused,
 *   - stored, and counted.
 * Nobody else may publish on topics `_rejected.*`; nor on `_dead.*`, where the daemon keeps what no
 * group of subscribers could settle.
 * A repeated event, whose number the log has already, is a duplicate whatever it looks like now.
 *
 * A log without schemas pays a comparison an event. One thread at a time, the one that appends; but
 * for gate_examine, with which another one may look at large events before.
 */
#ifndef DAYBOOK_TOOLS_GATE_H
#define DAYBOOK_TOOLS_GATE_H

#include "segment/log.h"
#include "segment/schemas.h"

struct gate;
struct gate_version;
struct schema_fault;

/*
 * For the log in `directory`, which the caller has opened to write. ERROR_DAMAGED, ERROR_INVALID:
 * catalogue or schemas are not to be had as they were written, so that nothing could be checked.
 * The caller owns *gate_out.
 */
enum error_code gate_open(const char *directory, struct gate **gate_out, struct error *error);
/* Accepts NULL. */
void gate_close(struct gate *gate);

/* What is known of one event already. Zero-initialised: nothing. */
struct gate_finding {
    struct gate_version *version; /* that it was held against; NULL: none */
    struct schema_fault *fault;   /* NULL: it keeps to it */
};
/*
 * Hold the event, which event_check has accepted, against its topic's schema: what takes long need
 * not be done where everybody waits. By one thread beside the one that appends. The finding is to
 * be forgotten, with the same gate, by either. With `gate` NULL it is empty.
 */
void gate_examine(struct gate *gate, const struct event *event, struct gate_finding *finding_out);
void gate_forget(struct gate *gate, struct gate_finding *finding);

/*
 * segment_log_append through the gate: waits for room where that would be ERROR_BUSY.
 * ERROR_INVALID: the event is refused; without `in_words` the text stays empty. With `gate` NULL
 * nothing is checked. `finding` may be NULL, and may be about a version that is past.
 */
enum error_code gate_append(struct gate *gate, struct segment_log *log, const struct event *event,
                            const struct gate_finding *finding, bool in_words,
                            enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                            struct error *error);
/*
 * The same for events that belong together, have one producer or none, and are not in the log yet:
 * all of them are stored, next to each other, or none is. *sequence_out is that of the first. What
 * a schema lets through only as something else is refused here, and so is a change of a schema.
 * *index_out: which event was refused; SIZE_MAX: none of them alone. `findings` may be NULL, or has
 * one for each.
 */
enum error_code gate_append_together(struct gate *gate, struct segment_log *log,
                                     const struct event *events, size_t count,
                                     const struct gate_finding *findings, uint64_t *sequence_out,
                                     size_t *index_out, struct error *error);
/*
 * What is up to `durable` is on the disk: when the last change is, note that in the catalogue, if
 * 'daybook schema' has not; when that is still at it, later. Cheap when there is nothing to do;
 * waits for the disk otherwise. After an error the next call tries again.
 */
enum error_code gate_settle(struct gate *gate, uint64_t durable, struct error *error);
/* The change that is noted, and waits for its event; false: none does. */
struct gate_pending {
    const char *topic;
    uint32_t version;
    bool removal;
    /*
     * Its event may have been in the log: but retention has deleted where, or it is damaged. So a
     * new version is in effect, and a removal is not.
     */
    bool in_doubt;
};
bool gate_pending(const struct gate *gate, struct gate_pending *pending_out);
/* The same in words, for a person; false: there is nothing to say. */
enum { GATE_WORDS_BYTES = 768 };
bool gate_pending_words(const struct gate *gate, char words_out[GATE_WORDS_BYTES]);
/* The log has withdrawn what is not durable: so perhaps the last change. */
void gate_withdraw(struct gate *gate, uint64_t durable);

/* What became of the events of one topic since the gate was opened. */
struct gate_count {
    const char *topic;
    uint32_t version; /* 0: the schema was removed */
    enum segment_schemas_mode mode;
    uint64_t checked; /* held against it, also those that the log had already */
    uint64_t refused;
    uint64_t quarantined, warned; /* stored, so */
};
/* Of each topic that has, or had since the gate was opened, a schema. */
size_t gate_topics(const struct gate *gate);
struct gate_count gate_count(const struct gate *gate, size_t index);

#endif
