#include "tools/daybookd/helm.h"

#include <criterion/criterion.h>
#include <sched.h>

static struct helm helm;

static void begin(void)
{
    helm_init(&helm);
}

static void end(void)
{
    helm_release(&helm);
}

TestSuite(helm, .init = begin, .fini = end);

static struct epoll_event events[HELM_EVENTS_MAX];
static struct epoll_event taken[HELM_EVENTS_MAX];

static const struct epoll_event *numbered(uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        events[i] = (struct epoll_event){.events = EPOLLIN, .data.u64 = first + i};
    return events;
}

Test(helm, is_for_one_and_the_others_leave_their_events_there)
{
    bool news;
    cr_assert(helm_post(&helm, numbered(1, 2), 2, false));
    cr_assert_not(helm_post(&helm, numbered(3, 1), 1, false));
    cr_assert_eq(helm_take(&helm, taken, &news), 3);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(taken[i].data.u64, i + 1);
    cr_assert_not(news);
    cr_assert(helm_leave(&helm));
    cr_assert(helm_post(&helm, NULL, 0, false));
}

Test(helm, is_not_left_while_something_is_there_that_nobody_has_taken)
{
    bool news;
    cr_assert(helm_post(&helm, NULL, 0, false));
    cr_assert_eq(helm_take(&helm, taken, &news), 0);
    cr_assert_not(helm_post(&helm, numbered(1, 1), 1, false));
    cr_assert_not(helm_leave(&helm));
    cr_assert_eq(helm_take(&helm, taken, &news), 1);
    cr_assert_not(helm_post(&helm, NULL, 0, true));
    cr_assert_not(helm_leave(&helm));
    cr_assert_eq(helm_take(&helm, taken, &news), 0);
    cr_assert(news);
    cr_assert(helm_leave(&helm));
}

static void *post_one_more(void *unused)
{
    static const struct epoll_event more = {.events = EPOLLIN, .data.u64 = 1000};
    (void)unused;
    return helm_post(&helm, &more, 1, false) ? &helm : NULL;
}

/* Many times: one that comes late need not be woken. */
Test(helm, makes_wait_for_whom_it_has_no_room, .timeout = 60)
{
    for (int i = 0; i < 500; i++) {
        bool news;
        void *ours;
        pthread_t thread;
        cr_assert(helm_post(&helm, numbered(1, HELM_EVENTS_MAX), HELM_EVENTS_MAX, false));
        cr_assert_eq(pthread_create(&thread, NULL, post_one_more, NULL), 0);
        for (int j = 0; j < i % 20; j++)
            sched_yield();
        cr_assert_eq(helm_take(&helm, taken, &news), HELM_EVENTS_MAX);
        cr_assert_eq(pthread_join(thread, &ours), 0);
        cr_assert_null(ours);
        cr_assert_not(helm_leave(&helm));
        cr_assert_eq(helm_take(&helm, taken, &news), 1);
        cr_assert_eq(taken[0].data.u64, 1000);
        cr_assert(helm_leave(&helm));
    }
}
