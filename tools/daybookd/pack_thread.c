#include "tools/daybookd/pack_thread.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/units.h"
#include "segment/packer.h"

enum {
    RETRY_LOOKS = 60, /* between two tries after trouble that may pass */
    LEFT_MAX = 256,
    PACK_NICE = 19,
    REST_PARTS = 4, /* beside a log in use, so many times as long as it works */
};
#define WORK_NS     (INT64_C(5) * 1000000) /* … and works for so long at a time */
#define REST_MAX_NS (INT64_C(200) * 1000000)
#define LOOK_NS     (INT64_C(1) * 1000000000)

/* A file that cannot be packed, as long as it is the same. */
struct left {
    uint64_t sequence_first;
    uint32_t header_checksum;
};

struct pack_thread {
    const char *directory;
    struct segment_log *log;
    const struct report *report;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t mutex; /* for the sleep */
    pthread_cond_t stopped;
    /* The thread's own. */
    struct left left[LEFT_MAX];
    size_t left_count, left_next;
    enum error_code told; /* of trouble that may pass: it is reported once */
    unsigned looks_left;  /* until the next try, after such trouble */
    uint64_t rolls;       /* of the log, when its segments were packed last */
    int64_t resumed_ns;   /* monotonic; the thread works since */
    uint64_t durable;     /* the log's last event then */
    bool begun;
};

/* Until then, or until the thread is to end. */
static void sleep_until(struct pack_thread *thread, int64_t monotonic_ns)
{
    struct timespec until = {.tv_sec = monotonic_ns / 1000000000,
                             .tv_nsec = monotonic_ns % 1000000000};
    pthread_mutex_lock(&thread->mutex);
    while (!atomic_load(&thread->stopping) &&
           pthread_cond_timedwait(&thread->stopped, &thread->mutex, &until) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&thread->mutex);
}

static void resume(struct pack_thread *thread)
{
    thread->resumed_ns = clock_monotonic_ns();
    thread->durable = segment_log_durable(thread->log);
}

/*
 * Commits wait for the same disk. A segment that is packed later costs space for a while; one that
 * is packed at full speed beside a log in use costs every producer.
 */
static void give_way(struct pack_thread *thread)
{
    int64_t now = clock_monotonic_ns(), worked = now - thread->resumed_ns;
    if (worked < WORK_NS)
        return;
    int64_t rest = REST_PARTS * worked;
    if (segment_log_durable(thread->log) != thread->durable)
        sleep_until(thread, now + (rest < REST_MAX_NS ? rest : REST_MAX_NS));
    resume(thread);
}

/* Asked at each block. */
static bool is_stopped(void *context)
{
    struct pack_thread *thread = context;
    give_way(thread);
    return atomic_load(&thread->stopping);
}

static void tell_packed(void *context, const struct segment_set_segment *segment,
                        const struct segment_pack_result *result)
{
    struct pack_thread *thread = context;
    char before[UNITS_TEXT_SIZE], after[UNITS_TEXT_SIZE];
    units_format_size(result->bytes_before, before);
    units_format_size(result->bytes_after, after);
    report_line(thread->report, REPORT_DETAIL, "packed %s: %s, was %s", segment->name, after,
                before);
}

static bool is_wanted(void *context, const struct segment_set_segment *segment)
{
    const struct pack_thread *thread = context;
    for (size_t i = 0; i < thread->left_count; i++)
        if (thread->left[i].sequence_first == segment->sequence_first &&
            thread->left[i].header_checksum == segment->header_checksum)
            return false;
    return true;
}

/* Will it be the same the next time? Then looking at every byte again would be for nothing. */
static bool is_final(enum error_code code)
{
    return code == ERROR_DAMAGED || code == ERROR_FULL || code == ERROR_FOREIGN ||
           code == ERROR_VERSION;
}

static void tell_left(void *context, const struct segment_set_segment *segment,
                      const struct error *why)
{
    struct pack_thread *thread = context;
    if (is_final(why->code) && segment) {
        /* Beyond so many the oldest is looked at, and told, again. */
        thread->left[thread->left_next] =
            (struct left){segment->sequence_first, segment->header_checksum};
        thread->left_next = (thread->left_next + 1) % LEFT_MAX;
        thread->left_count += thread->left_count < LEFT_MAX;
    } else {
        thread->looks_left = RETRY_LOOKS;
        if (thread->told == why->code)
            return;
        thread->told = why->code;
    }
    report_line(thread->report, why->code == ERROR_DAMAGED ? REPORT_ERROR : REPORT_WARNING,
                "%s (it stays as it is, the log goes on)", why->text);
}

static void pack(struct pack_thread *thread)
{
    struct segment_packer_watcher watcher = {is_stopped, is_wanted, tell_packed, tell_left, thread};
    struct segment_packer_totals totals = {0};
    struct error why;
    enum error_code code = segment_packer_run(thread->directory, &watcher, &totals, &why);
    if (code == ERROR_BUSY) /* who packs by hand does it for us; look again when he is done */
        thread->looks_left = RETRY_LOOKS;
    else if (code)
        tell_left(thread, NULL, &why);
    if (thread->looks_left == 0)
        thread->told = OK;
}

/* Something was sealed since the last run; or after trouble, when its time has come. */
static void look(struct pack_thread *thread)
{
    uint64_t rolls = segment_log_rolls(thread->log);
    bool waits = thread->looks_left > 0 && --thread->looks_left > 0;
    bool due = thread->told || !thread->begun || rolls != thread->rolls;
    if (waits || !due)
        return;
    thread->begun = true;
    thread->rolls = rolls;
    resume(thread);
    pack(thread);
}

static void *run(void *context)
{
    struct pack_thread *thread = context;
    /* Of this thread only, on Linux. Whoever wakes comes first, and gets 70 times as much. */
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
    setpriority(PRIO_PROCESS, (id_t)gettid(), PACK_NICE);
    while (!atomic_load(&thread->stopping)) {
        look(thread);
        sleep_until(thread, clock_monotonic_ns() + LOOK_NS);
    }
    return NULL;
}

enum error_code pack_thread_start(const char *directory, struct segment_log *log,
                                  const struct report *report, struct pack_thread **thread_out,
                                  struct error *error)
{
    struct pack_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return error_set(error, ERROR_MEMORY, "no memory for the packing thread");
    thread->directory = directory;
    thread->log = log;
    thread->report = report;
    pthread_condattr_t monotonic;
    pthread_mutex_init(&thread->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&thread->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int failed = pthread_create(&thread->thread, NULL, run, thread);
    if (failed) {
        free(thread);
        return error_set_errno(error, failed, "start the packing thread");
    }
    pthread_setname_np(thread->thread, "packer");
    *thread_out = thread;
    return OK;
}

void pack_thread_stop(struct pack_thread *thread)
{
    if (!thread)
        return;
    pthread_mutex_lock(&thread->mutex);
    atomic_store(&thread->stopping, true);
    pthread_cond_broadcast(&thread->stopped);
    pthread_mutex_unlock(&thread->mutex);
    pthread_join(thread->thread, NULL);
    pthread_cond_destroy(&thread->stopped);
    pthread_mutex_destroy(&thread->mutex);
    free(thread);
}
