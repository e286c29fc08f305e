/* What one writer of a log leaves for the next. */
#include <criterion/criterion.h>

#include "tests/support/logs.h"
#include "tests/support/scratch.h"

Test(writers, each_has_a_higher_epoch_than_the_one_before)
{
    const char *path = scratch_path("epochs");
    uint32_t before = 0;

    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        struct segment_log *log = logs_open(path, 0);
        logs_append_to(log, sequence, 20);
        logs_close(log);
        uint32_t epoch = logs_find(path, sequence).header.epoch;
        cr_assert_gt(epoch, before);
        before = epoch;
    }
}
