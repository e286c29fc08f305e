/* Sizes, durations and counts: the first half of core/units.h. */
#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/decimal.h"

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* "", "K", "kb", "KiB", "b" … as a factor; 0 when it is no such suffix. */
static uint64_t size_factor(const char *suffix)
{
    static const char LETTERS[] = "kmgtpe";
    uint64_t factor = 1;
    const char *letter = *suffix ? strchr(LETTERS, lower(*suffix)) : NULL;
    if (letter) {
        factor <<= 10 * (letter - LETTERS + 1);
        suffix++;
        if (lower(suffix[0]) == 'i' && lower(suffix[1]) == 'b')
            suffix++;
    }
    if (lower(*suffix) == 'b')
        suffix++;
    return *suffix ? 0 : factor;
}

enum error_code units_parse_size(const char *text, uint64_t *bytes_out, struct error *error)
{
    const char *at = text;
    struct decimal number;
    if (!decimal_read(&at, text + strlen(text), &number))
        return error_set(error, ERROR_INVALID, "'%.60s' is not a size; examples: 4096, 64M, 1.5G",
                         text);
    uint64_t factor = size_factor(at);
    if (factor == 0)
        return error_set(error, ERROR_INVALID,
                         "the size '%.60s' ends in '%.20s', which is not K, M, G or T", text, at);
    if (factor == 1 && number.billionths > 0)
        return error_set(error, ERROR_INVALID, "the size '%.60s' is a fraction of a byte", text);
    if (!decimal_scale(number, factor, bytes_out))
        return error_set(error, ERROR_INVALID, "the size '%.60s' is too large", text);
    return OK;
}

#define NS_PER_SECOND UINT64_C(1000000000)

struct duration_unit {
    const char *name;
    uint64_t ns;
};

/* The unit at `at`: letters up to the next digit, space or the end. NULL when there is none. */
static const struct duration_unit *read_unit(const char **at)
{
    static const struct duration_unit UNITS[] = {
        {"ns", 1},
        {"us", 1000},
        {"ms", 1000000},
        {"s", NS_PER_SECOND},
        {"m", 60 * NS_PER_SECOND},
        {"h", 3600 * NS_PER_SECOND},
        {"d", 86400 * NS_PER_SECOND},
        {"w", 7 * 86400 * NS_PER_SECOND},
    };
    size_t length = strcspn(*at, "0123456789. ");
    for (size_t i = 0; i < sizeof UNITS / sizeof UNITS[0]; i++)
        if (strlen(UNITS[i].name) == length && memcmp(*at, UNITS[i].name, length) == 0) {
            *at += length;
            return &UNITS[i];
        }
    return NULL;
}

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " ");
}

/* One number and its unit; only a lone number may lack the unit and is seconds. */
static bool read_duration_part(const char **at, bool alone, uint64_t *ns_out)
{
    struct decimal number;
    if (!decimal_read(at, *at + strlen(*at), &number))
        return false;
    if (alone && **at == '\0')
        return decimal_scale(number, NS_PER_SECOND, ns_out);
    *at = skip_spaces(*at);
    const struct duration_unit *unit = read_unit(at);
    return unit && decimal_scale(number, unit->ns, ns_out);
}

enum error_code units_parse_duration(const char *text, int64_t *ns_out, struct error *error)
{
    uint64_t total = 0;
    const char *at = text;
    do {
        uint64_t part = 0;
        if (!read_duration_part(&at, at == text, &part))
            return error_set(error, ERROR_INVALID,
                             "'%.60s' is not a duration; examples: 30d, 1h30m, 250ms, 2.5s", text);
        if (part > (uint64_t)INT64_MAX - total)
            return error_set(error, ERROR_INVALID, "the duration '%.60s' is too long", text);
        total += part;
        at = skip_spaces(at);
    } while (*at);
    *ns_out = (int64_t)total;
    return OK;
}

void units_format_size(uint64_t bytes, char text_out[UNITS_TEXT_SIZE])
{
    static const char *const NAMES[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(text_out, UNITS_TEXT_SIZE, "%" PRIu64 " B", bytes);
        return;
    }
    int scale = 0;
    uint64_t unit = 1024;
    uint64_t tenths;
    for (;;) {
        tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
        if (tenths < 10240) /* at the latest with EiB: 64 bits hold 16 of them */
            break;
        unit *= 1024;
        scale++;
    }
    snprintf(text_out, UNITS_TEXT_SIZE, "%u.%u %s", (unsigned)(tenths / 10),
             (unsigned)(tenths % 10), NAMES[scale]);
}

/* Three digits that count: 104, 23.1, 2.31; zeros behind the point are left out. */
static void format_three_digits(uint64_t thousandths, const char *unit, bool negative,
                                char text_out[UNITS_TEXT_SIZE])
{
    uint64_t step = thousandths >= 100000 ? 1000 : thousandths >= 10000 ? 100 : 10;
    uint64_t rounded = (thousandths + step / 2) / step * step;
    uint64_t fraction = rounded % 1000;
    int digits = fraction % 100 ? 2 : fraction ? 1 : 0;
    uint64_t shown = digits == 2 ? fraction / 10 : fraction / 100;
    const char *sign = negative ? "-" : "";
    if (digits)
        snprintf(text_out, UNITS_TEXT_SIZE, "%s%" PRIu64 ".%0*" PRIu64 " %s", sign, rounded / 1000,
                 digits, shown, unit);
    else
        snprintf(text_out, UNITS_TEXT_SIZE, "%s%" PRIu64 " %s", sign, rounded / 1000, unit);
}

/* "3 d 4 h": the largest unit and the one below it. */
static void format_long_duration(uint64_t seconds, bool negative, char text_out[UNITS_TEXT_SIZE])
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } UNITS[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    int i = 0;
    while (seconds < UNITS[i].seconds)
        i++;
    unsigned large = (unsigned)(seconds / UNITS[i].seconds);
    unsigned small = (unsigned)(seconds % UNITS[i].seconds / UNITS[i + 1].seconds);
    const char *sign = negative ? "-" : "";
    if (small)
        snprintf(text_out, UNITS_TEXT_SIZE, "%s%u %s %u %s", sign, large, UNITS[i].name, small,
                 UNITS[i + 1].name);
    else
        snprintf(text_out, UNITS_TEXT_SIZE, "%s%u %s", sign, large, UNITS[i].name);
}

void units_format_duration(int64_t ns, char text_out[UNITS_TEXT_SIZE])
{
    bool negative = ns < 0;
    uint64_t magnitude = negative ? 0 - (uint64_t)ns : (uint64_t)ns;
    /* From where on a text would round up to the next unit, that unit is used. */
    if (magnitude < 1000)
        format_three_digits(magnitude * 1000, "ns", negative, text_out);
    else if (magnitude < 999500)
        format_three_digits(magnitude, "us", negative, text_out);
    else if (magnitude < 999500000)
        format_three_digits(magnitude / 1000, "ms", negative, text_out);
    else if (magnitude < 59950 * UINT64_C(1000000))
        format_three_digits(magnitude / 1000000, "s", negative, text_out);
    else
        format_long_duration((magnitude + NS_PER_SECOND / 2) / NS_PER_SECOND, negative, text_out);
}

void units_format_count(uint64_t count, char text_out[UNITS_TEXT_SIZE + 8])
{
    char digits[UNITS_TEXT_SIZE];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = text_out;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
}
