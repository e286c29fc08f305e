#include "tools/daybook/bench_history.h"

#include <stdio.h>

#include "indexer/follower.h"
#include "tools/daybook/bench_append.h"

enum { BETWEEN_KICKS = 1024 };

void bench_history_path(const struct bench *bench, char path_out[PATH_MAX])
{
    snprintf(path_out, PATH_MAX, "%s/history", bench->directory);
}

static enum error_code fill(const struct bench *bench, struct segment_log *log, struct error *error)
{
    uint64_t sequence = 0;
    enum error_code code = OK;
    for (uint64_t i = 0; i < bench->events && !code; i++) {
        int64_t time_ns = BENCH_HISTORY_FIRST_NS + (int64_t)i * BENCH_HISTORY_STEP_NS;
        code = bench_append(bench, log, i, time_ns, &sequence, error);
        if (i % BETWEEN_KICKS > 0 || code)
            continue;
        segment_log_kick(log);
        code = bench_check_interrupted(error);
    }
    return code ? code : segment_log_wait(log, sequence, error);
}

enum error_code bench_history_make(const struct bench *bench, struct error *error)
{
    struct segment_log_options options = {.segment_bytes = 0};
    struct segment_log *log = NULL;
    char path[PATH_MAX];
    bench_history_path(bench, path);
    enum error_code code = segment_log_open(path, &options, &log, NULL, error);
    if (code)
        return code;
    code = fill(bench, log, error);
    enum error_code close_code = segment_log_close(log, code ? NULL : error);
    return code ? code : close_code;
}

enum error_code bench_history_index(const struct bench *bench, struct error *error)
{
    struct indexer_follower *follower = NULL;
    char path[PATH_MAX];
    bench_history_path(bench, path);
    enum error_code code = indexer_follower_open(path, &follower, error);
    if (!code)
        code = indexer_follower_catch_up(follower, error);
    indexer_follower_close(follower);
    return code;
}
