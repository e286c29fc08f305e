/*
 * core/units.h - times, durations and sizes as people type and read them.
 *
 * Text is bounded by its length, needs no NUL, and must be consumed whole.
 */
#ifndef DAYBOOK_CORE_UNITS_H
#define DAYBOOK_CORE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

/* "64M", "4096", "1.5G": base 1024; suffix K M G T (P E), either case, an optional "B" or "iB"
 * after it.
 */
enum error_code units_parse_size(const char *text, uint64_t *bytes_out, struct error *error);
/* "30d", "90m", "1h30m", "250ms", "1w": s m h d w, also ms us ns; a bare number is seconds. */
enum error_code units_parse_duration(const char *text, int64_t *ns_out, struct error *error);

enum units_zone { UNITS_UTC, UNITS_LOCAL }; /* what a time without a zone means */

/*
 * A time as a person types it: "2026-01-02 03:04:05[.fff]", "2026-01-02", "03:04[:05]", "now",
 * "today", "yesterday", "tomorrow", "-1h" and "+5m" (relative to `now_ns`), RFC 3339 with T and Z
 * or an offset,
 * "@1757386981[.5]" seconds since the epoch. 9 digits of fraction are kept, more are dropped.
 */
enum error_code units_parse_time(const char *text, size_t text_bytes, enum units_zone zone,
                                 int64_t now_ns, int64_t *time_ns_out, struct error *error);

/*
 * A time as data has it (--time-field): ISO text, absolute only (without a zone: UTC).
 */
enum error_code units_parse_data_time(const char *text, size_t text_bytes, int64_t *time_ns_out,
                                      struct error *error);
/*
 * … or a number: below 1e11 it is seconds, below 1e14 milliseconds, below 1e17 microseconds, else
 * nanoseconds since the epoch. Nanoseconds in 64 bits end in 2262, and so do all times. Fractions
 * of seconds are rounded to microseconds: a double holds no more today.
 */
enum error_code units_data_time_from_real(double value, int64_t *time_ns_out, struct error *error);
enum error_code units_data_time_from_integer(int64_t value, int64_t *time_ns_out,
                                             struct error *error);
/* … or one of both as a JSON document has it, converted to msgpack: text or number. */
struct msgpack_value;
enum error_code units_data_time_from_value(const struct msgpack_value *value, int64_t *time_ns_out,
                                           struct error *error);

#define UNITS_TIME_TEXT_SIZE 40
/* "2025-09-09T03:03:01.642318000Z", always 9 digits. */
void units_format_time_utc(int64_t time_ns, char text_out[UNITS_TIME_TEXT_SIZE]);
/* "Sep 09 05:03:01.642318" in the zone asked for, for people. */
void units_format_time_short(int64_t time_ns, enum units_zone zone,
                             char text_out[UNITS_TIME_TEXT_SIZE]);

#define UNITS_TEXT_SIZE 24
/* "1.4 MiB", "312 B". */
void units_format_size(uint64_t bytes, char text_out[UNITS_TEXT_SIZE]);
/* "104 us", "2.31 s", "3 d 4 h". */
void units_format_duration(int64_t ns, char text_out[UNITS_TEXT_SIZE]);
/* "1,402". */
void units_format_count(uint64_t count, char text_out[UNITS_TEXT_SIZE + 8]);

#endif
