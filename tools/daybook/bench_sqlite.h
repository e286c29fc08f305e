/*
 * tools/daybook/bench_sqlite.h - the same events in plain SQLite: WAL, synchronous=FULL, one table
 * (seq, ts, topic, payload as JSON text) without a further index, the default settings otherwise.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_BENCH_SQLITE_H
#define DAYBOOK_TOOLS_DAYBOOK_BENCH_SQLITE_H

#include "tools/daybook/bench.h"

/* One event per transaction. */
enum error_code bench_sqlite_one(const struct bench *bench, struct error *error);
/* 1,000 events per transaction. */
enum error_code bench_sqlite_batch(const struct bench *bench, struct error *error);
/* 16 threads with a connection each, one event per transaction, busy timeout. */
enum error_code bench_sqlite_many(const struct bench *bench, struct error *error);

#endif
