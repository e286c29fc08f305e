#include "tools/daybook/pace.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>


/* Beyond this a deadline is as good as never, and sums of two of them still fit. */
#define FAR_NS (INT64_MAX / 4)

void pace_init(struct pace *pace, double rate, int64_t gap_max_ns)
{
    *pace = (struct pace){.rate = rate, .gap_max_ns = gap_max_ns};
}

/* sched_setattr(2), for which Debian 12's C library has neither a call nor a struct. */
struct thread_schedule {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns; /* the kernel's name: sched_runtime */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

/*
 * Everybody may ask for a shorter slice of the processor (Linux 6.12; elsewhere it is refused or
 * has no effect): who asks for little at a time is let in sooner when it wakes up.
 */
static void ask_for_short_slices(void)
{
    struct thread_schedule schedule = {
        .size = sizeof schedule,
        .policy = SCHED_OTHER,
        .slice_ns = 100000,
    };
    syscall(SYS_sched_setattr, 0, &schedule, 0U);
}

void pace_prepare_thread(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* 50 us otherwise */
    /*
     * Real-time priority, where it is allowed (root, or RLIMIT_RTPRIO): on a busy machine an
     * ordinary process waits for milliseconds behind others after its alarm. The lowest one will
     * do; we sleep nearly all the time. Without the right to it the report tells what came of that.
     */
    struct sched_param lowest = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest))
        ask_for_short_slices();
}

void pace_restart(struct pace *pace)
{
    pace->started = false;
}

void pace_begin(struct pace *pace, int64_t time_ns, int64_t now_ns)
{
    if (!pace->started)
        pace_jump(pace, time_ns, now_ns);
}

void pace_jump(struct pace *pace, int64_t time_ns, int64_t now_ns)
{
    pace->started = true;
    pace->start_ns = now_ns;
    pace->position_ns = 0;
    pace->time_last_ns = time_ns;
}

/* later - earlier, not below 0, kept within what a deadline can hold. */
static int64_t time_between(int64_t earlier_ns, int64_t later_ns)
{
    int64_t difference;
    if (later_ns <= earlier_ns)
        return 0;
    if (__builtin_sub_overflow(later_ns, earlier_ns, &difference) || difference > FAR_NS)
        return FAR_NS;
    return difference;
}

static int64_t shortened(const struct pace *pace, int64_t gap_ns)
{
    return gap_ns < pace->gap_max_ns ? gap_ns : pace->gap_max_ns;
}

static int64_t sum_of(int64_t a_ns, int64_t b_ns)
{
    return a_ns < FAR_NS - b_ns ? a_ns + b_ns : FAR_NS;
}

/* Recorded time as time of ours. */
static int64_t scaled(const struct pace *pace, int64_t recorded_ns)
{
    if (pace->rate == 1)
        return recorded_ns;
    double result = (double)recorded_ns / pace->rate;
    return result < (double)FAR_NS ? (int64_t)result : FAR_NS;
}

int64_t pace_due(const struct pace *pace, int64_t time_ns)
{
    if (pace->rate <= 0 || time_ns < pace->time_last_ns)
        return PACE_AT_ONCE;
    int64_t step_ns = shortened(pace, time_between(pace->time_last_ns, time_ns));
    return pace->start_ns + scaled(pace, sum_of(pace->position_ns, step_ns));
}

void pace_leave(struct pace *pace, int64_t time_ns)
{
    if (time_ns < pace->time_last_ns) {
        pace->backward++;
        return;
    }
    int64_t gap_ns = time_between(pace->time_last_ns, time_ns);
    int64_t step_ns = shortened(pace, gap_ns);
    if (step_ns < gap_ns) {
        pace->gaps_shortened++;
        pace->shortened_ns = sum_of(pace->shortened_ns, gap_ns - step_ns);
    }
    pace->position_ns = sum_of(pace->position_ns, step_ns);
    pace->span_ns = sum_of(pace->span_ns, step_ns);
    pace->time_last_ns = time_ns;
}

void pace_hold(struct pace *pace, int64_t ns)
{
    pace->start_ns += ns;
}

void pace_align(struct pace *pace, int64_t now_ns)
{
    pace->start_ns = now_ns - (pace->rate > 0 ? scaled(pace, pace->position_ns) : 0);
}

int64_t pace_clock(const struct pace *pace, int64_t now_ns, int64_t next_ns)
{
    if (pace->rate <= 0 || next_ns <= pace->time_last_ns)
        return pace->time_last_ns;
    int64_t passed_ns = now_ns - (pace->start_ns + scaled(pace, pace->position_ns));
    double recorded = (double)passed_ns * pace->rate;
    if (recorded <= 0)
        return pace->time_last_ns;
    int64_t left_ns = time_between(pace->time_last_ns, next_ns);
    return recorded < (double)left_ns ? pace->time_last_ns + (int64_t)recorded : next_ns;
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
    pace->events++;
    pace->sent_ns = sent_ns;
    if (due_ns == PACE_AT_ONCE)
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
