#include "core/bytes.h"

#include <criterion/criterion.h>
#include <string.h>

Test(bytes, are_little_endian_at_any_address)
{
    uint8_t at[9] = {0};
    bytes_store16(at + 1, 0x0102);
    cr_assert_arr_eq(at, ((uint8_t[]){0, 2, 1}), 3);
    cr_assert_eq(bytes_load16(at + 1), 0x0102);
    bytes_store32(at + 1, 0xfedcba98);
    cr_assert_arr_eq(at, ((uint8_t[]){0, 0x98, 0xba, 0xdc, 0xfe}), 5);
    cr_assert_eq(bytes_load32(at + 1), 0xfedcba98);
    bytes_store64(at + 1, 0xfedcba9876543210);
    cr_assert_arr_eq(at, ((uint8_t[]){0, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}), 9);
    cr_assert_eq(bytes_load64(at + 1), 0xfedcba9876543210);
}

Test(bytes, are_rounded_up_to_an_alignment)
{
    cr_assert_eq(bytes_align(0, 8), 0);
    cr_assert_eq(bytes_align(1, 8), 8);
    cr_assert_eq(bytes_align(8, 8), 8);
    cr_assert_eq(bytes_align(4097, 4096), 8192);
}

Test(bytes, are_zero_only_if_all_of_them_are)
{
    uint8_t data[100] = {0};
    cr_assert(bytes_are_zero(NULL, 0));
    for (size_t size = 0; size <= sizeof data; size++)
        cr_assert(bytes_are_zero(data, size));
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = 0x80;
        cr_assert_not(bytes_are_zero(data, sizeof data));
        cr_assert(bytes_are_zero(data, i));
        data[i] = 0;
    }
}

static void expect_content(const struct buffer *buffer, const char *text)
{
    cr_assert_eq(buffer->size, strlen(text));
    cr_assert_arr_eq(buffer->data, text, strlen(text));
}

Test(buffer, grows_as_it_is_appended_to)
{
    struct buffer buffer = {0};
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(buffer_append(&buffer, &(uint8_t){(uint8_t)i}, 1, NULL), OK);
    cr_assert_eq(buffer.size, 10000);
    for (size_t i = 0; i < 10000; i++)
        cr_assert_eq(buffer.data[i], (uint8_t)i);
    buffer_release(&buffer);
    cr_assert_null(buffer.data);
    cr_assert_eq(buffer.size + buffer.capacity, 0);
}

Test(buffer, takes_formatted_text_without_its_nul)
{
    struct buffer buffer = {0};
    buffer_printf(&buffer, NULL, "%d-", 12);
    buffer_printf(&buffer, NULL, "%s", "x");
    expect_content(&buffer, "12-x");
    buffer_release(&buffer);
}

Test(buffer, forgets_from_the_front)
{
    struct buffer buffer = {0};
    buffer_append(&buffer, "abcdef", 6, NULL);
    buffer_consume(&buffer, 2);
    expect_content(&buffer, "cdef");
    buffer_consume(&buffer, 4);
    expect_content(&buffer, "");
    buffer_append(&buffer, "x", 1, NULL);
    expect_content(&buffer, "x");
    buffer_release(&buffer);
}

Test(buffer, refuses_a_size_that_cannot_be_and_keeps_its_content)
{
    struct buffer buffer = {0};
    struct error error;
    buffer_append(&buffer, "abc", 3, NULL);
    cr_assert_eq(buffer_reserve(&buffer, SIZE_MAX - 1, &error), ERROR_MEMORY);
    expect_content(&buffer, "abc");
    buffer_release(&buffer);
    struct buffer full = {.size = SIZE_MAX / 2, .capacity = SIZE_MAX / 2}; /* and no byte of it */
    cr_assert_eq(buffer_printf(&full, &error, "%d", 12), ERROR_MEMORY);
    cr_assert_eq(full.size, SIZE_MAX / 2);
}
