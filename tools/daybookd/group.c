#include "tools/daybookd/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum event_state { EVENT_GIVEN, EVENT_WAITING, EVENT_DYING };

struct pending {
    uint64_t sequence;
    uint64_t letter; /* 0 unless it is dying */
    int64_t deadline_ns;
    const struct group_member *member; /* who has it; else who had it last, and may be gone */
    uint32_t tries;
    enum event_state state;
};

struct group {
    int64_t ack_timeout_ns;
    uint32_t tries_max;
    uint64_t position, letters, version, turns;
    size_t waiting; /* how many of the pending wait */
    struct group_member **members;
    size_t member_count, member_capacity;
    size_t count;
    struct pending list[GROUP_PENDING_MAX]; /* ascending by sequence */
};

/* It has failed once more: the next one may try, unless that was the last try. */
static void fail(struct group *group, struct pending *pending)
{
    group->version++;
    if (pending->tries < group->tries_max) {
        pending->state = EVENT_WAITING;
        group->waiting++;
        return;
    }
    pending->state = EVENT_DYING;
    pending->letter = ++group->letters;
}

struct group *group_create(const struct group_start *start)
{
    assert(start->pending_count <= GROUP_PENDING_MAX);
    assert(start->tries >= 1 && start->tries <= SEGMENT_CURSOR_TRIES_MAX);
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return NULL;
    group->ack_timeout_ns = start->ack_timeout_ns;
    group->tries_max = start->tries;
    group->position = start->position;
    group->letters = start->letters;
    group->count = start->pending_count;
    for (size_t i = 0; i < start->pending_count; i++) {
        const struct segment_cursor_pending *from = &start->pending[i];
        struct pending *to = &group->list[i];
        *to = (struct pending){.sequence = from->sequence, .tries = from->tries};
        /* Whoever had it is gone. */
        if (!from->letter) {
            fail(group, to);
            continue;
        }
        to->state = EVENT_DYING;
        to->letter = from->letter;
    }
    return group;
}

void group_free(struct group *group)
{
    if (!group)
        return;
    assert(group->member_count == 0);
    free(group->members);
    free(group);
}

bool group_join(struct group *group, struct group_member *member)
{
    if (group->member_count == group->member_capacity) {
        size_t capacity = group->member_capacity ? 2 * group->member_capacity : 8;
        struct group_member **members =
            reallocarray(group->members, capacity, sizeof(struct group_member *));
        if (!members)
            return false;
        group->members = members;
        group->member_capacity = capacity;
    }
    *member = (struct group_member){.index = group->member_count};
    group->members[group->member_count++] = member;
    return true;
}

void group_leave(struct group *group, struct group_member *member)
{
    for (size_t i = 0; i < group->count; i++) {
        struct pending *pending = &group->list[i];
        if (pending->member != member)
            continue;
        /* Another one may come to stand at the same address. */
        pending->member = NULL;
        if (pending->state == EVENT_GIVEN)
            fail(group, pending);
    }
    struct group_member *last = group->members[--group->member_count];
    group->members[member->index] = last;
    last->index = member->index;
}

size_t group_member_count(const struct group *group)
{
    return group->member_count;
}

/* Where the first pending event at or behind `sequence` stands. */
static size_t find(const struct group *group, uint64_t sequence)
{
    size_t low = 0, high = group->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (group->list[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_at(struct group *group, size_t at)
{
    group->waiting -= group->list[at].state == EVENT_WAITING;
    group->count--;
    memmove(&group->list[at], &group->list[at + 1],
            (group->count - at) * sizeof group->list[0]);
    group->version++;
}

uint64_t group_next_waiting(const struct group *group, uint64_t after)
{
    if (!group->waiting)
        return 0;
    for (size_t i = find(group, after + 1); i < group->count; i++)
        if (group->list[i].state == EVENT_WAITING)
            return group->list[i].sequence;
    return 0;
}

bool group_has_room(const struct group *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        if (group->members[i]->room > 0)
            return true;
    return false;
}

bool group_wants_new(const struct group *group)
{
    return !group->waiting && group->count < GROUP_PENDING_MAX && group_has_room(group);
}

static bool is_better(const struct group_member *a, const struct group_member *b,
                      const struct group_member *had_it)
{
    if ((a == had_it) != (b == had_it))
        return b == had_it;
    if (a->room != b->room)
        return a->room > b->room;
    if (a->held != b->held)
        return a->held < b->held;
    return a->turn < b->turn;
}

static struct group_member *choose(const struct group *group, const struct group_member *had_it)
{
    struct group_member *best = NULL;
    for (size_t i = 0; i < group->member_count; i++) {
        struct group_member *member = group->members[i];
        if (member->room > 0 && (!best || is_better(member, best, had_it)))
            best = member;
    }
    assert(best);
    return best;
}

struct group_member *group_give(struct group *group, uint64_t sequence, int64_t now_ns,
                                uint32_t *try_out)
{
    size_t at = find(group, sequence);
    if (sequence > group->position) {
        assert(at == group->count && at < GROUP_PENDING_MAX);
        group->list[group->count++] =
            (struct pending){.sequence = sequence, .state = EVENT_WAITING};
        group->waiting++;
        group->position = sequence;
    }
    struct pending *pending = &group->list[at];
    assert(at < group->count && pending->sequence == sequence && pending->state == EVENT_WAITING);
    struct group_member *member = choose(group, pending->member);
    group->waiting--;
    pending->state = EVENT_GIVEN;
    pending->member = member;
    pending->tries++;
    pending->deadline_ns = now_ns + group->ack_timeout_ns;
    member->room--;
    member->held++;
    member->turn = ++group->turns;
    *try_out = pending->tries;
    return member;
}

void group_pass(struct group *group, uint64_t sequence)
{
    if (sequence > group->position)
        group->position = sequence;
}

void group_lose(struct group *group, uint64_t sequence)
{
    size_t at = find(group, sequence);
    assert(at < group->count && group->list[at].sequence == sequence);
    assert(group->list[at].state == EVENT_WAITING);
    remove_at(group, at);
}

static bool is_with(const struct pending *pending, const struct group_member *member)
{
    return pending->state == EVENT_GIVEN && pending->member == member;
}

/* In one pass, because a range may be long. */
size_t group_accept(struct group *group, const struct group_member *member, uint64_t first,
                    uint64_t last)
{
    size_t from = find(group, first), kept = from, at = from;
    for (; at < group->count && group->list[at].sequence <= last; at++)
        if (!is_with(&group->list[at], member))
            group->list[kept++] = group->list[at];
    size_t accepted = at - kept;
    if (accepted == 0)
        return 0;
    memmove(&group->list[kept], &group->list[at], (group->count - at) * sizeof group->list[0]);
    group->count -= accepted;
    group->members[member->index]->held -= (uint32_t)accepted;
    group->version++;
    return accepted;
}

static void take_away(struct group *group, struct pending *pending)
{
    struct group_member *member = group->members[pending->member->index];
    member->held--;
    fail(group, pending);
}

size_t group_release(struct group *group, const struct group_member *member, uint64_t first,
                     uint64_t last)
{
    size_t released = 0;
    for (size_t i = find(group, first); i < group->count && group->list[i].sequence <= last; i++)
        if (is_with(&group->list[i], member)) {
            take_away(group, &group->list[i]);
            released++;
        }
    return released;
}

size_t group_expire(struct group *group, int64_t now_ns)
{
    size_t expired = 0;
    for (size_t i = 0; i < group->count; i++)
        if (group->list[i].state == EVENT_GIVEN && group->list[i].deadline_ns <= now_ns) {
            take_away(group, &group->list[i]);
            expired++;
        }
    return expired;
}

int64_t group_deadline(const struct group *group)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < group->count; i++)
        if (group->list[i].state == EVENT_GIVEN && group->list[i].deadline_ns < first)
            first = group->list[i].deadline_ns;
    return first;
}

bool group_next_letter(const struct group *group, uint64_t number,
                       struct segment_cursor_pending *letter_out)
{
    const struct pending *next = NULL;
    for (size_t i = 0; i < group->count; i++) {
        const struct pending *pending = &group->list[i];
        if (pending->letter > number && (!next || pending->letter < next->letter))
            next = pending;
    }
    if (next)
        *letter_out =
            (struct segment_cursor_pending){next->sequence, next->letter, next->tries};
    return next != NULL;
}

void group_bury(struct group *group, uint64_t sequence)
{
    size_t at = find(group, sequence);
    if (at < group->count && group->list[at].sequence == sequence &&
        group->list[at].state == EVENT_DYING)
        remove_at(group, at);
}

uint64_t group_version(const struct group *group)
{
    return group->version;
}

uint64_t group_position(const struct group *group)
{
    return group->position;
}

uint64_t group_letters(const struct group *group)
{
    return group->letters;
}

size_t group_snapshot(const struct group *group, struct segment_cursor_pending *pending_out)
{
    for (size_t i = 0; i < group->count; i++)
        pending_out[i] = (struct segment_cursor_pending){
            group->list[i].sequence, group->list[i].letter, group->list[i].tries};
    return group->count;
}
