#include "tools/daybook/replay_player.h"

#include <assert.h>

#include "core/clock.h"
#include "tools/daybook/interrupt.h"

/* Events that are due together leave together, but not more than so much. */
enum { PENDING_BYTES = 32 << 10 };

/*
 * A sleep ends up to SPIN_NS too late, measured on an idle and on a busy machine, so the last of a
 * wait is spun; but no more than a share of the time slept, or events that come fast would cost a
 * whole processor, and more than the exactness is worth. Once that is used up no sleep is shorter
 * than SLEEP_NS: what becomes due meanwhile leaves together.
 */
#define SPIN_NS     INT64_C(200000)
#define SPIN_SHARE  10
#define SPIN_CREDIT INT64_C(1000000)
#define SLEEP_NS    INT64_C(50000)

static void show(struct replay_player *player, int64_t now_ns)
{
    struct replay_progress *progress = player->progress;
    int64_t next_ns = player->event ? player->event->event.time_ns : player->pace.time_last_ns;
    int64_t clock_ns =
        pace_clock(&player->pace, player->paused ? player->paused_at_ns : now_ns, next_ns);
    __atomic_store_n(&progress->clock_ns, clock_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->clock_at_ns, now_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->next_ns, next_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->events, player->pace.events, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->late, player->pace.late, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->span_ns, player->pace.span_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->active_ns, player->active_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&progress->paused, player->paused, __ATOMIC_RELAXED);
}

static void account(struct replay_player *player, const struct replay_event *event, int64_t due_ns,
                    int64_t sent_ns)
{
    pace_record(&player->pace, due_ns, sent_ns);
    digest_add(&player->digest, "{", 1);
    digest_add(&player->digest, event->text, event->text_bytes);
    if (player->pace.events == 1)
        player->sequence_first = event->event.sequence;
    player->sequence_last = event->event.sequence;
    if (due_ns != PACE_AT_ONCE)
        __atomic_store_n(&player->progress->error_ns, sent_ns - due_ns, __ATOMIC_RELAXED);
}

/* What is due goes out now. */
static enum error_code flush(struct replay_player *player, struct error *error)
{
    if (player->pending_count == 0)
        return OK;
    enum error_code code = replay_target_flush(player->target, error);
    if (code)
        return code;
    int64_t sent_ns = clock_monotonic_ns();
    for (size_t i = 0; i < player->pending_count; i++)
        account(player, player->pending[i].event, player->pending[i].due_ns, sent_ns);
    player->active_ns = sent_ns - player->began_ns - player->paused_ns;
    player->pending_count = player->pending_bytes = 0;
    show(player, sent_ns);
    return OK;
}

static enum error_code send_event(struct replay_player *player, int64_t due_ns, struct error *error)
{
    const struct replay_event *event = player->event;
    bool sent = false;
    assert(player->pending_count < REPLAY_PLAYER_BATCH_MAX);
    enum error_code code = replay_target_add(player->target, event, &sent, error);
    if (code)
        return code;
    pace_leave(&player->pace, event->event.time_ns);
    player->event = NULL;
    if (sent) {
        player->pending[player->pending_count].event = event;
        player->pending[player->pending_count++].due_ns = due_ns;
        player->pending_bytes += event->text_bytes;
    }
    if (player->pending_count >= replay_target_batch(player->target) ||
        player->pending_bytes >= PENDING_BYTES)
        return flush(player, error);
    return OK;
}

/* The pause goes on, but the clock stood here until now. */
static void renew_pause(struct replay_player *player, int64_t now_ns)
{
    if (!player->paused)
        return;
    player->paused_ns += now_ns - player->paused_at_ns;
    player->paused_at_ns = now_ns;
}

/* In a pause, one event: the clock goes on from it. */
static enum error_code send_step(struct replay_player *player, struct error *error)
{
    player->steps_wanted--;
    player->steps++;
    enum error_code code = send_event(player, PACE_AT_ONCE, error);
    if (!code)
        code = flush(player, error);
    int64_t now_ns = clock_monotonic_ns();
    pace_align(&player->pace, now_ns);
    renew_pause(player, now_ns);
    return code;
}

/* The round's first event begins its clock; after a seek the clock runs once there is something. */
static void begin_clock(struct replay_player *player)
{
    int64_t now_ns = clock_monotonic_ns();
    int64_t time_ns = player->event->event.time_ns;
    if (!player->pace.started) {
        player->rounds++;
        player->time_first_ns = time_ns;
        pace_begin(&player->pace, time_ns, now_ns);
        renew_pause(player, now_ns);
    } else if (player->jumping) {
        pace_jump(&player->pace, player->jump_ns, now_ns);
        renew_pause(player, now_ns);
    }
    player->jumping = false;
    if (player->pending_count == 0)
        show(player, now_ns);
}

/* Find out what leaves next, and wait for it if need be. ERROR_END: nothing any more. */
static enum error_code fetch(struct replay_player *player, uint32_t rings, struct error *error)
{
    enum replay_source_kind kind;
    if (replay_source_turns(player->source)) {
        enum error_code code = flush(player, error); /* the events' memory goes back */
        if (code)
            return code;
    }
    enum error_code code = replay_source_next(player->source, &kind, &player->event, error);
    if (code == ERROR_BUSY) {
        bell_wait(&player->orders->bell, rings, INT64_MAX);
        return OK;
    }
    if (code)
        return code;
    if (kind == REPLAY_SOURCE_EVENT) {
        begin_clock(player);
    } else {
        pace_restart(&player->pace);
        player->jumping = false;
    }
    return OK;
}

static void spin_until(struct replay_player *player, uint32_t rings, int64_t now_ns,
                       int64_t due_ns)
{
    const struct bell *bell = &player->orders->bell;
    player->spin_credit_ns -= due_ns - now_ns;
    while (bell_rings(bell) == rings && clock_monotonic_ns() < due_ns)
        continue;
}

/* Returns early when the bell rings: what for is seen outside. */
static void wait_until(struct replay_player *player, uint32_t rings, int64_t now_ns, int64_t due_ns)
{
    int64_t spin_ns = player->spin_credit_ns < SPIN_NS ? player->spin_credit_ns : SPIN_NS;
    if (due_ns - now_ns > spin_ns) {
        int64_t wake_ns = due_ns - spin_ns;
        bell_wait(&player->orders->bell, rings,
                  wake_ns > now_ns + SLEEP_NS ? wake_ns : now_ns + SLEEP_NS);
        int64_t woken_ns = clock_monotonic_ns();
        player->spin_credit_ns += (woken_ns - now_ns) / SPIN_SHARE;
        if (player->spin_credit_ns > SPIN_CREDIT)
            player->spin_credit_ns = SPIN_CREDIT;
        now_ns = woken_ns;
    }
    if (now_ns < due_ns && due_ns - now_ns <= player->spin_credit_ns)
        spin_until(player, rings, now_ns, due_ns);
}

/* One step: fetch an event, wait, or send it. */
static enum error_code advance(struct replay_player *player, uint32_t rings, struct error *error)
{
    if (!player->event)
        return fetch(player, rings, error);
    if (player->paused) {
        if (player->steps_wanted > 0)
            return send_step(player, error);
        bell_wait(&player->orders->bell, rings, INT64_MAX);
        return OK;
    }
    int64_t due_ns = pace_due(&player->pace, player->event->event.time_ns);
    int64_t now_ns = due_ns == PACE_AT_ONCE ? 0 : clock_monotonic_ns();
    if (due_ns <= now_ns)
        return send_event(player, due_ns, error);
    enum error_code code = flush(player, error);
    if (!code)
        wait_until(player, rings, now_ns, due_ns);
    return code;
}

static void toggle_pause(struct replay_player *player)
{
    int64_t now_ns = clock_monotonic_ns();
    if (player->paused) {
        pace_hold(&player->pace, now_ns - player->paused_at_ns);
        renew_pause(player, now_ns);
        player->paused = false;
        player->steps_wanted = 0;
    } else {
        player->paused = true;
        player->paused_at_ns = now_ns;
        player->pauses++;
    }
    show(player, now_ns);
}

static void step(struct replay_player *player)
{
    if (!player->paused)
        toggle_pause(player);
    player->steps_wanted++;
}

static void seek(struct replay_player *player, int64_t by_ns)
{
    if (!player->pace.started)
        return; /* before the first event there is nowhere to go to */
    int64_t now_ns = clock_monotonic_ns();
    int64_t next_ns = player->event ? player->event->event.time_ns : player->pace.time_last_ns;
    int64_t to_ns;
    if (player->jumping) /* several at once add up */
        to_ns = player->jump_ns;
    else
        to_ns = pace_clock(&player->pace, player->paused ? player->paused_at_ns : now_ns, next_ns);
    if (__builtin_add_overflow(to_ns, by_ns, &to_ns) || to_ns < player->time_first_ns)
        to_ns = player->time_first_ns;
    player->event = NULL;
    player->jump_ns = to_ns;
    player->jumping = true;
    player->seeks++;
    pace_jump(&player->pace, to_ns, now_ns);
    renew_pause(player, now_ns);
    replay_source_seek(player->source, to_ns);
    show(player, now_ns);
}

static enum error_code obey(struct replay_player *player, struct error *error)
{
    enum replay_order order;
    int64_t stopped_ns = replay_orders_take_stopped(player->orders);
    if (stopped_ns > 0 && !player->paused) { /* Ctrl-Z is a pause as well */
        pace_hold(&player->pace, stopped_ns);
        player->paused_ns += stopped_ns;
        player->pauses++;
    }
    while ((order = replay_orders_take(player->orders)) != REPLAY_ORDER_NONE) {
        enum error_code code = flush(player, error); /* they were due before the order came */
        if (code)
            return code;
        if (order == REPLAY_ORDER_END)
            player->interrupted = true;
        else if (order == REPLAY_ORDER_PAUSE)
            toggle_pause(player);
        else if (order == REPLAY_ORDER_STEP)
            step(player);
        else
            seek(player, replay_keys_seek_ns(order));
    }
    player->interrupted |= interrupt_seen();
    return OK;
}

enum error_code replay_player_run(struct replay_player *player, struct error *error)
{
    enum error_code code = OK;
    player->began_ns = clock_monotonic_ns();
    while (!code) {
        uint32_t rings = bell_rings(&player->orders->bell);
        code = obey(player, error);
        if (player->interrupted)
            break;
        if (!code)
            code = advance(player, rings, error);
    }
    if (!code || code == ERROR_END)
        code = flush(player, error);
    if (!code && player->paused) /* it ends in a pause */
        renew_pause(player, clock_monotonic_ns());
    if (!code)
        code = replay_target_finish(player->target, player->interrupted, error);
    player->took_ns = clock_monotonic_ns() - player->began_ns;
    return code;
}
