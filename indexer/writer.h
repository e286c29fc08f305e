/*
 * indexer/writer.h - one transaction of blocks, from the log's form to rows.
 *
 * Rows gather in memory and go in at the commit, so that readers and the WAL see few, large
 * transactions. Internal to indexer/; one thread.
 */
#ifndef DAYBOOK_INDEXER_WRITER_H
#define DAYBOOK_INDEXER_WRITER_H

#include "indexer/sqlite.h"

#include "indexer/field_set.h"
#include "segment/reader.h"

struct indexer_writer;

/*
 * Borrows all; `segments_fd` (DIR/segments) tells the files' sizes. The fields' values go into the
 * same transactions; when there are other fields, indexer_writer_forget_names.
 */
enum error_code indexer_writer_create(sqlite3 *database, int segments_fd,
                                      struct indexer_field_set *fields,
                                      struct indexer_writer **writer_out, struct error *error);

/*
 * Take in the events of a block with sequences after `sequence_after`. ERROR_INVALID: the block's
 * body contradicts its header. After any error only rollback makes sense.
 */
enum error_code indexer_writer_add_events(struct indexer_writer *writer,
                                          const struct segment_reader_block *block,
                                          uint64_t sequence_after, struct error *error);
/* Sequences that are missing, and why. `block` is where that was noticed. */
enum error_code indexer_writer_add_gap(struct indexer_writer *writer,
                                       const struct segment_reader_block *block,
                                       uint64_t sequence_first, uint64_t sequence_last,
                                       const char *cause, struct error *error);
/* The block lists the producers as they were where the index begins. */
enum error_code indexer_writer_add_producers(struct indexer_writer *writer,
                                             const struct segment_reader_block *block,
                                             struct error *error);

/* Events taken in since the last commit. */
size_t indexer_writer_events(const struct indexer_writer *writer);

/*
 * Make it all durable as SQLite does (the WAL is synced at checkpoints), with `last_sequence` as
 * the new end of the index. On failure nothing of it is in the database, and the writer is empty.
 */
enum error_code indexer_writer_commit(struct indexer_writer *writer, uint64_t last_sequence,
                                      struct error *error);
/* Drop what was gathered. */
void indexer_writer_rollback(struct indexer_writer *writer);
/* Topics and producers were deleted by somebody else on this connection, or fields changed. */
void indexer_writer_forget_names(struct indexer_writer *writer);
/* Accepts NULL. */
void indexer_writer_free(struct indexer_writer *writer);

#endif
