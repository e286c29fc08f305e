/*
 * tools/daybook/replay_event.h - an event on its way to be replayed, with its text.
 *
 * A copy of its own, so that it outlives the block that it was read from. The text is what comes
 * behind the sequence in a line of `-o json`,
 *
 *     "time":"2026-01-05T09:00:00.000000000Z","topic":"t","payload":{…}}\n
 *
 * so that the line is `{"seq":1,` and the text, and what the certificate's hash is made of is `{`
 * and the text.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_EVENT_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_EVENT_H

#include <stdint.h>

#include "core/bytes.h"
#include "core/event.h"

struct replay_event {
    struct event event; /* topic and payload lie behind this struct; no producer */
    const char *text;
    size_t text_bytes;
    const char *payload_text; /* within text */
    size_t payload_text_bytes;
    size_t size; /* of all of it in memory */
};

/* `scratch` is used and left with any content. free() ends it. */
enum error_code replay_event_make(const struct event *event, struct buffer *scratch,
                                  struct replay_event **event_out, struct error *error);

#endif
