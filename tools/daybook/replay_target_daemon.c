/* To a daemon: its log gets the events with the times that they were recorded with. */
#include <inttypes.h>
#include <stdlib.h>

#include "tools/daybook/publisher.h"
#include "tools/daybook/replay_target_inside.h"
#include "tools/daybook/verb.h"

struct daemon_target {
    struct replay_target base;
    struct publisher *publisher;
};

static void refused(void *context, uint64_t sequence, const char *reason)
{
    struct daemon_target *target = context;
    target->base.counts.refused++;
    verb_say(target->base.verb, "event %" PRIu64 ": %s", sequence, reason);
}

static enum error_code add(struct replay_target *base, const struct replay_event *event,
                           bool *sent_out, struct error *error)
{
    struct daemon_target *target = (struct daemon_target *)base;
    *sent_out = true;
    return publisher_send(target->publisher, &event->event, event->event.sequence, error);
}

static enum error_code flush(struct replay_target *base, struct error *error)
{
    return publisher_push(((struct daemon_target *)base)->publisher, error);
}

static enum error_code finish(struct replay_target *base, bool hurry, struct error *error)
{
    (void)hurry; /* a daemon that is there answers soon */
    return publisher_flush(((struct daemon_target *)base)->publisher, error);
}

static void close_target(struct replay_target *base)
{
    struct daemon_target *target = (struct daemon_target *)base;
    publisher_close(target->publisher, NULL, NULL);
    free(target);
}

static const struct replay_target_kind kind = {
    .add = add,
    .flush = flush,
    .finish = finish,
    .close = close_target,
    .batch = 512,
};

enum error_code replay_target_daemon(const struct replay_target_options *options,
                                     const char *address, struct replay_target **target_out,
                                     struct error *error)
{
    struct daemon_target *target = calloc(1, sizeof *target);
    if (!target)
        return error_set(error, ERROR_MEMORY, "no memory to publish");
    target->base.kind = &kind;
    target->base.verb = options->verb;
    struct publisher_options to = {
        .verb = options->verb,
        .socket = address,
        .daemon_only = true,
        .directory = options->other_than,
        .other_log = options->other_than != NULL,
        .refused = refused,
        .context = target,
    };
    enum error_code code = publisher_open(&to, &target->publisher, error);
    if (code) {
        free(target);
        return code;
    }
    *target_out = &target->base;
    return OK;
}
