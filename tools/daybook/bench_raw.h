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
/*
 * Both: to another process, which writes 280 bytes, fdatasyncs, and sends the 200 back. That is the
 * least that a durable server can do. It takes longer than its parts one by one, as both processes
 * sleep while the disk works and have to be woken.
 */
enum error_code bench_raw_server(const struct bench *bench, struct error *error);
/* How long the file system takes to delete a file of so many bytes, all of them written. */
enum error_code bench_raw_unlink(const struct bench *bench, uint64_t bytes, double *seconds_out,
                                 struct error *error);
/*
 * Write and fdatasync 100 times a second: *share_out is of one processor, for this thread and what
 * the kernel does on it.
 */
enum error_code bench_raw_steady(const struct bench *bench, double *share_out,
                                 struct error *error);

#endif
