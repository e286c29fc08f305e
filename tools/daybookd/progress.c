#include "tools/daybookd/progress.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/file.h"
#include "segment/log.h"

enum error_code progress_init(struct progress *progress, struct error *error)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return error_set_errno(error, errno, "create an eventfd");
    int bus_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bus_fd < 0) {
        enum error_code code = error_set_errno(error, errno, "create an eventfd");
        file_close(&fd);
        return code;
    }
    *progress = (struct progress){.fd = fd, .bus_fd = bus_fd};
    return OK;
}

/* This thread commits itself: it need not be told what it has done. */
static _Thread_local bool commits;

/*
 * Waking a network thread costs a system call and a switch: only for news that it can use. All is
 * noted, whatever of it is news: what was told counts, not by whom.
 */
static bool is_news(struct progress *progress, struct segment_log *log)
{
    uint64_t durable = segment_log_durable(log);
    struct segment_log_counters counters;
    segment_log_count(log, &counters);
    bool further = atomic_exchange(&progress->durable_told, durable) != durable;
    /* Those who wait for room can be refused now, or go on. */
    bool full = atomic_exchange(&progress->full_told, counters.disk_full) != counters.disk_full;
    bool missing =
        atomic_exchange(&progress->missing_told, counters.next_missing) != counters.next_missing;
    return further || full || missing ||
           atomic_load_explicit(&progress->written_waiters, memory_order_relaxed) > 0 ||
           segment_log_failure(log, NULL) != OK;
}

/* On the thread that commits itself, before the sync: there is something for "written" acks. */
static bool is_only_written(struct progress *progress, struct segment_log *log)
{
    return atomic_load_explicit(&progress->written_waiters, memory_order_relaxed) > 0 &&
           segment_log_written(log) > segment_log_durable(log);
}

static void ring(int fd)
{
    uint64_t one = 1;
    /* Fails only when the counter is full, and then it is readable anyway. */
    if (write(fd, &one, sizeof one) < 0)
        return;
}

/*
 * The log has stored what is durable before this looks whether anybody waits for it; the bus says
 * that it waits before it looks what is durable. The fences order each pair, so one of the two sees
 * the other.
 */
static void wake_bus(struct progress *progress, struct segment_log *log)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&progress->bus_waits, memory_order_relaxed))
        return;
    if (segment_log_durable(log) > atomic_load(&progress->bus_seen) &&
        atomic_exchange(&progress->bus_waits, false))
        ring(progress->bus_fd);
}

bool progress_await(struct progress *progress, uint64_t seen)
{
    atomic_store(&progress->bus_seen, seen);
    atomic_store(&progress->bus_waits, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (segment_log_durable(atomic_load(&progress->log)) <= seen)
        return true;
    atomic_store(&progress->bus_waits, false);
    return false;
}

void progress_notify(void *context)
{
    struct progress *progress = context;
    struct segment_log *log = atomic_load_explicit(&progress->log, memory_order_acquire);
    if (!log)
        return;
    wake_bus(progress, log);
    bool news = is_news(progress, log);
    if (commits ? !is_only_written(progress, log) : !news)
        return;
    ring(progress->fd);
}

bool progress_commit(struct progress *progress)
{
    commits = true;
    bool committed = segment_log_commit(atomic_load(&progress->log));
    commits = false;
    return committed;
}

void progress_release(struct progress *progress)
{
    file_close(&progress->fd);
    file_close(&progress->bus_fd);
}
