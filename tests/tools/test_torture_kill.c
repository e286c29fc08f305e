/* The campaign of kills tells a broken promise from a machine that would not let it work. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tools/torture/faults.h"
#include "tools/torture/kill.h"

enum { LIVES = 200 };

/* Kill writers on a disk that fails; a writer may be killed before it meets the fault. */
static enum error_code kill_until_it_ends(enum faults_kind kind, enum faults_call call,
                                          uint64_t number, struct error *error)
{
    struct faults_plan plan = {.kind = kind, .call = call, .number = number, .for_ever = true};
    struct torture_kill *kill = NULL;
    enum error_code code = OK;

    cr_assert_eq(torture_kill_create(scratch_directory(), 5, &kill, NULL), OK);
    file_calls_use(faults_start(&file_calls_kernel, &plan));
    for (int life = 0; !code && life < LIVES; life++)
        code = torture_kill_once(kill, error);
    file_calls_use(&file_calls_kernel);
    faults_stop();
    torture_kill_free(kill);
    return code;
}

Test(torture_kill, calls_a_disk_that_is_full_when_the_log_is_opened_full)
{
    struct error error;
    cr_assert_eq(kill_until_it_ends(FAULTS_ENOSPC, FAULTS_ALLOCATE, 1, &error), ERROR_NO_SPACE);
    cr_assert_not_null(strstr(error.text, "the disk is full: name another directory"), "%s",
                       error.text);
}

Test(torture_kill, calls_a_lack_of_memory_no_broken_promise)
{
    struct error error;
    cr_assert_eq(kill_until_it_ends(FAULTS_ENOMEM, FAULTS_MAP, 1, &error), ERROR_MEMORY, "%s",
                 error.text);
}
