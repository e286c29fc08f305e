/*
 * tools/daybook/output.h - events on their way out, in the formats that -o offers.
 *
 * Events gather in memory and leave in large writes; whoever waits for more events flushes first.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_OUTPUT_H
#define DAYBOOK_TOOLS_DAYBOOK_OUTPUT_H

#include <stdbool.h>

#include "core/bytes.h"
#include "core/event.h"
#include "core/units.h"

enum output_format {
    OUTPUT_SHORT,       /* Sep 09 03:03:01.642318 topic {…} */
    OUTPUT_JSON,        /* one event a line, exactly as pub takes it */
    OUTPUT_JSON_PRETTY, /* the same over several lines */
    OUTPUT_CAT,         /* the payload's JSON only */
    OUTPUT_CSV,         /* seq,time,topic,payload with a header line */
    OUTPUT_MSGPACK,     /* [seq, time_ns, topic, payload], one after the other */
};
/* Their names in this order, ending with NULL: for options_choice. */
extern const char *const output_format_names[];
#define OUTPUT_FORMATS "short|json|json-pretty|cat|csv|msgpack"

struct output_style {
    enum output_format format;
    enum units_zone zone; /* of OUTPUT_SHORT; all others are UTC */
    bool colour;          /* OUTPUT_SHORT only */
    unsigned width;       /* cut lines of OUTPUT_SHORT here; 0: never */
};

struct output;

/* Writes to `fd`, which stays the caller's. */
enum error_code output_create(int fd, const struct output_style *style, struct output **output_out,
                              struct error *error);
/* Add one event; may write. ERROR_CLOSED: nobody reads any more (EPIPE). */
enum error_code output_event(struct output *output, const struct event *event, struct error *error);
/*
 * Add one line of OUTPUT_JSON whose text is there already: what output_append_text has made of an
 * event with this sequence.
 */
enum error_code output_json_line(struct output *output, uint64_t sequence, const char *text,
                                 size_t text_bytes, struct error *error);
enum error_code output_flush(struct output *output, struct error *error);
/* Free without writing. Accepts NULL. */
void output_free(struct output *output);

/*
 * Append to `out` what comes behind the sequence in the event's line of OUTPUT_JSON, from "time" to
 * the newline. The payload's JSON begins *payload_at_out behind the old end.
 */
enum error_code output_append_text(const struct event *event, struct buffer *out,
                                   size_t *payload_at_out, struct error *error);

#endif
