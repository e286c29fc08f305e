#include "segment/committer.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/signals.h"
#include "segment/preparer.h"

#define IDLE_WATERMARK_NS (INT64_C(100) * 1000000)
/* Not a time: the segment has no event yet. */
#define NO_EVENT            INT64_MIN
#define RETRY_NS            (INT64_C(500) * 1000000)
#define ROLL_PATIENCE_NS    (INT64_C(100) * 1000000)
#define FIRST_SEGMENT_BYTES (UINT64_C(1) << 20)

struct segment_committer {
    struct segment_log_options options;
    int segments_fd;
    uint32_t epoch;
    struct segment_writer *writer;
    struct segment_preparer *preparer;
    struct segment_producers *producers;
    struct segment_past *past;
    struct segment_pending *pending;
    struct segment_watermark *watermark;
    pthread_t thread;

    uint64_t sequence_last; /* written */
    int64_t arrival_ns;     /* of the last block */
    int64_t last_commit_ns; /* monotonic */
    int64_t
        first_event_ns; /* monotonic, of the active segment; NO_EVENT; below 0: before this boot */
    int64_t retry_ns;   /* monotonic; when to try to roll again, while the disk is full */
    size_t wanted_raw, wanted_events; /* … for a block such as the one that found no room */
    struct error failure;             /* the thread's; read after it has ended */

    _Atomic uint64_t events, commits, blocks, rolls, raw_bytes, stored_bytes;
    atomic_bool disk_full;
};

uint64_t segment_committer_next_size(uint64_t used_bytes, uint64_t size_max)
{
    uint64_t size = FIRST_SEGMENT_BYTES;

    while (size < 2 * used_bytes && size < size_max)
        size *= 2;
    return size < size_max ? size : size_max;
}

static void tell(struct segment_committer *c)
{
    if (c->options.on_progress)
        c->options.on_progress(c->options.context);
}

/* Everything written is durable now: say so to other processes, to waiters, to the program. */
static void publish(struct segment_committer *c)
{
    c->last_commit_ns = clock_monotonic_ns();
    atomic_fetch_add(&c->commits, 1);
    segment_watermark_publish(c->watermark, c->sequence_last);
    segment_pending_set_durable(c->pending, c->sequence_last);
}

/*
 * The next segment's file must be there before the present one is sealed: without it the
 * log would have nowhere to write. So this only asks for space; nothing else has changed when it
 * fails.
 */
static enum error_code take_file(struct segment_committer *c,
                                 const struct segment_writer_start *next, size_t raw_bytes,
                                 size_t events, int *fd_out, uint64_t *size_out,
                                 struct error *error)
{
    uint64_t size_min = segment_writer_size_min(next, raw_bytes, events);
    uint64_t wanted =
        segment_committer_next_size(segment_writer_offset(c->writer), c->options.segment_bytes);

    if (wanted < size_min)
        wanted = size_min;
    return segment_preparer_take(c->preparer, size_min, wanted, fd_out, size_out, error);
}

/*
 * A segment without any sequence has the name that the next one needs: it is replaced by rename,
 * not sealed. Readers that have it listed find another header (segment/walk.c).
 */
static bool is_unused(const struct segment_committer *c)
{
    return segment_writer_header(c->writer)->sequence_first > c->sequence_last;
}

/*
 * The next segment begins with the table of producers: who has left that must be on the disk before
 * it has its name.
 */
static enum error_code keep_past(struct segment_committer *c, uint64_t sequence_first,
                                 struct error *error)
{
    if (!segment_producers_is_full(c->producers) && segment_past_is_empty(c->past))
        return OK;
    return segment_past_write(c->past, sequence_first, error);
}

/*
 * Seal the active segment and go on in `fd`. Any failure here is final, but for a name (or for what
 * must be on the disk before) that finds no room (*retry_out): then the sealed segment ends the log
 * for now, and the next try goes on behind it.
 */
static enum error_code change_segment(struct segment_committer *c,
                                      struct segment_writer_start *next, int fd, uint64_t size,
                                      bool *retry_out, struct error *error)
{
    struct segment_writer *writer;

    if (!is_unused(c) && !segment_writer_is_sealed(c->writer)) {
        enum error_code code = segment_writer_seal(c->writer, c->arrival_ns, error);
        if (code) {
            file_close(&fd);
            return code;
        }
        publish(c);
    }
    if (!is_unused(c))
        segment_writer_describe(c->writer, &next->header.predecessor);
    enum error_code code = keep_past(c, next->header.sequence_first, error);
    if (code) {
        file_close(&fd);
        *retry_out = code == ERROR_NO_SPACE;
        return code;
    }
    code = segment_writer_create(next, fd, size, PREPARER_FILE_NAME, &writer, error);
    *retry_out = code == ERROR_NO_SPACE;
    if (code)
        return code;
    segment_writer_close(c->writer);
    c->writer = writer;
    c->first_event_ns = NO_EVENT;
    atomic_fetch_add(&c->rolls, 1);
    segment_preparer_request(c->preparer,
                             segment_committer_next_size(size, c->options.segment_bytes));
    return OK;
}

/*
 * Roll to a segment which has room for a block with such a body. *retry_out: no file could be made,
 * or none could get its name; nothing is lost, try again later.
 */
static enum error_code roll(struct segment_committer *c, size_t raw_bytes, size_t events,
                            bool *retry_out, struct error *error)
{
    struct segment_writer_start next = {
        .segments_fd = c->segments_fd,
        .write_by_map = c->options.write_path == LOG_WRITE_MMAP,
        .header = *segment_writer_header(c->writer),
        .arrival_ns = c->arrival_ns,
        .producers = c->producers,
    };
    uint64_t size;
    int fd;

    next.header.sequence_first = c->sequence_last + 1;
    next.header.created_ns = clock_realtime_ns();
    next.header.epoch = c->epoch;
    next.header.commit_align = c->options.commit_align;
    enum error_code code = take_file(c, &next, raw_bytes, events, &fd, &size, error);
    *retry_out = code != OK;
    return code ? code : change_segment(c, &next, fd, size, retry_out, error);
}

static enum error_code sync_and_publish(struct segment_committer *c, struct error *error)
{
    enum error_code code = segment_writer_sync(c->writer, error);
    if (!code)
        publish(c);
    return code;
}

/* Numbers count as taken from the moment that their events are in a segment. */
static enum error_code note_producers(struct segment_committer *c,
                                      const struct segment_block_builder *builder,
                                      struct error *error)
{
    struct segment_format_block_header header = {.sequence_first = builder->sequence_first,
                                                 .event_count = builder->event_count,
                                                 .raw_bytes = (uint32_t)builder->raw.size};
    struct segment_block_cursor cursor;
    struct event event;
    enum error_code code = OK;

    if (!builder->has_producers)
        return OK;
    segment_block_cursor_init(&cursor, &header, builder->raw.data);
    while (!code && segment_block_cursor_next(&cursor, &event, NULL) == OK)
        if (event.producer_bytes > 0)
            code = segment_producers_note(c->producers, event.producer, event.producer_bytes,
                                          event.number, event.sequence, error);
    return code;
}

static enum error_code write_block(struct segment_committer *c,
                                   const struct segment_block_builder *builder, struct error *error)
{
    assert(builder->event_count > 0 && builder->sequence_first == c->sequence_last + 1);
    struct segment_writer_block block = {
        .kind = FORMAT_BLOCK_EVENTS,
        .sequence_first = builder->sequence_first,
        .event_count = builder->event_count,
        .time_min_ns = builder->time_min_ns,
        .time_max_ns = builder->time_max_ns,
        .arrival_ns = builder->arrival_ns,
        .raw = builder->raw.data,
        .raw_bytes = builder->raw.size,
    };
    uint64_t before = segment_writer_offset(c->writer);
    enum error_code code = segment_writer_put(c->writer, &block, error);
    if (!code)
        code = note_producers(c, builder, error);
    if (code)
        return code;
    c->arrival_ns = builder->arrival_ns;
    c->sequence_last = builder->sequence_first + builder->event_count - 1;
    if (c->first_event_ns == NO_EVENT)
        c->first_event_ns = clock_monotonic_ns();
    atomic_fetch_add(&c->blocks, 1);
    atomic_fetch_add(&c->events, builder->event_count);
    atomic_fetch_add(&c->raw_bytes, builder->raw.size);
    atomic_fetch_add(&c->stored_bytes, segment_writer_offset(c->writer) - before);
    segment_watermark_set_written(c->watermark, c->sequence_last);
    segment_pending_set_written(c->pending, c->sequence_last);
    return OK;
}

/*
 * Room for one block: in the active segment, or in a new one. *shortage_out: there is none and no
 * new segment either; the block was not written.
 */
static enum error_code make_room(struct segment_committer *c,
                                 const struct segment_block_builder *builder,
                                 struct error *shortage_out, struct error *error)
{
    size_t raw_bytes = builder->raw.size, events = builder->event_count;
    struct error why = {0};
    bool retry = false;

    if (segment_writer_fits(c->writer, raw_bytes, events))
        return OK;
    enum error_code code = roll(c, raw_bytes, events, &retry, &why);
    if (code && !retry)
        return error_set(error, code, "%s", why.text);
    if (code)
        *shortage_out = why;
    return OK;
}

/*
 * There is no room for these events, and for what was appended meanwhile: no file has ever held
 * them, so they can be refused instead of left waiting (docs/decisions/).
 */
static enum error_code refuse(struct segment_committer *c, struct segment_pending_block **list,
                              const struct error *shortage, struct error *error)
{
    const struct segment_block_builder *builder = &(*list)->builder;
    struct error why = *shortage;

    c->wanted_raw = builder->raw.size;
    c->wanted_events = builder->event_count;
    why.code = ERROR_NO_SPACE; /* refused for now, whatever the reason: it may pass */
    error_prefix(&why, shortage->code == ERROR_NO_SPACE ? "there is no room for a new segment"
                                                        : "no new segment can be made");
    /* Before anybody can be refused: who asks why then is told. */
    atomic_store(&c->disk_full, true);
    enum error_code code =
        segment_pending_withdraw(c->pending, *list, c->sequence_last, c->producers, &why, error);
    if (code)
        return code;
    *list = NULL;
    c->retry_ns = clock_monotonic_ns() + RETRY_NS;
    tell(c);
    return OK;
}

/* A block without events: a watermark when idle or behind a stop mark, a stop mark at the end. */
static enum error_code mark(struct segment_committer *c, enum segment_format_block_kind kind,
                            struct error *error)
{
    struct segment_writer_block block = {
        .kind = kind,
        .sequence_first = c->sequence_last + 1,
        .arrival_ns = c->arrival_ns,
    };
    enum error_code code = segment_writer_put(c->writer, &block, error);
    if (!code)
        code = segment_writer_sync(c->writer, error);
    c->last_commit_ns = clock_monotonic_ns();
    return code;
}

/*
 * Nothing goes behind a stop mark before a watermark is durable there. Or else, when the power
 * fails and takes all of the first commit, the log looks as cleanly stopped as before, and the
 * sequences of those events, which somebody may have been told, would be given again.
 */
static enum error_code leave_stop(struct segment_committer *c, struct error *error)
{
    return segment_writer_has_put(c->writer) ? OK : mark(c, FORMAT_BLOCK_WATERMARK, error);
}

/* One group: write every block, sync once, publish, give the memory back. */
static enum error_code commit(struct segment_committer *c, struct segment_pending_block **list,
                              struct error *error)
{
    struct error shortage = {0};
    enum error_code code = OK;
    size_t count = 0;

    for (struct segment_pending_block *block = *list; block && !code; block = block->next) {
        code = make_room(c, &block->builder, &shortage, error);
        if (shortage.code)
            break;
        if (!code)
            code = leave_stop(c, error);
        if (!code)
            code = write_block(c, &block->builder, error);
        count++;
    }
    if (code)
        return code;
    if (c->options.report_written && count > 0)
        tell(c);
    /* What is written already must not wait for space. */
    if (segment_writer_has_undurable(c->writer))
        code = sync_and_publish(c, error);
    if (code)
        return code;
    *list = segment_pending_release(c->pending, *list, count);
    tell(c);
    /* Without room for it memory takes some more, and then the log no new producer. */
    if (segment_past_wants_write(c->past)) {
        struct error why;
        segment_past_write(c->past, c->sequence_last + 1, &why);
    }
    return shortage.code ? refuse(c, list, &shortage, error) : OK;
}

static int64_t idle_deadline(const struct segment_committer *c)
{
    return segment_writer_wants_watermark(c->writer) ? c->last_commit_ns + IDLE_WATERMARK_NS
                                                     : INT64_MAX;
}

static int64_t age_deadline(const struct segment_committer *c)
{
    if (c->first_event_ns == NO_EVENT || c->first_event_ns > INT64_MAX - c->options.segment_age_ns)
        return INT64_MAX;
    return c->first_event_ns + c->options.segment_age_ns;
}

static int64_t roll_deadline(const struct segment_committer *c)
{
    return atomic_load(&c->disk_full) ? c->retry_ns : age_deadline(c);
}

/* Because of its age, or because it is full and there was no room for another one. */
static enum error_code roll_again(struct segment_committer *c, struct error *error)
{
    bool full = atomic_load(&c->disk_full);
    bool retry = false;
    struct error why;
    enum error_code code =
        roll(c, full ? c->wanted_raw : 0, full ? c->wanted_events : 0, &retry, &why);

    if (code && !retry)
        return error_set(error, code, "%s", why.text);
    if (code) {
        /* No file for a next segment: nothing has changed, and nothing is lost by waiting. */
        c->retry_ns = clock_monotonic_ns() + RETRY_NS;
        if (!full)
            c->first_event_ns = c->retry_ns - c->options.segment_age_ns;
    } else if (full) {
        atomic_store(&c->disk_full, false);
        segment_pending_resume(c->pending);
    }
    tell(c);
    return OK;
}

/* What is due without any event: an idle watermark, a roll. */
static enum error_code keep_house(struct segment_committer *c, struct error *error)
{
    int64_t now = clock_monotonic_ns();

    if (now >= idle_deadline(c)) {
        enum error_code code = mark(c, FORMAT_BLOCK_WATERMARK, error);
        if (code)
            return code;
    }
    return now >= roll_deadline(c) ? roll_again(c, error) : OK;
}

static int64_t next_deadline(const struct segment_committer *c)
{
    int64_t idle = idle_deadline(c);
    int64_t next = roll_deadline(c);

    return idle < next ? idle : next;
}

/*
 * To roll takes longer than to commit, and who lends a hand has acks to send: that is our thread's
 * own work, unless it does not come to have a turn.
 */
static bool must_keep_house(const struct segment_committer *c, bool lent)
{
    return c->last_commit_ns - (lent ? ROLL_PATIENCE_NS : 0) >= roll_deadline(c);
}

/* With the turn, which goes back: commit this list (NULL: nothing), and do what is due. */
static enum error_code take_turn(struct segment_committer *c, struct segment_pending_block *list,
                                 bool lent)
{
    bool idle = list == NULL;
    enum error_code code = list ? commit(c, &list, &c->failure) : OK;

    if (!code && (idle || must_keep_house(c, lent)))
        code = keep_house(c, &c->failure);
    if (code) {
        segment_pending_fail(c->pending, &c->failure);
        tell(c);
    }
    while (list)
        list = segment_pending_release(c->pending, list, 1);
    segment_pending_leave(c->pending, code ? INT64_MAX : next_deadline(c));
    return code;
}

static void *work(void *context)
{
    struct segment_committer *c = context;

    pthread_setname_np(pthread_self(), "committer");
    enum error_code code = OK;

    while (!code) {
        bool stopping;
        struct segment_pending_block *list = segment_pending_take(c->pending, &stopping);
        code = segment_pending_failure(c->pending, NULL);
        if (!code && !list && stopping)
            break;
        if (!code)
            code = take_turn(c, list, false);
    }
    /* Nothing put since the last stop: its mark still ends the log, and there is no room for
     * endless marks. */
    if (!code && segment_writer_has_put(c->writer) && !segment_writer_is_sealed(c->writer) &&
        mark(c, FORMAT_BLOCK_STOP, &c->failure)) {
        segment_pending_fail(c->pending, &c->failure);
        tell(c);
    }
    return NULL;
}

/* On a thread that is not ours. */
static void lend_turn(struct segment_committer *c, struct segment_pending_block *list)
{
    sigset_t before;

    signals_hold(&before);
    take_turn(c, list, true);
    signals_let(&before);
}

bool segment_committer_help(struct segment_committer *c)
{
    struct segment_pending_block *list = segment_pending_try_take(c->pending);

    if (list)
        lend_turn(c, list);
    return list != NULL;
}

enum error_code segment_committer_wait(struct segment_committer *c, uint64_t sequence,
                                       struct error *error)
{
    struct segment_pending_waiter waiter;
    struct segment_pending_block *list;

    segment_pending_begin_wait(c->pending, &waiter, sequence);
    while ((list = segment_pending_wait(c->pending, &waiter)) != NULL)
        lend_turn(c, list);
    return segment_pending_end_wait(c->pending, &waiter, error);
}

static int64_t age_of_first_event(const struct segment_writer *writer)
{
    const struct segment_seal *totals = segment_writer_totals(writer);
    int64_t age = clock_realtime_ns() - totals->arrival_first_ns;
    int64_t now = clock_monotonic_ns();

    if (totals->event_count == 0)
        return NO_EVENT;
    return age > 0 ? now - age : now;
}

enum error_code segment_committer_create(const struct segment_committer_start *start,
                                         struct segment_committer **committer_out,
                                         struct error *error)
{
    struct segment_committer *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(error, ERROR_MEMORY, "no memory for the committer");
    c->options = *start->options;
    c->segments_fd = start->segments_fd;
    c->epoch = start->epoch;
    c->past = start->past;
    c->pending = start->pending;
    c->watermark = start->watermark;
    c->sequence_last = start->sequence_next - 1;
    c->arrival_ns = start->arrival_ns;
    c->first_event_ns = age_of_first_event(start->writer);
    struct segment_preparer_start preparer = {
        .log_fd = start->log_fd,
        .segments_fd = start->segments_fd,
        .on_change = start->options->on_progress,
        .context = start->options->context,
    };
    enum error_code code = segment_preparer_create(&preparer, &c->preparer, error);
    if (code) {
        free(c);
        return code;
    }
    c->writer = start->writer;
    c->producers = start->producers;
    segment_preparer_request(
        c->preparer, segment_committer_next_size(segment_writer_header(c->writer)->size_bytes,
                                                 c->options.segment_bytes));
    /* As if a turn had ended: what is due, and when, is known before anybody can take one. */
    segment_pending_leave(c->pending, next_deadline(c));
    sigset_t before;
    signals_hold(&before);
    int failed = pthread_create(&c->thread, NULL, work, c);
    signals_let(&before);
    if (failed) {
        segment_preparer_free(c->preparer);
        free(c);
        return error_set_errno(error, failed, "start the committer's thread");
    }
    *committer_out = c;
    return OK;
}

uint64_t segment_committer_rolls(const struct segment_committer *c)
{
    return atomic_load(&c->rolls);
}

void segment_committer_count(struct segment_committer *c, struct segment_log_counters *counters_out)
{
    struct segment_preparer_state preparer;

    segment_preparer_read(c->preparer, &preparer);
    *counters_out = (struct segment_log_counters){
        .events = atomic_load(&c->events),
        .duplicates = segment_pending_duplicates(c->pending),
        .commits = atomic_load(&c->commits),
        .blocks = atomic_load(&c->blocks),
        .rolls = atomic_load(&c->rolls),
        .raw_bytes = atomic_load(&c->raw_bytes),
        .stored_bytes = atomic_load(&c->stored_bytes),
        .prepare_failures = preparer.failures,
        .next_missing = preparer.trouble.code != OK,
        .disk_full = atomic_load(&c->disk_full),
    };
}

/* The preparer first: what it makes now, the committer need not wait for. */
void segment_committer_settle(struct segment_committer *c)
{
    segment_preparer_settle(c->preparer);
    segment_pending_settle(c->pending);
    segment_preparer_settle(c->preparer);
}

void segment_committer_read_trouble(struct segment_committer *c, struct error *trouble_out)
{
    struct segment_preparer_state preparer;

    segment_preparer_read(c->preparer, &preparer);
    *trouble_out = preparer.trouble;
    if (!preparer.trouble.code)
        segment_pending_read_refusal(c->pending, trouble_out);
}

enum error_code segment_committer_close(struct segment_committer *c, struct error *error)
{
    enum error_code code = OK;

    segment_pending_stop(c->pending);
    pthread_join(c->thread, NULL);
    struct error why;
    /* Whose code is never that of a withdrawal: see segment_pending_fail. */
    if (c->failure.code)
        code = segment_pending_failure(c->pending, error);
    else if (segment_pending_take_withdrawal(c->pending, &why))
        code = error_set(error, why.code, "%s", why.text);
    segment_preparer_free(c->preparer);
    segment_writer_close(c->writer);
    segment_producers_free(c->producers);
    free(c);
    return code;
}
