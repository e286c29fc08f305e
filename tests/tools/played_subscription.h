/*
 * tests/tools/played_subscription.h - the words of tests about subscriptions: what a played daemon
 * says, and what the program sees.
 */
#ifndef DAYBOOK_TESTS_TOOLS_PLAYED_SUBSCRIPTION_H
#define DAYBOOK_TESTS_TOOLS_PLAYED_SUBSCRIPTION_H

#include "tests/tools/played.h"
#include "tools/client/daybook.h"
#include "tools/client/wire_subscription.h"

extern struct played played;
extern struct daybook_error error; /* of the library's last call */
extern const struct daybook_subscription_options DEFAULTS;

/* ---- What the daemon says ---- */

struct wire_subscribe read_subscribe(int fd);
void say_subscribed(int fd, uint64_t after);
/* Welcome a subscriber, and begin behind `after`. */
int subscribe_behind(uint64_t after);
/* Append a frame of the events from `first` to `to` (none: `to` = `first` - 1), which says that it
 * goes up to `last`; with a try, as for a group, unless `tries` is 0. */
void add_frame(struct buffer *out, uint64_t last, uint64_t first, uint64_t to, unsigned tries);
void say_events(int fd, uint64_t first, uint64_t last);
/* Nothing up to `last` matches. */
void say_passed(int fd, uint64_t last);
void say_caught_up(int fd, uint64_t last);
void say_lost(int fd, uint64_t first, uint64_t last, const char *cause);
void say_committed(int fd, uint64_t sequence);
void say_error(int fd, const char *code, const char *text);
/* The next frame that is no credit is a commit: of what? */
uint64_t read_commit(int fd);

/* ---- What the program sees ---- */

struct daybook_subscription *subscribe(struct daybook_subscription_options options);
void expect_code(struct daybook_subscription *subscription, enum daybook_code expected);
struct daybook_event expect_event(struct daybook_subscription *subscription, uint64_t sequence);
void expect_events(struct daybook_subscription *subscription, uint64_t first, uint64_t last);
struct daybook_subscription_counts counts_of(const struct daybook_subscription *subscription);

#endif
