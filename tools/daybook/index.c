#include "tools/daybook/index.h"

#include <stdbool.h>
#include <string.h>

#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/witness.h"
#include "segment/reader.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum { WAIT_MS = 2000 };

/* Fill the index ourselves. */
static enum error_code follow_to_end(const char *verb, struct indexer_follower *follower,
                                     struct error *error)
{
    struct terminal_progress progress = {.what = "indexing", .counts = true};
    struct indexer_step step = {0};
    uint64_t target = 0; /* durable at the start: a fast writer must not keep us for ever */
    enum error_code code;
    do {
        code = indexer_follower_step(follower, &step, error);
        if (code)
            break;
        if (target == 0)
            target = step.watermark;
        if (step.notice) {
            terminal_progress_clear(&progress);
            verb_say(verb, "index: %s", step.notice);
        }
        if (!step.caught_up)
            terminal_progress_show(&progress, step.last_sequence, target);
    } while (!step.caught_up && (step.last_sequence < target || step.retired > 0));
    terminal_progress_clear(&progress);
    return code;
}

/* Somebody else fills the index: give them a moment. */
static void wait_for_follower(const char *verb, const char *directory)
{
    struct error error;
    struct segment_reader *reader = NULL;
    if (segment_reader_open(directory, &reader, &error))
        return;
    uint64_t watermark = segment_reader_watermark(reader);
    segment_reader_close(reader);
    if (indexer_wait_for_sequence(directory, watermark, WAIT_MS, &error))
        verb_say(verb, "note: the index is not complete yet: %s", error.text);
}

enum error_code index_freshen(const char *verb, const char *directory, struct error *error)
{
    struct error local;
    if (!error)
        error = &local;
    struct indexer_follower *follower = NULL;
    enum error_code code = indexer_follower_open(directory, &follower, error);
    if (code == ERROR_NOT_FOUND)
        return code;
    if (code == ERROR_BUSY) {
        wait_for_follower(verb, directory);
        return OK;
    }
    if (!code)
        code = follow_to_end(verb, follower, error);
    indexer_follower_close(follower);
    if (code)
        verb_say(verb, "note: the index could not be brought up to date: %s", error->text);
    return OK;
}

static void note_damage(void *context, const char *text)
{
    struct index_damage *damage = context;
    damage->met = true;
    verb_say(damage->verb, "%s", text);
}

enum error_code index_open(const char *verb, const char *directory, sqlite3 **database_out,
                           struct index_damage *damage_out, struct error *error)
{
    struct error reason;
    enum error_code code = index_freshen(verb, directory, error);
    if (code)
        return code;
    struct indexer_query_watcher watcher = {damage_out ? note_damage : NULL, damage_out};
    if (damage_out)
        *damage_out = (struct index_damage){.verb = verb};
    code = indexer_query_open_watched(directory, &watcher, database_out, &reason);
    if (code) /* never ERROR_NOT_FOUND, which is the log's */
        return error_set(error, code == ERROR_NOT_FOUND ? ERROR_INVALID : code, "%s", reason.text);
    return OK;
}

enum error_code index_sql_error(sqlite3 *database, struct error *error)
{
    enum error_code code =
        sqlite3_errcode(database) == SQLITE_CORRUPT ? ERROR_DAMAGED : ERROR_INVALID;
    return error_set(error, code, "SQL: %s", sqlite3_errmsg(database));
}
