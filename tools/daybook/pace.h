/*
 * tools/daybook/pace.h - when each replayed event is due, and how well that was kept.
 *
 * An event recorded at t is due at start + (t - t_first) / rate, on the monotonic clock: an
 * absolute deadline, so that errors do not add up. Sleeps until shortly before it, then spins.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_PACE_H
#define DAYBOOK_TOOLS_DAYBOOK_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* An error of more than this counts as late. */
#define PACE_LATE_NS INT64_C(1000000)

enum {
    PACE_OCTAVES = 64,
    PACE_STEPS = 16, /* a percentile is right to a sixteenth */
};

struct pace {
    double rate; /* 0: as fast as possible */
    bool started;
    int64_t start_ns;      /* when the first event was due */
    int64_t time_first_ns; /* … and when it was recorded */
    int64_t time_last_ns;  /* the latest recorded time so far */
    int64_t step_ns;       /* what the event asked about last has added to span_ns */
    int64_t sent_ns;       /* when the last event left */

    uint64_t events;
    uint64_t backward; /* their time went back, so they went at once */
    uint64_t late;
    uint64_t early;  /* never */
    int64_t span_ns; /* recorded time that was replayed, over all rounds */
    int64_t error_max_ns;
    uint64_t measured; /* events in the histogram */
    uint64_t histogram[PACE_OCTAVES * PACE_STEPS];
};

/* Prepare this thread for exact sleeps. */
void pace_init(struct pace *pace, double rate);
/* Start another round: the next event is due now. */
void pace_restart(struct pace *pace);
/*
 * When is the next event due, recorded at `time_ns`? INT64_MIN: at once, because its time goes back
 * or the rate has no limit.
 */
int64_t pace_due(struct pace *pace, int64_t time_ns);
/* The event asked about last will not leave: it does not count. Only one that was not yet due. */
void pace_withdraw(struct pace *pace);
/* Wait until `due_ns`. False: the user interrupted. */
bool pace_wait(int64_t due_ns);
/* An event that was due at `due_ns` has left at `sent_ns`. */
void pace_record(struct pace *pace, int64_t due_ns, int64_t sent_ns);
/* The error that `percent` of the measured events stayed below. */
int64_t pace_percentile(const struct pace *pace, double percent);

#endif
