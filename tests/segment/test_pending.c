#include "segment/pending_state.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

static struct segment_producers *producers;
static struct segment_pending *pending;
static struct error error;

static void begin(size_t bytes_max, bool withdrawals_are_taken)
{
    struct segment_pending_start start = {.bytes_max = bytes_max,
                                          .block_bytes_max = 1 << 18,
                                          .sequence_next = 10,
                                          .withdrawals_are_taken = withdrawals_are_taken};
    cr_assert_eq(segment_producers_create(&producers, NULL), OK);
    start.producers = producers;
    cr_assert_eq(segment_pending_create(&start, &pending, &error), OK, "%s", error.text);
}

static void end(void)
{
    segment_pending_free(pending);
    segment_producers_free(producers);
}

TestSuite(pending, .fini = end);

static enum error_code append(const char *producer, uint64_t number, uint64_t *sequence_out)
{
    static const char payload[200] = "\xc0";
    enum segment_log_outcome outcome;
    struct event event = {.time_ns = EVENT_TIME_NONE,
                          .topic = "t",
                          .topic_bytes = 1,
                          .payload = payload,
                          .payload_bytes = sizeof payload,
                          .producer = producer,
                          .producer_bytes = strlen(producer),
                          .number = number};
    return segment_pending_append(pending, &event, &outcome, sequence_out, &error);
}

static uint64_t append_well(const char *producer, uint64_t number)
{
    uint64_t sequence = 0;
    cr_assert_eq(append(producer, number, &sequence), OK, "%s", error.text);
    return sequence;
}

static struct segment_pending_block *take(void)
{
    bool stopping;
    return segment_pending_take(pending, &stopping);
}

static enum error_code wait_for(uint64_t sequence)
{
    struct segment_pending_waiter waiter;
    segment_pending_begin_wait(pending, &waiter, sequence);
    cr_assert_null(segment_pending_wait(pending, &waiter));
    return segment_pending_end_wait(pending, &waiter, &error);
}

Test(pending, an_empty_queue_takes_anything_and_a_full_one_nothing)
{
    uint64_t sequence;
    begin(500, false);
    cr_assert(segment_pending_has_room(pending, 1000000, 1 << 30));
    cr_assert_eq(append_well("", 0), 10);
    cr_assert(segment_pending_has_room(pending, 1, 100));
    cr_assert_not(segment_pending_has_room(pending, 1, 400));
    cr_assert_not(segment_pending_has_room(pending, FORMAT_UNDURABLE_EVENTS_MAX, 0));
    cr_assert_eq(append_well("", 0), 11);
    cr_assert_eq(append("", 0, &sequence), ERROR_BUSY);
    cr_assert_str_eq(error.text, "2 events wait for the disk already");
}

Test(pending, no_more_events_wait_than_a_power_cut_may_cost_sequences)
{
    begin(SIZE_MAX / 2, false);
    append_well("", 0);
    cr_assert(segment_pending_has_room(pending, FORMAT_UNDURABLE_EVENTS_MAX - 1, 0));
    cr_assert_not(segment_pending_has_room(pending, FORMAT_UNDURABLE_EVENTS_MAX, 0));
}

Test(pending, who_would_be_refused_need_not_wait_for_room)
{
    struct error why = {.code = ERROR_IO, .text = "the disk is broken"};
    uint64_t sequence;
    begin(300, false);
    append_well("", 0);
    cr_assert_not(segment_pending_has_room(pending, 1, 300));
    segment_pending_fail(pending, &why);
    cr_assert(segment_pending_has_room(pending, 1, 300));
    cr_assert_eq(append("", 0, &sequence), ERROR_IO);
    cr_assert_str_eq(error.text, "the disk is broken");
}

Test(pending, the_first_failure_stays_the_reason)
{
    struct error first = {.code = ERROR_IO, .text = "first"};
    struct error second = {.code = ERROR_NO_SPACE, .text = "second"};
    begin(1 << 20, false);
    segment_pending_fail(pending, &first);
    segment_pending_fail(pending, &second);
    cr_assert_eq(segment_pending_failure(pending, &error), ERROR_IO);
    cr_assert_str_eq(error.text, "first");
}

Test(pending, an_outcome_that_nobody_knows_is_called_unknown)
{
    struct error why = {.code = ERROR_IO, .text = "the disk is broken"};
    begin(1 << 20, false);
    append_well("", 0);
    append_well("", 0);
    segment_pending_set_durable(pending, 10);
    segment_pending_fail(pending, &why);
    cr_assert_eq(wait_for(10), OK);
    cr_assert_eq(wait_for(11), ERROR_IO);
    cr_assert_str_eq(error.text, "the outcome of events 11 to 11 is unknown: the disk is broken");
}

/* Elsewhere "no space" says that nothing was stored: whoever believes it sends again, and doubles.
 */
Test(pending, no_space_that_ends_the_log_is_not_taken_for_a_refusal)
{
    struct error why = {.code = ERROR_NO_SPACE, .text = "cannot sync"};
    begin(1 << 20, false);
    append_well("", 0);
    segment_pending_fail(pending, &why);
    cr_assert_eq(wait_for(10), ERROR_IO);
}

Test(pending, what_is_durable_was_written)
{
    begin(1 << 20, false);
    append_well("", 0);
    segment_pending_set_durable(pending, 10);
    cr_assert_eq(segment_pending_written(pending), 10);
    segment_pending_set_written(pending, 12);
    segment_pending_set_durable(pending, 11);
    cr_assert_eq(segment_pending_written(pending), 12);
}

static void withdraw(uint64_t sequence_last)
{
    struct error why = {.code = ERROR_NO_SPACE, .text = "the disk is full"};
    struct segment_pending_block *list = take();
    cr_assert_eq(segment_pending_withdraw(pending, list, sequence_last, producers, &why, &error),
                 OK);
}

Test(pending, whose_event_may_still_be_withdrawn_is_not_called_a_producer_of_the_past)
{
    char name[16];
    uint64_t sequence;
    begin(64 << 20, false);
    for (int i = 0; i < PRODUCERS_MAX; i++) {
        snprintf(name, sizeof name, "p%d", i);
        append_well(name, 5);
    }
    cr_assert_eq(append("one.more", 1, &sequence), ERROR_BUSY);
    cr_assert_eq(append("p0", 5, &sequence), OK, "it is a duplicate: %s", error.text);
    segment_pending_set_durable(pending, 10);
    cr_assert_eq(append("one.more", 1, &sequence), OK, "%s", error.text);
    cr_assert_eq(append("two.more", 1, &sequence), ERROR_BUSY);
}

Test(pending, what_is_withdrawn_was_never_there)
{
    uint64_t sequence;
    begin(1 << 20, false);
    append_well("p", 5);
    segment_pending_kick(pending);
    withdraw(9);
    cr_assert_eq(segment_pending_appended(pending), 9);
    uint64_t number = 1;
    cr_assert_eq(segment_pending_find_producer(pending, "p", 1, &number, &error), OK);
    cr_assert_eq(number, 0);
    cr_assert_eq(append("p", 5, &sequence), ERROR_NO_SPACE);
    segment_pending_resume(pending);
    cr_assert_eq(append_well("p", 5), 10);
}

Test(pending, a_withdrawal_is_told_once_to_who_takes_it)
{
    struct error why;
    uint64_t sequence;
    begin(1 << 20, true);
    cr_assert_not(segment_pending_take_withdrawal(pending, &why));
    append_well("", 0);
    segment_pending_kick(pending);
    withdraw(9);
    segment_pending_resume(pending);
    /* Until it is taken nothing more is appended, though there is room again. */
    cr_assert_eq(append("", 0, &sequence), ERROR_NO_SPACE);
    cr_assert_eq(append("", 0, &sequence), ERROR_NO_SPACE);
    cr_assert(segment_pending_take_withdrawal(pending, &why));
    cr_assert_str_eq(why.text, "the disk is full");
    cr_assert_not(segment_pending_take_withdrawal(pending, &why));
    cr_assert_eq(append_well("", 0), 10);
}

/* ---- With another thread ---- */

/* Until another thread sleeps there: else it could come later, and would need nobody to wake it. */
static void await_committer(void)
{
    for (bool waits = false; !waits;) {
        pthread_mutex_lock(&pending->mutex);
        waits = pending->committer_waits;
        pthread_mutex_unlock(&pending->mutex);
        sched_yield();
    }
}

static void await_waiter(void)
{
    for (bool waits = false; !waits;) {
        pthread_mutex_lock(&pending->mutex);
        waits = pending->waiters && pending->waiters->asleep;
        pthread_mutex_unlock(&pending->mutex);
        sched_yield();
    }
}

static void *wait_for_room(void *unused)
{
    (void)unused;
    segment_pending_wait_room(pending);
    return NULL;
}

static pthread_t start_waiter(void)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_room, NULL), 0);
    return thread;
}

Test(pending, who_waits_for_room_is_woken_by_a_release)
{
    begin(300, false);
    append_well("", 0);
    segment_pending_kick(pending);
    struct segment_pending_block *list = take();
    cr_assert_not_null(list);
    pthread_t thread = start_waiter();
    cr_assert_null(segment_pending_release(pending, list, 1));
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(segment_pending_has_room(pending, 1, 300));
}

Test(pending, who_waits_for_room_is_woken_by_a_failure)
{
    struct error why = {.code = ERROR_IO, .text = "the disk is broken"};
    begin(300, false);
    append_well("", 0);
    pthread_t thread = start_waiter();
    segment_pending_fail(pending, &why);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(pending, who_waits_for_room_is_woken_by_a_refusal)
{
    begin(1 << 20, false);
    append_well("", 0);
    segment_pending_kick(pending);
    struct segment_pending_block *list = take();
    append_well("", 0);
    pthread_t thread = start_waiter();
    struct error why = {.code = ERROR_NO_SPACE, .text = "the disk is full"};
    cr_assert_eq(segment_pending_withdraw(pending, list, 9, producers, &why, &error), OK);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(pending, nobody_settles_what_has_failed)
{
    struct error why = {.code = ERROR_IO, .text = "the disk is broken"};
    begin(1 << 20, false);
    segment_pending_fail(pending, &why);
    segment_pending_settle(pending); /* a hang, if it waits for a committer */
}

/* ---- Whose turn it is to commit ---- */

/* What a committer does with its turn, without a disk. */
static void commit(struct segment_pending_block *list, uint64_t sequence_last, int64_t deadline_ns)
{
    segment_pending_set_durable(pending, sequence_last);
    while (list)
        list = segment_pending_release(pending, list, 1);
    segment_pending_leave(pending, deadline_ns);
}

Test(pending, who_waits_commits_itself_when_nobody_else_does)
{
    struct segment_pending_waiter waiter;
    begin(1 << 20, false);
    append_well("", 0);
    segment_pending_begin_wait(pending, &waiter, 10);
    struct segment_pending_block *list = segment_pending_wait(pending, &waiter);
    cr_assert_not_null(list);
    cr_assert_eq(list->builder.sequence_first, 10);
    commit(list, 10, INT64_MAX);
    cr_assert_null(segment_pending_wait(pending, &waiter));
    cr_assert_eq(segment_pending_end_wait(pending, &waiter, &error), OK);
}

Test(pending, only_one_has_the_turn)
{
    begin(1 << 20, false);
    cr_assert_null(segment_pending_try_take(pending));
    append_well("", 0);
    struct segment_pending_block *list = segment_pending_try_take(pending);
    cr_assert_not_null(list);
    append_well("", 0);
    cr_assert_null(segment_pending_try_take(pending));
    commit(list, 10, INT64_MAX);
    list = segment_pending_try_take(pending);
    cr_assert_not_null(list);
    cr_assert_eq(list->builder.sequence_first, 11);
    commit(list, 11, INT64_MAX);
}

Test(pending, nobody_has_a_turn_after_a_failure)
{
    struct error why = {.code = ERROR_IO, .text = "the disk is broken"};
    begin(1 << 20, false);
    append_well("", 0);
    segment_pending_fail(pending, &why);
    cr_assert_null(segment_pending_try_take(pending));
    cr_assert_null(take());
    cr_assert_eq(wait_for(10), ERROR_IO);
}

static void *wait_for_eleven(void *unused)
{
    struct segment_pending_waiter waiter;
    struct segment_pending_block *list;
    (void)unused;
    segment_pending_begin_wait(pending, &waiter, 11);
    while ((list = segment_pending_wait(pending, &waiter)) != NULL)
        commit(list, 11, INT64_MAX);
    return (void *)(intptr_t)segment_pending_end_wait(pending, &waiter, NULL);
}

/* Nobody else is there who could commit. */
Test(pending, a_turn_that_is_given_back_goes_to_who_waits, .timeout = 20)
{
    void *code;
    pthread_t thread;
    begin(1 << 20, false);
    append_well("", 0);
    struct segment_pending_block *list = segment_pending_try_take(pending);
    append_well("", 0);
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_eleven, NULL), 0);
    await_waiter();
    commit(list, 10, INT64_MAX);
    cr_assert_eq(pthread_join(thread, &code), 0);
    cr_assert_eq((intptr_t)code, OK);
    cr_assert_eq(segment_pending_durable(pending), 11);
}

Test(pending, who_waits_behind_anothers_turn_hears_that_it_was_withdrawn, .timeout = 20)
{
    void *code;
    pthread_t thread;
    struct error why = {.code = ERROR_NO_SPACE, .text = "the disk is full"};
    begin(1 << 20, false);
    append_well("", 0);
    struct segment_pending_block *list = segment_pending_try_take(pending);
    append_well("", 0);
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_eleven, NULL), 0);
    await_waiter();
    cr_assert_eq(segment_pending_withdraw(pending, list, 9, producers, &why, &error), OK);
    segment_pending_leave(pending, INT64_MAX);
    cr_assert_eq(pthread_join(thread, &code), 0);
    cr_assert_eq((intptr_t)code, ERROR_NO_SPACE);
}

static void *take_one(void *unused)
{
    (void)unused;
    struct segment_pending_block *list = take();
    bool found = list != NULL;
    commit(list, found ? 11 : segment_pending_durable(pending), INT64_MAX);
    return (void *)(intptr_t)found;
}

/* Let the committer's thread have looked once, so that it sleeps for ever after. */
static void nothing_is_due(void)
{
    cr_assert_null(take());
    segment_pending_leave(pending, INT64_MAX);
}

Test(pending, a_turn_that_is_given_back_goes_to_the_committers_thread_when_somebody_was_put_off,
     .timeout = 20)
{
    void *found;
    pthread_t thread;
    begin(1 << 20, false);
    nothing_is_due();
    append_well("", 0);
    struct segment_pending_block *list = segment_pending_try_take(pending);
    append_well("", 0);
    cr_assert_eq(pthread_create(&thread, NULL, take_one, NULL), 0);
    await_committer();
    cr_assert_null(segment_pending_try_take(pending));
    commit(list, 10, INT64_MAX);
    cr_assert_eq(pthread_join(thread, &found), 0);
    cr_assert((bool)(intptr_t)found);
    cr_assert_eq(segment_pending_durable(pending), 11);
}

/* An idle watermark is due 100 ms after a commit, whoever has made it. */
Test(pending, the_committers_thread_hears_of_an_earlier_deadline, .timeout = 20)
{
    void *found;
    pthread_t thread;
    begin(1 << 20, false);
    nothing_is_due();
    cr_assert_eq(pthread_create(&thread, NULL, take_one, NULL), 0);
    await_committer();
    append_well("", 0);
    struct segment_pending_block *list = segment_pending_try_take(pending);
    cr_assert_not_null(list);
    commit(list, 10, 0);
    cr_assert_eq(pthread_join(thread, &found), 0);
    cr_assert_not((bool)(intptr_t)found);
}

static atomic_bool has_room_again;

static void *wait_for_room_and_tell(void *unused)
{
    wait_for_room(unused);
    atomic_store(&has_room_again, true);
    return NULL;
}

/* Not only when nothing is left: each block that becomes durable makes room. */
Test(pending, who_waits_for_room_is_woken_by_the_first_release)
{
    enum { BLOCKS = 2000 };
    struct segment_pending_start start = {
        .bytes_max = SIZE_MAX / 2, .block_bytes_max = 1, .sequence_next = 1};
    pthread_t thread;
    size_t left = BLOCKS;
    cr_assert_eq(segment_producers_create(&producers, NULL), OK);
    start.producers = producers;
    cr_assert_eq(segment_pending_create(&start, &pending, &error), OK, "%s", error.text);
    for (int i = 0; i < BLOCKS; i++)
        append_well("", 0);
    struct segment_pending_block *list = take();
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_room_and_tell, NULL), 0);
    for (; left > 1 && !atomic_load(&has_room_again); left--) { /* it may come late */
        list = segment_pending_release(pending, list, 1);
        usleep(1000);
    }
    cr_assert_gt(left, 1, "it waited until everything was durable");
    segment_pending_release(pending, list, left);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}
