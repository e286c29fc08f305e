/* Who has to go is who holds what others need, and only when that gives it back. */
#include <criterion/criterion.h>

#include "tools/daybookd/eviction.h"

static const int64_t s = 1000000000;

static struct list_link all;
static struct connection first, second, asking;

/* Each holds memory, and does not read its answers; the first has not done so for longest. */
static void setup(void)
{
    list_init(&all);
    first = (struct connection){.input.capacity = 4096, .blocked_since_ns = 1 * s};
    second = (struct connection){.input.capacity = 4096, .blocked_since_ns = 2 * s};
    asking = (struct connection){.input.capacity = 4096};
    list_append(&all, &first.in_all);
    list_append(&all, &second.in_all);
    list_append(&all, &asking.in_all);
}
TestSuite(eviction, .init = setup);

Test(eviction, for_memory_is_of_who_has_held_it_for_longest_and_for_long_enough)
{
    cr_assert_eq(eviction_for_memory(&all, &asking, 10 * s), &first);
    cr_assert_eq(eviction_for_memory(&all, &first, 10 * s), &second);
    cr_assert_null(eviction_for_memory(&all, &asking, 2 * s));
}

/* Its memory could not be taken away, and a second one would have to go for the same need. */
Test(eviction, for_memory_is_not_of_whose_memory_the_examiner_reads)
{
    first.away = AWAY_RUNNING;
    cr_assert_eq(eviction_for_memory(&all, &asking, 10 * s), &second);
    second.away = AWAY_RUNNING;
    cr_assert_null(eviction_for_memory(&all, &asking, 10 * s));
    cr_assert(eviction_can_wait(&all, &asking), "it comes back soon");
    first.away = AWAY_QUEUED;
    cr_assert_eq(eviction_for_memory(&all, &asking, 10 * s), &first);
}
