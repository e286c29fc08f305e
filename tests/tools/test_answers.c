/* What a client is told leaves in order, and never before the log vouches for it. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/daybookd/answers.h"

static struct answers answers;
static int ends[2];

static void make_sockets(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
}

static void release(void)
{
    answers_free(&answers);
    close(ends[0]);
    close(ends[1]);
}
TestSuite(answers, .init = make_sockets, .fini = release);

static void answer(const char *text, uint64_t sequence)
{
    buffer_append(&answers.bytes, text, strlen(text), NULL);
    cr_assert_eq(answers_mark(&answers, sequence, NULL), OK);
}

/* Send what may leave; exactly `expected` arrives. */
static void expect_arrival(const char *expected)
{
    char got[256] = "";
    bool blocked;
    cr_assert_eq(answers_send(&answers, ends[0], &blocked, NULL), OK);
    cr_assert_not(blocked);
    ssize_t size = recv(ends[1], got, sizeof got - 1, MSG_DONTWAIT);
    got[size > 0 ? size : 0] = '\0';
    cr_assert_str_eq(got, expected);
}

Test(answers, an_answer_waits_for_its_sequence)
{
    answer("a", 5);
    expect_arrival("");
    answers_release(&answers, 4);
    expect_arrival("");
    cr_assert(answers_are_waiting(&answers));
    answers_release(&answers, 5);
    expect_arrival("a");
    cr_assert_not(answers_are_waiting(&answers));
}

Test(answers, an_answer_that_waits_for_nothing_leaves_at_once_but_never_overtakes)
{
    answer("a", 0);
    expect_arrival("a");
    answer("b", 7);
    answer("c", 0);
    answer("d", 3); /* a duplicate of something older */
    expect_arrival("");
    answers_release(&answers, 6);
    expect_arrival("");
    answers_release(&answers, 7);
    expect_arrival("bcd");
}

Test(answers, many_marks_come_due_one_by_one)
{
    char text[2] = "a";
    for (uint64_t i = 1; i <= 26; i++, text[0]++)
        answer(text, 10 * i);
    answers_release(&answers, 135);
    expect_arrival("abcdefghijklm");
    answer("!", 270);
    answers_release(&answers, 269);
    expect_arrival("nopqrstuvwxyz");
    answers_release(&answers, 1000);
    expect_arrival("!");
    cr_assert_eq(answers_total_bytes(&answers), 0);
}

Test(answers, keeps_little_memory_once_all_have_left)
{
    char got[8192];
    bool blocked;
    for (uint64_t i = 1; i <= 5000; i++)
        answer("x", i);
    answers_release(&answers, 5000);
    cr_assert_eq(answers_send(&answers, ends[0], &blocked, NULL), OK);
    cr_assert_eq(recv(ends[1], got, sizeof got, MSG_DONTWAIT), 5000);
    cr_assert_leq(answers_memory(&answers), 8192);
    answer("y", 6000);
    answers_release(&answers, 6000);
    expect_arrival("y");
}

Test(answers, withdrawing_keeps_what_may_leave_already)
{
    answer("a", 1);
    answer("b", 2);
    answer("c", 3);
    answers_release(&answers, 2);
    answers_withdraw(&answers);
    answer("e", 0);
    expect_arrival("abe");
    cr_assert_not(answers_are_waiting(&answers));
}

Test(answers, a_full_socket_blocks_and_the_rest_follows_without_a_gap)
{
    enum { TOTAL = 3 << 20 };
    static uint8_t sent[TOTAL], got[TOTAL];
    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (uint8_t)(i * 2654435761u >> 11);
    buffer_append(&answers.bytes, sent, TOTAL, NULL);
    answers_mark(&answers, 1, NULL);
    answers_release(&answers, 1);

    size_t at = 0;
    bool blocked = false, ever_blocked = false;
    while (at < TOTAL) {
        cr_assert_eq(answers_send(&answers, ends[0], &blocked, NULL), OK);
        ever_blocked = ever_blocked || blocked;
        ssize_t size = recv(ends[1], got + at, TOTAL - at, MSG_DONTWAIT);
        cr_assert_gt(size, 0);
        at += (size_t)size;
    }
    cr_assert(ever_blocked);
    cr_assert_arr_eq(sent, got, TOTAL);
    cr_assert_eq(answers_total_bytes(&answers), 0);
}

Test(answers, a_client_that_is_gone_is_told_to_the_caller)
{
    bool blocked;
    close(ends[1]);
    answer("a", 0);
    cr_assert_eq(answers_send(&answers, ends[0], &blocked, NULL), ERROR_CLOSED);
    ends[1] = -1;
}
