/*
 * indexer/wishes.h - which payload fields are to be kept in the index: the file DIR/index-fields.
 *
 * The list is a wish of the user's, so it is no part of events.db, which may be deleted at any
 * time. Who changes the list does so under LOCK_FIELDS, whoever fills the index reads it and does
 * what it says (indexer/field_keeper.h). docs/format.md describes the file.
 *
 * A field is a topic and a path (core/msgpack_path.h), kept in its canonical text; a list is
 * ordered by both, and has no field twice.
 */
#ifndef DAYBOOK_INDEXER_WISHES_H
#define DAYBOOK_INDEXER_WISHES_H

#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "core/msgpack_path.h"

#define INDEXER_WISHES_NAME "index-fields"

/* Of all topics together: each costs two b-trees, and time for each event of its topic. */
enum { INDEXER_WISHES_MAX = 128 };

struct indexer_wish {
    char topic[EVENT_TOPIC_BYTES_MAX + 1];
    char path[MSGPACK_PATH_BYTES_MAX + 1];
};

/* Zero-initialised is empty; release frees. */
struct indexer_wishes {
    struct indexer_wish *list;
    size_t count;
};

/* ERROR_INVALID: the topic or the path makes no sense. ERROR_FULL: there are too many. */
enum error_code indexer_wishes_add(struct indexer_wishes *wishes, const char *topic,
                                   const char *path, struct error *error);
/* Add the fields of a text "TOPIC FIELD…", as in a configuration; quotes may hold spaces. */
enum error_code indexer_wishes_add_text(struct indexer_wishes *wishes, const char *text,
                                        struct error *error);
void indexer_wishes_release(struct indexer_wishes *wishes);

/* The list of a log; empty when there is no file. ERROR_DAMAGED: it is not what was written. */
enum error_code indexer_wishes_load(int log_fd, struct indexer_wishes *wishes_out,
                                    struct error *error);

enum indexer_wishes_change { WISHES_ADD, WISHES_DROP };
/*
 * Add the fields to the list of the log in `path`, or take them off, durably; *changed_out of them
 * were not there yet, or were there. ERROR_INVALID: one to be dropped is not on the list (nothing
 * was changed). ERROR_NOT_FOUND: there is no log. ERROR_FULL: together they are too many.
 */
enum error_code indexer_wishes_change(const char *path, enum indexer_wishes_change change,
                                      const struct indexer_wishes *fields, size_t *changed_out,
                                      struct error *error);

#endif
