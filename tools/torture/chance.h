/*
 * tools/torture/chance.h - random numbers that a seed repeats: SplitMix64 (Vigna), for which any
 * seed is as good as another.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CHANCE_H
#define DAYBOOK_TOOLS_TORTURE_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t chance_draw(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* 0 to below - 1. */
static inline uint64_t chance_below(uint64_t *state, uint64_t below)
{
    return chance_draw(state) % below;
}

static inline bool chance_happens(uint64_t *state, unsigned percent)
{
    return chance_draw(state) % 100 < percent;
}

#endif
