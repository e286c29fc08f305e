#include "tests/campaigns/model_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/identity.h"
#include "segment/preparer.h"
#include "tools/torture/chance.h"

/* The log's deadlines lie in the far future of the machine's own clock: no thread wakes for them.
 */
#define ASLEEP_NS  (INT64_C(1) << 60)
#define EPOCH_NS   (INT64_C(1767225600) * 1000000000) /* 2026-01-01 */
#define RESERVE    UINT64_C(65536)                    /* sequences that a power cut costs */
#define ROOT_PATH  "/simulated"
#define PAYLOAD_LO 8

/* The process has one clock (core/clock.h). */
static int64_t real_ns, monotonic_ns;
static uint64_t boot, identity_state;

static int64_t simulated_realtime(void)
{
    return real_ns;
}

static int64_t simulated_monotonic(void)
{
    return ASLEEP_NS + monotonic_ns;
}

static void simulated_boot(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    memset(boot_id_out, 0x5a, CLOCK_BOOT_ID_SIZE);
    memcpy(boot_id_out, &boot, sizeof boot);
}

static void draw_identity(uint8_t *bytes_out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes_out[i] = (uint8_t)chance_draw(&identity_state);
}

void model_world_pass(int64_t ns)
{
    real_ns += ns;
    monotonic_ns += ns;
}

void model_world_jump(int64_t ns)
{
    real_ns += ns;
}

int64_t model_world_now(void)
{
    return real_ns;
}

int64_t model_world_skew(void)
{
    return real_ns - monotonic_ns;
}

bool model_world_fail(struct model_world *w, const char *format, ...)
{
    if (w->failed)
        return false;
    w->failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->failure, sizeof w->failure, format, arguments);
    va_end(arguments);
    return false;
}

void model_world_note(struct model_world *w, uint64_t value)
{
    w->trace ^= value;
    w->trace = chance_draw(&w->trace);
}

/* On a thread of the log: is this the moment? */
void model_world_follow(void *context, struct torture_disk *disk,
                        const struct torture_disk_operation *operation)
{
    struct model_world *w = context;
    struct model_moment *moment = &w->moment;
    w->renamed |= operation->kind == TORTURE_DISK_RENAME;
    if (!moment->wanted || moment->snapshot || moment->rolled)
        return;
    /* From a roll on two threads use the disk, and which is first nobody can repeat. */
    if (operation->kind == TORTURE_DISK_RENAME || strcmp(operation->name, PREPARER_FILE_NAME) == 0)
        moment->rolled = true;
    else if (--moment->operations_left == 0) {
        moment->snapshot = torture_disk_snapshot(disk);
        moment->durable = segment_log_durable(w->log);
        moment->written = segment_log_written(w->log);
    }
}

void model_world_watch(struct model_world *w)
{
    torture_disk_watch(w->disk, model_world_follow, w);
}

static void choose_options(struct model_world *w)
{
    static const uint32_t aligns[] = {8, 512, 4096};
    uint64_t draw = w->seed;
    w->options = (struct segment_log_options){
        .segment_bytes = FORMAT_SEGMENT_BYTES_MIN,
        .segment_age_ns = INT64_C(3600) * 1000000000,
        .block_bytes_max = MODEL_BLOCK_BYTES,
        .pending_bytes_max = MODEL_PENDING_BYTES,
        .commit_align = aligns[chance_below(&draw, 3)],
        .write_path = chance_happens(&draw, 25) ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
    };
}

bool model_world_open_log(struct model_world *w, struct segment_recovery_report *report_out,
                          struct error *error)
{
    struct segment_log *log = NULL;
    enum error_code code = segment_log_open(MODEL_PATH, &w->options, &log, report_out, error);
    model_world_note(w, code);
    if (code)
        return false;
    w->log = log;
    segment_log_settle(log);
    w->pending_bytes = 0;
    w->age_known = w->floor_is_exact = false;
    model_world_note(w, report_out->verdict);
    model_world_note(w, report_out->sequence_next);
    model_world_note(w, report_out->gap_first);
    model_world_note(w, report_out->gap_last);
    return true;
}

void model_world_open(struct model_world *w, uint64_t seed)
{
    static const struct clock_source source = {
        .realtime_ns = simulated_realtime,
        .monotonic_ns = simulated_monotonic,
        .boot_id = simulated_boot,
    };
    struct segment_recovery_report report;
    struct error error = {0};

    memset(w, 0, sizeof *w);
    model_log_init(&w->model);
    w->seed = w->trace = seed;
    w->vouched = true;
    w->floor_is_exact = true;
    real_ns = EPOCH_NS;
    monotonic_ns = 0;
    boot = 1;
    identity_state = seed;
    clock_use(&source);
    identity_use(draw_identity);
    file_calls_use(torture_disk_calls());
    choose_options(w);
    w->disk = torture_disk_create(0);
    torture_disk_mount(w->disk, ROOT_PATH);
    model_world_watch(w);
    if (!model_world_open_log(w, &report, &error))
        model_world_fail(w, "a new log cannot be opened: %s", error.text);
    else if (!report.created || report.sequence_next != 1)
        model_world_fail(w, "a new log is not new");
    w->age_known = w->floor_is_exact = true;
}

static void close_readers(struct model_world *w)
{
    for (int i = 0; i < MODEL_READERS; i++) {
        segment_reader_close(w->readers[i].reader);
        w->readers[i].reader = NULL;
    }
}

void model_world_close(struct model_world *w)
{
    close_readers(w);
    segment_log_close(w->log, NULL);
    torture_snapshot_free(w->moment.snapshot);
    torture_disk_mount(NULL, ROOT_PATH);
    torture_disk_free(w->disk);
    w->disk = NULL;
    w->log = NULL;
    w->moment.snapshot = NULL;
    file_calls_use(NULL);
    clock_use(NULL);
    identity_use(NULL);
}

/* Mostly small ones; some take a block of their own. */
static size_t payload_bytes(uint64_t draw)
{
    uint64_t dice = draw % 100, rest = draw >> 8;
    if (dice < 75)
        return PAYLOAD_LO + rest % 300;
    return PAYLOAD_LO + rest % (dice < 98 ? 6000 : MODEL_PAYLOAD_MAX - PAYLOAD_LO);
}

/* What no block compresses: it repeats only where LZ4 looks no further back. */
static const uint8_t *noise_at(uint64_t draw)
{
    enum { PERIOD = 65536 };
    static uint8_t noise[2 * PERIOD];
    static bool made;
    uint64_t state = 1;

    for (size_t i = 0; !made && i < PERIOD; i += 8) {
        uint64_t word = chance_draw(&state);
        memcpy(noise + i, &word, 8);
        memcpy(noise + PERIOD + i, &word, 8);
    }
    made = true;
    return noise + draw % PERIOD;
}

static void fill(uint8_t *payload, size_t size, bool noise, uint64_t draw)
{
    const uint8_t *from = noise_at(draw);

    for (size_t i = 0; i < size;) {
        size_t part = noise ? 65536 : 8;
        uint64_t word = i;
        if (part > size - i)
            part = size - i;
        memcpy(payload + i, noise ? from : (const uint8_t *)&word, part);
        i += part;
    }
    memcpy(payload, &draw, size < 8 ? size : 8);
}

void model_world_event(const struct model_event *from, uint8_t *payload, struct event *event_out)
{
    static const char *const names[MODEL_PRODUCERS] = {"", "alpha", "beta", "gamma", "delta-4"};
    static const char *const topics[] = {"t", "orders.created", "sensor/7/temperature", "a:b"};
    uint64_t chance = from->content;
    uint64_t draw = chance_draw(&chance);
    size_t size = payload_bytes(draw);
    bool noise = draw >> 63;

    if (payload)
        fill(payload, size, noise, chance_draw(&chance));
    const char *topic = topics[(draw >> 56) % 4];
    *event_out = (struct event){
        .time_ns = from->time_known ? from->time_ns : EVENT_TIME_NONE,
        .topic = topic,
        .topic_bytes = strlen(topic),
        .payload = payload,
        .payload_bytes = size,
        .producer = names[from->producer],
        .producer_bytes = strlen(names[from->producer]),
        .number = from->number,
    };
}

/* The time that the log chose: not after it was appended, and once seen it stays. */
static bool time_matches(struct model_event *expected, int64_t given_ns)
{
    if (!expected->time_known && given_ns <= expected->time_ns) {
        expected->time_known = true;
        expected->time_ns = given_ns;
    }
    return expected->time_known && given_ns == expected->time_ns;
}

bool model_world_matches(struct model_world *w, struct model_event *expected,
                         const struct event *given)
{
    static uint8_t payload[MODEL_PAYLOAD_MAX + 8];
    struct event event;

    model_world_event(expected, payload, &event);
    model_world_note(w, given->sequence);
    model_world_note(w, (uint64_t)given->time_ns);
    return given->sequence == expected->sequence && given->number == event.number &&
           given->topic_bytes == event.topic_bytes &&
           memcmp(given->topic, event.topic, event.topic_bytes) == 0 &&
           given->producer_bytes == event.producer_bytes &&
           memcmp(given->producer, event.producer, event.producer_bytes) == 0 &&
           given->payload_bytes == event.payload_bytes &&
           memcmp(given->payload, payload, event.payload_bytes) == 0 &&
           time_matches(expected, given->time_ns);
}

bool model_world_sync(struct model_world *w)
{
    uint64_t last = segment_log_appended(w->log);
    struct error error = {0};

    if (last != w->model.sequence_next - 1)
        return model_world_fail(w, "the log has given %" PRIu64 " sequences, the model %" PRIu64,
                                last, w->model.sequence_next - 1);
    if (segment_log_wait(w->log, last, &error))
        return model_world_fail(w, "a commit failed: %s", error.text);
    w->vouched &= w->model.durable == w->model.count;
    w->aging |= w->model.durable != w->model.count;
    model_log_commit(&w->model);
    w->pending_bytes = 0;
    segment_log_settle(w->log);
    if (segment_log_durable(w->log) != last)
        return model_world_fail(w, "%" PRIu64 " is durable after a commit, not %" PRIu64,
                                segment_log_durable(w->log), last);
    model_world_note(w, last);
    return true;
}

/*
 * A log that rolls while it is closed may or may not have begun to prepare the segment after that,
 * and to delete it again: a power cut later would draw for more or for fewer names.
 */
static bool sync_names(struct model_world *w)
{
    struct error error = {0};
    int fd = -1;
    enum error_code code = file_open_directory(MODEL_PATH "/segments", false, &fd, &error);
    if (!code)
        code = file_sync_directory(fd, "segments", &error);
    file_close(&fd);
    return !code || model_world_fail(w, "after a clean stop: %s", error.text);
}

bool model_world_restart(struct model_world *w)
{
    struct segment_recovery_report report;
    struct error error = {0};

    w->renamed = false;
    if (segment_log_close(w->log, &error)) {
        w->log = NULL;
        return model_world_fail(w, "a clean stop failed: %s", error.text);
    }
    w->log = NULL;
    if (w->renamed && !sync_names(w))
        return false;
    w->vouched = true; /* by the stop mark */
    model_log_commit(&w->model);
    model_world_note(w, torture_disk_hash(w->disk));
    if (!model_world_open_log(w, &report, &error))
        return model_world_fail(w, "after a clean stop the log cannot be opened: %s", error.text);
    if (report.verdict != RECOVERY_CLEAN || report.gap_first != 0 ||
        report.sequence_next != w->model.sequence_next)
        return model_world_fail(w, "after a clean stop: %s, next %" PRIu64 " instead of %" PRIu64,
                                segment_recovery_verdict_text(report.verdict), report.sequence_next,
                                w->model.sequence_next);
    return true;
}

/*
 * Read all; the events must be the model's first ones, in order. *kept_out: how many of the model's
 * are there. False: one is not the model's, or there is damage.
 */
static bool read_kept(struct model_world *w, const char *when, size_t *kept_out)
{
    struct segment_reader *reader = NULL;
    struct error error = {0};
    struct event event;
    size_t at = model_log_find(&w->model, 1);
    enum error_code code = segment_reader_open(MODEL_PATH, &reader, &error);

    while (!code && (code = segment_reader_next(reader, &event, &error)) == OK) {
        if (at == w->model.count || !model_world_matches(w, &w->model.events[at], &event)) {
            segment_reader_close(reader);
            return model_world_fail(w, "%s: event %" PRIu64 " is not what was appended", when,
                                    event.sequence);
        }
        at++;
    }
    segment_reader_close(reader);
    *kept_out = at;
    return code == ERROR_END || model_world_fail(w, "%s: reading fails: %s", when, error.text);
}

static struct torture_disk *disk_after(struct model_world *w, bool power, uint64_t draw)
{
    static const unsigned percents[] = {0, 10, 50, 90, 100};
    struct torture_snapshot *snapshot =
        w->moment.snapshot ? w->moment.snapshot : torture_disk_snapshot(w->disk);
    struct torture_power rule = {
        .unit_bytes = chance_happens(&draw, 70) ? 512 : 4096,
        .survive_percent = percents[chance_below(&draw, 5)],
        .size_first = chance_happens(&draw, 30),
        .names = chance_happens(&draw, 50) ? TORTURE_NAMES_ORDERED : TORTURE_NAMES_EACH,
        .names_survive_percent = percents[chance_below(&draw, 5)],
    };
    struct torture_disk *after =
        power ? torture_disk_after_power_cut(snapshot, &rule, chance_draw(&draw))
              : torture_disk_after_kill(snapshot);
    torture_snapshot_free(snapshot);
    w->moment.snapshot = NULL;
    return after;
}

/* What was on the way when the crash came may be there or not; the sequences tell. */
static bool check_sequences(struct model_world *w, const struct segment_recovery_report *report,
                            bool power, size_t kept)
{
    const struct model_log *model = &w->model;
    uint64_t base =
        kept == model->durable ? model->sequence_next_durable : model->events[kept].sequence;
    uint64_t next = report->sequence_next;
    bool clean = report->verdict == RECOVERY_CLEAN;

    if (report->verdict == RECOVERY_CORRUPT || report->verdict == RECOVERY_DAMAGED_TAIL)
        return model_world_fail(w, "a crash left what recovery calls a %s",
                                segment_recovery_verdict_text(report->verdict));
    if (power && !clean && next != base + RESERVE)
        return model_world_fail(w,
                                "after a power cut the next sequence is %" PRIu64 ", not %" PRIu64,
                                next, base + RESERVE);
    if ((!power || clean) && (next < base || next > model->sequence_next))
        return model_world_fail(
            w, "after a crash the next sequence is %" PRIu64 ", not %" PRIu64 " to %" PRIu64, next,
            base, model->sequence_next);
    if (next <= w->moment.written)
        return model_world_fail(w, "sequence %" PRIu64 " was told as written and is given again",
                                w->moment.written);
    return true;
}

bool model_world_crash(struct model_world *w, bool power, uint64_t draw)
{
    struct segment_recovery_report report;
    struct torture_disk *old = w->disk;
    struct error error = {0};
    size_t at_rest = 0, kept = 0;
    bool rest_first = draw & 1;

    if (!w->moment.snapshot) {
        w->moment.durable = segment_log_durable(w->log);
        w->moment.written = segment_log_written(w->log);
    }
    w->disk = disk_after(w, power, draw);
    w->moment.wanted = false;
    close_readers(w);
    torture_disk_watch(old, NULL, NULL);
    torture_disk_mount(w->disk, ROOT_PATH);
    segment_log_close(w->log, NULL); /* Nobody asks any more. */
    w->log = NULL;
    torture_disk_free(old);
    if (power) {
        boot++;
        monotonic_ns = 0;
        w->skew_noted = false;
    }
    model_world_watch(w);
    model_world_note(w, torture_disk_hash(w->disk));
    if (rest_first && !read_kept(w, "at rest after a crash", &at_rest))
        return false;
    if (!model_world_open_log(w, &report, &error))
        return model_world_fail(w, "after a crash the log cannot be opened: %s", error.text);
    if (!read_kept(w, "after recovery", &kept))
        return false;
    size_t acknowledged = model_log_find(&w->model, w->moment.durable + 1);
    if (kept < acknowledged || kept < at_rest)
        return model_world_fail(w,
                                "a crash took acknowledged events: %zu are left of %zu (%zu at "
                                "rest)",
                                kept, acknowledged, at_rest);
    if (!check_sequences(w, &report, power, kept))
        return false;
    model_log_crash(&w->model, kept, report.sequence_next);
    w->vouched = true; /* A new segment, or one that ends with a mark. */
    return true;
}
