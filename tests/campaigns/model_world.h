/*
 * tests/campaigns/model_world.h - the implementation on a simulated disk with a simulated clock,
 * next to the model, one operation after the other.
 *
 * Time stands still but for what the operations let pass, and after each operation the log's
 * threads have come to rest (segment_log_settle), so that one seed gives one history.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_MODEL_WORLD_H
#define DAYBOOK_TESTS_CAMPAIGNS_MODEL_WORLD_H

#include "segment/log.h"
#include "segment/reader.h"
#include "tests/campaigns/model_log.h"
#include "tools/torture/disk.h"

#define MODEL_PATH "/simulated/log"

enum {
    MODEL_READERS = 2,
    MODEL_BLOCK_BYTES = 8192,
    MODEL_PENDING_BYTES = 49152,
    MODEL_PAYLOAD_MAX = 20000,
};

/* A reader that stays, and where it must be. */
struct model_reader {
    struct segment_reader *reader; /* NULL: none */
    uint64_t next;                 /* the sequence that comes next, or the first one above */
    bool at_start;                 /* nothing was asked for by number, nothing read */
};

/* What the disk and the log were when the power went in the middle of an operation. */
struct model_moment {
    bool wanted;
    uint64_t operations_left; /* until it comes */
    bool rolled;              /* the log's other thread is at work too: too late for a moment */
    struct torture_snapshot *snapshot;
    uint64_t durable, written; /* sequences, at that moment */
};

struct model_world {
    struct model_log model;
    struct torture_disk *disk;
    struct segment_log *log; /* NULL: closed */
    struct segment_log_options options;
    struct model_reader readers[MODEL_READERS];
    struct model_moment moment;
    uint64_t seed;
    uint64_t anonymous;       /* counts events without a producer */
    size_t pending_bytes;     /* appended since the last commit */
    bool vouched;             /* nothing was committed since the last idle time */
    bool age_known;           /* of the active segment's first event: no restart since */
    bool aging;               /* the active segment has events */
    int64_t arrival_floor_ns; /* the log's next arrival time is this, or now when that is later */
    bool floor_is_exact;      /* no restart since; else it may be lower */
    int64_t noted_skew_ns;    /* wall clock against monotonic, when retention last looked */
    bool skew_noted;          /* … in this boot */
    int64_t delete_before_ns; /* what arrived later must stay */
    bool renamed;             /* a file got its name: a roll */
    uint64_t rolls;           /* as counted after the last operation */
    uint64_t trace;           /* of all observations */
    uint64_t counts[64];      /* see model_steps.h */
    bool failed;
    char failure[600];
};

/* A new disk, an open log. */
void model_world_open(struct model_world *world, uint64_t seed);
/* Give everything back. */
void model_world_close(struct model_world *world);

/* Something observed is not what the model says. Always returns false. */
bool model_world_fail(struct model_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An observation, for the trace. */
void model_world_note(struct model_world *world, uint64_t value);

/* The disk's watcher: takes the picture when the moment has come. */
void model_world_follow(void *world, struct torture_disk *disk,
                        const struct torture_disk_operation *operation);
/* Watch the disk for the moment again, after somebody else has. */
void model_world_watch(struct model_world *world);

/* Time. */
void model_world_pass(int64_t ns);
void model_world_jump(int64_t ns);
int64_t model_world_now(void);
/* How far the wall clock is ahead of the monotonic one. */
int64_t model_world_skew(void);

/*
 * What an event holds; the payload goes to `payload`, of MODEL_PAYLOAD_MAX bytes. NULL: only its
 * length is wanted.
 */
void model_world_event(const struct model_event *from, uint8_t *payload, struct event *event_out);
/* Is what a reader gave this event? */
bool model_world_matches(struct model_world *world, struct model_event *expected,
                         const struct event *given);

/* Everything appended becomes durable, and the threads rest. */
bool model_world_sync(struct model_world *world);
/* Stop cleanly, and open again. */
bool model_world_restart(struct model_world *world);
/* The process, or with `power` the machine, is gone: at the moment, if there was one, or now. */
bool model_world_crash(struct model_world *world, bool power, uint64_t draw);
bool model_world_open_log(struct model_world *world, struct segment_recovery_report *report_out,
                          struct error *error);

#endif
