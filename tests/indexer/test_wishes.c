#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checksum.h"
#include "core/file.h"
#include "indexer/wishes.h"
#include "tests/indexer/scene.h"

TestSuite(wishes, .init = scene_begin, .fini = scene_end);

static enum error_code change(enum indexer_wishes_change what, const char *text, size_t *changed,
                              struct error *error)
{
    struct indexer_wishes fields = {0};
    cr_assert_eq(indexer_wishes_add_text(&fields, text, error), OK, "%s", error->text);
    enum error_code code = indexer_wishes_change(scene_directory(), what, &fields, changed, error);
    indexer_wishes_release(&fields);
    return code;
}

static void expect_change(enum indexer_wishes_change what, const char *text, size_t expected)
{
    struct error error = {0};
    size_t changed = 99;
    cr_assert_eq(change(what, text, &changed, &error), OK, "%s", error.text);
    cr_assert_eq(changed, expected, "%s: %zu", text, changed);
}

static enum error_code load(struct indexer_wishes *wishes, struct error *error)
{
    int log_fd = -1;
    cr_assert_eq(file_open_directory(scene_directory(), false, &log_fd, error), OK);
    enum error_code code = indexer_wishes_load(log_fd, wishes, error);
    file_close(&log_fd);
    return code;
}

static void expect_list(const char *expected)
{
    struct indexer_wishes wishes = {0};
    struct error error = {0};
    cr_assert_eq(load(&wishes, &error), OK, "%s", error.text);
    char text[4096] = "";
    for (size_t i = 0; i < wishes.count; i++) {
        strcat(text, wishes.list[i].topic);
        strcat(text, " ");
        strcat(text, wishes.list[i].path);
        strcat(text, "\n");
    }
    indexer_wishes_release(&wishes);
    cr_assert_str_eq(text, expected, "%s", text);
}

static void write_list(const char *text)
{
    FILE *file = fopen(scene_path(INDEXER_WISHES_NAME), "w");
    fputs(text, file);
    fclose(file);
}

/* A file whose checksum is right. */
static void write_lines(const char *lines)
{
    char text[1024];
    snprintf(text, sizeof text, "daybook-fields 1 %08x\n%s",
             checksum_extend(0, lines, strlen(lines)), lines);
    write_list(text);
}

Test(wishes, are_kept_in_order_and_once_each)
{
    scene_write(1);
    expect_list("");
    expect_change(WISHES_ADD, "b user_id $.order.id", 2);
    expect_change(WISHES_ADD, "a x", 1);
    expect_change(WISHES_ADD, "b order.id y", 1);
    expect_change(WISHES_ADD, "b y", 0);
    expect_list("a x\nb order.id\nb user_id\nb y\n");
    expect_change(WISHES_DROP, "b $.user_id y", 2);
    expect_list("a x\nb order.id\n");
    expect_change(WISHES_DROP, "b order.id", 1);
    expect_change(WISHES_DROP, "a x", 1);
    expect_list("");
}

Test(wishes, may_have_spaces_within_quotes)
{
    scene_write(1);
    expect_change(WISHES_ADD, "  t \t\"a key\".b \"a \\\" b. c\"[0]\t x  ", 3);
    expect_list("t \"a \\\" b. c\"[0]\nt a key.b\nt x\n");
}

Test(wishes, that_make_no_sense_are_refused)
{
    static const struct {
        const char *text, *expected;
    } CASES[] = {
        {"", "'' is not 'TOPIC FIELD…'"},
        {"t", "'t' is not 'TOPIC FIELD…'"},
        {"t a..b", "path 'a..b': byte 3: here a key is missing"},
        {"t \"a b", "path '\"a b': byte 5: the key's closing '\"' is missing"},
    };
    struct error error = {0};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct indexer_wishes wishes = {0};
        cr_assert_eq(indexer_wishes_add_text(&wishes, CASES[i].text, &error), ERROR_INVALID);
        cr_assert_str_eq(error.text, CASES[i].expected);
        indexer_wishes_release(&wishes);
    }
    struct indexer_wishes wishes = {0};
    cr_assert_eq(indexer_wishes_add(&wishes, "a topic", "x", &error), ERROR_INVALID);
    cr_assert_eq(indexer_wishes_add(&wishes, "", "x", &error), ERROR_INVALID);
}

Test(wishes, are_bounded)
{
    scene_write(1);
    struct error error = {0};
    char text[32];
    size_t changed;
    for (int i = 0; i < INDEXER_WISHES_MAX; i++) {
        snprintf(text, sizeof text, "t.%d x", i);
        expect_change(WISHES_ADD, text, 1);
    }
    cr_assert_eq(change(WISHES_ADD, "u x", &changed, &error), ERROR_FULL);
    cr_assert_str_eq(error.text, "no more than 128 fields of a log can be indexed; drop one that "
                                 "nobody asks for");
    expect_change(WISHES_ADD, "t.5 x", 0);
}

Test(wishes, of_which_one_is_not_there_are_not_dropped)
{
    scene_write(1);
    expect_change(WISHES_ADD, "t a b", 2);
    struct error error = {0};
    size_t changed;
    cr_assert_eq(change(WISHES_DROP, "t a c", &changed, &error), ERROR_INVALID);
    cr_assert_str_eq(error.text,
                     "the field 'c' of topic 't' is not indexed; nothing was dropped");
    expect_list("t a\nt b\n");
}

Test(wishes, need_a_log)
{
    struct error error = {0};
    size_t changed;
    cr_assert_eq(change(WISHES_ADD, "t a", &changed, &error), ERROR_NOT_FOUND);
    cr_assert_neq(access(scene_path("LOCK"), F_OK), 0);
}

Test(wishes, in_a_damaged_file_are_not_believed)
{
    static const char *const DAMAGED[] = {
        "",
        "daybook-fields 1 00000000",
        "daybook-fields 1 00000001\n",
        "daybook-fields 1 00000000\nt a\n",
        "daybook-fields 1 0000000\n\n",
        "another file\n",
    };
    static const char *const LINES[] = {"t a", "t\n", "t \n", "\n", "t a..b\n", "t a\n\n"};
    scene_write(1);
    struct error error = {0};
    struct indexer_wishes wishes = {0};
    for (size_t i = 0; i < sizeof DAMAGED / sizeof DAMAGED[0]; i++) {
        write_list(DAMAGED[i]);
        cr_assert_eq(load(&wishes, &error), ERROR_DAMAGED, "case %zu", i);
        cr_assert(strstr(error.text, "'index-fields', is damaged; remove the file"), "%s",
                  error.text);
    }
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        write_lines(LINES[i]);
        cr_assert_eq(load(&wishes, &error), ERROR_DAMAGED, "lines %zu", i);
        cr_assert(strstr(error.text, "has a line that is no 'TOPIC FIELD'"), "%s", error.text);
    }
    write_list("daybook-fields 2 what comes later\n");
    cr_assert_eq(load(&wishes, &error), ERROR_VERSION);
    size_t changed;
    cr_assert_eq(change(WISHES_ADD, "t a", &changed, &error), ERROR_VERSION);
    write_lines("t a\n");
    expect_list("t a\n");
}
