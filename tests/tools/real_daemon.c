#include "tests/tools/real_daemon.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/scratch.h"

static pid_t daemon_pid;

const char *log_path(void)
{
    return scratch_path("log");
}

const char *socket_path(void)
{
    return scratch_path("log/daybook.sock");
}

static void run_daemon(int stderr_fd)
{
    char program[4096];
    const char *build = getenv("BUILD");
    snprintf(program, sizeof program, "%s/daybookd", build ? build : "build");
    dup2(stderr_fd, STDERR_FILENO);
    execl(program, program, "-D", log_path(), (char *)NULL);
    _exit(127);
}

void start_daemon(void)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    scratch_directory();
    daemon_pid = fork();
    if (daemon_pid == 0)
        run_daemon(ends[1]);
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    char line[2048];
    bool ready = false;
    while (!ready && fgets(line, sizeof line, said))
        ready = strstr(line, " ready\n") != NULL;
    cr_assert(ready, "the daemon said last: %s", line);
    /* Its end of the pipe stays: it drops lines that nobody reads. */
}

void end_daemon(int signal_number)
{
    int status;
    kill(daemon_pid, signal_number);
    cr_assert_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
    if (signal_number == SIGTERM)
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    daemon_pid = 0;
}

void clean_up(void)
{
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGKILL);
        waitpid(daemon_pid, NULL, 0);
    }
}
