/*
 * fuzz_notes.c - the small files beside the segments hold any bytes at all: lower-bound, the
 * watermark page, retention-clock.
 *
 * What is accepted makes sense and, written again, is accepted again; what is not is refused with a
 * reason, and can be replaced. The input is an image (image.h) without segments.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/event.h"
#include "indexer/clock_guard.h"
#include "segment/bound.h"
#include "segment/watermark.h"
#include "tests/fuzz/fixed_clock.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return image_mutate(data, size, size_max, seed);
}

static void try_bound(int log_fd)
{
    struct error error = {0};
    uint64_t bound = 0, again = 0;
    enum error_code code = segment_bound_load(log_fd, &bound, &error);
    if (code) {
        assert(code == ERROR_DAMAGED && error.text[0]);
        return;
    }
    assert(bound >= 1 && bound <= EVENT_SEQUENCE_END);
    if (bound == EVENT_SEQUENCE_END)
        return;
    code = segment_bound_store(log_fd, bound + 1, &error);
    assert(code == OK);
    code = segment_bound_load(log_fd, &again, &error);
    assert(code == OK && again == bound + 1);
    code = segment_bound_store(log_fd, bound, &error);
    assert(code == ERROR_INVALID);
}

static void try_page(int log_fd)
{
    static const uint8_t log_id[FORMAT_LOG_ID_BYTES] = "0123456789abcde";
    struct segment_watermark *page = NULL;
    struct segment_watermark_state state;
    struct error error = {0};
    if (!segment_watermark_open(log_fd, &page, &error)) {
        if (segment_watermark_read(page, &state)) {
            assert(state.sequence_durable < EVENT_SEQUENCE_END);
            assert(state.sequence_written >= state.sequence_durable);
            assert(state.sequence_written < EVENT_SEQUENCE_END);
        }
        assert(segment_watermark_sequence(page) < EVENT_SEQUENCE_END);
        assert(segment_watermark_is_current(page, log_fd));
        segment_watermark_close(page);
    }
    enum error_code code = segment_watermark_create(log_fd, log_id, 7, &page, &error);
    assert(code == OK);
    bool valid = segment_watermark_read(page, &state);
    assert(valid && !state.live && state.epoch == 7);
    segment_watermark_publish(page, 9);
    valid = segment_watermark_read(page, &state);
    assert(valid && state.live && state.sequence_durable == 9);
    segment_watermark_close(page);
}

static void try_clock(int log_fd, uint8_t options)
{
    static const int64_t newest[] = {INT64_MIN, INT64_MAX, INT64_MIN + 1, 0,
                                     INT64_C(1800000000000000000)};
    static const int64_t times[] = {INT64_C(1800000000000000000), INT64_MIN, INT64_MAX, 0};
    struct indexer_clock_reading now = {.realtime_ns = times[options >> 3 & 3],
                                        .boottime_ns = times[options >> 5 & 3]};
    struct error error = {0};
    fixed_clock_boot_id(now.boot_id);
    enum error_code code =
        indexer_clock_guard_check(log_fd, &now, newest[(options & 7) % 5], false, &error);
    if (code) {
        assert(code == ERROR_INVALID && error.text[0]);
        return;
    }
    /* It is the note now, and agrees with itself. */
    code = indexer_clock_guard_check(log_fd, &now, INT64_MIN, true, &error);
    assert(code == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int log_fd = -1;
    struct image image;
    fixed_clock_use();
    image_read(&image, data, size);
    for (size_t i = 0; i < image.count; i++)
        if (image.files[i].kind == IMAGE_SEGMENT)
            image.files[i].kind = IMAGE_CLOCK;
    image_unpack(&image);
    if (log_fd < 0)
        log_fd = open(image_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    try_bound(log_fd);
    try_page(log_fd);
    try_clock(log_fd, image.options);
    image_release(&image);
    return 0;
}
