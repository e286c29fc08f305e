/*
 * tests/campaigns/model_steps.h - the operations of a sequence, each with its own random number.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_MODEL_STEPS_H
#define DAYBOOK_TESTS_CAMPAIGNS_MODEL_STEPS_H

#include "tests/campaigns/model_world.h"

enum model_step_kind {
    MODEL_APPEND,
    MODEL_SYNC,
    MODEL_GROUP,
    MODEL_READ_ALL,
    MODEL_READ_FROM,
    MODEL_READ_WINDOW,
    MODEL_READER_OPEN,
    MODEL_READER_SEEK,
    MODEL_READER_NEXT,
    MODEL_IDLE,
    MODEL_AGE,
    MODEL_CLOCK_JUMP,
    MODEL_RETAIN_BYTES,
    MODEL_RETAIN_AGE,
    MODEL_RESTART,
    MODEL_KILL,
    MODEL_KILL_IN_COMMIT,
    MODEL_POWER_CUT,
    MODEL_POWER_CUT_IN_COMMIT,
    MODEL_FULL_DISK,
    MODEL_STEP_KINDS,
    /* Counted beside the steps. */
    MODEL_COUNT_RETRY = MODEL_STEP_KINDS,
    MODEL_COUNT_EVENT,
    MODEL_COUNT_ROLL,
    MODEL_COUNT_AGE_ROLL,
    MODEL_COUNT_BUSY,
    MODEL_COUNT_REFUSED,
    MODEL_COUNT_DELETED,
    MODEL_COUNT_HOLE,
    MODEL_COUNT_IN_FLIGHT,
    MODEL_COUNT_FROZEN,
    MODEL_COUNTS
};

struct model_step {
    enum model_step_kind kind;
    uint64_t draw; /* what the kind leaves open */
};
const char *model_step_text(unsigned kind);
/* The kinds in their proportions. */
struct model_step model_step_choose(uint64_t *chance);
/* False: what was observed is not what the model says; world->failure tells. */
bool model_step_run(struct model_world *world, const struct model_step *step);

#endif
