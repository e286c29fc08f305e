#include "core/schema_format.h"

#include <arpa/inet.h>
#include <string.h>

#include "core/bytes.h"
#include "core/decimal.h"

static const char *const names[] = {
    [SCHEMA_FORMAT_DATE_TIME] = "date-time",
    [SCHEMA_FORMAT_UUID] = "uuid",
    [SCHEMA_FORMAT_IPV4] = "ipv4",
    [SCHEMA_FORMAT_IPV6] = "ipv6",
};

enum schema_format schema_format_find(const char *name, size_t name_bytes)
{
    for (unsigned i = 1; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == name_bytes && memcmp(names[i], name, name_bytes) == 0)
            return (enum schema_format)i;
    return SCHEMA_FORMAT_NONE;
}

const char *schema_format_name(enum schema_format format)
{
    return names[format];
}

static bool take_mark(const char **at, const char *end, const char *marks)
{
    if (*at == end || !**at || !strchr(marks, **at))
        return false;
    ++*at;
    return true;
}

static bool take_number(const char **at, const char *end, int digits, int low, int high, int *out)
{
    return decimal_read_digits(at, end, digits, out) && *out >= low && *out <= high;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(const char **at, const char *end)
{
    int year, month, day;
    return take_number(at, end, 4, 0, 9999, &year) && take_mark(at, end, "-") &&
           take_number(at, end, 2, 1, 12, &month) && take_mark(at, end, "-") &&
           take_number(at, end, 2, 1, days_of_month(year, month), &day);
}

static bool take_fraction(const char **at, const char *end)
{
    if (*at == end || **at != '.')
        return true;
    const char *first = ++*at;
    while (*at < end && **at >= '0' && **at <= '9')
        ++*at;
    return *at > first;
}

/* Minutes east of UTC. */
static bool take_zone(const char **at, const char *end, int *minutes_out)
{
    int hours, minutes;
    *minutes_out = 0;
    if (take_mark(at, end, "Zz"))
        return true;
    bool west = *at < end && **at == '-';
    if (!take_mark(at, end, "+-") || !take_number(at, end, 2, 0, 23, &hours) ||
        !take_mark(at, end, ":") || !take_number(at, end, 2, 0, 59, &minutes))
        return false;
    *minutes_out = (west ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

static bool is_date_time(const char *at, const char *end)
{
    enum { DAY = 24 * 60 };
    int hour, minute, second, zone;
    if (!take_date(&at, end) || !take_mark(&at, end, "Tt") ||
        !take_number(&at, end, 2, 0, 23, &hour) || !take_mark(&at, end, ":") ||
        !take_number(&at, end, 2, 0, 59, &minute) || !take_mark(&at, end, ":") ||
        !take_number(&at, end, 2, 0, 60, &second) || !take_fraction(&at, end) ||
        !take_zone(&at, end, &zone) || at != end)
        return false;
    /* A leap second is the last one of a day in UTC. */
    return second < 60 || (hour * 60 + minute - zone + 2 * DAY) % DAY == DAY - 1;
}

static bool is_uuid(const char *text, size_t bytes)
{
    if (bytes != 36)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : bytes_hex_digit(text[i]) < 0)
            return false;
    }
    return true;
}

static bool is_address(int family, const char *text, size_t bytes)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (bytes >= sizeof copy || memchr(text, 0, bytes))
        return false;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    return inet_pton(family, copy, &address) == 1;
}

bool schema_format_check(enum schema_format format, const char *text, size_t text_bytes)
{
    switch (format) {
    case SCHEMA_FORMAT_DATE_TIME:
        return is_date_time(text, text + text_bytes);
    case SCHEMA_FORMAT_UUID:
        return is_uuid(text, text_bytes);
    case SCHEMA_FORMAT_IPV4:
        return is_address(AF_INET, text, text_bytes);
    case SCHEMA_FORMAT_IPV6:
        return is_address(AF_INET6, text, text_bytes);
    case SCHEMA_FORMAT_NONE:
        break;
    }
    return true;
}
