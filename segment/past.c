#include "segment/past.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/past_memory.h"
#include "segment/past_run.h"

static const char directory_name[] = "producers";

/* Between two writes no more than what is not durable yet can leave the table. */
enum { MEMORY_ENTRIES_MAX = 2 * PAST_RUN_ENTRIES };
static_assert((int)MEMORY_ENTRIES_MAX <= (int)PAST_RUN_ENTRIES_MAX, "a run holds what memory does");

struct segment_past {
    int log_fd;
    int directory_fd; /* -1: not made yet */
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    atomic_bool any;

    pthread_mutex_t mutex; /* the runs in memory; never held across a system call */
    struct segment_past_memory open;    /* grows */
    struct segment_past_memory closing; /* full, and not in a file yet, when its count is not 0 */
    struct error trouble;       /* of the last write; code OK: none */

    pthread_rwlock_t runs_lock; /* the list itself: who writes changes it, and nobody else */
    struct segment_past_run *runs; /* ascending by number; PAST_RUNS_MAX + 1 places */
    _Atomic size_t run_count;

    uint64_t number; /* of the file that the open run goes to */
    _Atomic uint64_t through;
    bool written; /* the open run is in its file, with `through` */
    bool lossy, given_up;
};

/* ---- Opening ---- */

static void forget_all(struct segment_past *past)
{
    for (size_t i = 0; i < past->run_count; i++)
        segment_past_run_close(&past->runs[i]);
    past->run_count = 0;
    segment_past_memory_clear(&past->open);
    segment_past_memory_clear(&past->closing);
    past->number = 1;
    past->through = 0;
    past->written = false;
    atomic_store(&past->any, false);
}

/* The newest file: what it holds goes on growing in memory, unless it is full. */
static enum error_code load_newest(struct segment_past *past, uint64_t number,
                                   uint64_t *number_first_out, struct error *error)
{
    struct segment_past_run run;
    struct buffer entries = {0};
    enum error_code code = segment_past_run_open(past->directory_fd, number, past->log_id, &run,
                                                 &entries, error);

    if (!code)
        code = segment_past_memory_load(&past->open, &entries, error);
    buffer_release(&entries);
    if (code)
        return code;
    *number_first_out = run.head.number_first;
    past->number = number;
    past->through = run.head.through;
    past->written = true;
    segment_past_run_close(&run);
    return OK;
}

static enum error_code load(struct segment_past *past, uint64_t newest, struct error *error)
{
    uint64_t number = 0;
    enum error_code code = load_newest(past, newest, &number, error);

    if (!code && newest - number > PAST_RUNS_MAX)
        code = error_set(error, ERROR_DAMAGED, "'%s' has more files than there can be",
                         directory_name);
    for (; !code && number < newest; number++) {
        code = segment_past_run_open(past->directory_fd, number, past->log_id,
                                     &past->runs[past->run_count], NULL, error);
        past->run_count += code == OK;
    }
    if (!code)
        atomic_store(&past->any, past->run_count > 0 || past->open.count > 0);
    return code;
}

static int note_newest(void *context, const char *name)
{
    uint64_t number = segment_past_run_number(name);
    uint64_t *newest = context;
    if (number > *newest)
        *newest = number;
    return 0;
}

/* A crash came between a new file, which no longer names these, and their deletion. */
static int delete_unnamed(void *context, const char *name)
{
    struct segment_past *past = context;
    uint64_t number = segment_past_run_number(name);
    uint64_t number_first = past->run_count ? past->runs[0].head.number : past->number;
    if (number > 0 && number < number_first)
        file_unlink(past->directory_fd, name, NULL); /* the next time, then */
    return 0;
}

/* Of what is there, what can be believed: all of it, or nothing. */
static enum error_code look(struct segment_past *past, struct error *doubt_out,
                            struct error *error)
{
    uint64_t newest = 0;
    enum error_code code =
        file_open_directory_at(past->log_fd, directory_name, false, &past->directory_fd, error);

    if (code == ERROR_NOT_FOUND)
        return OK;
    if (!code)
        code = file_list(past->directory_fd, directory_name, note_newest, &newest, error);
    if (code || newest == 0)
        return code;
    code = load(past, newest, doubt_out);
    if (!code)
        return file_list(past->directory_fd, directory_name, delete_unnamed, past, error);
    forget_all(past);
    return code == ERROR_MEMORY ? error_set(error, code, "%s", doubt_out->text) : OK;
}

enum error_code segment_past_open(int log_fd, const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                  struct segment_past **past_out, struct error *doubt_out,
                                  struct error *error)
{
    struct segment_past *past = calloc(1, sizeof *past);

    *doubt_out = (struct error){0};
    if (past)
        past->runs = calloc(PAST_RUNS_MAX + 1, sizeof *past->runs);
    if (!past || !past->runs) {
        free(past);
        return error_set(error, ERROR_MEMORY, "no memory for the producers of the past");
    }
    past->log_fd = log_fd;
    past->directory_fd = -1;
    past->number = 1;
    memcpy(past->log_id, log_id, FORMAT_LOG_ID_BYTES);
    pthread_mutex_init(&past->mutex, NULL);
    pthread_rwlock_init(&past->runs_lock, NULL);
    enum error_code code = look(past, doubt_out, error);
    if (code) {
        segment_past_close(past);
        return code;
    }
    *past_out = past;
    return OK;
}

void segment_past_close(struct segment_past *past)
{
    if (!past)
        return;
    forget_all(past);
    segment_past_memory_release(&past->open);
    segment_past_memory_release(&past->closing);
    file_close(&past->directory_fd);
    pthread_mutex_destroy(&past->mutex);
    pthread_rwlock_destroy(&past->runs_lock);
    free(past->runs);
    free(past);
}

uint64_t segment_past_through(const struct segment_past *past)
{
    return atomic_load(&past->through);
}

bool segment_past_is_empty(const struct segment_past *past)
{
    return !atomic_load(&past->any);
}

/* ---- Adding and finding ---- */

/* With the mutex held. */
static enum error_code check_room(const struct segment_past *past, struct error *error)
{
    size_t runs = atomic_load(&past->run_count) + (past->closing.count > 0);

    if (past->open.count < PAST_RUN_ENTRIES)
        return OK;
    if (runs >= PAST_RUNS_MAX && !past->lossy)
        return error_set(error, ERROR_FULL,
                         "the log has events of %zu producers and cannot tell apart any more of "
                         "them; give each program one name, not each of its runs, or wait until "
                         "retention has deleted old events",
                         runs * (size_t)PAST_RUN_ENTRIES + past->open.count +
                             (size_t)PRODUCERS_MAX);
    if (past->open.count < MEMORY_ENTRIES_MAX)
        return OK;
    return error_set(error, ERROR_NO_SPACE, "no further producer can be remembered%s%s",
                     past->trouble.code ? ": " : " yet", past->trouble.text);
}

enum error_code segment_past_add(struct segment_past *past,
                                 const struct segment_producers_entry *entry, struct error *error)
{
    pthread_mutex_lock(&past->mutex);
    enum error_code code = check_room(past, error);
    if (!code)
        code = segment_past_memory_put(&past->open, entry, error);
    if (!code) {
        past->written = false;
        atomic_store(&past->any, true);
    }
    pthread_mutex_unlock(&past->mutex);
    return code;
}

/* The newest run first: the first that knows the name knows the last number. */
static enum error_code find_in_files(struct segment_past *past, const char *name,
                                     size_t name_bytes, uint64_t *number_out,
                                     uint64_t *sequence_out, struct error *error)
{
    enum error_code code = ERROR_NOT_FOUND;

    pthread_rwlock_rdlock(&past->runs_lock);
    for (size_t i = past->run_count; i > 0 && code == ERROR_NOT_FOUND; i--)
        code = segment_past_run_find(&past->runs[i - 1], name, name_bytes, number_out,
                                     sequence_out, error);
    pthread_rwlock_unlock(&past->runs_lock);
    return code;
}

enum error_code segment_past_find(struct segment_past *past, const char *name, size_t name_bytes,
                                  uint64_t *number_out, uint64_t *sequence_out,
                                  struct error *error)
{
    pthread_mutex_lock(&past->mutex);
    bool found =
        segment_past_memory_find(&past->open, name, name_bytes, number_out, sequence_out) ||
        segment_past_memory_find(&past->closing, name, name_bytes, number_out, sequence_out);
    pthread_mutex_unlock(&past->mutex);
    if (found)
        return OK;
    /* What left memory meanwhile is in the list of files already: it is never in neither. */
    enum error_code code =
        find_in_files(past, name, name_bytes, number_out, sequence_out, error);
    if (code && code != ERROR_NOT_FOUND)
        error_prefix(error, "whether producer '%.*s' has published before cannot be told",
                     (int)name_bytes, name);
    return code;
}

/* ---- Writing ---- */

/* With the mutex held: the open run is, and there may be a file more. */
static bool is_full(const struct segment_past *past)
{
    return past->open.count >= PAST_RUN_ENTRIES &&
           (past->lossy || atomic_load(&past->run_count) < PAST_RUNS_MAX);
}

bool segment_past_wants_write(struct segment_past *past)
{
    if (segment_past_is_empty(past))
        return false;
    pthread_mutex_lock(&past->mutex);
    bool wants = past->closing.count > 0 || is_full(past);
    pthread_mutex_unlock(&past->mutex);
    return wants;
}

static enum error_code make_directory(struct segment_past *past, struct error *error)
{
    return past->directory_fd >= 0 ? OK
                                   : file_open_directory_at(past->log_fd, directory_name, true,
                                                            &past->directory_fd, error);
}

/* How many of the oldest files hold nothing any more that is left in the log. */
static size_t count_dead(struct segment_past *past)
{
    uint64_t bound = 0;
    size_t dead = 0;

    if (segment_bound_look(past->log_fd, &bound, NULL))
        return 0;
    while (dead < past->run_count && past->runs[dead].head.sequence_max < bound)
        dead++;
    while (past->lossy && past->run_count - dead > PAST_RUNS_MAX - 1) {
        past->given_up = true;
        dead++;
    }
    return dead;
}

static enum error_code write_file(struct segment_past *past,
                                  const struct segment_past_memory *memory, uint64_t number,
                                  uint64_t through, size_t dead, struct error *error)
{
    struct segment_past_run_head head = {
        .number = number,
        .number_first = dead < past->run_count ? past->runs[dead].head.number : number,
        .through = through,
        .sequence_max = memory->sequence_max,
        .count = memory->count,
    };
    memcpy(head.log_id, past->log_id, FORMAT_LOG_ID_BYTES);
    return segment_past_run_write(past->directory_fd, &head, &memory->entries, error);
}

/* A full run: into a file of its own, which is searched in place from then on. */
static enum error_code write_closing(struct segment_past *past, struct error *error)
{
    struct segment_past_run run;
    enum error_code code =
        write_file(past, &past->closing, past->number, past->through, 0, error);

    if (!code)
        code = segment_past_run_open(past->directory_fd, past->number, past->log_id, &run, NULL,
                                     error);
    if (code)
        return code;
    pthread_rwlock_wrlock(&past->runs_lock);
    past->runs[past->run_count] = run;
    past->run_count++;
    pthread_rwlock_unlock(&past->runs_lock);
    pthread_mutex_lock(&past->mutex);
    segment_past_memory_release(&past->closing);
    past->number++;
    pthread_mutex_unlock(&past->mutex);
    return OK;
}

/* The open run as it is now: a copy, for others go on adding to it. */
static enum error_code write_open(struct segment_past *past, uint64_t through, size_t dead,
                                  struct error *error)
{
    struct segment_past_memory copy = {0};

    pthread_mutex_lock(&past->mutex);
    bool done = past->written && past->through == through && dead == 0;
    enum error_code code = done ? OK : segment_past_memory_copy(&copy, &past->open, error);
    past->written = !code;
    pthread_mutex_unlock(&past->mutex);
    if (done || code)
        return code;
    code = write_file(past, &copy, past->number, through, dead, error);
    segment_past_memory_release(&copy);
    if (!code) {
        past->through = through;
        return OK;
    }
    pthread_mutex_lock(&past->mutex);
    past->written = false;
    pthread_mutex_unlock(&past->mutex);
    return code;
}

/* No file names them any more. */
static void drop_dead(struct segment_past *past, size_t dead)
{
    for (; dead > 0; dead--) {
        struct segment_past_run run = past->runs[0];
        pthread_rwlock_wrlock(&past->runs_lock);
        past->run_count--;
        memmove(past->runs, past->runs + 1, past->run_count * sizeof *past->runs);
        pthread_rwlock_unlock(&past->runs_lock);
        file_unlink(past->directory_fd, run.name, NULL);
        segment_past_run_close(&run);
    }
}

static void close_full_run(struct segment_past *past)
{
    pthread_mutex_lock(&past->mutex);
    if (past->closing.count == 0 && is_full(past)) {
        past->closing = past->open;
        past->open = (struct segment_past_memory){0};
        past->written = false;
    }
    pthread_mutex_unlock(&past->mutex);
}

enum error_code segment_past_write(struct segment_past *past, uint64_t through,
                                   struct error *error)
{
    enum error_code code = make_directory(past, error);

    close_full_run(past);
    if (!code && past->closing.count > 0)
        code = write_closing(past, error);
    size_t dead = count_dead(past);
    if (!code)
        code = write_open(past, through, dead, error);
    if (!code)
        drop_dead(past, dead);
    pthread_mutex_lock(&past->mutex);
    past->trouble = code && error ? *error : (struct error){0};
    pthread_mutex_unlock(&past->mutex);
    return code ? error_prefix(error, "remember who has published") : OK;
}

/* ---- With the table ---- */

enum error_code segment_past_note(struct segment_past *past, struct segment_producers *producers,
                                  const struct segment_producers_entry *entry, struct error *error)
{
    struct segment_producers_entry leaver;
    enum error_code code = OK;

    if (segment_producers_leaver(producers, entry->name, entry->name_bytes, &leaver) &&
        leaver.number > 0)
        code = segment_past_add(past, &leaver, error);
    return code ? code
                : segment_producers_note(producers, entry->name, entry->name_bytes, entry->number,
                                         entry->sequence, error);
}

/* ---- Beginning anew ---- */

struct deletion {
    struct segment_past *past;
    struct error *error;
    enum error_code code;
};

static int delete_one(void *context, const char *name)
{
    struct deletion *deletion = context;

    if (segment_past_run_number(name) > 0)
        deletion->code = file_unlink(deletion->past->directory_fd, name, deletion->error);
    return deletion->code != OK;
}

enum error_code segment_past_reset(struct segment_past *past, struct error *error)
{
    struct deletion deletion = {past, error, OK};

    forget_all(past);
    enum error_code code = make_directory(past, error);
    if (!code)
        code = file_list(past->directory_fd, directory_name, delete_one, &deletion, error);
    if (!code)
        code = deletion.code;
    return code ? code : file_sync_directory(past->directory_fd, directory_name, error);
}

void segment_past_set_lossy(struct segment_past *past, bool lossy, bool *given_up_out)
{
    past->lossy = lossy;
    *given_up_out = past->given_up;
}
