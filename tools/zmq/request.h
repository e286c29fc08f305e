/*
 * tools/zmq/request.h - what a subscriber asks for, by the only thing that it can say: the bytes
 * that the messages' first frame has to begin with.
 *
 *     bitten.trade             live events, as ever
 *     @1041@bitten.trade       events with a sequence above 1041, and live from there on
 *     @-1h@bitten.trade        … from an hour ago on; any time that `daybook read -S` takes, in UTC
 *     @1041/desk-7@bitten.     the same for a subscriber with a name of its own
 *
 * What was asked for with an @ comes with it: the first frame is that head ("@1041/desk-7@") and
 * what it would be live. Two subscribers who ask with the very same bytes share one flow of events,
 * which begins anew for both when the second comes; so programs that may meet take names.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_REQUEST_H
#define DAYBOOK_TOOLS_ZMQ_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { REQUEST_BYTES_MAX = 512 };

enum request_kind {
    REQUEST_NONE, /* no message can begin like that */
    REQUEST_LIVE,
    REQUEST_HISTORY,
};

struct request {
    enum request_kind kind;
    /* All of history; borrowed from the text. */
    const char *head; /* from the first @ to the second */
    size_t head_bytes;
    const char *topic; /* what topics have to begin with */
    size_t topic_bytes;
    bool by_time;
    uint64_t after;   /* when not by_time */
    int64_t since_ns; /* when by_time */
};

/*
 * `prefix` is what stands in front of topics. ERROR_INVALID: it begins with an @, and is no such
 * request; the text says why.
 */
enum error_code request_read(const char *prefix, const void *text, size_t text_bytes,
                             int64_t now_ns, struct request *request_out, struct error *error);

#endif
