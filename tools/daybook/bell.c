#include "tools/daybook/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

void bell_ring(struct bell *bell)
{
    int before = errno;
    __atomic_fetch_add(&bell->rings, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &bell->rings, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = before;
}

uint32_t bell_rings(const struct bell *bell)
{
    return __atomic_load_n(&bell->rings, __ATOMIC_SEQ_CST);
}

void bell_wait(struct bell *bell, uint32_t rings, int64_t deadline_ns)
{
    /* The bitset form takes an absolute time on the monotonic clock. */
    struct timespec deadline = {deadline_ns / SECOND_NS, deadline_ns % SECOND_NS};
    syscall(SYS_futex, &bell->rings, FUTEX_WAIT_BITSET_PRIVATE, rings,
            deadline_ns == INT64_MAX ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}
