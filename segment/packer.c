#include "segment/packer.h"

#include <string.h>

#include "core/file.h"
#include "segment/intent.h"
#include "segment/lock.h"

struct run {
    const struct segment_packer_watcher *watcher;
    int log_fd, segments_fd, lock_fd;
    struct segment_set set;
    uint8_t log_id[FORMAT_LOG_ID_BYTES];
    struct segment_packer_totals totals;
};

static enum error_code open_log(struct run *run, const char *path, struct error *error)
{
    enum error_code code = file_open_directory(path, false, &run->log_fd, error);
    if (!code)
        code = file_open_directory_at(run->log_fd, "segments", false, &run->segments_fd, error);
    if (!code)
        code = segment_lock_take(run->log_fd, LOCK_PACKER, &run->lock_fd, error);
    /* What a repair has begun it finishes; until then nothing is what it seems. */
    if (!code)
        code = segment_intent_check(run->log_fd, error);
    if (!code)
        code = segment_pack_clean(run->segments_fd, error);
    if (!code)
        code = segment_set_load(run->log_fd, run->segments_fd, &run->set, error);
    if (!code && run->set.count > 0)
        code = segment_set_identify(&run->set, run->log_fd, run->log_id, error);
    return code;
}

static void close_log(struct run *run)
{
    segment_set_free(&run->set);
    file_close(&run->lock_fd);
    file_close(&run->segments_fd);
    file_close(&run->log_fd);
}

static void note_packed(struct run *run, size_t i, const struct segment_pack_result *result)
{
    run->totals.segments_packed++;
    run->totals.bytes_before += result->bytes_before;
    run->totals.bytes_after += result->bytes_after;
    if (run->watcher->packed)
        run->watcher->packed(run->watcher->context, &run->set.segments[i], result);
}

static void note_left(struct run *run, size_t i, const struct error *why)
{
    run->totals.segments_left++;
    if (run->watcher->left)
        run->watcher->left(run->watcher->context, &run->set.segments[i], why);
}

/* Two neighbours of another log would fit each other. */
static bool is_strange(const struct run *run, size_t i)
{
    return memcmp(run->set.segments[i].header.log_id, run->log_id, sizeof run->log_id) != 0;
}

static bool is_unwanted(const struct run *run, size_t i)
{
    return run->watcher->wanted &&
           !run->watcher->wanted(run->watcher->context, &run->set.segments[i]);
}

static void pack_each(struct run *run)
{
    const struct segment_pack_place place = {run->log_fd, run->segments_fd, run->watcher->stopped,
                                             run->watcher->context};
    for (size_t i = 0; i < run->set.count; i++) {
        struct segment_pack_result result;
        struct error why;
        if (!segment_pack_wants(&run->set, i) || is_strange(run, i) || is_unwanted(run, i))
            continue;
        enum error_code code = segment_pack(&place, &run->set, i, &result, &why);
        if (code == ERROR_END)
            return;
        if (!code)
            note_packed(run, i, &result);
        else if (code != ERROR_NOT_FOUND)
            note_left(run, i, &why);
    }
}

enum error_code segment_packer_run(const char *path, const struct segment_packer_watcher *watcher,
                                   struct segment_packer_totals *totals_out, struct error *error)
{
    struct run run = {.watcher = watcher, .log_fd = -1, .segments_fd = -1, .lock_fd = -1};
    enum error_code code = open_log(&run, path, error);
    if (!code) {
        pack_each(&run);
        *totals_out = run.totals;
    }
    close_log(&run);
    return code ? error_prefix(error, "pack the log '%s'", path) : OK;
}

void segment_packer_clean(const char *path)
{
    int log_fd = -1, segments_fd = -1, lock_fd = -1;
    if (!file_open_directory(path, false, &log_fd, NULL) &&
        !file_open_directory_at(log_fd, "segments", false, &segments_fd, NULL) &&
        !segment_lock_take(log_fd, LOCK_PACKER, &lock_fd, NULL))
        segment_pack_clean(segments_fd, NULL);
    file_close(&lock_fd);
    file_close(&segments_fd);
    file_close(&log_fd);
}
