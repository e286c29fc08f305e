/*
 * tools/daybookd/filter.h - which events a subscription is for, and in what form they go out.
 *
 * Topics by patterns, payloads by a WHERE; then either the elements of an events frame or lines of
 * JSON. Subscriptions whose filters are equal share all the work that their events cost.
 *
 * One thread a filter.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_FILTER_H
#define DAYBOOK_TOOLS_DAYBOOKD_FILTER_H

#include "core/topic_pattern.h"
#include "tools/client/wire_subscription.h"
#include "tools/daybookd/log_stream.h"

struct indexer_where;

/* Zero-initialised lets everything through, as frames; release frees. */
struct filter {
    struct topic_patterns topics;
    char *where; /* NULL: none */
    struct indexer_where *condition; /* … compiled */
    bool lines;
};

/* Of all patterns: each byte of a topic may be held against each of them. */
enum { FILTER_PATTERN_BYTES_MAX = 8192 };

/* ERROR_INVALID: a pattern or the where is wrong; the text says which and why. */
enum error_code filter_init(struct filter *filter, const struct wire_subscribe *subscribe,
                            bool lines, struct error *error);
void filter_release(struct filter *filter);
/* Do these two let the same through, in the same form? */
bool filter_is_equal(const struct filter *a, const struct filter *b);

/*
 * Does the event match? ERROR_INVALID: the where cannot be asked of it, and the subscription is
 * over.
 */
enum error_code filter_match(struct filter *filter, const struct event *event, bool *match_out,
                             struct error *error);
/* Append the event, or a frame or line that tells of a loss. ERROR_MEMORY. */
enum error_code filter_write(const struct filter *filter, const struct log_stream_item *item,
                             struct buffer *out, struct error *error);
/* An event for a group's member: with which try this is. */
enum error_code filter_write_try(bool lines, const struct event *event, uint32_t try_number,
                                 struct buffer *out, struct error *error);

#endif
