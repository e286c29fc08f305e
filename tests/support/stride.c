/* tests/support/stride.c - how far apart the places are at which an exhaustive test looks. */
#include "tests/support/stride.h"

#include <stdlib.h>

unsigned stride(unsigned usual)
{
    const char *percent = getenv("DAYBOOK_TEST_STRIDE");
    unsigned long taken = usual * (percent ? strtoul(percent, NULL, 10) : 100) / 100;
    return taken > 0 ? (unsigned)taken : 1;
}
