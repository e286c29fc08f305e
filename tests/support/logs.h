/*
 * tests/support/logs.h - short words for making and reading logs in tests.
 *
 * Event number n of a log has the topic "t", the time n seconds after the epoch and the text
 * "event-n" with letters behind it, up to the length asked for, as its payload, so that a reader
 * can tell for each event alone whether it is the right one.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_LOGS_H
#define DAYBOOK_TESTS_SUPPORT_LOGS_H

#include <sys/types.h>

#include "segment/log.h"
#include "segment/reader.h"

/* Open for writing; segments are never larger than `segment_bytes` (0: the default). */
struct segment_log *logs_open(const char *path, uint64_t segment_bytes);
/* Append events until the last has the sequence `last`, each with `payload_bytes` of payload. */
void logs_append_to(struct segment_log *log, uint64_t last, size_t payload_bytes);
/* Make everything durable: one block at least. */
void logs_commit(struct segment_log *log);
/* The same, with a commit after each event, so that each has a block of its own. */
void logs_append_singly(struct segment_log *log, uint64_t last, size_t payload_bytes);
void logs_close(struct segment_log *log);

/* Open, append up to `last` one block an event, close. */
void logs_make(const char *path, uint64_t segment_bytes, uint64_t last, size_t payload_bytes);

/*
 * A writer in another process: appends up to `last`, one durable block an event, then stays until
 * it is killed. Returns when `last` is durable. Ends its log without a stop mark.
 */
pid_t logs_start_writer(const char *path, uint64_t segment_bytes, uint64_t last,
                        size_t payload_bytes);
/* SIGKILL, and wait until it and its lock are gone. */
void logs_kill_writer(pid_t pid);

/*
 * Put one more block of `count` events behind the last one, as a writer would that is killed before
 * its fdatasync: valid, chained, and promised by nobody. Returns its header.
 */
struct segment_format_block_header logs_write_undurable(const char *path, uint64_t count);

/* DIR/segments/NAME of the segment that starts with `sequence_first`; valid until the next call. */
const char *logs_segment_path(const char *log_path, uint64_t sequence_first);

struct segment_reader *logs_read(const char *path);
/* The next event is number `sequence`, whole and right. */
void logs_expect_event(struct segment_reader *reader, uint64_t sequence);
void logs_expect_events(struct segment_reader *reader, uint64_t first, uint64_t last);
void logs_expect_end(struct segment_reader *reader);
/* The next call reports damage with all of `text` in it. */
void logs_expect_damage(struct segment_reader *reader, const char *text);

/* Where the events block that holds `sequence` stands. */
struct logs_place {
    uint64_t segment_first;
    struct segment_format_block_header header;
};
struct logs_place logs_find(const char *path, uint64_t sequence);

#endif
