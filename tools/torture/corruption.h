/*
 * tools/torture/corruption.h - damage a log on a real disk in every way, and see whether Daybook
 * notices.
 *
 * One case: change the files of a healthy log, let verify, a reader and a writer look at them,
 * judge (tools/torture/corruption_judge.h), and put the files back. The log is made for the purpose
 * in a directory that the caller names, below which nothing else must be; what it held is kept in
 * memory. A seed gives the same log and the same case again.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_H

#include "tools/torture/corruption_damage.h"
#include "tools/torture/corruption_judge.h"

struct corruption;

struct corruption_result {
    struct corruption_verdict verdict;
    char damage[200]; /* what was done */
    char fault[400];  /* the promise that was broken; "": none */
};

/* Make the log in `path`, which is created, or is an empty directory of ours. */
enum error_code corruption_open(const char *path, const struct corruption_specimen_options *options,
                                struct corruption **corruption_out, struct error *error);
/* Remove the log and the directory. Accepts NULL. */
void corruption_close(struct corruption *corruption);

/* What the log held. */
const struct corruption_specimen *corruption_specimen(const struct corruption *corruption);
/* What was seen in the last case. */
const struct corruption_look *corruption_look(const struct corruption *corruption);

/*
 * Run one case of this kind; `seed` chooses the rest. Returns an error only when the case could not
 * be run: the disk is full, a file was taken away.
 */
enum error_code corruption_run(struct corruption *corruption, enum corruption_damage damage,
                               uint64_t seed, struct corruption_result *result_out,
                               struct error *error);
/*
 * One bit of one byte of a file, with the witness of the watermark page or without. `write`: let a
 * writer try too, which is what takes the time.
 */
enum error_code corruption_flip(struct corruption *corruption, size_t file, uint64_t offset,
                                unsigned bit, bool page, bool write,
                                struct corruption_result *result_out, struct error *error);

#endif
