/*
 * tools/torture/faults.h - a disk whose i-th call fails.
 *
 * A table for core/file_calls.h that wraps another one (the kernel's, or that of a simulated disk),
 * counts every call, and makes one of them, or that one and all behind it, fail as a plan says.
 * What a failed call leaves behind is what such a failure leaves on a real disk: a short write has
 * written its half, a failed sync may have lost the pages that it could not write.
 *
 * On simulated files losing pages is the simulated disk's work (tools/torture/disk.h). On the
 * kernel's files it is imitated: the injector keeps the bytes that each file had when it was last
 * synced, and puts them back.
 *
 * The process's, as the table in core/file_calls.h is: started while nothing of a log is open,
 * stopped when everything is closed again. The calls may come from any thread.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_FAULTS_H
#define DAYBOOK_TOOLS_TORTURE_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/file_calls.h"

/* What can fail. Opening a file that is there and making a new one are two things. */
enum faults_call {
    FAULTS_OPEN,
    FAULTS_CREATE,
    FAULTS_CLOSE,
    FAULTS_STATUS, /* of a descriptor or of a name */
    FAULTS_FILE_SYSTEM,
    FAULTS_READ,
    FAULTS_WRITE, /* one block or a vector of them */
    FAULTS_SYNC_DATA,
    FAULTS_SYNC, /* of a directory */
    FAULTS_ALLOCATE,
    FAULTS_TRUNCATE,
    FAULTS_DROP_CACHE,
    FAULTS_RENAME,
    FAULTS_UNLINK,
    FAULTS_MAKE_DIRECTORY,
    FAULTS_LIST,
    FAULTS_MAP,
    FAULTS_FORGET_MAP,
    FAULTS_LOCK,
    FAULTS_KEEP_IN_PLACE,
    /* Calls of a database's own layer of files, asked for by faults_ask. */
    FAULTS_SQL_OPEN,
    FAULTS_SQL_READ,
    FAULTS_SQL_WRITE,
    FAULTS_SQL_SYNC,
    FAULTS_SQL_TRUNCATE,
    FAULTS_CALLS
};
const char *faults_call_text(enum faults_call call);

/* How it fails. */
enum faults_kind {
    FAULTS_EIO,
    FAULTS_ENOSPC,
    FAULTS_EDQUOT,
    FAULTS_EINTR,
    FAULTS_EROFS,
    FAULTS_EMFILE,
    FAULTS_ENOMEM,
    FAULTS_SHORT,   /* half of the bytes are written or read; that is no error */
    FAULTS_NOTHING, /* a write that writes no byte and says so */
    /* A sync fails, and what was not on the disk yet is gone: readers see the old bytes at once. */
    FAULTS_SYNC_LOSES,
    /* … or readers see the new ones until the page cache is dropped, and no later sync fails. */
    FAULTS_SYNC_LOSES_LATER,
    /* A write succeeds, its bytes never reach the disk, and the file's next sync says so. */
    FAULTS_LATE,
    FAULTS_KINDS
};
const char *faults_kind_text(enum faults_kind kind);
/* The words that an error's text has for it; NULL when it is no error or its words may differ. */
const char *faults_kind_reason(enum faults_kind kind);
/*
 * Can this call fail in this way? And when it does so for ever, is there an end? A call that is
 * interrupted each time is one that the kernel never makes, and whoever repeats it never ends.
 */
bool faults_fits(enum faults_kind kind, enum faults_call call, bool for_ever);

/* Whose files. */
enum faults_file {
    FAULTS_FILE_SEGMENT,   /* has its name: the active segment, or one that is read */
    FAULTS_FILE_PREPARED,  /* will become one */
    FAULTS_FILE_WATERMARK, /* the page */
    FAULTS_FILE_OTHER,     /* lock, lower bound, quarantine, index */
    FAULTS_FILE_DIRECTORY,
    FAULTS_FILES
};
const char *faults_file_text(enum faults_file file);

/* A fault that has just been made, before its caller hears of it. */
struct faults_hit {
    enum faults_call call;
    enum faults_file file;
    enum faults_kind kind;
    bool failed; /* the caller gets an error: false for short, late, and interrupted calls */
};

struct faults_plan {
    enum faults_kind kind;
    enum faults_call call; /* only this one; FAULTS_CALLS: any that the kind fits */
    uint64_t number;       /* the how many-th of those, from 1; 0: none */
    bool for_ever;         /* it and all that follow */
    /* Called on the thread of the call for each fault; may be NULL. */
    void (*fired)(void *context, const struct faults_hit *hit);
    void *context;
};

/* Wrap `inner`. Counts begin at zero. */
const struct file_calls *faults_start(const struct file_calls *inner,
                                      const struct faults_plan *plan);
/* From now on nothing fails any more. What failed so far stays as it is. */
void faults_heal(void);
/* Give everything back. The table must not be in force any more. */
void faults_stop(void);

/* For other layers of files: does this call fail, and how? FAULTS_KINDS: it does not. */
enum faults_kind faults_ask(enum faults_call call);

struct faults_counts {
    uint64_t calls[FAULTS_CALLS];
    uint64_t calls_on[FAULTS_FILES][FAULTS_CALLS];
    uint64_t hits[FAULTS_CALLS];
    uint64_t hits_by_file[FAULTS_FILES];
    uint64_t hit_total;
    uint64_t candidates; /* calls that the plan's kind fits */
    uint64_t fds_open;   /* now */
    uint64_t maps_open;
};
void faults_count(struct faults_counts *counts_out);

#endif
