#include "tools/daybook/pace.h"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "core/clock.h"
#include "tools/daybook/interrupt.h"

/* A sleep ends up to so much too late, measured on an idle and on a busy machine. */
#define SPIN_NS   INT64_C(200000)
#define SECOND_NS INT64_C(1000000000)

void pace_init(struct pace *pace, double rate)
{
    *pace = (struct pace){.rate = rate};
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* 50 us otherwise */
    /*
     * Real-time priority, where it is allowed (root, or RLIMIT_RTPRIO): on a busy machine an
     * ordinary process waits for milliseconds behind others after its alarm. The lowest one will
     * do; we sleep nearly all the time. Without the right to it the report tells what came of that.
     */
    struct sched_param lowest = {.sched_priority = 1};
    if (rate > 0)
        sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest);
}

void pace_restart(struct pace *pace)
{
    pace->started = false;
}

/* (later - earlier) / rate, kept within what a deadline can hold. */
static int64_t scaled(int64_t earlier_ns, int64_t later_ns, double rate)
{
    int64_t difference;
    if (__builtin_sub_overflow(later_ns, earlier_ns, &difference))
        difference = INT64_MAX;
    double result = rate == 1 ? 0 : (double)difference / rate;
    if (rate == 1)
        return difference < INT64_MAX / 4 ? difference : INT64_MAX / 4;
    return result < (double)(INT64_MAX / 4) ? (int64_t)result : INT64_MAX / 4;
}

int64_t pace_due(struct pace *pace, int64_t time_ns)
{
    pace->events++;
    if (!pace->started) {
        pace->started = true;
        pace->start_ns = clock_monotonic_ns();
        pace->time_first_ns = pace->time_last_ns = time_ns;
    }
    if (time_ns < pace->time_last_ns) {
        pace->backward++;
        return INT64_MIN;
    }
    if (__builtin_sub_overflow(time_ns, pace->time_last_ns, &pace->step_ns))
        pace->step_ns = 0;
    pace->span_ns += pace->step_ns;
    pace->time_last_ns = time_ns;
    if (pace->rate <= 0)
        return INT64_MIN;
    return pace->start_ns + scaled(pace->time_first_ns, time_ns, pace->rate);
}

void pace_withdraw(struct pace *pace)
{
    pace->events--;
    pace->span_ns -= pace->step_ns;
}

bool pace_wait(int64_t due_ns)
{
    int64_t wake_ns = due_ns - SPIN_NS;
    while (!interrupt_seen() && clock_monotonic_ns() < wake_ns) {
        struct timespec wake = {wake_ns / SECOND_NS, wake_ns % SECOND_NS};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
    }
    while (!interrupt_seen() && clock_monotonic_ns() < due_ns)
        continue;
    return !interrupt_seen();
}

/* Buckets grow by a sixteenth of a power of two; the first ones are single nanoseconds. */
static unsigned bucket_of(uint64_t value)
{
    if (value < PACE_STEPS)
        return (unsigned)value;
    unsigned octave = 63 - (unsigned)__builtin_clzll(value);
    unsigned step = (unsigned)(value >> (octave - 4)) & (PACE_STEPS - 1);
    return (octave - 3) * PACE_STEPS + step;
}

/* The largest value of a bucket. */
static int64_t bucket_end(unsigned bucket)
{
    if (bucket < PACE_STEPS)
        return bucket;
    unsigned octave = bucket / PACE_STEPS + 3;
    uint64_t step = bucket % PACE_STEPS;
    uint64_t width = UINT64_C(1) << (octave - 4);
    return (int64_t)((UINT64_C(1) << octave) + (step + 1) * width - 1);
}

void pace_record(struct pace *pace, int64_t due_ns, int64_t sent_ns)
{
    pace->sent_ns = sent_ns;
    if (due_ns == INT64_MIN)
        return;
    int64_t error_ns = sent_ns > due_ns ? sent_ns - due_ns : due_ns - sent_ns;
    pace->measured++;
    pace->early += sent_ns < due_ns;
    pace->histogram[bucket_of((uint64_t)error_ns)]++;
    if (error_ns > pace->error_max_ns)
        pace->error_max_ns = error_ns;
    if (error_ns > PACE_LATE_NS)
        pace->late++;
}

int64_t pace_percentile(const struct pace *pace, double percent)
{
    uint64_t wanted = (uint64_t)((double)pace->measured * percent / 100.0);
    uint64_t seen = 0;
    for (unsigned i = 0; i < PACE_OCTAVES * PACE_STEPS; i++) {
        seen += pace->histogram[i];
        if (seen > wanted) {
            int64_t end_ns = bucket_end(i);
            return end_ns < pace->error_max_ns ? end_ns : pace->error_max_ns;
        }
    }
    return pace->error_max_ns;
}
