#include "segment/repair_bound.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/quarantine.h"

static const char bound_name[] = "lower-bound";

/* What has the name decides; of what the device refuses to open nothing can be kept. */
static enum error_code choose_fate(int log_fd, enum segment_repair_bound_fate *fate_out,
                                   struct error *error)
{
    struct stat status;
    struct error why = {0};
    int fd = -1;
    *fate_out = REPAIR_BOUND_REPLACE;
    enum error_code code = file_status_at(log_fd, bound_name, &status, &why);
    if (code == ERROR_NOT_FOUND) {
        *fate_out = REPAIR_BOUND_MAKE;
        return OK;
    }
    if (!code && S_ISDIR(status.st_mode))
        *fate_out = REPAIR_BOUND_MOVE;
    if (!code && S_ISREG(status.st_mode)) {
        *fate_out = REPAIR_BOUND_COPY;
        code = file_open(log_fd, bound_name, FILE_READ, &fd, &why);
        file_close(&fd);
    }
    if (code && error_is_of_device(&why)) {
        *fate_out = REPAIR_BOUND_REPLACE;
        return OK;
    }
    return code ? error_set(error, code, "%s", why.text) : OK;
}

/*
 * Can the index be right? Retention moves the bound to where a segment begins, and never deletes
 * the last one. An index that was made while the file said nothing begins at 1, and so does one
 * that retention has never been told to: that is no word about it.
 */
static bool may_be_bound(const struct segment_set *set, uint64_t sequence)
{
    size_t next = 0;
    while (next < set->count && set->segments[next].sequence_first < sequence)
        next++;
    if (sequence <= 1 || next == 0)
        return sequence > 1;
    if (next == set->count)
        return false;
    const struct segment_set_segment *before = &set->segments[next - 1];
    return set->segments[next].sequence_first == sequence ||
           (before->sealed && before->trailer.sequence_last < sequence);
}

/* The file says nothing: what is the bound? */
static void find_bound(struct segment_set *set, uint64_t witness,
                       struct segment_repair_bound *bound)
{
    const struct segment_set_segment *first = set->count > 0 ? &set->segments[0] : NULL;
    uint64_t sequence = first ? first->sequence_first : 1;
    if (may_be_bound(set, witness))
        sequence = witness;
    segment_set_take_bound(set, sequence);
    bound->uncertain = sequence != witness && !(first && first->header_verdict == FORMAT_VALID &&
                                                first->header.predecessor.sequence_first == 0);
}

/* The index follows the bound, so one that is ahead says that the file is gone. */
static bool is_behind(const struct segment_set *set, uint64_t witness)
{
    return witness > set->bound &&
           (set->count == 0 || set->segments[0].sequence_first >= witness);
}

static void take_witness(struct segment_set *set, uint64_t witness,
                         struct segment_repair_bound *bound)
{
    if (bound->fate == REPAIR_BOUND_MAKE)
        snprintf(bound->why, sizeof bound->why,
                 "'%s' is missing, and the index has seen it at %" PRIu64, bound_name, witness);
    else
        snprintf(bound->why, sizeof bound->why,
                 "'%s' says %" PRIu64 ", but the index has seen it at %" PRIu64, bound_name,
                 set->bound, witness);
    segment_set_take_bound(set, witness);
}

enum error_code segment_repair_bound_plan(int log_fd, struct segment_set *set,
                                          const struct segment_repair_bound_knowledge *knowledge,
                                          struct segment_repair_bound *bound_out,
                                          struct error *error)
{
    bool moved = false;
    struct segment_repair_bound bound = {0};
    enum error_code code = choose_fate(log_fd, &bound.fate, error);
    /* Between the moving of a directory and the making of the file there is neither. */
    if (!code && bound.fate == REPAIR_BOUND_MAKE && knowledge->unfinished)
        code = segment_quarantine_holds(log_fd, bound_name, &moved, error);
    if (code)
        return code;
    if (set->bound_damaged || moved) {
        snprintf(bound.why, sizeof bound.why, "%.500s",
                 moved ? "'lower-bound' is missing: a repair has moved what had its name away"
                       : set->bound_reason.text);
        find_bound(set, knowledge->witness, &bound);
    } else if (is_behind(set, knowledge->witness)) {
        take_witness(set, knowledge->witness, &bound);
    } else {
        bound.fate = REPAIR_BOUND_KEEP;
    }
    *bound_out = bound;
    return OK;
}

enum error_code segment_repair_bound_restore(int log_fd, const struct segment_repair_bound *bound,
                                             uint64_t sequence, struct error *error)
{
    enum error_code code = OK;
    if (bound->fate == REPAIR_BOUND_KEEP)
        return OK;
    if (bound->fate == REPAIR_BOUND_COPY)
        code = segment_quarantine_keep_name(log_fd, log_fd, bound_name, error);
    if (bound->fate == REPAIR_BOUND_MOVE)
        code = segment_quarantine_move(log_fd, bound_name, error);
    return code ? code : segment_bound_restore(log_fd, sequence, error);
}
