/*
 * tools/daybookd/notices.h - what the daemon says about its clients, bounded.
 *
 * A client that comes, is refused and comes again a thousand times a second must neither fill the
 * disk that keeps the daemon's words nor cost the time of writing them. So lines about clients come
 * from a bucket that refills slowly; what was left out is counted and told in one line.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_NOTICES_H
#define DAYBOOK_TOOLS_DAYBOOKD_NOTICES_H

#include <stdint.h>

#include "tools/daybookd/report.h"

enum {
    NOTICES_AT_ONCE = 100,
    NOTICES_PER_SECOND = 10,
    NOTICES_SUMMARY_SECONDS = 10, /* between two lines about what was left out, at least */
    NOTICES_CODES = 16,           /* more than the protocol has */
};

struct notices_count {
    const char *code; /* of the protocol: a literal */
    uint64_t times;
};

struct notices {
    const struct report *report;
    int64_t refilled_ns, summarized_ns;
    unsigned left; /* lines in the bucket */
    uint64_t left_out;
    struct notices_count left_out_closings[NOTICES_CODES];
    uint64_t closed;      /* connections closed by us, since the start */
    uint64_t turned_away; /* clients that never became a connection */
};

void notices_init(struct notices *notices, const struct report *report, int64_t now_ns);
/* One line, or its omission. */
void notices_line(struct notices *notices, enum report_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a connection that we close, with the protocol's code. */
void notices_closing(struct notices *notices, uint64_t connection, const char *code,
                     const char *text);
/* Once a second or so: refill, and say what was left out. */
void notices_tick(struct notices *notices, int64_t now_ns);

#endif
