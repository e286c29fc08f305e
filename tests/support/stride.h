/*
 * tests/support/stride.h - how far apart the places are at which an exhaustive test looks.
 *
 * A test that turns over every byte, or lets every call fail, takes its steps from here, so that a
 * run in which each step is dear (valgrind) looks at fewer places, and one that must see every
 * branch (coverage) at more: DAYBOOK_TEST_STRIDE says so in percent of the usual stride.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_STRIDE_H
#define DAYBOOK_TESTS_SUPPORT_STRIDE_H

/* The stride to take where `usual` is that of the everyday run; at least 1. */
unsigned stride(unsigned usual);

#endif
