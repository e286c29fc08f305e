#include "tools/daybook/remap.h"

#include <string.h>

enum error_code remap_add(struct remap *remap, const char *text, struct error *error)
{
    const char *middle = strstr(text, ":="); /* no topic has a '=' in it, so the first divides */
    if (!middle)
        return error_set(error, ERROR_INVALID, "'%s' is not of the form A:=B", text);
    if (remap->count == REMAP_MAX)
        return error_set(error, ERROR_INVALID, "no more than %d topics can be renamed", REMAP_MAX);
    const char *to = middle + 2;
    size_t from_bytes = (size_t)(middle - text);
    enum error_code code = event_check_topic(text, from_bytes, error);
    if (!code)
        code = event_check_topic(to, strlen(to), error);
    if (code)
        return error_prefix(error, "'%s'", text);
    remap->pairs[remap->count].from = text;
    remap->pairs[remap->count].from_bytes = from_bytes;
    remap->pairs[remap->count].to = to;
    remap->pairs[remap->count].used = false;
    remap->count++;
    return OK;
}

void remap_apply(struct remap *remap, struct event *event)
{
    for (size_t i = 0; i < remap->count; i++) {
        if (remap->pairs[i].from_bytes == event->topic_bytes &&
            memcmp(remap->pairs[i].from, event->topic, event->topic_bytes) == 0) {
            event->topic = remap->pairs[i].to;
            event->topic_bytes = strlen(event->topic);
            remap->pairs[i].used = true;
            return;
        }
    }
}
