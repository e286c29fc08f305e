#include "tests/campaigns/model_steps.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/file.h"
#include "indexer/retention.h"
#include "tests/campaigns/model_reading.h"
#include "tools/torture/chance.h"

#define SECOND_NS INT64_C(1000000000)
#define DAY_NS    (INT64_C(86400) * SECOND_NS)

static uint64_t record_bytes(const struct event *event)
{
    return 24 + event->topic_bytes + event->producer_bytes + event->payload_bytes;
}

/* When the event has no time of its own the log takes its arrival time. */
static void choose_time(struct model_world *w, struct model_event *event, uint64_t *draw)
{
    int64_t now = model_world_now();

    event->time_known = chance_happens(draw, 60);
    event->time_ns = now - 5 * SECOND_NS + (int64_t)chance_below(draw, 10) * SECOND_NS;
    if (!event->time_known)
        event->time_ns = now > w->arrival_floor_ns ? now : w->arrival_floor_ns;
}

/* It is in the log: from now on nothing arrives earlier. */
static void arrive(struct model_world *w, struct model_event *event)
{
    int64_t now = model_world_now();

    if (now >= w->arrival_floor_ns) {
        w->arrival_floor_ns = now;
        w->floor_is_exact = true;
    }
    event->time_known |= w->floor_is_exact;
}

/* Somebody's next event, sometimes with a number left out; or one that was published before. */
static struct model_event choose_event(struct model_world *w, uint64_t *draw)
{
    struct model_event event = {.producer = (unsigned)chance_below(draw, MODEL_PRODUCERS)};
    uint64_t sequence;

    if (event.producer > 0) {
        uint64_t last = model_log_last_number(&w->model, event.producer, &sequence);
        event.number = last + 1 + (chance_happens(draw, 5) ? chance_below(draw, 1000) : 0);
        if (last > 0 && chance_happens(draw, 15))
            event.number = last - chance_below(draw, last < 4 ? last : 4);
    }
    event.content = chance_draw(draw);
    return event;
}

enum appended { APPENDED, NO_ROOM, REFUSED, WRONG };

/* Publish it, and compare what the log answers. */
static enum appended publish(struct model_world *w, struct model_event *event, uint64_t *draw)
{
    static uint8_t payload[MODEL_PAYLOAD_MAX + 8];
    enum segment_log_outcome outcome;
    struct event given;
    uint64_t sequence = 0, last_sequence;
    struct error error = {0};
    bool duplicate =
        event->producer > 0 &&
        event->number <= model_log_last_number(&w->model, event->producer, &last_sequence);
    struct model_event wanted = *event;

    choose_time(w, &wanted, draw);
    model_world_event(&wanted, payload, &given);
    if (!wanted.time_known)
        given.time_ns = EVENT_TIME_NONE;
    enum error_code code = segment_log_append(w->log, &given, &outcome, &sequence, &error);
    model_world_note(w, code);
    if (code == ERROR_NO_SPACE)
        return REFUSED;
    if (code == ERROR_BUSY && w->pending_bytes + record_bytes(&given) > MODEL_PENDING_BYTES / 2)
        return NO_ROOM;
    if (code) {
        model_world_fail(w, "an event was refused: %s", error.text);
        return WRONG;
    }
    if (!duplicate)
        arrive(w, &wanted);
    model_log_append(&w->model, &wanted);
    if (sequence != wanted.sequence || (outcome == LOG_DUPLICATE) != duplicate) {
        model_world_fail(
            w,
            "number %" PRIu64 " of producer %u became %s %" PRIu64 ", the model says %s %" PRIu64,
            event->number, event->producer, outcome == LOG_DUPLICATE ? "a duplicate of" : "event",
            sequence, duplicate ? "a duplicate of" : "event", wanted.sequence);
        return WRONG;
    }
    model_world_note(w, sequence);
    w->counts[duplicate ? MODEL_COUNT_RETRY : MODEL_COUNT_EVENT]++;
    if (!duplicate)
        w->pending_bytes += record_bytes(&given);
    return APPENDED;
}

static bool must_sync_first(struct model_world *w, const struct model_event *event)
{
    struct event given;
    model_world_event(event, NULL, &given);
    return w->pending_bytes > 0 &&
           w->pending_bytes + record_bytes(&given) > MODEL_BLOCK_BYTES - 256;
}

/*
 * A few events that share a block: a full one would wake the committer, and when it comes nobody
 * could repeat.
 */
static bool append(struct model_world *w, uint64_t draw)
{
    for (uint64_t left = 1 + chance_below(&draw, 4); left > 0; left--) {
        if (w->model.count + 64 > MODEL_EVENTS_MAX)
            return true;
        struct model_event event = choose_event(w, &draw);
        if (must_sync_first(w, &event) && !model_world_sync(w))
            return false;
        enum appended answer = publish(w, &event, &draw);
        if (answer != APPENDED)
            return answer == WRONG ? false : model_world_fail(w, "an event found no room");
    }
    return true;
}

static bool sync(struct model_world *w, uint64_t draw)
{
    (void)draw;
    return model_world_sync(w);
}

/* Holds the committer at its next operation on the disk. */
struct hold {
    struct model_world *world;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool wanted, held;
};

static void hold_here(void *context, struct torture_disk *disk,
                      const struct torture_disk_operation *operation)
{
    struct hold *hold = context;
    model_world_follow(hold->world, disk, operation);
    pthread_mutex_lock(&hold->mutex);
    hold->held = true;
    pthread_cond_broadcast(&hold->changed);
    while (hold->wanted)
        pthread_cond_wait(&hold->changed, &hold->mutex);
    pthread_mutex_unlock(&hold->mutex);
}

/* Far longer than it ever takes: only a commit that never comes to the disk is given up. */
static bool await_held(struct hold *hold)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&hold->mutex);
    while (!hold->held && pthread_cond_timedwait(&hold->changed, &hold->mutex, &until) == 0)
        continue;
    bool held = hold->held;
    pthread_mutex_unlock(&hold->mutex);
    return held;
}

/* While the committer is busy with one event, many gather: blocks that share one sync. */
static bool publish_while_held(struct model_world *w, uint64_t count, uint64_t *draw)
{
    for (; count > 0 && w->model.count + 64 < MODEL_EVENTS_MAX; count--) {
        struct model_event event = choose_event(w, draw);
        enum appended answer = publish(w, &event, draw);
        if (answer == NO_ROOM) {
            w->counts[MODEL_COUNT_BUSY]++;
            return true;
        }
        if (answer != APPENDED)
            return answer == WRONG ? false : model_world_fail(w, "an event was refused");
    }
    return true;
}

static bool group(struct model_world *w, uint64_t draw)
{
    struct hold hold = {w, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true, false};
    struct model_event first = {.content = chance_draw(&draw)};

    if (!model_world_sync(w) || w->model.count + 64 > MODEL_EVENTS_MAX)
        return !w->failed;
    if (publish(w, &first, &draw) != APPENDED)
        return model_world_fail(w, "an event found no room");
    torture_disk_watch(w->disk, hold_here, &hold);
    segment_log_kick(w->log);
    if (!await_held(&hold))
        return model_world_fail(w, "a commit does not touch the disk");
    bool good = publish_while_held(w, 4 + chance_below(&draw, 30), &draw);
    pthread_mutex_lock(&hold.mutex);
    hold.wanted = false;
    pthread_cond_broadcast(&hold.changed);
    pthread_mutex_unlock(&hold.mutex);
    good = model_world_sync(w) && good;
    model_world_watch(w);
    return good;
}

/* After a tenth of a second without traffic the log vouches for its last commit, once. */
static bool idle(struct model_world *w, uint64_t draw)
{
    if (!model_world_sync(w))
        return false;
    uint64_t before = torture_disk_operations(w->disk);
    model_world_pass(SECOND_NS / 10 + (int64_t)chance_below(&draw, 50) * 1000000);
    segment_log_settle(w->log);
    bool did = torture_disk_operations(w->disk) != before;
    /* A second after it was opened the log looks after its ballast. */
    if (!w->vouched && !did)
        return model_world_fail(w, "an idle log does not vouch for its last commit");
    w->vouched = true;
    return true;
}

static bool let_age(struct model_world *w, uint64_t draw)
{
    struct segment_log_counters before, after;

    (void)draw;
    if (!model_world_sync(w))
        return false;
    segment_log_count(w->log, &before);
    model_world_pass(w->options.segment_age_ns + 1);
    segment_log_settle(w->log);
    segment_log_count(w->log, &after);
    bool rolled = after.rolls > before.rolls;
    w->counts[MODEL_COUNT_AGE_ROLL] += rolled;
    if (w->age_known && rolled != w->aging)
        return model_world_fail(w, "a segment %s when it was old enough",
                                rolled ? "without events was closed" : "was not closed");
    w->vouched = true;
    w->age_known = true;
    w->aging = false;
    return true;
}

/* By minutes, or by days, in either direction. */
static bool jump(struct model_world *w, uint64_t draw)
{
    (void)w;
    int64_t span = chance_happens(&draw, 50) ? 600 * SECOND_NS : 30 * DAY_NS;
    model_world_jump((int64_t)chance_below(&draw, (uint64_t)span) - span / 2);
    return true;
}

static void count_deleted(void *context, const struct indexer_retention_segment *segment)
{
    struct model_world *w = context;
    w->counts[MODEL_COUNT_DELETED]++;
    if (segment->arrival_last_ns > w->delete_before_ns)
        model_world_fail(w, "retention deleted segment %s, which is not old enough", segment->name);
    model_world_note(w, segment->sequence_first);
}

static bool retain(struct model_world *w, const struct indexer_retention_options *options,
                   bool *frozen_out)
{
    struct indexer_retention_totals totals;
    struct error error = {0};
    uint64_t end = w->model.durable ? w->model.events[w->model.durable - 1].sequence : 0;

    if (indexer_retention_run(MODEL_PATH, options, count_deleted, w, &totals, &error))
        return model_world_fail(w, "retention fails: %s", error.text);
    if (totals.bound < w->model.bound)
        return model_world_fail(w, "the lower bound went back from %" PRIu64 " to %" PRIu64,
                                w->model.bound, totals.bound);
    if (totals.segments_left == 0 || (end > 0 && totals.bound > w->model.sequence_next))
        return model_world_fail(w, "retention deleted the last segment");
    if (options->max_bytes && totals.bytes_left > options->max_bytes && totals.segments_left > 1)
        return model_world_fail(w, "retention left %" PRIu64 " bytes of %" PRIu64 " allowed%s",
                                totals.bytes_left, options->max_bytes, totals.blocked);
    *frozen_out = totals.frozen[0] != '\0';
    model_world_note(w, totals.bound);
    model_log_retain(&w->model, totals.bound);
    return true;
}

static bool retain_bytes(struct model_world *w, uint64_t draw)
{
    struct indexer_retention_options options = {
        .max_bytes = FORMAT_SEGMENT_BYTES_MIN * (1 + chance_below(&draw, 4)),
    };
    bool frozen;

    w->delete_before_ns = INT64_MAX;
    return retain(w, &options, &frozen);
}

static bool retain_age(struct model_world *w, uint64_t draw)
{
    static const int64_t ages[] = {SECOND_NS, 3600 * SECOND_NS, 10 * DAY_NS};
    struct indexer_retention_options options = {.max_age_ns = ages[chance_below(&draw, 3)]};
    int64_t jumped = model_world_skew() - w->noted_skew_ns;
    bool frozen;

    w->delete_before_ns = model_world_now() - options.max_age_ns;
    if (!retain(w, &options, &frozen))
        return false;
    w->counts[MODEL_COUNT_FROZEN] += frozen;
    if (!frozen && w->skew_noted && (jumped > 3600 * SECOND_NS || jumped < -3600 * SECOND_NS))
        return model_world_fail(w, "retention believes a clock that has jumped by %" PRId64 " s",
                                jumped / SECOND_NS);
    if (!frozen) {
        w->skew_noted = true;
        w->noted_skew_ns = model_world_skew();
    }
    return true;
}

static bool restart(struct model_world *w, uint64_t draw)
{
    (void)draw;
    return model_world_restart(w);
}

static bool kill_now(struct model_world *w, uint64_t draw)
{
    return model_world_crash(w, false, draw);
}

static bool cut_now(struct model_world *w, uint64_t draw)
{
    return model_world_crash(w, true, draw);
}

/* The crash comes after one of the next operations on the disk, inside of a commit. */
static bool crash_in_commit(struct model_world *w, bool power, uint64_t draw)
{
    bool good = chance_happens(&draw, 50) || model_world_sync(w);

    w->moment.rolled = false;
    w->moment.operations_left = 1 + chance_below(&draw, 5);
    w->moment.wanted = true;
    if (good)
        good = chance_happens(&draw, 40) ? group(w, chance_draw(&draw))
                                         : append(w, chance_draw(&draw)) && model_world_sync(w);
    w->moment.wanted = false;
    w->counts[MODEL_COUNT_IN_FLIGHT] += w->moment.snapshot != NULL;
    return good && model_world_crash(w, power, chance_draw(&draw));
}

static bool kill_in_commit(struct model_world *w, uint64_t draw)
{
    return crash_in_commit(w, false, draw);
}

static bool cut_in_commit(struct model_world *w, uint64_t draw)
{
    return crash_in_commit(w, true, draw);
}

static uint64_t large_content(uint64_t *draw)
{
    struct model_event event;
    struct event given = {0};
    while (given.payload_bytes < 3000) {
        event = (struct model_event){.content = chance_draw(draw)};
        model_world_event(&event, NULL, &given);
    }
    return event.content;
}

/* Publish until the disk is full. True also when it does not get there. */
static bool fill_disk(struct model_world *w, uint64_t *draw, bool *full_out)
{
    struct error error = {0};

    *full_out = false;
    while (w->model.count + 64 < MODEL_EVENTS_MAX) {
        struct model_event event = {.content = large_content(draw)};
        enum appended answer = publish(w, &event, draw);
        if (answer == APPENDED) {
            enum error_code code = segment_log_wait(w->log, segment_log_appended(w->log), &error);
            if (!code) {
                w->vouched = false;
                model_log_commit(&w->model);
                w->pending_bytes = 0;
                segment_log_settle(w->log);
                continue;
            }
            if (code != ERROR_NO_SPACE)
                return model_world_fail(w, "on a full disk: %s", error.text);
            answer = REFUSED;
        }
        if (answer != REFUSED)
            return model_world_fail(w, "on a full disk an event found no room");
        *full_out = true;
        w->counts[MODEL_COUNT_REFUSED]++;
        model_log_withdraw(&w->model);
        w->pending_bytes = 0;
        segment_log_settle(w->log);
        return true;
    }
    return true;
}

/* Full: what is acknowledged is there; then somebody makes room, and the log goes on by itself. */
static bool full_disk(struct model_world *w, uint64_t draw)
{
    struct segment_log_counters counters;
    struct error error = {0};
    bool full;

    if (!model_world_sync(w))
        return false;
    torture_disk_set_capacity(w->disk, torture_disk_used(w->disk) + chance_below(&draw, 150000));
    if (!fill_disk(w, &draw, &full))
        return false;
    if (full && !model_reading_all(w))
        return false;
    uint64_t way = chance_below(&draw, 8);
    torture_disk_set_capacity(w->disk, 0);
    /* Or the machine goes first. */
    if (way < 2 && !model_world_crash(w, way == 0, chance_draw(&draw)))
        return false;
    model_world_pass(SECOND_NS);
    segment_log_settle(w->log);
    segment_log_count(w->log, &counters);
    if (counters.disk_full || segment_log_failure(w->log, &error))
        return model_world_fail(w, "the log does not go on when the disk has room: %s", error.text);
    w->age_known = false;
    w->vouched = true; /* a second has passed */
    return append(w, chance_draw(&draw)) && model_world_sync(w);
}

static bool read_all(struct model_world *w, uint64_t draw)
{
    (void)draw;
    return model_reading_all(w);
}

static const struct {
    const char *text;
    unsigned weight;
    bool (*run)(struct model_world *w, uint64_t draw);
} steps[MODEL_STEP_KINDS] = {
    [MODEL_APPEND] = {"append", 24, append},
    [MODEL_SYNC] = {"sync", 10, sync},
    [MODEL_GROUP] = {"group of blocks", 8, group},
    [MODEL_READ_ALL] = {"read all", 4, read_all},
    [MODEL_READ_FROM] = {"read from a sequence", 6, model_reading_from},
    [MODEL_READ_WINDOW] = {"read a time window of a topic", 4, model_reading_window},
    [MODEL_READER_OPEN] = {"open a reader", 4, model_reading_open},
    [MODEL_READER_SEEK] = {"seek with a reader", 3, model_reading_seek},
    [MODEL_READER_NEXT] = {"read on with a reader", 10, model_reading_next},
    [MODEL_IDLE] = {"idle", 6, idle},
    [MODEL_AGE] = {"age of a segment", 3, let_age},
    [MODEL_CLOCK_JUMP] = {"clock jump", 3, jump},
    [MODEL_RETAIN_BYTES] = {"retention by size", 3, retain_bytes},
    [MODEL_RETAIN_AGE] = {"retention by age", 2, retain_age},
    [MODEL_RESTART] = {"clean restart", 3, restart},
    [MODEL_KILL] = {"kill", 2, kill_now},
    [MODEL_KILL_IN_COMMIT] = {"kill in a commit", 2, kill_in_commit},
    [MODEL_POWER_CUT] = {"power cut", 2, cut_now},
    [MODEL_POWER_CUT_IN_COMMIT] = {"power cut in a commit", 2, cut_in_commit},
    [MODEL_FULL_DISK] = {"full disk", 2, full_disk},
};

const char *model_step_text(unsigned kind)
{
    static const char *const counted[] = {
        "retries",
        "events",
        "rolls",
        "of them by age",
        "groups that filled the memory",
        "refusals by a full disk",
        "segments deleted",
        "holes told to readers",
        "crashes with a commit on its way",
        "retentions that distrusted the clock",
    };
    return kind < MODEL_STEP_KINDS ? steps[kind].text : counted[kind - MODEL_STEP_KINDS];
}

struct model_step model_step_choose(uint64_t *chance)
{
    unsigned sum = 0;
    for (int i = 0; i < MODEL_STEP_KINDS; i++)
        sum += steps[i].weight;
    uint64_t draw = chance_below(chance, sum);
    int kind = 0;
    while (draw >= steps[kind].weight)
        draw -= steps[kind++].weight;
    return (struct model_step){(enum model_step_kind)kind, chance_draw(chance)};
}

bool model_step_run(struct model_world *w, const struct model_step *step)
{
    struct segment_log_counters counters;

    w->counts[step->kind]++;
    model_world_note(w, step->kind);
    bool good = steps[step->kind].run(w, step->draw) && !w->failed;
    if (!good || !w->log)
        return good;
    segment_log_count(w->log, &counters);
    if (counters.rolls < w->rolls) /* Another log object. */
        w->rolls = 0;
    w->counts[MODEL_COUNT_ROLL] += counters.rolls - w->rolls;
    w->rolls = counters.rolls;
    return true;
}
