#include "indexer/relocate.h"

#include "core/clock.h"
#include "indexer/database.h"
#include "segment/view.h"

/* Sums over the blocks of one segment, as in segment_rows. */
struct totals {
    int64_t events, blocks, raw_bytes, stored_bytes;
};

static enum error_code insert_row(sqlite3_stmt *insert, uint64_t segment_first,
                                  const struct segment_format_block_header *header,
                                  struct error *error)
{
    sqlite3_bind_int64(insert, 1, (sqlite3_int64)header->sequence_first);
    sqlite3_bind_int64(insert, 2, header->event_count);
    sqlite3_bind_int64(insert, 3, (sqlite3_int64)segment_first);
    sqlite3_bind_int64(insert, 4, (sqlite3_int64)header->offset);
    sqlite3_bind_int64(insert, 5, header->checksum);
    return indexer_database_run(insert, error);
}

/* *whole_out: up to the seal, without a place that cannot be read. */
static enum error_code insert_blocks(sqlite3_stmt *insert, struct segment_view *view,
                                     struct totals *totals, bool *whole_out, struct error *error)
{
    uint64_t offset = FORMAT_SEGMENT_HEADER_BYTES;
    enum error_code code = OK;
    while (!code && offset < view->segment.trailer.seal_offset) {
        struct segment_format_block_header header;
        segment_view_jump(view); /* from header to header: the bodies are not wanted */
        code = segment_view_header(view, offset, &header, error);
        if (code && code != ERROR_MEMORY)
            break;
        if (!code && header.kind == FORMAT_BLOCK_EVENTS) {
            code = insert_row(insert, view->segment.sequence_first, &header, error);
            totals->events += header.event_count;
            totals->blocks++;
            totals->raw_bytes += header.raw_bytes;
            totals->stored_bytes += header.size_bytes;
        }
        offset += code ? 0 : header.size_bytes;
    }
    *whole_out = offset == view->segment.trailer.seal_offset;
    return code == ERROR_DAMAGED || code == ERROR_IO || code == ERROR_VERSION ? OK : code;
}

static enum error_code delete_blocks(sqlite3 *database, const struct segment_set_segment *segment,
                                     struct error *error)
{
    sqlite3_stmt *delete = NULL;
    enum error_code code = indexer_database_prepare(
        database, "DELETE FROM block_rows WHERE first_seq BETWEEN ?1 AND ?2", &delete, error);
    if (code)
        return code;
    sqlite3_bind_int64(delete, 1, (sqlite3_int64)segment->sequence_first);
    sqlite3_bind_int64(delete, 2, (sqlite3_int64)segment->trailer.sequence_last);
    code = indexer_database_run(delete, error);
    sqlite3_finalize(delete);
    return code;
}

static void bind_seal(sqlite3_stmt *statement, int column,
                      const struct segment_set_segment *segment)
{
    if (segment->header.packed)
        sqlite3_bind_int64(statement, column, segment->trailer.seal_checksum);
    else
        sqlite3_bind_null(statement, column);
}

static enum error_code update_segment(sqlite3 *database, const struct segment_set_segment *segment,
                                      const struct totals *totals, struct error *error)
{
    sqlite3_stmt *update = NULL;
    enum error_code code = indexer_database_prepare(
        database,
        "UPDATE segment_rows SET events = ?2, bytes = ?3, blocks = ?4, raw_bytes = ?5,"
        " stored_bytes = ?6, seal = ?7 WHERE first_seq = ?1",
        &update, error);
    if (code)
        return code;
    sqlite3_bind_int64(update, 1, (sqlite3_int64)segment->sequence_first);
    sqlite3_bind_int64(update, 2, totals->events);
    sqlite3_bind_int64(update, 3, (sqlite3_int64)segment->size_bytes);
    sqlite3_bind_int64(update, 4, totals->blocks);
    sqlite3_bind_int64(update, 5, totals->raw_bytes);
    sqlite3_bind_int64(update, 6, totals->stored_bytes);
    bind_seal(update, 7, segment);
    code = indexer_database_run(update, error);
    sqlite3_finalize(update);
    return code;
}

/* So that it is not tried again each time; the old places lead to those who look and tell. */
static enum error_code note_seal(sqlite3 *database, const struct segment_set_segment *segment,
                                 struct error *error)
{
    sqlite3_stmt *update = NULL;
    enum error_code code = indexer_database_prepare(
        database, "UPDATE segment_rows SET bytes = ?2, seal = ?3 WHERE first_seq = ?1", &update,
        error);
    if (code)
        return code;
    sqlite3_bind_int64(update, 1, (sqlite3_int64)segment->sequence_first);
    sqlite3_bind_int64(update, 2, (sqlite3_int64)segment->size_bytes);
    bind_seal(update, 3, segment);
    code = indexer_database_run(update, error);
    sqlite3_finalize(update);
    return code;
}

/* In a transaction; *whole_out false: it is to be taken back. */
static enum error_code replace_blocks(sqlite3 *database, struct segment_view *view, bool *whole_out,
                                      struct error *error)
{
    struct totals totals = {0};
    sqlite3_stmt *insert = NULL;
    enum error_code code = delete_blocks(database, &view->segment, error);
    if (!code)
        code = indexer_database_prepare(
            database, "INSERT INTO block_rows VALUES (?1, ?2, ?3, ?4, ?5)", &insert, error);
    if (!code)
        code = insert_blocks(insert, view, &totals, whole_out, error);
    if (!code && *whole_out)
        code = update_segment(database, &view->segment, &totals, error);
    sqlite3_finalize(insert);
    return code;
}

static enum error_code transact(sqlite3 *database, struct segment_view *view, struct error *error)
{
    bool whole = false;
    enum error_code code = indexer_database_exec(database, "BEGIN IMMEDIATE", error);
    if (code)
        return code;
    code = replace_blocks(database, view, &whole, error);
    if (!code && whole)
        code = indexer_database_exec(database, "COMMIT", error);
    if (code || !whole)
        indexer_database_exec(database, "ROLLBACK", NULL);
    return code || whole ? code : note_seal(database, &view->segment, error);
}

static enum error_code relocate(sqlite3 *database, const struct segment_set_segment *segment,
                                int segments_fd, struct error *error)
{
    struct segment_view view = {0};
    enum error_code code =
        segment_view_open(&view, segments_fd, segment, segment->header.log_id, error);
    if (code == ERROR_NOT_FOUND) /* retention was faster */
        return OK;
    if (!code && segment_view_is_as_listed(&view))
        code = transact(database, &view, error);
    segment_view_release(&view);
    return code;
}

/*
 * Does the index have another file than this one in mind: the one before packing, or before
 * somebody has put back a copy? One that is not there yet will be indexed as it is now.
 */
static enum error_code is_known_otherwise(sqlite3_stmt *select,
                                          const struct segment_set_segment *segment,
                                          bool *otherwise_out, struct error *error)
{
    sqlite3_bind_int64(select, 1, (sqlite3_int64)segment->sequence_first);
    int result = sqlite3_step(select);
    bool known_packed = sqlite3_column_type(select, 0) == SQLITE_INTEGER;
    *otherwise_out = result == SQLITE_ROW && (known_packed != segment->header.packed ||
                                              (known_packed && sqlite3_column_int64(select, 0) !=
                                                                   segment->trailer.seal_checksum));
    enum error_code code = result == SQLITE_ROW || result == SQLITE_DONE
                               ? OK
                               : indexer_database_error(sqlite3_db_handle(select), result, error);
    sqlite3_reset(select);
    return code;
}

static enum error_code relocate_each(sqlite3 *database, sqlite3_stmt *select,
                                     const struct segment_set *set, int segments_fd,
                                     uint64_t last_sequence, enum indexer_relocate_left *left_out,
                                     struct error *error)
{
    int64_t until_ns = clock_monotonic_ns() + INDEXER_RELOCATE_MS * INT64_C(1000000);
    *left_out = RELOCATE_NONE;
    for (size_t i = set->dead_count; i < set->count; i++) {
        const struct segment_set_segment *segment = &set->segments[i];
        bool wanted = false;
        if (segment->header_verdict != FORMAT_VALID || !segment->sealed)
            continue;
        enum error_code code = is_known_otherwise(select, segment, &wanted, error);
        if (!code && wanted && segment->trailer.sequence_last > last_sequence) {
            *left_out = RELOCATE_LATER;
            return OK; /* and so are those behind it */
        }
        if (!code && wanted)
            code = relocate(database, segment, segments_fd, error);
        if (code)
            return code;
        if (wanted && clock_monotonic_ns() > until_ns) {
            *left_out = RELOCATE_MORE;
            return OK;
        }
    }
    return OK;
}

enum error_code indexer_relocate_some(sqlite3 *database, const struct segment_set *set,
                                      int segments_fd, uint64_t last_sequence,
                                      enum indexer_relocate_left *left_out, struct error *error)
{
    sqlite3_stmt *select = NULL;
    enum error_code code = indexer_database_prepare(
        database, "SELECT seal FROM segment_rows WHERE first_seq = ?1", &select, error);
    if (!code)
        code = relocate_each(database, select, set, segments_fd, last_sequence, left_out, error);
    sqlite3_finalize(select);
    return code;
}
