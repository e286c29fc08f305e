#include "core/identity.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>

typedef void (*identity_source)(uint8_t *bytes_out, size_t size);
static _Atomic(identity_source) source_in_force;

void identity_use(void (*source)(uint8_t *bytes_out, size_t size))
{
    atomic_store(&source_in_force, source);
}

enum error_code identity_draw(uint8_t *bytes_out, size_t size, struct error *error)
{
    identity_source source = atomic_load_explicit(&source_in_force, memory_order_relaxed);

    if (source) {
        source(bytes_out, size);
        return OK;
    }
    if (getrandom(bytes_out, size, 0) != (ssize_t)size)
        return error_set_errno(error, errno, "cannot draw random numbers for an identity");
    return OK;
}
