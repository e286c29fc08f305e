/*
 * segment/recovery.h - what the last segment holds after a stop, clean or not: a decision table.
 *
 * Recovery walks the blocks from the segment's header on. At the first position that holds no
 * valid, chained block it must say what that means; the answer decides whether acknowledged events
 * were lost. The table itself, with the reasons, is data in recovery.c; RECOVERY_* below are its
 * answers.
 */
#ifndef DAYBOOK_SEGMENT_RECOVERY_H
#define DAYBOOK_SEGMENT_RECOVERY_H

#include "core/bytes.h"
#include "segment/format.h"
#include "segment/set.h"

enum segment_recovery_verdict {
    RECOVERY_CLEAN,        /* the last block is a stop mark, zeros behind it */
    RECOVERY_END,          /* zeros behind the last valid block: killed between commits */
    RECOVERY_SEALED,       /* the segment is complete */
    RECOVERY_TORN,         /* an unfinished, unacknowledged write: cut here */
    RECOVERY_DAMAGED_TAIL, /* behind the last block lie bytes that no crash alone explains */
    RECOVERY_CORRUPT,      /* something that was durable is damaged or missing */
};
const char *segment_recovery_verdict_text(enum segment_recovery_verdict verdict);

/* What speaks for or against the position where the scan stopped. One bit a column of the table. */
struct segment_recovery_evidence {
    bool rest_is_zero;  /* from there to the trailer */
    bool last_is_stop;  /* the last valid block is a stop mark */
    bool last_is_seal;  /* … or a seal */
    bool later_promise; /* a later valid block says that this position was durable */
    bool closed;        /* a later segment exists, or the trailer is valid */
    bool witness;       /* a witness has seen a sequence that should be here */
    bool not_torn;      /* a sector is neither as written nor zero */
};
enum segment_recovery_verdict segment_recovery_decide(
    const struct segment_recovery_evidence *evidence);

struct segment_recovery_scan {
    enum segment_recovery_verdict verdict;
    struct segment_recovery_evidence evidence;
    uint64_t end_offset;    /* behind the last valid block */
    uint64_t dirty_end;     /* behind the last byte that is not zero; = end_offset when clean */
    uint64_t sequence_next; /* after the last valid block */
    uint64_t sequence_seen; /* the highest sequence named by anything that looked like a block */
    uint64_t sequence_promised; /* up to here a later block vouches for durability */
    uint32_t chain;             /* header checksum of the last valid block */
    uint32_t epoch;             /* of the last valid block */
    uint64_t durable_offset;    /* highest promise */
    int64_t arrival_ns;         /* of the last valid block */
    uint64_t event_count;
    uint32_t last_size_bytes; /* of the last valid block */
};

/* Corrupt, and not only because a witness has seen more than there is. */
bool segment_recovery_is_damage(const struct segment_recovery_scan *scan);
/*
 * Of two scans of one segment, past the page cache and through it: does a writer, who believes the
 * disk, refuse it for something that the cache still has?
 */
bool segment_recovery_only_cached(const struct segment_recovery_scan *disk,
                                  const struct segment_recovery_scan *cache);

/*
 * Called for each valid block during a scan, with its raw body. May be NULL. The writer rebuilds
 * its producer table and footer from it.
 */
typedef enum error_code (*segment_recovery_visit)(void *context,
                                                  const struct segment_format_block_header *header,
                                                  const uint8_t *raw, struct error *error);

/*
 * Scan one segment, reading through `fd` (the caller chooses: O_DIRECT for a writer, which must not
 * believe the page cache after an unclean stop; plain for readers). `closed` and `witness_sequence`
 * are evidence from outside. Changes nothing.
 */
enum error_code segment_recovery_scan(int fd, const struct segment_set_segment *segment,
                                      bool closed, uint64_t witness_sequence,
                                      segment_recovery_visit visit, void *context,
                                      struct segment_recovery_scan *scan_out, struct error *error);

/* For people: what segment_log_open found and did. */
struct segment_recovery_report {
    bool created;                          /* a new log */
    enum segment_recovery_verdict verdict; /* of the last segment */
    uint64_t segment_first;
    uint64_t offset;        /* where the scan stopped */
    uint64_t events;        /* in that segment */
    uint64_t sequence_next; /* the next to be given */
    uint64_t torn_bytes;
    uint64_t gap_first, gap_last; /* 0, 0: none */
    enum segment_format_gap_cause gap_cause;
    char quarantined[64]; /* file below DIR/quarantine, or "" */
    bool past_rebuilt; /* DIR/producers was made anew … */
    struct error past_doubt; /* … because of this; code OK: it was not there */
    struct error past_loss;  /* what is missing in it now; code OK: nothing */
    int64_t duration_ns;
};

#endif
