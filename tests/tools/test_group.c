#include "tools/daybookd/group.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/stride.h"

enum { TIMEOUT = 100, TRIES = 3 };

static struct group *group;
static struct group_member a, b, c;
static uint32_t try_number;
static int64_t now; /* of a group that starts */

static void start_from(const struct segment_cursor_pending *pending, size_t count,
                       uint64_t position, uint64_t letters)
{
    const struct group_start start = {.position = position,
                                      .letters = letters,
                                      .pending = pending,
                                      .pending_count = count,
                                      .ack_timeout_ns = TIMEOUT,
                                      .tries = TRIES,
                                      .now_ns = now};
    group = group_create(&start);
    cr_assert_not_null(group);
}

static void begin(void)
{
    start_from(NULL, 0, 10, 0);
    cr_assert(group_join(group, &a) && group_join(group, &b) && group_join(group, &c));
}

TestSuite(group, .init = begin);

static struct group_member *give(uint64_t sequence, int64_t now_ns)
{
    return group_give(group, sequence, now_ns, &try_number);
}

/* All rests are over; the pauses here are as long as the timeout. */
static int64_t after_rest(int64_t now_ns)
{
    now_ns += TIMEOUT;
    group_expire(group, now_ns);
    return now_ns;
}

static void expect_pending(const char *sequences)
{
    static struct segment_cursor_pending pending[GROUP_PENDING_MAX];
    char text[256] = "";
    size_t count = group_snapshot(group, pending);
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), i ? " %lu" : "%lu",
                 pending[i].sequence);
    cr_assert_str_eq(text, sequences);
}

Test(group, gives_to_whom_has_most_room_then_to_whom_has_least)
{
    a.room = 2, b.room = 3;
    cr_assert_eq(give(11, 0), &b);
    cr_assert_eq(give(12, 0), &a); /* equal room: a has nothing yet */
    cr_assert_eq(give(13, 0), &b);
    cr_assert_eq(give(14, 0), &a);
    cr_assert_eq(give(15, 0), &b);
    cr_assert_not(group_wants_new(group));
    cr_assert_eq(group_position(group), 15);
}

Test(group, takes_turns_between_equals)
{
    for (uint64_t sequence = 11; sequence <= 40; sequence++) {
        a.room = b.room = c.room = 1000;
        struct group_member *member = give(sequence, 0);
        cr_assert_eq(member, sequence % 3 == 2 ? &a : sequence % 3 == 0 ? &b : &c);
    }
}

Test(group, lets_only_who_has_an_event_settle_it)
{
    a.room = 1;
    give(11, 0);
    cr_assert_eq(group_accept(group, &b, 1, 100, 0), 0);
    cr_assert_eq(group_release(group, &b, 1, 100, 0), 0);
    expect_pending("11");
    cr_assert_eq(group_accept(group, &a, 1, 100, 0), 1);
    cr_assert_eq(group_accept(group, &a, 1, 100, 0), 0);
    expect_pending("");
    cr_assert_eq(a.held, 0);
}

Test(group, gives_what_was_released_to_another_one_first_and_before_new_events)
{
    a.room = 1;
    give(11, 0);
    cr_assert_eq(group_release(group, &a, 11, 11, 0), 1);
    a.room = 100, b.room = 1;
    int64_t now_ns = after_rest(0);
    cr_assert_not(group_wants_new(group));
    cr_assert_eq(group_next_waiting(group, 0), 11);
    cr_assert_eq(give(11, now_ns), &b);
    cr_assert_eq(try_number, 2);
    cr_assert(group_wants_new(group));
    /* Nobody else has room: the same one again. */
    cr_assert_eq(group_release(group, &b, 11, 11, now_ns), 1);
    a.room = 0, b.room = 1;
    now_ns = after_rest(now_ns);
    cr_assert_eq(give(11, now_ns), &b);
    cr_assert_eq(try_number, 3);
}

Test(group, lets_what_has_failed_rest_twice_as_long_each_time)
{
    const int64_t ms = 1000000;
    const struct group_start start = {
        .position = 10, .ack_timeout_ns = 30000 * ms, .tries = SEGMENT_CURSOR_TRIES_MAX};
    struct group *patient = group_create(&start);
    cr_assert(patient && group_join(patient, &a));
    int64_t now_ns = 1000 * ms, pause_ns = 100 * ms;
    for (uint32_t i = 1; i < SEGMENT_CURSOR_TRIES_MAX; i++) {
        a.room = 2;
        group_give(patient, 11, now_ns, &try_number);
        cr_assert_eq(try_number, i);
        cr_assert_eq(group_release(patient, &a, 11, 11, now_ns), 1);
        /* Others are not kept waiting by it. */
        cr_assert(group_wants_new(patient) && group_is_waiting(patient));
        a.rest_until_ns = 0;
        cr_assert_eq(group_deadline(patient), now_ns + pause_ns);
        group_expire(patient, now_ns + pause_ns - 1);
        cr_assert_eq(group_next_waiting(patient, 0), 0);
        now_ns += pause_ns;
        cr_assert_eq(group_expire(patient, now_ns), 0);
        cr_assert_eq(group_next_waiting(patient, 0), 11);
        pause_ns = 2 * pause_ns < 30000 * ms ? 2 * pause_ns : 30000 * ms;
    }
    group_leave(patient, &a, now_ns);
    group_free(patient);
}

/* It settles faster than anybody, and so has most room. */
Test(group, does_not_give_its_events_to_a_member_that_fails_while_another_gets_them_done)
{
    int64_t now_ns = 1000;
    a.room = 1, b.room = GROUP_FAILURES;
    cr_assert_eq(give(11, now_ns), &b);
    for (uint64_t sequence = 12; sequence <= 11 + GROUP_FAILURES; sequence++)
        give(sequence, now_ns);
    cr_assert_eq(a.held, 1);
    cr_assert_eq(group_release(group, &b, 1, 100, now_ns), GROUP_FAILURES);
    b.room = 100;
    cr_assert_not(group_wants_new(group), "a has no room, and b rests");
    cr_assert_eq(group_accept(group, &a, 1, 100, now_ns), 1);
    now_ns = after_rest(now_ns);
    cr_assert_eq(group_next_waiting(group, 0), 0, "what has failed waits for a");
    cr_assert(group_wants_new(group), "and b is given a new one, to see");
    cr_assert_eq(give(30, now_ns), &b);
    cr_assert_not(group_wants_new(group), "one");
    a.room = 1;
    uint64_t waiting = group_next_waiting(group, 0);
    cr_assert_neq(waiting, 0);
    cr_assert_eq(give(waiting, now_ns), &a, "though b has more room");
    /* It is well again. */
    cr_assert_eq(group_accept(group, &b, 30, 30, now_ns), 1);
    waiting = group_next_waiting(group, 0);
    cr_assert_neq(waiting, 0);
    cr_assert_eq(give(waiting, now_ns), &b);
}

Test(group, gives_to_members_that_fail_when_no_other_is_at_work)
{
    a.room = b.room = GROUP_FAILURES;
    for (uint64_t sequence = 11; sequence < 11 + 2 * GROUP_FAILURES; sequence++)
        give(sequence, 0);
    cr_assert_eq(group_release(group, &a, 1, 100, 0), GROUP_FAILURES);
    cr_assert_eq(group_release(group, &b, 1, 100, 0), GROUP_FAILURES);
    a.room = 1;
    cr_assert(group_wants_new(group));
    after_rest(0);
    cr_assert_eq(group_next_waiting(group, 0), 11);
}

Test(group, takes_away_what_is_not_settled_in_time)
{
    a.room = 3;
    give(11, 5);
    give(12, 6);
    cr_assert_eq(group_deadline(group), 5 + TIMEOUT);
    cr_assert_eq(group_expire(group, 4 + TIMEOUT), 0);
    cr_assert_eq(group_expire(group, 5 + TIMEOUT), 1);
    cr_assert_eq(group_next_waiting(group, 0), 0);
    cr_assert(group_is_waiting(group));
    cr_assert_eq(group_deadline(group), 6 + TIMEOUT);
    cr_assert_eq(a.held, 1);
    cr_assert_eq(group_expire(group, 5 + 2 * TIMEOUT), 1);
    a.room = 1;
    cr_assert_eq(group_next_waiting(group, 0), 11);
    /* Too late. */
    cr_assert_eq(group_accept(group, &a, 11, 11, 0), 0);
}

/* It was at work on what it was given first: the others it has not even touched. */
Test(group, charges_who_leaves_with_the_event_that_it_was_given_first)
{
    static struct segment_cursor_pending pending[GROUP_PENDING_MAX];
    a.room = 4;
    for (uint64_t sequence = 11; sequence <= 14; sequence++)
        give(sequence, 0);
    group_accept(group, &a, 12, 12, 0);
    group_release(group, &a, 11, 11, 0);
    a.room = 1;
    int64_t now_ns = after_rest(0);
    a.room = 0, b.room = 1;
    cr_assert_eq(give(group_next_waiting(group, 0), now_ns), &b);
    b.room = 100;
    /* What it would be is in the snapshot already. */
    cr_assert_eq(group_snapshot(group, pending), 3);
    cr_assert_eq(pending[0].tries, 2);
    group_leave(group, &b, now_ns);
    cr_assert_eq(group_member_count(group), 2);
    cr_assert_eq(group_snapshot(group, pending), 3);
    cr_assert_eq(pending[0].tries, 2);
    group_leave(group, &c, 0);
    group_leave(group, &a, 0);
    group_free(group);
}

Test(group, gives_the_rest_of_what_a_member_had_that_left_at_once_with_the_tries_as_before)
{
    static struct segment_cursor_pending pending[GROUP_PENDING_MAX];
    a.room = 64;
    for (uint64_t sequence = 11; sequence < 75; sequence++)
        give(sequence, 0);
    cr_assert_eq(group_snapshot(group, pending), 64);
    group_leave(group, &a, 0);
    for (size_t i = 0; i < 64; i++)
        cr_assert_eq(pending[i].tries, i == 0);
    cr_assert_eq(group_snapshot(group, pending), 64);
    for (size_t i = 0; i < 64; i++)
        cr_assert_eq(pending[i].tries, i == 0);
    b.room = 65;
    for (uint64_t sequence = 12; sequence < 75; sequence++) {
        cr_assert_eq(group_next_waiting(group, 0), sequence);
        cr_assert_eq(give(sequence, 0), &b);
        cr_assert_eq(try_number, 1);
    }
    cr_assert_eq(group_next_waiting(group, 0), 0);
    cr_assert_eq(group_accept(group, &b, 12, 74, 0), 63);
    int64_t now_ns = after_rest(0);
    cr_assert_eq(give(11, now_ns), &b);
    cr_assert_eq(try_number, 2);
    /* From a snapshot that was given last, too: not in the order of the sequences. */
    give(75, now_ns);
    cr_assert_eq(group_snapshot(group, pending), 2);
    cr_assert(pending[0].tries == 2 && pending[1].tries == 0);
    group_leave(group, &b, 0);
    group_leave(group, &c, 0);
    group_free(group);
}

Test(group, numbers_a_dead_letter_when_the_tries_are_used_up)
{
    struct segment_cursor_pending letter;
    int64_t now_ns = 0;
    a.room = 100;
    give(11, 0);
    give(12, 0);
    for (uint32_t i = 1; i <= TRIES; i++) {
        cr_assert_eq(try_number, i);
        cr_assert_not(group_next_letter(group, 0, &letter));
        cr_assert_eq(group_release(group, &a, 12, 12, now_ns), 1);
        if (i < TRIES) {
            now_ns = after_rest(now_ns);
            give(12, now_ns);
        }
    }
    cr_assert(group_next_letter(group, 0, &letter));
    cr_assert_eq(letter.sequence, 12);
    cr_assert_eq(letter.letter, 1);
    cr_assert_eq(letter.tries, TRIES);
    cr_assert_eq(group_letters(group), 1);
    cr_assert_not(group_next_letter(group, 1, &letter));
    cr_assert_eq(group_next_waiting(group, 11), 0);
    expect_pending("11 12");
    group_bury(group, 12);
    expect_pending("11");
    group_bury(group, 12);
    expect_pending("11");
}

Test(group, gives_no_new_event_while_too_many_are_pending)
{
    a.room = UINT64_MAX;
    for (uint64_t sequence = 11; sequence < 11 + GROUP_PENDING_MAX; sequence++) {
        cr_assert(group_wants_new(group));
        give(sequence, 0);
    }
    cr_assert_not(group_wants_new(group));
    group_accept(group, &a, 500, 500, 0);
    cr_assert(group_wants_new(group));
}

Test(group, goes_on_behind_what_is_not_for_it)
{
    a.room = 2;
    group_pass(group, 20);
    cr_assert_eq(group_position(group), 20);
    give(25, 0);
    group_pass(group, 15);
    cr_assert_eq(group_position(group), 25);
    group_release(group, &a, 25, 25, 0);
    after_rest(0);
    group_lose(group, 25);
    expect_pending("");
    cr_assert_eq(group_next_waiting(group, 0), 0);
}

Test(group, starts_again_from_a_snapshot_with_the_tries_that_were_had)
{
    const struct segment_cursor_pending pending[] = {
        {.sequence = 3, .tries = 1},
        {.sequence = 5, .tries = TRIES, .letter = 7},
        {.sequence = 8, .tries = TRIES},
        {.sequence = 9, .tries = 2},
    };
    struct segment_cursor_pending letter;
    start_from(pending, 4, 10, 9);
    cr_assert(group_join(group, &a));
    expect_pending("3 5 8 9");
    a.room = 1;
    cr_assert_eq(group_next_waiting(group, 0), 0);
    after_rest(0);
    cr_assert_eq(group_next_waiting(group, 0), 3);
    cr_assert_eq(group_next_waiting(group, 3), 9);
    cr_assert_eq(group_next_waiting(group, 9), 0);
    /* The number that was given stays; the new one is above all others. */
    cr_assert(group_next_letter(group, 0, &letter) && letter.letter == 7 && letter.sequence == 5);
    cr_assert(group_next_letter(group, 7, &letter) && letter.letter == 10 && letter.sequence == 8);
    give(9, TIMEOUT);
    cr_assert_eq(try_number, 3);
}

/* ---- The same, at random, beside a model that is as simple as can be ---- */

enum { EVENTS = 4096, MEMBERS = 5 };
enum fate { UNSEEN, PASSED, WAITING, RESTING, GIVEN, DYING, DONE };

struct model_event {
    enum fate fate;
    int member; /* who has or had it; -1: nobody, or gone */
    uint32_t failures;
    int64_t deadline; /* also of its rest */
    uint64_t turn;
    uint64_t letter;
};

static struct model_event model[EVENTS + 1];
static struct group_member members[MEMBERS];
static bool is_here[MEMBERS];
static uint64_t model_position, model_letters, state = 1;
static uint64_t turns[MEMBERS], turn;
static struct {
    unsigned failures;
    int64_t rest, accepted; /* until when, when; -1: not */
} model_of[MEMBERS];
static unsigned probes; /* events for members that failed while another one was sound */

static uint64_t chance(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

static void model_rest(struct model_event *event)
{
    event->fate = event->failures < TRIES ? RESTING : DYING;
    event->deadline = now + TIMEOUT; /* the pauses are longer */
    if (event->fate == DYING)
        event->letter = ++model_letters;
}

static void model_fail(struct model_event *event)
{
    event->failures++;
    model_rest(event);
}

/* The member is to blame, too. */
static void model_take_away(struct model_event *event)
{
    model_fail(event);
    if (++model_of[event->member].failures >= GROUP_FAILURES && model_of[event->member].rest < 0)
        model_of[event->member].rest = now + TIMEOUT;
}

static size_t model_held(int member)
{
    size_t held = 0;
    for (uint64_t i = 1; i <= model_position; i++)
        held += model[i].fate == GIVEN && model[i].member == member;
    return held;
}

static bool model_fails(int member)
{
    return model_of[member].failures >= GROUP_FAILURES;
}

static bool model_is_sound(int member)
{
    bool worked = model_of[member].accepted >= 0 && now - model_of[member].accepted <= TIMEOUT;
    return is_here[member] && !model_fails(member) &&
           (members[member].room || model_held(member) || worked);
}

static bool model_may_have(int member, bool fresh)
{
    bool sound = false;
    for (int i = 0; i < MEMBERS; i++)
        sound |= model_is_sound(i);
    if (!is_here[member] || !members[member].room)
        return false;
    if (!sound || !model_fails(member))
        return true;
    return fresh && model_of[member].rest < 0 && !model_held(member);
}

static bool model_somebody_may_have(bool fresh)
{
    for (int i = 0; i < MEMBERS; i++)
        if (model_may_have(i, fresh))
            return true;
    return false;
}

/* Ranks a member as group.h says; the highest is given the event. */
static bool model_prefers(int left, int right, int had_it)
{
    if (model_fails(left) != model_fails(right))
        return model_fails(right);
    if ((left == had_it) != (right == had_it))
        return right == had_it;
    if (members[left].room != members[right].room)
        return members[left].room > members[right].room;
    if (model_held(left) != model_held(right))
        return model_held(left) < model_held(right);
    return turns[left] < turns[right];
}

static void model_give(uint64_t sequence)
{
    struct model_event *event = &model[sequence];
    int had_it = event->fate == UNSEEN ? -1 : event->member;
    bool fresh = event->failures == 0, sound = false;
    bool best[MEMBERS];
    for (int i = 0; i < MEMBERS; i++) {
        sound |= model_is_sound(i);
        best[i] = model_may_have(i, fresh);
        for (int j = 0; j < MEMBERS; j++)
            if (model_may_have(j, fresh) && model_prefers(j, i, had_it))
                best[i] = false;
    }
    int given = (int)(give(sequence, now) - members);
    cr_assert(best[given], "event %lu", sequence);
    probes += sound && model_fails(given);
    turns[given] = event->turn = ++turn;
    event->fate = GIVEN;
    event->member = given;
    event->deadline = now + TIMEOUT;
    cr_assert_eq(try_number, event->failures + 1);
    if (sequence > model_position)
        model_position = sequence;
}

static void deal(void)
{
    uint64_t sequence = group_next_waiting(group, 0);
    if (sequence) {
        if (chance(50) == 0) {
            group_lose(group, sequence);
            model[sequence].fate = DONE;
        } else {
            model_give(sequence);
        }
    } else if (group_wants_new(group) && model_position < EVENTS) {
        if (chance(4) == 0) {
            group_pass(group, ++model_position);
            model[model_position].fate = PASSED;
        } else {
            model_give(model_position + 1);
        }
    }
}

static void settle(bool accept)
{
    int who = (int)chance(MEMBERS);
    uint64_t first = model_position > 60 ? model_position - chance(60) : 1;
    uint64_t last = first + chance(12);
    size_t expected = 0;
    if (!is_here[who])
        return;
    for (uint64_t i = first; i <= last && i <= model_position; i++)
        if (model[i].fate == GIVEN && model[i].member == who) {
            expected++;
            if (accept)
                model[i].fate = DONE;
            else
                model_take_away(&model[i]);
        }
    cr_assert_eq(accept ? group_accept(group, &members[who], first, last, now)
                        : group_release(group, &members[who], first, last, now),
                 expected);
    if (!accept || !expected)
        return;
    model_of[who].failures = 0;
    model_of[who].rest = -1;
    model_of[who].accepted = now;
}

static void pass_time(void)
{
    size_t expected = 0;
    now += (int64_t)chance(TIMEOUT / 2);
    for (int i = 0; i < MEMBERS; i++)
        if (model_of[i].rest <= now)
            model_of[i].rest = -1;
    for (uint64_t i = 1; i <= model_position; i++) {
        if (model[i].fate == RESTING && model[i].deadline <= now)
            model[i].fate = WAITING;
        if (model[i].fate == GIVEN && model[i].deadline <= now) {
            model_take_away(&model[i]);
            expected++;
        }
    }
    cr_assert_eq(group_expire(group, now), expected);
}

/* Which of its events it was given first; 0: it has none. */
static uint64_t model_first(int member)
{
    uint64_t first = 0;
    for (uint64_t i = 1; i <= model_position; i++)
        if (model[i].fate == GIVEN && model[i].member == member &&
            (!first || model[i].turn < model[first].turn))
            first = i;
    return first;
}

static void model_leave(int member)
{
    uint64_t first = model_first(member);
    if (first)
        model_fail(&model[first]);
    for (uint64_t i = 1; i <= model_position; i++) {
        if (model[i].fate == UNSEEN || model[i].member != member)
            continue;
        if (model[i].fate == GIVEN)
            model[i].fate = WAITING;
        model[i].member = -1;
    }
}

static void come_or_go(void)
{
    int who = (int)chance(MEMBERS);
    is_here[who] = !is_here[who];
    if (is_here[who]) {
        cr_assert(group_join(group, &members[who]));
        turns[who] = 0;
        model_of[who].failures = 0;
        model_of[who].rest = model_of[who].accepted = -1;
        return;
    }
    group_leave(group, &members[who], now);
    model_leave(who);
}

static void bury(void)
{
    struct segment_cursor_pending letter;
    if (!group_next_letter(group, 0, &letter))
        return;
    cr_assert_eq(model[letter.sequence].fate, DYING);
    cr_assert_eq(model[letter.sequence].letter, letter.letter);
    group_bury(group, letter.sequence);
    model[letter.sequence].fate = DONE;
}

static void check(void)
{
    static struct segment_cursor_pending pending[GROUP_PENDING_MAX];
    size_t count = group_snapshot(group, pending), at = 0;
    uint64_t waiting = 0;
    bool any_waiting = false, may = model_somebody_may_have(true);
    bool also_failed = model_somebody_may_have(false);
    int64_t deadline = INT64_MAX;
    for (uint64_t i = 1; i <= model_position; i++) {
        const struct model_event *event = &model[i];
        if (event->fate == DONE || event->fate == PASSED)
            continue;
        cr_assert(at < count && pending[at].sequence == i, "event %lu of fate %d", i, event->fate);
        bool first = event->fate == GIVEN && model_first(event->member) == i;
        cr_assert_eq(pending[at].tries, event->failures + first);
        cr_assert_eq(pending[at].letter, event->fate == DYING ? event->letter : 0);
        at++;
        any_waiting |= event->fate == WAITING || event->fate == RESTING;
        if (event->fate == WAITING && !waiting && may && (also_failed || !event->failures))
            waiting = i;
        if ((event->fate == GIVEN || event->fate == RESTING) && event->deadline < deadline)
            deadline = event->deadline;
    }
    for (int i = 0; i < MEMBERS; i++)
        if (is_here[i] && model_of[i].rest >= 0 && model_of[i].rest < deadline)
            deadline = model_of[i].rest;
    cr_assert_eq(at, count);
    cr_assert_eq(group_position(group), model_position);
    cr_assert_eq(group_letters(group), model_letters);
    cr_assert_eq(group_is_waiting(group), any_waiting);
    cr_assert_eq(group_next_waiting(group, 0), waiting);
    cr_assert_eq(group_wants_new(group), may && !waiting && count < GROUP_PENDING_MAX);
    cr_assert_eq(group_deadline(group), deadline);
    for (int i = 0; i < MEMBERS; i++)
        if (is_here[i])
            cr_assert_eq(members[i].held, model_held(i));
}

/* The daemon dies: what is in the snapshot is all that is left. */
static void restart(void)
{
    static struct segment_cursor_pending pending[GROUP_PENDING_MAX];
    size_t count = group_snapshot(group, pending);
    const uint64_t letters = model_letters;
    for (int i = 0; i < MEMBERS; i++) {
        if (!is_here[i])
            continue;
        group_leave(group, &members[i], now);
        model_leave(i);
        is_here[i] = false;
    }
    group_free(group);
    start_from(pending, count, model_position, letters);
    /* Who dies by it is given a number in the order of the sequences. */
    model_letters = letters;
    for (uint64_t i = 1; i <= model_position; i++) {
        struct model_event *event = &model[i];
        event->member = -1;
        if (event->fate == DYING && event->letter <= letters)
            continue;
        if (event->fate == WAITING || event->fate == RESTING || event->fate == DYING) {
            event->fate = WAITING;
            if (event->failures > 0)
                model_rest(event);
        }
    }
    turn = 0;
}

static void start_anew(void)
{
    memset(model, 0, sizeof model);
    memset(is_here, 0, sizeof is_here);
    model_position = model_letters = turn = 0;
    group_free(group);
    start_from(NULL, 0, 0, 0);
}

static void step(void)
{
    switch (chance(20)) {
    case 0:
        come_or_go();
        break;
    case 1:
        pass_time();
        break;
    case 2:
        bury();
        break;
    case 3:
        settle(false);
        break;
    case 4:
    case 5:
    case 6:
        settle(true);
        break;
    case 7:
    case 8:
        members[chance(MEMBERS)].room = chance(9);
        break;
    case 9:
        if (chance(40) == 0)
            restart();
        break;
    default:
        deal();
    }
}

Test(group, does_what_the_model_does_whatever_happens)
{
    uint64_t letters = 0, events = 0;
    unsigned rounds = 60 / stride(1);
    now = 1;
    group_leave(group, &a, 0);
    group_leave(group, &b, 0);
    group_leave(group, &c, 0);
    for (unsigned round = 0; round < (rounds ? rounds : 1); round++) {
        start_anew();
        for (unsigned i = 0; i < 6000; i++) {
            step();
            if (i % 7 == 0)
                check();
        }
        check();
        letters += model_letters;
        events += model_position;
        restart();
    }
    /* It has met what it is there for. */
    cr_assert_gt(letters, 10 * rounds);
    cr_assert_gt(events, 200 * rounds);
    cr_assert_gt(probes, 0);
}
