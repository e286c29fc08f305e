/*
 * tools/daybook/schema_change.h - add and remove schemas: the catalogue, then the event, then the
 * catalogue again.
 *
 * Under LOCK_SCHEMAS: (1) reach whoever writes the log, or open it; (2) note the change in the
 * catalogue, pending; (3) publish its event, at which it takes effect; (4) find that event in the
 * log; (5) note its sequence. Whatever stops this between two steps, the next command finishes it
 * first: a pending change whose event is in the log only lacks (5), any other lacks (3) as well.
 * Until (3) nothing is in effect; a writer that starts in between looks for the event itself, and a
 * writer that took it does (5) when we were killed (tools/gate.h).
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SCHEMA_CHANGE_H
#define DAYBOOK_TOOLS_DAYBOOK_SCHEMA_CHANGE_H

#include "segment/schemas.h"
#include "tools/daybook/publisher.h"

struct schema_change_wish {
    enum segment_schemas_action action;
    const char *topic;
    const struct buffer *text; /* SCHEMAS_ADD: of a schema that schema_compile has taken */
    enum segment_schemas_mode mode;
};

struct schema_change_result {
    bool done;         /* false: all was as wished already, `present` says since when */
    bool none;         /* SCHEMAS_REMOVE: the topic has no schema */
    struct segment_schemas_change present; /* the change that is in effect now */
    bool finished;                         /* `earlier`, which was left pending, is in effect now */
    struct segment_schemas_change earlier;
};

/*
 * Carry out the wish, durably. `options` say where (verb, directory, socket, daemon_only, same_log,
 * settings). ERROR_BUSY: another process has been changing schemas for 10 s. ERROR_CLOSED: nobody
 * takes the event.
 * After an error that came behind step 2 the text says that the change is noted, and the same
 * command again finishes it. *result_out is valid after an error as far as `finished` goes.
 */
enum error_code schema_change(const struct publisher_options *options,
                              const struct schema_change_wish *wish,
                              struct schema_change_result *result_out, struct error *error);

/* May this topic have a schema? ERROR_INVALID: it is none, or one of ours. */
enum error_code schema_change_check_topic(const char *topic, struct error *error);

#endif
