/*
 * tools/gate_change.h - how a gate's rules follow the catalogue; internal to tools/gate*.c.
 *
 * A change is noted in the catalogue first and takes effect at its event (segment/schemas.h). So
 * the catalogue is read when the log is opened, and again before an event of topic `_schema` is
 * taken, if the file is another one since: who floods the log with such events pays for a look at
 * the file's status and a comparison each.
 *
 * That the event is durable is noted by 'daybook schema', or, when that has been killed, by us:
 * both under LOCK_SCHEMAS, and who comes second finds nothing left to do. As long as the command
 * lives it holds the lock, and we come back later.
 */
#ifndef DAYBOOK_TOOLS_GATE_CHANGE_H
#define DAYBOOK_TOOLS_GATE_CHANGE_H

#include <sys/stat.h>

#include "core/event.h"
#include "tools/gate_rules.h"

struct gate_change {
    struct gate_rules *rules; /* borrowed */
    int log_fd;
    bool seen; /* `catalogue` is the status of what was read last */
    struct stat catalogue;
    /* The pending change, as far as it waits for its event. number 0: there is none. */
    struct segment_schemas_change pending;
    struct buffer payload; /* its event must have */
    struct gate_rule *rule;
    struct gate_version *next; /* held until it is applied; NULL: the schema is removed */
    bool in_doubt; /* nobody can tell whether it was in effect already */
    /* The change applied last, `since` its event; number 0: none. */
    struct segment_schemas_change applied;
    bool unsettled; /* its line may still be pending in the catalogue */
    struct gate_rule *applied_rule;
    struct gate_version *before; /* held; NULL: there was none */
};

/*
 * Load the catalogue and fill `rules` with what is in effect at the end of the log in `directory`.
 * After an error only release it.
 */
enum error_code gate_change_init(struct gate_change *change, const char *directory,
                                 struct gate_rules *rules, struct error *error);
void gate_change_release(struct gate_change *change);

/* May this event of topic `_schema` be taken? ERROR_INVALID: nobody has noted such a change. */
enum error_code gate_change_check(struct gate_change *change, const struct event *event,
                                  struct error *error);
/* It was appended: what comes behind it is held against the new version. */
void gate_change_apply(struct gate_change *change, uint64_t sequence, int64_t time_ns);
/* See gate_settle. */
enum error_code gate_change_settle(struct gate_change *change, uint64_t durable,
                                   struct error *error);
/* What is behind `durable` is not in the log any more. */
void gate_change_withdraw(struct gate_change *change, uint64_t durable);

#endif
