#include "segment/watermark.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/file.h"

/*
 * The page. Everything before LIVE changes only while the page is not live, and has a checksum, so
 * that a reader that has it mapped notices a page that is being made anew. LIVE and what follows
 * change at any time, each by one atomic store.
 */
enum {
    PAGE_BYTES = 4096,
    PAGE_VERSION = 1,
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_CHECKSUM = 12, /* of the constant part, with these four bytes as zero */
    AT_LOG_ID = 16,
    AT_BOOT_ID = 32,
    AT_EPOCH = 48,
    AT_WRITER_PID = 52,
    CONSTANT_BYTES = 56,
    AT_LIVE = 56,
    AT_COUNTER = 60, /* the futex: +1 at each publication */
    AT_SEQUENCE = 64,
    AT_WRITTEN = 72, /* a second word for the writer's successor alone */
};

static_assert(CONSTANT_BYTES % 8 == 0 && AT_SEQUENCE % 8 == 0, "whole, aligned words");

/* How often to try to replace a page that was lost. */
#define REPLACE_NS (INT64_C(1) * 1000000000)

static const char watermark_name[] = "watermark";
static const char magic[8] = {'D', 'B', 'K', 'W', 'M', 'A', 'R', 'K'};

/*
 * The writer stores through the map. Readers map it only to sleep on it, and load by pread: a page
 * that was cut short, or that the disk does not give, would be a SIGBUS in a stranger's process.
 */
struct segment_watermark {
    int fd;
    uint8_t *page;
    dev_t device;
    ino_t inode;
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE]; /* of now */

    int log_fd; /* the writer's, borrowed; -1 for readers */
    uint8_t constant[CONSTANT_BYTES];
    uint64_t written;
    bool lost; /* a store has failed */
    int64_t replace_ns;
};

/* Words that other processes read while we write them: one aligned access each. */
static uint32_t *word32(const struct segment_watermark *watermark, size_t at)
{
    return (uint32_t *)(void *)(watermark->page + at);
}

static uint64_t *word64(const struct segment_watermark *watermark, size_t at)
{
    return (uint64_t *)(void *)(watermark->page + at);
}

/*
 * The constant part, word by word: a reader may look while a new writer makes the page anew.
 * Release keeps these stores behind the one that took LIVE away, and the one that gives it back
 * behind these.
 */
static void store_constant(struct segment_watermark *watermark,
                           const uint8_t constant[CONSTANT_BYTES])
{
    for (size_t at = 0; at < CONSTANT_BYTES; at += 8) {
        uint64_t word;
        memcpy(&word, constant + at, sizeof word);
        __atomic_store_n(word64(watermark, at), word, __ATOMIC_RELEASE);
    }
}

/* What pread copies while somebody stores may be a mixture; what comes out twice is none. */
static bool load_twice(const struct segment_watermark *watermark, size_t at, void *out, size_t size)
{
    enum { TRIES_MAX = 64 };
    uint8_t again[CONSTANT_BYTES + 8];

    assert(size <= sizeof again);
    for (int tries = 0; tries < TRIES_MAX; tries++)
        if (file_read(watermark->fd, watermark_name, out, size, at, NULL) ||
            file_read(watermark->fd, watermark_name, again, size, at, NULL))
            return false;
        else if (memcmp(out, again, size) == 0)
            return true;
    return false;
}

static uint32_t constant_checksum(const uint8_t constant[CONSTANT_BYTES])
{
    uint8_t bytes[CONSTANT_BYTES];
    memcpy(bytes, constant, sizeof bytes);
    bytes_store32(bytes + AT_CHECKSUM, 0);
    return checksum_extend(0, bytes, sizeof bytes);
}

static bool constant_is_valid(const uint8_t constant[CONSTANT_BYTES])
{
    return memcmp(constant + AT_MAGIC, magic, sizeof magic) == 0 &&
           bytes_load32(constant + AT_VERSION) == PAGE_VERSION &&
           bytes_load32(constant + AT_CHECKSUM) == constant_checksum(constant);
}

static void encode_constant(const uint8_t log_id[FORMAT_LOG_ID_BYTES], uint32_t epoch,
                            uint8_t bytes_out[CONSTANT_BYTES])
{
    memset(bytes_out, 0, CONSTANT_BYTES);
    memcpy(bytes_out + AT_MAGIC, magic, sizeof magic);
    bytes_store32(bytes_out + AT_VERSION, PAGE_VERSION);
    memcpy(bytes_out + AT_LOG_ID, log_id, FORMAT_LOG_ID_BYTES);
    clock_boot_id(bytes_out + AT_BOOT_ID);
    bytes_store32(bytes_out + AT_EPOCH, epoch);
    bytes_store32(bytes_out + AT_WRITER_PID, (uint32_t)getpid());
    bytes_store32(bytes_out + AT_CHECKSUM, constant_checksum(bytes_out));
}

/* Takes `fd` over on success. */
static enum error_code make(int fd, bool writable, struct segment_watermark **watermark_out,
                            struct error *error)
{
    struct stat status;
    enum error_code code = file_status(fd, watermark_name, &status, error);
    if (code)
        return code;
    if (status.st_size != PAGE_BYTES)
        return error_set(error, ERROR_DAMAGED, "'%s' has %lld bytes instead of %d", watermark_name,
                         (long long)status.st_size, PAGE_BYTES);
    struct segment_watermark *watermark = calloc(1, sizeof *watermark);
    if (!watermark)
        return error_set(error, ERROR_MEMORY, "map '%s': no memory", watermark_name);
    code = file_map_shared(fd, watermark_name, PAGE_BYTES, writable, &watermark->page, error);
    if (code) {
        free(watermark);
        return code;
    }
    watermark->fd = fd;
    watermark->log_fd = -1;
    watermark->device = status.st_dev;
    watermark->inode = status.st_ino;
    clock_boot_id(watermark->boot_id);
    *watermark_out = watermark;
    return OK;
}

static enum error_code open_page(int log_fd, bool writable,
                                 struct segment_watermark **watermark_out, struct error *error)
{
    int fd = -1;
    enum error_code code =
        file_open(log_fd, watermark_name, writable ? FILE_WRITE : FILE_READ, &fd, error);
    if (code)
        return code;
    code = make(fd, writable, watermark_out, error);
    if (code)
        file_close(&fd);
    return code;
}

/*
 * A page that is already there is kept as a file, because readers sleep on it, and so is its
 * sequence when the log is the same: what was durable once, is. A foreign or cut one is replaced.
 */
static enum error_code open_or_replace(int log_fd, const uint8_t constant[CONSTANT_BYTES],
                                       struct segment_watermark **watermark_out,
                                       struct error *error)
{
    enum error_code code = open_page(log_fd, true, watermark_out, error);
    if (code != ERROR_NOT_FOUND && code != ERROR_DAMAGED)
        return code;
    uint8_t page[PAGE_BYTES] = {0};
    memcpy(page, constant, CONSTANT_BYTES);
    code = file_replace(log_fd, watermark_name, page, sizeof page, error);
    return code ? code : open_page(log_fd, true, watermark_out, error);
}

static void reset_page(void *context)
{
    struct segment_watermark *watermark = context;
    uint8_t old[CONSTANT_BYTES];
    bool keep = load_twice(watermark, 0, old, sizeof old) && constant_is_valid(old) &&
                memcmp(old + AT_LOG_ID, watermark->constant + AT_LOG_ID, FORMAT_LOG_ID_BYTES) == 0;
    __atomic_store_n(word32(watermark, AT_LIVE), 0, __ATOMIC_SEQ_CST);
    if (!keep) {
        __atomic_store_n(word64(watermark, AT_SEQUENCE), 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(word64(watermark, AT_WRITTEN), 0, __ATOMIC_SEQ_CST);
    }
    store_constant(watermark, watermark->constant);
}

enum error_code segment_watermark_create(int log_fd, const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                         uint32_t epoch, struct segment_watermark **watermark_out,
                                         struct error *error)
{
    uint8_t constant[CONSTANT_BYTES];
    encode_constant(log_id, epoch, constant);
    struct segment_watermark *watermark = NULL;
    enum error_code code = open_or_replace(log_fd, constant, &watermark, error);
    if (code)
        return code;
    watermark->log_fd = log_fd;
    memcpy(watermark->constant, constant, sizeof constant);
    if (!file_map_try(reset_page, watermark))
        code = error_set(error, ERROR_IO, "cannot write to the map of '%s'", watermark_name);
    /* After the next boot the page must not claim to be of that boot: put this one on the disk. */
    if (!code)
        code = file_sync_data(watermark->fd, watermark_name, error);
    if (code) {
        segment_watermark_close(watermark);
        return code;
    }
    *watermark_out = watermark;
    return OK;
}

static long futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    /* Not FUTEX_PRIVATE: the waiters are other processes with the same file mapped. */
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

/*
 * The page has gone from under our map. Readers do not look at a cut one; a new one brings them
 * back. Whether that succeeds, and when, is no matter for the log.
 */
static void replace_lost(struct segment_watermark *watermark, uint64_t sequence_durable)
{
    uint8_t page[PAGE_BYTES] = {0};
    struct segment_watermark *made = NULL;
    int64_t now = clock_monotonic_ns();

    if (now < watermark->replace_ns)
        return;
    watermark->replace_ns = now + REPLACE_NS;
    memcpy(page, watermark->constant, CONSTANT_BYTES);
    bytes_store32(page + AT_LIVE, 1);
    bytes_store64(page + AT_SEQUENCE, sequence_durable);
    bytes_store64(page + AT_WRITTEN, watermark->written);
    if (file_replace(watermark->log_fd, watermark_name, page, sizeof page, NULL) ||
        open_page(watermark->log_fd, true, &made, NULL))
        return;
    file_unmap_shared(watermark->page, PAGE_BYTES);
    file_close(&watermark->fd);
    watermark->fd = made->fd;
    watermark->page = made->page;
    watermark->device = made->device;
    watermark->inode = made->inode;
    watermark->lost = false;
    free(made);
}

struct publication {
    struct segment_watermark *watermark;
    uint64_t sequence;
};

static void store_durable(void *context)
{
    const struct publication *publication = context;
    struct segment_watermark *watermark = publication->watermark;

    __atomic_store_n(word64(watermark, AT_SEQUENCE), htole64(publication->sequence),
                     __ATOMIC_RELEASE);
    __atomic_store_n(word32(watermark, AT_LIVE), htole32(1), __ATOMIC_RELEASE);
    __atomic_fetch_add(word32(watermark, AT_COUNTER), 1, __ATOMIC_SEQ_CST);
}

static void store_written(void *context)
{
    const struct publication *publication = context;

    __atomic_store_n(word64(publication->watermark, AT_WRITTEN), htole64(publication->sequence),
                     __ATOMIC_RELEASE);
}

void segment_watermark_publish(struct segment_watermark *watermark, uint64_t sequence_durable)
{
    struct publication publication = {watermark, sequence_durable};

    if (!file_map_try(store_durable, &publication))
        watermark->lost = true;
    if (watermark->lost)
        replace_lost(watermark, sequence_durable);
    futex(word32(watermark, AT_COUNTER), FUTEX_WAKE, INT_MAX, NULL);
}

void segment_watermark_set_written(struct segment_watermark *watermark, uint64_t sequence)
{
    struct publication publication = {watermark, sequence};

    watermark->written = sequence;
    if (!file_map_try(store_written, &publication))
        watermark->lost = true;
}

enum error_code segment_watermark_open(int log_fd, struct segment_watermark **watermark_out,
                                       struct error *error)
{
    return open_page(log_fd, false, watermark_out, error);
}

bool segment_watermark_is_current(const struct segment_watermark *watermark, int log_fd)
{
    struct stat named;
    return !file_status_at(log_fd, watermark_name, &named, NULL) &&
           named.st_dev == watermark->device && named.st_ino == watermark->inode &&
           named.st_size == PAGE_BYTES;
}

/* An unknown boot counts as the same: then less is shown, never too much. */
static bool is_same_boot(const uint8_t a[CLOCK_BOOT_ID_SIZE], const uint8_t b[CLOCK_BOOT_ID_SIZE])
{
    return memcmp(a, b, CLOCK_BOOT_ID_SIZE) == 0 || bytes_are_zero(a, CLOCK_BOOT_ID_SIZE) ||
           bytes_are_zero(b, CLOCK_BOOT_ID_SIZE);
}

/* Outside of the checksum: a number that no log can have says nothing. */
static uint64_t load_sequence(const struct segment_watermark *watermark, size_t at)
{
    uint8_t bytes[8];

    if (!load_twice(watermark, at, bytes, sizeof bytes))
        return 0;
    uint64_t sequence = bytes_load64(bytes);
    return sequence < EVENT_SEQUENCE_END ? sequence : 0;
}

bool segment_watermark_read(const struct segment_watermark *watermark,
                            struct segment_watermark_state *state_out)
{
    uint8_t before[AT_COUNTER], after[AT_COUNTER]; /* the constant part and LIVE */
    if (!load_twice(watermark, 0, before, sizeof before))
        return false;
    uint64_t sequence = load_sequence(watermark, AT_SEQUENCE);
    uint64_t written = load_sequence(watermark, AT_WRITTEN);
    /* Made anew between the two looks: then the parts may not belong together. */
    bool same =
        load_twice(watermark, 0, after, sizeof after) && memcmp(before, after, sizeof after) == 0;
    if (!constant_is_valid(before))
        return false;

    memcpy(state_out->log_id, before + AT_LOG_ID, FORMAT_LOG_ID_BYTES);
    state_out->epoch = bytes_load32(before + AT_EPOCH);
    state_out->writer_pid = bytes_load32(before + AT_WRITER_PID);
    state_out->same_boot = is_same_boot(before + AT_BOOT_ID, watermark->boot_id);
    state_out->live = bytes_load32(before + AT_LIVE) != 0 && same && state_out->same_boot;
    state_out->sequence_durable = sequence;
    state_out->sequence_written = written < sequence ? sequence : written;
    state_out->plausible = written >= sequence && written - sequence <= FORMAT_UNDURABLE_EVENTS_MAX;
    return true;
}

uint64_t segment_watermark_sequence(const struct segment_watermark *watermark)
{
    return load_sequence(watermark, AT_SEQUENCE);
}

bool segment_watermark_wait(const struct segment_watermark *watermark, uint64_t sequence_seen,
                            int timeout_ms)
{
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        /* The counter first: a publication after this load makes FUTEX_WAIT return at once. */
        uint32_t counter = 0;
        bool readable = load_twice(watermark, AT_COUNTER, &counter, sizeof counter);
        if (segment_watermark_sequence(watermark) > sequence_seen)
            return true;
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        if (left_ns <= 0)
            return true;
        struct timespec timeout = {.tv_sec = (time_t)(left_ns / 1000000000),
                                   .tv_nsec = (long)(left_ns % 1000000000)};
        /* On a page that has gone nobody is woken, nor told by a signal: it is an error here. */
        long failed =
            readable ? futex(word32(watermark, AT_COUNTER), FUTEX_WAIT, counter, &timeout) : -1;
        if (!readable || (failed && errno == EFAULT))
            failed = clock_nanosleep(CLOCK_MONOTONIC, 0, &timeout, NULL) == EINTR ? -1 : 0;
        else if (failed && errno != EINTR)
            failed = 0;
        if (failed)
            return false;
    }
}

void segment_watermark_close(struct segment_watermark *watermark)
{
    if (!watermark)
        return;
    file_unmap_shared(watermark->page, PAGE_BYTES);
    file_close(&watermark->fd);
    free(watermark);
}
