/*
 * tools/daybookd/examiner.h - looks through frames and lines that take long, on a thread of its
 * own.
 *
 * A megabyte of msgpack may hold a million values, and looking at each of them takes milliseconds:
 * too long for the thread that serves everybody. What has more than EXAMINER_VALUES, or is a line
 * longer than EXAMINER_LINE_BYTES, is looked through here, one at a time, at lower priority; its
 * connection waits meanwhile, the others do not.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_EXAMINER_H
#define DAYBOOK_TOOLS_DAYBOOKD_EXAMINER_H

#include "core/json.h"
#include "tools/client/wire.h"
#include "tools/daybookd/intake.h"

enum {
    EXAMINER_VALUES = 16384,
    EXAMINER_LINE_BYTES = 16384,
};

/* What is asked for. The bytes stay where and as they are until the result has been used. */
struct examiner_job {
    bool is_line;
    const uint8_t *data; /* a line without its newline; else a pub, behind its type */
    size_t size;
    uint32_t left;             /* elements of the pub, for wire_read_pub */
    struct wire_text producer; /* of the pub */
    struct gate *gate;         /* to hold the events against; may be NULL */
    uint64_t past_through;     /* read the log's topics up to there; 0: no */
    const char *directory;     /* of the log; may be NULL then */
};

/* All of it is the examiner's, and stays until examiner_finish. */
struct examiner_result {
    enum error_code code; /* of the whole; not OK: `error` says what is wrong */
    struct error error;
    struct wire_pub pub;           /* of a line only the count: 1 */
    struct event *events;          /* pub.event_count of them */
    struct intake_known *known; /* of each; never without a verdict */
    struct wire_expectation expected;  /* of a line */
    struct expectations_past *past;    /* what was read; to be taken over */
};

struct examiner;

enum error_code examiner_create(struct examiner **examiner_out, struct error *error);
/* Waits for the job that is being done, if any. Accepts NULL. */
void examiner_free(struct examiner *examiner);
/* Becomes readable when a job is done. */
int examiner_fd(const struct examiner *examiner);

/* Start on a job; none may be under way or unused. */
void examiner_begin(struct examiner *examiner, const struct examiner_job *job);
/* Of the job that is done, or NULL. Makes the descriptor unreadable again. */
const struct examiner_result *examiner_result(struct examiner *examiner);
/* The result has been used. */
void examiner_finish(struct examiner *examiner);

#endif
