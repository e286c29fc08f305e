#include "tools/daybookd/withdrawal.h"

#include <stdio.h>

#include "tools/client/wire.h"

/* One ack on its way from what was hoped to what is. */
struct rewriting {
    struct wire_ack ack;
    struct msgpack_cursor refusals; /* of the old ack, not looked at yet */
    uint32_t refusals_left;
    struct buffer made; /* the new refusals */
};

static enum error_code refuse(struct rewriting *rewriting, uint32_t index, const char *code,
                              const char *reason, struct error *error)
{
    if (rewriting->ack.refused++ >= WIRE_REASONS_MAX)
        reason = "";
    return wire_write_refusal(&rewriting->made, index, code, reason, error);
}

static enum error_code keep_refusal(struct rewriting *rewriting, struct error *error)
{
    struct wire_refusal refusal;
    char code[32], reason[sizeof error->text];
    enum error_code failed = wire_read_refusal(&rewriting->refusals, &refusal, error);

    if (failed)
        return failed;
    rewriting->refusals_left--;
    snprintf(code, sizeof code, "%.*s", (int)refusal.code.bytes, refusal.code.text);
    snprintf(reason, sizeof reason, "%.*s", (int)refusal.reason.bytes, refusal.reason.text);
    return refuse(rewriting, (uint32_t)refusal.index, code, reason, error);
}

static bool is_refused_already(const struct rewriting *rewriting, uint32_t index)
{
    struct msgpack_cursor cursor = rewriting->refusals;
    struct wire_refusal next;

    return rewriting->refusals_left > 0 && wire_read_refusal(&cursor, &next, NULL) == OK &&
           next.index == index;
}

/*
 * The events that were stored got sequences in their order, without holes: nobody else appends
 * while a frame is taken. So the first ones are durable, and the others were withdrawn.
 */
static enum error_code rewrite_ack(const struct wire_ack *old, uint64_t durable, const char *reason,
                                   struct buffer *out, struct error *error)
{
    uint32_t event_count = (uint32_t)old->stored + old->refused;
    uint64_t kept = durable >= old->sequence_first ? durable - old->sequence_first + 1 : 0;
    struct rewriting rewriting = {
        .ack = {.id = old->id, .stored = kept},
        .refusals = old->refusals,
        .refusals_left = old->refused,
    };
    enum error_code code = OK;

    if (kept > 0) {
        rewriting.ack.sequence_first = old->sequence_first;
        rewriting.ack.sequence_last = durable;
    }
    for (uint32_t i = 0; i < event_count && !code; i++) {
        if (is_refused_already(&rewriting, i))
            code = keep_refusal(&rewriting, error);
        else if (kept > 0)
            kept--;
        else
            code = refuse(&rewriting, i, error_name(ERROR_NO_SPACE), reason, error);
    }
    if (!code)
        code = wire_write_ack(out, &rewriting.ack, &rewriting.made, error);
    buffer_release(&rewriting.made);
    return code;
}

/* An ack for something that was withdrawn? */
static bool read_hope(const uint8_t *frame, size_t size, uint64_t durable, struct wire_ack *ack_out)
{
    struct msgpack_cursor cursor = {frame + WIRE_LENGTH_BYTES, frame + size};
    enum wire_type type;
    uint32_t left;

    return wire_read_type(&cursor, &type, &left, NULL) == OK && type == WIRE_ACK &&
           wire_read_ack(cursor, left, ack_out, NULL) == OK && ack_out->stored > 0 &&
           ack_out->sequence_last > durable;
}

enum error_code withdrawal_rewrite(const uint8_t *data, size_t size, uint64_t durable,
                                   const char *reason, struct buffer *out, struct error *error)
{
    enum error_code code = OK;

    while (size > 0 && !code) {
        size_t frame = WIRE_LENGTH_BYTES + wire_read_length(data);
        struct wire_ack ack;
        if (read_hope(data, frame, durable, &ack))
            code = rewrite_ack(&ack, durable, reason, out, error);
        else
            code = buffer_append(out, data, frame, error);
        data += frame;
        size -= frame;
    }
    return code;
}
