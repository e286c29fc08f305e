/*
 * tools/daybook/bench_daemon.h - a real daybookd of our own.
 *
 * It runs in a process group of its own, so that Ctrl-C reaches only us and we end it in order,
 * and it dies with us should we be killed.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_DAEMON_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_DAEMON_H

#include <limits.h>

#include "tools/client/daybook.h"
#include "tools/daybook/bench.h"

struct bench_daemon;

/* Start it and wait until it welcomes clients. */
enum error_code bench_daemon_start(const struct bench *bench, struct bench_daemon **daemon_out,
                                   struct error *error);
/* The same on a log that is there already, and stays. */
enum error_code bench_daemon_start_on(const struct bench *bench, const char *directory,
                                      struct bench_daemon **daemon_out, struct error *error);
/* Connect as a producer of this name; the caller closes. */
enum error_code bench_daemon_connect(const struct bench_daemon *daemon, const char *producer,
                                     struct daybook **client_out, struct error *error);
/* The same with these options, but for the socket's. */
enum error_code bench_daemon_connect_with(const struct bench_daemon *daemon,
                                          struct daybook_options options,
                                          struct daybook **client_out, struct error *error);
enum { BENCH_SOCKET_SIZE = PATH_MAX + 16 };
/* Where it listens. */
void bench_daemon_socket(const struct bench_daemon *daemon, char path_out[BENCH_SOCKET_SIZE]);
/* The pool's `index`th event, to be published. Borrowed. */
struct daybook_event bench_daemon_event(const struct bench *bench, uint64_t index, int64_t time_ns);
/*
 * Wait until its index holds `sequence`, polling read-only; *waited_ns_out is how long that took.
 */
enum error_code bench_daemon_wait_index(const struct bench_daemon *daemon, uint64_t sequence,
                                        int64_t *waited_ns_out, struct error *error);
/*
 * The most memory it has had resident so far, without pages of files and shared memory: VmHWM less
 * RssFile and RssShmem of /proc/PID/status.
 */
enum error_code bench_daemon_memory(const struct bench_daemon *daemon, double *bytes_out,
                                    struct error *error);
/* Seconds of processor time that all its threads have taken so far. */
enum error_code bench_daemon_processor(const struct bench_daemon *daemon, double *seconds_out,
                                       struct error *error);
/* Stop it, and delete its directory when that was made for it. Accepts NULL. */
enum error_code bench_daemon_stop(struct bench_daemon *daemon, struct error *error);
/* The same, with kill -9. */
void bench_daemon_kill(struct bench_daemon *daemon);

/* A client's error as ours. */
enum error_code bench_daemon_client_error(const struct daybook_error *from, struct error *error);

#endif
