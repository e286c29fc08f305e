/* Open file description locks between the descriptors of simulated files. */
#include <errno.h>
#include <stdlib.h>

#include "tools/torture/disk_inside.h"

static uint64_t lock_end(const struct flock *lock)
{
    return lock->l_len == 0 ? UINT64_MAX : (uint64_t)lock->l_start + (uint64_t)lock->l_len;
}

static const struct disk_lock *find_conflict(const struct disk_node *node, int fd,
                                             const struct flock *lock)
{
    for (const struct disk_lock *held = node->locks; held; held = held->next)
        if (held->owner != fd && held->first < lock_end(lock) &&
            (uint64_t)lock->l_start < held->end && (held->exclusive || lock->l_type == F_WRLCK))
            return held;
    return NULL;
}

/* A descriptor's locks are given back and changed by the ranges that they were taken by. */
static void set_lock(struct disk_node *node, int fd, const struct flock *lock)
{
    for (struct disk_lock **link = &node->locks; *link;) {
        struct disk_lock *held = *link;
        if (held->owner != fd || held->first < (uint64_t)lock->l_start ||
            held->end > lock_end(lock)) {
            link = &held->next;
            continue;
        }
        *link = held->next;
        free(held);
    }
    if (lock->l_type == F_UNLCK)
        return;
    struct disk_lock *taken = disk_allocate(sizeof *taken);
    *taken = (struct disk_lock){
        .next = node->locks,
        .owner = fd,
        .exclusive = lock->l_type == F_WRLCK,
        .first = (uint64_t)lock->l_start,
        .end = lock_end(lock),
    };
    node->locks = taken;
}

static int refuse(int reason)
{
    errno = reason;
    return -1;
}

int disk_lock_apply(struct disk_node *node, int fd, int command, struct flock *lock)
{
    if (lock->l_whence != SEEK_SET || lock->l_start < 0 || lock->l_len < 0)
        return refuse(EINVAL);
    const struct disk_lock *conflict = find_conflict(node, fd, lock);
    if (command == F_OFD_GETLK) {
        lock->l_type = !conflict ? F_UNLCK : conflict->exclusive ? F_WRLCK : F_RDLCK;
        return 0;
    }
    if (command != F_OFD_SETLK)
        return refuse(EINVAL);
    if (conflict && lock->l_type != F_UNLCK)
        return refuse(EAGAIN);
    set_lock(node, fd, lock);
    return 0;
}

void disk_locks_drop(struct disk_node *node, int fd)
{
    for (struct disk_lock **link = &node->locks; *link;) {
        struct disk_lock *lock = *link;
        if (lock->owner != fd) {
            link = &lock->next;
            continue;
        }
        *link = lock->next;
        free(lock);
    }
}
