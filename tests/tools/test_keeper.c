/* The bus's keeper (tools/daybookd/keeper.h): what it does before what. */
#include <criterion/criterion.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tools/daybookd/keeper.h"

enum { COMMITS = 8, CREATIONS = 3 };

static sem_t let_go;
static char order[64]; /* written by the keeper, read when it is idle */

static void work_stop(struct keeper_task *task)
{
    (void)task;
    while (sem_wait(&let_go) && errno == EINTR)
        ;
}

static void work(struct keeper_task *task)
{
    order[strlen(order)] = task->may_wait ? 'w' : 'c';
}

static void done(struct keeper_task *task)
{
    (void)task;
}

Test(keeper, does_commits_before_what_may_wait_and_starves_neither)
{
    struct keeper *keeper = NULL;
    struct error error;
    struct keeper_task stop = {.work = work_stop, .done = done};
    struct keeper_task commits[COMMITS], creations[CREATIONS];
    int bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sem_init(&let_go, 0, 0);
    cr_assert_eq(keeper_create(bell_fd, &keeper, &error), OK, "%s", error.text);
    keeper_give(keeper, &stop);
    for (unsigned i = 0; i < CREATIONS; i++) {
        creations[i] = (struct keeper_task){.work = work, .done = done, .may_wait = true};
        keeper_give(keeper, &creations[i]);
    }
    for (unsigned i = 0; i < COMMITS; i++) {
        commits[i] = (struct keeper_task){.work = work, .done = done};
        keeper_give(keeper, &commits[i]);
    }
    sem_post(&let_go);
    while (!keeper_is_idle(keeper))
        keeper_take_done(keeper, true);
    /* The one that it stopped at counts. */
    cr_assert_str_eq(order, "cccwccccwcw");
    keeper_free(keeper);
    close(bell_fd);
}
