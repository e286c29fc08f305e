#include "core/units.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/msgpack.h"

#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

Test(units, sizes_are_parsed)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } CASES[] = {
        {"0", 0},
        {"4096", 4096},
        {"512B", 512},
        {"64M", 64 << 20},
        {"64m", 64 << 20},
        {"1k", 1024},
        {"1.5G", UINT64_C(1610612736)},
        {"2KiB", 2048},
        {"2kb", 2048},
        {"3T", UINT64_C(3) << 40},
        {"0.25M", 262144},
        {"0.1K", 102},
        {"15.999E", UINT64_C(18445591152204944769)},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        uint64_t bytes = 1;
        cr_assert_eq(units_parse_size(CASES[i].text, &bytes, NULL), OK, "%s", CASES[i].text);
        cr_assert_eq(bytes, CASES[i].bytes, "%s: %lu", CASES[i].text, (unsigned long)bytes);
    }
}

Test(units, wrong_sizes_are_refused_with_a_reason)
{
    static const char *const CASES[][2] = {
        {"", "'' is not a size; examples: 4096, 64M, 1.5G"},
        {"M", "'M' is not a size; examples: 4096, 64M, 1.5G"},
        {"-1", "'-1' is not a size; examples: 4096, 64M, 1.5G"},
        {"1.", "'1.' is not a size; examples: 4096, 64M, 1.5G"},
        {"64X", "the size '64X' ends in 'X', which is not K, M, G or T"},
        {"64 M", "the size '64 M' ends in ' M', which is not K, M, G or T"},
        {"64Mi", "the size '64Mi' ends in 'Mi', which is not K, M, G or T"},
        {"1.5", "the size '1.5' is a fraction of a byte"},
        {"16E", "the size '16E' is too large"},
        {"18446744073709551616", "'18446744073709551616' is not a size; examples: 4096, 64M, 1.5G"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct error error = {0};
        uint64_t bytes = 7;
        cr_assert_eq(units_parse_size(CASES[i][0], &bytes, &error), ERROR_INVALID, "%s",
                     CASES[i][0]);
        cr_assert_str_eq(error.text, CASES[i][1]);
        cr_assert_eq(bytes, 7);
    }
}

Test(units, durations_are_parsed)
{
    static const struct {
        const char *text;
        int64_t ns;
    } CASES[] = {
        {"0", 0},
        {"5", 5 * SECOND},
        {"2.5", 2 * SECOND + SECOND / 2},
        {"30d", 30 * DAY},
        {"90m", 90 * MINUTE},
        {"1h30m", 90 * MINUTE},
        {"3 d 4 h", 3 * DAY + 4 * HOUR},
        {"250ms", SECOND / 4},
        {"10us", 10000},
        {"7ns", 7},
        {"1w", 7 * DAY},
        {"0.5h", 30 * MINUTE},
        {"1m500ms", MINUTE + SECOND / 2},
        {"1.000000001s", SECOND + 1},
        {"9223372036854775807ns", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int64_t ns = 1;
        cr_assert_eq(units_parse_duration(CASES[i].text, &ns, NULL), OK, "%s", CASES[i].text);
        cr_assert_eq(ns, CASES[i].ns, "%s: %ld", CASES[i].text, (long)ns);
    }
}

Test(units, wrong_durations_are_refused)
{
    static const char *const TEXTS[] = {
        "",
        " ",
        "h",
        "-1h",
        "1x",
        "1h30",
        "1hh",
        "1.h",
        "1,5h",
        "1H",
        "1 h x",
        "1min",
        "9223372036854775808ns",
        "20000000000",
        "106752d",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        int64_t ns = 7;
        struct error error = {0};
        cr_assert_eq(units_parse_duration(TEXTS[i], &ns, &error), ERROR_INVALID, "%s", TEXTS[i]);
        cr_assert_not_null(strstr(error.text, TEXTS[i]));
        cr_assert_eq(ns, 7);
    }
}

/* 2025-09-09T03:03:01.642318Z, a Tuesday */
#define NOW INT64_C(1757386981642318000)

static void expect_time(const char *text, enum units_zone zone, const char *expected)
{
    int64_t time_ns = 0;
    struct error error = {0};
    char shown[UNITS_TIME_TEXT_SIZE];
    cr_assert_eq(units_parse_time(text, strlen(text), zone, NOW, &time_ns, &error), OK, "%s",
                 error.text);
    units_format_time_utc(time_ns, shown);
    cr_assert_str_eq(shown, expected, "%s: %s", text, shown);
}

Test(units, times_are_parsed_in_utc)
{
    static const char *const CASES[][2] = {
        {"now", "2025-09-09T03:03:01.642318000Z"},
        {"today", "2025-09-09T00:00:00.000000000Z"},
        {"yesterday", "2025-09-08T00:00:00.000000000Z"},
        {"tomorrow", "2025-09-10T00:00:00.000000000Z"},
        {"-1h", "2025-09-09T02:03:01.642318000Z"},
        {"+5m", "2025-09-09T03:08:01.642318000Z"},
        {"-1h30m", "2025-09-09T01:33:01.642318000Z"},
        {"-2.5", "2025-09-09T03:02:59.142318000Z"},
        {"03:04", "2025-09-09T03:04:00.000000000Z"},
        {"23:59:59.5", "2025-09-09T23:59:59.500000000Z"},
        {"2026-01-02", "2026-01-02T00:00:00.000000000Z"},
        {"2026-01-02 03:04", "2026-01-02T03:04:00.000000000Z"},
        {"2026-01-02 03:04:05", "2026-01-02T03:04:05.000000000Z"},
        {"2026-01-02 03:04:05.678", "2026-01-02T03:04:05.678000000Z"},
        {"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000000Z"},
        {"2026-01-02t03:04:05.123456789z", "2026-01-02T03:04:05.123456789Z"},
        {"2026-01-02T03:04:05.1234567899Z", "2026-01-02T03:04:05.123456789Z"},
        {"2026-01-02T03:04:05+05:30", "2026-01-01T21:34:05.000000000Z"},
        {"2026-01-02T03:04:05-0800", "2026-01-02T11:04:05.000000000Z"},
        {"2026-01-02 03:04:05 +02", "2026-01-02T01:04:05.000000000Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000000Z"},
        {"2024-02-29", "2024-02-29T00:00:00.000000000Z"},
        {"@0", "1970-01-01T00:00:00.000000000Z"},
        {"@1757386981", "2025-09-09T03:03:01.000000000Z"},
        {"@1757386981.5", "2025-09-09T03:03:01.500000000Z"},
        {"@-1.5", "1969-12-31T23:59:58.500000000Z"},
        {"1969-12-31 23:59:59.25", "1969-12-31T23:59:59.250000000Z"},
        {"1677-09-21T00:12:43.145224193Z", "1677-09-21T00:12:43.145224193Z"},
        {"2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854775807Z"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        expect_time(CASES[i][0], UNITS_UTC, CASES[i][1]);
}

Test(units, wrong_times_are_refused)
{
    static const char *const TEXTS[] = {
        "",
        " ",
        "nowish",
        "-",
        "+",
        "-1x",
        "--1h",
        "@",
        "@x",
        "@1.",
        "@9223372037",
        "24:00",
        "12:60",
        "1:00",
        "12:00:61",
        "12:00:00.",
        "2026-1-2",
        "2026-13-01",
        "2026-00-01",
        "2026-02-29",
        "2100-02-29",
        "2026-04-31",
        "2026-01-00",
        "2026-01-02 ",
        "2026-01-02T",
        "2026-01-02X03:04",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+1",
        "2026-01-02T03:04:05ZZ",
        "2026-01-02T03:04:05Z ",
        "1677-09-21T00:12:43.145224191Z",
        "1677-09-21T00:12:43.145224192Z", /* the smallest number, which is no time */
        "0000-01-01",
        "2262-04-11T23:47:16.854775808Z",
        "9999-12-31",
        "0001-01-01",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        int64_t time_ns = 7;
        struct error error = {0};
        cr_assert_eq(units_parse_time(TEXTS[i], strlen(TEXTS[i]), UNITS_UTC, NOW, &time_ns, &error),
                     ERROR_INVALID, "'%s' was accepted", TEXTS[i]);
        cr_assert_neq(error.text[0], '\0');
        cr_assert_eq(time_ns, 7);
    }
    int64_t time_ns;
    cr_assert_eq(units_parse_time("now\0", 4, UNITS_UTC, NOW, &time_ns, NULL), ERROR_INVALID);
}

static void use_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

/* A zone in POSIX's own notation needs no zone files: CET with the European rules. */
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

Test(units, local_times_follow_the_zone_and_its_summer_time)
{
    use_zone(BERLIN);
    expect_time("2026-01-02 03:04:05", UNITS_LOCAL, "2026-01-02T02:04:05.000000000Z");
    expect_time("2026-07-02 03:04:05", UNITS_LOCAL, "2026-07-02T01:04:05.000000000Z");
    expect_time("2026-07-02 03:04:05Z", UNITS_LOCAL, "2026-07-02T03:04:05.000000000Z");
    expect_time("2026-07-02 03:04:05+00:00", UNITS_LOCAL, "2026-07-02T03:04:05.000000000Z");
    expect_time("today", UNITS_LOCAL, "2025-09-08T22:00:00.000000000Z");
    expect_time("06:00", UNITS_LOCAL, "2025-09-09T04:00:00.000000000Z");
    /* The day on which the clocks go forward has 23 hours. */
    expect_time("2026-03-29", UNITS_LOCAL, "2026-03-28T23:00:00.000000000Z");
    expect_time("2026-03-30", UNITS_LOCAL, "2026-03-29T22:00:00.000000000Z");
}

Test(units, data_times_are_absolute_and_in_utc_unless_they_say_otherwise)
{
    use_zone(BERLIN);
    static const struct {
        const char *text;
        int64_t time_ns;
    } CASES[] = {
        {"2025-09-09T03:03:01.642318", NOW},
        {"2025-09-09 03:03:01.642318", NOW},
        {"2025-09-09T03:03:01.642318Z", NOW},
        {"2025-09-09T05:03:01.642318+02:00", NOW},
        {"2025-09-09", NOW - (3 * HOUR + 3 * MINUTE + 1 * SECOND + 642318000)},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int64_t time_ns = 0;
        cr_assert_eq(units_parse_data_time(CASES[i].text, strlen(CASES[i].text), &time_ns, NULL),
                     OK);
        cr_assert_eq(time_ns, CASES[i].time_ns, "%s", CASES[i].text);
    }
    static const char *const WRONG[] = {"now", "today", "-1h", "03:04", "@1", "1757386981", ""};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        int64_t time_ns;
        cr_assert_eq(units_parse_data_time(WRONG[i], strlen(WRONG[i]), &time_ns, NULL),
                     ERROR_INVALID, "%s", WRONG[i]);
    }
}

Test(units, data_times_as_integers_tell_their_unit_by_their_size)
{
    static const struct {
        int64_t value, time_ns;
    } CASES[] = {
        {0, 0},
        {1757386981, 1757386981 * SECOND},
        {-1757386981, -1757386981 * SECOND},
        {9223372036, 9223372036 * SECOND},
        {1757386981642, 1757386981642 * 1000000},
        {1757386981642318, 1757386981642318 * 1000},
        {1757386981642318001, 1757386981642318001},
        {INT64_MAX, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int64_t time_ns = 1;
        cr_assert_eq(units_data_time_from_integer(CASES[i].value, &time_ns, NULL), OK);
        cr_assert_eq(time_ns, CASES[i].time_ns, "%ld", (long)CASES[i].value);
    }
    static const int64_t WRONG[] = {9223372037,    99999999999,      -9223372037,
                                    9223372036855, 9223372036854776, INT64_MIN};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        int64_t time_ns = 7;
        cr_assert_eq(units_data_time_from_integer(WRONG[i], &time_ns, NULL), ERROR_INVALID, "%ld",
                     (long)WRONG[i]);
        cr_assert_eq(time_ns, 7);
    }
}

Test(units, data_times_as_doubles_are_rounded_to_microseconds)
{
    static const struct {
        double value;
        int64_t time_ns;
    } CASES[] = {
        {0.0, 0},
        {1757386981.642318, NOW},
        {1757386981.0, 1757386981 * SECOND},
        {-1.5, -SECOND - SECOND / 2},
        {1757386981642.318, NOW},
        {1757386981642318.0, NOW},
        {1757386981642317824.0, 1757386981642317824},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int64_t time_ns = 1;
        cr_assert_eq(units_data_time_from_real(CASES[i].value, &time_ns, NULL), OK);
        cr_assert_eq(time_ns, CASES[i].time_ns, "%f: %ld", CASES[i].value, (long)time_ns);
    }
    const double WRONG[] = {(double)__builtin_nan(""),
                            (double)__builtin_inf(),
                            -(double)__builtin_inf(),
                            9.3e9,
                            99999999999.0,
                            1e19,
                            -1e300};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        int64_t time_ns = 7;
        cr_assert_eq(units_data_time_from_real(WRONG[i], &time_ns, NULL), ERROR_INVALID, "%f",
                     WRONG[i]);
        cr_assert_eq(time_ns, 7);
    }
}

Test(units, a_time_in_a_document_is_text_or_a_number)
{
    const struct msgpack_value GOOD[] = {
        {.kind = MSGPACK_KIND_STR, .bytes = "1970-01-01T00:00:02Z!", .count = 20},
        {.kind = MSGPACK_KIND_FLOAT, .real = 2.0},
        {.kind = MSGPACK_KIND_UINT, .unsigned_ = 2},
    };
    int64_t time_ns;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        cr_assert_eq(units_data_time_from_value(&GOOD[i], &time_ns, NULL), OK, "%zu", i);
        cr_assert_eq(time_ns, INT64_C(2000000000), "%zu", i);
    }
    const struct msgpack_value before = {.kind = MSGPACK_KIND_INT, .signed_ = -2};
    cr_assert_eq(units_data_time_from_value(&before, &time_ns, NULL), OK);
    cr_assert_eq(time_ns, INT64_C(-2000000000));

    const struct msgpack_value WRONG[] = {
        {.kind = MSGPACK_KIND_UINT, .unsigned_ = UINT64_MAX},
        {.kind = MSGPACK_KIND_BOOL},
        {.kind = MSGPACK_KIND_NIL},
        {.kind = MSGPACK_KIND_MAP},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++)
        cr_assert_eq(units_data_time_from_value(&WRONG[i], &time_ns, NULL), ERROR_INVALID);
    cr_assert_eq(time_ns, INT64_C(-2000000000));
}

/* libc's own calendar is the reference, over the whole range. */
Test(units, dates_agree_with_libc)
{
    srandom(3);
    for (int i = 0; i < 200000; i++) {
        int64_t time_ns =
            (int64_t)((uint64_t)random() << 33 ^ (uint64_t)random() << 11 ^ (uint64_t)random());
        if (i % 2)
            time_ns = -time_ns;
        char shown[UNITS_TIME_TEXT_SIZE], expected[UNITS_TIME_TEXT_SIZE];
        units_format_time_utc(time_ns, shown);
        int64_t nanosecond = time_ns % SECOND + (time_ns % SECOND < 0 ? SECOND : 0);
        time_t seconds = (time_t)((time_ns - nanosecond) / SECOND);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
        cr_assert_eq(memcmp(shown, expected, 19), 0, "%s %s", shown, expected);
        int64_t again = 0;
        cr_assert_eq(units_parse_data_time(shown, strlen(shown), &again, NULL), OK);
        cr_assert_eq(again, time_ns);
    }
}

Test(units, times_are_shown_at_the_ends_of_their_range)
{
    char shown[UNITS_TIME_TEXT_SIZE];
    units_format_time_utc(INT64_MIN, shown);
    cr_assert_str_eq(shown, "1677-09-21T00:12:43.145224192Z");
    units_format_time_utc(INT64_MAX, shown);
    cr_assert_str_eq(shown, "2262-04-11T23:47:16.854775807Z");
}

Test(units, short_times_are_for_people_in_their_zone)
{
    char shown[UNITS_TIME_TEXT_SIZE];
    use_zone(BERLIN);
    units_format_time_short(NOW, UNITS_LOCAL, shown);
    cr_assert_str_eq(shown, "Sep 09 05:03:01.642318");
    units_format_time_short(NOW, UNITS_UTC, shown);
    cr_assert_str_eq(shown, "Sep 09 03:03:01.642318");
}

Test(units, sizes_are_shown)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } CASES[] = {
        {0, "0 B"},
        {312, "312 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1468007, "1.4 MiB"},
        {1048575, "1.0 MiB"},
        {1048524, "1023.9 KiB"},
        {UINT64_C(5) << 30, "5.0 GiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[UNITS_TEXT_SIZE];
        units_format_size(CASES[i].bytes, text);
        cr_assert_str_eq(text, CASES[i].text);
    }
}

Test(units, durations_are_shown)
{
    static const struct {
        int64_t ns;
        const char *text;
    } CASES[] = {
        {0, "0 ns"},
        {999, "999 ns"},
        {1000, "1 us"},
        {1500, "1.5 us"},
        {104000, "104 us"},
        {104499, "104 us"},
        {23145, "23.1 us"},
        {999499, "999 us"},
        {999500, "1 ms"},
        {12340000, "12.3 ms"},
        {999500000, "1 s"},
        {2310 * SECOND / 1000, "2.31 s"},
        {59 * SECOND, "59 s"},
        {59950 * SECOND / 1000, "1 m"},
        {90 * SECOND, "1 m 30 s"},
        {HOUR - 1, "1 h"},
        {2 * HOUR + 5 * MINUTE, "2 h 5 m"},
        {3 * DAY + 4 * HOUR + 59 * MINUTE, "3 d 4 h"},
        {30 * DAY, "30 d"},
        {-1500, "-1.5 us"},
        {-90 * SECOND, "-1 m 30 s"},
        {INT64_MAX, "106751 d 23 h"},
        {INT64_MIN, "-106751 d 23 h"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[UNITS_TEXT_SIZE];
        units_format_duration(CASES[i].ns, text);
        cr_assert_str_eq(text, CASES[i].text);
    }
}

Test(units, counts_are_shown_in_groups_of_three)
{
    static const struct {
        uint64_t count;
        const char *text;
    } CASES[] = {
        {0, "0"},
        {999, "999"},
        {1402, "1,402"},
        {1000000, "1,000,000"},
        {UINT64_MAX, "18,446,744,073,709,551,615"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[UNITS_TEXT_SIZE + 8];
        units_format_count(CASES[i].count, text);
        cr_assert_str_eq(text, CASES[i].text);
    }
}
