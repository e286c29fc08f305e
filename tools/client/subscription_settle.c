#include "core/clock.h"
#include "tools/client/subscription.h"

#define MS_NS INT64_C(1000000)

/* Commits of a fast program are gathered this long; one that is slow has each sent at once. */
#define GATHER_NS (2 * MS_NS)

/* ---- What is due ---- */

/*
 * A commit is taken only up to what has come on this connection: after a reconnect that may have to
 * wait until the stream has caught up with the program.
 */
static bool commit_can_go(const struct daybook_subscription *sub)
{
    return sub->commit_wanted > sub->commit_sent && sub->commit_wanted <= sub->seen;
}

static bool something_can_go(const struct daybook_subscription *sub)
{
    return sub->state == SUBSCRIPTION_STREAMING &&
           (sub->accepted.count > 0 || sub->released.count > 0 || commit_can_go(sub));
}

int64_t subscription_settle_due_ns(const struct daybook_subscription *sub)
{
    return something_can_go(sub) ? sub->settled_ns + GATHER_NS : INT64_MAX;
}

static void send_commit(struct daybook_subscription *sub)
{
    if (!commit_can_go(sub))
        return;
    if (!wire_write_commit(&sub->output, sub->commit_wanted, NULL))
        sub->commit_sent = sub->commit_wanted;
}

static void send_ranges(struct daybook_subscription *sub, struct subscription_ranges *ranges,
                        bool accept)
{
    if (ranges->count == 0)
        return;
    uint64_t id = sub->settle_sent + 1;
    enum error_code code =
        accept ? wire_write_accept(&sub->output, id, ranges->ranges, ranges->count, NULL)
               : wire_write_release(&sub->output, id, ranges->ranges, ranges->count, NULL);
    if (code)
        return; /* Without memory it is still due, next time. */
    sub->settle_sent = id;
    ranges->count = 0;
}

void subscription_settle(struct daybook_subscription *sub, bool at_once)
{
    if (!something_can_go(sub))
        return;
    int64_t now = clock_monotonic_ns();
    if (!at_once && now - sub->settled_ns < GATHER_NS)
        return;
    sub->settled_ns = now;
    send_commit(sub);
    send_ranges(sub, &sub->accepted, true);
    send_ranges(sub, &sub->released, false);
    subscription_send(sub);
}

void subscription_settle_anew(struct daybook_subscription *sub)
{
    if (sub->accepted.count > 0 || sub->released.count > 0 ||
        sub->settle_sent > sub->settle_answered)
        sub->settle_lost = true;
    sub->accepted.count = 0;
    sub->released.count = 0;
    sub->settle_answered = sub->settle_sent;
    sub->commit_sent = sub->counts.committed;
}

/* ---- Answers ---- */

enum daybook_code subscription_take_committed(struct daybook_subscription *sub,
                                              struct msgpack_cursor cursor, uint32_t left,
                                              struct daybook_error *error)
{
    struct error why;
    uint64_t sequence;
    if (wire_read_committed(cursor, left, &sequence, &why))
        return subscription_confused(error, why.text);
    if (sequence > sub->position)
        return subscription_confused(error, "a commit of what was not given");
    if (sequence > sub->counts.committed)
        sub->counts.committed = sequence;
    return DAYBOOK_OK;
}

enum daybook_code subscription_take_settled(struct daybook_subscription *sub,
                                            struct msgpack_cursor cursor, uint32_t left,
                                            struct daybook_error *error)
{
    struct error why;
    uint64_t id, events;
    if (wire_read_settled(cursor, left, &id, &events, &why))
        return subscription_confused(error, why.text);
    if (id > sub->settle_sent || id <= sub->settle_answered)
        return subscription_confused(error, "settled, and nothing was accepted or released");
    sub->settle_answered = id;
    sub->counts.settled += events;
    return DAYBOOK_OK;
}

/* ---- The library's functions ---- */

static enum daybook_code check_open(const struct daybook_subscription *sub,
                                    struct daybook_error *error)
{
    if (!sub->ended.code)
        return DAYBOOK_OK;
    return failure_set(error, sub->ended.code, "%s", sub->ended.text);
}

enum daybook_code daybook_subscription_commit(struct daybook_subscription *sub, uint64_t sequence,
                                              struct daybook_error *error)
{
    if (!sub->request.cursor.text || sub->request.shared)
        return failure_set(error, DAYBOOK_INVALID,
                           sub->request.shared
                               ? "a group's member accepts events, and does not commit"
                               : "a subscription without a cursor has nothing to commit to");
    if (sequence > sub->position)
        return failure_set(error, DAYBOOK_INVALID,
                           "event %llu was not given yet: the position is %llu",
                           (unsigned long long)sequence, (unsigned long long)sub->position);
    enum daybook_code code = check_open(sub, error);
    if (code || sequence <= sub->commit_wanted)
        return code;
    sub->commit_wanted = sequence;
    subscription_settle(sub, false);
    return DAYBOOK_OK;
}

/* Neighbours, in the order of sequences, share a range. */
static void add(struct subscription_ranges *ranges, uint64_t sequence)
{
    struct wire_range *last = ranges->count > 0 ? &ranges->ranges[ranges->count - 1] : NULL;
    if (last && sequence == last->last + 1)
        last->last = sequence;
    else
        ranges->ranges[ranges->count++] = (struct wire_range){sequence, sequence};
}

static enum daybook_code settle(struct daybook_subscription *sub,
                                struct subscription_ranges *ranges, uint64_t sequence,
                                struct daybook_error *error)
{
    if (!sub->request.shared)
        return failure_set(error, DAYBOOK_INVALID,
                           "only a group's member accepts and releases events");
    if (sequence == 0 || sequence > sub->highest)
        return failure_set(error, DAYBOOK_INVALID, "event %llu was not given yet",
                           (unsigned long long)sequence);
    enum daybook_code code = check_open(sub, error);
    if (code)
        return code;
    if (sub->state != SUBSCRIPTION_STREAMING) {
        /* What the last connection gave is no longer ours to settle. */
        sub->settle_lost = true;
        return DAYBOOK_OK;
    }
    if (ranges->count == WIRE_RANGES_MAX)
        subscription_settle(sub, true);
    if (ranges->count == WIRE_RANGES_MAX)
        return failure_set(error, DAYBOOK_MEMORY, "no memory to tell the daemon");
    add(ranges, sequence);
    subscription_settle(sub, false);
    return DAYBOOK_OK;
}

enum daybook_code daybook_subscription_accept(struct daybook_subscription *sub, uint64_t sequence,
                                              struct daybook_error *error)
{
    return settle(sub, &sub->accepted, sequence, error);
}

enum daybook_code daybook_subscription_release(struct daybook_subscription *sub, uint64_t sequence,
                                               struct daybook_error *error)
{
    return settle(sub, &sub->released, sequence, error);
}

static bool all_is_settled(const struct daybook_subscription *sub)
{
    if (sub->request.shared)
        return sub->accepted.count == 0 && sub->released.count == 0 &&
               sub->settle_sent == sub->settle_answered;
    return sub->counts.committed >= sub->commit_wanted;
}

enum daybook_code daybook_subscription_flush(struct daybook_subscription *sub,
                                             struct daybook_error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + sub->options.retry_timeout_ms * MS_NS;
    enum daybook_code code = check_open(sub, error);
    while (!code && !all_is_settled(sub)) {
        code = subscription_look_ahead(sub, error);
        if (code || all_is_settled(sub))
            break;
        /* After what has come, which may be what a commit had to wait for. */
        subscription_settle(sub, true);
        subscription_give_credit(sub);
        code = subscription_pump(sub, deadline_ns, error);
        if (code == DAYBOOK_END)
            code = failure_set(error, DAYBOOK_TIMEOUT, "the daemon has not answered after %u ms",
                               sub->options.retry_timeout_ms);
    }
    if (!code && sub->settle_lost)
        code = failure_set(error, DAYBOOK_UNKNOWN,
                           "whether all that was accepted is durable is unknown, and some may "
                           "come again: %s",
                           sub->gone.text);
    sub->settle_lost = false;
    return code;
}
