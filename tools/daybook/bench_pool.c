#include "tools/daybook/bench_pool.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "tools/generator.h"

enum { POOL_EVENTS = 20000 }; /* 4 MB as msgpack: more than the processor's fast caches hold */

struct bench_pool {
    struct bench_pool_event events[POOL_EVENTS];
    struct buffer msgpack;
    struct buffer json;
};

/* Both buffers move while they grow, so only sizes are known until all events are there. */
static enum error_code make_events(struct bench_pool *pool, struct generator *generator,
                                   struct error *error)
{
    struct generator_event event;
    for (size_t i = 0; i < POOL_EVENTS && generator_next(generator, &event); i++) {
        size_t msgpack_start = pool->msgpack.size, json_start = pool->json.size;
        enum error_code code = generator_payload_msgpack(&event, &pool->msgpack, error);
        if (!code)
            code = generator_payload_json(&event, &pool->json, error);
        if (code)
            return code;
        pool->events[i].topic = event.topic;
        pool->events[i].topic_bytes = strlen(event.topic);
        pool->events[i].msgpack_bytes = pool->msgpack.size - msgpack_start;
        pool->events[i].json_bytes = pool->json.size - json_start;
    }
    return OK;
}

static void point_events(struct bench_pool *pool)
{
    const uint8_t *msgpack = pool->msgpack.data;
    const char *json = (const char *)pool->json.data;
    for (size_t i = 0; i < POOL_EVENTS; i++) {
        pool->events[i].msgpack = msgpack;
        pool->events[i].json = json;
        msgpack += pool->events[i].msgpack_bytes;
        json += pool->events[i].json_bytes;
    }
}

enum error_code bench_pool_create(uint64_t seed, struct bench_pool **pool_out, struct error *error)
{
    struct generator_options options = {
        .mode = GENERATOR_FLAT, .seed = seed, .count = POOL_EVENTS, .span_ns = INT64_C(1000000000)};
    struct generator *generator = NULL;
    struct bench_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return error_set(error, ERROR_MEMORY, "no memory for the benchmark's events");

    enum error_code code = generator_create(&options, &generator, error);
    if (!code)
        code = make_events(pool, generator, error);
    generator_free(generator);
    if (code) {
        bench_pool_free(pool);
        return code;
    }
    point_events(pool);
    *pool_out = pool;
    return OK;
}

const struct bench_pool_event *bench_pool_event(const struct bench_pool *pool, uint64_t index)
{
    return &pool->events[index % POOL_EVENTS];
}

double bench_pool_json_bytes_mean(const struct bench_pool *pool)
{
    return (double)pool->json.size / (double)POOL_EVENTS;
}

double bench_pool_msgpack_bytes_mean(const struct bench_pool *pool)
{
    return (double)pool->msgpack.size / (double)POOL_EVENTS;
}

void bench_pool_free(struct bench_pool *pool)
{
    if (!pool)
        return;
    buffer_release(&pool->msgpack);
    buffer_release(&pool->json);
    free(pool);
}
