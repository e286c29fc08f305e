/* Who needs little of the network thread's time never waits for more than one who needs much. */
#include <criterion/criterion.h>

#include "tools/daybookd/turns.h"

static const int64_t ms = 1000000;

static struct turns turns;
static struct connection light, heavy, other, stranger;

static void setup(void)
{
    turns_init(&turns);
    light = (struct connection){.session.welcomed = true};
    heavy = light;
    other = light;
    stranger = (struct connection){0};
}

static bool is_in_round(struct list_link *round, struct connection *connection)
{
    for (struct list_link *link = round->next; link != round; link = link->next)
        if (link == &connection->in_ready)
            return true;
    return false;
}

static void clear(struct list_link *round)
{
    while (!list_is_empty(round))
        list_remove(round->next);
}

Test(turns, who_has_used_up_its_share_waits_behind_all_others, .init = setup)
{
    struct list_link round;
    turns_charge(&heavy, 5 * ms, 100 * ms);
    turns_add(&turns, &heavy, 101 * ms);
    turns_add(&turns, &light, 101 * ms);
    turns_add(&turns, &stranger, 101 * ms);
    turns_add(&turns, &light, 101 * ms);
    turns_take_light(&turns, &round);
    cr_assert(is_in_round(&round, &light) && round.next->next == &round);
    clear(&round);
    cr_assert_eq(turns_take_heavy(&turns), &heavy);
    cr_assert(turns_are_due(&turns));
    cr_assert_eq(turns_take_heavy(&turns), &stranger);
    cr_assert_null(turns_take_heavy(&turns));
    cr_assert_not(turns_are_due(&turns));
}

Test(turns, who_does_not_finish_within_its_turn_is_not_light_whatever_it_has_saved, .init = setup)
{
    struct list_link round;
    heavy.cut_short = true;
    turns_add(&turns, &heavy, 1000 * ms);
    turns_take_light(&turns, &round);
    cr_assert(list_is_empty(&round));
    cr_assert_eq(turns_take_heavy(&turns), &heavy);
    heavy.cut_short = false;
    turns_add(&turns, &heavy, 1001 * ms);
    turns_take_light(&turns, &round);
    cr_assert(is_in_round(&round, &heavy));
    clear(&round);
}

Test(turns, who_has_hung_up_comes_last_and_who_is_shown_the_door_first, .init = setup)
{
    struct list_link round;
    heavy.hung_up = true;
    stranger.closing = true;
    turns_add(&turns, &heavy, 1000 * ms);
    turns_add(&turns, &stranger, 1000 * ms);
    turns_take_light(&turns, &round);
    cr_assert(is_in_round(&round, &stranger) && round.next->next == &round);
    clear(&round);
    cr_assert_eq(turns_take_heavy(&turns), &heavy);
}

Test(turns, the_share_comes_back_with_time_and_debts_are_bounded, .init = setup)
{
    struct list_link round;
    turns_charge(&heavy, 10000 * ms, 0);
    turns_add(&turns, &heavy, 190 * ms);
    cr_assert_eq(turns_take_heavy(&turns), &heavy);
    turns_add(&turns, &heavy, 201 * ms);
    turns_take_light(&turns, &round);
    cr_assert(is_in_round(&round, &heavy));
    clear(&round);
}

Test(turns, a_tenth_of_the_time_in_small_pieces_keeps_a_connection_light, .init = setup)
{
    struct list_link round;
    for (int i = 1; i <= 1000; i++) {
        turns_add(&turns, &light, i * ms);
        turns_take_light(&turns, &round);
        cr_assert(is_in_round(&round, &light), "turn %d", i);
        clear(&round);
        turns_charge(&light, ms / 11, i * ms);
    }
}

Test(turns, heavy_ones_take_turns_and_who_is_leaving_is_let_out_at_once, .init = setup)
{
    struct list_link round;
    turns_charge(&heavy, 10 * ms, 0);
    turns_charge(&other, 10 * ms, 0);
    turns_add(&turns, &heavy, ms);
    turns_add(&turns, &other, ms);
    cr_assert_eq(turns_take_heavy(&turns), &heavy);
    turns_add(&turns, &heavy, ms);
    cr_assert_eq(turns_take_heavy(&turns), &other);
    other.closing = true;
    turns_add(&turns, &other, ms);
    turns_take_light(&turns, &round);
    cr_assert(is_in_round(&round, &other));
    clear(&round);
}
