/*
 * tools/daybookd/answers.h - what a connection will be told, and when it may leave.
 *
 * An answer is encoded when its request is taken; an ack's contents are known by then. Only its
 * moment is not: it may leave once the log has reached the sequence that it vouches for. So the
 * queue is one run of bytes, in the order of the requests, with marks: up to this byte, once the
 * watermark has come to that sequence.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_ANSWERS_H
#define DAYBOOK_TOOLS_DAYBOOKD_ANSWERS_H

#include <stdbool.h>

#include "core/bytes.h"

struct answers_mark {
    uint64_t sequence; /* ascending along the queue */
    uint64_t end;      /* counted from the first byte that this connection was ever given */
};

/* Zero-initialised is empty; release frees. */
struct answers {
    struct buffer bytes; /* [sent, …) of the stream */
    uint64_t sent;       /* stream position of bytes.data[sent_here] */
    size_t sent_here;    /* bytes at the front of the buffer that have left already */
    uint64_t released;   /* stream position up to which bytes may leave */
    struct answers_mark *marks;
    size_t marks_first, marks_count, marks_capacity; /* a ring; the capacity is a power of two */
};

/*
 * Everything appended to answers->bytes up to now waits for `sequence` (0: for nothing but the
 * answers before it).
 */
enum error_code answers_mark(struct answers *answers, uint64_t sequence, struct error *error);
/* The log has come to `sequence`. */
void answers_release(struct answers *answers, uint64_t sequence);
/* Take back what may not leave yet. */
void answers_withdraw(struct answers *answers);

/* The same, but append them to `out`, to be changed and given anew. */
enum error_code answers_take_back(struct answers *answers, struct buffer *out, struct error *error);

/* Answers that wait for the log. */
bool answers_are_waiting(const struct answers *answers);
/* Bytes that may leave now; bytes in all. */
size_t answers_ready_bytes(const struct answers *answers);
size_t answers_total_bytes(const struct answers *answers);
/* What is allocated for them. */
size_t answers_memory(const struct answers *answers);

/*
 * Send what may leave. *blocked_out: the socket took no more. ERROR_CLOSED: the client is gone.
 */
enum error_code answers_send(struct answers *answers, int fd, bool *blocked_out,
                             struct error *error);
void answers_free(struct answers *answers);

#endif
