/* What the daemon's door to the log says of one event: stored, refused, or over. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/file_calls.h"
#include "tests/support/logs.h"
#include "tests/support/scratch.h"
#include "tools/daybookd/intake.h"

static atomic_bool broken;

static int sync_while_the_disk_works(int fd)
{
    errno = EIO;
    return atomic_load(&broken) ? -1 : fdatasync(fd);
}

static enum intake_fate take(struct intake *intake, const char *topic, struct error *error)
{
    static const uint8_t payload[] = {0x80};
    struct event event = {
        .topic = topic,
        .topic_bytes = strlen(topic),
        .time_ns = 1,
        .payload = payload,
        .payload_bytes = sizeof payload,
    };
    uint64_t sequence;
    return intake_take(intake, &event, NULL, true, &sequence, error);
}

/* Not a refusal of the event: a client that hears "refused" does not send it again. */
Test(intake, tells_a_log_that_has_failed_from_one_that_cannot_take_an_event_now)
{
    struct file_calls calls = file_calls_kernel;
    struct intake intake;
    struct error error;

    calls.sync_data = sync_while_the_disk_works;
    file_calls_use(&calls);
    struct segment_log *log = logs_open(scratch_path("log"), 0);
    cr_assert_eq(intake_init(&intake, log, NULL, &error), OK, "%s", error.text);
    cr_assert_eq(take(&intake, "t", &error), INTAKE_STORED);
    cr_assert_eq(take(&intake, "no topic", &error), INTAKE_REFUSED);
    atomic_store(&broken, true);
    cr_assert_eq(segment_log_wait(log, 1, &error), ERROR_IO);

    cr_assert_eq(take(&intake, "t", &error), INTAKE_FAILED);
    cr_assert(strstr(error.text, "cannot sync"), "%s", error.text);
    cr_assert_eq(take(&intake, "no topic", &error), INTAKE_REFUSED, "that it will always be");
    intake_release(&intake);
    cr_assert_eq(segment_log_close(log, &error), ERROR_IO);
    file_calls_use(NULL);
}
