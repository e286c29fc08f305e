/*
 * tools/daybook/bench_pool.h - the events of the benchmarks, made before any clock starts.
 *
 * Every side stores the same ones, over and over.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_POOL_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct bench_pool_event {
    const char *topic; /* NUL-terminated */
    size_t topic_bytes;
    const void *msgpack;
    size_t msgpack_bytes;
    const char *json; /* the same payload as text, not NUL-terminated */
    size_t json_bytes;
};

struct bench_pool;

enum error_code bench_pool_create(uint64_t seed, struct bench_pool **pool_out, struct error *error);
/* The `index`th event, counted from 0; begins again when there are no more. Borrowed. */
const struct bench_pool_event *bench_pool_event(const struct bench_pool *pool, uint64_t index);
double bench_pool_json_bytes_mean(const struct bench_pool *pool);
double bench_pool_msgpack_bytes_mean(const struct bench_pool *pool);
/* Accepts NULL. */
void bench_pool_free(struct bench_pool *pool);

#endif
