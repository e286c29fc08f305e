#include "segment/repair_tell.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void tell(const struct segment_repair_options *options,
                                                       const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    options->tell(options->context, text);
}

static void tell_part(const struct segment_repair_part *part,
                      const struct segment_repair_options *options)
{
    char lost[240] = "nothing is lost";
    if (part->events_lost == 1)
        snprintf(lost, sizeof lost, "event %s goes on record as lost", part->lost);
    else if (part->events_lost > 1)
        snprintf(lost, sizeof lost, "events %s, %" PRIu64 " in all, go on record as lost",
                 part->lost, part->events_lost);
    if (part->fate == REPAIR_FILL)
        tell(options, "segment %s is missing; repair: another takes its place, and %s",
             part->segment.name, lost);
    else
        tell(options,
             "%s; repair: the file is kept in quarantine, the %" PRIu64
             " events that can be read are written anew, and %s",
             part->why, part->events_kept, lost);
}

/* How many events are lost at the end, as far as witnesses know: the plan ends it at the witness.
 */
static uint64_t lost_at_end(const struct segment_repair_plan *plan)
{
    return plan->witness < plan->tail_first ? 0 : plan->tail_last - plan->tail_first + 1;
}

static void tell_end(const struct segment_repair_plan *plan,
                     const struct segment_repair_options *options)
{
    uint64_t end = plan->tail_first - 1;
    if (lost_at_end(plan) > 0)
        tell(options,
             "the log ends with event %" PRIu64
             ", but the index, the watermark or an earlier repair has seen %" PRIu64
             "; repair: events %" PRIu64 " to %" PRIu64 ", %" PRIu64
             " in all, go on record as lost, and bytes that lie in their place are kept in "
             "quarantine",
             end, plan->witness, plan->tail_first, plan->tail_last, lost_at_end(plan));
    else if (plan->tail_last >= plan->tail_first)
        tell(options,
             "behind event %" PRIu64 " lie bytes that no crash alone explains; repair: they are "
             "kept in quarantine and cut, and events %" PRIu64 " to %" PRIu64
             ", of which nobody was told that they are safe, go on record as a damaged tail",
             end, plan->tail_first, plan->tail_last);
    else
        tell(options,
             "behind event %" PRIu64 " lie bytes that no crash alone explains; repair: they are "
             "kept in quarantine and cut",
             end);
}

/* What is done about what has the lower bound's name. */
static const char *deed_of(enum segment_repair_bound_fate fate)
{
    if (fate == REPAIR_BOUND_COPY)
        return "what can be read of it is kept in quarantine";
    if (fate == REPAIR_BOUND_MOVE)
        return "the directory is moved into quarantine";
    return fate == REPAIR_BOUND_REPLACE ? "a file takes its place, nothing of it can be kept"
                                        : "it is made anew";
}

static void tell_directory(const struct segment_repair_plan *plan,
                           const struct segment_repair_options *options)
{
    if (plan->unfinished)
        tell(options, "an earlier repair was interrupted%s; repair: it is finished",
             plan->note_damaged
                 ? ", and its note 'repair' is damaged: it may have known of later events than the "
                   "index, the watermark and the segments tell now"
                 : "");
    for (size_t i = 0; i < plan->stranger_count; i++)
        tell(options, "segment %s %s; repair: it is moved into quarantine", plan->strangers[i].name,
             plan->unknown_log ? "cannot be read, for nothing tells of which log it is"
             : plan->strangers[i].header_verdict == FORMAT_VALID
                 ? "belongs to another log"
                 : "has nothing in it that is of this log");
    if (plan->bound.fate != REPAIR_BOUND_KEEP)
        tell(options, "%s; repair: %s, and it is set to %" PRIu64 "%s", plan->bound.why,
             deed_of(plan->bound.fate), plan->set.bound,
             plan->bound.uncertain
                 ? ", where the first segment begins, and nobody knows whether there should be "
                   "more before it"
                 : "");
}

void segment_repair_tell(const struct segment_repair_plan *plan,
                         const struct segment_repair_options *options,
                         struct segment_repair_totals *totals_out)
{
    struct segment_repair_totals totals = {.actions = segment_repair_plan_count(plan)};
    tell_directory(plan, options);
    for (size_t i = 0; i < plan->part_count; i++) {
        const struct segment_repair_part *part = &plan->parts[i];
        if (part->fate == REPAIR_KEEP)
            continue;
        tell_part(part, options);
        totals.events_kept += part->events_kept;
        totals.events_lost += part->events_lost;
        totals.refused_lost += part->needs_acceptance ? part->events_lost : 0;
    }
    if (plan->tail) {
        tell_end(plan, options);
        totals.events_lost += lost_at_end(plan);
        totals.refused_lost += plan->tail_needs_acceptance ? lost_at_end(plan) : 0;
    }
    *totals_out = totals;
}
