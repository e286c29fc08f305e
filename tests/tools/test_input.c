/* Bytes of clients: kept exactly, in bounded memory, and none at all while nothing is owed. */
#include <criterion/criterion.h>
#include <string.h>

#include "tools/daybookd/input.h"

static struct input_pool pool = {.bytes_max = 4 * INPUT_READ_BYTES};

static void receive(struct input *input, size_t wanted, uint8_t value, size_t bytes)
{
    cr_assert_eq(input_reserve(input, &pool, wanted, NULL), OK);
    cr_assert_leq(bytes, input->capacity - input->end);
    memset(input->data + input->end, value, bytes);
    input->end += bytes;
}

static void expect(const struct input *input, size_t at, uint8_t value, size_t bytes)
{
    for (size_t i = at; i < at + bytes; i++)
        cr_assert_eq(input_data(input)[i], value, "byte %zu", i);
}

Test(input, many_idle_connections_share_one_buffer)
{
    struct input inputs[100] = {0};
    for (int i = 0; i < 100; i++) {
        receive(&inputs[i], 0, 1, 1000);
        input_use(&inputs[i], 1000);
        input_park(&inputs[i], &pool);
    }
    cr_assert_eq(pool.bytes_used, INPUT_READ_BYTES);
    input_pool_release(&pool);
}

Test(input, a_remainder_survives_parking_and_growing)
{
    struct input input = {0};
    receive(&input, 0, 1, 5000);
    input_use(&input, 4000);
    input_park(&input, &pool);
    cr_assert_eq(input.capacity, INPUT_SMALL_BYTES);
    receive(&input, 600000, 2, 70000);
    receive(&input, 600000, 3, 400000);
    cr_assert_geq(input.capacity, 600000);
    expect(&input, 0, 1, 1000);
    expect(&input, 1000, 2, 70000);
    expect(&input, 71000, 3, 400000);
    cr_assert_eq(input_bytes(&input), 471000);
    input_drop(&input, &pool);
    cr_assert_eq(pool.bytes_used, INPUT_READ_BYTES, "only the spare buffer is left");
    input_pool_release(&pool);
}

Test(input, the_pool_is_a_limit_and_giving_back_heals)
{
    struct input inputs[5] = {0};
    struct error error;
    for (int i = 0; i < 4; i++)
        receive(&inputs[i], 0, 1, INPUT_READ_BYTES);
    cr_assert_eq(input_reserve(&inputs[4], &pool, 0, &error), ERROR_BUSY);
    cr_assert(strstr(error.text, "used up"), "%s", error.text);
    cr_assert_eq(input_reserve(&inputs[0], &pool, 2 * INPUT_READ_BYTES, &error), ERROR_BUSY);
    expect(&inputs[0], 0, 1, INPUT_READ_BYTES);
    input_drop(&inputs[1], &pool);
    cr_assert_eq(input_reserve(&inputs[4], &pool, 0, &error), OK);
    for (int i = 0; i < 5; i++)
        input_drop(&inputs[i], &pool);
    input_pool_release(&pool);
}
