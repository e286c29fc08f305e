/* Who comes to the bus and who goes from it, and whatever else other threads ask of it. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/daybookd/bus_state.h"
#include "tools/daybookd/progress.h"

static struct subscriber *member(struct list_link *link)
{
    return LIST_MEMBER(link, struct subscriber, in_all);
}

static void depart(struct bus *bus, const struct ucred *peer)
{
    uint64_t one = 1;
    pthread_mutex_lock(&bus->mutex);
    /* Room for all who are here was made when they came. */
    assert(bus->departed_count < bus->departed_capacity);
    bus->departed[bus->departed_count++] = *peer;
    pthread_mutex_unlock(&bus->mutex);
    atomic_fetch_sub(&bus->subscribers, 1);
    ssize_t written = write(bus->departures_fd, &one, sizeof one);
    (void)written; /* fails only when the counter is full, and then it is readable anyway */
}

void bus_bury_dead(struct bus *bus)
{
    while (!list_is_empty(&bus->dead)) {
        struct subscriber *subscriber = member(bus->dead.next);
        struct ucred peer = subscriber->peer;
        subscriber_free(subscriber);
        depart(bus, &peer);
    }
}

static void welcome(struct bus *bus, struct bus_arrival *arrival)
{
    struct ucred peer = arrival->peer;
    struct subscriber *subscriber = subscriber_create(bus, arrival);
    if (!subscriber) {
        file_close(&arrival->fd);
        buffer_release(&arrival->input);
        depart(bus, &peer);
        return;
    }
    list_append(&bus->all, &subscriber->in_all);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = subscriber};
    if (epoll_ctl(bus->epoll_fd, EPOLL_CTL_ADD, subscriber->fd, &event)) {
        subscriber_drop(subscriber);
        return;
    }
    bus_watch_input(subscriber);
}

static void fail_all(struct bus *bus, const char *code, const char *text)
{
    struct list_link *next;
    for (struct list_link *link = bus->all.next; link != &bus->all; link = next) {
        next = link->next;
        subscriber_fail(member(link), code, text);
    }
}

/* The one of that process, or user, that came first. */
static void evict_one(struct bus *bus, const struct ucred *whose)
{
    for (struct list_link *link = bus->all.next; link != &bus->all; link = link->next) {
        struct subscriber *subscriber = member(link);
        if (subscriber->closing || subscriber->peer.uid != whose->uid ||
            (whose->pid != 0 && subscriber->peer.pid != whose->pid))
            continue;
        subscriber_fail(subscriber, "busy",
                        "all connections are in use, most of them by this process or user");
        return;
    }
}

void bus_take_requests(struct bus *bus)
{
    pthread_mutex_lock(&bus->mutex);
    struct bus_arrivals arrivals = bus->arrivals;
    bus->arrivals = (struct bus_arrivals){0};
    struct ucred evicted[BUS_EVICTIONS];
    size_t evicted_count = bus->evicted_count;
    memcpy(evicted, bus->evicted, sizeof evicted);
    bus->evicted_count = 0;
    const char *end_code = bus->end_code;
    pthread_mutex_unlock(&bus->mutex);
    for (size_t i = 0; i < arrivals.count; i++)
        welcome(bus, &arrivals.items[i]);
    free(arrivals.items);
    for (size_t i = 0; i < evicted_count; i++)
        evict_one(bus, &evicted[i]);
    if (!end_code)
        return;
    bus_take_input(bus); /* what was sent before the end counts: a last commit, perhaps */
    fail_all(bus, end_code, bus->end_text); /* its text does not change any more */
}

/* ---- For other threads ---- */

void bus_ring_bell(struct bus *bus)
{
    uint64_t one = 1;
    ssize_t written = write(bus->options.progress->bus_fd, &one, sizeof one);
    (void)written; /* fails only when the counter is full, and then it is readable anyway */
}

static enum error_code reserve(void **items, size_t *capacity, size_t count, size_t size,
                               struct error *error)
{
    if (count <= *capacity)
        return OK;
    size_t wanted = *capacity ? 2 * *capacity : 16;
    void *grown = realloc(*items, (wanted > count ? wanted : count) * size);
    if (!grown)
        return error_set(error, ERROR_MEMORY, "no memory for another subscriber");
    *items = grown;
    *capacity = wanted > count ? wanted : count;
    return OK;
}

enum error_code bus_admit(struct bus *bus, struct bus_arrival *arrival, struct error *error)
{
    pthread_mutex_lock(&bus->mutex);
    struct bus_arrivals *arrivals = &bus->arrivals;
    size_t here = bus->departed_count + atomic_load(&bus->subscribers) + 1;
    enum error_code code = reserve((void **)&arrivals->items, &arrivals->capacity,
                                   arrivals->count + 1, sizeof *arrivals->items, error);
    if (!code)
        code = reserve((void **)&bus->departed, &bus->departed_capacity, here,
                       sizeof *bus->departed, error);
    if (!code)
        code = bus_start(bus, error);
    if (!code) {
        arrivals->items[arrivals->count++] = *arrival;
        atomic_fetch_add(&bus->subscribers, 1);
    }
    pthread_mutex_unlock(&bus->mutex);
    if (code) {
        file_close(&arrival->fd);
        buffer_release(&arrival->input);
        return code;
    }
    bus_ring_bell(bus);
    return OK;
}

int bus_departures_fd(const struct bus *bus)
{
    return bus->departures_fd;
}

size_t bus_take_departures(struct bus *bus, struct ucred *peers_out, size_t max)
{
    pthread_mutex_lock(&bus->mutex);
    size_t count = bus->departed_count < max ? bus->departed_count : max;
    bus->departed_count -= count;
    if (count > 0)
        memcpy(peers_out, bus->departed + bus->departed_count, count * sizeof *peers_out);
    pthread_mutex_unlock(&bus->mutex);
    return count;
}

void bus_end(struct bus *bus, const char *code, const char *text)
{
    pthread_mutex_lock(&bus->mutex);
    if (!bus->end_code) {
        snprintf(bus->end_text, sizeof bus->end_text, "%s", text);
        bus->end_code = code;
    }
    pthread_mutex_unlock(&bus->mutex);
    bus_ring_bell(bus);
}

bool bus_evict(struct bus *bus, pid_t pid, uid_t uid)
{
    pthread_mutex_lock(&bus->mutex);
    bool room = bus->evicted_count < BUS_EVICTIONS;
    if (room)
        bus->evicted[bus->evicted_count++] = (struct ucred){.pid = pid, .uid = uid};
    pthread_mutex_unlock(&bus->mutex);
    bus_ring_bell(bus);
    return room;
}

void bus_count(struct bus *bus, struct bus_counters *counters_out)
{
    *counters_out = (struct bus_counters){
        .subscribers = atomic_load(&bus->subscribers),
        .feeds = atomic_load(&bus->feed_count),
        .delivered = atomic_load(&bus->delivered),
        .closed = atomic_load(&bus->closed),
    };
}
