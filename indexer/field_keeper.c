#include "indexer/field_keeper.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"

enum error_code indexer_field_keeper_open(struct indexer_field_keeper *keeper, int log_fd,
                                          const char *path, sqlite3 *database, struct error *error)
{
    bool changed;
    *keeper = (struct indexer_field_keeper){.log_fd = log_fd, .fill.path = path};
    enum error_code code = indexer_field_set_load(&keeper->set, database, error);
    if (!code)
        code = indexer_field_keeper_look(keeper, &changed, error);
    if (code)
        indexer_field_keeper_release(keeper);
    return code;
}

static void tell(struct indexer_field_keeper *keeper, const char *text)
{
    snprintf(keeper->notice, sizeof keeper->notice, "%s", text);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * A file's time has a coarse grain, and a number that was freed is given again: after a change it
 * takes a second look that finds none.
 */
static bool is_news(struct indexer_field_keeper *keeper)
{
    struct stat now = {0};
    if (file_status_at(keeper->log_fd, INDEXER_WISHES_NAME, &now, NULL))
        now = (struct stat){0};
    bool same = is_same_file(&now, &keeper->seen);
    bool news = !same || !keeper->settled;
    keeper->settled = same;
    keeper->seen = now;
    return news;
}

/* The same is told once. The next look tries again, as the disk may have been the cause. */
static void bear_trouble(struct indexer_field_keeper *keeper, const struct error *why)
{
    if (strcmp(keeper->trouble.text, why->text) != 0)
        tell(keeper, why->text);
    keeper->trouble = *why;
    keeper->settled = false;
}

enum error_code indexer_field_keeper_look(struct indexer_field_keeper *keeper, bool *changed_out,
                                          struct error *error)
{
    struct indexer_wishes wishes = {0};
    struct error why = {0};
    *changed_out = false;
    if (!is_news(keeper))
        return OK;
    if (indexer_wishes_load(keeper->log_fd, &wishes, &why)) {
        bear_trouble(keeper, &why);
        return OK;
    }
    keeper->trouble = (struct error){0};
    enum error_code code = indexer_field_set_match(&keeper->set, &wishes, changed_out, error);
    indexer_wishes_release(&wishes);
    if (code)
        keeper->settled = false; /* the next look tries again */
    if (*changed_out)
        keeper->fill.next = 0;
    return code;
}

enum error_code indexer_field_keeper_work(struct indexer_field_keeper *keeper, uint64_t bound,
                                          uint64_t *removed_out, uint64_t *filled_out,
                                          bool *more_out, struct error *error)
{
    struct indexer_field_fill_slice slice;
    *removed_out = *filled_out = 0;
    *more_out = true;
    if (keeper->set.removing)
        return indexer_field_set_remove_some(&keeper->set, removed_out, error);
    enum error_code code =
        indexer_field_fill_some(&keeper->fill, &keeper->set, bound, &slice, error);
    if (code)
        return code;
    if (slice.notice[0])
        tell(keeper, slice.notice);
    *filled_out = slice.events;
    *more_out = slice.more;
    return OK;
}

void indexer_field_keeper_release(struct indexer_field_keeper *keeper)
{
    indexer_field_fill_release(&keeper->fill);
    indexer_field_set_release(&keeper->set);
}
