/*
 * tools/daybook/bench_subscribers.h - many subscribers of one daemon, read by one thread.
 *
 * They subscribe to everything from now on, without a limit of credit. Of what comes only the heads
 * of frames are read, which say what has arrived; to decode a hundred times the same events would
 * measure ourselves. An event's time runs from the moment when it was due to be published until the
 * bytes of its frame are in the subscriber's hands.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_SUBSCRIBERS_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_SUBSCRIBERS_H

#include "tools/daybook/bench_daemon.h"
#include "tools/daybook/bench_samples.h"

struct bench_subscribers;

/*
 * Connect and subscribe; on success the caller owns *subscribers_out, and all of them wait for what
 * comes. `expected` events will be published; due_ns[i] says when the i-th was due. Borrowed.
 */
enum error_code bench_subscribers_start(const struct bench_daemon *daemon, unsigned count,
                                        size_t expected, const _Atomic int64_t *due_ns,
                                        struct bench_subscribers **subscribers_out,
                                        struct error *error);
/*
 * Wait until each has all events, and give one sample for each event of each subscriber.
 * ERROR_IO: one of them got less, or other events than were published.
 */
enum error_code bench_subscribers_finish(struct bench_subscribers *subscribers,
                                         struct bench_samples *samples_out, struct error *error);
/* Ends the thread and the connections. Accepts NULL. */
void bench_subscribers_free(struct bench_subscribers *subscribers);

#endif
