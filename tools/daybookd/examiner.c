#include "tools/daybookd/examiner.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/daybookd/line.h"

enum { EXAMINER_NICE = 5, LINE_KEEP_BYTES = 65536 };

struct examiner {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wanted;
    bool begun; /* a job is there to be done */
    bool done;  /* its result is there */
    bool stopping;
    int fd;
    struct examiner_job job;
    struct examiner_result result;
    struct gate_finding *findings; /* empty but for those of the result */
    struct error reasons[WIRE_REASONS_MAX];
    size_t reason_count;
    struct expectations_past past; /* … nothing, but for that of the result */
    struct json_reader *json;
    struct buffer converted;
};

static const struct error fine = {.code = OK};
static const struct error refused = {.code = ERROR_INVALID};

/* The checker's word on one event. After many refusals their texts may be missing. */
static const struct error *judge(struct examiner *examiner, const struct event *event)
{
    if (examiner->reason_count == WIRE_REASONS_MAX)
        return event_check(event, NULL) ? &refused : &fine;
    struct error *reason = &examiner->reasons[examiner->reason_count];
    if (event_check(event, reason) == OK)
        return &fine;
    examiner->reason_count++;
    return reason;
}

static void examine_pub(struct examiner *examiner)
{
    const struct examiner_job *job = &examiner->job;
    struct examiner_result *result = &examiner->result;
    struct msgpack_cursor cursor = {job->data, job->data + job->size};
    result->code = wire_read_pub(cursor, job->left, &job->producer, result->events, &result->pub,
                                 &result->error);
}

static void examine_line(struct examiner *examiner)
{
    const struct examiner_job *job = &examiner->job;
    struct examiner_result *result = &examiner->result;
    examiner->converted.size = 0;
    struct line_said said = {0};
    result->code = line_read(examiner->json, (const char *)job->data, job->size,
                             &examiner->converted, &said, &result->error);
    result->events[0] = said.event;
    result->expected = said.expected;
    result->pub = (struct wire_pub){.event_count = 1};
}

static void examine(struct examiner *examiner)
{
    struct examiner_result *result = &examiner->result;
    examiner->reason_count = 0;
    if (examiner->job.past_through > 0)
        expectations_load(examiner->job.directory, examiner->job.past_through, &examiner->past);
    if (examiner->job.is_line)
        examine_line(examiner);
    else
        examine_pub(examiner);
    for (uint32_t i = 0; !result->code && i < result->pub.event_count; i++) {
        struct gate_finding *finding = &examiner->findings[i];
        result->known[i] =
            (struct intake_known){judge(examiner, &result->events[i]), finding};
        if (result->known[i].verdict == &fine)
            gate_examine(examiner->job.gate, &result->events[i], finding);
    }
}

static void *run(void *context)
{
    struct examiner *examiner = context;

    pthread_setname_np(pthread_self(), "examiner");
    /* Of this thread only, on Linux; without it all goes on as well, only less evenly. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), EXAMINER_NICE);
    pthread_mutex_lock(&examiner->mutex);
    for (;;) {
        while (!examiner->begun && !examiner->stopping)
            pthread_cond_wait(&examiner->wanted, &examiner->mutex);
        if (examiner->stopping)
            break;
        examiner->begun = false;
        pthread_mutex_unlock(&examiner->mutex);
        examine(examiner);
        pthread_mutex_lock(&examiner->mutex);
        examiner->done = true;
        uint64_t one = 1;
        ssize_t written = write(examiner->fd, &one, sizeof one);
        assert(written == sizeof one || errno == EAGAIN);
        (void)written;
    }
    pthread_mutex_unlock(&examiner->mutex);
    return NULL;
}

static void forget_findings(struct examiner *examiner)
{
    const struct examiner_result *result = &examiner->result;
    for (uint32_t i = 0; !result->code && i < result->pub.event_count; i++)
        gate_forget(examiner->job.gate, &examiner->findings[i]);
    expectations_forget(&examiner->past);
}

static enum error_code make(struct examiner *examiner, struct error *error)
{
    struct examiner_result *result = &examiner->result;
    result->past = &examiner->past;
    result->events = calloc(WIRE_EVENTS_MAX, sizeof *result->events);
    result->known = calloc(WIRE_EVENTS_MAX, sizeof *result->known);
    examiner->findings = calloc(WIRE_EVENTS_MAX, sizeof *examiner->findings);
    if (!result->events || !result->known || !examiner->findings)
        return error_set(error, ERROR_MEMORY, "no memory for the events of a frame");
    enum error_code code = json_reader_create(&examiner->json, error);
    if (code)
        return code;
    examiner->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (examiner->fd < 0)
        return error_set_errno(error, errno, "create an eventfd");
    return OK;
}

static void release(struct examiner *examiner)
{
    pthread_cond_destroy(&examiner->wanted);
    pthread_mutex_destroy(&examiner->mutex);
    json_reader_free(examiner->json);
    buffer_release(&examiner->converted);
    free(examiner->result.events);
    free(examiner->result.known);
    free(examiner->findings);
    file_close(&examiner->fd);
    free(examiner);
}

enum error_code examiner_create(struct examiner **examiner_out, struct error *error)
{
    struct examiner *examiner = calloc(1, sizeof *examiner);
    if (!examiner)
        return error_set(error, ERROR_MEMORY, "no memory for the examiner");
    examiner->fd = -1;
    pthread_mutex_init(&examiner->mutex, NULL);
    pthread_cond_init(&examiner->wanted, NULL);
    enum error_code code = make(examiner, error);
    if (!code) {
        int result = pthread_create(&examiner->thread, NULL, run, examiner);
        if (result)
            code = error_set_errno(error, result, "start the examiner's thread");
    }
    if (code) {
        release(examiner);
        return code;
    }
    *examiner_out = examiner;
    return OK;
}

void examiner_free(struct examiner *examiner)
{
    if (!examiner)
        return;
    pthread_mutex_lock(&examiner->mutex);
    examiner->stopping = true;
    pthread_cond_signal(&examiner->wanted);
    pthread_mutex_unlock(&examiner->mutex);
    pthread_join(examiner->thread, NULL);
    if (examiner->done)
        forget_findings(examiner);
    release(examiner);
}

int examiner_fd(const struct examiner *examiner)
{
    return examiner->fd;
}

void examiner_begin(struct examiner *examiner, const struct examiner_job *job)
{
    pthread_mutex_lock(&examiner->mutex);
    assert(!examiner->begun && !examiner->done);
    examiner->job = *job;
    examiner->begun = true;
    pthread_cond_signal(&examiner->wanted);
    pthread_mutex_unlock(&examiner->mutex);
}

const struct examiner_result *examiner_result(struct examiner *examiner)
{
    uint64_t count;
    if (read(examiner->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return NULL;
    pthread_mutex_lock(&examiner->mutex);
    const struct examiner_result *result = examiner->done ? &examiner->result : NULL;
    pthread_mutex_unlock(&examiner->mutex);
    return result;
}

void examiner_finish(struct examiner *examiner)
{
    pthread_mutex_lock(&examiner->mutex);
    assert(examiner->done);
    examiner->done = false;
    pthread_mutex_unlock(&examiner->mutex);
    forget_findings(examiner);
    if (examiner->converted.capacity > LINE_KEEP_BYTES)
        buffer_release(&examiner->converted);
}
