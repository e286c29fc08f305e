#include "tools/daybook/bench_samples.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 4096 };

enum error_code bench_samples_add(struct bench_samples *samples, int64_t ns, struct error *error)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity ? samples->capacity * 2 : CAPACITY_FIRST;
        int64_t *grown = realloc(samples->ns, capacity * sizeof *grown);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "no memory for %zu measurements", capacity);
        samples->ns = grown;
        samples->capacity = capacity;
    }
    samples->ns[samples->count++] = ns;
    return OK;
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

int64_t bench_samples_percentile(struct bench_samples *samples, double fraction)
{
    if (samples->count == 0)
        return 0;
    qsort(samples->ns, samples->count, sizeof *samples->ns, compare);
    size_t rank = (size_t)(fraction * (double)samples->count);
    return samples->ns[rank < samples->count ? rank : samples->count - 1];
}

void bench_samples_release(struct bench_samples *samples)
{
    free(samples->ns);
    *samples = (struct bench_samples){0};
}
