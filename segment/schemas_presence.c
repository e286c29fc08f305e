#include "segment/schemas_presence.h"

#include <stdlib.h>
#include <string.h>

/* By topic, and then as they came. */
static int compare(const void *a, const void *b)
{
    const struct segment_schemas_change *left = *(const struct segment_schemas_change *const *)a;
    const struct segment_schemas_change *right = *(const struct segment_schemas_change *const *)b;
    int order = strcmp(left->topic, right->topic);
    return order ? order : (left->number > right->number) - (left->number < right->number);
}

static int compare_topic(const void *topic, const void *change)
{
    return strcmp(topic, (*(const struct segment_schemas_change *const *)change)->topic);
}

/* Of each topic the last one stays, if it added a version. */
static size_t keep_present(const struct segment_schemas_change **list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count || strcmp(list[i]->topic, list[i + 1]->topic) != 0;
        if (last && list[i]->action == SCHEMAS_ADD)
            list[kept++] = list[i];
    }
    return kept;
}

enum error_code segment_schemas_presence_init(const struct segment_schemas *schemas,
                                              struct segment_schemas_presence *presence_out,
                                              struct error *error)
{
    const struct segment_schemas_change **list = calloc(schemas->count + 1, sizeof(void *));
    size_t count = 0;
    if (!list)
        return error_set(error, ERROR_MEMORY, "no memory for the schemas of topics");
    for (size_t i = 0; i < schemas->count; i++)
        if (schemas->changes[i].since)
            list[count++] = &schemas->changes[i];
    qsort(list, count, sizeof(void *), compare);
    *presence_out = (struct segment_schemas_presence){list, keep_present(list, count)};
    return OK;
}

const struct segment_schemas_change *
segment_schemas_presence_find(const struct segment_schemas_presence *presence, const char *topic)
{
    const struct segment_schemas_change **found =
        bsearch(topic, presence->list, presence->count, sizeof(void *), compare_topic);
    return found ? *found : NULL;
}

void segment_schemas_presence_release(struct segment_schemas_presence *presence)
{
    free(presence->list);
    *presence = (struct segment_schemas_presence){0};
}
