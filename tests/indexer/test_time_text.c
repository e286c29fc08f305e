/* indexer/time_text.h: no time whose text a comparison allows lies outside the range. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/units.h"
#include "indexer/time_text.h"

TestSuite(time_text);

static void expect_range(const char *text, const char *first, const char *last)
{
    int64_t first_ns, last_ns;
    char found[UNITS_TIME_TEXT_SIZE];
    indexer_time_text_range(text, strlen(text), &first_ns, &last_ns);
    units_format_time_utc(first_ns, found);
    cr_assert_str_eq(found, first, "'%s' begins at %s", text, found);
    units_format_time_utc(last_ns, found);
    cr_assert_str_eq(found, last, "'%s' ends at %s", text, found);
}

static void expect_all_times(const char *text)
{
    int64_t first_ns = 0, last_ns = 0;
    indexer_time_text_range(text, strlen(text), &first_ns, &last_ns);
    cr_assert(first_ns == INT64_MIN && last_ns == INT64_MAX, "'%s'", text);
}

Test(time_text, is_the_range_of_what_begins_with_it)
{
    expect_range("2026", "2026-01-01T00:00:00.000000000Z", "2026-12-31T23:59:59.999999999Z");
    expect_range("2024-02", "2024-02-01T00:00:00.000000000Z", "2024-02-29T23:59:59.999999999Z");
    expect_range("2100-02", "2100-02-01T00:00:00.000000000Z", "2100-02-28T23:59:59.999999999Z");
    expect_range("2000-02-29", "2000-02-29T00:00:00.000000000Z", "2000-02-29T23:59:59.999999999Z");
    expect_range("2026-01-02T03", "2026-01-02T03:00:00.000000000Z",
                 "2026-01-02T03:59:59.999999999Z");
    expect_range("2026-01-02T03:04", "2026-01-02T03:04:00.000000000Z",
                 "2026-01-02T03:04:59.999999999Z");
    expect_range("2026-01-02T03:04:05", "2026-01-02T03:04:05.000000000Z",
                 "2026-01-02T03:04:05.999999999Z");
    expect_range("2026-01-02T03:04:05.12", "2026-01-02T03:04:05.120000000Z",
                 "2026-01-02T03:04:05.129999999Z");
    expect_range("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z",
                 "2026-01-02T03:04:05.123456789Z");
    expect_range("1969-12-31T23:59:59.9", "1969-12-31T23:59:59.900000000Z",
                 "1969-12-31T23:59:59.999999999Z");
}

Test(time_text, of_other_texts_is_the_range_of_their_longest_sensible_beginning)
{
    expect_range("2026-13-01", "2026-01-01T00:00:00.000000000Z", "2026-12-31T23:59:59.999999999Z");
    expect_range("2026-02-30", "2026-02-01T00:00:00.000000000Z", "2026-02-28T23:59:59.999999999Z");
    expect_range("2026-01-02 03:04", "2026-01-02T00:00:00.000000000Z",
                 "2026-01-02T23:59:59.999999999Z");
    expect_range("2026-01-02t03", "2026-01-02T00:00:00.000000000Z",
                 "2026-01-02T23:59:59.999999999Z");
    expect_range("2026-01-02T03:04:60", "2026-01-02T03:04:00.000000000Z",
                 "2026-01-02T03:04:59.999999999Z");
    expect_range("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000000Z",
                 "2026-01-02T03:04:05.999999999Z");
    expect_range("2026-01-02T03:04:05.1234567890", "2026-01-02T03:04:05.123456789Z",
                 "2026-01-02T03:04:05.123456789Z");
    expect_range("2026-01-0", "2026-01-01T00:00:00.000000000Z", "2026-01-31T23:59:59.999999999Z");
    expect_range("20261", "2026-01-01T00:00:00.000000000Z", "2026-12-31T23:59:59.999999999Z");
}

Test(time_text, is_everything_where_no_time_begins_like_that)
{
    static const char *const texts[] = {"",     "x",    "202",  "-026", " 2026", "1677", "2262",
                                        "9999", "0000", "+202", "1e99", "\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_all_times(texts[i]);
}

/* What the header promises, over many texts near the texts of many times. */
Test(time_text, never_leaves_out_a_time_that_the_comparison_of_texts_allows)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, 951782399999999999,
                                    951782400000000000, 1767323045123456789, INT64_MAX};
    static const char marks[] = "09-T:.Z z~/;,";
    enum { TIMES = sizeof times / sizeof times[0] };
    for (size_t from = 0; from < TIMES; from++) {
        char text[UNITS_TIME_TEXT_SIZE];
        units_format_time_utc(times[from], text);
        for (size_t change = 0; change < strlen(text) * sizeof marks; change++) {
            char changed[UNITS_TIME_TEXT_SIZE];
            int64_t first, last;
            memcpy(changed, text, sizeof changed);
            changed[change / sizeof marks] = marks[change % sizeof marks]; /* the NUL, too */
            indexer_time_text_range(changed, strlen(changed), &first, &last);
            for (size_t i = 0; i < TIMES; i++) {
                char other[UNITS_TIME_TEXT_SIZE];
                units_format_time_utc(times[i], other);
                int order = strcmp(other, changed);
                cr_assert(order < 0 || times[i] >= first, "%s >= %s", other, changed);
                cr_assert(order > 0 || times[i] <= last, "%s <= %s", other, changed);
            }
        }
    }
}
