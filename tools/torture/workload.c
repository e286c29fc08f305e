#include "tools/torture/workload.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/packer.h"
#include "segment/preparer.h"
#include "segment/set.h"
#include "tools/torture/chance.h"
#include "tools/torture/clock.h"
#include "tools/torture/disk_image.h"

enum {
    PRODUCERS = 4, /* the first is anonymous */
    BLOCK_BYTES = 8192,
    PAYLOAD_LARGE = 6000,
    PAYLOAD_MAX = 16384, /* a block of its own */
    GROUP_BYTES = BLOCK_BYTES - PAYLOAD_LARGE - 512,
};

/* Where the threads of the log meet the caller. */
struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool prepared; /* the next segment's file is ready */
    bool idled;    /* a segment was synced again after everything was durable */
    bool packing;  /* the caller replaces segments */
    bool hold;     /* stop the committer at its next operation … */
    bool held;     /* … where it is now */
};

struct torture_workload {
    struct torture_workload_start start;
    struct segment_log *_Atomic log;
    struct meeting meeting;
    uint64_t chance;
    uint64_t anonymous; /* counts events without a producer */
    size_t group_bytes; /* of the group that is being published */
    _Atomic size_t appended;
    _Atomic uint64_t sequence_given, bound_durable, bound_wanted;
    uint64_t acknowledged, written; /* when the log is closed */
    struct torture_workload_counts counts;
    uint8_t payload[PAYLOAD_MAX];
};

void torture_workload_mark(struct torture_workload *w, struct torture_mark *mark_out)
{
    const struct segment_log *log = atomic_load(&w->log);
    *mark_out = (struct torture_mark){
        .appended = atomic_load(&w->appended),
        .sequence_given = atomic_load(&w->sequence_given),
        .written = log ? segment_log_written(log) : w->written,
        .acknowledged = log ? segment_log_durable(log) : w->acknowledged,
        .bound_durable = atomic_load(&w->bound_durable),
        .bound_wanted = atomic_load(&w->bound_wanted),
    };
}

struct torture_snapshot *torture_workload_snapshot(struct torture_workload *w,
                                                   struct torture_mark *mark_out)
{
    struct torture_mark after;
    torture_workload_mark(w, mark_out);
    struct torture_snapshot *snapshot = torture_disk_snapshot(w->start.disk);
    torture_workload_mark(w, &after);
    mark_out->appended = after.appended;
    mark_out->sequence_given = after.sequence_given;
    mark_out->bound_wanted = after.bound_wanted;
    return snapshot;
}

static bool is_segment(const char *name)
{
    return strlen(name) == FORMAT_SEGMENT_NAME_BYTES;
}

/* On a thread of the log, after one of its operations. */
static void follow(struct meeting *meeting, const struct torture_disk_operation *operation,
                   bool all_is_durable)
{
    bool next_file = strcmp(operation->name, PREPARER_FILE_NAME) == 0;
    pthread_mutex_lock(&meeting->mutex);
    if (next_file && operation->kind == TORTURE_DISK_DROP_CACHE)
        meeting->prepared = true;
    if ((next_file &&
         (operation->kind == TORTURE_DISK_UNLINK || operation->kind == TORTURE_DISK_CREATE)) ||
        (is_segment(operation->name) && operation->kind == TORTURE_DISK_RENAME &&
         !meeting->packing))
        meeting->prepared = false;
    if (is_segment(operation->name) && operation->kind == TORTURE_DISK_SYNC && all_is_durable)
        meeting->idled = true;
    if (meeting->hold) {
        meeting->held = true;
        pthread_cond_broadcast(&meeting->changed);
        while (meeting->hold)
            pthread_cond_wait(&meeting->changed, &meeting->mutex);
        meeting->held = false;
    }
    pthread_cond_broadcast(&meeting->changed);
    pthread_mutex_unlock(&meeting->mutex);
}

static void watch(void *context, struct torture_disk *disk,
                  const struct torture_disk_operation *operation)
{
    struct torture_workload *w = context;
    if (is_segment(operation->name))
        torture_clock_note_writer();
    (void)disk;
    if (w->start.watcher)
        w->start.watcher(w->start.context, w, operation);
    struct torture_mark mark;
    torture_workload_mark(w, &mark);
    follow(&w->meeting, operation, mark.acknowledged >= mark.sequence_given);
}

/*
 * Until a thread of the log has come so far. A log that does not get there within half a minute
 * never will: that is a failure, not something to wait for.
 */
static bool await(struct torture_workload *w, const bool *there, const char *what,
                  struct error *failure_out)
{
    enum { SECONDS_MAX = 30 };
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += SECONDS_MAX;
    int late = 0;
    pthread_mutex_lock(&w->meeting.mutex);
    while (!*there && !late)
        late = pthread_cond_timedwait(&w->meeting.changed, &w->meeting.mutex, &deadline);
    bool good = *there;
    pthread_mutex_unlock(&w->meeting.mutex);
    if (!good)
        error_set(failure_out, ERROR_IO, "after %d seconds the log has not %s", SECONDS_MAX, what);
    return good;
}

/* Until the helper thread has made the next segment ready: then only the committer is at work. */
static bool await_prepared(struct torture_workload *w, struct error *failure_out)
{
    return await(w, &w->meeting.prepared, "prepared its next segment", failure_out);
}

static bool open_log(struct torture_workload *w, struct segment_recovery_report *report_out,
                     struct error *failure_out)
{
    struct segment_log *log = NULL;
    if (segment_log_open(w->start.path, &w->start.options, &log, report_out, failure_out))
        return false;
    atomic_store(&w->log, log);
    return await_prepared(w, failure_out);
}

struct torture_workload *torture_workload_open(const struct torture_workload_start *start,
                                               struct segment_recovery_report *report_out,
                                               struct error *failure_out)
{
    struct torture_workload *w = disk_allocate_zeroed(1, sizeof *w);
    w->start = *start;
    w->chance = start->seed;
    w->start.options.segment_age_ns = TORTURE_CLOCK_NEVER_NS;
    w->start.options.block_bytes_max = BLOCK_BYTES;
    w->anonymous = start->seed;
    atomic_init(&w->appended, torture_oracle_count(start->oracle));
    atomic_init(&w->sequence_given, start->mark.sequence_given);
    atomic_init(&w->bound_durable, start->mark.bound_durable);
    atomic_init(&w->bound_wanted, start->mark.bound_wanted);
    w->acknowledged = start->mark.acknowledged;
    w->written = start->mark.written;
    pthread_mutex_init(&w->meeting.mutex, NULL);
    pthread_cond_init(&w->meeting.changed, NULL);
    torture_disk_watch(start->disk, watch, w);
    if (!open_log(w, report_out, failure_out)) {
        torture_workload_free(w);
        return NULL;
    }
    return w;
}

/* An event is made of its producer and number alone, so that a retry sends the same again. */
static void make_event(struct torture_workload *w, unsigned producer, uint64_t number,
                       struct event *event_out)
{
    static const char *const names[PRODUCERS] = {"", "alpha", "beta", "gamma"};
    static const char *const topics[] = {"t", "orders.created", "sensor/7/temperature"};
    uint64_t chance = w->start.content_seed ^ number << 8 ^ producer;
    uint64_t draw = chance_draw(&chance);
    size_t size = draw % 100 < 80 ? 1 + (draw >> 8) % 300 : 1 + (draw >> 8) % PAYLOAD_LARGE;
    if (draw % 100 == 99)
        size = PAYLOAD_MAX;
    /* Half of them are noise, the others can be compressed. */
    bool noise = draw >> 63;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = noise || i < 64 ? chance_draw(&chance) : 0;
        if (!noise && i >= 64)
            memcpy(&word, w->payload + i - 64, sizeof word);
        memcpy(w->payload + i, &word, size - i < 8 ? size - i : 8);
    }
    const char *topic = topics[(draw >> 40) % 3];
    *event_out = (struct event){
        .time_ns = (int64_t)(draw >> 2),
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = w->payload,
        .payload_bytes = size,
        .producer = names[producer],
        .producer_bytes = strlen(names[producer]),
        .number = producer ? number : 0,
    };
}

static bool refuse(struct error *failure_out, const struct event *event, const char *what)
{
    error_set(failure_out, ERROR_DAMAGED, "number %" PRIu64 " of producer '%.*s' %s", event->number,
              (int)event->producer_bytes, event->producer, what);
    return false;
}

static bool note(struct torture_workload *w, const struct event *event, uint64_t sequence,
                 struct error *failure_out)
{
    if (!torture_oracle_note(w->start.oracle, event, sequence, failure_out))
        return false;
    atomic_store(&w->sequence_given, sequence);
    atomic_store(&w->appended, torture_oracle_count(w->start.oracle));
    return true;
}

/* Publish one event, which may be one that is in the log already. */
static bool append(struct torture_workload *w, unsigned producer, uint64_t number,
                   struct error *failure_out)
{
    enum segment_log_outcome outcome;
    struct event event;
    uint64_t sequence, sequence_last, last = 0;
    make_event(w, producer, number, &event);
    if (producer)
        last = torture_oracle_last_number(w->start.oracle, event.producer, event.producer_bytes,
                                          &sequence_last);
    bool duplicate = producer && number <= last;
    /* Noted before, so that whoever looks at the disk meanwhile knows it; nobody else appends. */
    if (!duplicate && !note(w, &event, segment_log_appended(w->log) + 1, failure_out))
        return false;
    if (segment_log_append(w->log, &event, &outcome, &sequence, failure_out))
        return false;
    if (duplicate) {
        w->counts.duplicates++;
        if (outcome != LOG_DUPLICATE)
            return refuse(failure_out, &event, "was stored a second time");
        return sequence >= sequence_last ||
               refuse(failure_out, &event, "is a duplicate of an earlier sequence than it has");
    }
    if (outcome != LOG_APPENDED)
        return refuse(failure_out, &event, "was taken for a duplicate, but is not in the log");
    w->group_bytes += segment_format_record_bytes(&event);
    w->counts.appended++;
    return sequence == atomic_load(&w->sequence_given) ||
           refuse(failure_out, &event, "did not get the next sequence");
}

/* The last number of a producer in the log. */
static uint64_t last_number(struct torture_workload *w, unsigned producer)
{
    struct event event;
    uint64_t sequence;
    make_event(w, producer, 1, &event);
    return torture_oracle_last_number(w->start.oracle, event.producer, event.producer_bytes,
                                      &sequence);
}

/* The next event of anybody. */
static bool publish(struct torture_workload *w, unsigned producer, struct error *failure_out)
{
    uint64_t number = producer ? last_number(w, producer) + 1 : ++w->anonymous;
    return append(w, producer, number, failure_out);
}

/* Some event that is in the log already. */
static bool publish_again(struct torture_workload *w, unsigned producer, struct error *failure_out)
{
    uint64_t last = producer ? last_number(w, producer) : 0;
    return last == 0 ||
           append(w, producer, last - chance_below(&w->chance, last < 3 ? last : 3), failure_out);
}

static unsigned any_producer(struct torture_workload *w)
{
    return (unsigned)chance_below(&w->chance, PRODUCERS);
}

static bool wait_durable(struct torture_workload *w, struct error *failure_out)
{
    uint64_t last = segment_log_appended(w->log);
    if (segment_log_wait(w->log, last, failure_out))
        return false;
    w->counts.commits++;
    return await_prepared(w, failure_out);
}

/*
 * A group that fits into one block: a full block would wake the committer, and when it comes nobody
 * could say.
 */
static bool publish_block(struct torture_workload *w, uint64_t count, struct error *failure_out)
{
    w->group_bytes = 0;
    for (uint64_t i = 0; i < count && w->group_bytes < GROUP_BYTES; i++) {
        struct event event;
        unsigned producer = any_producer(w);
        if (chance_happens(&w->chance, 8) && !publish_again(w, producer, failure_out))
            return false;
        uint64_t next = producer ? last_number(w, producer) + 1 : w->anonymous + 1;
        make_event(w, producer, next, &event);
        if (w->group_bytes > 0 && event.payload_bytes == PAYLOAD_MAX)
            break;
        if (!publish(w, producer, failure_out))
            return false;
    }
    return true;
}

static bool commit_once(struct torture_workload *w, struct error *failure_out)
{
    return publish_block(w, 1 + chance_below(&w->chance, 4), failure_out) &&
           wait_durable(w, failure_out);
}

static void let_go(struct meeting *meeting)
{
    pthread_mutex_lock(&meeting->mutex);
    meeting->hold = false;
    pthread_cond_broadcast(&meeting->changed);
    pthread_mutex_unlock(&meeting->mutex);
}

/*
 * Hold the committer inside of one commit while the next one gathers: a group of several blocks,
 * which share one sync.
 */
static bool commit_many(struct torture_workload *w, struct error *failure_out)
{
    struct meeting *meeting = &w->meeting;
    if (!publish(w, any_producer(w), failure_out))
        return false;
    pthread_mutex_lock(&meeting->mutex);
    meeting->hold = true;
    pthread_mutex_unlock(&meeting->mutex);
    segment_log_kick(w->log);
    bool good = await(w, &meeting->held, "begun its commit", failure_out);
    for (uint64_t left = 6 + chance_below(&w->chance, 30); left > 0 && good; left--)
        good = publish(w, any_producer(w), failure_out);
    let_go(meeting);
    w->counts.many_blocks++;
    return wait_durable(w, good ? failure_out : NULL) && good;
}

/* A commit, and then so long nothing that the log vouches for it. */
static bool idle(struct torture_workload *w, struct error *failure_out)
{
    if (!publish(w, any_producer(w), failure_out))
        return false;
    torture_clock_set_idle(true);
    pthread_mutex_lock(&w->meeting.mutex);
    w->meeting.idled = false;
    pthread_mutex_unlock(&w->meeting.mutex);
    bool good = wait_durable(w, failure_out);
    good = good && await(w, &w->meeting.idled, "written its idle watermark", failure_out);
    torture_clock_set_idle(false);
    w->counts.idles++;
    return good;
}

static enum error_code delete_below(struct torture_workload *w, int log_fd, int segments_fd,
                                    const struct segment_set *set, size_t keep_from,
                                    struct error *error)
{
    uint64_t bound = set->segments[keep_from].sequence_first;
    atomic_store(&w->bound_wanted, bound);
    enum error_code code = segment_bound_store(log_fd, bound, error);
    atomic_store(&w->bound_durable, code ? atomic_load(&w->bound_durable) : bound);
    for (size_t i = 0; !code && i < keep_from; i++)
        code = file_unlink(segments_fd, set->segments[i].name, error);
    return code ? code : file_sync_directory(segments_fd, "segments", error);
}

/* The oldest segments go, as retention deletes them (indexer/retention.h), but never the last. */
static bool retain(struct torture_workload *w, struct error *failure_out)
{
    int log_fd = -1, segments_fd = -1;
    struct segment_set set = {0};
    enum error_code code = file_open_directory(w->start.path, false, &log_fd, failure_out);
    if (!code)
        code = file_open_directory_at(log_fd, "segments", false, &segments_fd, failure_out);
    if (!code)
        code = segment_set_load(log_fd, segments_fd, &set, failure_out);
    if (!code && set.count > 1) {
        /* At least what an interrupted retention has left. */
        size_t first = set.dead_count > 0 ? set.dead_count : 1;
        first = first < set.count ? first : set.count - 1;
        size_t keep_from = first + (size_t)chance_below(&w->chance, set.count - first);
        code = delete_below(w, log_fd, segments_fd, &set, keep_from, failure_out);
        w->counts.retentions++;
    }
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
    return code == OK;
}

static void set_packing(struct meeting *meeting, bool packing)
{
    pthread_mutex_lock(&meeting->mutex);
    meeting->packing = packing;
    pthread_mutex_unlock(&meeting->mutex);
}

static void refuse_left(void *context, const struct segment_set_segment *segment,
                        const struct error *why)
{
    struct error *failure_out = context;
    (void)segment;
    error_set(failure_out, ERROR_DAMAGED, "packing left something: %s", why->text);
}

/* Everything that is sealed is packed. */
static bool pack(struct torture_workload *w, struct error *failure_out)
{
    struct error left = {0}, why;
    struct segment_packer_watcher watcher = {.left = refuse_left, .context = &left};
    struct segment_packer_totals totals = {0};
    set_packing(&w->meeting, true);
    enum error_code code = segment_packer_run(w->start.path, &watcher, &totals, &why);
    set_packing(&w->meeting, false);
    w->counts.packed += totals.segments_packed;
    if (code || left.code)
        error_set(failure_out, ERROR_DAMAGED, "%s", code ? why.text : left.text);
    return !code && !left.code;
}

bool torture_workload_stop(struct torture_workload *w, struct error *failure_out)
{
    struct segment_log_counters counters;
    segment_log_count(w->log, &counters);
    w->counts.rolls += counters.rolls;
    /* While it closes, what is durable is what was waited for. */
    w->acknowledged = w->written = segment_log_durable(w->log);
    struct segment_log *log = atomic_exchange(&w->log, NULL);
    w->counts.stops++;
    return segment_log_close(log, failure_out) == OK;
}

static bool restart(struct torture_workload *w, struct error *failure_out)
{
    struct segment_recovery_report report;
    if (!torture_workload_stop(w, failure_out) || !open_log(w, &report, failure_out))
        return false;
    if (report.verdict == RECOVERY_CLEAN)
        return true;
    error_set(failure_out, ERROR_DAMAGED, "after a clean stop the verdict is '%s'",
              segment_recovery_verdict_text(report.verdict));
    return false;
}

bool torture_workload_step(struct torture_workload *w, struct error *failure_out)
{
    static const struct {
        unsigned weight;
        bool (*run)(struct torture_workload *w, struct error *failure_out);
    } steps[] = {{56, commit_once}, {16, commit_many}, {14, idle},
                 {4, retain},       {6, restart},      {4, pack}};
    uint64_t draw = chance_below(&w->chance, 100);
    size_t i = 0;
    while (draw >= steps[i].weight)
        draw -= steps[i++].weight;
    return steps[i].run(w, failure_out);
}

void torture_workload_count(const struct torture_workload *w,
                            struct torture_workload_counts *counts_out)
{
    *counts_out = w->counts;
}

void torture_workload_free(struct torture_workload *w)
{
    if (!w)
        return;
    torture_disk_watch(w->start.disk, NULL, NULL);
    struct segment_log *log = atomic_load(&w->log);
    if (log) {
        struct segment_log_counters counters;
        segment_log_count(log, &counters);
        w->counts.rolls += counters.rolls;
        segment_log_close(log, NULL);
    }
    pthread_mutex_destroy(&w->meeting.mutex);
    pthread_cond_destroy(&w->meeting.changed);
    free(w);
}
