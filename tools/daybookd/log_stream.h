/*
 * tools/daybookd/log_stream.h - the log from one sequence on, without anything left out in silence:
 * each sequence comes as an event, or in a word about why it does not.
 *
 * What stands between: retention ("retention"), damage ("damage", and what a repair has put on
 * record, by the words of `daybook gaps`), and numbers that no acknowledged event ever had ("never
 * given"). What retention took before the very beginning is not told to who asks for the beginning.
 *
 * One thread. Waits for nothing but the disk.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_LOG_STREAM_H
#define DAYBOOK_TOOLS_DAYBOOKD_LOG_STREAM_H

#include "core/event.h"

struct log_stream;

enum { LOG_STREAM_BATCH = 256 };

struct log_stream_item {
    bool lost;
    struct event event;   /* unless lost; valid until the next read */
    uint64_t first, last; /* … of what is lost */
    const char *cause;
    const char *text; /* a sentence for people; valid until the next read */
};

/* The block where something was found, for a seek to it later: cheaper than the sequence alone. */
struct log_stream_place {
    uint64_t segment_first; /* 0: not known */
    uint64_t offset;
    uint64_t sequence_first;
};

enum error_code log_stream_open(const char *directory, struct log_stream **stream_out,
                                struct error *error);
/* Accepts NULL. */
void log_stream_close(struct log_stream *stream);

/* What is above `after` comes next; 0: from the first that is left. `place` may be NULL. */
void log_stream_seek(struct log_stream *stream, uint64_t after,
                     const struct log_stream_place *place);
/* How far a search has come; zero-initialised: nowhere. */
struct log_stream_search {
    uint64_t looked; /* there is none up to here */
    struct log_stream_place place;
};
/*
 * Behind what does the first event stand whose time is at or after `since_ns`? ERROR_BUSY: it was
 * looked for until the deadline, and somewhat beyond; call again, with this stream or another.
 * ERROR_END: there is none yet; then *after_out is the last durable sequence. The stream has to be
 * sought anew.
 */
enum error_code log_stream_find_time(struct log_stream *stream, int64_t since_ns,
                                     int64_t deadline_ns, struct log_stream_search *search,
                                     uint64_t *after_out, struct error *error);
/*
 * The next 1 to LOG_STREAM_BATCH items, all of one block. ERROR_END: nothing more is durable now,
 * and everything up to log_stream_looked has been given. Other errors: it cannot be read now.
 */
enum error_code log_stream_read(struct log_stream *stream, struct log_stream_item *items,
                                size_t *count_out, struct error *error);
/* Everything up to here was given, or told to be lost. */
uint64_t log_stream_looked(const struct log_stream *stream);
struct log_stream_place log_stream_place(const struct log_stream *stream);

/* The last sequence that can be read now, and the first that retention has left. */
uint64_t log_stream_durable(struct log_stream *stream);
uint64_t log_stream_bound(struct log_stream *stream);

#endif
