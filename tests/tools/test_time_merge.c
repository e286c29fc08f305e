/* tools/daybook/time_merge.h: events in the order of their times, within a window. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tools/daybook/time_merge.h"

enum { SIZE = 100, MANY = 20000 };

static struct time_merge merge;

static void add(uint64_t sequence, int64_t time_ns)
{
    struct replay_event *event = calloc(1, sizeof *event);
    event->event.sequence = sequence;
    event->event.time_ns = time_ns;
    event->size = SIZE;
    cr_assert_eq(time_merge_add(&merge, event, NULL), OK);
}

/* The sequence of what comes next; 0: nothing yet. */
static uint64_t take(bool all)
{
    struct replay_event *event = time_merge_take(&merge, all);
    uint64_t sequence = event ? event->event.sequence : 0;
    free(event);
    return sequence;
}

static void start(int64_t window_ns, size_t bytes_max)
{
    merge = (struct time_merge){.window_ns = window_ns, .bytes_max = bytes_max};
}

Test(time_merge, keeps_an_event_until_one_is_a_window_later)
{
    start(10, SIZE_MAX);
    add(1, 100);
    cr_assert_eq(take(false), 0);
    add(2, 109);
    cr_assert_eq(take(false), 0);
    add(3, 110);
    cr_assert_eq(take(false), 1);
    cr_assert_eq(take(false), 0);
    cr_assert_eq(take(true), 2);
    cr_assert_eq(take(true), 3);
    cr_assert_eq(take(true), 0);
    time_merge_release(&merge);
}

Test(time_merge, puts_what_comes_late_into_its_place)
{
    start(50, SIZE_MAX);
    add(1, 100);
    add(2, 130);
    add(3, 110);
    add(4, 120);
    add(5, 120);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(take(true), ((uint64_t[]){1, 3, 4, 5, 2})[i]);
    time_merge_release(&merge);
}

Test(time_merge, lets_what_is_too_late_leave_next)
{
    start(10, SIZE_MAX);
    add(1, 100);
    add(2, 200);
    cr_assert_eq(take(false), 1);
    add(3, 50);
    cr_assert_eq(take(false), 3);
    cr_assert_eq(take(false), 0);
    time_merge_release(&merge);
}

Test(time_merge, keeps_the_order_of_the_log_without_a_window)
{
    start(0, SIZE_MAX);
    int64_t times[] = {5, 3, 9, 1, 1};
    for (uint64_t i = 0; i < 5; i++) {
        add(i + 1, times[i]);
        cr_assert_eq(take(false), i + 1);
        cr_assert_eq(take(false), 0);
    }
    time_merge_release(&merge);
}

Test(time_merge, is_bounded_in_memory)
{
    start(INT64_MAX, 3 * SIZE);
    for (uint64_t i = 1; i <= 3; i++)
        add(i, (int64_t)i);
    cr_assert_eq(take(false), 0);
    add(4, 4);
    cr_assert_eq(take(false), 1);
    cr_assert_eq(take(false), 0);
    time_merge_clear(&merge);
    cr_assert_eq(merge.bytes, 0);
    cr_assert_eq(take(true), 0);
    time_merge_release(&merge);
}

Test(time_merge, survives_times_at_the_ends_of_what_there_is)
{
    start(10, SIZE_MAX);
    add(1, INT64_MAX);
    add(2, INT64_MIN);
    cr_assert_eq(take(false), 2);
    cr_assert_eq(take(true), 1);
    time_merge_release(&merge);
}

/* Against sorting, which is what a window without end comes to. */
static int compare(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    if (left[0] != right[0])
        return left[0] < right[0] ? -1 : 1;
    return left[1] < right[1] ? -1 : left[1] > right[1];
}

Test(time_merge, sorts_whatever_is_within_the_window)
{
    static int64_t expected[MANY][2]; /* time, sequence */
    uint64_t noise = 7;
    size_t taken = 0;
    start(1000, SIZE_MAX);
    for (size_t i = 0; i < MANY; i++) {
        noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        expected[i][0] = (int64_t)i * 7 - (int64_t)(noise >> 33) % 1000;
        expected[i][1] = (int64_t)i + 1;
    }
    static int64_t given[MANY][2];
    memcpy(given, expected, sizeof given);
    qsort(expected, MANY, sizeof expected[0], compare);
    for (size_t i = 0; i < MANY; i++) {
        add((uint64_t)given[i][1], given[i][0]);
        for (uint64_t sequence; (sequence = take(false)) != 0; taken++)
            cr_assert_eq(sequence, (uint64_t)expected[taken][1]);
    }
    for (uint64_t sequence; (sequence = take(true)) != 0; taken++)
        cr_assert_eq(sequence, (uint64_t)expected[taken][1]);
    cr_assert_eq(taken, MANY);
    time_merge_release(&merge);
}
