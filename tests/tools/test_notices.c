/* However many clients come and go, what is said about them is bounded and counted. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/daybookd/notices.h"

static const int64_t second_ns = 1000000000;
static const struct report report = {REPORT_INFO};
static struct notices notices;
static FILE *said;
static char text[200000];

static void setup(void)
{
    said = tmpfile();
    cr_assert_not_null(said);
    cr_assert_geq(dup2(fileno(said), STDERR_FILENO), 0);
    notices_init(&notices, &report, 0);
}

static int count(const char *word)
{
    size_t bytes = (size_t)pread(fileno(said), text, sizeof text - 1, 0);
    text[bytes] = '\0';
    int times = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        times++;
    return times;
}

Test(notices, what_goes_beyond_the_bucket_is_counted_and_told_in_one_line, .init = setup)
{
    for (unsigned i = 0; i < 1000; i++)
        notices_closing(&notices, i, i % 2 ? "malformed" : "timeout", "why");
    cr_assert_eq(count("closed by us"), NOTICES_AT_ONCE);
    notices_tick(&notices, 9 * second_ns);
    cr_assert_eq(count("left out"), 0);
    notices_tick(&notices, 10 * second_ns);
    cr_assert_eq(count("900 lines about clients were left out in the last 10 s; closed by us: "
                       "timeout 450, malformed 450"),
                 1, "%s", text);
    cr_assert_eq(notices.closed, 1000);
    notices_tick(&notices, 30 * second_ns);
    cr_assert_eq(count("left out"), 1);
}

Test(notices, the_bucket_fills_again, .init = setup)
{
    for (int i = 0; i < 200; i++)
        notices_line(&notices, REPORT_INFO, "one");
    notices_tick(&notices, 2 * second_ns);
    for (int i = 0; i < 200; i++)
        notices_line(&notices, REPORT_INFO, "two");
    cr_assert_eq(count("one"), NOTICES_AT_ONCE);
    cr_assert_eq(count("two"), 2 * NOTICES_PER_SECOND);
}

Test(notices, details_that_nobody_wants_take_no_place, .init = setup)
{
    for (int i = 0; i < 1000; i++)
        notices_line(&notices, REPORT_DETAIL, "detail");
    notices_line(&notices, REPORT_INFO, "%s", "said");
    cr_assert_eq(count("detail"), 0);
    cr_assert_eq(count("said"), 1);
}
