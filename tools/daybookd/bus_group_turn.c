/* What a group gives to its members, a turn at a time. See tools/daybookd/bus_group.h. */
#include <inttypes.h>
#include <string.h>

#include "core/clock.h"
#include "tools/daybookd/bus_state.h"

enum {
    TURN_NS = 1000000,
    MEMBER_BYTES = 65536, /* to one member in a turn, but for one event that is larger */
    FORWARD_MAX = 4096,   /* reading on is cheaper than a seek up to here */
};

static struct subscriber *member_of(struct list_link *link)
{
    return LIST_MEMBER(link, struct subscriber, in_group);
}

/* ---- To the members ---- */

/* Who has not taken what it was given yet gets nothing more. */
static bool can_take(const struct subscriber *member)
{
    return member->begun && !member->closing && !member->gone && !member->blocked &&
           member->answers.size == member->answers_sent;
}

/*
 * How many events each may be given. What sockets have not taken is bounded for all groups
 * together: whose members do not read may take their own group's events, and nobody's memory.
 */
static void make_room(struct bus_group *group)
{
    group->unsent_bytes = 0;
    for (struct list_link *link = group->members.next; link != &group->members;
         link = link->next) {
        struct subscriber *member = member_of(link);
        group->unsent_bytes += member->answers.size - member->answers_sent;
        member->share.room = 0;
        if (can_take(member))
            member->share.room = member->limited ? member->credit : UINT32_MAX;
    }
}

static size_t unsent_of_all(const struct bus *bus)
{
    size_t bytes = 0;
    for (struct list_link *link = bus->groups.next; link != &bus->groups; link = link->next)
        bytes += LIST_MEMBER(link, struct bus_group, in_groups)->unsent_bytes;
    return bytes;
}

/* The one of this group that holds most of the memory without reading. */
static void end_hoarder(struct bus_group *group)
{
    struct subscriber *worst = NULL;
    for (struct list_link *link = group->members.next; link != &group->members;
         link = link->next) {
        struct subscriber *member = member_of(link);
        if (!worst || member->answers.size > worst->answers.size)
            worst = member;
    }
    if (worst && worst->answers.size > 0)
        subscriber_fail(worst, "busy",
                        "it does not read what its group has given it, and the daemon's memory for "
                        "that is used up");
}

/* Put what was gathered for the member behind its answers, as one frame. */
static void close_frame(struct bus_group *group, struct subscriber *member)
{
    struct buffer *answers = &member->answers;
    enum error_code code = OK;
    if (member->given_count == 0 || member->gone)
        return;
    if (!member->lines)
        code = wire_write_events_head(answers, group_position(group->group), member->given_count,
                                      member->given.size, NULL);
    if (!code)
        code = buffer_append(answers, member->given.data, member->given.size, NULL);
    member->delivered += member->given_count;
    atomic_fetch_add_explicit(&group->bus->delivered, member->given_count, memory_order_relaxed);
    member->given.size = 0;
    member->given_count = 0;
    subscriber_answered(member, code);
}

static void give_event(struct bus_group *group, const struct event *event)
{
    uint32_t try_number;
    struct group_member *share =
        group_give(group->group, event->sequence, group->bus->now_ns, &try_number);
    struct subscriber *member = LIST_MEMBER(share, struct subscriber, share);
    struct buffer *scratch = &group->bus->scratch;
    scratch->size = 0;
    enum error_code code = filter_write_try(member->lines, event, try_number, scratch, NULL);
    if (!code && member->given.size + scratch->size > SUBSCRIBER_FRAME_BYTES)
        close_frame(group, member);
    if (!code)
        code = buffer_append(&member->given, scratch->data, scratch->size, NULL);
    if (code) {
        subscriber_drop(member);
        return;
    }
    member->given_count++;
    if (member->limited)
        member->credit--;
    if (member->given.size + member->answers.size >= MEMBER_BYTES)
        share->room = 0;
}

static void tell_lost(struct bus_group *group, const struct log_stream_item *item)
{
    struct list_link *next;
    for (struct list_link *link = group->members.next; link != &group->members; link = next) {
        next = link->next;
        struct subscriber *member = member_of(link);
        const struct filter form = {.lines = member->lines};
        if (!member->begun || member->gone)
            continue;
        close_frame(group, member);
        if (!member->gone)
            subscriber_answered(member, filter_write(&form, item, &member->answers, NULL));
    }
}

static enum error_code write_caught_up(struct subscriber *member, uint64_t position)
{
    if (member->lines)
        return buffer_printf(&member->answers, NULL, "{\"caught_up\":%" PRIu64 "}\n", position);
    return wire_write_caught_up(&member->answers, position, NULL);
}

static void send_all(struct bus_group *group)
{
    bool caught_up = group->at_end && !group_is_waiting(group->group);
    uint64_t position = group_position(group->group);
    struct list_link *next;
    for (struct list_link *link = group->members.next; link != &group->members; link = next) {
        next = link->next;
        struct subscriber *member = member_of(link);
        if (!member->begun || member->gone || member->closing)
            continue;
        close_frame(group, member);
        if (caught_up && !member->caught_up && !member->gone)
            subscriber_answered(member, write_caught_up(member, position));
        member->caught_up = caught_up;
        if (!member->gone && member->answers.size > member->answers_sent)
            subscriber_send(member, NULL);
        if (member->answers.size == 0 && member->given.capacity > MEMBER_BYTES)
            buffer_release(&member->given);
    }
}

/* ---- From the log ---- */

static enum error_code open_source(struct bus *bus, struct bus_source *source, struct error *error)
{
    source->used_ns = bus->now_ns;
    if (source->stream)
        return OK;
    return log_stream_open(bus->options.directory, &source->stream, error);
}

static void seek(struct bus_source *source, uint64_t after, const struct log_stream_place *place)
{
    source->placed = true;
    source->looked = after;
    source->count = source->next = 0;
    log_stream_seek(source->stream, after, place);
}

static uint64_t last_of(const struct log_stream_item *item)
{
    return item->lost ? item->last : item->event.sequence;
}

/* NULL: nothing more is durable, or it cannot be read. */
static const struct log_stream_item *next_item(struct bus_source *source, enum error_code *code_out,
                                               struct error *error)
{
    *code_out = OK;
    if (source->next == source->count) {
        source->next = source->count = 0;
        *code_out = log_stream_read(source->stream, source->items, &source->count, error);
    }
    if (*code_out) {
        source->placed = *code_out == ERROR_END;
        source->looked = log_stream_looked(source->stream);
        return NULL;
    }
    const struct log_stream_item *item = &source->items[source->next++];
    source->looked = last_of(item);
    return item;
}

/*
 * A consumer that can settle nothing must not be given its own dead letters, and dead letters of
 * those, for ever; nor two such consumers each other's. Who asks for them by their topic gets them.
 */
static bool is_for(struct bus_group *group, const struct event *event, enum error_code *code_out,
                   struct error *error)
{
    bool match = false;
    bool dead = event->topic_bytes >= sizeof BUS_LETTER_PREFIX - 1 &&
                memcmp(event->topic, BUS_LETTER_PREFIX, sizeof BUS_LETTER_PREFIX - 1) == 0;
    const char *of = event->topic + (sizeof BUS_LETTER_PREFIX - 1);
    if (dead && (group->filter.topics.count == 0 ||
                 (event->topic_bytes - (sizeof BUS_LETTER_PREFIX - 1) == strlen(group->name) &&
                  memcmp(of, group->name, strlen(group->name)) == 0)))
        return false;
    *code_out = filter_match(&group->filter, event, &match, error);
    return match;
}

/* One step on from position. ERROR_END: everything durable was looked at. */
static enum error_code give_new(struct bus_group *group, struct error *error)
{
    struct bus_source *source = &group->bus->fresh;
    enum error_code code = open_source(group->bus, source, error);
    if (code)
        return code;
    uint64_t position = group_position(group->group);
    if (!source->placed || source->looked != position)
        seek(source, position, &group->place);
    const struct log_stream_item *item = next_item(source, &code, error);
    if (!item) {
        if (code == ERROR_END)
            group_pass(group->group, source->looked);
        return code;
    }
    group->place = log_stream_place(source->stream);
    landmarks_note(&group->bus->landmarks, &group->place);
    bool match = false;
    if (item->lost)
        tell_lost(group, item);
    else
        match = is_for(group, &item->event, &code, error);
    if (!code && match)
        give_event(group, &item->event);
    else if (!code)
        group_pass(group->group, last_of(item));
    return code;
}

/* The first event that waits, again: or the news that it is gone. */
static enum error_code give_again(struct bus_group *group, struct error *error)
{
    struct bus_source *source = &group->bus->again;
    uint64_t sequence = group_next_waiting(group->group, 0);
    enum error_code code = open_source(group->bus, source, error);
    if (code)
        return code;
    if (!source->placed || source->looked >= sequence ||
        sequence - source->looked > FORWARD_MAX) {
        struct log_stream_place place = landmarks_find(&group->bus->landmarks, sequence);
        seek(source, sequence - 1, &place);
    }
    const struct log_stream_item *item = next_item(source, &code, error);
    if (!item || last_of(item) < sequence)
        return code;
    if (!item->lost && item->event.sequence == sequence) {
        give_event(group, &item->event);
        return OK;
    }
    if (item->lost)
        tell_lost(group, item);
    notices_line(&group->bus->notices, REPORT_WARNING,
                 "group '%s': event %" PRIu64 " was not settled, and is not in the log any more",
                 group->name, sequence);
    group_lose(group->group, sequence);
    return OK;
}

/* ---- The turn ---- */

static bool may_give_new(const struct bus_group *group)
{
    return group->settling_count < BUS_GROUP_SETTLINGS && group_wants_new(group->group);
}

static void fail_all(struct bus_group *group, enum error_code code, const struct error *error)
{
    const char *name = code == ERROR_INVALID ? "invalid" : code == ERROR_MEMORY ? "busy" : "io";
    while (!list_is_empty(&group->members))
        subscriber_fail(member_of(group->members.next), name, error->text);
}

void bus_group_give(struct bus_group *group)
{
    struct error error;
    enum error_code code = OK;
    int64_t end_ns = clock_monotonic_ns() + TURN_NS;
    bool in_time = true;
    group_expire(group->group, group->bus->now_ns);
    make_room(group);
    if (unsent_of_all(group->bus) > BUS_GROUP_BYTES)
        end_hoarder(group);
    group->at_end = false;
    while (!code && in_time) {
        if (group_next_waiting(group->group, 0))
            code = give_again(group, &error);
        else if (may_give_new(group))
            code = give_new(group, &error);
        else
            break;
        in_time = clock_monotonic_ns() < end_ns;
    }
    group->at_end = code == ERROR_END;
    group->due = !in_time && !code;
    send_all(group);
    if (code && code != ERROR_END)
        fail_all(group, code, &error);
}
