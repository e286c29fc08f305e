/* To the standard output, in the formats of -o. */
#include <stdlib.h>
#include <unistd.h>

#include "tools/daybook/replay_target_inside.h"

struct print_target {
    struct replay_target base;
    struct output *output;
    bool lines; /* the event's text is what is wanted */
};

static enum error_code add(struct replay_target *base, const struct replay_event *event,
                           bool *sent_out, struct error *error)
{
    struct print_target *target = (struct print_target *)base;
    *sent_out = true;
    if (target->lines)
        return output_json_line(target->output, event->event.sequence, event->text,
                                event->text_bytes, error);
    return output_event(target->output, &event->event, error);
}

static enum error_code flush(struct replay_target *base, struct error *error)
{
    return output_flush(((struct print_target *)base)->output, error);
}

static void close_target(struct replay_target *base)
{
    struct print_target *target = (struct print_target *)base;
    output_free(target->output);
    free(target);
}

static const struct replay_target_kind kind = {
    .add = add,
    .flush = flush,
    .close = close_target,
    .batch = 512,
};

enum error_code replay_target_print(const struct replay_target_options *options,
                                    const char *address, struct replay_target **target_out,
                                    struct error *error)
{
    (void)address;
    struct print_target *target = calloc(1, sizeof *target);
    if (!target)
        return error_set(error, ERROR_MEMORY, "no memory to print");
    target->base.kind = &kind;
    target->base.verb = options->verb;
    target->lines = options->style.format == OUTPUT_JSON;
    enum error_code code =
        output_create(STDOUT_FILENO, &options->style, &target->output, error);
    if (code) {
        free(target);
        return code;
    }
    *target_out = &target->base;
    return OK;
}
