/*
 * tools/daybook/verb.h - what every verb of `daybook` shares: its table entry, its exit status, how
 * it complains.
 *
 * A verb gets argv with its own name first ("read", "-f", …), decides, prints data to stdout and
 * everything else to stderr, and returns the process's exit status.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_VERB_H
#define DAYBOOK_TOOLS_DAYBOOK_VERB_H

#include "core/error.h"

enum verb_status {
    STATUS_OK = 0,
    STATUS_FAILURE = 1,     /* it did not work; stderr says why */
    STATUS_USAGE = 2,       /* the command line makes no sense */
    STATUS_UNREACHABLE = 3, /* the daemon is not reachable */
    STATUS_DAMAGE = 4,      /* damaged bytes were found */
    STATUS_INCOMPLETE = 5,  /* done, except for what stderr names */
    STATUS_DIFFERENT = 6,   /* a comparison found differences */
    STATUS_CONFLICT = 7,    /* the log is not as it was expected to be; nothing was published */
};

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* for `daybook help` */
};

int verb_pub(int argc, char **argv);
int verb_read(int argc, char **argv);
int verb_replay(int argc, char **argv);
int verb_sql(int argc, char **argv);
int verb_index(int argc, char **argv);
int verb_topics(int argc, char **argv);
int verb_schema(int argc, char **argv);
int verb_segments(int argc, char **argv);
int verb_cursors(int argc, char **argv);
int verb_gaps(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_pack(int argc, char **argv);
int verb_retention(int argc, char **argv);
int verb_verify(int argc, char **argv);
int verb_reindex(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_torture(int argc, char **argv);

/* "daybook VERB: text" and a newline on stderr. */
void verb_say(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Say the error's text; returns the exit status that belongs to its code. */
int verb_fail(const char *verb, const struct error *error);
/* As verb_fail, after the log in `directory` could not be opened: says how to start one. */
int verb_fail_open(const char *verb, const char *directory, const struct error *error);

#endif
