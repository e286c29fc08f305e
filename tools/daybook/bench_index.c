/* Suite `index`: how fast events.db is built from a log, and how large it is. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "indexer/follower.h"
#include "tools/daybook/bench_history.h"

static const char suite[] = "index";

static enum error_code follow(struct indexer_follower *follower, struct error *error)
{
    struct indexer_step step = {0};
    enum error_code code = OK;
    while (!code && !step.caught_up) {
        code = bench_check_interrupted(error);
        if (!code)
            code = indexer_follower_step(follower, &step, error);
    }
    return code;
}

static enum error_code build(const char *path, struct error *error)
{
    struct indexer_follower *follower = NULL;
    enum error_code code = indexer_follower_open_rebuild(path, &follower, error);
    if (!code)
        code = follow(follower, error);
    if (!code)
        return indexer_follower_finish_rebuild(follower, error);
    indexer_follower_close(follower);
    return code;
}

static enum error_code measure_size(const struct bench *bench, const char *path,
                                    struct error *error)
{
    static const struct bench_figure figure = {.suite = suite,
                                               .name = "index_bytes",
                                               .subject = "the index: bytes an event",
                                               .measure = "size",
                                               .unit = BENCH_BYTES};
    char file[PATH_MAX + 16];
    struct stat status;
    snprintf(file, sizeof file, "%s/events.db", path);
    if (stat(file, &status))
        return error_set_errno(error, errno, "look at '%s'", file);
    return bench_report_add(bench->report, &figure,
                            (double)status.st_size / (double)bench->events, error);
}

enum error_code bench_index_run(const struct bench *bench, struct error *error)
{
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "index_rate",
                                             .subject = "the index: built anew",
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND,
                                             .goal = BENCH_AT_LEAST,
                                             .target = 1e6};
    char path[PATH_MAX];
    enum error_code code = OK;
    bench_history_path(bench, path);
    for (unsigned round = 0; round < bench->rounds && !code; round++) {
        int64_t start_ns = clock_monotonic_ns();
        code = build(path, error);
        double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
        if (!code)
            code = bench_report_add(bench->report, &rate, (double)bench->events / seconds, error);
    }
    return code ? code : measure_size(bench, path, error);
}
