/*
 * tools/torture/oracle.h - what a log was given and what it acknowledged, kept outside of the disk,
 * and the judgement of what can be read afterwards.
 *
 * Every event that append took is kept with its sequence and its bytes. A sequence never gets a
 * second content (D6), an acknowledged event is never missing (D1, D2), nothing is read that was
 * never appended (D3), what is read is a prefix, and what was lost once does not come back.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_ORACLE_H
#define DAYBOOK_TOOLS_TORTURE_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/event.h"

struct torture_oracle;

struct torture_oracle *torture_oracle_create(void);
/* Another one with the same history, to try something. */
struct torture_oracle *torture_oracle_copy(const struct torture_oracle *oracle);
void torture_oracle_free(struct torture_oracle *oracle);

/* How far the log was at some instant. */
struct torture_mark {
    size_t appended;         /* entries in the oracle */
    uint64_t sequence_given; /* the last that append gave */
    uint64_t written;        /* the last that may have been told as written */
    uint64_t acknowledged;   /* the last that was said to be durable */
    uint64_t bound_durable;  /* retention: was finished with this, */
    uint64_t bound_wanted;   /* and had begun with this */
};

/*
 * Append gave this sequence to the event. False, and why in *failure_out: it had another content,
 * or is not the next one.
 */
bool torture_oracle_note(struct torture_oracle *oracle, const struct event *event,
                         uint64_t sequence, struct error *failure_out);
size_t torture_oracle_count(const struct torture_oracle *oracle);
/* The last number of a producer that is not lost, and its sequence; 0: none. */
uint64_t torture_oracle_last_number(const struct torture_oracle *oracle, const char *producer,
                                    size_t producer_bytes, uint64_t *sequence_out);

/* What reading a whole log gave. */
struct torture_reading {
    uint64_t events;
    uint64_t sequence_last;
    uint64_t hash;          /* of all events in order */
    uint64_t damage;        /* reports of damage */
    uint64_t missing_acked; /* acknowledged events that were not read */
    uint64_t missing_first; /* the first of them; 0: none */
    uint64_t missing;       /* events that were appended and not read */
    bool empty;             /* there is no log at all */
};
/*
 * Read the log in `path` without any writer and compare. With `may_be_damaged` reports of damage
 * and missing events are counted, else they are failures. False: *failure_out says what is wrong.
 */
bool torture_oracle_read(const struct torture_oracle *oracle, const struct torture_mark *mark,
                         const char *path, bool may_be_damaged, struct torture_reading *reading_out,
                         struct error *failure_out);

/*
 * The history goes on from the state that was read last in this way: what was appended after the
 * mark never happened, but for its sequences up to `sequence_used`, which stay used; what is
 * missing in the log is lost for good.
 */
bool torture_oracle_go_on(struct torture_oracle *oracle, const struct torture_mark *mark,
                          uint64_t sequence_used, const char *path, struct error *failure_out);

#endif
