/*
 * tools/daybook/bench_machine.h - on what machine a benchmark ran.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_MACHINE_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_MACHINE_H

#include <stdint.h>

struct bench_machine {
    char processor[80];
    long processors;
    uint64_t memory_bytes;
    char kernel[140];
    double load; /* runnable processes, mean of the last minute */
};

/* What cannot be found out stays "unknown" or 0. */
void bench_machine_describe(struct bench_machine *machine_out);

#endif
