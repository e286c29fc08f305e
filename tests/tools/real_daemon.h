/*
 * tests/tools/real_daemon.h - a daemon of this build, over a log in the test's own directory.
 *
 * One at a time. clean_up is for the suite's .fini.
 */
#ifndef DAYBOOK_TESTS_TOOLS_REAL_DAEMON_H
#define DAYBOOK_TESTS_TOOLS_REAL_DAEMON_H

const char *log_path(void);
const char *socket_path(void);
/* Returns when it is ready. */
void start_daemon(void);
/* By SIGTERM, after which it must exit with 0, or SIGKILL. */
void end_daemon(int signal_number);
void clean_up(void);

#endif
