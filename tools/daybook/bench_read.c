/* Suite `read`: every event of a log, from its first to its last, before and after packing. */
#include <inttypes.h>

#include "core/clock.h"
#include "segment/packer.h"
#include "segment/reader.h"
#include "tools/daybook/bench_history.h"

enum { BETWEEN_CLOCKS = 65536 };

static const char suite[] = "read";

/* Every checksum is compared and every event decoded; *bytes_out keeps the compiler from knowing
 * better. */
static enum error_code read_all(struct segment_reader *reader, uint64_t *events_out,
                                uint64_t *bytes_out, struct error *error)
{
    struct event event;
    enum error_code code = OK;
    while (!code && (code = segment_reader_next(reader, &event, error)) == OK) {
        *bytes_out += event.payload_bytes + *(const uint8_t *)event.payload;
        if (++*events_out % BETWEEN_CLOCKS == 0)
            code = bench_check_interrupted(error);
    }
    return code == ERROR_END ? OK : code;
}

static enum error_code scan(const struct bench *bench, const struct bench_figure *figure,
                            struct error *error)
{
    struct segment_reader *reader = NULL;
    char path[PATH_MAX];
    uint64_t events = 0, bytes = 0;
    bench_history_path(bench, path);
    int64_t start_ns = clock_monotonic_ns();
    enum error_code code = segment_reader_open(path, &reader, error);
    if (!code)
        segment_reader_read_ahead(reader);
    if (!code)
        code = read_all(reader, &events, &bytes, error);
    segment_reader_close(reader);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (!code && (events != bench->events || bytes == 0))
        code = error_set(error, ERROR_DAMAGED, "reading gave %" PRIu64 " of %" PRIu64 " events",
                         events, bench->events);
    return code ? code
                : bench_report_add(bench->report, figure, (double)events / seconds, error);
}

struct packing {
    uint64_t events, bytes;
    struct error left;
};

static bool is_interrupted(void *context)
{
    (void)context;
    return bench_check_interrupted(NULL) != OK;
}

static void note_packed(void *context, const struct segment_set_segment *segment,
                        const struct segment_pack_result *result)
{
    struct packing *packing = context;
    (void)segment;
    packing->events += result->events;
    packing->bytes += result->bytes_after;
}

static void note_left(void *context, const struct segment_set_segment *segment,
                      const struct error *why)
{
    struct packing *packing = context;
    (void)segment;
    packing->left = *why;
}

static enum error_code pack(const struct bench *bench, struct error *error)
{
    static const struct bench_figure rate = {.suite = suite,
                                             .name = "pack_rate",
                                             .subject = "packing",
                                             .measure = "rate",
                                             .unit = BENCH_EVENTS_PER_SECOND};
    static const struct bench_figure size = {.suite = suite,
                                             .name = "packed_bytes",
                                             .subject = "a packed segment: bytes an event",
                                             .measure = "size",
                                             .unit = BENCH_BYTES,
                                             .goal = BENCH_AT_MOST,
                                             .target = 60};
    struct packing packing = {0};
    struct segment_packer_watcher watcher = {
        .stopped = is_interrupted, .packed = note_packed, .left = note_left, .context = &packing};
    struct segment_packer_totals totals;
    char path[PATH_MAX];
    bench_history_path(bench, path);
    int64_t start_ns = clock_monotonic_ns();
    enum error_code code = segment_packer_run(path, &watcher, &totals, error);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    if (!code)
        code = bench_check_interrupted(error);
    if (!code && packing.left.code)
        code = error_set(error, packing.left.code, "%s", packing.left.text);
    if (code || packing.events == 0) /* a log of one segment has nothing to pack */
        return code;
    code = bench_report_add(bench->report, &rate, (double)packing.events / seconds, error);
    return code ? code
                : bench_report_add(bench->report, &size,
                                   (double)packing.bytes / (double)packing.events, error);
}

enum error_code bench_read_run(const struct bench *bench, struct error *error)
{
    static const struct bench_figure before = {.suite = suite,
                                               .name = "scan_rate",
                                               .subject = "every event, as it was written",
                                               .measure = "rate",
                                               .unit = BENCH_EVENTS_PER_SECOND};
    static const struct bench_figure after = {.suite = suite,
                                              .name = "packed_scan_rate",
                                              .subject = "every event, packed",
                                              .measure = "rate",
                                              .unit = BENCH_EVENTS_PER_SECOND,
                                              .goal = BENCH_AT_LEAST,
                                              .target = 1e7};
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds && !code; round++)
        code = scan(bench, &before, error);
    if (!code)
        code = pack(bench, error);
    for (unsigned round = 0; round < bench->rounds && !code; round++)
        code = scan(bench, &after, error);
    return code;
}
