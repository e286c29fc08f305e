/* How the daemon tells the log of what it has refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tools/daybookd/refusals.h"

#define SECOND_NS INT64_C(1000000000)

static struct segment_log *open_log;
static struct refusals *refusals;
static struct error error;

static void begin(void)
{
    open_log = logs_open(scratch_path("log"), 0);
    cr_assert_eq(refusals_create(&refusals, &error), OK);
}

static void end(void)
{
    refusals_free(refusals);
    segment_log_close(open_log, NULL);
}

TestSuite(refusals, .init = begin, .fini = end);

static void note(const char *producer, uint64_t number, const char *reason)
{
    struct event event = {
        .producer = producer,
        .producer_bytes = strlen(producer),
        .number = number,
    };
    refusals_note(refusals, &event, reason);
}

/* All that the log was told, as "producer first-last count reason", one a line. */
static void expect_told(const char *expected)
{
    char text[1000] = "";
    cr_assert_eq(segment_log_wait(open_log, segment_log_appended(open_log), &error), OK);
    struct segment_reader *reader = logs_read(scratch_path("log"));
    struct event event;
    while (segment_reader_next(reader, &event, &error) == OK) {
        struct gap gap;
        size_t used = strlen(text);
        cr_assert(gap_from_event(&event, &gap));
        cr_assert(event.producer_bytes == 0 && gap.cause == GAP_REFUSED);
        snprintf(text + used, sizeof text - used, "%.*s %llu-%llu %llu %.*s\n",
                 (int)gap.producer_bytes, gap.producer, (unsigned long long)gap.first,
                 (unsigned long long)gap.last, (unsigned long long)gap.count,
                 (int)gap.reason_bytes, gap.reason);
    }
    segment_reader_close(reader);
    cr_assert_str_eq(text, expected);
}

Test(refusals, of_one_producer_are_told_together_with_the_first_reason)
{
    note("a", 5, "");
    note("a", 6, "no good");
    note("a", 9, "worse");
    note("a", 9, "worse"); /* a frame that was sent again */
    note("b", 1, "other");
    cr_assert_eq(refusals_tell(refusals, open_log, 1), 2);
    cr_assert_eq(refusals_tell(refusals, open_log, 5 * SECOND_NS), 0, "all is told");

    expect_told("a 5-9 3 no good\nb 1-1 1 other\n");
}

Test(refusals, of_one_producer_are_told_once_a_second_and_at_the_end)
{
    note("a", 1, "x");
    cr_assert_eq(refusals_tell_of(refusals, open_log, "a", 1, 1), 1);
    note("a", 2, "x");
    cr_assert_eq(refusals_tell_of(refusals, open_log, "a", 1, 2), 0, "too soon");
    cr_assert_eq(refusals_tell(refusals, open_log, SECOND_NS), 0, "too soon");
    cr_assert_eq(refusals_tell(refusals, open_log, SECOND_NS + 1), 1);
    note("a", 3, "x");
    cr_assert_eq(refusals_tell_all(refusals, open_log), 1);

    expect_told("a 1-1 1 x\na 2-2 1 x\na 3-3 1 x\n");
}

Test(refusals, of_many_producers_cost_so_many_events_a_second_and_no_more)
{
    char name[32];
    size_t told = 0;
    for (unsigned i = 0; i < 3 * REFUSALS_MAX; i++) {
        snprintf(name, sizeof name, "p%u", i);
        note(name, 1, "x");
        told += refusals_tell_of(refusals, open_log, name, strlen(name), 1);
    }
    cr_assert_eq(told, REFUSALS_MAX);
    cr_assert_eq(refusals_tell(refusals, open_log, SECOND_NS), REFUSALS_MAX);
    cr_assert_eq(refusals_tell(refusals, open_log, 2 * SECOND_NS), 0);
}

Test(refusals, without_a_valid_name_or_number_are_nobodys)
{
    note("", 1, "x");
    note("a b", 1, "x");
    note("a", 0, "x");
    note("a", UINT64_MAX, "x");
    cr_assert_eq(refusals_tell_all(refusals, open_log), 0);
}
