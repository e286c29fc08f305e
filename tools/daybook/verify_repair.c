#include "tools/daybook/verify_repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/units.h"
#include "indexer/aside.h"
#include "indexer/witness.h"
#include "segment/lock.h"
#include "segment/repair.h"
#include "segment/set.h"
#include "tools/daybook/index.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

struct repairing {
    const char *verb;
    const struct verify_repair_request *request;
    struct terminal_progress progress;
    int log_fd;
    int lock_fd; /* of the indexer: nobody may fill an index from segments that change */
    struct segment_repair_totals totals;
    char old_index[64];
};

static void tell(void *context, const char *text)
{
    struct repairing *repairing = context;
    terminal_progress_clear(&repairing->progress);
    printf("%s\n", text);
    fflush(stdout);
}

static void tell_progress(void *context, uint64_t done, uint64_t total)
{
    struct repairing *repairing = context;
    terminal_progress_show(&repairing->progress, done, total);
}

/*
 * Its rows of lost events are the last that is known of them. It is kept also where this run has
 * lost nothing: what an interrupted one before it has lost, nobody can tell here.
 */
static enum error_code retire_index(void *context, struct error *error)
{
    struct repairing *repairing = context;
    return indexer_set_aside(repairing->log_fd, repairing->request->directory, repairing->old_index,
                             sizeof repairing->old_index, error);
}

/* Where they cannot be looked at, there may be some: the repair will say what is in the way. */
static bool may_have_segments(int log_fd)
{
    int segments_fd = -1;
    struct segment_set set = {0};
    enum error_code code = file_open_directory_to_read_at(log_fd, "segments", &segments_fd, NULL);
    if (code)
        return code != ERROR_NOT_FOUND;
    bool found = segment_set_load(log_fd, segments_fd, &set, NULL) || set.count > 0;
    segment_set_free(&set);
    file_close(&segments_fd);
    return found;
}

static bool has_file(int log_fd, const char *name)
{
    struct stat status;
    return !file_status_at(log_fd, name, &status, NULL) && S_ISREG(status.st_mode);
}

/*
 * A lock is a file, and taking it makes it: a directory in which nothing tells of a log must stay
 * as it is. What is there may be as damaged as it likes, that is for the repair to judge.
 */
static enum error_code check_is_log(const char *directory, struct error *error)
{
    static const char *const traces[] = {"watermark", "lower-bound", "repair"};
    int log_fd = -1;
    struct indexer_testimony testimony;
    enum error_code code = file_open_directory_to_read(directory, &log_fd, error);
    if (code)
        return code;
    bool found = may_have_segments(log_fd);
    for (size_t i = 0; !found && i < sizeof traces / sizeof traces[0]; i++)
        found = has_file(log_fd, traces[i]);
    file_close(&log_fd);
    if (found)
        return OK;
    code = indexer_testify(directory, &testimony, error);
    if (!code && !testimony.there)
        code = error_set(error, ERROR_NOT_FOUND, "there is no log in '%s'", directory);
    return code;
}

/* A daemon has the index, too: who is told of that alone does not know whom to stop. */
static enum error_code take_index(struct repairing *repairing, struct error *error)
{
    const char *directory = repairing->request->directory;
    enum error_code code = file_open_directory(directory, false, &repairing->log_fd, error);
    if (!code)
        code = segment_lock_check_writer(repairing->log_fd, error);
    if (!code)
        code = segment_lock_take(repairing->log_fd, LOCK_INDEXER, &repairing->lock_fd, error);
    if (code != ERROR_BUSY)
        return code;
    struct error why = *error;
    return error_set(error, code, "%s; a repair needs the log for itself: stop that first",
                     why.text);
}

static enum error_code repair(struct repairing *repairing, struct error *error)
{
    const struct verify_repair_request *request = repairing->request;
    struct indexer_testimony testimony;
    enum error_code code = check_is_log(request->directory, error);
    if (!code)
        code = take_index(repairing, error);
    if (!code)
        code = indexer_testify(request->directory, &testimony, error);
    if (code)
        return code;
    struct segment_repair_options options = {
        .dry_run = request->dry_run,
        .accept_loss = request->accept_loss,
        .witness_sequence = testimony.last_sequence,
        .witness_bound = testimony.bound,
        .log_id = testimony.there ? testimony.log_id : NULL,
        .tell = tell,
        .progress = tell_progress,
        .retire = retire_index,
        .context = repairing,
    };
    return segment_repair_run(request->directory, &options, &repairing->totals, error);
}

static int note_old_file(void *context, const char *name)
{
    bool *found = context;
    if (strncmp(name, "events", strlen("events")) != 0) /* an old index is told by itself */
        *found = true;
    return 0;
}

/* Of what was missing altogether no old file can be kept. */
static bool has_old_files(int log_fd)
{
    bool found = false;
    int quarantine_fd = -1;
    if (!file_open_directory_to_read_at(log_fd, "quarantine", &quarantine_fd, NULL))
        file_list(quarantine_fd, "quarantine", note_old_file, &found, NULL);
    file_close(&quarantine_fd);
    return found;
}

static void print_summary(const struct repairing *repairing)
{
    const struct segment_repair_totals *totals = &repairing->totals;
    const char *verb = repairing->verb;
    const char *directory = repairing->request->directory;
    char kept[UNITS_TEXT_SIZE + 8], lost[UNITS_TEXT_SIZE + 8];
    units_format_count(totals->events_kept, kept);
    units_format_count(totals->events_lost, lost);
    if (totals->actions == 0) {
        verb_say(verb, "there is nothing to repair");
        return;
    }
    if (repairing->request->dry_run) {
        verb_say(verb,
                 "nothing was changed; a repair would keep %s events of what it writes anew and "
                 "put %s on record as lost",
                 kept, lost);
        return;
    }
    verb_say(verb,
             "repaired: %s events of what was written anew are kept, %s are on record as lost (see "
             "'daybook sql -D %s \"SELECT * FROM gaps\"')",
             kept, lost, directory);
    if (has_old_files(repairing->log_fd))
        verb_say(verb, "the old files are in '%s/quarantine'", directory);
    if (repairing->old_index[0])
        verb_say(verb,
                 "the old index is kept as '%s/quarantine/%s': its rows tell topic and time "
                 "of events that are lost, as far as it has them; a new one is built",
                 directory, repairing->old_index);
}

static int status_of(const struct repairing *repairing, enum error_code code,
                     const struct error *error)
{
    if (code == ERROR_NOT_FOUND)
        return verb_fail_open(repairing->verb, repairing->request->directory, error);
    if (code)
        return verb_fail(repairing->verb, error);
    return repairing->totals.actions > 0 ? STATUS_DAMAGE : STATUS_OK;
}

int verify_repair(const char *verb, const struct verify_repair_request *request)
{
    struct error error;
    struct repairing repairing = {.verb = verb,
                                  .request = request,
                                  .progress = {.what = "checking"},
                                  .log_fd = -1,
                                  .lock_fd = -1};
    enum error_code code = repair(&repairing, &error);
    terminal_progress_clear(&repairing.progress);
    fflush(stdout);
    file_close(&repairing.lock_fd);
    if (!code) {
        print_summary(&repairing);
        if (repairing.totals.actions > 0 && !request->dry_run)
            index_freshen(verb, request->directory, NULL);
    }
    file_close(&repairing.log_fd);
    return status_of(&repairing, code, &error);
}
