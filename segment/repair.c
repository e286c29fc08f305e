#include "segment/repair.h"

#include <inttypes.h>

#include "core/file.h"
#include "core/identity.h"
#include "segment/intent.h"
#include "segment/lock.h"
#include "segment/log.h"
#include "segment/pack.h"
#include "segment/quarantine.h"
#include "segment/repair_tell.h"
#include "segment/repair_write.h"

struct repair {
    const char *path;
    const struct segment_repair_options *options;
    struct segment_repair_plan plan;
    int log_fd, segments_fd, writer_fd, retention_fd, packer_fd;
};

/* Asked first: who wants to publish can do so beside a writer, and is told how; a repair cannot. */
static enum error_code take_writer(struct repair *repair, struct error *error)
{
    enum error_code code = segment_lock_check_writer(repair->log_fd, error);
    if (!code)
        return segment_lock_take(repair->log_fd, LOCK_WRITER, &repair->writer_fd, error);
    if (code != ERROR_BUSY)
        return code;
    struct error why = *error;
    return error_set(error, code, "%s; a repair needs the log for itself: stop that first",
                     why.text);
}

/* A dry run changes nothing, but a writer at work would make a lie of what it says. */
static enum error_code open_log(struct repair *repair, struct error *error)
{
    enum error_code code = file_open_directory(repair->path, false, &repair->log_fd, error);
    if (!code)
        code = file_check_local(repair->log_fd, repair->path, error);
    if (!code)
        code = take_writer(repair, error);
    if (!code)
        code = segment_lock_take(repair->log_fd, LOCK_RETENTION, &repair->retention_fd, error);
    if (!code)
        code = segment_lock_take(repair->log_fd, LOCK_PACKER, &repair->packer_fd, error);
    if (!code)
        code = file_open_directory_at(repair->log_fd, "segments", !repair->options->dry_run,
                                      &repair->segments_fd, error);
    /* What a packing that was killed has left is nobody's: the lock is ours. */
    if (!code && !repair->options->dry_run)
        code = segment_pack_clean(repair->segments_fd, error);
    return code;
}

static void close_log(struct repair *repair)
{
    segment_repair_plan_release(&repair->plan);
    file_close(&repair->segments_fd);
    file_close(&repair->packer_fd);
    file_close(&repair->retention_fd);
    file_close(&repair->writer_fd);
    file_close(&repair->log_fd);
}

static enum error_code move_strangers(struct repair *repair, struct error *error)
{
    const struct segment_repair_plan *plan = &repair->plan;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < plan->stranger_count; i++) {
        const char *name = plan->strangers[i].name;
        code = segment_quarantine_keep_name(repair->log_fd, repair->segments_fd, name, error);
        if (!code)
            code = file_unlink(repair->segments_fd, name, error);
    }
    if (!code && plan->stranger_count > 0)
        code = file_sync_directory(repair->segments_fd, "segments", error);
    return code;
}

static enum error_code write_parts(struct repair *repair, struct error *error)
{
    const struct segment_repair_plan *plan = &repair->plan;
    struct segment_set_segment before, written;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < plan->part_count; i++) {
        const struct segment_repair_part *part = &plan->parts[i];
        written = part->segment;
        if (part->fate != REPAIR_KEEP)
            code = segment_repair_write(plan, part, i > 0 ? &before : NULL, &written, error);
        before = written;
    }
    return code;
}

/*
 * An ordinary recovery brings the log to a clean end, and shows that a writer can go on. It takes
 * the writer's lock itself; DIR/repair keeps everybody else away meanwhile.
 */
static enum error_code recover(struct repair *repair, struct error *error)
{
    struct segment_log_options options = {.repairing = true,
                                          .witness_sequence = repair->plan.witness};
    struct segment_log *log = NULL;
    /* Both hold the lock (segment/lock.h). */
    file_close(&repair->writer_fd);
    file_close(&repair->log_fd);
    enum error_code code = segment_log_open(repair->path, &options, &log, NULL, error);
    if (!code)
        code = segment_log_close(log, error);
    if (!code)
        code = file_open_directory(repair->path, false, &repair->log_fd, error);
    return code;
}

static enum error_code execute(struct repair *repair, struct error *error)
{
    struct segment_repair_plan *plan = &repair->plan;
    const struct segment_repair_options *options = repair->options;
    enum error_code code = segment_intent_store(repair->log_fd, plan->witness, error);
    if (!code && plan->unknown_log)
        code = identity_draw(plan->log_id, sizeof plan->log_id, error);
    if (!code)
        code = move_strangers(repair, error);
    if (!code)
        code = segment_repair_bound_restore(repair->log_fd, &plan->bound, plan->set.bound, error);
    if (!code)
        code = write_parts(repair, error);
    if (!code)
        code = recover(repair, error);
    if (!code && options->retire)
        code = options->retire(options->context, error);
    if (!code)
        code = segment_intent_remove(repair->log_fd, error);
    return code;
}

static enum error_code run(struct repair *repair, struct segment_repair_totals *totals,
                           struct error *error)
{
    const struct segment_repair_options *options = repair->options;
    struct segment_repair_plan *plan = &repair->plan;
    enum error_code code = open_log(repair, error);
    if (!code)
        code = segment_repair_plan_make(repair->log_fd, repair->segments_fd, options, plan, error);
    if (code)
        return code;
    segment_repair_tell(plan, options, totals);
    if (totals->actions == 0 || options->dry_run)
        return OK;
    if (segment_repair_plan_needs_acceptance(plan) && !options->accept_loss)
        return error_set(error, ERROR_DAMAGED,
                         "nothing was changed: of some of this no byte is left that could be kept, "
                         "so first look for the missing files, in a backup for instance; where "
                         "there are none, --accept-loss puts the loss on record");
    return execute(repair, error);
}

enum error_code segment_repair_run(const char *path, const struct segment_repair_options *options,
                                   struct segment_repair_totals *totals_out, struct error *error)
{
    struct repair repair = {.path = path,
                            .options = options,
                            .log_fd = -1,
                            .segments_fd = -1,
                            .writer_fd = -1,
                            .retention_fd = -1,
                            .packer_fd = -1};
    *totals_out = (struct segment_repair_totals){0};
    enum error_code code = run(&repair, totals_out, error);
    close_log(&repair);
    return code ? error_prefix(error, "repair the log '%s'", path) : OK;
}
