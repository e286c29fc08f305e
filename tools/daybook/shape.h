/*
 * tools/daybook/shape.h - what a JSON line means as an event.
 *
 * Without rules a line is a whole event: {"topic":"t","time":…,"payload":…}, as `read -o json`
 * prints it ("seq" is passed over, "time" may be missing). With a topic, or the name of the field
 * that holds it, a line is a bare object, which is the payload as it stands.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SHAPE_H
#define DAYBOOK_TOOLS_DAYBOOK_SHAPE_H

#include "core/event.h"

struct shape_rules {
    const char *topic;       /* of all lines, or NULL */
    const char *topic_field; /* or the field that holds it, or NULL */
    const char *time_field;  /* NULL: the arrival time */
};

struct shape;

/* `rules` and its strings must outlive the shape. */
enum error_code shape_create(const struct shape_rules *rules, struct shape **shape_out,
                             struct error *error);
/*
 * The event that `text` means, checked by event_check, valid until the next call. ERROR_INVALID
 * says why it is none.
 */
enum error_code shape_event(struct shape *shape, const char *text, size_t text_bytes,
                            struct event *event_out, struct error *error);
/* Accepts NULL. */
void shape_free(struct shape *shape);

#endif
