/* Who has how many connections: by process and by user. */
#include <criterion/criterion.h>

#include "tools/daybookd/peers.h"

static struct peers peers;

static struct ucred peer(pid_t pid, uid_t uid)
{
    return (struct ucred){.pid = pid, .uid = uid, .gid = 1};
}

static void come(pid_t pid, uid_t uid, int times)
{
    struct ucred credentials = peer(pid, uid);
    for (int i = 0; i < times; i++)
        cr_assert_eq(peers_add(&peers, &credentials, NULL), OK);
}

static void go(pid_t pid, uid_t uid, int times)
{
    struct ucred credentials = peer(pid, uid);
    for (int i = 0; i < times; i++)
        peers_remove(&peers, &credentials);
}

Test(peers, the_greediest_process_and_user_are_known_while_clients_come_and_go)
{
    come(10, 1, 3);
    come(11, 1, 2);
    come(20, 2, 4);
    cr_assert_eq(peers_greediest_process(&peers).pid, 20);
    cr_assert_eq(peers_greediest_user(&peers).uid, 1);
    cr_assert_eq(peers_greediest_user(&peers).connections, 5);
    go(20, 2, 3);
    cr_assert_eq(peers_greediest_process(&peers).pid, 10);
    cr_assert_eq(peers_of_user(&peers, 2), 1);
    go(20, 2, 1);
    cr_assert_eq(peers_of_user(&peers, 2), 0);
    go(10, 1, 3);
    go(11, 1, 2);
    cr_assert_eq(peers_greediest_process(&peers).connections, 0);
    cr_assert_eq(peers.count, 0);
    peers_free(&peers);
}

Test(peers, a_process_is_told_apart_by_its_user_and_thousands_have_room)
{
    for (pid_t pid = 1; pid <= 5000; pid++)
        come(pid, 7, 1);
    come(1, 8, 2);
    cr_assert_eq(peers_of_user(&peers, 7), 5000);
    cr_assert_eq(peers_greediest_process(&peers).uid, 8);
    cr_assert_eq(peers_greediest_process(&peers).connections, 2);
    peers_free(&peers);
}

/* Somebody of another PID namespace. */
Test(peers, clients_whose_process_is_unknown_count_as_one)
{
    come(-1, 3, 2);
    cr_assert_eq(peers_greediest_process(&peers).pid, -1);
    cr_assert_eq(peers_greediest_process(&peers).connections, 2);
    go(-1, 3, 2);
    peers_free(&peers);
}
