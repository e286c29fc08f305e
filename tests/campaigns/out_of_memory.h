/*
 * tests/campaigns/out_of_memory.h - scenarios that use memory and nothing else
 * (tests/campaigns/out_of_memory.c).
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_OUT_OF_MEMORY_H
#define DAYBOOK_TESTS_CAMPAIGNS_OUT_OF_MEMORY_H

#include "tests/campaigns/faults.h"

extern const struct faults_scenario out_of_memory_scenarios[];
extern const size_t out_of_memory_scenario_count;

/* Four of them, which need files of their own: a log with damage of several kinds is repaired, a
 * log with compressed events is recovered, the tables of the SQL extension are asked, and so are
 * conditions. */
void out_of_memory_repair(struct faults_case *c);
void out_of_memory_recovery(struct faults_case *c);
void out_of_memory_sql(struct faults_case *c);
/* A subscriber of the client library is given events by a daemon that has enough. */
void out_of_memory_subscription(struct faults_case *c);
void out_of_memory_where(struct faults_case *c);

#endif
