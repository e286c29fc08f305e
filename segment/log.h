/*
 * segment/log.h - the log as its one writer sees it: open, append, wait until durable, close.
 *
 * Appending copies an event into the open block in memory. One thread at a time takes whatever has
 * gathered, writes it, calls fdatasync once, publishes the watermark, and takes what has gathered
 * meanwhile: group commit without a timer. It is a thread that waits for its event, or else the
 * committer thread. The preparer thread keeps the next segment ready.
 *
 * Invariants
 *   - Sequences are given in the order of append, and never twice.
 *   - Durable events never change again.
 *   - After the first failed write or sync nothing is ever acknowledged again
 *     (segment_log_failure).
 *   - What was appended and finds no room on a full disk is withdrawn: it is not stored, its
 *     sequences and numbers are given again, and whoever appends hears of it before anything else
 *     is appended.
 *
 * Threads: append and kick from any thread; wait from any thread; open and close once. Where
 * several threads append and wait, each for its own event, options.takes_withdrawals is needed:
 * else who is refused first lets the others' sequences be given again.
 */
#ifndef DAYBOOK_SEGMENT_LOG_H
#define DAYBOOK_SEGMENT_LOG_H

#include "segment/format.h"
#include "segment/recovery.h"

struct segment_log;

enum segment_log_write_path { LOG_WRITE_PWRITE, LOG_WRITE_MMAP };

enum { LOG_PENDING_BYTES = 8 << 20 }; /* pending_bytes_max when it is 0 */

struct segment_log_options {
    uint64_t segment_bytes; /* the largest; young logs start smaller. 0: 64 MiB */
    int64_t segment_age_ns; /* roll when the first event is older. 0: one day */
    enum segment_log_write_path write_path;
    uint32_t commit_align;    /* 8, 512 or 4096; 0: 8 */
    size_t pending_bytes_max; /* memory for events that are not on disk yet. 0: LOG_PENDING_BYTES */
    size_t block_bytes_max;   /* of events that share a block, uncompressed. 0: 256 KiB */
    uint64_t witness_sequence; /* somebody (the index) has seen this sequence durable; 0: nobody */
    /*
     * For segment/repair.h: finish a repair. Where only a witness knows of events, a gap is put on
     * record instead of refusing.
     */
    bool repairing;
    bool report_written; /* call on_progress for "written" too, not only for "durable" */
    /*
     * A withdrawal is heard of by segment_log_take_withdrawal only; until then append refuses. For
     * who keeps answers waiting. Otherwise the first ERROR_NO_SPACE that append or wait return
     * tells of it: enough for one thread that appends and waits.
     */
    bool takes_withdrawals;
    /* Called on one of the log's threads, or on one that commits, after each step forward, after a
     * failure, and when the disk becomes full or has room again; must be quick. */
    void (*on_progress)(void *context);
    void *context;
};

/*
 * Take the writer lock and recover. Makes directory and log when they are missing. `report_out`
 * (may be NULL) says what recovery found. ERROR_BUSY: there is another writer. ERROR_DAMAGED:
 * durable data is damaged or lost; the log can be read but not written.
 */
enum error_code segment_log_open(const char *path, const struct segment_log_options *options,
                                 struct segment_log **log_out,
                                 struct segment_recovery_report *report_out, struct error *error);

enum segment_log_outcome {
    LOG_APPENDED,
    LOG_DUPLICATE, /* this producer's number is not above its last: a copy is in the log already */
};

/*
 * Append one event (checked by event_check: the caller has done so). EVENT_TIME_NONE becomes the
 * arrival time. On LOG_APPENDED *sequence_out is its sequence; on LOG_DUPLICATE it is the last
 * sequence of this producer: once that is durable, so is the copy.
 * ERROR_BUSY: memory for pending events is used up; wait for progress. ERROR_FULL: there can be no
 * further producer, or no further sequence. ERROR_NO_SPACE: the disk is
 * full and the active segment too; what was appended before and is not durable was withdrawn.
 * ERROR_IO: the log has failed. The event is not stored then.
 */
enum error_code segment_log_append(struct segment_log *log, const struct event *event,
                                   enum segment_log_outcome *outcome_out, uint64_t *sequence_out,
                                   struct error *error);
/*
 * Append all of these events, which have one producer or none, next to each other and in one block:
 * whatever happens, all of them are stored or none is. *sequence_out is that of the first.
 * ERROR_INVALID: together they are larger than a block (LOG_TOGETHER_BYTES of records, 4,096
 * events), or the first one's number is in the log already. Other errors: as for append.
 */
enum { LOG_TOGETHER_BYTES = FORMAT_BLOCK_RAW_MAX };
enum error_code segment_log_append_together(struct segment_log *log, const struct event *events,
                                            size_t count, uint64_t *sequence_out,
                                            struct error *error);
/*
 * Is there room for so many more events of so many bytes in all, without ERROR_BUSY? Also true when
 * they would be refused for another reason, which append tells.
 */
bool segment_log_has_room(struct segment_log *log, size_t events, size_t bytes);
/* Start the commit of what has been appended. Call after a batch, not after each event. */
void segment_log_kick(struct segment_log *log);
/*
 * Commit what has been appended on this thread, which the disk may hold up, instead of waking
 * another one. False: nothing is there, or another thread commits already, and will see to it.
 */
bool segment_log_commit(struct segment_log *log);

/* Everything up to this sequence is in the file / on the disk. */
uint64_t segment_log_written(const struct segment_log *log);
uint64_t segment_log_durable(const struct segment_log *log);
/* The last sequence given. */
uint64_t segment_log_appended(const struct segment_log *log);
/* The last event: sequences behind it up to that one are gaps, left by a crash. */
uint64_t segment_log_event_last(const struct segment_log *log);
/* Commit, and wait until `sequence` is durable. ERROR_NO_SPACE: it was withdrawn, and is not
 * stored. ERROR_IO: the log failed first; the outcome is unknown. */
enum error_code segment_log_wait(struct segment_log *log, uint64_t sequence, struct error *error);
/*
 * Commit what was appended, do what is due by the clock (core/clock.h), and wait until the log's
 * threads sleep: then the log's state does not depend on their timing. For simulations, whose time
 * stands still meanwhile; nobody else may use the log during the call.
 */
void segment_log_settle(struct segment_log *log);
/* Wait until room is there again (after ERROR_BUSY) or the log has failed. */
void segment_log_wait_room(struct segment_log *log);

/*
 * Was something withdrawn since the last call? Then all that is not durable now was: nothing has
 * been appended since. With segment_log_options.takes_withdrawals, from the thread that appends.
 */
bool segment_log_take_withdrawal(struct segment_log *log, struct error *why_out);

/* OK, or the error that ended acknowledgements for good. */
enum error_code segment_log_failure(const struct segment_log *log, struct error *error);

/*
 * The last number of a producer in this log; 0: none of its events is left. May read from the disk,
 * where the producer was silent for long and many others were not (segment/past.h). ERROR_IO,
 * ERROR_DAMAGED: nobody can tell.
 */
enum error_code segment_log_find_producer(struct segment_log *log, const char *name,
                                          size_t name_bytes, uint64_t *number_out,
                                          struct error *error);
/* The same, where 0 may also mean that nobody can tell: append says so. */
uint64_t segment_log_producer_number(struct segment_log *log, const char *name, size_t name_bytes);

const uint8_t *segment_log_id(const struct segment_log *log);

struct segment_log_counters {
    uint64_t events, duplicates, commits, blocks, rolls;
    uint64_t raw_bytes, stored_bytes;
    uint64_t prepare_failures;
    bool next_missing; /* the next segment cannot be made; the present one still takes events */
    bool disk_full;    /* … and it is full, too: new events are refused */
};
/* Of the counters, how often a segment was sealed and another begun: waits for nobody. */
uint64_t segment_log_rolls(const struct segment_log *log);
void segment_log_count(struct segment_log *log, struct segment_log_counters *counters_out);

/* Why the next segment cannot be made; code OK: it can. */
void segment_log_read_trouble(struct segment_log *log, struct error *trouble_out);

/*
 * Commit what was appended, write the stop mark, give everything back. Returns the failure when
 * something appended did not become durable. Accepts NULL.
 */
enum error_code segment_log_close(struct segment_log *log, struct error *error);

#endif
