#include "indexer/extension.h"

#include "indexer/database.h"
#include "indexer/event_table.h"
#include "indexer/functions.h"
#include "indexer/host.h"
#include "indexer/topic_tables.h"

/* What the user has made under our name stays. */
static enum error_code check_free(sqlite3 *database, struct error *error)
{
    int64_t others = 0;
    enum error_code code = indexer_database_number(
        database,
        "SELECT count(*) FROM temp.sqlite_schema WHERE name = 'events' COLLATE NOCASE"
        " AND sql NOT LIKE 'CREATE VIRTUAL TABLE % USING daybook_events'",
        0, &others, error);
    if (!code && others)
        code = error_set(error, ERROR_EXISTS,
                         "this connection has a temporary table, view or index temp.events of its "
                         "own; drop it, then load again");
    return code;
}

static enum error_code create_tables(sqlite3 *database, struct error *error)
{
    enum error_code code = check_free(database, error);
    if (code)
        return code;
    return indexer_database_exec(database,
                                 "DROP TABLE IF EXISTS temp.events;"
                                 "CREATE VIRTUAL TABLE temp.events USING daybook_events",
                                 error);
}

/* Where schemas are damaged, events can be asked all the same. */
static enum error_code create_topic_tables(struct indexer_host *host, struct error *error)
{
    struct error reason;
    enum error_code code = indexer_topic_tables_create(host, &reason);
    if (code != ERROR_DAMAGED)
        return code ? error_set(error, code, "%s", reason.text) : OK;
    error_prefix(&reason, "topics have no tables of their own");
    if (host->watcher.damaged)
        host->watcher.damaged(host->watcher.context, reason.text);
    return OK;
}

static enum error_code attach(struct indexer_host *host, struct error *error)
{
    bool lifted;
    enum error_code code = indexer_database_lift_query_only(host->database, &lifted, error);
    if (!code)
        code = indexer_functions_attach(host, error);
    if (!code)
        code = indexer_event_table_register(host, error);
    if (!code)
        code = create_tables(host->database, error);
    if (!code)
        code = create_topic_tables(host, error);
    indexer_database_restore_query_only(host->database, lifted);
    return code;
}

enum error_code indexer_extension_attach(sqlite3 *database, const char *schema,
                                         const struct indexer_watcher *watcher,
                                         struct error *error)
{
    struct indexer_host *host = NULL;
    enum error_code code = indexer_host_create(database, schema, watcher, &host, error);
    if (!code)
        code = attach(host, error);
    indexer_host_release(host);
    return code;
}
