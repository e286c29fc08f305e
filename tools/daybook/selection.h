/*
 * tools/daybook/selection.h - which events the user wants: -S -U -t -g --after-seq --where.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SELECTION_H
#define DAYBOOK_TOOLS_DAYBOOK_SELECTION_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/event.h"
#include "core/topic_pattern.h"
#include "core/units.h"
#include "indexer/where.h"
#include "tools/daybook/options.h"

enum { SELECTION_AFTER_SEQ = OPTIONS_LONG, SELECTION_WHERE = OPTIONS_LONG + 1 };

#define SELECTION_TIME_FLAGS                                                                       \
    {'S', "since", "TIME", "events at or after this time"},                                        \
    {                                                                                              \
        'U', "until", "TIME", "events at or before this time"                                      \
    }
#define SELECTION_TOPIC_FLAG                                                                       \
    {                                                                                              \
        't', "topic", "TOPIC", "only this topic, or 'orders.*', 'orders.>'; may be repeated"       \
    }
#define SELECTION_GREP_FLAG                                                                        \
    {                                                                                              \
        'g', "grep", "RE", "only payloads whose JSON matches (POSIX extended)"                     \
    }
#define SELECTION_AFTER_FLAG                                                                       \
    {                                                                                              \
        SELECTION_AFTER_SEQ, "after-seq", "N", "only events with a higher sequence"                \
    }

#define SELECTION_WHERE_FLAG                                                                       \
    {                                                                                              \
        SELECTION_WHERE, "where", "SQL", "only events of which it is true, as 'price > 100'"       \
    }

/* Zero-initialise, then set by selection_flag, then selection_finish. */
struct selection {
    int64_t since_ns; /* INT64_MIN: no limit */
    int64_t until_ns; /* INT64_MAX: no limit; the limit itself is wanted */
    uint64_t after_sequence;
    const char *since_text;
    const char *until_text;
    struct topic_patterns topics;
    bool has_grep;
    regex_t grep;
    struct buffer text; /* scratch: a payload as JSON */
    struct indexer_where *where; /* owned; NULL: none */
    uint64_t passed;             /* events that are wanted, so far */
};

/* Take one of the flags above; false when `id` is another's. Mistakes go to `options`. */
bool selection_flag(struct selection *selection, struct options *options, int id,
                    const char *value);
/* After the last flag: understand the times, in `zone` where they name none. */
void selection_finish(struct selection *selection, struct options *options, enum units_zone zone);
enum error_code selection_match(struct selection *selection, const struct event *event,
                                bool *matches_out, struct error *error);
void selection_release(struct selection *selection);

#endif
