/*
 * tools/daybook/torture.h - what the verb `daybook torture` and its campaigns share.
 *
 * A campaign is opened in a directory of its own, repeats cases until its time is over, says in one
 * sentence what it tried and saw, and is closed.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_TORTURE_H
#define DAYBOOK_TOOLS_DAYBOOK_TORTURE_H

#include <stdint.h>

#include "core/bytes.h"

struct torture_campaign {
    const char *name;  /* as users type it */
    const char *doing; /* for the progress bar */
    unsigned share;    /* of the time, where all run */
    enum error_code (*open)(const char *path, uint64_t seed, void **state_out, struct error *error);
    /* One case. ERROR_DAMAGED: a promise was broken, and the text says which. */
    enum error_code (*once)(void *state, struct error *error);
    /* Append the sentence. */
    enum error_code (*tell)(const void *state, struct buffer *out, struct error *error);
    /* How many cases ran. */
    uint64_t (*count)(const void *state);
    void (*close)(void *state); /* accepts NULL */
};

/* kill, power, corruption; ends with a name of NULL. */
extern const struct torture_campaign torture_campaigns[];

#endif
