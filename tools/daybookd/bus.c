#include "tools/daybookd/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "segment/log.h"
#include "tools/daybookd/bus_state.h"
#include "tools/daybookd/progress.h"

enum { EVENTS_PER_ROUND = 64, TICK_NS = 1000000000, BUS_NICE = 3 };
#define UNUSED_NS INT64_C(2000000000)

static struct subscriber *member(struct list_link *link)
{
    return LIST_MEMBER(link, struct subscriber, in_all);
}

/* ---- The subscribers' sockets ---- */

void bus_watch_input(struct subscriber *subscriber)
{
    if (!subscriber->gone && !list_contains(&subscriber->in_readable))
        list_append(&subscriber->bus->readable, &subscriber->in_readable);
}

void bus_watch_room(struct bus *bus, const struct subscriber *subscriber, bool wanted)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (wanted ? EPOLLOUT : 0),
                                .data.ptr = (void *)subscriber};
    int failed = epoll_ctl(bus->epoll_fd, EPOLL_CTL_MOD, subscriber->fd, &event);
    assert(!failed);
    (void)failed;
}

static void take_room(struct subscriber *subscriber)
{
    subscriber->blocked = false;
    bus_watch_room(subscriber->bus, subscriber, false);
    if (subscriber->closing)
        subscriber_end(subscriber);
    else
        bus_place(subscriber->bus, subscriber);
    bus_watch_input(subscriber);
}

/*
 * Half a hang-up is none: who sends no more may still want events. The whole one is the end, once
 * what was sent before it has been read: its last commit, perhaps.
 */
static void take_event(struct subscriber *subscriber, uint32_t events)
{
    if (subscriber->gone)
        return;
    subscriber->hung_up = subscriber->hung_up || (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (subscriber->hung_up) {
        list_remove(&subscriber->in_place);
        bus_watch_input(subscriber);
    } else if (events & EPOLLOUT && subscriber->blocked) {
        take_room(subscriber);
    }
    if (events & (EPOLLIN | EPOLLRDHUP)) {
        subscriber->readable = !subscriber->ended;
        bus_watch_input(subscriber);
    }
}

static void wait_for_events(struct bus *bus, int64_t timeout_ns)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    int count = epoll_pwait2(bus->epoll_fd, events, EVENTS_PER_ROUND, &timeout, NULL);
    if (count < 0 && errno == ENOSYS) /* Linux before 5.11 */
        count = epoll_wait(bus->epoll_fd, events, EVENTS_PER_ROUND,
                           (int)((timeout_ns + 999999) / 1000000));
    bus->now_ns = clock_monotonic_ns();
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr)
            take_event(events[i].data.ptr, events[i].events);
}

/* ---- Who is where ---- */

/* A frame begun has to go on with the same events, which the ring must have. */
static bool live_ring_has_next(const struct subscriber *subscriber)
{
    const struct ring *ring = &subscriber->feed->ring;
    return subscriber->feed->live && ring_reaches(ring, subscriber->position) &&
           (!subscriber->frame.begun || ring->looked >= subscriber->frame.last_event);
}

static bool can_be_served(const struct subscriber *subscriber)
{
    bool has_credit = !subscriber->limited || subscriber->credit > 0;
    return !subscriber->blocked &&
           (has_credit || subscriber->frame.begun || !subscriber->begun);
}

void bus_place(struct bus *bus, struct subscriber *subscriber)
{
    list_remove(&subscriber->in_place);
    if (subscriber->hung_up)
        return;
    if (!subscriber->gone && !subscriber->frame.begun && subscriber->answers.size > 0)
        subscriber_send(subscriber, NULL);
    if (subscriber->gone || subscriber->closing || !(subscriber->begun || subscriber->searching))
        return;
    if (subscriber->group && subscriber->begun) {
        bus_group_wake(subscriber->group);
        return;
    }
    if (subscriber->begun && live_ring_has_next(subscriber)) {
        if (subscriber->history)
            history_leave(subscriber->history);
        list_append(&subscriber->feed->attached, &subscriber->in_place);
        subscriber->feed->due = true;
        bus->more = true;
    } else if (can_be_served(subscriber)) {
        list_append(&bus->behind, &subscriber->in_place);
    }
}

/* ---- Rounds ---- */

static bool has_work(const struct bus *bus)
{
    return !list_is_empty(&bus->readable) || !list_is_empty(&bus->behind);
}

void bus_take_input(struct bus *bus)
{
    struct list_link round;
    list_init(&round);
    while (!list_is_empty(&bus->readable)) {
        struct list_link *link = bus->readable.next;
        list_remove(link);
        list_append(&round, link);
    }
    while (!list_is_empty(&round)) {
        struct subscriber *subscriber =
            LIST_MEMBER(round.next, struct subscriber, in_readable);
        list_remove(&subscriber->in_readable);
        if (subscriber_take_input(subscriber))
            bus_watch_input(subscriber);
    }
}

static void take_history(struct bus *bus)
{
    int64_t end_ns = clock_monotonic_ns() + BUS_BEHIND_NS;
    while (!list_is_empty(&bus->behind)) {
        history_turn(bus);
        if (clock_monotonic_ns() >= end_ns)
            return;
    }
}

/* More is durable: those who had everything, and no live feed, are behind now. */
static void wake_at_end(struct bus *bus)
{
    uint64_t durable = segment_log_durable(bus->options.log);
    if (durable == bus->durable)
        return;
    bus->durable = durable;
    while (!list_is_empty(&bus->at_end)) {
        struct subscriber *subscriber =
            LIST_MEMBER(bus->at_end.next, struct subscriber, in_place);
        bus_place(bus, subscriber);
    }
}

static void close_source(const struct bus *bus, struct bus_source *source)
{
    if (!source->stream || bus->now_ns - source->used_ns <= UNUSED_NS)
        return;
    log_stream_close(source->stream);
    source->stream = NULL;
    source->placed = false;
}

/*
 * Readers that nobody has used for a while: an open segment keeps its bytes on the disk when
 * retention deletes it.
 */
static void close_unused(struct bus *bus)
{
    for (size_t i = 0; i < BUS_HISTORIES; i++)
        if (bus->histories[i].stream && bus->now_ns - bus->histories[i].used_ns > UNUSED_NS)
            history_release(&bus->histories[i]);
    close_source(bus, &bus->fresh);
    close_source(bus, &bus->again);
    if (bus->letters_on_their_way == 0) /* else it may be in use by the keeper */
        close_source(bus, &bus->buried);
    if (bus->live_count > 0)
        return;
    log_stream_close(bus->trunk);
    bus->trunk = NULL;
    bus->trunk_runs = false;
}

static void tick(struct bus *bus)
{
    if (bus->now_ns - bus->ticked_ns < TICK_NS)
        return;
    bus->ticked_ns = bus->now_ns;
    notices_tick(&bus->notices, bus->now_ns);
    close_unused(bus);
    struct list_link *next;
    for (struct list_link *link = bus->all.next; link != &bus->all; link = next) {
        next = link->next;
        subscriber_tick(member(link));
    }
}

/* How long the thread may sleep: not at all while there is work, or more has become durable. */
static int64_t find_timeout(struct bus *bus, int64_t longest_ns)
{
    if (has_work(bus))
        return 0;
    longest_ns = bus_groups_timeout(bus, longest_ns);
    bool wanted = bus->live_count > 0 || !list_is_empty(&bus->at_end) ||
                  !list_is_empty(&bus->groups);
    if (!wanted)
        return longest_ns;
    int64_t rest_ns = bus->rest_until_ns - clock_monotonic_ns();
    if (rest_ns > 0) /* what comes meanwhile is gathered */
        return rest_ns < longest_ns ? rest_ns : longest_ns;
    if (bus->more)
        return 0;
    return progress_await(bus->options.progress, bus->durable) ? longest_ns : 0;
}

/*
 * After work that has taken long, for many subscribers, what comes next is gathered for a while: so
 * at high rates a round has more events for each, and publishers have the processor meanwhile. Who
 * subscribes alone waits for nothing.
 */
static void rest(struct bus *bus, int64_t worked_ns)
{
    if (worked_ns < BUS_WORK_NS || bus->more)
        return;
    int64_t rest_ns = BUS_REST_PARTS * worked_ns;
    bus->rest_until_ns = clock_monotonic_ns() + (rest_ns < BUS_REST_NS ? rest_ns : BUS_REST_NS);
}

void bus_round(struct bus *bus, int64_t timeout_ns)
{
    wait_for_events(bus, find_timeout(bus, timeout_ns));
    bus_take_requests(bus);
    keeper_take_done(bus->keeper, false);
    bus_take_input(bus);
    int64_t begin_ns = clock_monotonic_ns();
    if (begin_ns >= bus->rest_until_ns) {
        wake_at_end(bus);
        bus->more = bus_live_turn(bus);
        rest(bus, clock_monotonic_ns() - begin_ns);
    }
    take_history(bus);
    bus_groups_turn(bus);
    tick(bus);
    bus_bury_dead(bus);
}

static void *run(void *context)
{
    struct bus *bus = context;
    pthread_setname_np(pthread_self(), "bus");
    /* Where processors are few, those who publish come first. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), BUS_NICE);
    while (!atomic_load(&bus->ended))
        bus_round(bus, TICK_NS);
    return NULL;
}

enum error_code bus_start(struct bus *bus, struct error *error)
{
    if (bus->running || bus->options.stepped)
        return OK;
    int failed = pthread_create(&bus->thread, NULL, run, bus);
    if (failed)
        return error_set_errno(error, failed, "start the bus thread");
    bus->running = true;
    return OK;
}

/* ---- Making and ending ---- */

static void init_lists(struct bus *bus)
{
    struct list_link *lists[] = {&bus->all,    &bus->readable, &bus->dead, &bus->behind,
                                 &bus->at_end, &bus->feeds,    &bus->live,
                                 &bus->cursors, &bus->groups,  &bus->letters};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list_init(lists[i]);
}

enum error_code bus_create(const struct bus_options *options, struct bus **bus_out,
                           struct error *error)
{
    struct bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return error_set(error, ERROR_MEMORY, "no memory for the bus");
    bus->options = *options;
    bus->rings.bytes_max = BUS_RING_BYTES;
    bus->now_ns = bus->ticked_ns = clock_monotonic_ns();
    segment_format_log_id_text(segment_log_id(options->log), bus->log_id);
    pthread_mutex_init(&bus->mutex, NULL);
    notices_init(&bus->notices, options->report, bus->now_ns);
    init_lists(bus);
    bus->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bus->departures_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event bell = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    enum error_code code = OK;
    if (bus->epoll_fd < 0 || bus->departures_fd < 0 ||
        epoll_ctl(bus->epoll_fd, EPOLL_CTL_ADD, options->progress->bus_fd, &bell))
        code = error_set_errno(error, errno, "create the bus");
    if (!code)
        code = keeper_create(options->progress->bus_fd, &bus->keeper, error);
    if (!code)
        code = json_reader_create(&bus->json, error);
    if (code) {
        bus_free(bus);
        return code;
    }
    *bus_out = bus;
    return OK;
}

static void free_arrivals(struct bus *bus)
{
    for (size_t i = 0; i < bus->arrivals.count; i++) {
        file_close(&bus->arrivals.items[i].fd);
        buffer_release(&bus->arrivals.items[i].input);
    }
    free(bus->arrivals.items);
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    atomic_store(&bus->ended, true);
    if (bus->running) {
        bus_ring_bell(bus);
        pthread_join(bus->thread, NULL);
    }
    atomic_store(&bus->options.progress->bus_waits, false);
    free_arrivals(bus);
    while (!list_is_empty(&bus->all))
        subscriber_drop(member(bus->all.next));
    while (!list_is_empty(&bus->dead))
        subscriber_free(member(bus->dead.next));
    bus_groups_end(bus);
    bus_cursors_end(bus);
    keeper_free(bus->keeper);
    for (size_t i = 0; i < BUS_HISTORIES; i++)
        history_release(&bus->histories[i]);
    log_stream_close(bus->fresh.stream);
    log_stream_close(bus->again.stream);
    log_stream_close(bus->buried.stream);
    log_stream_close(bus->trunk);
    json_reader_free(bus->json);
    buffer_release(&bus->scratch);
    buffer_release(&bus->line);
    file_close(&bus->epoll_fd);
    file_close(&bus->departures_fd);
    pthread_mutex_destroy(&bus->mutex);
    free(bus->departed);
    free(bus);
}
