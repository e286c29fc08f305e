/* Users are named or numbered; root and we ourselves always may. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "tools/allowed_users.h"

Test(allowed_users, names_and_numbers_are_both_known)
{
    struct allowed_users users = {0};
    cr_assert_eq(allowed_users_parse("root, 4711,65534", &users, NULL), OK);
    cr_assert_eq(users.count, 3);
    cr_assert(allowed_users_include(&users, 4711));
    cr_assert(allowed_users_include(&users, 65534));
    cr_assert_not(allowed_users_include(&users, 4712));
    cr_assert(allowed_users_include(&users, 0));
    cr_assert(allowed_users_include(&users, geteuid()));
}

Test(allowed_users, without_a_list_everybody_is_allowed)
{
    struct allowed_users nobody_named = {0};
    cr_assert(allowed_users_include(&nobody_named, 4711));
}

Test(allowed_users, what_is_no_user_is_named)
{
    static const char *const wrong[] = {"", "1,", "no such user", "-1", "4294967295", "12x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct allowed_users users;
        struct error error;
        cr_assert_eq(allowed_users_parse(wrong[i], &users, &error), ERROR_INVALID, "%s", wrong[i]);
        cr_assert_not_null(strstr(error.text, "no user"), "%s", error.text);
    }
    char many[5 * (ALLOWED_USERS_MAX + 1)] = "";
    for (int i = 0; i <= ALLOWED_USERS_MAX; i++)
        strcat(many, i ? ",17" : "17");
    struct allowed_users users;
    cr_assert_eq(allowed_users_parse(many, &users, NULL), ERROR_INVALID);
}
