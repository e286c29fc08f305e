/*
 * tools/daybook/replay_target_inside.h - what the targets of a replay share (replay_target.h).
 *
 * A target is a struct that begins with a struct replay_target.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_REPLAY_TARGET_INSIDE_H
#define DAYBOOK_TOOLS_DAYBOOK_REPLAY_TARGET_INSIDE_H

#include "tools/daybook/replay_target.h"

/* As the functions of replay_target.h. finish may be NULL. */
struct replay_target_kind {
    enum error_code (*add)(struct replay_target *, const struct replay_event *, bool *sent_out,
                           struct error *);
    enum error_code (*flush)(struct replay_target *, struct error *);
    enum error_code (*finish)(struct replay_target *, bool hurry, struct error *);
    void (*close)(struct replay_target *);
    size_t batch;
};

struct replay_target {
    const struct replay_target_kind *kind;
    const char *verb;
    struct replay_target_counts counts;
    uint64_t said; /* messages about single events */
    bool stalled;  /* the last event was dropped for lack of room: the next ones wait no more */
};

/*
 * How long somebody who takes nothing is waited for, before an event is dropped: once. The events
 * behind it are only tried, until one is taken, or the replay would crawl from one to the next.
 */
#define REPLAY_TARGET_PATIENCE_NS INT64_C(1000000000)
/* Until when may the event that finds no room now wait? */
int64_t replay_target_deadline_ns(const struct replay_target *target);

/* Say what became of one event; after a few, only that there are more. */
void replay_target_say(struct replay_target *target, const struct replay_event *event,
                       const char *format, ...) __attribute__((format(printf, 3, 4)));
/* For targets that hand each event over at once. */
enum error_code replay_target_flushed(struct replay_target *target, struct error *error);

/* Each makes one kind; `address` is what follows the kind's name in --to. */
enum error_code replay_target_print(const struct replay_target_options *options,
                                    const char *address, struct replay_target **target_out,
                                    struct error *error);
enum error_code replay_target_daemon(const struct replay_target_options *options,
                                     const char *address, struct replay_target **target_out,
                                     struct error *error);
enum error_code replay_target_pub(const struct replay_target_options *options, const char *address,
                                  struct replay_target **target_out, struct error *error);
enum error_code replay_target_push(const struct replay_target_options *options, const char *address,
                                   struct replay_target **target_out, struct error *error);
enum error_code replay_target_udp(const struct replay_target_options *options, const char *address,
                                  struct replay_target **target_out, struct error *error);

#endif
