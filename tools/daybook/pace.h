/*
 * tools/daybook/pace.h - when each replayed event is due, and how well that was kept.
 *
 * Recorded time runs `rate` times as fast as the monotonic clock. An event is due at an absolute
 * moment, start + position / rate, where position is the recorded time from the first event to it,
 * with long gaps shortened: errors do not add up. Holding, jumping and aligning move the start.
 *
 * Of one thread.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_PACE_H
#define DAYBOOK_TOOLS_DAYBOOK_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* An error of more than this counts as late. */
#define PACE_LATE_NS INT64_C(1000000)
/* As a due time: at once, because the event's time goes back or the rate has no limit. */
#define PACE_AT_ONCE INT64_MIN

enum {
    PACE_OCTAVES = 64,
    PACE_STEPS = 16, /* a percentile is right to a sixteenth */
};

struct pace {
    double rate;        /* 0: as fast as possible */
    int64_t gap_max_ns; /* of recorded time; INT64_MAX: gaps stay as they are */
    bool started;
    int64_t start_ns;     /* when position 0 was due */
    int64_t position_ns;  /* of the last event that left */
    int64_t time_last_ns; /* the latest recorded time so far */

    uint64_t events;   /* that have left */
    uint64_t backward; /* their time went back, so they went at once */
    uint64_t late;
    uint64_t early;  /* never */
    int64_t span_ns; /* recorded time that was replayed, over all rounds, gaps as shortened */
    uint64_t gaps_shortened;
    int64_t shortened_ns; /* what was taken from them */
    int64_t sent_ns;      /* when the last event left */
    int64_t error_max_ns;
    uint64_t measured; /* events in the histogram */
    uint64_t histogram[PACE_OCTAVES * PACE_STEPS];
};

void pace_init(struct pace *pace, double rate, int64_t gap_max_ns);
/* Let this thread sleep exactly, and come before others where the system allows that. */
void pace_prepare_thread(void);

/* Another round: pace_begin is due again. */
void pace_restart(struct pace *pace);
/* The first event of a round, recorded at `time_ns`, is due now. Nothing when it has begun. */
void pace_begin(struct pace *pace, int64_t time_ns, int64_t now_ns);
/* When is an event due that was recorded at `time_ns` and would leave next? */
int64_t pace_due(const struct pace *pace, int64_t time_ns);
/* The turn of this event has come. */
void pace_leave(struct pace *pace, int64_t time_ns);
/* It was due at `due_ns`, and has left at `sent_ns`. PACE_AT_ONCE is not measured. */
void pace_record(struct pace *pace, int64_t due_ns, int64_t sent_ns);

/* The clock has stood still for `ns`: everything is due that much later. */
void pace_hold(struct pace *pace, int64_t ns);
/* What left last was due now: the next event comes after its gap to it. */
void pace_align(struct pace *pace, int64_t now_ns);
/* Somebody has turned the clock: it shows the recorded time `time_ns` now. */
void pace_jump(struct pace *pace, int64_t time_ns, int64_t now_ns);
/* What the recorded clock shows, but never more than `next_ns`, the time of what leaves next. */
int64_t pace_clock(const struct pace *pace, int64_t now_ns, int64_t next_ns);

/* The error that `percent` of the measured events stayed below. */
int64_t pace_percentile(const struct pace *pace, double percent);

#endif
