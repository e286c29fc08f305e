/* The campaigns of `daybook torture`: tools/torture/ in words. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/units.h"
#include "tools/daybook/torture.h"
#include "tools/torture/chance.h"
#include "tools/torture/corruption.h"
#include "tools/torture/cuts.h"
#include "tools/torture/kill.h"

/* ---- kill ---- */

static enum error_code kill_open(const char *path, uint64_t seed, void **state_out,
                                 struct error *error)
{
    return torture_kill_create(path, seed, (struct torture_kill **)state_out, error);
}

static enum error_code kill_once(void *state, struct error *error)
{
    return torture_kill_once(state, error);
}

static uint64_t kill_count(const void *state)
{
    struct torture_kill_counts counts;
    torture_kill_count(state, &counts);
    return counts.kills;
}

static enum error_code kill_tell(const void *state, struct buffer *out, struct error *error)
{
    struct torture_kill_counts counts;
    char kills[UNITS_TEXT_SIZE + 8], opening[UNITS_TEXT_SIZE + 8], events[UNITS_TEXT_SIZE + 8];

    torture_kill_count(state, &counts);
    units_format_count(counts.kills, kills);
    units_format_count(counts.while_opening, opening);
    units_format_count(counts.acknowledged, events);
    return buffer_printf(out, error,
                         "%s writers killed, %s of them while they recovered; %s events "
                         "acknowledged: none lost, none doubled, none invented",
                         kills, opening, events);
}

static void kill_close(void *state)
{
    torture_kill_free(state);
}

/* ---- power ---- */

static enum error_code power_open(const char *path, uint64_t seed, void **state_out,
                                  struct error *error)
{
    return torture_cuts_create(path, seed, (struct torture_cuts **)state_out, error);
}

static enum error_code power_once(void *state, struct error *error)
{
    return torture_cuts_once(state, error);
}

static uint64_t power_count(const void *state)
{
    struct torture_cuts_counts counts;
    torture_cuts_count(state, &counts);
    return counts.states;
}

static enum error_code power_tell(const void *state, struct buffer *out, struct error *error)
{
    struct torture_cuts_counts counts;
    char cuts[UNITS_TEXT_SIZE + 8], events[UNITS_TEXT_SIZE + 8], torn[UNITS_TEXT_SIZE + 8];

    torture_cuts_count(state, &counts);
    units_format_count(counts.states, cuts);
    units_format_count(counts.torn, torn);
    units_format_count(counts.acknowledged, events);
    return buffer_printf(
        out, error,
        "%s states that a power cut can leave, %s of them with a torn end, recovered "
        "here; %s events acknowledged: all there, nothing else",
        cuts, torn, events);
}

static void power_close(void *state)
{
    torture_cuts_free(state);
}

/* ---- corruption ---- */

struct corruption_state_of_verb {
    struct corruption *log;
    uint64_t chance;
    uint64_t cases, undecidable, lost;
};

static enum error_code corruption_verb_open(const char *path, uint64_t seed, void **state_out,
                                            struct error *error)
{
    struct corruption_specimen_options options = {
        .seed = seed,
        .segment_count = 3,
        .segment_bytes = {1 << 20, 1 << 20, 1 << 20},
        .used_bytes = 300000,
        .commit_align = 8,
        .payload_bytes_max = 3000,
        .ending = CORRUPTION_IDLE,
    };
    struct corruption_state_of_verb *state = calloc(1, sizeof *state);

    if (!state)
        return error_set(error, ERROR_MEMORY, "no memory for the campaign");
    state->chance = seed;
    enum error_code code = corruption_open(path, &options, &state->log, error);
    if (code) {
        free(state);
        return code;
    }
    *state_out = state;
    return OK;
}

static enum error_code corruption_verb_once(void *context, struct error *error)
{
    struct corruption_state_of_verb *state = context;
    struct corruption_result result;
    enum corruption_damage damage =
        (enum corruption_damage)chance_below(&state->chance, CORRUPTION_DAMAGES);
    enum error_code code =
        corruption_run(state->log, damage, chance_draw(&state->chance), &result, error);

    if (code)
        return code;
    if (result.fault[0])
        return error_set(error, ERROR_DAMAGED, "%s: %s", result.damage, result.fault);
    if (!result.verdict.changed)
        return OK;
    state->cases++;
    state->undecidable += result.verdict.undecidable;
    state->lost += result.verdict.lost;
    return OK;
}

static uint64_t corruption_verb_count(const void *context)
{
    const struct corruption_state_of_verb *state = context;
    return state->cases;
}

static enum error_code corruption_verb_tell(const void *context, struct buffer *out,
                                            struct error *error)
{
    const struct corruption_state_of_verb *state = context;
    char cases[UNITS_TEXT_SIZE + 8], undecidable[UNITS_TEXT_SIZE + 8];

    units_format_count(state->cases, cases);
    units_format_count(state->undecidable, undecidable);
    enum error_code code =
        buffer_printf(out, error, "%s logs damaged in 17 ways: every damage was told", cases);
    if (!code && state->undecidable > 0)
        code = buffer_printf(
            out, error, ", but for %s that look like the torn end of an unfinished write",
            undecidable);
    return code ? code : buffer_printf(out, error, "; no false event was read");
}

static void corruption_verb_close(void *context)
{
    struct corruption_state_of_verb *state = context;

    if (!state)
        return;
    corruption_close(state->log);
    free(state);
}

const struct torture_campaign torture_campaigns[] = {
    {"kill", "killing writers", 40, kill_open, kill_once, kill_tell, kill_count, kill_close},
    {"power", "cutting the power", 35, power_open, power_once, power_tell, power_count,
     power_close},
    {"corruption", "damaging logs", 25, corruption_verb_open, corruption_verb_once,
     corruption_verb_tell, corruption_verb_count, corruption_verb_close},
    {0},
};
