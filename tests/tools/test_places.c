#include "tools/daybookd/places.h"

#include <criterion/criterion.h>
#include <string.h>

static struct places places;

static void end(void)
{
    places_release(&places);
}

TestSuite(places, .fini = end);

/* Only their addresses matter. */
static char things[1000];

static struct connection *thing(size_t i)
{
    return (struct connection *)&things[i];
}

static uint64_t add(size_t i)
{
    uint64_t number;
    cr_assert_eq(places_add(&places, thing(i), &number, NULL), OK);
    cr_assert_geq(number, PLACES_FIRST);
    return number;
}

Test(places, are_found_by_their_numbers)
{
    uint64_t numbers[sizeof things];
    for (size_t i = 0; i < sizeof things; i++)
        numbers[i] = add(i);
    for (size_t i = 0; i < sizeof things; i++)
        cr_assert_eq(places_find(&places, numbers[i]), thing(i));
}

Test(places, never_give_a_number_twice)
{
    uint64_t first = add(0), other = add(1);
    places_remove(&places, first);
    cr_assert_null(places_find(&places, first));
    for (int i = 0; i < 100; i++) {
        uint64_t again = add(2);
        cr_assert_neq(again, first);
        cr_assert_null(places_find(&places, first));
        cr_assert_eq(places_find(&places, again), thing(2));
        places_remove(&places, again);
    }
    cr_assert_eq(places_find(&places, other), thing(1));
}

Test(places, know_nothing_of_numbers_that_they_have_not_given)
{
    add(0);
    cr_assert_null(places_find(&places, 0));
    cr_assert_null(places_find(&places, PLACES_FIRST - 1));
    cr_assert_null(places_find(&places, PLACES_FIRST + 1000000));
    cr_assert_null(places_find(&places, UINT64_MAX));
}
