/*
 * tools/daybook/bench_raw.h - the limits that no durable log behind a socket can beat.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_RAW_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_RAW_H

#include "tools/daybook/bench.h"

/* What a suite calls its figures of it. */
struct bench_raw_names {
    const char *suite, *p50, *p99;
};
/* Write one record of 280 bytes into a zero-filled file and fdatasync, again and again. */
enum error_code bench_raw_commit(const struct bench *bench, const struct bench_raw_names *names,
                                 struct error *error);
/* 200 bytes to another process and back over a Unix stream socket, again and again. */
enum error_code bench_raw_socket(const struct bench *bench, struct error *error);

#endif
