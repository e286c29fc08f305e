/*
 * The order of writes, syncs and acknowledgements (tools/torture/order.h) while several threads
 * append, wait and read, and segments roll.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/reader.h"
#include "tests/campaigns/faults.h"
#include "tools/torture/order.h"

enum { PRODUCERS = 4, SEGMENT_BYTES = 65536, PAYLOAD_BYTES_MAX = 3000 };

struct workload {
    const char *path;
    struct segment_log *_Atomic log;
    uint64_t events; /* for each producer */
    _Atomic uint64_t acknowledged;
    atomic_bool done, failed;
};

static uint64_t durable(void *context)
{
    struct workload *workload = context;
    struct segment_log *log = atomic_load(&workload->log);
    return log ? segment_log_durable(log) : 0;
}

/* Appends a few, waits for the last, and again. */
static void *produce(void *context)
{
    struct workload *workload = context;
    struct segment_log *log = atomic_load(&workload->log);
    uint8_t *payload = faults_case_payload(1, PAYLOAD_BYTES_MAX);
    uint64_t state = (uint64_t)(uintptr_t)&payload, sequence = 0;
    enum segment_log_outcome outcome;

    for (uint64_t sent = 0; sent < workload->events && !atomic_load(&workload->failed);) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        for (uint64_t i = 0; i <= (state >> 40) % 8; i++, sent++) {
            struct event event = {
                .time_ns = 1,
                .topic = "t",
                .topic_bytes = 1,
                .payload = payload,
                .payload_bytes = 1 + (state >> (20 + i)) % PAYLOAD_BYTES_MAX,
            };
            while (segment_log_append(log, &event, &outcome, &sequence, NULL) == ERROR_BUSY)
                segment_log_wait_room(log);
        }
        if (segment_log_wait(log, sequence, NULL))
            atomic_store(&workload->failed, true);
        order_check(sequence);
    }
    free(payload);
    return NULL;
}

/* What other processes are told by the shared page must be as certain. */
static void *watch(void *context)
{
    struct workload *workload = context;
    struct segment_reader *reader = NULL;

    if (segment_reader_open(workload->path, &reader, NULL))
        atomic_store(&workload->failed, true);
    while (!atomic_load(&workload->done) && !atomic_load(&workload->failed)) {
        uint64_t seen = segment_reader_watermark(reader);
        order_check(seen);
        segment_reader_seek(reader, seen + 1, NULL);
        segment_reader_wait(reader, 1);
    }
    segment_reader_close(reader);
    return NULL;
}

static void run_threads(struct workload *workload)
{
    pthread_t producers[PRODUCERS], watcher;

    for (int i = 0; i < PRODUCERS; i++)
        if (pthread_create(&producers[i], NULL, produce, workload))
            abort();
    if (pthread_create(&watcher, NULL, watch, workload))
        abort();
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i], NULL);
    atomic_store(&workload->done, true);
    pthread_join(watcher, NULL);
}

uint64_t faults_order_run(uint64_t events, bool by_map)
{
    struct faults_place *place = faults_place_create(FAULTS_DISK_SIMULATED);
    struct workload workload = {.path = faults_place_path(place), .events = events / PRODUCERS + 1};
    struct segment_log_options options = {
        .segment_bytes = SEGMENT_BYTES,
        .write_path = by_map ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
    };
    struct segment_log *log = NULL;
    struct order_counts counts;
    struct error error = {0};

    faults_place_clear(place);
    struct order_start start = {
        .inner = faults_place_calls(place), .durable = durable, .context = &workload};
    file_calls_use(order_start(&start));
    enum error_code code = segment_log_open(workload.path, &options, &log, NULL, &error);
    if (!code) {
        atomic_store(&workload.log, log);
        run_threads(&workload);
        atomic_store(&workload.log, NULL);
        code = segment_log_close(log, &error);
    }
    order_count(&counts);
    bool good = !code && !atomic_load(&workload.failed) && counts.violations == 0 &&
                counts.events >= events && counts.segments > events / 400;
    printf("%s - events %s are acknowledged when, and only when, their write, their sync and the "
           "sync of their segment's name are done%s%s%s\n",
           good ? "ok" : "not ok", by_map ? "stored through a map" : "written by calls",
           good ? "" : ": ", code ? error.text : "", counts.first_violation);
    printf("# %" PRIu64 " events, %" PRIu64 " syncs, %" PRIu64 " segments, %" PRIu64
           " violations\n",
           counts.events, counts.syncs, counts.segments, counts.violations);
    file_calls_use(NULL);
    order_stop();
    faults_place_clear(place);
    faults_place_free(place);
    return good ? counts.events : 0;
}
