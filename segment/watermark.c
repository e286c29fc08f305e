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

static const char watermark_name[] = "watermark";
static const char magic[8] = {'D', 'B', 'K', 'W', 'M', 'A', 'R', 'K'};

struct segment_watermark {
    uint8_t *page; /* mapped; writable only for the writer */
    dev_t device;
    ino_t inode;
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE]; /* of now */
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
 * Release keeps these stores behind the one that took LIVE away, acquire keeps these loads before
 * the one that looks at LIVE again.
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

static void load_constant(const struct segment_watermark *watermark,
                          uint8_t constant_out[CONSTANT_BYTES])
{
    for (size_t at = 0; at < CONSTANT_BYTES; at += 8) {
        uint64_t word = __atomic_load_n(word64(watermark, at), __ATOMIC_ACQUIRE);
        memcpy(constant_out + at, &word, sizeof word);
    }
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

static enum error_code map_page(int fd, bool writable, struct segment_watermark **watermark_out,
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
    watermark->device = status.st_dev;
    watermark->inode = status.st_ino;
    clock_boot_id(watermark->boot_id);
    *watermark_out = watermark;
    return OK;
}

/*
 * A page that is already there is kept as a file, because readers sleep on it, and so is its
 * sequence when the log is the same: what was durable once, is. A foreign or cut one is replaced.
 */
static enum error_code open_or_replace(int log_fd, const uint8_t constant[CONSTANT_BYTES],
                                       int *fd_out, struct segment_watermark **watermark_out,
                                       struct error *error)
{
    int fd = -1;
    struct segment_watermark *watermark = NULL;
    enum error_code code = file_open(log_fd, watermark_name, FILE_WRITE, &fd, error);
    if (!code)
        code = map_page(fd, true, &watermark, error);
    if (code == ERROR_NOT_FOUND || code == ERROR_DAMAGED) {
        uint8_t page[PAGE_BYTES] = {0};
        memcpy(page, constant, CONSTANT_BYTES);
        file_close(&fd);
        code = file_replace(log_fd, watermark_name, page, sizeof page, error);
        if (!code)
            code = file_open(log_fd, watermark_name, FILE_WRITE, &fd, error);
        if (!code)
            code = map_page(fd, true, &watermark, error);
    }
    if (code) {
        file_close(&fd);
        return code;
    }
    *fd_out = fd;
    *watermark_out = watermark;
    return OK;
}

static void reset_page(struct segment_watermark *watermark, const uint8_t constant[CONSTANT_BYTES])
{
    uint8_t old[CONSTANT_BYTES];
    load_constant(watermark, old);
    bool keep = constant_is_valid(old) &&
                memcmp(old + AT_LOG_ID, constant + AT_LOG_ID, FORMAT_LOG_ID_BYTES) == 0;
    __atomic_store_n(word32(watermark, AT_LIVE), 0, __ATOMIC_SEQ_CST);
    if (!keep) {
        __atomic_store_n(word64(watermark, AT_SEQUENCE), 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(word64(watermark, AT_WRITTEN), 0, __ATOMIC_SEQ_CST);
    }
    store_constant(watermark, constant);
}

enum error_code segment_watermark_create(int log_fd, const uint8_t log_id[FORMAT_LOG_ID_BYTES],
                                         uint32_t epoch, struct segment_watermark **watermark_out,
                                         struct error *error)
{
    uint8_t constant[CONSTANT_BYTES];
    encode_constant(log_id, epoch, constant);
    int fd = -1;
    struct segment_watermark *watermark = NULL;
    enum error_code code = open_or_replace(log_fd, constant, &fd, &watermark, error);
    if (code)
        return code;
    reset_page(watermark, constant);
    /* After the next boot the page must not claim to be of that boot: put this one on the disk. */
    code = file_sync_data(fd, watermark_name, error);
    file_close(&fd);
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

void segment_watermark_publish(struct segment_watermark *watermark, uint64_t sequence_durable)
{
    __atomic_store_n(word64(watermark, AT_SEQUENCE), htole64(sequence_durable), __ATOMIC_RELEASE);
    __atomic_store_n(word32(watermark, AT_LIVE), htole32(1), __ATOMIC_RELEASE);
    __atomic_fetch_add(word32(watermark, AT_COUNTER), 1, __ATOMIC_SEQ_CST);
    futex(word32(watermark, AT_COUNTER), FUTEX_WAKE, INT_MAX, NULL);
}

void segment_watermark_set_written(struct segment_watermark *watermark, uint64_t sequence)
{
    __atomic_store_n(word64(watermark, AT_WRITTEN), htole64(sequence), __ATOMIC_RELEASE);
}

enum error_code segment_watermark_open(int log_fd, struct segment_watermark **watermark_out,
                                       struct error *error)
{
    int fd = -1;
    enum error_code code = file_open(log_fd, watermark_name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = map_page(fd, false, watermark_out, error);
    file_close(&fd);
    return code;
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

bool segment_watermark_read(const struct segment_watermark *watermark,
                            struct segment_watermark_state *state_out)
{
    uint32_t live = __atomic_load_n(word32(watermark, AT_LIVE), __ATOMIC_SEQ_CST);
    uint64_t sequence = segment_watermark_sequence(watermark);
    uint8_t constant[CONSTANT_BYTES];
    load_constant(watermark, constant);
    /* Made anew between the two looks: then the parts may not belong together. */
    bool still_live = __atomic_load_n(word32(watermark, AT_LIVE), __ATOMIC_SEQ_CST) == live;
    if (!constant_is_valid(constant))
        return false;

    memcpy(state_out->log_id, constant + AT_LOG_ID, FORMAT_LOG_ID_BYTES);
    state_out->epoch = bytes_load32(constant + AT_EPOCH);
    state_out->writer_pid = bytes_load32(constant + AT_WRITER_PID);
    state_out->same_boot = is_same_boot(constant + AT_BOOT_ID, watermark->boot_id);
    state_out->live = live != 0 && still_live && state_out->same_boot;
    state_out->sequence_durable = sequence;
    state_out->sequence_written =
        le64toh(__atomic_load_n(word64(watermark, AT_WRITTEN), __ATOMIC_ACQUIRE));
    if (state_out->sequence_written < sequence)
        state_out->sequence_written = sequence;
    return true;
}

uint64_t segment_watermark_sequence(const struct segment_watermark *watermark)
{
    return le64toh(__atomic_load_n(word64(watermark, AT_SEQUENCE), __ATOMIC_ACQUIRE));
}

bool segment_watermark_wait(const struct segment_watermark *watermark, uint64_t sequence_seen,
                            int timeout_ms)
{
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        /* The counter first: a publication after this load makes FUTEX_WAIT return at once. */
        uint32_t counter = __atomic_load_n(word32(watermark, AT_COUNTER), __ATOMIC_SEQ_CST);
        if (segment_watermark_sequence(watermark) > sequence_seen)
            return true;
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        if (left_ns <= 0)
            return true;
        struct timespec timeout = {.tv_sec = (time_t)(left_ns / 1000000000),
                                   .tv_nsec = (long)(left_ns % 1000000000)};
        if (futex(word32(watermark, AT_COUNTER), FUTEX_WAIT, counter, &timeout) && errno == EINTR)
            return false;
    }
}

void segment_watermark_close(struct segment_watermark *watermark)
{
    if (!watermark)
        return;
    file_unmap_shared(watermark->page, PAGE_BYTES);
    free(watermark);
}
