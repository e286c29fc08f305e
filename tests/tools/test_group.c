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

static void start_from(const struct segment_cursor_pending *pending, size_t count,
                       uint64_t position, uint64_t letters)
{
    const struct group_start start = {.position = position,
                                      .letters = letters,
                                      .pending = pending,
                                      .pending_count = count,
                                      .ack_timeout_ns = TIMEOUT,
                                      .tries = TRIES};
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
    cr_assert_not(group_has_room(group));
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
    cr_assert_eq(group_accept(group, &b, 1, 100), 0);
    cr_assert_eq(group_release(group, &b, 1, 100), 0);
    expect_pending("11");
    cr_assert_eq(group_accept(group, &a, 1, 100), 1);
    cr_assert_eq(group_accept(group, &a, 1, 100), 0);
    expect_pending("");
    cr_assert_eq(a.held, 0);
}

Test(group, gives_what_was_released_to_another_one_first_and_before_new_events)
{
    a.room = 1;
    give(11, 0);
    cr_assert_eq(group_release(group, &a, 11, 11), 1);
    a.room = 100, b.room = 1;
    cr_assert_not(group_wants_new(group));
    cr_assert_eq(group_next_waiting(group, 0), 11);
    cr_assert_eq(give(11, 0), &b);
    cr_assert_eq(try_number, 2);
    cr_assert(group_wants_new(group));
    /* Nobody else has room: the same one again. */
    cr_assert_eq(group_release(group, &b, 11, 11), 1);
    a.room = 0, b.room = 1;
    cr_assert_eq(give(11, 0), &b);
    cr_assert_eq(try_number, 3);
}

Test(group, takes_away_what_is_not_settled_in_time)
{
    a.room = 3;
    give(11, 5);
    give(12, 6);
    cr_assert_eq(group_deadline(group), 5 + TIMEOUT);
    cr_assert_eq(group_expire(group, 4 + TIMEOUT), 0);
    cr_assert_eq(group_expire(group, 5 + TIMEOUT), 1);
    cr_assert_eq(group_next_waiting(group, 0), 11);
    cr_assert_eq(group_deadline(group), 6 + TIMEOUT);
    cr_assert_eq(a.held, 1);
    /* Too late. */
    cr_assert_eq(group_accept(group, &a, 11, 11), 0);
}

Test(group, gives_what_a_member_had_that_left_to_another)
{
    a.room = 2;
    give(11, 0);
    give(12, 0);
    group_accept(group, &a, 11, 11);
    group_leave(group, &a);
    cr_assert_eq(group_member_count(group), 2);
    cr_assert_eq(group_next_waiting(group, 0), 12);
    b.room = 1;
    cr_assert_eq(give(12, 0), &b);
    cr_assert_eq(group_accept(group, &b, 12, 12), 1);
    group_leave(group, &b);
    group_leave(group, &c);
    group_free(group);
}

Test(group, numbers_a_dead_letter_when_the_tries_are_used_up)
{
    struct segment_cursor_pending letter;
    a.room = 100;
    give(11, 0);
    give(12, 0);
    for (uint32_t i = 1; i <= TRIES; i++) {
        cr_assert_eq(try_number, i);
        cr_assert_not(group_next_letter(group, 0, &letter));
        cr_assert_eq(group_release(group, &a, 12, 12), 1);
        if (i < TRIES)
            give(12, 0);
    }
    cr_assert(group_next_letter(group, 0, &letter));
    cr_assert_eq(letter.sequence, 12);
    cr_assert_eq(letter.letter, 1);
    cr_assert_eq(letter.tries, TRIES);
    cr_assert_eq(group_letters(group), 1);
    cr_assert_not(group_next_letter(group, 1, &letter));
    cr_assert_eq(group_next_waiting(group, 0), 0);
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
    group_accept(group, &a, 500, 500);
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
    group_release(group, &a, 25, 25);
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
    cr_assert_eq(group_next_waiting(group, 0), 3);
    cr_assert_eq(group_next_waiting(group, 3), 9);
    cr_assert_eq(group_next_waiting(group, 9), 0);
    /* The number that was given stays; the new one is above all others. */
    cr_assert(group_next_letter(group, 0, &letter) && letter.letter == 7 && letter.sequence == 5);
    cr_assert(group_next_letter(group, 7, &letter) && letter.letter == 10 && letter.sequence == 8);
    a.room = 1;
    give(9, 0);
    cr_assert_eq(try_number, 3);
}

/* ---- The same, at random, beside a model that is as simple as can be ---- */

enum { EVENTS = 4096, MEMBERS = 5 };
enum fate { UNSEEN, PASSED, WAITING, GIVEN, DYING, DONE };

struct model_event {
    enum fate fate;
    int member; /* who has or had it; -1: nobody, or gone */
    uint32_t tries;
    int64_t deadline;
    uint64_t letter;
};

static struct model_event model[EVENTS + 1];
static struct group_member members[MEMBERS];
static bool is_here[MEMBERS];
static uint64_t model_position, model_letters, state = 1;
static uint64_t turns[MEMBERS], turn;
static int64_t now;

static uint64_t chance(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

static void model_fail(struct model_event *event)
{
    event->fate = event->tries < TRIES ? WAITING : DYING;
    if (event->fate == DYING)
        event->letter = ++model_letters;
}

static size_t model_held(int member)
{
    size_t held = 0;
    for (uint64_t i = 1; i <= model_position; i++)
        held += model[i].fate == GIVEN && model[i].member == member;
    return held;
}

/* Ranks a member as group.h says; the highest is given the event. */
static bool model_prefers(int left, int right, int had_it)
{
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
    bool best[MEMBERS];
    for (int i = 0; i < MEMBERS; i++) {
        best[i] = is_here[i] && members[i].room;
        for (int j = 0; j < MEMBERS; j++)
            if (is_here[j] && members[j].room && model_prefers(j, i, had_it))
                best[i] = false;
    }
    int given = (int)(give(sequence, now) - members);
    cr_assert(best[given], "event %lu", sequence);
    turns[given] = ++turn;
    event->fate = GIVEN;
    event->member = given;
    event->deadline = now + TIMEOUT;
    cr_assert_eq(try_number, ++event->tries);
    if (sequence > model_position)
        model_position = sequence;
}

static void deal(void)
{
    uint64_t sequence = group_next_waiting(group, 0);
    if (!group_has_room(group))
        return;
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
                model_fail(&model[i]);
        }
    cr_assert_eq(accept ? group_accept(group, &members[who], first, last)
                        : group_release(group, &members[who], first, last),
                 expected);
}

static void pass_time(void)
{
    size_t expected = 0;
    now += (int64_t)chance(TIMEOUT / 2);
    for (uint64_t i = 1; i <= model_position; i++)
        if (model[i].fate == GIVEN && model[i].deadline <= now) {
            model_fail(&model[i]);
            expected++;
        }
    cr_assert_eq(group_expire(group, now), expected);
}

static void come_or_go(void)
{
    int who = (int)chance(MEMBERS);
    is_here[who] = !is_here[who];
    if (is_here[who]) {
        cr_assert(group_join(group, &members[who]));
        turns[who] = 0;
        return;
    }
    group_leave(group, &members[who]);
    for (uint64_t i = 1; i <= model_position; i++) {
        if (model[i].member != who || model[i].fate == UNSEEN)
            continue;
        model[i].member = -1;
        if (model[i].fate == GIVEN)
            model_fail(&model[i]);
    }
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
    int64_t deadline = INT64_MAX;
    for (uint64_t i = 1; i <= model_position; i++) {
        const struct model_event *event = &model[i];
        if (event->fate == DONE || event->fate == PASSED)
            continue;
        cr_assert(at < count && pending[at].sequence == i, "event %lu of fate %d", i, event->fate);
        cr_assert_eq(pending[at].tries, event->tries);
        cr_assert_eq(pending[at].letter, event->fate == DYING ? event->letter : 0);
        at++;
        if (event->fate == WAITING && !waiting)
            waiting = i;
        if (event->fate == GIVEN && event->deadline < deadline)
            deadline = event->deadline;
    }
    cr_assert_eq(at, count);
    cr_assert_eq(group_position(group), model_position);
    cr_assert_eq(group_letters(group), model_letters);
    cr_assert_eq(group_next_waiting(group, 0), waiting);
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
    for (int i = 0; i < MEMBERS; i++) {
        if (is_here[i])
            group_leave(group, &members[i]);
        is_here[i] = false;
    }
    group_free(group);
    start_from(pending, count, model_position, model_letters);
    for (uint64_t i = 1; i <= model_position; i++) {
        model[i].member = -1;
        if (model[i].fate == GIVEN || model[i].fate == WAITING)
            model_fail(&model[i]);
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
    group_leave(group, &a);
    group_leave(group, &b);
    group_leave(group, &c);
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
}
