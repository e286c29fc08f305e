#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/ahead.h"
#include "segment/block.h"

enum { SEGMENT_BYTES = 64 << 20, SEED = 77, FIRST = 4096, BLOCKS = 24 };

static struct segment_ahead *ahead;
static struct buffer file;
static struct segment_format_block_header headers[BLOCKS];
static struct buffer bodies[BLOCKS];

/* Text that compresses, different in each block and in each `edition`. */
static void make_body(unsigned i, size_t bytes, unsigned edition)
{
    char line[64];
    bodies[i].size = 0;
    for (unsigned n = 0; bodies[i].size < bytes; n++) {
        int size = snprintf(line, sizeof line, "block %u line %u of edition %u;", i, n, edition);
        cr_assert_eq(buffer_append(&bodies[i], line, (size_t)size, NULL), OK);
    }
}

static void make_file(size_t body_bytes, unsigned edition)
{
    file.size = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        make_body(i, body_bytes, edition);
        headers[i] = (struct segment_format_block_header){
            .kind = FORMAT_BLOCK_EVENTS,
            .offset = FIRST + file.size,
            .sequence_first = 1 + i,
            .event_count = 1,
        };
        cr_assert_eq(segment_block_encode(SEED, &headers[i], bodies[i].data, bodies[i].size,
                                          BLOCK_FAST, 8, &file, NULL),
                     OK);
    }
}

static void begin_with(size_t size)
{
    struct segment_ahead_stretch stretch = {.seed = SEED,
                                            .segment_bytes = SEGMENT_BYTES,
                                            .offset = FIRST,
                                            .bytes = file.data,
                                            .size = size};
    segment_ahead_begin(ahead, &stretch);
}

static void setup(void)
{
    make_file(64 << 10, 1);
    struct error error;
    enum error_code code = segment_ahead_create(&ahead, &error);
    if (code == ERROR_NOT_FOUND)
        cr_skip_test("%s", error.text);
    cr_assert_eq(code, OK, "%s", error.text);
    begin_with(file.size);
}

static void teardown(void)
{
    segment_ahead_free(ahead);
    for (unsigned i = 0; i < BLOCKS; i++)
        buffer_release(&bodies[i]);
    buffer_release(&file);
}

TestSuite(ahead, .init = setup, .fini = teardown);

static bool gives(unsigned i)
{
    const uint8_t *raw = segment_ahead_take(ahead, &headers[i]);
    if (raw)
        cr_assert_arr_eq(raw, bodies[i].data, bodies[i].size, "block %u has another body", i);
    return raw != NULL;
}

Test(ahead, gives_each_body_in_the_order_of_the_file)
{
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < BLOCKS; i++)
            cr_assert(gives(i), "block %u", i);
        begin_with(file.size);
    }
}

Test(ahead, never_gives_another_body_in_whatever_order_it_is_asked)
{
    unsigned given = 0;
    srand(5);
    for (unsigned n = 0; n < 3000; n++) {
        if (n % 20 == 0)
            begin_with(file.size);
        given += gives((unsigned)rand() % BLOCKS);
    }
    cr_assert_gt(given, 150, "the first ask behind each beginning, at least");
}

Test(ahead, gives_nothing_for_a_damaged_body_and_goes_on_behind_it)
{
    segment_ahead_end(ahead);
    file.data[headers[7].offset - FIRST + FORMAT_BLOCK_HEADER_BYTES + 100] ^= 4;
    begin_with(file.size);
    for (unsigned i = 0; i < BLOCKS; i++)
        cr_assert_eq(gives(i), i != 7, "block %u", i);
}

Test(ahead, gives_nothing_for_a_header_that_is_not_the_one_in_the_stretch)
{
    struct segment_format_block_header other = headers[3];
    other.table_checksum ^= 1;
    cr_assert_null(segment_ahead_take(ahead, &other));
    cr_assert(gives(4));
}

Test(ahead, gives_nothing_where_the_stretch_ends_within_the_block)
{
    begin_with((size_t)(headers[5].offset - FIRST) + headers[5].size_bytes - 1);
    for (unsigned i = 0; i < BLOCKS; i++)
        cr_assert_eq(gives(i), i < 5, "block %u", i);
}

Test(ahead, gives_what_the_new_stretch_holds)
{
    for (unsigned edition = 2; edition < 40; edition++) {
        cr_assert(gives(edition % 3));
        segment_ahead_end(ahead);
        make_file(64 << 10, edition);
        cr_assert_null(segment_ahead_take(ahead, &headers[0]), "there is no stretch");
        begin_with(file.size);
    }
}

Test(ahead, may_be_left_while_its_helper_works)
{
    for (unsigned n = 0; n < 50; n++) {
        begin_with(file.size);
        cr_assert(gives(0));
        segment_ahead_free(ahead);
        cr_assert_eq(segment_ahead_create(&ahead, NULL), OK);
    }
}

Test(ahead, is_not_for_small_or_plain_blocks)
{
    segment_ahead_end(ahead);
    make_file(AHEAD_RAW_BYTES_MIN / 2, 1);
    cr_assert_not(segment_ahead_pays(&headers[0]));
    make_file(AHEAD_RAW_BYTES_MIN, 1);
    cr_assert(segment_ahead_pays(&headers[0]));
    headers[0].codec = FORMAT_CODEC_NONE;
    cr_assert_not(segment_ahead_pays(&headers[0]));
}
