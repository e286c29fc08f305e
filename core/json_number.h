/*
 * core/json_number.h - numbers as JSON text, into memory that is there.
 *
 * Internal to core/json_*.c. All write in front of `end`, where so many bytes are free, and
 * return the first character.
 */
#ifndef DAYBOOK_CORE_JSON_NUMBER_H
#define DAYBOOK_CORE_JSON_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

enum { JSON_NUMBER_TEXT_SIZE = 40 };

char *json_number_integer(char *end, bool negative, uint64_t magnitude);
/*
 * A double that is a decimal of few digits, as nearly every measured value is; NULL: it is none.
 * Always with a '.'; the shortest text that reads back equal.
 */
char *json_number_decimal(char *end, double value);

#endif
