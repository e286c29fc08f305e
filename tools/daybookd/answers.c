#include "tools/daybookd/answers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct answers_mark *mark_at(const struct answers *answers, size_t index)
{
    return &answers->marks[(answers->marks_first + index) & (answers->marks_capacity - 1)];
}

static enum error_code grow_marks(struct answers *answers, struct error *error)
{
    size_t capacity = answers->marks_capacity ? 2 * answers->marks_capacity : 8;
    struct answers_mark *marks = malloc(capacity * sizeof *marks);
    if (!marks)
        return error_set(error, ERROR_MEMORY, "no memory for %zu waiting answers", capacity);
    for (size_t i = 0; i < answers->marks_count; i++)
        marks[i] = *mark_at(answers, i);
    free(answers->marks);
    answers->marks = marks;
    answers->marks_first = 0;
    answers->marks_capacity = capacity;
    return OK;
}

static uint64_t stream_end(const struct answers *answers)
{
    return answers->sent + (answers->bytes.size - answers->sent_here);
}

enum error_code answers_mark(struct answers *answers, uint64_t sequence, struct error *error)
{
    uint64_t end = stream_end(answers);
    struct answers_mark *last =
        answers->marks_count ? mark_at(answers, answers->marks_count - 1) : NULL;
    if (last && sequence <= last->sequence) {
        last->end = end;
        return OK;
    }
    if (!last && sequence == 0) {
        answers->released = end;
        return OK;
    }
    if (answers->marks_count == answers->marks_capacity) {
        enum error_code code = grow_marks(answers, error);
        if (code)
            return code;
    }
    answers->marks_count++;
    *mark_at(answers, answers->marks_count - 1) = (struct answers_mark){sequence, end};
    return OK;
}

void answers_release(struct answers *answers, uint64_t sequence)
{
    while (answers->marks_count > 0 && mark_at(answers, 0)->sequence <= sequence) {
        answers->released = mark_at(answers, 0)->end;
        answers->marks_first = (answers->marks_first + 1) & (answers->marks_capacity - 1);
        answers->marks_count--;
    }
}

void answers_withdraw(struct answers *answers)
{
    answers->marks_count = 0;
    answers->bytes.size = answers->sent_here + (size_t)(answers->released - answers->sent);
}

enum error_code answers_take_back(struct answers *answers, struct buffer *out, struct error *error)
{
    size_t ready = answers->sent_here + (size_t)(answers->released - answers->sent);
    enum error_code code =
        buffer_append(out, answers->bytes.data + ready, answers->bytes.size - ready, error);
    if (!code)
        answers_withdraw(answers);
    return code;
}

bool answers_are_waiting(const struct answers *answers)
{
    return answers->marks_count > 0;
}

size_t answers_ready_bytes(const struct answers *answers)
{
    return (size_t)(answers->released - answers->sent);
}

size_t answers_total_bytes(const struct answers *answers)
{
    return answers->bytes.size - answers->sent_here;
}

size_t answers_memory(const struct answers *answers)
{
    return answers->bytes.capacity + answers->marks_capacity * sizeof *answers->marks;
}

/* Nothing is left: what a burst has needed goes back. */
static void shrink(struct answers *answers)
{
    enum { KEEP_BYTES = 4096 };
    answers->bytes.size = 0;
    answers->sent_here = 0;
    if (answers->bytes.capacity > KEEP_BYTES)
        buffer_release(&answers->bytes);
    if (answers->marks_count > 0 || answers->marks_capacity * sizeof *answers->marks <= KEEP_BYTES)
        return;
    free(answers->marks);
    answers->marks = NULL;
    answers->marks_first = answers->marks_capacity = 0;
}

enum error_code answers_send(struct answers *answers, int fd, bool *blocked_out,
                             struct error *error)
{
    enum { MOVE_BYTES = 65536 };
    bool blocked = false;
    while (answers_ready_bytes(answers) > 0 && !blocked) {
        ssize_t sent = send(fd, answers->bytes.data + answers->sent_here,
                            answers_ready_bytes(answers), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
            return error_set(error, ERROR_CLOSED, "the client has gone");
        blocked = sent < 0;
        if (sent > 0) {
            answers->sent += (uint64_t)sent;
            answers->sent_here += (size_t)sent;
        }
    }
    if (answers->sent_here == answers->bytes.size) {
        shrink(answers);
    } else if (answers->sent_here > MOVE_BYTES) {
        buffer_consume(&answers->bytes, answers->sent_here);
        answers->sent_here = 0;
    }
    *blocked_out = blocked;
    return OK;
}

void answers_free(struct answers *answers)
{
    free(answers->marks);
    buffer_release(&answers->bytes);
    *answers = (struct answers){0};
}
