#include "segment/log.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/file.h"
#include "segment/committer.h"
#include "segment/opening.h"
#include "segment/pending.h"

#define DEFAULT_SEGMENT_BYTES  (UINT64_C(64) << 20)
#define DEFAULT_SEGMENT_AGE_NS (INT64_C(86400) * 1000000000)
#define DEFAULT_BLOCK_BYTES    ((size_t)256 << 10)

struct segment_log {
    struct segment_opening opened; /* writer and producers have gone to the committer */
    struct segment_pending *pending;
    struct segment_committer *committer;
};

static enum error_code fill_in(const struct segment_log_options *given,
                               struct segment_log_options *options_out, struct error *error)
{
    struct segment_log_options options = *given;

    if (options.segment_bytes == 0)
        options.segment_bytes = DEFAULT_SEGMENT_BYTES;
    if (options.segment_age_ns == 0)
        options.segment_age_ns = DEFAULT_SEGMENT_AGE_NS;
    if (options.commit_align == 0)
        options.commit_align = FORMAT_ALIGNMENT;
    if (options.pending_bytes_max == 0)
        options.pending_bytes_max = LOG_PENDING_BYTES;
    if (options.block_bytes_max == 0)
        options.block_bytes_max = DEFAULT_BLOCK_BYTES;
    if (options.segment_bytes < FORMAT_SEGMENT_BYTES_MIN ||
        options.segment_bytes > FORMAT_SEGMENT_BYTES_MAX)
        return error_set(error, ERROR_INVALID,
                         "a segment size of %" PRIu64 " bytes is not between 64K and 4G",
                         options.segment_bytes);
    if (options.segment_age_ns < 0)
        return error_set(error, ERROR_INVALID, "a segment's age must be positive");
    if (options.commit_align != 8 && options.commit_align != 512 && options.commit_align != 4096)
        return error_set(error, ERROR_INVALID,
                         "a commit alignment of %" PRIu32 " is none of 8, 512, 4096",
                         options.commit_align);
    options.segment_bytes = bytes_align(options.segment_bytes, FORMAT_SEGMENT_HEADER_BYTES);
    *options_out = options;
    return OK;
}

static enum error_code start_threads(struct segment_log *log,
                                     const struct segment_log_options *options, struct error *error)
{
    struct segment_opening *opened = &log->opened;
    struct segment_pending_start pending = {
        .bytes_max = options->pending_bytes_max,
        .block_bytes_max = options->block_bytes_max,
        .sequence_next = opened->sequence_next,
        .arrival_ns = opened->arrival_ns,
        .producers = opened->producers,
        .past = opened->past,
        .event_last = opened->event_last,
        .withdrawals_are_taken = options->takes_withdrawals,
    };
    enum error_code code = segment_pending_create(&pending, &log->pending, error);

    if (code)
        return code;
    /* All that recovery accepted is durable: now readers may know. */
    segment_watermark_set_written(opened->watermark, opened->sequence_next - 1);
    segment_watermark_publish(opened->watermark, opened->sequence_next - 1);
    struct segment_committer_start committer = {
        .options = options,
        .log_fd = opened->log_fd,
        .segments_fd = opened->segments_fd,
        .epoch = opened->epoch,
        .writer = opened->writer,
        .producers = opened->producers,
        .past = opened->past,
        .pending = log->pending,
        .watermark = opened->watermark,
        .sequence_next = opened->sequence_next,
        .arrival_ns = opened->arrival_ns,
    };
    code = segment_committer_create(&committer, &log->committer, error);
    if (code)
        return code;
    opened->writer = NULL;
    opened->producers = NULL;
    return OK;
}

enum error_code segment_log_open(const char *path, const struct segment_log_options *given,
                                 struct segment_log **log_out,
                                 struct segment_recovery_report *report_out, struct error *error)
{
    struct segment_recovery_report report;
    struct segment_log_options options;
    enum error_code code = fill_in(given, &options, error);

    if (code)
        return code;
    struct segment_log *log = calloc(1, sizeof *log);
    if (!log)
        return error_set(error, ERROR_MEMORY, "no memory for a log");
    code = segment_opening_run(path, &options, &log->opened, &report, error);
    if (report_out)
        *report_out = report;
    if (code) {
        free(log);
        return code;
    }
    code = start_threads(log, &options, error);
    if (code) {
        segment_pending_free(log->pending);
        segment_opening_release(&log->opened);
        free(log);
        return code;
    }
    *log_out = log;
    return OK;
}

enum error_code segment_log_append(struct segment_log *log, const struct event *event,
                                   enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                                   struct error *error)
{
    return segment_pending_append(log->pending, event, outcome_out, sequence_out, error);
}

enum error_code segment_log_append_together(struct segment_log *log, const struct event *events,
                                            size_t count, uint64_t *sequence_out,
                                            struct error *error)
{
    return segment_pending_append_together(log->pending, events, count, sequence_out, error);
}

bool segment_log_has_room(struct segment_log *log, size_t events, size_t bytes)
{
    return segment_pending_has_room(log->pending, events, bytes);
}

void segment_log_kick(struct segment_log *log)
{
    segment_pending_kick(log->pending);
}

bool segment_log_commit(struct segment_log *log)
{
    return segment_committer_help(log->committer);
}

uint64_t segment_log_written(const struct segment_log *log)
{
    return segment_pending_written(log->pending);
}

uint64_t segment_log_durable(const struct segment_log *log)
{
    return segment_pending_durable(log->pending);
}

uint64_t segment_log_appended(const struct segment_log *log)
{
    return segment_pending_appended(log->pending);
}

uint64_t segment_log_event_last(const struct segment_log *log)
{
    return segment_pending_event_last(log->pending);
}

enum error_code segment_log_wait(struct segment_log *log, uint64_t sequence, struct error *error)
{
    return segment_committer_wait(log->committer, sequence, error);
}

void segment_log_settle(struct segment_log *log)
{
    segment_committer_settle(log->committer);
}

void segment_log_wait_room(struct segment_log *log)
{
    segment_pending_wait_room(log->pending);
}

enum error_code segment_log_failure(const struct segment_log *log, struct error *error)
{
    return segment_pending_failure(log->pending, error);
}

bool segment_log_take_withdrawal(struct segment_log *log, struct error *why_out)
{
    return segment_pending_take_withdrawal(log->pending, why_out);
}

enum error_code segment_log_find_producer(struct segment_log *log, const char *name,
                                          size_t name_bytes, uint64_t *number_out,
                                          struct error *error)
{
    return segment_pending_find_producer(log->pending, name, name_bytes, number_out, error);
}

uint64_t segment_log_producer_number(struct segment_log *log, const char *name, size_t name_bytes)
{
    uint64_t number = 0;
    return segment_log_find_producer(log, name, name_bytes, &number, NULL) ? 0 : number;
}

const uint8_t *segment_log_id(const struct segment_log *log)
{
    return log->opened.log_id;
}

uint64_t segment_log_rolls(const struct segment_log *log)
{
    return segment_committer_rolls(log->committer);
}

void segment_log_count(struct segment_log *log, struct segment_log_counters *counters_out)
{
    segment_committer_count(log->committer, counters_out);
}

void segment_log_read_trouble(struct segment_log *log, struct error *trouble_out)
{
    segment_committer_read_trouble(log->committer, trouble_out);
}

enum error_code segment_log_close(struct segment_log *log, struct error *error)
{
    if (!log)
        return OK;
    enum error_code code = segment_committer_close(log->committer, error);
    segment_pending_free(log->pending);
    segment_opening_release(&log->opened);
    free(log);
    return code;
}
