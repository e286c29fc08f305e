#include "tools/daybook/replay_target.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "tools/daybook/replay_target_inside.h"
#include "tools/daybook/verb.h"

enum { SAY_MAX = 5 };

typedef enum error_code (*maker)(const struct replay_target_options *options, const char *address,
                                 struct replay_target **target_out, struct error *error);

static const struct {
    const char *begin;
    maker make;
} schemes[] = {
    {"zmq:", replay_target_pub},
    {"zmq-pub:", replay_target_pub},
    {"zmq-push:", replay_target_push},
    {"udp://", replay_target_udp},
    {"unix:", replay_target_daemon},
};

/* What --to means, and where the address in it begins. NULL: nothing that we know. */
static maker find_maker(const char *to, const char **address_out)
{
    *address_out = to;
    if (!to)
        return replay_target_print;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t bytes = strlen(schemes[i].begin);
        if (strncmp(to, schemes[i].begin, bytes) == 0) {
            *address_out = to + bytes;
            return schemes[i].make;
        }
    }
    return strstr(to, "://") ? NULL : replay_target_daemon;
}

enum error_code replay_target_check(const char *to, struct error *error)
{
    const char *address;
    if (!find_maker(to, &address))
        return error_set(error, ERROR_INVALID,
                         "'%s' is no socket's path and begins with none of zmq:, zmq-pub:, "
                         "zmq-push:, udp://, unix:",
                         to);
    if (to && !*address)
        return error_set(error, ERROR_INVALID, "'%s' lacks an address", to);
    return OK;
}

enum error_code replay_target_open(const struct replay_target_options *options,
                                   struct replay_target **target_out, struct error *error)
{
    enum error_code code = replay_target_check(options->to, error);
    if (code)
        return code;
    const char *address;
    maker make = find_maker(options->to, &address);
    return make(options, address, target_out, error);
}

size_t replay_target_batch(const struct replay_target *target)
{
    return target->kind->batch;
}

enum error_code replay_target_add(struct replay_target *target, const struct replay_event *event,
                                  bool *sent_out, struct error *error)
{
    return target->kind->add(target, event, sent_out, error);
}

enum error_code replay_target_flush(struct replay_target *target, struct error *error)
{
    return target->kind->flush(target, error);
}

enum error_code replay_target_finish(struct replay_target *target, bool hurry,
                                     struct error *error)
{
    return target->kind->finish ? target->kind->finish(target, hurry, error) : OK;
}

const struct replay_target_counts *replay_target_counted(const struct replay_target *target)
{
    return &target->counts;
}

void replay_target_close(struct replay_target *target)
{
    if (target)
        target->kind->close(target);
}

void replay_target_say(struct replay_target *target, const struct replay_event *event,
                       const char *format, ...)
{
    if (target->said++ >= SAY_MAX) {
        if (target->said == SAY_MAX + 1)
            verb_say(target->verb, "… and more such events, which the report counts");
        return;
    }
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    verb_say(target->verb, "event %" PRIu64 " %s", event->event.sequence, text);
}

int64_t replay_target_deadline_ns(const struct replay_target *target)
{
    return clock_monotonic_ns() + (target->stalled ? 0 : REPLAY_TARGET_PATIENCE_NS);
}

enum error_code replay_target_flushed(struct replay_target *target, struct error *error)
{
    (void)target;
    (void)error;
    return OK;
}
