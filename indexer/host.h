/*
 * indexer/host.h - what the functions and tables of one extended connection share.
 *
 * A counted reference: SQLite frees functions, modules and tables one by one when the connection
 * closes, in an order of its own. Internal to indexer/; guarded by the connection's mutex.
 */
#ifndef DAYBOOK_INDEXER_HOST_H
#define DAYBOOK_INDEXER_HOST_H

#include "core/bytes.h"
#include "indexer/lookup.h"
#include "indexer/sqlite.h"

enum { INDEXER_HOST_IDLE_MAX = 2, INDEXER_HOST_TOPICS_SEEN = 6 };

struct segment_schemas_presence;
struct indexer_fields;

/* The log's lower bound, as the file said it that is named by these. */
struct indexer_host_bound {
    uint64_t sequence; /* 0: not read yet */
    uint64_t inode;
    int64_t changed_ns;
};

struct indexer_host {
    sqlite3 *database; /* the connection: borrowed, it outlives us */
    char *schema;      /* the index's name there: "main", or that of an ATTACH */
    char *path;        /* DIR */
    int log_fd;        /* … open */
    struct indexer_host_bound bound;
    struct indexer_watcher watcher;  /* to give away: tells the listener of each damage once */
    struct indexer_watcher listener; /* the one that we were given */
    char **told;                     /* what the listener knows */
    size_t told_count;
    struct indexer_lookup *lookup; /* of the functions, taken by the first call that needs one */
    struct indexer_lookup *idle[INDEXER_HOST_IDLE_MAX]; /* with open blocks, for the next cursor */
    /*
     * The payload that was made JSON last, with its JSON: whoever is given that text back knows the
     * msgpack that it came from, and need not parse it.
     */
    struct buffer json;
    struct buffer payload;
    /* What the topics' tables were made from; and all of it, while they are: topic_tables.c. */
    int64_t topics_seen[INDEXER_HOST_TOPICS_SEEN];
    const struct segment_schemas_presence *presence;
    const struct indexer_fields *fields;
    size_t references;
};

/*
 * With one reference. ERROR_NOT_FOUND: the connection knows no such schema, or it is not a file.
 * ERROR_FOREIGN and others: it is not a log's index (indexer_schema_check).
 */
enum error_code indexer_host_create(sqlite3 *database, const char *schema,
                                    const struct indexer_watcher *watcher,
                                    struct indexer_host **host_out, struct error *error);
struct indexer_host *indexer_host_retain(struct indexer_host *host);
/* For SQLite's destructors, hence void; accepts NULL. */
void indexer_host_release(void *host);

/*
 * The first sequence that retention has left, now; 1 when that cannot be told: then the index,
 * which follows it, is believed.
 */
uint64_t indexer_host_bound(struct indexer_host *host);

/*
 * A lookup of one's own: two that go through the log at the same time would only disturb each
 * other. Given back, it is kept for the next one.
 */
enum error_code indexer_host_take_lookup(struct indexer_host *host,
                                         struct indexer_lookup **lookup_out, struct error *error);
void indexer_host_give_lookup(struct indexer_host *host, struct indexer_lookup *lookup);

#endif
