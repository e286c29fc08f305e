#include "tools/daybook/selection_notes.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "indexer/query.h"
#include "tools/daybook/nearness.h"
#include "tools/daybook/verb.h"

/* A log may have a million topics, and this is only a note. */
enum { TOPICS_MAX = 10000 };

/* What the topics say of one pattern. */
struct search {
    const struct topic_pattern *pattern;
    char wider[TOPIC_PATTERN_BYTES_MAX + 4]; /* with all that is below it; "": there is none */
    char below[EVENT_TOPIC_BYTES_MAX + 1];   /* a topic that the wider one matches */
    char near[EVENT_TOPIC_BYTES_MAX + 1];    /* a topic that is nearly it */
    size_t near_distance;
    bool matches;
};

static struct search begin_search(const struct topic_pattern *pattern)
{
    struct search search = {.pattern = pattern, .near_distance = NEARNESS_FAR};
    size_t bytes = pattern->bytes;
    bool one_token = bytes >= 2 && strcmp(pattern->text + bytes - 2, ".*") == 0;
    if (one_token)
        snprintf(search.wider, sizeof search.wider, "%.*s>", (int)bytes - 1, pattern->text);
    else if (pattern->text[bytes - 1] != '>')
        snprintf(search.wider, sizeof search.wider, "%s.>", pattern->text);
    if (strlen(search.wider) > TOPIC_PATTERN_BYTES_MAX)
        search.wider[0] = '\0';
    return search;
}

static void look_at(struct search *search, const char *topic)
{
    const struct topic_pattern *pattern = search->pattern;
    size_t bytes = strlen(topic);
    if (topic_pattern_match(pattern->text, pattern->bytes, topic, bytes))
        search->matches = true;
    if (search->wider[0] && !search->below[0] &&
        topic_pattern_match(search->wider, strlen(search->wider), topic, bytes))
        snprintf(search->below, sizeof search->below, "%s", topic);
    size_t distance =
        pattern->literal ? nearness_distance(pattern->text, topic) : (size_t)NEARNESS_FAR;
    if (distance < search->near_distance) {
        search->near_distance = distance;
        snprintf(search->near, sizeof search->near, "%s", topic);
    }
}

static void say(const struct search *search, const char *verb)
{
    const char *text = search->pattern->text;
    if (search->below[0])
        verb_say(verb, "note: no topic matches -t '%s'; '%s' would match '%s'", text, search->wider,
                 search->below);
    else if (search->near[0])
        verb_say(verb, "note: no topic matches -t '%s'; do you mean '%s'?", text, search->near);
    else
        verb_say(verb, "note: no topic matches -t '%s'; 'daybook topics' lists what there is",
                 text);
}

/* False: the topics cannot be had. */
static bool go_through_topics(sqlite3 *database, struct search *search)
{
    sqlite3_stmt *topics = NULL;
    int result = sqlite3_prepare_v2(database, "SELECT topic FROM main.topics LIMIT ?1", -1,
                                    &topics, NULL);
    if (result == SQLITE_OK) {
        sqlite3_bind_int(topics, 1, TOPICS_MAX);
        while (!search->matches && (result = sqlite3_step(topics)) == SQLITE_ROW) {
            const char *topic = (const char *)sqlite3_column_text(topics, 0);
            if (topic)
                look_at(search, topic);
        }
    }
    sqlite3_finalize(topics);
    return result == SQLITE_DONE || search->matches;
}

static void tell_topics(const struct topic_patterns *patterns, const char *verb,
                        const char *directory)
{
    sqlite3 *database = NULL;
    if (patterns->count == 0 || indexer_query_open(directory, &database, NULL))
        return;
    for (size_t i = 0; i < patterns->count; i++) {
        struct search search = begin_search(&patterns->items[i]);
        if (go_through_topics(database, &search) && !search.matches)
            say(&search, verb);
    }
    sqlite3_close_v2(database);
}

void selection_notes_tell(const struct selection *selection, const char *verb,
                          const char *directory)
{
    if (selection->passed)
        return;
    tell_topics(&selection->topics, verb, directory);
    const char *unseen = selection->where ? indexer_where_unseen(selection->where) : NULL;
    if (unseen)
        verb_say(verb,
                 "note: no event that was looked at has the field \"%s\" of --where; text goes in "
                 "single quotes: '%s'",
                 unseen, unseen);
}
