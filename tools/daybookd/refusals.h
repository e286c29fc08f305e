/*
 * tools/daybookd/refusals.h - which numbers of which producers were refused, until the log is told.
 *
 * A refused number leaves a gap that everybody sees later; only the daemon knows why. It says so
 * in events of topic "_gap" (core/gap.h), gathered so that refusals cost little disk, whoever
 * provokes them: at most one such event a producer a second, and REFUSALS_MAX a second in all. What
 * is refused of still more producers meanwhile is not told; its numbers "never arrived" then.
 *
 * A daemon that is killed forgets what it has not told yet: refusals of about a second.
 * One thread at a time.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_REFUSALS_H
#define DAYBOOK_TOOLS_DAYBOOKD_REFUSALS_H

#include "core/gap.h"
#include "segment/log.h"

enum { REFUSALS_MAX = 256, REFUSALS_PAUSE_MS = 1000 };

struct refusals;

enum error_code refusals_create(struct refusals **refusals_out, struct error *error);
/* Accepts NULL. */
void refusals_free(struct refusals *refusals);

/* The event was refused. Nothing is kept of one without a valid producer and number. */
void refusals_note(struct refusals *refusals, const struct event *event, const char *reason);

/*
 * Call about once a second: tell `log` what is due at `now_ns` (of the monotonic clock). What it
 * has no room for stays for later. Returns how many events were appended; the caller commits them.
 */
size_t refusals_tell(struct refusals *refusals, struct segment_log *log, int64_t now_ns);
/* The same of one producer, who has gone, without waiting for the second to pass. */
size_t refusals_tell_of(struct refusals *refusals, struct segment_log *log, const char *producer,
                        size_t producer_bytes, int64_t now_ns);
/* The same of everybody: this is the end. */
size_t refusals_tell_all(struct refusals *refusals, struct segment_log *log);

#endif
