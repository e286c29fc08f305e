#include "indexer/time_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* Nanoseconds in 64 bits begin in 1677 and end in 2262; these years lie wholly within. */
enum { YEAR_MIN = 1678, YEAR_MAX = 2261 };

#define SECOND_NS INT64_C(1000000000)

/* The parts of a time's text: each with what stands before it. */
enum part { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, PART_COUNT };
static const struct {
    char before; /* 0: nothing */
    size_t digits;
} forms[PART_COUNT] = {{0, 4}, {'-', 2}, {'-', 2}, {'T', 2}, {':', 2}, {':', 2}};

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool part_is_sensible(const int *parts, enum part part)
{
    int value = parts[part];
    switch (part) {
    case YEAR:
        return value >= YEAR_MIN && value <= YEAR_MAX;
    case MONTH:
        return value >= 1 && value <= 12;
    case DAY:
        return value >= 1 && value <= days_of_month(parts[YEAR], parts[MONTH]);
    case HOUR:
        return value <= 23;
    default:
        return value <= 59;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* How many parts the text begins with; *at_out is where they end. */
static size_t read_parts(const char *text, size_t text_bytes, int parts[PART_COUNT], size_t *at_out)
{
    size_t at = 0;
    for (size_t i = 0; i < PART_COUNT; i++) {
        size_t end = at;
        if (forms[i].before && (end == text_bytes || text[end++] != forms[i].before))
            return i;
        if (text_bytes - end < forms[i].digits)
            return i;
        parts[i] = 0;
        for (size_t digit = 0; digit < forms[i].digits; digit++, end++) {
            if (!is_digit(text[end]))
                return i;
            parts[i] = 10 * parts[i] + (text[end] - '0');
        }
        if (!part_is_sensible(parts, (enum part)i))
            return i;
        *at_out = at = end;
    }
    return PART_COUNT;
}

static int64_t seconds_of(const int parts[PART_COUNT])
{
    struct tm civil = {
        .tm_year = parts[YEAR] - 1900,
        .tm_mon = parts[MONTH] - 1,
        .tm_mday = parts[DAY],
        .tm_hour = parts[HOUR],
        .tm_min = parts[MINUTE],
        .tm_sec = parts[SECOND],
    };
    return (int64_t)timegm(&civil);
}

/* The digits behind a point, as the range of nanoseconds that begin with them. */
static void read_fraction(const char *text, size_t text_bytes, int64_t *first, int64_t *last)
{
    int64_t unit = SECOND_NS;
    *first = 0;
    if (text_bytes > 0 && text[0] == '.') {
        for (size_t at = 1; at < text_bytes && at <= 9 && is_digit(text[at]); at++) {
            unit /= 10;
            *first += unit * (text[at] - '0');
        }
    }
    *last = *first + unit - 1;
}

void indexer_time_text_range(const char *text, size_t text_bytes, int64_t *first_ns_out,
                             int64_t *last_ns_out)
{
    int parts[PART_COUNT] = {0};
    size_t at = 0;
    size_t count = read_parts(text, text_bytes, parts, &at);
    *first_ns_out = INT64_MIN;
    *last_ns_out = INT64_MAX;
    if (count == 0)
        return;

    int first[PART_COUNT] = {0, 1, 1, 0, 0, 0};
    int last[PART_COUNT] = {0, 12, 31, 23, 59, 59};
    for (size_t i = 0; i < count; i++)
        first[i] = last[i] = parts[i];
    if (count <= DAY)
        last[DAY] = days_of_month(last[YEAR], last[MONTH]);
    int64_t fraction_first = 0, fraction_last = SECOND_NS - 1;
    if (count == PART_COUNT)
        read_fraction(text + at, text_bytes - at, &fraction_first, &fraction_last);
    *first_ns_out = seconds_of(first) * SECOND_NS + fraction_first;
    *last_ns_out = seconds_of(last) * SECOND_NS + fraction_last;
}
