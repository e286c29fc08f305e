#include "tools/daybook/nearness.h"

#include <string.h>

size_t nearness_distance(const char *left, const char *right)
{
    size_t row[NEARNESS_BYTES_MAX + 1];
    size_t right_bytes = strlen(right);
    if (right_bytes > NEARNESS_BYTES_MAX)
        return NEARNESS_FAR;
    for (size_t j = 0; j <= right_bytes; j++)
        row[j] = j;
    for (size_t i = 0; left[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < right_bytes; j++) {
            size_t change = diagonal + (left[i] != right[j]);
            diagonal = row[j + 1];
            size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[right_bytes];
}
