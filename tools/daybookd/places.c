#include "tools/daybookd/places.h"

#include <assert.h>
#include <stdlib.h>

/* A number: how often its place was used before it, and where that is. */
static uint32_t index_of(uint64_t number)
{
    return (uint32_t)number - PLACES_FIRST;
}

static enum error_code grow(struct places *places, struct error *error)
{
    uint32_t count = places->count ? 2 * places->count : 64;
    struct place *at = realloc(places->at, count * sizeof *at);
    if (!at)
        return error_set(error, ERROR_MEMORY, "no memory for %u connections", (unsigned)count);
    for (uint32_t i = count; i > places->count; i--) {
        at[i - 1] = (struct place){.next_free = places->first_free};
        places->first_free = i;
    }
    places->at = at;
    places->count = count;
    return OK;
}

enum error_code places_add(struct places *places, struct connection *connection,
                           uint64_t *number_out, struct error *error)
{
    enum error_code code = places->first_free ? OK : grow(places, error);
    if (code)
        return code;
    uint32_t index = places->first_free - 1;
    struct place *place = &places->at[index];
    places->first_free = place->next_free;
    place->connection = connection;
    *number_out = (uint64_t)place->times << 32 | (index + PLACES_FIRST);
    return OK;
}

struct connection *places_find(const struct places *places, uint64_t number)
{
    uint32_t index = index_of(number);
    if (index >= places->count || places->at[index].times != number >> 32)
        return NULL;
    return places->at[index].connection;
}

void places_remove(struct places *places, uint64_t number)
{
    assert(places_find(places, number));
    struct place *place = &places->at[index_of(number)];
    place->connection = NULL;
    place->times++;
    place->next_free = places->first_free;
    places->first_free = index_of(number) + 1;
}

void places_release(struct places *places)
{
    free(places->at);
    *places = (struct places){0};
}
