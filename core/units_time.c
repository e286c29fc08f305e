/* Times: the second half of core/units.h. */
#include "core/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/decimal.h"
#include "core/msgpack.h"

#define NS_PER_SECOND   INT64_C(1000000000)
#define SECONDS_PER_DAY INT64_C(86400)

/* A date and time of day, without a zone. */
struct civil {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
    int nanosecond;
};

/*
 * Days since 1970-01-01 in the Gregorian calendar. Years start in March here, so that the leap day
 * is the last one (Hinnant, "chrono-compatible low-level date algorithms").
 */
static int64_t days_from_date(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, struct civil *civil)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    civil->day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    civil->month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    civil->year = (int)(year_of_era + era * 400 + (civil->month <= 2));
}

static int64_t divide_down(int64_t value, int64_t divisor)
{
    return value / divisor - (value % divisor < 0);
}

static struct civil civil_utc(int64_t seconds)
{
    struct civil civil = {0};
    int64_t days = divide_down(seconds, SECONDS_PER_DAY);
    int second_of_day = (int)(seconds - days * SECONDS_PER_DAY);
    date_from_days(days, &civil);
    civil.hour = second_of_day / 3600;
    civil.minute = second_of_day / 60 % 60;
    civil.second = second_of_day % 60;
    return civil;
}

static struct civil civil_local(int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm tm;
    if (!localtime_r(&time, &tm))
        return civil_utc(seconds);
    return (struct civil){
        .year = tm.tm_year + 1900,
        .month = tm.tm_mon + 1,
        .day = tm.tm_mday,
        .hour = tm.tm_hour,
        .minute = tm.tm_min,
        .second = tm.tm_sec,
    };
}

static struct civil civil_from_ns(int64_t time_ns, enum units_zone zone)
{
    int64_t seconds = divide_down(time_ns, NS_PER_SECOND);
    struct civil civil = zone == UNITS_UTC ? civil_utc(seconds) : civil_local(seconds);
    /* Not by a product: at the lower end it would leave 64 bits. */
    int nanosecond = (int)(time_ns % NS_PER_SECOND);
    civil.nanosecond = nanosecond < 0 ? nanosecond + (int)NS_PER_SECOND : nanosecond;
    return civil;
}

static int64_t seconds_utc(const struct civil *civil)
{
    return days_from_date(civil->year, civil->month, civil->day) * SECONDS_PER_DAY +
           civil->hour * 3600 + civil->minute * 60 + civil->second;
}

/* Where a summer time makes an hour happen twice or not at all, libc chooses. */
static int64_t seconds_local(const struct civil *civil)
{
    struct tm tm = {
        .tm_year = civil->year - 1900,
        .tm_mon = civil->month - 1,
        .tm_mday = civil->day,
        .tm_hour = civil->hour,
        .tm_min = civil->minute,
        .tm_sec = civil->second,
        .tm_isdst = -1,
    };
    return (int64_t)mktime(&tm);
}

/* False when nanoseconds in 64 bits, 1677 to 2262, do not reach so far. */
static bool ns_from_seconds(int64_t seconds, int64_t nanosecond, int64_t *time_ns_out)
{
    /* One second towards zero first: the product may be out of range where the sum is not. */
    if (seconds < 0) {
        seconds++;
        nanosecond -= NS_PER_SECOND;
    }
    int64_t whole, time_ns;
    if (__builtin_mul_overflow(seconds, NS_PER_SECOND, &whole) ||
        __builtin_add_overflow(whole, nanosecond, &time_ns) || time_ns == INT64_MIN)
        return false;
    *time_ns_out = time_ns;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return DAYS[month - 1] + (month == 2 && leap);
}

static bool take(const char **at, const char *end, char c)
{
    if (*at == end || **at != c)
        return false;
    ++*at;
    return true;
}

/* "2026-01-02" */
static bool read_date(const char **at, const char *end, struct civil *civil)
{
    const char *next = *at;
    if (!decimal_read_digits(&next, end, 4, &civil->year) || !take(&next, end, '-') ||
        !decimal_read_digits(&next, end, 2, &civil->month) || !take(&next, end, '-') ||
        !decimal_read_digits(&next, end, 2, &civil->day))
        return false;
    if (civil->month < 1 || civil->month > 12 || civil->day < 1 ||
        civil->day > days_in_month(civil->year, civil->month))
        return false;
    *at = next;
    return true;
}

/* Up to nine digits; those behind are dropped. */
static bool read_fraction(const char **at, const char *end, int *nanosecond_out)
{
    int nanosecond = 0;
    int digits = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at, digits++)
        if (digits < 9)
            nanosecond = nanosecond * 10 + (**at - '0');
    if (digits == 0)
        return false;
    for (; digits < 9; digits++)
        nanosecond *= 10;
    *nanosecond_out = nanosecond;
    return true;
}

/* "03:04", "03:04:05", "03:04:05.123"; a second 60 is the leap second, the next minute's 0. */
static bool read_time_of_day(const char **at, const char *end, struct civil *civil)
{
    if (!decimal_read_digits(at, end, 2, &civil->hour) || !take(at, end, ':') ||
        !decimal_read_digits(at, end, 2, &civil->minute))
        return false;
    if (take(at, end, ':')) {
        if (!decimal_read_digits(at, end, 2, &civil->second))
            return false;
        if (take(at, end, '.') && !read_fraction(at, end, &civil->nanosecond))
            return false;
    }
    return civil->hour <= 23 && civil->minute <= 59 && civil->second <= 60;
}

struct offset {
    bool given;
    int seconds; /* east of UTC */
};

/* "Z", "+01:00", "-0530", "+02", or nothing. */
static bool read_offset(const char **at, const char *end, struct offset *offset_out)
{
    *offset_out = (struct offset){0};
    if (*at == end)
        return true;
    offset_out->given = true;
    if (take(at, end, 'Z') || take(at, end, 'z'))
        return true;
    bool west = **at == '-';
    if (!take(at, end, '-') && !take(at, end, '+'))
        return false;
    int hours = 0, minutes = 0;
    if (!decimal_read_digits(at, end, 2, &hours))
        return false;
    bool colon = take(at, end, ':');
    if ((colon || *at < end) && !decimal_read_digits(at, end, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    offset_out->seconds = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

/* A date, perhaps with a time of day, perhaps with an offset. */
static bool read_absolute(const char *at, const char *end, struct civil *civil_out,
                          struct offset *offset_out)
{
    struct civil civil = {0};
    *offset_out = (struct offset){0};
    if (!read_date(&at, end, &civil))
        return false;
    if (at < end) {
        if (!take(&at, end, 'T') && !take(&at, end, 't') && !take(&at, end, ' '))
            return false;
        if (!read_time_of_day(&at, end, &civil))
            return false;
        take(&at, end, ' ');
        if (!read_offset(&at, end, offset_out))
            return false;
    }
    if (at != end)
        return false;
    *civil_out = civil;
    return true;
}

static enum error_code refuse_range(const char *text, size_t bytes, struct error *error)
{
    return error_set(error, ERROR_INVALID,
                     "the time '%.*s' is outside of the years 1678 to 2261 that can be stored",
                     bytes > 60 ? 60 : (int)bytes, text);
}

static enum error_code ns_from_civil(const struct civil *civil, struct offset offset,
                                     enum units_zone zone, const char *text, size_t text_bytes,
                                     int64_t *time_ns_out, struct error *error)
{
    int64_t seconds = offset.given || zone == UNITS_UTC ? seconds_utc(civil) - offset.seconds
                                                        : seconds_local(civil);
    if (!ns_from_seconds(seconds, civil->nanosecond, time_ns_out))
        return refuse_range(text, text_bytes, error);
    return OK;
}

enum error_code units_parse_data_time(const char *text, size_t text_bytes, int64_t *time_ns_out,
                                      struct error *error)
{
    struct civil civil;
    struct offset offset;
    if (!read_absolute(text, text + text_bytes, &civil, &offset))
        return error_set(error, ERROR_INVALID,
                         "'%.*s' is not a time; expected is ISO 8601, such as "
                         "2026-01-02T03:04:05.678Z",
                         text_bytes > 60 ? 60 : (int)text_bytes, text);
    return ns_from_civil(&civil, offset, UNITS_UTC, text, text_bytes, time_ns_out, error);
}

static bool equals(const char *text, size_t text_bytes, const char *word)
{
    return text_bytes == strlen(word) && memcmp(text, word, text_bytes) == 0;
}

/* "-1h", "+5m": away from now. */
static enum error_code parse_relative(const char *text, size_t text_bytes, int64_t now_ns,
                                      int64_t *time_ns_out, struct error *error)
{
    char duration[64];
    if (text_bytes - 1 >= sizeof duration)
        return error_set(error, ERROR_INVALID, "the time '%.60s...' is too long", text);
    if (memchr(text, '\0', text_bytes))
        return error_set(error, ERROR_INVALID, "a time has no NUL in it");
    memcpy(duration, text + 1, text_bytes - 1);
    duration[text_bytes - 1] = '\0';
    int64_t ns = 0;
    enum error_code code = units_parse_duration(duration, &ns, error);
    if (code)
        return code;
    int64_t time_ns;
    if (__builtin_add_overflow(now_ns, text[0] == '-' ? -ns : ns, &time_ns) || time_ns == INT64_MIN)
        return refuse_range(text, text_bytes, error);
    *time_ns_out = time_ns;
    return OK;
}

/* "@1757386981.5" */
static bool parse_epoch(const char *text, size_t text_bytes, int64_t *time_ns_out)
{
    const char *at = text + 1;
    const char *end = text + text_bytes;
    bool negative = take(&at, end, '-');
    struct decimal number;
    uint64_t ns;
    if (!decimal_read(&at, end, &number) || at != end ||
        !decimal_scale(number, (uint64_t)NS_PER_SECOND, &ns) || ns > INT64_MAX)
        return false;
    *time_ns_out = negative ? -(int64_t)ns : (int64_t)ns;
    return true;
}

/* Which day, counted from today, the word means. */
static bool day_word(const char *text, size_t text_bytes, int *days_out)
{
    static const struct {
        const char *word;
        int days;
    } WORDS[] = {{"today", 0}, {"yesterday", -1}, {"tomorrow", 1}};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (equals(text, text_bytes, WORDS[i].word)) {
            *days_out = WORDS[i].days;
            return true;
        }
    return false;
}

static struct civil midnight(int64_t now_ns, enum units_zone zone, int days_from_today)
{
    struct civil today = civil_from_ns(now_ns, zone);
    struct civil day = {0};
    date_from_days(days_from_date(today.year, today.month, today.day) + days_from_today, &day);
    return day;
}

/* Every form that names a date and a time of day, or lacks one of them. */
static bool read_civil(const char *text, size_t text_bytes, enum units_zone zone, int64_t now_ns,
                       struct civil *civil_out, struct offset *offset_out)
{
    const char *at = text;
    const char *end = text + text_bytes;
    int days = 0;
    *offset_out = (struct offset){0};
    if (day_word(text, text_bytes, &days)) {
        *civil_out = midnight(now_ns, zone, days);
        return true;
    }
    struct civil today = midnight(now_ns, zone, 0);
    if (read_time_of_day(&at, end, &today) && at == end) {
        *civil_out = today;
        return true;
    }
    return read_absolute(text, end, civil_out, offset_out);
}

enum error_code units_parse_time(const char *text, size_t text_bytes, enum units_zone zone,
                                 int64_t now_ns, int64_t *time_ns_out, struct error *error)
{
    if (equals(text, text_bytes, "now")) {
        *time_ns_out = now_ns;
        return OK;
    }
    if (text_bytes > 1 && (text[0] == '-' || text[0] == '+'))
        return parse_relative(text, text_bytes, now_ns, time_ns_out, error);
    if (text_bytes > 1 && text[0] == '@' && parse_epoch(text, text_bytes, time_ns_out))
        return OK;

    struct civil civil;
    struct offset offset;
    if (read_civil(text, text_bytes, zone, now_ns, &civil, &offset))
        return ns_from_civil(&civil, offset, zone, text, text_bytes, time_ns_out, error);
    return error_set(error, ERROR_INVALID,
                     "'%.*s' is not a time; examples: 2026-01-02 03:04:05, 03:04, today, -1h, "
                     "2026-01-02T03:04:05Z, @1767323045",
                     text_bytes > 60 ? 60 : (int)text_bytes, text);
}

enum error_code units_data_time_from_real(double value, int64_t *time_ns_out, struct error *error)
{
    double magnitude = fabs(value);
    double microseconds = magnitude < 1e11   ? value * 1e6
                          : magnitude < 1e14 ? value * 1e3
                          : magnitude < 1e17 ? value
                                             : value / 1e3;
    /* Written so that NaN is refused too. */
    if (!(fabs(microseconds) < 9.2233720368547e15))
        return error_set(error, ERROR_INVALID,
                         "the time %g is outside of the years 1678 to 2261 that can be stored",
                         value);
    *time_ns_out =
        magnitude < 1e17 ? (int64_t)llround(microseconds) * 1000 : (int64_t)llround(value);
    return OK;
}

enum error_code units_data_time_from_integer(int64_t value, int64_t *time_ns_out,
                                             struct error *error)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    int64_t unit = magnitude < UINT64_C(100000000000)         ? NS_PER_SECOND
                   : magnitude < UINT64_C(100000000000000)    ? 1000000
                   : magnitude < UINT64_C(100000000000000000) ? 1000
                                                              : 1;
    int64_t time_ns;
    if (__builtin_mul_overflow(value, unit, &time_ns) || time_ns == INT64_MIN)
        return error_set(error, ERROR_INVALID,
                         "the time %lld is outside of the years 1678 to 2261 that can be stored",
                         (long long)value);
    *time_ns_out = time_ns;
    return OK;
}

enum error_code units_data_time_from_value(const struct msgpack_value *value, int64_t *time_ns_out,
                                           struct error *error)
{
    switch (value->kind) {
    case MSGPACK_KIND_STR:
        return units_parse_data_time(value->bytes, value->count, time_ns_out, error);
    case MSGPACK_KIND_FLOAT:
        return units_data_time_from_real(value->real, time_ns_out, error);
    case MSGPACK_KIND_INT:
        return units_data_time_from_integer(value->signed_, time_ns_out, error);
    case MSGPACK_KIND_UINT:
        if (value->unsigned_ <= INT64_MAX)
            return units_data_time_from_integer((int64_t)value->unsigned_, time_ns_out, error);
        return error_set(error, ERROR_INVALID, "the number is beyond every time");
    default:
        return error_set(error, ERROR_INVALID, "a time is text or a number");
    }
}

/* Exactly `digits` digits, and the address behind them. */
static char *put(char *to, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        to[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return to + digits;
}

static char *put_char(char *to, char c)
{
    *to = c;
    return to + 1;
}

/* By hand, because every event that is indexed or shown passes here. */
void units_format_time_utc(int64_t time_ns, char text_out[UNITS_TIME_TEXT_SIZE])
{
    struct civil civil = civil_from_ns(time_ns, UNITS_UTC);
    char *to = put_char(put(text_out, civil.year, 4), '-');
    to = put_char(put(to, civil.month, 2), '-');
    to = put_char(put(to, civil.day, 2), 'T');
    to = put_char(put(to, civil.hour, 2), ':');
    to = put_char(put(to, civil.minute, 2), ':');
    to = put_char(put(to, civil.second, 2), '.');
    to = put_char(put(to, civil.nanosecond, 9), 'Z');
    *to = '\0';
}

void units_format_time_short(int64_t time_ns, enum units_zone zone,
                             char text_out[UNITS_TIME_TEXT_SIZE])
{
    static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil civil = civil_from_ns(time_ns, zone);
    memcpy(text_out, MONTHS + 3 * (civil.month - 1), 3);
    char *to = put_char(text_out + 3, ' ');
    to = put_char(put(to, civil.day, 2), ' ');
    to = put_char(put(to, civil.hour, 2), ':');
    to = put_char(put(to, civil.minute, 2), ':');
    to = put_char(put(to, civil.second, 2), '.');
    to = put(to, civil.nanosecond / 1000, 6);
    *to = '\0';
}
