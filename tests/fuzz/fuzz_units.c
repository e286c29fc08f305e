/*
 * fuzz_units.c - any text at all as a time, a duration, a size or a decimal number.
 *
 * The first byte chooses the zone and the moment that "now" is. What is accepted, written as people
 * read it, is text that is accepted again and means the same; what is refused, says why.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t choose_now(uint8_t choice)
{
    static const int64_t moments[] = {0,
                                      INT64_MIN + 1,
                                      INT64_MAX,
                                      INT64_C(1757386981642318000),
                                      -1,
                                      INT64_C(86399999999999),
                                      INT64_C(4102444800000000000)};
    return moments[choice % (sizeof moments / sizeof *moments)];
}

static void expect_reason(enum error_code code, const struct error *error)
{
    assert(code == ERROR_INVALID && error->code == code && error->text[0]);
}

static void expect_same_when_written(int64_t time_ns)
{
    char text[UNITS_TIME_TEXT_SIZE], short_text[UNITS_TIME_TEXT_SIZE];
    int64_t again;
    units_format_time_utc(time_ns, text);
    assert(strlen(text) < sizeof text);
    enum error_code code = units_parse_time(text, strlen(text), UNITS_LOCAL, 0, &again, NULL);
    assert(code == OK && again == time_ns);
    code = units_parse_data_time(text, strlen(text), &again, NULL);
    assert(code == OK && again == time_ns);
    units_format_time_short(time_ns, UNITS_UTC, short_text);
    units_format_time_short(time_ns, UNITS_LOCAL, short_text);
    assert(strlen(short_text) < sizeof short_text);
}

static void parse_times(const char *text, size_t size, uint8_t choice)
{
    struct error error;
    int64_t time_ns = 0;
    enum error_code code = units_parse_time(text, size, choice & 128 ? UNITS_LOCAL : UNITS_UTC,
                                            choose_now(choice & 127), &time_ns, &error);
    if (code)
        expect_reason(code, &error);
    else
        expect_same_when_written(time_ns);
    code = units_parse_data_time(text, size, &time_ns, &error);
    if (code)
        expect_reason(code, &error);
    else
        expect_same_when_written(time_ns);
}

static void parse_amounts(const char *text)
{
    struct error error;
    char written[UNITS_TEXT_SIZE + 8];
    uint64_t bytes;
    int64_t ns;
    enum error_code code = units_parse_size(text, &bytes, &error);
    if (code) {
        expect_reason(code, &error);
    } else {
        units_format_size(bytes, written);
        assert(strlen(written) < UNITS_TEXT_SIZE);
        units_format_count(bytes, written);
        assert(strlen(written) < sizeof written);
    }
    code = units_parse_duration(text, &ns, &error);
    if (code) {
        expect_reason(code, &error);
    } else {
        assert(ns >= 0);
        units_format_duration(ns, written);
        assert(strlen(written) < UNITS_TEXT_SIZE);
    }
}

static void take_numbers(const uint8_t *data)
{
    struct error error;
    int64_t integer, time_ns;
    double real;
    memcpy(&integer, data, sizeof integer);
    memcpy(&real, data, sizeof real);
    enum error_code code = units_data_time_from_integer(integer, &time_ns, &error);
    if (code)
        expect_reason(code, &error);
    code = units_data_time_from_real(real, &time_ns, &error);
    if (code)
        expect_reason(code, &error);
    else
        expect_same_when_written(time_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t choice = data[0];
    data++, size--;
    /* Exactly so long, so that a sanitizer sees what is read beyond; and once with a NUL. */
    char *exact = malloc(size), *text = malloc(size + 1);
    assert(exact && text);
    memcpy(exact, data, size);
    memcpy(text, data, size);
    text[size] = '\0';
    parse_times(exact, size, choice);
    parse_amounts(text);
    if (size >= sizeof(int64_t))
        take_numbers(data);
    free(exact);
    free(text);
    return 0;
}
