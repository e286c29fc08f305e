/*
 * tools/daybookd/keeper.h - the thread that does for the bus what waits for the disk: opening
 * cursors, making commits durable.
 *
 * A task has two halves: `work`, on the keeper's thread, one task after the other; and `done`,
 * later on the bus thread, from keeper_take_done. Between give and done the task is the keeper's.
 * So each thing that tasks work on belongs to one thread at a time, and needs no lock.
 *
 * Making a cursor takes several syncs, a commit one, and who commits has waited for longer: so there
 * are two queues. Neither can starve the other.
 *
 * The thread is made with the first task.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_KEEPER_H
#define DAYBOOK_TOOLS_DAYBOOKD_KEEPER_H

#include <stdbool.h>

#include "core/error.h"

struct keeper;

enum { KEEPER_BEFORE = 4 };

struct keeper_task {
    void (*work)(struct keeper_task *task);
    void (*done)(struct keeper_task *task);
    bool may_wait; /* until others are done: KEEPER_BEFORE of them for each of these */
    struct keeper_task *next; /* the keeper's */
};

/* `bell_fd`, an eventfd, is written when a task is done. */
enum error_code keeper_create(int bell_fd, struct keeper **keeper_out, struct error *error);
/* Every task is done by then. Accepts NULL. */
void keeper_free(struct keeper *keeper);

/* Cannot fail: where there is no thread to be had, the work is done at once, here. */
void keeper_give(struct keeper *keeper, struct keeper_task *task);
/* Is nothing given that has not been taken back? */
bool keeper_is_idle(const struct keeper *keeper);
/* Call `done` of all tasks whose work is over. `wait`: for one at least, when any was given. */
void keeper_take_done(struct keeper *keeper, bool wait);

#endif
