#include "indexer/relocator.h"

#include "core/clock.h"
#include "core/file.h"
#include "indexer/relocate.h"

static enum error_code relocate(struct indexer_relocator *relocator, sqlite3 *database,
                                const struct segment_set *set, int segments_fd,
                                uint64_t last_sequence, bool changed, struct error *error)
{
    enum indexer_relocate_left left = RELOCATE_NONE;
    enum error_code code =
        indexer_relocate_some(database, set, segments_fd, last_sequence, &left, error);
    relocator->relocating = !code && left == RELOCATE_MORE;
    relocator->relocated = !code && left == RELOCATE_NONE && !changed;
    return code;
}

/*
 * Packing renames a file, which changes the directory. Its time has a coarse grain: after a change
 * it takes a second look that finds none.
 */
enum error_code indexer_relocator_look(struct indexer_relocator *relocator, sqlite3 *database,
                                       int log_fd, int segments_fd, uint64_t last_sequence,
                                       bool *log_at_fault_out, struct error *error)
{
    struct stat now;
    struct segment_set set;
    enum error_code code = file_status(segments_fd, "segments", &now, error);
    *log_at_fault_out = true;
    if (code)
        return code;
    bool changed = now.st_mtim.tv_sec != relocator->changed.tv_sec ||
                   now.st_mtim.tv_nsec != relocator->changed.tv_nsec;
    int64_t begin = clock_monotonic_ns();
    if ((!changed && relocator->relocated) ||
        (begin < relocator->reload_ns && !relocator->relocating))
        return OK;
    code = segment_set_load(log_fd, segments_fd, &set, error);
    if (code)
        return code;
    /* A twentieth of the time at most, however many files there are. */
    relocator->reload_ns = begin + 20 * (clock_monotonic_ns() - begin);
    *log_at_fault_out = false;
    code = relocate(relocator, database, &set, segments_fd, last_sequence, changed, error);
    segment_set_free(&set);
    relocator->changed = now.st_mtim;
    return code;
}
