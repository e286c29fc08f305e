/*
 * tools/daybook/bench.h - what all suites of `daybook bench` share.
 *
 * A suite runs in rounds. In each round everything that is to be compared runs once, one after the
 * other, on the same disk: what disturbs the machine disturbs all sides.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_H

#include <stdint.h>

#include "core/error.h"
#include "tools/daybook/bench_pool.h"
#include "tools/daybook/bench_report.h"

struct bench_curves;

struct bench {
    const char *directory; /* the scratch directory, absolute; removed with all that is in it */
    int directory_fd;
    int64_t slice_ns; /* how long each measurement runs in each round */
    unsigned rounds;
    uint64_t events;    /* of the history */
    const char *daemon; /* path of the daybookd to measure */
    const struct bench_pool *pool;
    struct bench_report *report;
    struct bench_curves *curves;
};

/* ERROR_CLOSED when somebody has asked to stop (SIGINT, SIGTERM). Every loop looks. */
enum error_code bench_check_interrupted(struct error *error);

/* Suite `socket`: our durable publish against plain SQLite and against the raw limit. */
enum error_code bench_socket_run(const struct bench *bench, struct error *error);
/* Suite `append`: our log in this process, without a daemon, against the raw limit. */
enum error_code bench_append_run(const struct bench *bench, struct error *error);
/*
 * Suites on a log with a history (bench_history.h), in this order: the index built, everything
 * read, the index asked, the daemon started, the oldest fifth deleted.
 */
enum error_code bench_index_run(const struct bench *bench, struct error *error);
enum error_code bench_read_run(const struct bench *bench, struct error *error);
enum error_code bench_sql_run(const struct bench *bench, struct error *error);
enum error_code bench_start_run(const struct bench *bench, struct error *error);
enum error_code bench_retention_run(const struct bench *bench, struct error *error);
/* Suite `schema`: payloads held against a schema. */
enum error_code bench_schema_run(const struct bench *bench, struct error *error);
/* Suite `where`: events held against a condition in SQL. */
enum error_code bench_where_run(const struct bench *bench, struct error *error);
/* Suite `bus`: publishing with many subscribers and without, and how soon they have it. */
enum error_code bench_bus_run(const struct bench *bench, struct error *error);
/* Suite `disk`: both write paths on files prepared in three ways. */
enum error_code bench_disk_run(const struct bench *bench, struct error *error);

#endif
