#include "tools/daybookd/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The first pause, and the longest of an event's and of a member's. */
static const int64_t PAUSE_NS = 100000000;
static const int64_t EVENT_PAUSE_MAX_NS = INT64_C(30000000000);
static const int64_t MEMBER_PAUSE_MAX_NS = INT64_C(3200000000);

enum event_state { EVENT_GIVEN, EVENT_RESTING, EVENT_WAITING, EVENT_DYING };

struct pending {
    uint64_t sequence;
    uint64_t letter;     /* 0 unless it is dying */
    uint64_t turn;       /* when it was given last, counted in events */
    int64_t deadline_ns; /* for being settled, or of its rest */
    const struct group_member *member; /* who has it; else who had it last, and may be gone */
    uint32_t failures;                 /* tries that have failed */
    enum event_state state;
};

struct group {
    int64_t ack_timeout_ns;
    int64_t now_ns; /* as it was told last */
    uint32_t tries_max;
    uint64_t position, letters, version, turns;
    size_t waiting, resting; /* so many of the pending */
    struct group_member **members;
    size_t member_count, member_capacity;
    size_t count;
    struct pending list[GROUP_PENDING_MAX]; /* ascending by sequence */
};

/* ---- Failures and pauses ---- */

static int64_t pause_after(const struct group *group, uint32_t failures, int64_t longest_ns)
{
    int64_t pause_ns = PAUSE_NS;
    for (uint32_t i = 1; i < failures && pause_ns < longest_ns; i++)
        pause_ns *= 2;
    if (pause_ns > longest_ns)
        pause_ns = longest_ns;
    return pause_ns < group->ack_timeout_ns ? pause_ns : group->ack_timeout_ns;
}

/* It may be given again after a pause, unless its tries are used up. */
static void rest_or_die(struct group *group, struct pending *pending)
{
    if (pending->failures >= group->tries_max) {
        pending->state = EVENT_DYING;
        pending->letter = ++group->letters;
        return;
    }
    pending->state = EVENT_RESTING;
    pending->deadline_ns =
        group->now_ns + pause_after(group, pending->failures, EVENT_PAUSE_MAX_NS);
    group->resting++;
}

static void fail(struct group *group, struct pending *pending)
{
    group->version++;
    pending->failures++;
    rest_or_die(group, pending);
}

static void wait_again(struct group *group, struct pending *pending)
{
    pending->state = EVENT_WAITING;
    group->waiting++;
}

static bool is_failing(const struct group_member *member)
{
    return member->failures >= GROUP_FAILURES;
}

/* What it releases while it rests already is of the same failure. */
static void fail_member(struct group *group, struct group_member *member)
{
    if (member->failures < UINT32_MAX)
        member->failures++;
    if (!is_failing(member) || member->rest_until_ns)
        return;
    if (member->rests < UINT32_MAX)
        member->rests++;
    member->rest_until_ns =
        group->now_ns + pause_after(group, member->rests, MEMBER_PAUSE_MAX_NS);
}

/* Another one is at work, and gets done what this one cannot. */
static bool has_sound_member(const struct group *group)
{
    for (size_t i = 0; i < group->member_count; i++) {
        const struct group_member *member = group->members[i];
        bool worked = member->accepted_ns &&
                      group->now_ns - member->accepted_ns <= group->ack_timeout_ns;
        if (!is_failing(member) && (member->room > 0 || member->held > 0 || worked))
            return true;
    }
    return false;
}

/* May it be given an event? One that has never failed is `fresh`; `sound`: somebody is. */
static bool may_have(const struct group_member *member, bool fresh, bool sound)
{
    if (member->room == 0)
        return false;
    return !is_failing(member) || !sound ||
           (fresh && !member->rest_until_ns && member->held == 0);
}

static bool somebody_may_have(const struct group *group, bool fresh)
{
    bool sound = has_sound_member(group);
    for (size_t i = 0; i < group->member_count; i++)
        if (may_have(group->members[i], fresh, sound))
            return true;
    return false;
}

/* ---- Life ---- */

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
    group->now_ns = start->now_ns;
    for (size_t i = 0; i < start->pending_count; i++) {
        const struct segment_cursor_pending *from = &start->pending[i];
        struct pending *to = &group->list[i];
        *to = (struct pending){.sequence = from->sequence, .failures = from->tries};
        if (from->letter) {
            to->state = EVENT_DYING;
            to->letter = from->letter;
        } else if (from->tries > 0) {
            group->version += from->tries >= group->tries_max;
            rest_or_die(group, to);
        } else {
            wait_again(group, to);
        }
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

/* Of what each member has: which it was given first. */
static void find_first(const struct group *group)
{
    for (size_t i = 0; i < group->member_count; i++)
        group->members[i]->first = UINT64_MAX;
    for (size_t i = 0; i < group->count; i++) {
        const struct pending *pending = &group->list[i];
        if (pending->state != EVENT_GIVEN)
            continue;
        struct group_member *member = group->members[pending->member->index];
        if (pending->turn < member->first)
            member->first = pending->turn;
    }
}

static bool is_first(const struct pending *pending)
{
    return pending->state == EVENT_GIVEN && pending->turn == pending->member->first;
}

void group_leave(struct group *group, struct group_member *member, int64_t now_ns)
{
    group->now_ns = now_ns;
    find_first(group);
    for (size_t i = 0; i < group->count; i++) {
        struct pending *pending = &group->list[i];
        if (pending->member != member)
            continue;
        if (is_first(pending))
            fail(group, pending);
        else if (pending->state == EVENT_GIVEN)
            wait_again(group, pending);
        /* Another one may come to stand at the same address. */
        pending->member = NULL;
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
    group->resting -= group->list[at].state == EVENT_RESTING;
    group->count--;
    memmove(&group->list[at], &group->list[at + 1],
            (group->count - at) * sizeof group->list[0]);
    group->version++;
}

uint64_t group_next_waiting(const struct group *group, uint64_t after)
{
    if (!group->waiting || !somebody_may_have(group, true))
        return 0;
    bool also_failed = somebody_may_have(group, false);
    for (size_t i = find(group, after + 1); i < group->count; i++) {
        const struct pending *pending = &group->list[i];
        if (pending->state == EVENT_WAITING && (also_failed || pending->failures == 0))
            return pending->sequence;
    }
    return 0;
}

bool group_is_waiting(const struct group *group)
{
    return group->waiting > 0 || group->resting > 0;
}

bool group_wants_new(const struct group *group)
{
    return group->count < GROUP_PENDING_MAX && somebody_may_have(group, true) &&
           group_next_waiting(group, 0) == 0;
}

static bool is_better(const struct group_member *a, const struct group_member *b,
                      const struct group_member *had_it)
{
    if (is_failing(a) != is_failing(b))
        return is_failing(b);
    if ((a == had_it) != (b == had_it))
        return b == had_it;
    if (a->room != b->room)
        return a->room > b->room;
    if (a->held != b->held)
        return a->held < b->held;
    return a->turn < b->turn;
}

static struct group_member *choose(const struct group *group, const struct pending *pending)
{
    struct group_member *best = NULL;
    bool sound = has_sound_member(group), fresh = pending->failures == 0;
    for (size_t i = 0; i < group->member_count; i++) {
        struct group_member *member = group->members[i];
        if (may_have(member, fresh, sound) &&
            (!best || is_better(member, best, pending->member)))
            best = member;
    }
    assert(best);
    return best;
}

struct group_member *group_give(struct group *group, uint64_t sequence, int64_t now_ns,
                                uint32_t *try_out)
{
    size_t at = find(group, sequence);
    group->now_ns = now_ns;
    if (sequence > group->position) {
        assert(at == group->count && at < GROUP_PENDING_MAX);
        group->list[group->count++] =
            (struct pending){.sequence = sequence, .state = EVENT_WAITING};
        group->waiting++;
        group->position = sequence;
    }
    struct pending *pending = &group->list[at];
    assert(at < group->count && pending->sequence == sequence && pending->state == EVENT_WAITING);
    struct group_member *member = choose(group, pending);
    group->waiting--;
    pending->state = EVENT_GIVEN;
    pending->member = member;
    pending->turn = ++group->turns;
    pending->deadline_ns = now_ns + group->ack_timeout_ns;
    member->room--;
    member->held++;
    member->turn = pending->turn;
    *try_out = pending->failures + 1;
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
                    uint64_t last, int64_t now_ns)
{
    size_t from = find(group, first), kept = from, at = from;
    group->now_ns = now_ns;
    for (; at < group->count && group->list[at].sequence <= last; at++)
        if (!is_with(&group->list[at], member))
            group->list[kept++] = group->list[at];
    size_t accepted = at - kept;
    if (accepted == 0)
        return 0;
    memmove(&group->list[kept], &group->list[at], (group->count - at) * sizeof group->list[0]);
    group->count -= accepted;
    struct group_member *sound = group->members[member->index];
    sound->held -= (uint32_t)accepted;
    sound->accepted_ns = now_ns;
    sound->failures = sound->rests = 0;
    sound->rest_until_ns = 0;
    group->version++;
    return accepted;
}

static void take_away(struct group *group, struct pending *pending)
{
    struct group_member *member = group->members[pending->member->index];
    member->held--;
    fail(group, pending);
    fail_member(group, member);
}

size_t group_release(struct group *group, const struct group_member *member, uint64_t first,
                     uint64_t last, int64_t now_ns)
{
    size_t released = 0;
    group->now_ns = now_ns;
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
    group->now_ns = now_ns;
    for (size_t i = 0; i < group->member_count; i++)
        if (group->members[i]->rest_until_ns <= now_ns)
            group->members[i]->rest_until_ns = 0;
    for (size_t i = 0; i < group->count; i++) {
        struct pending *pending = &group->list[i];
        if (pending->deadline_ns > now_ns)
            continue;
        if (pending->state == EVENT_GIVEN) {
            take_away(group, pending);
            expired++;
        } else if (pending->state == EVENT_RESTING) {
            group->resting--;
            wait_again(group, pending);
        }
    }
    return expired;
}

int64_t group_deadline(const struct group *group)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < group->member_count; i++) {
        int64_t rest_until_ns = group->members[i]->rest_until_ns;
        if (rest_until_ns && rest_until_ns < first)
            first = rest_until_ns;
    }
    for (size_t i = 0; i < group->count; i++) {
        const struct pending *pending = &group->list[i];
        bool is_timed = pending->state == EVENT_GIVEN || pending->state == EVENT_RESTING;
        if (is_timed && pending->deadline_ns < first)
            first = pending->deadline_ns;
    }
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
            (struct segment_cursor_pending){next->sequence, next->letter, next->failures};
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
    find_first(group);
    for (size_t i = 0; i < group->count; i++) {
        const struct pending *pending = &group->list[i];
        pending_out[i] = (struct segment_cursor_pending){
            pending->sequence, pending->letter, pending->failures + is_first(pending)};
    }
    return group->count;
}
