/*
 * tests/campaigns/out_of_memory.h - scenarios that use memory and nothing else
 * (tests/campaigns/out_of_memory.c).
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_OUT_OF_MEMORY_H
#define DAYBOOK_TESTS_CAMPAIGNS_OUT_OF_MEMORY_H

#include "tests/campaigns/faults.h"

extern const struct faults_scenario out_of_memory_scenarios[];
extern const size_t out_of_memory_scenario_count;

#endif
