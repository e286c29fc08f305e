/*
 * tools/torture/corruption_damage.h - the ways in which disks, cables and people damage a log.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_DAMAGE_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_DAMAGE_H

#include "tools/torture/chance.h"
#include "tools/torture/corruption_state.h"

enum corruption_damage {
    CORRUPTION_BITS,                /* one to three bits flipped, anywhere */
    CORRUPTION_SECTOR_ZEROED,       /* a write that was lost, or a discard too many */
    CORRUPTION_SECTOR_NOISE,        /* a write that was garbled */
    CORRUPTION_SECTORS_SWAPPED,     /* two writes that took each other's place */
    CORRUPTION_SECTOR_DUPLICATED,   /* a write that went astray within its file */
    CORRUPTION_SECTOR_FROM_SEGMENT, /* … from another segment of the log */
    CORRUPTION_SECTOR_FOREIGN,      /* … from another log */
    CORRUPTION_TRUNCATED,           /* at any byte */
    CORRUPTION_EXTENDED,            /* by zeros or by noise */
    CORRUPTION_SEGMENTS_SWAPPED,    /* contents exchanged */
    CORRUPTION_SEGMENT_RENAMED,     /* to another number, or to no segment's name */
    CORRUPTION_SEGMENT_MISSING,     /* at the front, in the middle, at the end */
    CORRUPTION_SEGMENT_COPIED,      /* a second time, under another number */
    CORRUPTION_SEGMENT_FOREIGN,     /* the file of another log, as a whole */
    CORRUPTION_HEADER_FOREIGN,      /* its header only */
    CORRUPTION_HEADER_OLD,          /* a header as it was in an earlier epoch */
    CORRUPTION_SEGMENT_STALE,       /* the file as it was some commits ago */
    CORRUPTION_DAMAGES,             /* how many there are */
};
const char *corruption_damage_text(enum corruption_damage damage);

struct corruption_damage_done {
    bool page;      /* the watermark page is still there: a witness */
    char text[200]; /* what was done, for people */
};

/* Change the state in memory. What is changed is chosen by `random`. */
enum error_code corruption_damage_do(struct corruption_state *state,
                                     const struct corruption_specimen *foreign,
                                     enum corruption_damage damage, uint64_t *random,
                                     struct corruption_damage_done *done_out, struct error *error);

#endif
