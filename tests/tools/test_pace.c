/* tools/daybook/pace.h: when events are due, and what is made of how late they were. */
#include <criterion/criterion.h>

#include "tools/daybook/pace.h"

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)

static struct pace pace;

static void begin(double rate, int64_t gap_max_ns, int64_t time_ns, int64_t now_ns)
{
    pace_init(&pace, rate, gap_max_ns);
    pace_begin(&pace, time_ns, now_ns);
}

static void expect_due(int64_t time_ns, int64_t due_ns)
{
    int64_t due = pace_due(&pace, time_ns);
    cr_assert_eq(due, due_ns, "due at %lld, not %lld", (long long)due, (long long)due_ns);
}

Test(pace, makes_events_due_at_their_distance_from_the_first_one)
{
    begin(10, INT64_MAX, 100 * S, 5 * S);
    expect_due(100 * S, 5 * S);
    pace_leave(&pace, 100 * S);
    expect_due(101 * S, 5 * S + 100 * MS);
    pace_leave(&pace, 101 * S);
    expect_due(103 * S, 5 * S + 300 * MS);
    cr_assert_eq(pace.span_ns, S);
}

Test(pace, does_not_add_up_errors_over_millions_of_events)
{
    begin(3, INT64_MAX, 0, 0);
    for (int64_t i = 1; i <= 3000000; i++)
        pace_leave(&pace, i * 1000001);
    expect_due(INT64_C(3000000) * 1000001, INT64_C(1000000) * 1000001);
}

Test(pace, lets_an_event_whose_time_goes_back_leave_at_once)
{
    begin(1, INT64_MAX, 10 * S, 0);
    pace_leave(&pace, 10 * S);
    pace_leave(&pace, 20 * S);
    expect_due(15 * S, PACE_AT_ONCE);
    pace_leave(&pace, 15 * S);
    cr_assert_eq(pace.backward, 1);
    expect_due(21 * S, 11 * S); /* the clock did not go back with it */
}

Test(pace, has_everything_due_at_once_when_there_is_no_limit)
{
    begin(0, INT64_MAX, 10 * S, 0);
    expect_due(20 * S, PACE_AT_ONCE);
    pace_leave(&pace, 20 * S);
    cr_assert_eq(pace.span_ns, 10 * S);
}

Test(pace, shortens_gaps_that_are_too_long_and_only_those)
{
    begin(2, 4 * S, 0, 0);
    pace_leave(&pace, 4 * S);
    expect_due(100 * S, 4 * S);
    pace_leave(&pace, 100 * S);
    expect_due(101 * S, 4 * S + 500 * MS);
    cr_assert_eq(pace.gaps_shortened, 1);
    cr_assert_eq(pace.shortened_ns, 92 * S);
    cr_assert_eq(pace.span_ns, 8 * S);
}

Test(pace, survives_times_at_the_ends_of_what_there_is)
{
    begin(0.001, INT64_MAX, INT64_MIN, 1000 * S);
    int64_t due_ns = pace_due(&pace, INT64_MAX);
    cr_assert(due_ns > 1000 * S);
    pace_leave(&pace, INT64_MAX);
    pace_leave(&pace, INT64_MAX);
    pace_jump(&pace, INT64_MIN, 0);
    pace_leave(&pace, INT64_MAX);
    cr_assert(pace.span_ns > 0);
    cr_assert(pace_clock(&pace, INT64_MAX, INT64_MAX) == INT64_MAX);
}

Test(pace, moves_everything_when_it_is_held)
{
    begin(1, INT64_MAX, 0, 0);
    pace_hold(&pace, 7 * S);
    expect_due(S, 8 * S);
}

Test(pace, goes_on_from_an_event_that_was_stepped_to)
{
    begin(2, INT64_MAX, 0, 0);
    pace_leave(&pace, 100 * S);
    pace_align(&pace, 3 * S);
    expect_due(102 * S, 4 * S);
}

Test(pace, shows_the_recorded_time_between_events_but_not_beyond_the_next)
{
    begin(60, INT64_MAX, 1000 * S, 0);
    cr_assert_eq(pace_clock(&pace, S, 5000 * S), 1060 * S);
    cr_assert_eq(pace_clock(&pace, S, 1030 * S), 1030 * S);
    cr_assert_eq(pace_clock(&pace, -S, 5000 * S), 1000 * S);
    pace_jump(&pace, 2000 * S, 10 * S);
    cr_assert_eq(pace_clock(&pace, 11 * S, 5000 * S), 2060 * S);
    expect_due(2600 * S, 20 * S);
}

Test(pace, counts_what_is_late_and_measures_only_what_had_a_time)
{
    begin(1, INT64_MAX, 0, 0);
    pace_record(&pace, 10 * MS, 10 * MS + PACE_LATE_NS);
    pace_record(&pace, 10 * MS, 11 * MS + 1);
    pace_record(&pace, PACE_AT_ONCE, 99 * S);
    cr_assert_eq(pace.events, 3);
    cr_assert_eq(pace.measured, 2);
    cr_assert_eq(pace.late, 1);
    cr_assert_eq(pace.early, 0);
    cr_assert_eq(pace.error_max_ns, PACE_LATE_NS + 1);
    pace_record(&pace, 10 * MS, 9 * MS);
    cr_assert_eq(pace.early, 1);
}

Test(pace, gives_percentiles_to_a_sixteenth)
{
    begin(1, INT64_MAX, 0, 0);
    for (int64_t i = 1; i <= 1000; i++)
        pace_record(&pace, 0, i * 1000);
    int64_t half = pace_percentile(&pace, 50), most = pace_percentile(&pace, 99);
    cr_assert(half >= 500000 && half <= 532000, "%lld", (long long)half);
    cr_assert(most >= 990000 && most <= 1000000, "%lld", (long long)most);
    cr_assert_eq(pace_percentile(&pace, 100), 1000000);
}
