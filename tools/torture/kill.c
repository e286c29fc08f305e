#include "tools/torture/kill.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "indexer/retention.h"
#include "segment/log.h"
#include "segment/reader.h"
#include "tools/torture/chance.h"

enum {
    PRODUCERS = 3,
    BATCH_MAX = 40,        /* events a commit */
    LIFE_US_MAX = 60000,   /* how long a writer may live */
    LEFT_BYTES = 24 << 20, /* what retention leaves */
    PAYLOAD_BYTES_MAX = 3000,
    OPENED = 1, /* what a child tells: it has recovered */
    ACKED,      /* … numbers of a producer up to this are durable */
    REPEATED,   /* … the last of them, sent again, was a duplicate, and is durable */
    BROKEN,     /* … what it saw must not be */
    UNABLE,     /* … the machine would not let it go on; the number is the error's code */
};

/* From child to parent; smaller than PIPE_BUF, so never torn. */
struct message {
    uint32_t kind;
    uint32_t producer;
    uint64_t number;
    char text[200];
};

struct torture_kill {
    char *path;
    uint64_t chance;
    uint64_t acked[PRODUCERS];
    /* What each sequence was seen to hold, from `seen_first` on; 0: nothing. */
    uint64_t *seen;
    uint64_t seen_first, seen_capacity;
    struct torture_kill_counts counts;
};

/* ---- events ---- */

static size_t producer_name(unsigned producer, char name_out[16])
{
    return (size_t)snprintf(name_out, 16, "torture-%u", producer);
}

/* A msgpack binary whose length and bytes follow from producer and number. */
static size_t make_payload(unsigned producer, uint64_t number, uint8_t *to)
{
    uint64_t chance = number * PRODUCERS + producer;
    size_t bytes =
        16 + (size_t)(chance_below(&chance, 8) == 0 ? chance_below(&chance, PAYLOAD_BYTES_MAX - 32)
                                                    : chance_below(&chance, 200));

    to[0] = 0xc5; /* bin 16 */
    to[1] = (uint8_t)(bytes >> 8);
    to[2] = (uint8_t)bytes;
    for (size_t i = 0; i < bytes; i++)
        to[3 + i] = (uint8_t)chance_draw(&chance);
    return 3 + bytes;
}

static void make_event(unsigned producer, uint64_t number, char name[16], uint8_t *payload,
                       struct event *event_out)
{
    *event_out = (struct event){
        .time_ns = EVENT_TIME_NONE,
        .topic = "torture",
        .topic_bytes = 7,
        .payload = payload,
        .payload_bytes = make_payload(producer, number, payload),
        .producer = name,
        .producer_bytes = producer_name(producer, name),
        .number = number,
    };
}

/* ---- the child ---- */

static void tell(int fd, uint32_t kind, unsigned producer, uint64_t number, const char *text)
{
    struct message message = {.kind = kind, .producer = producer, .number = number};

    snprintf(message.text, sizeof message.text, "%s", text);
    if (write(fd, &message, sizeof message) != (ssize_t)sizeof message)
        _exit(1); /* the parent has gone */
}

/* What is wrong with the machine is not the log's fault. */
static void tell_broken(int fd, const struct error *error)
{
    bool unable = error->code == ERROR_NO_SPACE || error->code == ERROR_MEMORY;

    tell(fd, unable ? UNABLE : BROKEN, 0, (uint64_t)error->code, error->text);
    _exit(1);
}

/* Append one event; dies with a message when that must not fail. */
static bool append(struct segment_log *log, int fd, unsigned producer, uint64_t number,
                   uint64_t *sequence_out)
{
    static uint8_t payload[PAYLOAD_BYTES_MAX];
    char name[16];
    struct event event;
    struct error error;
    enum segment_log_outcome outcome;

    make_event(producer, number, name, payload, &event);
    enum error_code code = segment_log_append(log, &event, &outcome, sequence_out, &error);
    if (code)
        tell_broken(fd, &error);
    return outcome == LOG_DUPLICATE;
}

/* What was acknowledged, sent once more, must be known; and the count must go on behind it. */
static void repeat_last(struct segment_log *log, int fd, const struct torture_kill *kill,
                        uint64_t next_out[PRODUCERS])
{
    for (unsigned producer = 0; producer < PRODUCERS; producer++) {
        char name[16];
        size_t name_bytes = producer_name(producer, name);
        uint64_t known = segment_log_producer_number(log, name, name_bytes);
        uint64_t sequence;
        struct error error;
        if (known < kill->acked[producer]) {
            error_set(&error, ERROR_DAMAGED,
                      "the log knows producer %s up to number %" PRIu64
                      " and had acknowledged it up to %" PRIu64,
                      name, known, kill->acked[producer]);
            tell_broken(fd, &error);
        }
        next_out[producer] = known + 1;
        if (known == 0)
            continue;
        if (!append(log, fd, producer, known, &sequence)) {
            error_set(&error, ERROR_DAMAGED, "number %" PRIu64 " of producer %s was stored twice",
                      known, name);
            tell_broken(fd, &error);
        }
        if (segment_log_wait(log, sequence, &error))
            tell_broken(fd, &error);
        tell(fd, REPEATED, producer, known, "");
    }
}

static void publish_for_ever(struct segment_log *log, int fd, uint64_t next[PRODUCERS],
                             uint64_t chance)
{
    for (;;) {
        unsigned producer = (unsigned)chance_below(&chance, PRODUCERS);
        uint64_t batch = 1 + chance_below(&chance, chance_happens(&chance, 30) ? BATCH_MAX : 3);
        uint64_t sequence = 0;
        struct error error;
        for (uint64_t i = 0; i < batch; i++)
            append(log, fd, producer, next[producer]++, &sequence);
        if (segment_log_wait(log, sequence, &error))
            tell_broken(fd, &error);
        tell(fd, ACKED, producer, next[producer] - 1, "");
    }
}

static void live(const struct torture_kill *kill, int fd, uint64_t chance)
{
    struct segment_log_options options = {
        .segment_bytes = 1 << 20,
        .write_path = chance_happens(&chance, 25) ? LOG_WRITE_MMAP : LOG_WRITE_PWRITE,
        .commit_align = chance_happens(&chance, 25) ? 512 : 8,
    };
    struct segment_log *log;
    uint64_t next[PRODUCERS];
    struct error error;

    if (segment_log_open(kill->path, &options, &log, NULL, &error))
        tell_broken(fd, &error);
    tell(fd, OPENED, 0, 0, "");
    repeat_last(log, fd, kill, next);
    publish_for_ever(log, fd, next, chance);
}

/* ---- the parent: kill ---- */

static void send_kill(pid_t pid)
{
    kill(pid, SIGKILL);
}

struct life {
    pid_t pid;
    int fd; /* what the child tells */
    bool opened;
    bool silent; /* it has closed its end: dead */
    struct message last;
};

static enum error_code start(struct torture_kill *kill, struct life *life, struct error *error)
{
    int ends[2];
    uint64_t chance = chance_draw(&kill->chance);

    if (pipe(ends))
        return error_set_errno(error, errno, "make a pipe to a writer");
    fflush(NULL);
    life->pid = fork();
    if (life->pid == 0) {
        close(ends[0]);
        live(kill, ends[1], chance);
    }
    close(ends[1]);
    life->fd = ends[0];
    if (life->pid > 0)
        return OK;
    close(ends[0]);
    return error_set_errno(error, errno, "start a writer");
}

static void note(struct torture_kill *kill, struct life *life)
{
    const struct message *message = &life->last;

    if (message->kind == OPENED)
        life->opened = true;
    if (message->kind == REPEATED)
        kill->counts.repeated++;
    if ((message->kind == ACKED || message->kind == REPEATED) &&
        message->number > kill->acked[message->producer]) {
        kill->counts.acknowledged += message->number - kill->acked[message->producer];
        kill->acked[message->producer] = message->number;
    }
}

/* Take one message, waiting for it until the deadline at most. */
static void listen_once(struct torture_kill *kill, struct life *life, int64_t deadline_ns)
{
    struct pollfd ready = {.fd = life->fd, .events = POLLIN};
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    struct timespec timeout = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    struct message message;

    if (left_ns <= 0 || ppoll(&ready, 1, &timeout, NULL) <= 0)
        return;
    if (read(life->fd, &message, sizeof message) != (ssize_t)sizeof message) {
        life->silent = true;
        return;
    }
    life->last = message;
    note(kill, life);
}

static enum error_code describe_end(const struct life *life, int status, struct error *error)
{
    /* Before the signal: what it told counts, also when it was killed before it could end. */
    if (life->last.kind == BROKEN)
        return error_set(error, ERROR_DAMAGED, "the writer: %s", life->last.text);
    if (life->last.kind == UNABLE && life->last.number == ERROR_NO_SPACE)
        return error_set(error, ERROR_NO_SPACE, "the disk is full: name another directory (%s)",
                         life->last.text);
    if (life->last.kind == UNABLE)
        return error_set(error, ERROR_MEMORY, "the writer: %s", life->last.text);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return OK;
    if (WIFSIGNALED(status))
        return error_set(error, ERROR_DAMAGED, "the writer died of signal %d by itself",
                         WTERMSIG(status));
    return error_set(error, ERROR_IO, "the writer ended by itself");
}

static enum error_code live_and_die(struct torture_kill *kill, struct error *error)
{
    struct life life = {0};
    /* Every fourth is killed so early that it may be still recovering. */
    uint64_t life_us = chance_below(
        &kill->chance, chance_happens(&kill->chance, 25) ? LIFE_US_MAX / 20 : LIFE_US_MAX);
    enum error_code code = start(kill, &life, error);
    if (code)
        return code;
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)life_us * 1000;
    while (!life.silent && clock_monotonic_ns() < deadline_ns)
        listen_once(kill, &life, deadline_ns);
    send_kill(life.pid);
    /* What it told before its death counts. */
    while (!life.silent)
        listen_once(kill, &life, INT64_MAX);
    close(life.fd);
    int status = 0;
    while (waitpid(life.pid, &status, 0) < 0 && errno == EINTR)
        continue;
    kill->counts.kills++;
    kill->counts.while_opening += !life.opened;
    return describe_end(&life, status, error);
}

/* ---- the parent: read ---- */

struct account {
    uint64_t last[PRODUCERS]; /* numbers read so far; 0: none */
};

static bool parse_producer(const struct event *event, unsigned *producer_out)
{
    char name[16];

    for (unsigned producer = 0; producer < PRODUCERS; producer++) {
        size_t bytes = producer_name(producer, name);
        if (event->producer_bytes == bytes && memcmp(event->producer, name, bytes) == 0) {
            *producer_out = producer;
            return true;
        }
    }
    return false;
}

/* Had this sequence another content once? */
static enum error_code check_sequence(struct torture_kill *kill, uint64_t sequence,
                                      uint64_t content, struct error *error)
{
    if (kill->seen_capacity == 0)
        kill->seen_first = sequence;
    uint64_t at = sequence - kill->seen_first;
    if (at >= kill->seen_capacity) {
        uint64_t capacity = at < 65536 ? 65536 : 2 * at;
        uint64_t *seen = realloc(kill->seen, capacity * sizeof *seen);
        if (!seen)
            return error_set(error, ERROR_MEMORY, "no memory for the account of a log");
        memset(seen + kill->seen_capacity, 0, (capacity - kill->seen_capacity) * sizeof *seen);
        kill->seen = seen;
        kill->seen_capacity = capacity;
    }
    if (kill->seen[at] != 0 && kill->seen[at] != content)
        return error_set(error, ERROR_DAMAGED,
                         "sequence %" PRIu64 " holds another event than before a kill", sequence);
    kill->seen[at] = content;
    return OK;
}

static enum error_code check_event(struct torture_kill *kill, struct account *account,
                                   const struct event *event, struct error *error)
{
    static uint8_t payload[PAYLOAD_BYTES_MAX];
    unsigned producer;

    if (!parse_producer(event, &producer))
        return error_set(error, ERROR_DAMAGED, "event %" PRIu64 " was written by nobody",
                         event->sequence);
    size_t bytes = make_payload(producer, event->number, payload);
    if (bytes != event->payload_bytes || memcmp(payload, event->payload, bytes) != 0)
        return error_set(error, ERROR_DAMAGED, "event %" PRIu64 " does not hold what was written",
                         event->sequence);
    uint64_t *last = &account->last[producer];
    if (*last != 0 && event->number != *last + 1)
        return error_set(error, ERROR_DAMAGED,
                         "event %" PRIu64 " is number %" PRIu64
                         " of its producer and follows number %" PRIu64 ": %s",
                         event->sequence, event->number, *last,
                         event->number > *last ? "events are lost" : "an event is there twice");
    *last = event->number;
    return check_sequence(kill, event->sequence, event->number * PRODUCERS + producer, error);
}

static enum error_code check_acknowledged(const struct torture_kill *kill,
                                          const struct account *account, struct error *error)
{
    for (unsigned producer = 0; producer < PRODUCERS; producer++)
        if (account->last[producer] < kill->acked[producer])
            return error_set(error, ERROR_DAMAGED,
                             "number %" PRIu64 " of producer %u was acknowledged, and the log ends "
                             "with number %" PRIu64,
                             kill->acked[producer], producer, account->last[producer]);
    return OK;
}

static enum error_code check_log(struct torture_kill *kill, struct error *error)
{
    struct segment_reader *reader = NULL;
    struct account account = {0};
    struct event event;
    enum error_code code = segment_reader_open(kill->path, &reader, error);

    /* Killed before there was a first segment. */
    if (code == ERROR_NOT_FOUND)
        return check_acknowledged(kill, &account, error);
    while (!code && (code = segment_reader_next(reader, &event, error)) == OK) {
        kill->counts.read++;
        code = check_event(kill, &account, &event, error);
    }
    segment_reader_close(reader);
    return code == ERROR_END ? check_acknowledged(kill, &account, error) : code;
}

static enum error_code delete_old(struct torture_kill *kill, struct error *error)
{
    struct indexer_retention_options options = {.max_bytes = LEFT_BYTES};
    struct indexer_retention_totals totals = {0};
    enum error_code code = indexer_retention_run(kill->path, &options, NULL, NULL, &totals, error);

    kill->counts.deleted += totals.segments_deleted;
    return code == ERROR_NOT_FOUND ? OK : code;
}

enum error_code torture_kill_once(struct torture_kill *kill, struct error *error)
{
    enum error_code code = live_and_die(kill, error);

    if (!code)
        code = check_log(kill, error);
    if (!code && kill->counts.kills % 8 == 0)
        code = delete_old(kill, error);
    return code;
}

/* ---- making ---- */

enum error_code torture_kill_create(const char *path, uint64_t seed, struct torture_kill **kill_out,
                                    struct error *error)
{
    struct torture_kill *kill = calloc(1, sizeof *kill);

    if (kill)
        kill->path = strdup(path);
    if (!kill || !kill->path) {
        free(kill);
        return error_set(error, ERROR_MEMORY, "no memory for the account of a log");
    }
    kill->chance = seed;
    *kill_out = kill;
    return OK;
}

void torture_kill_free(struct torture_kill *kill)
{
    if (!kill)
        return;
    free(kill->seen);
    free(kill->path);
    free(kill);
}

void torture_kill_count(const struct torture_kill *kill, struct torture_kill_counts *counts_out)
{
    *counts_out = kill->counts;
}
