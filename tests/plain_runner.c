/*
 * tests/plain_runner.c - runs Criterion tests under ThreadSanitizer, where Criterion itself cannot.
 *
 * Criterion gives each test to a sandbox that maps memory at random addresses, nearly all of which
 * belong to ThreadSanitizer's own tables, so its main stops before the first test. This main walks
 * the same registered tests, runs each in a forked child, and understands init, fini, signal,
 * exit_code and disabled; asserts end the child. It prints the lines that tests/run counts.
 *
 * Linked instead of Criterion's main, for the builds for TSan and valgrind. --without=SUITE leaves a
 * suite out.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The linker's names for the ends of the sections in which Test and TestSuite register. */
extern struct criterion_test *__start_cr_tst[];
extern struct criterion_test *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

/* ThreadSanitizer does not bear a handler that jumps out of a signal, as the guard of maps does. */
static const char *const not_here[] = {
    "survives_a_segment_that_is_cut_while_it_is_mapped",
    "a_page_that_is_cut_is_replaced_at_the_next_publication",
    "a_page_that_cannot_be_replaced_is_tried_again_later_and_not_at_once",
    "a_reader_of_a_cut_page_sees_nothing_in_it",
    "a_new_page_that_cannot_be_mapped_is_made_again_later",
    "of_a_page_that_was_cut_makes_waiting_a_sleep_too",
    "a_page_that_is_cut_while_it_is_taken_over_ends_the_opening",
    "a_segment_that_is_cut_under_a_map_fails_the_log_and_not_the_process",
};

/* What the macros of criterion.h call, answered here rather than by the library's sandbox. */
static const struct criterion_test *current_test;
static const struct criterion_suite *current_suite;

void criterion_internal_test_setup(void)
{
    if (current_suite && current_suite->data && current_suite->data->init)
        current_suite->data->init();
    if (current_test->data->init)
        current_test->data->init();
}

void criterion_internal_test_main(void (*function)(void))
{
    function();
}

void criterion_internal_test_teardown(void)
{
    if (current_test->data->fini)
        current_test->data->fini();
    if (current_suite && current_suite->data && current_suite->data->fini)
        current_suite->data->fini();
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (!stats->passed)
        printf("%s:%u: %s\n", stats->file, stats->line, stats->message);
}

void cri_asserts_passed_incr(void)
{
}

void criterion_abort_test(void)
{
    fflush(stdout);
    _exit(99);
}

static const struct criterion_suite *find_suite(const char *name)
{
    for (struct criterion_suite **suite = __start_cr_sts; suite < __stop_cr_sts; suite++)
        if (*suite && !strcmp((*suite)->name, name))
            return *suite;
    return NULL;
}

static bool runs_here(const struct criterion_test *test)
{
    for (size_t i = 0; i < sizeof not_here / sizeof *not_here; i++)
        if (!strcmp(test->name, not_here[i]))
            return false;
    return !test->data->disabled;
}

static bool ended_as_expected(int status)
{
    const struct criterion_test_extra_data *expected = current_test->data;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == expected->signal;
    return !expected->signal && WEXITSTATUS(status) == expected->exit_code;
}

static bool run_test(void)
{
    if (current_test->data->kind_ != CR_TEST_NORMAL) {
        printf("parameterized tests do not run here: write a table and a loop\n");
        return false;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return false;
    }
    if (child == 0) {
        current_test->test();
        exit(0); /* Through the handlers at exit: there ThreadSanitizer reports. */
    }
    int status;
    if (waitpid(child, &status, 0) != child) {
        perror("waitpid");
        return false;
    }
    if (ended_as_expected(status))
        return true;
    printf("ended by %s %d\n", WIFSIGNALED(status) ? "signal" : "exit status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

/* `--without=SUITE` among the arguments. Others are Criterion's own, and mean nothing here. */
static bool is_left_out(const char *suite, char **arguments)
{
    static const char option[] = "--without=";
    for (; *arguments; arguments++)
        if (!strncmp(*arguments, option, sizeof option - 1) &&
            !strcmp(*arguments + sizeof option - 1, suite))
            return true;
    return false;
}

int main(int count, char **arguments)
{
    int failed = 0;
    (void)count;
    for (struct criterion_test **test = __start_cr_tst; test < __stop_cr_tst; test++) {
        current_test = *test;
        if (!current_test || !runs_here(current_test) ||
            is_left_out(current_test->category, arguments))
            continue;
        current_suite = find_suite(current_test->category);
        bool passed = run_test();
        failed += !passed;
        printf("%s - %s: %s\n", passed ? "ok" : "not ok", current_test->category,
               current_test->name);
    }
    return failed ? 1 : 0;
}
