#include "tools/daybookd/helm.h"

#include <assert.h>
#include <string.h>

void helm_init(struct helm *helm)
{
    pthread_mutex_init(&helm->mutex, NULL);
    pthread_cond_init(&helm->taken, NULL);
}

void helm_release(struct helm *helm)
{
    pthread_cond_destroy(&helm->taken);
    pthread_mutex_destroy(&helm->mutex);
}

bool helm_post(struct helm *helm, const struct epoll_event *events, size_t count, bool news)
{
    assert(count <= HELM_EVENTS_MAX);
    pthread_mutex_lock(&helm->mutex);
    /* Only while it is held: who leaves has taken everything. */
    while (helm->count + count > HELM_EVENTS_MAX)
        pthread_cond_wait(&helm->taken, &helm->mutex);
    if (count > 0)
        memcpy(&helm->events[helm->count], events, count * sizeof *events);
    helm->count += count;
    helm->news |= news;
    bool ours = !helm->held;
    helm->held = true;
    pthread_mutex_unlock(&helm->mutex);
    return ours;
}

size_t helm_take(struct helm *helm, struct epoll_event *events_out, bool *news_out)
{
    pthread_mutex_lock(&helm->mutex);
    size_t count = helm->count;
    memcpy(events_out, helm->events, count * sizeof *events_out);
    helm->count = 0;
    *news_out = helm->news;
    helm->news = false;
    if (count > 0)
        pthread_cond_signal(&helm->taken);
    pthread_mutex_unlock(&helm->mutex);
    return count;
}

bool helm_leave(struct helm *helm)
{
    pthread_mutex_lock(&helm->mutex);
    helm->held = helm->count > 0 || helm->news;
    bool left = !helm->held;
    pthread_mutex_unlock(&helm->mutex);
    return left;
}
