/*
 * core/decimal.h - unsigned decimal numbers as people type them, exact to the ninth digit.
 *
 * For core/units.h. "1.5" is the whole 1 and 500,000,000 billionths.
 */
#ifndef DAYBOOK_CORE_DECIMAL_H
#define DAYBOOK_CORE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

struct decimal {
    uint64_t whole;
    uint32_t billionths; /* digits behind the ninth are dropped */
};

/*
 * Read digits, perhaps with a '.' and more digits, from *at on and move *at behind them. False, and
 * nothing changed: there is no digit where one must be, or the whole does not fit.
 */
bool decimal_read(const char **at, const char *end, struct decimal *decimal_out);

/* Exactly that many digits; an int holds them if there are at most nine. */
bool decimal_read_digits(const char **at, const char *end, int digits, int *value_out);

/* number * unit, rounded down; false when it does not fit. */
bool decimal_scale(struct decimal number, uint64_t unit, uint64_t *product_out);

#endif
