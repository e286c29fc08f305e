/* Rings of encoded events (tools/daybookd/ring.h), beside a model that keeps everything. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/daybookd/ring.h"

enum { EVENTS_MAX = 20000 };

static struct ring ring;
static struct ring_budget budget;
static struct error error;
static size_t sizes[EVENTS_MAX + 1]; /* by sequence; 0: it did not match */

static void setup(void)
{
    budget = (struct ring_budget){.bytes_max = 4 << 20};
    ring = (struct ring){.budget = &budget};
    memset(sizes, 0, sizeof sizes);
}

static void teardown(void)
{
    ring_release(&ring);
    cr_assert_eq(budget.bytes_used, 0);
}
TestSuite(ring, .init = setup, .fini = teardown);

/* Each byte says whose it is, and where in it. */
static uint8_t byte_of(uint64_t sequence, size_t at)
{
    return (uint8_t)(sequence * 31 + at * 7);
}

static enum error_code put(uint64_t sequence, size_t size, uint64_t needed_above)
{
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = byte_of(sequence, i);
    enum error_code code =
        ring_append(&ring, sequence, false, data, size, needed_above, &error);
    free(data);
    if (!code)
        sizes[sequence] = size;
    return code;
}

/* The run's bytes are those of the events above `after`, in order. */
static void expect_bytes(const struct ring_run *run, uint64_t after)
{
    struct iovec pieces[2];
    int count = ring_slice(&ring, run->begin, run->end, pieces);
    uint64_t sequence = after;
    size_t at = 0, left = 0;
    uint32_t events = 0;
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < pieces[i].iov_len; k++) {
            if (left == 0) {
                do
                    sequence++;
                while (sizes[sequence] == 0);
                left = sizes[sequence];
                at = 0;
                events++;
            }
            cr_assert_eq(((uint8_t *)pieces[i].iov_base)[k], byte_of(sequence, at),
                         "byte %zu of %lu", at, sequence);
            at++;
            left--;
        }
    cr_assert_eq(left, 0);
    cr_assert_eq(events, run->count);
    cr_assert_eq(sequence, run->last_event);
}

Test(ring, gives_every_run_that_it_reaches_wherever_the_circle_closes)
{
    srand(1);
    uint64_t last = 0;
    for (int step = 0; step < 8000; step++) {
        last++;
        if (rand() % 4 == 0)
            ring_look(&ring, last);
        else
            cr_assert_eq(put(last, (size_t)(1 + rand() % 900), last - 50), OK);
        cr_assert_eq(ring.looked, last);
        uint64_t after = ring.before + (uint64_t)rand() % (last - ring.before + 1);
        struct ring_run run, again;
        if (!ring_next_run(&ring, after, (uint32_t)(1 + rand() % 20), 4000, &run)) {
            for (uint64_t sequence = after + 1; sequence <= last; sequence++)
                cr_assert_eq(sizes[sequence], 0);
            continue;
        }
        cr_assert(run.count == 1 || run.end - run.begin <= 4000);
        expect_bytes(&run, after);
        again = ring_find_run(&ring, after, run.last_event);
        cr_assert_eq(again.begin, run.begin);
        cr_assert_eq(again.end, run.end);
        cr_assert_eq(again.count, run.count);
    }
    /* Nobody needed more than fifty: that is no reason to grow. */
    cr_assert_leq(ring.capacity, RING_BYTES_MIN);
}

Test(ring, grows_for_whom_it_still_has_to_serve_and_drops_the_oldest_when_it_may_not)
{
    uint64_t sequence = 0;
    while (ring.before == 0)
        cr_assert_eq(put(++sequence, 5000, 0), OK);
    cr_assert_eq(ring.capacity, RING_BYTES_MAX);
    cr_assert_not(ring_reaches(&ring, 0));
    cr_assert(ring_reaches(&ring, ring.before));
    struct ring_run run;
    cr_assert(ring_next_run(&ring, ring.before, UINT32_MAX, SIZE_MAX, &run));
    expect_bytes(&run, ring.before);
    cr_assert_eq(run.last, sequence);
}

Test(ring, takes_one_event_that_is_larger_than_its_usual_size_and_gives_the_memory_back)
{
    cr_assert_eq(put(1, 100, 0), OK);
    cr_assert_eq(put(2, 3 << 20, 0), OK);
    struct ring_run run;
    cr_assert_eq(ring.before, 1);
    cr_assert(ring_next_run(&ring, 1, 10, 1000, &run));
    cr_assert_eq(run.count, 1);
    expect_bytes(&run, 1);
    ring_forget(&ring, 2);
    ring_trim(&ring);
    cr_assert_leq(ring_memory(&ring),
                  RING_BYTES_MAX + RING_ENTRIES_MIN * sizeof(struct ring_entry));
}

Test(ring, keeps_to_the_budget_that_it_shares)
{
    struct ring other = {.budget = &budget};
    budget.bytes_max = 2 * RING_BYTES_MIN;
    uint64_t sequence = 0;
    while (ring.before == 0)
        cr_assert_eq(put(++sequence, 1000, 0), OK);
    cr_assert_leq(budget.bytes_used, budget.bytes_max);
    uint8_t large[3 * RING_BYTES_MIN] = {0};
    cr_assert_eq(ring_append(&other, 1, false, large, sizeof large, 0, &error), ERROR_FULL);
    ring_release(&other);
}

Test(ring, ends_a_run_before_what_is_no_event)
{
    cr_assert_eq(put(1, 10, 0), OK);
    cr_assert_eq(ring_append(&ring, 5, true, "lost", 4, 0, &error), OK);
    cr_assert_eq(put(6, 10, 0), OK);
    struct ring_run run;
    cr_assert(ring_next_run(&ring, 0, 10, 1000, &run));
    cr_assert_eq(run.count, 1);
    cr_assert_eq(run.last, 1);
    cr_assert(ring_next_run(&ring, 1, 10, 1000, &run));
    cr_assert(run.alone);
    cr_assert_eq(run.last, 5);
    cr_assert(ring_next_run(&ring, 5, 10, 1000, &run));
    cr_assert_not(run.alone);
    cr_assert_eq(run.last, 6);
}
