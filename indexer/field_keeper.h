/*
 * indexer/field_keeper.h - make the indexed fields what DIR/index-fields wishes, beside following.
 *
 * Part of the follower, and of nobody else. A list that cannot be read changes nothing: what is
 * indexed stays, and a person is told. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_FIELD_KEEPER_H
#define DAYBOOK_INDEXER_FIELD_KEEPER_H

#include <sys/stat.h>

#include "indexer/field_fill.h"

/* Zero-initialised is none; see open and release. */
struct indexer_field_keeper {
    int log_fd; /* borrowed */
    struct indexer_field_set set;
    struct indexer_field_fill fill;
    struct stat seen;   /* the list's file, as it was when it was read */
    bool settled;       /* … and still was at a look after that */
    struct error trouble; /* why the list could not be read at the last look; code OK: it could */
    char notice[sizeof((struct error *)0)->text]; /* "", or what a person should read */
};

/* `path` is the log's; both are borrowed, and so is the database. */
enum error_code indexer_field_keeper_open(struct indexer_field_keeper *keeper, int log_fd,
                                          const char *path, sqlite3 *database,
                                          struct error *error);
/*
 * Has the list changed since the last look? Then do what it says, but for rows; *changed_out: the
 * set has other fields now. Cheap.
 */
enum error_code indexer_field_keeper_look(struct indexer_field_keeper *keeper, bool *changed_out,
                                          struct error *error);
/* One small transaction: remove rows of a dropped field, else fill those that lack some. */
enum error_code indexer_field_keeper_work(struct indexer_field_keeper *keeper, uint64_t bound,
                                          uint64_t *removed_out, uint64_t *filled_out,
                                          bool *more_out, struct error *error);
void indexer_field_keeper_release(struct indexer_field_keeper *keeper);

#endif
