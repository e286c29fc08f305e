/*
 * tools/daybookd/helm.h - which of the network threads deals with what has happened.
 *
 * Two threads wait for the same epoll, so that one of them can be inside of fdatasync, on behalf of
 * a lone event, while the other one serves everybody else. All of the server's state belongs to the
 * one that is at the helm. Who comes with events while another is there leaves them with it, and
 * goes on: nobody waits for the helm.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_HELM_H
#define DAYBOOK_TOOLS_DAYBOOKD_HELM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>

enum { HELM_EVENTS_MAX = 128 };

struct helm {
    pthread_mutex_t mutex;
    pthread_cond_t taken;
    bool held;
    struct epoll_event events[HELM_EVENTS_MAX]; /* posted and not yet taken */
    size_t count;
    bool news; /* the log has moved on */
};

void helm_init(struct helm *helm);
void helm_release(struct helm *helm);
/*
 * Post these events (at most HELM_EVENTS_MAX), and news of the log. True: the caller is at the helm
 * now, and takes them; false: somebody else is, who will.
 */
bool helm_post(struct helm *helm, const struct epoll_event *events, size_t count, bool news);
/* At the helm: what has been posted. `events_out` has room for HELM_EVENTS_MAX. */
size_t helm_take(struct helm *helm, struct epoll_event *events_out, bool *news_out);
/* Leave the helm. False: something has been posted meanwhile, stay and take it. */
bool helm_leave(struct helm *helm);

#endif
