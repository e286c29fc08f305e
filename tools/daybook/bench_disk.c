#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "tools/daybook/bench.h"
#include "tools/daybook/bench_samples.h"

enum {
    COMMIT_BYTES = 4096,
    FILE_BYTES = 64 << 20, /* a segment's usual size */
    SECTOR_BYTES = 512,    /* the unit of /sys/dev/block/…/stat, whatever the device's is */
};

enum preparation { GROWING, ALLOCATED, ZERO_FILLED };
enum write_path { BY_PWRITE, BY_MMAP };

static const char file_name[] = "disk";

/* Every combination; a growing file under a map is one with a hole up to its end. */
static const struct combination {
    enum write_path path;
    enum preparation preparation;
    const char *subject;
    const char *p50_name, *p99_name, *bytes_name;
} combinations[] = {
    {BY_PWRITE, GROWING, "pwrite, growing file", "pwrite_growing_p50", "pwrite_growing_p99",
     "pwrite_growing_bytes"},
    {BY_PWRITE, ALLOCATED, "pwrite, allocated with fallocate", "pwrite_fallocate_p50",
     "pwrite_fallocate_p99", "pwrite_fallocate_bytes"},
    {BY_PWRITE, ZERO_FILLED, "pwrite, zero-filled (the default)", "pwrite_zeroed_p50",
     "pwrite_zeroed_p99", "pwrite_zeroed_bytes"},
    {BY_MMAP, GROWING, "mmap, a hole up to the file's end", "mmap_growing_p50", "mmap_growing_p99",
     "mmap_growing_bytes"},
    {BY_MMAP, ALLOCATED, "mmap, allocated with fallocate", "mmap_fallocate_p50",
     "mmap_fallocate_p99", "mmap_fallocate_bytes"},
    {BY_MMAP, ZERO_FILLED, "mmap, zero-filled", "mmap_zeroed_p50", "mmap_zeroed_p99",
     "mmap_zeroed_bytes"},
};

struct target {
    int fd;
    void *map; /* NULL: BY_PWRITE */
};

static enum error_code give_size(int fd, const struct combination *combination, struct error *error)
{
    if (combination->preparation == ALLOCATED && fallocate(fd, 0, 0, FILE_BYTES))
        return error_set_errno(error, errno, "fallocate %d bytes", FILE_BYTES);
    if (combination->preparation == GROWING && combination->path == BY_MMAP &&
        ftruncate(fd, FILE_BYTES))
        return error_set_errno(error, errno, "give a file its size");
    return file_sync_data(fd, file_name, error);
}

static enum error_code target_open(const struct bench *bench, const struct combination *combination,
                                   struct target *target, struct error *error)
{
    *target = (struct target){.fd = -1};
    if (combination->preparation == ZERO_FILLED) {
        enum error_code code =
            file_create_zeroed(bench->directory_fd, file_name, FILE_BYTES, &target->fd, error);
        if (code)
            return code;
    } else {
        enum error_code code =
            file_open(bench->directory_fd, file_name, FILE_CREATE, &target->fd, error);
        if (!code)
            code = give_size(target->fd, combination, error);
        if (code)
            return code;
    }
    if (combination->path == BY_PWRITE)
        return OK;
    void *map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, target->fd, 0);
    if (map == MAP_FAILED)
        return error_set_errno(error, errno, "map a file of %d bytes", FILE_BYTES);
    target->map = map;
    return OK;
}

static void target_close(struct target *target)
{
    if (target->map)
        munmap(target->map, FILE_BYTES);
    file_close(&target->fd);
}

static enum error_code commit(const struct target *target, const void *data, uint64_t offset,
                              struct error *error)
{
    if (target->map) {
        memcpy((char *)target->map + offset, data, COMMIT_BYTES);
        return file_sync_data(target->fd, file_name, error);
    }
    enum error_code code = file_write(target->fd, file_name, data, COMMIT_BYTES, offset, error);
    return code ? code : file_sync_data(target->fd, file_name, error);
}

/* Until the slice is over or the file full. */
static enum error_code commit_until_end(const struct bench *bench, const struct target *target,
                                        struct bench_samples *samples, struct error *error)
{
    uint8_t data[COMMIT_BYTES];
    memset(data, 'd', sizeof data);
    int64_t now_ns = clock_monotonic_ns();
    int64_t end_ns = now_ns + bench->slice_ns;
    for (uint64_t offset = 0; offset < FILE_BYTES && now_ns < end_ns; offset += COMMIT_BYTES) {
        enum error_code code = bench_check_interrupted(error);
        if (!code)
            code = commit(target, data, offset, error);
        int64_t done_ns = clock_monotonic_ns();
        if (!code)
            code = bench_samples_add(samples, done_ns - now_ns, error);
        if (code)
            return code;
        now_ns = done_ns;
    }
    return OK;
}

/* Bytes that the device under the scratch directory was given so far; -1: it has no counters. */
static double device_bytes(const struct bench *bench)
{
    struct stat info;
    char path[64];
    double sectors = -1;
    if (fstat(bench->directory_fd, &info))
        return -1;
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/stat", major(info.st_dev),
             minor(info.st_dev));
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%*s %*s %*s %*s %*s %*s %lf", &sectors) != 1)
        sectors = -1;
    fclose(file);
    return sectors < 0 ? -1 : sectors * (double)SECTOR_BYTES;
}

static enum error_code report(const struct bench *bench, const struct combination *combination,
                              struct bench_samples *samples, double written, struct error *error)
{
    struct bench_figure figure = {.suite = "disk: commits of 4 KiB (write, fdatasync)",
                                  .name = combination->p50_name,
                                  .subject = combination->subject,
                                  .measure = "p50"};
    enum error_code code = bench_report_add(
        bench->report, &figure, (double)bench_samples_percentile(samples, 0.5) / 1e3, error);
    figure.name = combination->p99_name;
    figure.measure = "p99";
    if (!code)
        code = bench_report_add(bench->report, &figure,
                                (double)bench_samples_percentile(samples, 0.99) / 1e3, error);
    if (code || written < 0 || samples->count == 0)
        return code;
    figure.name = combination->bytes_name;
    figure.measure = "to disk";
    figure.unit = BENCH_BYTES;
    return bench_report_add(bench->report, &figure, written / (double)samples->count, error);
}

static enum error_code measure(const struct bench *bench, const struct combination *combination,
                               struct error *error)
{
    struct target target;
    struct bench_samples samples = {0};
    enum error_code code = target_open(bench, combination, &target, error);
    double before = device_bytes(bench);
    if (!code)
        code = commit_until_end(bench, &target, &samples, error);
    double after = device_bytes(bench);
    if (!code)
        code = report(bench, combination, &samples, before < 0 || after < 0 ? -1 : after - before,
                      error);
    bench_samples_release(&samples);
    target_close(&target);
    return code ? code : file_unlink(bench->directory_fd, file_name, error);
}

enum error_code bench_disk_run(const struct bench *bench, struct error *error)
{
    enum error_code code = OK;
    for (unsigned round = 0; round < bench->rounds; round++)
        for (size_t i = 0; i < sizeof combinations / sizeof *combinations && !code; i++)
            code = measure(bench, &combinations[i], error);
    if (!code)
        code = bench_report_note(bench->report,
                                 "To disk: what the block device was given for each commit (other "
                                 "programs' writes included).",
                                 error);
    return code;
}
