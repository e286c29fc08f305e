/*
 * tools/daybookd/places.h - numbers for connections, by which epoll knows them.
 *
 * An event may have been fetched by one network thread when the other one frees the connection. So
 * an event holds a number, and a number is never used for a second connection.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_PLACES_H
#define DAYBOOK_TOOLS_DAYBOOKD_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct connection;

struct place {
    struct connection *connection; /* NULL: free */
    uint32_t times;                /* it has been used */
    uint32_t next_free;
};

/* Zero-initialised is empty. */
struct places {
    struct place *at;
    uint32_t count;
    uint32_t first_free; /* index + 1; 0: none */
};

/* PLACES_FIRST or above: below are numbers for other things. */
enum { PLACES_FIRST = 16 };
enum error_code places_add(struct places *places, struct connection *connection,
                           uint64_t *number_out, struct error *error);
void places_remove(struct places *places, uint64_t number);
/* NULL: it is gone. */
struct connection *places_find(const struct places *places, uint64_t number);
void places_release(struct places *places);

#endif
