#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "segment/producers.h"

static struct segment_producers *producers;

static void set_up(void)
{
    cr_assert_eq(segment_producers_create(&producers, NULL), OK);
}

static void tear_down(void)
{
    segment_producers_free(producers);
}

TestSuite(producers, .init = set_up, .fini = tear_down);

static void note(const char *name, uint64_t number, uint64_t sequence)
{
    cr_assert_eq(segment_producers_note(producers, name, strlen(name), number, sequence, NULL), OK);
}

static uint64_t number_of(const char *name)
{
    uint64_t number = 0, sequence;
    return segment_producers_find(producers, name, strlen(name), &number, &sequence) ? number : 0;
}

Test(producers, remembers_the_last_number_of_each)
{
    note("a", 1, 10);
    note("b", 7, 11);
    note("a", 2, 12);
    cr_assert_eq(number_of("a"), 2);
    cr_assert_eq(number_of("b"), 7);
    cr_assert_eq(number_of("c"), 0);
    cr_assert_eq(segment_producers_count(producers), 2);
}

Test(producers, forgets_the_one_that_was_silent_for_longest)
{
    char name[16];

    note("kept", 5, 1);
    note("silent", 6, 2);
    for (int i = 0; i < PRODUCERS_MAX - 2; i++) {
        snprintf(name, sizeof name, "p%d", i);
        note(name, 1, 3);
    }
    note("kept", 8, 9);
    note("one.more", 1, 10);
    cr_assert_eq(segment_producers_count(producers), PRODUCERS_MAX);
    cr_assert_eq(number_of("kept"), 8);
    cr_assert_eq(number_of("silent"), 0);
    cr_assert_eq(number_of("one.more"), 1);
    cr_assert_eq(number_of("p100"), 1);
}

Test(producers, come_back_from_their_snapshot_in_the_same_order)
{
    struct segment_producers *copy;
    struct buffer body = {0};
    char name[32];
    size_t position = 0, blocks = 0;

    for (int i = 0; i < PRODUCERS_MAX; i++) {
        snprintf(name, sizeof name, "producer.number.%d", i);
        note(name, (uint64_t)i + 1, 1000 + (uint64_t)i);
    }
    cr_assert_eq(segment_producers_create(&copy, NULL), OK);
    while (position < segment_producers_count(producers)) {
        body.size = 0;
        cr_assert_eq(segment_producers_encode(producers, &position, &body, NULL), OK);
        cr_assert_leq(body.size, PRODUCERS_BLOCK_MAX);
        cr_assert_eq(segment_producers_decode(copy, body.data, body.size, NULL), OK);
        blocks++;
    }
    cr_assert_gt(blocks, 1);
    segment_producers_free(producers);
    producers = copy;
    cr_assert_eq(segment_producers_count(producers), PRODUCERS_MAX);
    cr_assert_eq(number_of("producer.number.77"), 78);
    note("one.more", 1, 1); /* forgets the oldest, which is still number 0 */
    cr_assert_eq(number_of("producer.number.0"), 0);
    cr_assert_eq(number_of("producer.number.1"), 2);
    buffer_release(&body);
}

Test(producers, refuse_a_snapshot_that_is_cut)
{
    struct buffer body = {0};
    size_t position = 0;

    note("abc", 1, 1);
    segment_producers_encode(producers, &position, &body, NULL);
    for (size_t size = 1; size < body.size; size++)
        cr_assert_eq(segment_producers_decode(producers, body.data, size, NULL), ERROR_DAMAGED);
    buffer_release(&body);
}
