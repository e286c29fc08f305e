/*
 * tests/campaigns/campaign.h - what each campaign program takes and prints.
 *
 *     NAME [--cases N] [--seed S] [--seconds T]
 *
 * `ok - sentence` and `not ok - sentence` lines, and `cases: NUMBER what` lines.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_CAMPAIGN_H
#define DAYBOOK_TESTS_CAMPAIGNS_CAMPAIGN_H

#include <stdbool.h>
#include <stdint.h>

struct campaign {
    uint64_t cases;
    uint64_t seed;
    int64_t deadline_ns; /* monotonic; INT64_MAX: none */
    unsigned failures;
};

/* Set cases and seed to the defaults first. Exits with a usage message when the arguments are
 * wrong. */
void campaign_parse(struct campaign *campaign, int count, char **arguments);
bool campaign_is_over(const struct campaign *campaign);

/* One sentence: did it hold? */
void campaign_say(struct campaign *campaign, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void campaign_count(uint64_t number, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A fresh directory below $TMPDIR or /var/tmp, removed with all in it when the program exits. */
const char *campaign_directory(void);

#endif
