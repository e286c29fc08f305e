/*
 * segment/schemas.h - DIR/schemas: the schemas of topics, all their versions, and since when.
 *
 *     schemas/catalogue      one line a change, in their order; replaced atomically
 *     schemas/door.1.json    the text of topic door's version 1, as it was given; never changed
 *
 * The catalogue is a history of changes: a version was added, or the topic's schema removed. A
 * change is noted first and takes effect at its event in the log (topic `_schema`), whose sequence
 * is noted then: `since`. Until then it is *pending*, and at most one is, the last. So after a
 * crash the log decides: has it the event, or not? (segment/schemas_event.h finds it.)
 *
 * The log decides as long as it has what came behind `after`. When retention has deleted some of
 * that, or it is damaged, nobody can tell any more. So who writes the log settles the line itself
 * as soon as the event is durable, and not only the command that noted it (tools/gate.h).
 *
 * Readers need no lock: the catalogue is whole after any crash, and the texts stay. Who writes
 * holds LOCK_SCHEMAS (segment/lock.h). What is damaged is an error, never "no schema".
 *
 * Knows nothing of what a schema means: core/schema.h does. A loaded catalogue is plain memory.
 */
#ifndef DAYBOOK_SEGMENT_SCHEMAS_H
#define DAYBOOK_SEGMENT_SCHEMAS_H

#include "core/bytes.h"
#include "core/event.h"

enum {
    SCHEMAS_CHANGES_MAX = 8192,
    SCHEMAS_TEXT_BYTES_MAX = 1 << 20,
    SCHEMAS_FILE_NAME_MAX = 255, /* NAME_MAX, with what file_replace puts behind it */
};

enum segment_schemas_action { SCHEMAS_ADD, SCHEMAS_REMOVE };

/* What becomes of an event that does not keep to the schema. */
enum segment_schemas_mode {
    SCHEMAS_REJECT,     /* it is refused */
    SCHEMAS_QUARANTINE, /* it is stored under _rejected.TOPIC, with the reason */
    SCHEMAS_WARN,       /* it is stored, and counted */
};
enum { SCHEMAS_MODES = 3 };

struct segment_schemas_change {
    uint64_t number; /* 1, 2, 3 … per log: its line in the catalogue */
    enum segment_schemas_action action;
    char topic[EVENT_TOPIC_BYTES_MAX + 1];
    uint32_t version; /* 1, 2, 3 … per topic; SCHEMAS_REMOVE: the one that ended */
    enum segment_schemas_mode mode;
    uint64_t after;   /* the log had come so far when the change was noted: its event is behind */
    uint64_t since;   /* the sequence of its event; 0: pending */
    int64_t time_ns;  /* of its event; 0: pending */
    uint32_t text_bytes; /* SCHEMAS_REMOVE: 0 */
    uint32_t text_checksum;
};

/* Zero-initialised is empty and valid. */
struct segment_schemas {
    struct segment_schemas_change *changes;
    size_t count;
};

/*
 * Load the catalogue. A log without one has no schemas: count 0, OK. ERROR_DAMAGED: it is not what
 * was written, or is missing where texts are; ERROR_VERSION: a newer Daybook wrote it.
 * `log_fd` is the log's directory.
 */
enum error_code segment_schemas_load(int log_fd, struct segment_schemas *schemas_out,
                                     struct error *error);
void segment_schemas_free(struct segment_schemas *schemas);

/*
 * The version that is in effect at the end of the log, as far as the catalogue knows; NULL: the
 * topic has no schema (now). A pending change does not count. Who asks for many topics asks
 * segment/schemas_presence.h.
 */
const struct segment_schemas_change *
segment_schemas_present(const struct segment_schemas *schemas, const char *topic,
                        size_t topic_bytes);
/* A version of a topic by its number; NULL: there is none. The pending one is found, too. */
const struct segment_schemas_change *
segment_schemas_version(const struct segment_schemas *schemas, const char *topic,
                        size_t topic_bytes, uint32_t version);
/* The change whose event may not be in the log yet; NULL: none. */
const struct segment_schemas_change *segment_schemas_pending(const struct segment_schemas *schemas);

/*
 * Append the text of a version (SCHEMAS_ADD) to `text`. ERROR_DAMAGED: the file is missing, or not
 * what was written.
 */
enum error_code segment_schemas_read_text(int log_fd, const struct segment_schemas_change *change,
                                          struct buffer *text, struct error *error);

/* DIR/schemas's file of a version. ERROR_INVALID: the topic is too long for a file's name. */
enum error_code segment_schemas_file_name(const char *topic, uint32_t version,
                                          char name_out[SCHEMAS_FILE_NAME_MAX + 1],
                                          struct error *error);

/*
 * Note a change, durably: of `change`, action, topic, mode and after are taken; number and version
 * follow from the catalogue. `text` is the new version's (SCHEMAS_ADD). Nothing may be pending.
 * On success `schemas` is the new catalogue, and its last change is this one.
 */
enum error_code segment_schemas_note(int log_fd, struct segment_schemas *schemas,
                                     const struct segment_schemas_change *change, const void *text,
                                     size_t text_bytes, struct error *error);
/*
 * The pending change's event is durable, and this is its sequence and time: note that, durably.
 * `after` is lowered when the log had not come so far: it is another one, from a backup.
 */
enum error_code segment_schemas_settle(int log_fd, struct segment_schemas *schemas, uint64_t since,
                                       int64_t time_ns, struct error *error);

/* "reject", "quarantine", "warn"; "add", "remove". */
const char *segment_schemas_mode_name(enum segment_schemas_mode mode);
/* False: it is none of them. */
bool segment_schemas_mode_find(const char *name, enum segment_schemas_mode *mode_out);
const char *segment_schemas_action_name(enum segment_schemas_action action);

#endif
