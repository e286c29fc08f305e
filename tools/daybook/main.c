/*
 * tools/daybook/main.c - `daybook VERB …`: the table of verbs.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "tools/client/daybook.h"
#include "tools/daybook/verb.h"

static const struct verb verbs[] = {
    {"pub", verb_pub, "publish JSON lines, from files or stdin"},
    {"read", verb_read, "print events, from history or as they come"},
    {"replay", verb_replay, "events again, with their timing"},
    {"sql", verb_sql, "ask the index in SQL"},
    {"index", verb_index, "which payload fields are indexed; add and drop some"},
    {"topics", verb_topics, "what topics there are, with counts and times"},
    {"schema", verb_schema, "what events of a topic must look like"},
    {"segments", verb_segments, "the files of the log"},
    {"cursors", verb_cursors, "how far consumers have come; move and remove their cursors"},
    {"gaps", verb_gaps, "what is missing, and why"},
    {"status", verb_status, "how the log, its writer and its index are"},
    {"retention", verb_retention, "delete the oldest segments by age or size"},
    {"pack", verb_pack, "write sealed segments anew, smaller"},
    {"verify", verb_verify, "check every byte of the log"},
    {"reindex", verb_reindex, "build the index anew from the log"},
    {"bench", verb_bench, "measure this machine's disk and this log's speed"},
    {"torture", verb_torture, "try to break the promise on this machine's disk"},
};
enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static void print_help(FILE *to)
{
    fprintf(to,
            "daybook %s: the durable event log for one machine\n\n"
            "Usage: daybook VERB [FLAGS] …\n\nVerbs:\n",
            DAYBOOK_VERSION);
    for (size_t i = 0; i < VERB_COUNT; i++)
        fprintf(to, "  %-12s%s\n", verbs[i].name, verbs[i].summary);
    fprintf(to,
            "\n'daybook VERB --help' explains a verb. Every verb takes -D DIR, else $DAYBOOK_DIR,\n"
            "else ./daybook-data. The daemon is a program of its own: 'daybookd --help'.\n\n"
            "Exit status: 0 ok, 1 failure, 2 usage, 3 daemon not reachable, 4 damage found,\n"
            "5 incomplete, 6 differences found, 7 the log is not as expected.\n");
}

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return STATUS_OK;
    }
    const struct verb *verb = find_verb(argv[1]);
    if (!verb) {
        fprintf(stderr, "daybook: no verb '%s': try 'daybook help'\n", argv[1]);
        return STATUS_USAGE;
    }
    char *help_argv[] = {argv[1], (char[]){"--help"}, NULL};
    return verb->run(2, help_argv);
}

/*
 * A reader who leaves (`daybook read | head`) is told by EPIPE, and ends us quietly; a page that
 * cannot be read becomes an error instead of SIGBUS; payloads are UTF-8 whatever the user's locale.
 */
static enum error_code prepare_process(struct error *error)
{
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "C.UTF-8");
    enum error_code code = file_guard_standard_streams(error);
    if (code)
        return code;
    return file_map_guard(error);
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--version") == 0) {
        printf("daybook %s\n", DAYBOOK_VERSION);
        return STATUS_OK;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (name[0] == '\0') {
        print_help(stderr);
        return STATUS_USAGE;
    }
    if (name[0] == '-') {
        fprintf(stderr,
                "daybook: '%s' stands before the verb: flags come after it, as in "
                "'daybook read -D DIR'; try 'daybook help'\n",
                name);
        return STATUS_USAGE;
    }
    const struct verb *verb = find_verb(name);
    if (!verb) {
        fprintf(stderr, "daybook: no verb '%s': try 'daybook help'\n", name);
        return STATUS_USAGE;
    }
    return verb->run(argc - 1, argv + 1);
}

/* What was printed through stdio may fail only now: a full disk is no success. */
static int finish_output(int status)
{
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    if (!failed || errno == EPIPE || status != STATUS_OK)
        return status;
    fprintf(stderr, "daybook: write output: %s\n", strerror(errno));
    return STATUS_FAILURE;
}

int main(int argc, char **argv)
{
    struct error error;
    if (prepare_process(&error)) {
        fprintf(stderr, "daybook: %s\n", error.text);
        return STATUS_FAILURE;
    }
    return finish_output(run(argc, argv));
}
