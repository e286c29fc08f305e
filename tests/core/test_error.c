#include "core/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(error, keeps_the_code_and_the_text)
{
    struct error error;
    enum error_code code = error_set(&error, ERROR_DAMAGED, "block at byte %d", 16);
    cr_assert_eq(code, ERROR_DAMAGED);
    cr_assert_eq(error.code, ERROR_DAMAGED);
    cr_assert_str_eq(error.text, "block at byte 16");
}

Test(error, is_optional_for_the_caller)
{
    cr_assert_eq(error_set(NULL, ERROR_FULL, "x"), ERROR_FULL);
    cr_assert_eq(error_set_errno(NULL, ENOSPC, "x"), ERROR_NO_SPACE);
    cr_assert_neq(error_prefix(NULL, "x"), OK);
}

Test(error, puts_context_in_front_and_keeps_the_code)
{
    struct error error;
    error_set(&error, ERROR_FOREIGN, "its length 99 is too long");
    cr_assert_eq(error_prefix(&error, "segment %d", 42), ERROR_FOREIGN);
    cr_assert_eq(error_prefix(&error, "open log '%s'", "/x"), ERROR_FOREIGN);
    cr_assert_str_eq(error.text, "open log '/x': segment 42: its length 99 is too long");
}

Test(error, may_quote_its_own_text)
{
    struct error error;
    error_set(&error, ERROR_IO, "first");
    error_set(&error, ERROR_CLOSED, "because of '%s'", error.text);
    cr_assert_str_eq(error.text, "because of 'first'");
}

Test(error, says_in_words_why_a_system_call_failed)
{
    static const struct {
        int errno_value;
        enum error_code code;
        const char *text;
    } CASES[] = {
        {ENOSPC, ERROR_NO_SPACE, "write 'a': No space left on device"},
        {EDQUOT, ERROR_NO_SPACE, "write 'a': Disk quota exceeded"},
        {EFBIG, ERROR_NO_SPACE, "write 'a': File too large"},
        {ENOENT, ERROR_NOT_FOUND, "write 'a': No such file or directory"},
        {EEXIST, ERROR_EXISTS, "write 'a': File exists"},
        {ENOMEM, ERROR_MEMORY, "write 'a': Cannot allocate memory"},
        {EIO, ERROR_IO, "write 'a': Input/output error"},
        {EACCES, ERROR_IO, "write 'a': Permission denied"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct error error;
        cr_assert_eq(error_set_errno(&error, CASES[i].errno_value, "write '%s'", "a"),
                     CASES[i].code);
        cr_assert_str_eq(error.text, CASES[i].text);
    }
}

/* Only then is it the bytes that are bad: a repair may give them up. */
Test(error, knows_whether_the_device_refused)
{
    static const int refused[] = {EIO, EUCLEAN, EBADMSG}, others[] = {EACCES, EMFILE, ENOMEM};
    struct error error;
    for (size_t i = 0; i < 3; i++) {
        error_set_errno(&error, refused[i], "read 'a'");
        error_prefix(&error, "segment 1");
        cr_assert(error_is_of_device(&error), "%s", error.text);
        error_set_errno(&error, others[i], "read 'a'");
        cr_assert_not(error_is_of_device(&error), "%s", error.text);
    }
    error_set_errno(&error, EIO, "read 'a'");
    error_set(&error, ERROR_IO, "another");
    cr_assert_not(error_is_of_device(&error));
}

Test(error, cuts_a_long_text_between_two_characters)
{
    char euros[3 * 400 + 1];
    for (size_t i = 0; i + 3 < sizeof euros; i += 3)
        memcpy(euros + i, "€", 4);
    for (int shift = 0; shift < 3; shift++) {
        struct error error;
        error_set(&error, ERROR_INVALID, "%.*s%s", shift, "xx", euros);
        size_t length = strlen(error.text);
        cr_assert_gt(length, sizeof error.text - 5);
        cr_assert_eq((length - (size_t)shift) % 3, 0, "cut inside a character at %zu", length);
    }
}

Test(error, shows_no_control_characters_of_a_stranger)
{
    struct error error;
    error_set(&error, ERROR_INVALID, "topic '%s'", "a\nb\x1b[31m\x7f");
    cr_assert_str_eq(error.text, "topic 'a?b?[31m?'");
}

Test(error, has_a_name_for_every_code)
{
    for (int code = OK; code <= ERROR_END; code++)
        cr_assert_str_neq(error_name((enum error_code)code), "unknown");
    cr_assert_str_eq(error_name(ERROR_NO_SPACE), "no_space");
    cr_assert_str_eq(error_name((enum error_code)(ERROR_END + 1)), "unknown");
}
