/*
 * tests/segment/repairs.h - a log, the ways to damage it, and what must be true after a repair.
 */
#ifndef DAYBOOK_TESTS_SEGMENT_REPAIRS_H
#define DAYBOOK_TESTS_SEGMENT_REPAIRS_H

#include "segment/repair.h"
#include "tests/support/logs.h"

enum { SMALL = FORMAT_SEGMENT_BYTES_MIN, EVENTS_MAX = 400, TEXTS_MAX = 16, LAST = 100 };

extern struct error repairs_error;
extern const char *repairs_path; /* the log at hand */
/* What the index knows, which these tests do not have; 0: nothing. */
extern uint64_t repairs_witness, repairs_witness_bound;
extern char repairs_lost[512];   /* what the last damage has made irretrievable: "5-9 17-17" */

/* What a reader gets of each sequence; 0: nothing. */
struct repairs_content {
    uint32_t digests[EVENTS_MAX];
    uint64_t damage; /* places */
};

/* What a repair, or verify, has said. */
struct repairs_told {
    char texts[TEXTS_MAX][600];
    size_t count;
    uint64_t retired;
    struct segment_repair_totals totals;
};

enum {
    ASKS = 1,      /* it needs --accept-loss */
    UNREAD = 2,    /* readers do not meet it */
    UNREFUSED = 4, /* nor do writers, who look at how segments follow each other, and at the last */
    EMPTIES = 8,   /* no segment is left, and nothing to read */
    UNVERIFIED = 16, /* only the index knows, which verify does not ask */
};

struct repairs_damage {
    const char *name;
    void (*make)(void);
    int flags;
};
extern const struct repairs_damage repairs_damages[];
extern const size_t repairs_damage_count;

/* A log of LAST events in DIR/log; with damage number `i`. */
void repairs_prepare_sound(void);
const struct repairs_damage *repairs_prepare(size_t i);
/* The same, anywhere. */
void repairs_make(const char *path);
/* Event n has the producer "p" or "q", the number n, and a block of its own. */
void repairs_append(struct segment_log *log, uint64_t number);
/* The path of a segment; the first sequence of the n-th, from 0, and of the last. */
const char *repairs_segment(uint64_t first);
uint64_t repairs_nth(unsigned n);
uint64_t repairs_last_segment(void);

enum error_code repairs_run(const char *path, bool dry_run, bool accept_loss,
                            struct repairs_told *told);
struct repairs_told repairs_verify(const char *path);
/* Something that is no file in the place of the lower bound. */
enum repairs_stranger { STRANGER_LINK, STRANGER_PIPE, STRANGER_DIRECTORY, STRANGERS };
void repairs_displace_bound(enum repairs_stranger stranger);
/* A lower bound that is damaged and was this; and one that is sound. */
void repairs_spoil_bound(uint64_t sequence);
void repairs_expect_bound(uint64_t sequence);
/* For segment_repair_options: note what is told in a repairs_told. */
void repairs_tell(void *context, const char *text);
/* Nothing is found, and no repair is unfinished. */
void repairs_expect_sound(const char *path);
enum error_code repairs_open_as_writer(const char *path, struct segment_log **log_out);

struct repairs_content repairs_read_all(const char *path);
/* What can be read of the log with this damage, before any repair. */
struct repairs_content repairs_read_before(const struct repairs_damage *damage);
void repairs_expect_same_events(const struct repairs_content *before,
                                const struct repairs_content *after, const char *name);
/* The gaps of the log, of one cause, as "5-9 17-17". */
const char *repairs_gaps_text(const char *path, enum segment_format_gap_cause cause);

#endif
