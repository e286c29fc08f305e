#include "tools/daybook/index.h"

#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/follower.h"
#include "indexer/query.h"
#include "indexer/witness.h"
#include "segment/reader.h"
#include "tools/daybook/damage.h"
#include "tools/daybook/terminal.h"
#include "tools/daybook/verb.h"

enum { WAIT_MS = 2000, TOLD_MAX = 10000 };

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
    } while (!step.caught_up && (step.last_sequence < target || step.retired > 0 ||
                                 step.relocating || step.working_on_fields));
    if (!code)
        code = indexer_follower_catch_up(follower, error);
    terminal_progress_clear(&progress);
    return code;
}

static enum error_code find_watermark(const char *directory, uint64_t *watermark_out,
                                      struct error *error)
{
    struct segment_reader *reader = NULL;
    enum error_code code = segment_reader_open(directory, &reader, error);
    if (code)
        return code;
    *watermark_out = segment_reader_watermark(reader);
    segment_reader_close(reader);
    return OK;
}

/* Somebody else fills the index: give them a moment. */
static void wait_for_follower(struct index_trouble *trouble, const char *directory)
{
    struct error error;
    uint64_t watermark = 0;
    if (find_watermark(directory, &watermark, &error))
        return;
    if (!indexer_wait_for_sequence(directory, watermark, WAIT_MS, &error))
        return;
    trouble->behind = true;
    verb_say(trouble->verb, "note: the index is not complete yet: %s", error.text);
}

/*
 * An index that cannot be written need not be behind: that of a log which was closed cleanly and
 * then mounted read-only has everything.
 */
static bool is_behind(const char *directory)
{
    uint64_t watermark = 0;
    return find_watermark(directory, &watermark, NULL) ||
           indexer_wait_for_sequence(directory, watermark, 0, NULL) ||
           indexer_wait_for_bound(directory, 0, NULL);
}

static enum error_code freshen(struct index_trouble *trouble, const char *directory,
                               struct error *error)
{
    struct indexer_follower *follower = NULL;
    enum error_code code = indexer_follower_open(directory, &follower, error);
    if (code == ERROR_NOT_FOUND)
        return code;
    if (code == ERROR_BUSY) {
        wait_for_follower(trouble, directory);
        return OK;
    }
    if (!code)
        code = follow_to_end(trouble->verb, follower, error);
    indexer_follower_close(follower);
    if (!code)
        return OK;
    verb_say(trouble->verb, "note: the index could not be brought up to date: %s", error->text);
    if (code == ERROR_DAMAGED)
        trouble->damaged = true;
    else
        trouble->behind = is_behind(directory);
    return OK;
}

enum error_code index_freshen(const char *verb, const char *directory, struct error *error)
{
    struct error local;
    struct index_trouble trouble = {.verb = verb};
    return freshen(&trouble, directory, error ? error : &local);
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(left, right);
}

/*
 * A query that goes through the log topic by topic meets each damaged block once a topic. Without
 * memory, or with more than is worth remembering, a text is told again rather than not at all.
 */
static bool was_told(struct index_trouble *trouble, const char *text)
{
    if (tfind(text, &trouble->told, compare_texts))
        return true;
    char *copy = trouble->told_count < TOLD_MAX ? strdup(text) : NULL;
    if (copy && tsearch(copy, &trouble->told, compare_texts))
        trouble->told_count++;
    else
        free(copy);
    return false;
}

static void note_damage(void *context, const char *text)
{
    struct index_trouble *trouble = context;
    trouble->damaged = true;
    if (!was_told(trouble, text))
        verb_say(trouble->verb, "%s", text);
}

enum error_code index_open(const char *verb, const char *directory, sqlite3 **database_out,
                           struct index_trouble *trouble_out, struct error *error)
{
    struct error reason;
    *trouble_out = (struct index_trouble){.verb = verb};
    enum error_code code = freshen(trouble_out, directory, error);
    if (code)
        return code;
    struct indexer_watcher watcher = {note_damage, trouble_out};
    code = indexer_query_open_watched(directory, &watcher, database_out, &reason);
    if (code == ERROR_BUSY)
        return error_set(error, code,
                         "%s: another program keeps it from being read; try again when that has "
                         "finished",
                         reason.text);
    if (code) /* never ERROR_NOT_FOUND, which is the log's */
        return error_set(error, code == ERROR_NOT_FOUND ? ERROR_INVALID : code, "%s", reason.text);
    return OK;
}

void index_close(sqlite3 *database, struct index_trouble *trouble)
{
    sqlite3_close_v2(database);
    tdestroy(trouble->told, free);
    trouble->told = NULL;
}

int index_status(const struct index_trouble *trouble, const char *directory)
{
    if (damage_tell(trouble->verb, directory) || trouble->damaged)
        return STATUS_DAMAGE;
    return trouble->behind ? STATUS_INCOMPLETE : STATUS_OK;
}

enum error_code index_sql_error(sqlite3 *database, struct error *error)
{
    enum error_code code =
        sqlite3_errcode(database) == SQLITE_CORRUPT ? ERROR_DAMAGED : ERROR_INVALID;
    return error_set(error, code, "SQL: %s", sqlite3_errmsg(database));
}
