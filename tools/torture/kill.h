/*
 * tools/torture/kill.h - kill a writer on a real disk, again and again, and count its events.
 *
 * A child process writes to a log through the library: three producers, small segments that roll,
 * retention. It tells each acknowledgement through a pipe, is killed (SIGKILL) at a random moment,
 * also while it recovers, and the next child goes on, sending once more what it is unsure of. The
 * parent keeps the account and reads the log after each kill. What an event must contain follows
 * from its producer and number, so an event that nobody wrote is recognized without remembering.
 *
 * A kill loses no page of the page cache: this proves recovery and exactly-once, not the disk. The
 * caller must have no other threads (fork).
 */
#ifndef DAYBOOK_TOOLS_TORTURE_KILL_H
#define DAYBOOK_TOOLS_TORTURE_KILL_H

#include <stdint.h>

#include "core/error.h"

struct torture_kill;

struct torture_kill_counts {
    uint64_t kills;
    uint64_t while_opening; /* of them: before the writer had recovered */
    uint64_t acknowledged;  /* events */
    uint64_t read;          /* events, after kills */
    uint64_t repeated;      /* sent again, and recognized as duplicates */
    uint64_t deleted;       /* segments, by retention */
};

/* A log below `path`, a directory that exists and is empty. */
enum error_code torture_kill_create(const char *path, uint64_t seed, struct torture_kill **kill_out,
                                    struct error *error);
/* Accepts NULL; deletes nothing. */
void torture_kill_free(struct torture_kill *kill);

/*
 * One life of the writer, its death, and the reading. ERROR_DAMAGED: a promise was broken, the text
 * says which; other errors: the machine would not let us (no process, disk full).
 */
enum error_code torture_kill_once(struct torture_kill *kill, struct error *error);
void torture_kill_count(const struct torture_kill *kill, struct torture_kill_counts *counts_out);

#endif
