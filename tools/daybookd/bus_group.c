#include "tools/daybookd/bus_group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "segment/log.h"
#include "tools/daybookd/bus_state.h"

enum { STORE_POSITION_NS = 1000000000 };

static struct subscriber *member_of(struct list_link *link)
{
    return LIST_MEMBER(link, struct subscriber, in_group);
}

/* ---- On the keeper's thread ---- */

static void work_open(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    const struct bus_cursor_wanted wanted = {
        .bus = group->bus,
        .name = group->name,
        .kind = CURSOR_SHARED,
        .may_make = group->may_make,
        .make_at = group->make_at,
    };
    group->error.code = bus_cursor_open(&wanted, &group->handle, &group->error);
}

static void work_store(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    group->error.code = segment_cursor_store(group->handle, &group->change, &group->error);
}

static void work_close(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    segment_cursor_close(group->handle);
    group->handle = NULL;
    group->error.code = OK;
}

/* ---- What came of it ---- */

void bus_group_task(struct bus_group *group, void (*work)(struct keeper_task *),
                    void (*done)(struct keeper_task *))
{
    assert(!group->busy);
    group->busy = true;
    group->task.work = work;
    group->task.done = done;
    group->task.may_wait = work == work_open;
    keeper_give(group->bus->keeper, &group->task);
}

/* What is not durable is not settled: members that come back get it again. */
static void fail_members(struct bus_group *group, const char *code, const char *text)
{
    while (bus_group_has_members(group))
        subscriber_fail(member_of(group->members.next), code, text);
}

static enum error_code begin(struct bus_group *group, struct error *error)
{
    const struct segment_cursor_state *state = segment_cursor_state(group->handle);
    struct segment_log *log = group->bus->options.log;
    char *producer = group->letter.producer;
    if (state->kind != CURSOR_SHARED)
        return error_set(error, ERROR_INVALID,
                         "the cursor '%s' is one consumer's alone; subscribe without \"shared\", "
                         "or take another name",
                         group->name);
    enum error_code code = segment_cursor_check_position(group->name, state,
                                                         segment_log_durable(log), error);
    if (code)
        return code;
    bus_letter_name_producer(state->id, producer);
    /* More than the cursor knows: its file was put back to an older state. */
    uint64_t letters = segment_log_producer_number(log, producer, strlen(producer));
    const struct group_start start = {
        .position = state->position,
        .letters = letters > state->letters ? letters : state->letters,
        .pending = segment_cursor_pending(group->handle),
        .pending_count = state->pending_count,
        .ack_timeout_ns = group->ack_timeout_ns,
        .tries = group->tries,
        .now_ns = group->bus->now_ns,
    };
    group->group = group_create(&start);
    if (!group->group)
        return error_set(error, ERROR_MEMORY, "no memory for the group '%s'", group->name);
    group->stored_version = 0;
    group->stored_position = state->position;
    group->stored_letters = state->letters;
    group->stored_ns = group->bus->now_ns;
    group->due = true;
    return OK;
}

static void begin_member(struct bus_group *group, struct subscriber *member)
{
    if (!group_join(group->group, &member->share)) {
        subscriber_fail(member, "busy", "no memory for another member of the group");
        return;
    }
    subscriber_begin(member, group_position(group->group));
    bus_place(group->bus, member);
}

static void begin_members(struct bus_group *group)
{
    struct list_link *next;
    for (struct list_link *link = group->members.next; link != &group->members; link = next) {
        next = link->next;
        if (!member_of(link)->begun)
            begin_member(group, member_of(link));
    }
}

static void done_open(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    group->busy = false;
    if (group->error.code == ERROR_NOT_FOUND && !group->may_make) {
        group->missing = true;
        if (bus_group_has_members(group)) {
            subscriber_find_start(member_of(group->members.next));
            return;
        }
    } else {
        if (!group->error.code && bus_group_has_members(group))
            group->error.code = begin(group, &group->error);
        if (group->error.code)
            fail_members(group, bus_cursor_open_code(group->error.code), group->error.text);
    }
    bus_group_step(group);
}

static enum error_code write_settled(struct subscriber *member, const struct bus_settling *settling)
{
    if (member->lines)
        return buffer_printf(&member->answers, NULL, "{\"settled\":%" PRIu64 "}\n",
                             settling->count);
    return wire_write_settled(&member->answers, settling->id, settling->count, NULL);
}

/* It may have waited with what it sent until enough was answered. */
static void look_again(struct subscriber *member)
{
    if (!member->gone && (member->readable || member->input.size > 0) &&
        !list_contains(&member->in_readable))
        list_append(&member->bus->readable, &member->in_readable);
}

/* All that this version has in it, in the order in which it was asked for. */
static void tell_settled(struct bus_group *group)
{
    size_t told = 0;
    for (; told < group->settling_count; told++) {
        const struct bus_settling *settling = &group->settlings[told];
        if (settling->version > group->stored_version)
            break;
        if (!settling->member)
            continue;
        settling->member->settlings--;
        subscriber_answered(settling->member, write_settled(settling->member, settling));
    }
    if (told == 0)
        return;
    group->settling_count -= told;
    memmove(group->settlings, group->settlings + told,
            group->settling_count * sizeof *group->settlings);
    struct list_link *next;
    for (struct list_link *link = group->members.next; link != &group->members; link = next) {
        next = link->next;
        struct subscriber *member = member_of(link);
        if (!member->gone && member->answers.size > member->answers_sent)
            subscriber_send(member, NULL);
        look_again(member);
    }
}

static void done_store(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    group->busy = false;
    if (group->error.code) {
        error_prefix(&group->error, "settling of the group '%s'", group->name);
        group->failed = true;
        fail_members(group, "io", group->error.text);
    } else {
        group->stored_version = group->working_version;
        group->stored_position = group->change.position;
        group->stored_letters = group->change.letters;
        group->stored_ns = group->bus->now_ns;
        tell_settled(group);
        group->due = true; /* it may have waited for this */
    }
    bus_group_step(group);
}

static void forget_group(struct bus_group *group)
{
    bus_letter_drop(group);
    group_free(group->group);
    group->group = NULL;
    group->settling_count = 0;
    group->at_end = false;
}

static void done_close(struct keeper_task *task)
{
    struct bus_group *group = bus_group_of(task);
    group->busy = false;
    group->missing = group->may_make = group->stale = group->failed = false;
    bus_group_step(group);
}

static void store(struct bus_group *group)
{
    const struct segment_cursor_state *state = segment_cursor_state(group->handle);
    group->working_version = group_version(group->group);
    group->change = (struct segment_cursor_change){
        .position = group_position(group->group),
        .hold_bytes = state->hold_bytes,
        .committed_ns = clock_realtime_ns(),
        .letters = group_letters(group->group),
        .pending = group->snapshot,
        .pending_count = group_snapshot(group->group, group->snapshot),
    };
    bus_group_task(group, work_store, done_store);
}

/* Something was settled; or it has only gone on, which is worth a store now and then, and last. */
static bool wants_store(const struct bus_group *group)
{
    if (!group->group || group->failed)
        return false;
    if (group_version(group->group) != group->stored_version)
        return true;
    bool moved = group_position(group->group) != group->stored_position;
    return moved && (!bus_group_has_members(group) ||
                     group->bus->now_ns - group->stored_ns >= STORE_POSITION_NS);
}

static void free_group(struct bus_group *group)
{
    list_remove(&group->in_groups);
    group->bus->group_count--;
    filter_release(&group->filter);
    buffer_release(&group->letter.payload);
    free(group->settlings);
    free(group->snapshot);
    free(group);
}

void bus_group_step(struct bus_group *group)
{
    if (group->busy)
        return;
    bool leaves = !bus_group_has_members(group) || group->stale || group->failed;
    if (wants_store(group)) {
        store(group);
    } else if (group->handle && leaves) {
        forget_group(group);
        bus_group_task(group, work_close, done_close);
    } else if (!bus_group_has_members(group)) {
        free_group(group);
    } else if (!group->handle && (!group->missing || group->may_make)) {
        bus_group_task(group, work_open, done_open);
    } else if (group->group) {
        begin_members(group);
        if (!group->busy)
            bus_letter_step(group);
    }
}

/* ---- For subscribers ---- */

void bus_group_make(struct bus_group *group, uint64_t position)
{
    group->may_make = true;
    group->make_at = position;
    bus_group_step(group);
}

void bus_group_wake(struct bus_group *group)
{
    group->due = true;
}

/* ---- Settling ---- */

static bool reserve_settling(struct bus_group *group)
{
    if (group->settling_count < group->settling_capacity)
        return true;
    size_t capacity = group->settling_capacity ? 2 * group->settling_capacity : 16;
    struct bus_settling *settlings =
        reallocarray(group->settlings, capacity, sizeof *settlings);
    if (!settlings)
        return false;
    group->settlings = settlings;
    group->settling_capacity = capacity;
    return true;
}

void bus_group_settle(struct subscriber *member, bool accept, uint64_t id,
                      const struct wire_range *ranges, uint32_t count)
{
    struct bus_group *group = member->group;
    struct bus_settling settling = {.member = member, .id = id};
    if (!reserve_settling(group)) {
        subscriber_fail(member, "busy", "no memory to settle");
        return;
    }
    size_t (*settle)(struct group *, const struct group_member *, uint64_t, uint64_t, int64_t) =
        accept ? group_accept : group_release;
    for (uint32_t i = 0; i < count; i++)
        settling.count += settle(group->group, &member->share, ranges[i].first, ranges[i].last,
                                 group->bus->now_ns);
    group->due = true;
    /* What changes nothing needs no store, but answers come in the order of the requests. */
    if (settling.count == 0 && member->settlings == 0) {
        subscriber_answered(member, write_settled(member, &settling));
        if (!member->gone)
            subscriber_send(member, NULL);
        return;
    }
    settling.version = group_version(group->group);
    group->settlings[group->settling_count++] = settling;
    member->settlings++;
}

/* ---- Rounds ---- */

static bool is_open(const struct bus_group *group)
{
    return group->group && !group->stale && !group->failed;
}

static bool has_something_to_give(struct bus_group *group)
{
    uint64_t durable = segment_log_durable(group->bus->options.log);
    if (durable != group->durable_seen) {
        group->durable_seen = durable;
        group->due = true;
    }
    return group->due || group_deadline(group->group) <= group->bus->now_ns;
}

/* Each in its turn, as long as there is time: the next round begins with who had none. */
static void give_to_all(struct bus *bus)
{
    int64_t end_ns = clock_monotonic_ns() + BUS_BEHIND_NS;
    for (size_t i = 0; i < bus->group_count; i++) {
        struct bus_group *group = LIST_MEMBER(bus->groups.next, struct bus_group, in_groups);
        list_remove(&group->in_groups);
        list_append(&bus->groups, &group->in_groups);
        if (!is_open(group) || !bus_group_has_members(group) || !has_something_to_give(group))
            continue;
        bus_group_give(group);
        if (clock_monotonic_ns() >= end_ns)
            return;
    }
}

void bus_groups_turn(struct bus *bus)
{
    struct list_link *next;
    give_to_all(bus);
    for (struct list_link *link = bus->groups.next; link != &bus->groups; link = next) {
        next = link->next;
        bus_group_step(LIST_MEMBER(link, struct bus_group, in_groups));
    }
}

int64_t bus_groups_timeout(const struct bus *bus, int64_t longest_ns)
{
    for (struct list_link *link = bus->groups.next; link != &bus->groups; link = link->next) {
        const struct bus_group *group = LIST_MEMBER(link, struct bus_group, in_groups);
        /* The next step of one without members is its end, and of the keeper's tasks one hears. */
        if (!bus_group_has_members(group) && !group->busy)
            return 0;
        if (!bus_group_has_members(group) || !is_open(group))
            continue;
        int64_t deadline_ns = group_deadline(group->group);
        if (group->due || deadline_ns <= bus->now_ns)
            return 0;
        if (deadline_ns - bus->now_ns < longest_ns)
            longest_ns = deadline_ns - bus->now_ns;
    }
    return longest_ns;
}

void bus_groups_end(struct bus *bus)
{
    while (!list_is_empty(&bus->groups)) {
        struct list_link *next;
        for (struct list_link *link = bus->groups.next; link != &bus->groups; link = next) {
            next = link->next;
            bus_group_step(LIST_MEMBER(link, struct bus_group, in_groups));
        }
        if (!list_is_empty(&bus->groups))
            keeper_take_done(bus->keeper, true);
    }
}
