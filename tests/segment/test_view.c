/* A mapped segment and a window on one: what they give at their edges. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/file.h"
#include "segment/view.h"
#include "segment/window.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"

static struct error error;

static void open_segments(int *log_fd_out, int *segments_fd_out)
{
    logs_make(scratch_path("log"), FORMAT_SEGMENT_BYTES_MIN, 3, 0);
    cr_assert_eq(file_open_directory(scratch_path("log"), false, log_fd_out, &error), OK);
    cr_assert_eq(file_open_directory_at(*log_fd_out, "segments", false, segments_fd_out, &error),
                 OK);
}

Test(view, searches_behind_the_segments_header_only)
{
    struct segment_set set;
    struct segment_view view = {0};
    struct segment_format_block_header header;
    int log_fd = -1, segments_fd = -1;
    open_segments(&log_fd, &segments_fd);
    cr_assert_eq(segment_set_load(log_fd, segments_fd, &set, &error), OK);
    cr_assert_eq(segment_view_open(&view, segments_fd, &set.segments[0],
                                   set.segments[0].header.log_id, &error),
                 OK);
    cr_assert_eq(segment_view_find(&view, 0, &header, &error), OK, "%s", error.text);
    cr_assert_eq(header.offset, FORMAT_SEGMENT_HEADER_BYTES);
    segment_view_release(&view);
    segment_set_free(&set);
    file_close(&segments_fd);
    file_close(&log_fd);
}

Test(view, a_window_goes_back_and_gives_nothing_behind_the_end)
{
    enum { SIZE = 4 << 20 };
    struct segment_window *window = NULL;
    const uint8_t *bytes = NULL;
    int log_fd = -1, fd = -1;
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK);
    cr_assert_eq(file_create_zeroed(log_fd, "a.seg", SIZE, &fd, &error), OK, "%s", error.text);
    scratch_write(scratch_path("a.seg"), 5000, "front", 5);
    cr_assert_eq(segment_window_create(fd, "a.seg", SIZE, &window, &error), OK);
    cr_assert_eq(segment_window_get(window, SIZE - 100, 100, &bytes, &error), OK);
    cr_assert_eq(segment_window_get(window, 5000, 5, &bytes, &error), OK, "%s", error.text);
    cr_assert_eq(memcmp(bytes, "front", 5), 0);
    cr_assert_eq(segment_window_get(window, SIZE - 100, 101, &bytes, &error), ERROR_DAMAGED);
    cr_assert_not_null(strstr(error.text, "lie beyond its end"), "%s", error.text);
    cr_assert_eq(segment_window_get(window, SIZE + 1, 0, &bytes, &error), ERROR_DAMAGED);
    segment_window_free(window);
    file_close(&fd);
    file_close(&log_fd);
}
