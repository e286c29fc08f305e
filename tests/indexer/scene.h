/*
 * tests/indexer/scene.h - a log in a directory of its own, filled with events that can be told
 * apart, and what its index says.
 *
 * Every function fails the running test by itself when something unexpected happens.
 */
#ifndef DAYBOOK_TESTS_INDEXER_SCENE_H
#define DAYBOOK_TESTS_INDEXER_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>

#include "core/error.h"
#include "segment/log.h"

/* Make the directory, below $TMPDIR or /var/tmp; and remove it with everything in it. */
void scene_begin(void);
void scene_end(void);
/* DIR, and a name in it (static memory, until the next call). */
const char *scene_directory(void);
const char *scene_path(const char *name);

/*
 * Append `count` events and close the log again. The n-th event of a log (from 1) has topic
 * scene_topic(n), time scene_time(n) and a payload {"n":n,…} of about 200 bytes that LZ4 cannot
 * shrink. Segments are as small as they may be: some 250 events each.
 */
void scene_write(unsigned count);
/* As above, with one event a topic, "many.1" and so on. */
void scene_write_topics(unsigned count);
/* The same in pieces, for a log that stays open. */
struct segment_log *scene_open_log(void);
void scene_append(struct segment_log *log, unsigned count);
const char *scene_topic(uint64_t number);
int64_t scene_time(uint64_t number);

/* Open a follower, catch up, close it. */
void scene_index(void);

/* A plain connection to events.db, as the stock shell has it. */
sqlite3 *scene_open_database(void);
/* First column of the first row of a query on a plain connection. */
int64_t scene_number(const char *sql);
/* All rows of a query, one a line, columns separated by '|'. The caller frees it. */
char *scene_rows(sqlite3 *database, const char *sql);
/* Every view of the index, in full and ordered. The caller frees it. */
char *scene_dump(void);
void scene_expect_rows(const char *sql, const char *rows);
/* Compare the index with what segment/reader.h reads: each event, and the topics' totals. */
void scene_expect_index_equals_log(void);

/* How many files there are in segments/; the n-th of them (from 0), by name. */
size_t scene_segment_count(void);
uint64_t scene_segment_first(size_t n);
uint64_t scene_segment_bytes(size_t n);
/* Flip one bit of a file. */
void scene_flip(const char *name, uint64_t offset);
/* Copy a file or a directory of files to another name, in DIR. */
void scene_copy(const char *from, const char *to);

#endif
