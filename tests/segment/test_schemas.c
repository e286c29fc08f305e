#include "segment/schemas_presence.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checksum.h"
#include "core/file.h"
#include "segment/lock.h"
#include "tests/support/broken_calls.h"
#include "tests/support/scratch.h"

static struct segment_schemas schemas;
static struct error error;
static int log_fd = -1;

static void open_log_directory(void)
{
    cr_assert_eq(file_open_directory(scratch_directory(), false, &log_fd, &error), OK, "%s",
                 error.text);
}

static void forget(void)
{
    segment_schemas_free(&schemas);
    file_close(&log_fd);
}

TestSuite(schemas, .init = open_log_directory, .fini = forget);

static void load(void)
{
    segment_schemas_free(&schemas);
    cr_assert_eq(segment_schemas_load(log_fd, &schemas, &error), OK, "%s", error.text);
}

static void note(enum segment_schemas_action action, const char *topic, const char *text,
                 enum segment_schemas_mode mode, uint64_t after)
{
    struct segment_schemas_change change = {.action = action, .mode = mode, .after = after};
    strcpy(change.topic, topic);
    cr_assert_eq(
        segment_schemas_note(log_fd, &schemas, &change, text, strlen(text), &error), OK, "%s",
        error.text);
}

static void settle(uint64_t since)
{
    cr_assert_eq(segment_schemas_settle(log_fd, &schemas, since, (int64_t)since * 1000, &error),
                 OK, "%s", error.text);
}

static void add(const char *topic, const char *text, uint64_t since)
{
    note(SCHEMAS_ADD, topic, text, SCHEMAS_REJECT, since - 1);
    settle(since);
}

static void end(const char *topic, uint64_t since)
{
    note(SCHEMAS_REMOVE, topic, "", SCHEMAS_REJECT, since - 1);
    settle(since);
}

static const struct segment_schemas_change *present(const char *topic)
{
    return segment_schemas_present(&schemas, topic, strlen(topic));
}

static void expect_text(const struct segment_schemas_change *change, const char *expected)
{
    struct buffer text = {0};
    cr_assert_eq(segment_schemas_read_text(log_fd, change, &text, &error), OK, "%s", error.text);
    cr_assert_eq(buffer_append(&text, "", 1, NULL), OK);
    cr_assert_str_eq((char *)text.data, expected);
    buffer_release(&text);
}

static void expect_refusal(enum error_code code, const char *part)
{
    struct segment_schemas loaded = {0};
    error.text[0] = '\0';
    cr_assert_eq(segment_schemas_load(log_fd, &loaded, &error), code, "%s", error.text);
    cr_assert_not_null(strstr(error.text, part), "%s", error.text);
    cr_assert_eq(loaded.count, 0);
}

Test(schemas, of_a_log_that_has_none_are_none)
{
    load();
    cr_assert_eq(schemas.count, 0);
    cr_assert_null(present("door"));
    cr_assert_null(segment_schemas_pending(&schemas));
    cr_assert_eq(mkdir(scratch_path("schemas"), 0750), 0);
    load(); /* a crash came before everything else */
    cr_assert_eq(schemas.count, 0);
}

Test(schemas, keep_every_version_as_it_was_given)
{
    add("door", "{\"type\": \"object\"}\n", 5);
    add("door", "true", 9);
    add("lamp:a/b", "{}", 12);
    load();
    cr_assert_eq(schemas.count, 3);
    cr_assert_eq(present("door")->version, 2);
    cr_assert_eq(present("door")->since, 9);
    cr_assert_eq(present("door")->time_ns, 9000);
    cr_assert_eq(present("lamp:a/b")->version, 1);
    cr_assert_null(present("lamp:a"));
    expect_text(segment_schemas_version(&schemas, "door", 4, 1), "{\"type\": \"object\"}\n");
    expect_text(segment_schemas_version(&schemas, "door", 4, 2), "true");
    expect_text(present("lamp:a/b"), "{}");
    cr_assert_null(segment_schemas_version(&schemas, "door", 4, 3));
}

Test(schemas, of_all_topics_are_found_at_once_as_one_by_one)
{
    struct segment_schemas_presence presence = {0};
    char topic[32];
    for (uint64_t i = 0; i < 60; i++) {
        snprintf(topic, sizeof topic, "t%d", (int)(i * 7 % 20));
        if (i % 3 == 2 && present(topic))
            end(topic, 10 * i + 5);
        else
            add(topic, "true", 10 * i + 5);
    }
    add("last", "true", 700);
    note(SCHEMAS_REMOVE, "last", "", SCHEMAS_REJECT, 800);
    cr_assert_eq(segment_schemas_presence_init(&schemas, &presence, &error), OK);
    size_t found = 0;
    for (int i = 0; i < 21; i++) {
        snprintf(topic, sizeof topic, "t%d", i);
        cr_assert_eq(segment_schemas_presence_find(&presence, topic), present(topic), "%s", topic);
        found += present(topic) != NULL;
    }
    cr_assert(found > 5 && found < 20, "%zu", found);
    cr_assert_eq(presence.count, found + 1);
    cr_assert_eq(segment_schemas_presence_find(&presence, "last"), present("last"));
    cr_assert_not_null(present("last"), "its removal is pending");
    for (size_t i = 1; i < presence.count; i++)
        cr_assert_lt(strcmp(presence.list[i - 1]->topic, presence.list[i]->topic), 0);
    segment_schemas_presence_release(&presence);
    cr_assert_eq(presence.count, 0);
}

Test(schemas, of_a_topic_end_when_they_are_removed_and_are_numbered_on)
{
    add("door", "true", 5);
    end("door", 7);
    load();
    cr_assert_null(present("door"));
    cr_assert_eq(schemas.changes[1].version, 1);
    add("door", "false", 9);
    cr_assert_eq(present("door")->version, 2);
    expect_text(segment_schemas_version(&schemas, "door", 4, 1), "true");
}

Test(schemas, that_are_pending_are_not_in_effect)
{
    add("door", "true", 5);
    note(SCHEMAS_ADD, "door", "false", SCHEMAS_QUARANTINE, 20);
    load();
    cr_assert_eq(present("door")->version, 1);
    const struct segment_schemas_change *pending = segment_schemas_pending(&schemas);
    cr_assert_not_null(pending);
    cr_assert_eq(pending->version, 2);
    cr_assert_eq(pending->mode, SCHEMAS_QUARANTINE);
    cr_assert_eq(pending->after, 20);
    expect_text(pending, "false");
    settle(22);
    load();
    cr_assert_null(segment_schemas_pending(&schemas));
    cr_assert_eq(present("door")->version, 2);
}

Test(schemas, write_over_the_text_that_a_crash_left_without_its_line)
{
    add("door", "true", 5);
    int fd = open(scratch_path("schemas/door.2.json"), O_CREAT | O_WRONLY, 0640);
    cr_assert_eq(write(fd, "{\"never\":1}", 11), 11);
    close(fd);
    load();
    add("door", "false", 6);
    expect_text(present("door"), "false");
}

Test(schemas, whose_catalogue_has_any_byte_changed_are_damaged)
{
    add("door", "{\"type\": \"object\"}", 5);
    note(SCHEMAS_REMOVE, "door", "", SCHEMAS_WARN, 6);
    uint64_t size = scratch_size(scratch_path("schemas/catalogue"));
    for (uint64_t at = 0; at < size; at++) {
        scratch_flip(scratch_path("schemas/catalogue"), at, 1);
        struct segment_schemas loaded = {0};
        enum error_code code = segment_schemas_load(log_fd, &loaded, &error);
        cr_assert_eq(code, ERROR_DAMAGED, "%s at %llu", error.text, (unsigned long long)at);
        scratch_flip(scratch_path("schemas/catalogue"), at, 1);
    }
    for (uint64_t cut = 0; cut < size; cut++) {
        scratch_cut(scratch_path("schemas/catalogue"), size - cut - 1);
        expect_refusal(ERROR_DAMAGED, "schemas/catalogue is damaged: put schemas/catalogue back");
    }
}

Test(schemas, of_a_newer_daybook_are_not_called_damaged)
{
    char text[64];
    add("door", "true", 5);
    snprintf(text, sizeof text, "daybook-schemas 2\nwho knows\nchecksum %08x\n",
             checksum_extend(0, "daybook-schemas 2\nwho knows\n", 28));
    scratch_cut(scratch_path("schemas/catalogue"), 0);
    scratch_write(scratch_path("schemas/catalogue"), 0, text, strlen(text));
    expect_refusal(ERROR_VERSION, "newer Daybook");
}

Test(schemas, whose_catalogue_is_gone_are_not_no_schemas)
{
    add("door", "true", 5);
    scratch_delete(scratch_path("schemas/catalogue"));
    expect_refusal(ERROR_DAMAGED, "schemas/catalogue is missing");
}

Test(schemas, whose_catalogue_cannot_be_read_are_not_no_schemas)
{
    add("door", "true", 5);
    struct broken_plan plan = {
        .call = BROKEN_READ, .number = 1, .for_ever = true, .reason = EIO,
        .bad_file = scratch_path("schemas/catalogue")};
    broken_calls_begin(&plan);
    expect_refusal(ERROR_IO, "schemas/catalogue");
    broken_calls_end();
}

Test(schemas, whose_text_is_changed_or_gone_say_so)
{
    struct buffer text = {0};
    add("door", "true", 5);
    scratch_flip(scratch_path("schemas/door.1.json"), 2, 1);
    cr_assert_eq(segment_schemas_read_text(log_fd, present("door"), &text, &error), ERROR_DAMAGED);
    cr_assert_str_eq(error.text,
                     "the schema schemas/door.1.json is damaged: it is not what was written; put "
                     "the file back from a backup, or its text from the event 5 of topic _schema");
    scratch_delete(scratch_path("schemas/door.1.json"));
    cr_assert_eq(segment_schemas_read_text(log_fd, present("door"), &text, &error), ERROR_DAMAGED);
    cr_assert_eq(text.size, 0);
    buffer_release(&text);
}

struct failing_call {
    enum broken_call call;
    unsigned count; /* a text and a catalogue: to write, to sync with their directory, to rename */
};

/* When only the last sync fails, nobody knows which catalogue a crash leaves: both are whole. */
Test(schemas, are_as_they_were_or_have_one_more_when_a_change_cannot_be_written)
{
    static const struct failing_call CALLS[] = {
        {BROKEN_WRITE, 2}, {BROKEN_SYNC, 4}, {BROKEN_RENAME, 2}};
    add("door", "true", 5);
    for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++)
        for (unsigned number = 1; number <= CALLS[i].count; number++) {
            struct segment_schemas_change change = {
                .action = SCHEMAS_ADD, .topic = "lamp", .after = 6};
            struct broken_plan plan = {.call = CALLS[i].call,
                                       .number = number,
                                       .reason = EIO,
                                       .name_part = NULL};
            broken_calls_begin(&plan);
            cr_assert_neq(segment_schemas_note(log_fd, &schemas, &change, "{}", 2, &error), OK);
            cr_assert_eq(broken_calls_end(), 1);
            cr_assert_eq(schemas.count, 1);
            struct segment_schemas loaded = {0};
            cr_assert_eq(segment_schemas_load(log_fd, &loaded, &error), OK, "%s", error.text);
            cr_assert(loaded.count == 1 || CALLS[i].call == BROKEN_SYNC);
            cr_assert_eq(segment_schemas_present(&loaded, "door", 4)->version, 1);
            cr_assert_null(segment_schemas_present(&loaded, "lamp", 4));
            segment_schemas_free(&loaded);
        }
    add("lamp", "{}", 9);
    load();
    expect_text(present("lamp"), "{}");
}

struct name_case {
    const char *topic, *name;
};

Test(schemas, have_file_names_that_stay_in_their_directory)
{
    static const struct name_case CASES[] = {
        {"door", "door.7.json"},
        {"a/b:c", "a%2Fb%3Ac.7.json"},
        {"..", "%2E..7.json"},
        {"../../etc", "%2E.%2F..%2Fetc.7.json"},
        {"_rejected.x-y", "_rejected.x-y.7.json"},
    };
    char name[SCHEMAS_FILE_NAME_MAX + 1], topic[EVENT_TOPIC_BYTES_MAX + 1] = {0};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        cr_assert_eq(segment_schemas_file_name(CASES[i].topic, 7, name, &error), OK);
        cr_assert_str_eq(name, CASES[i].name);
    }
    memset(topic, 'x', EVENT_TOPIC_BYTES_MAX);
    cr_assert_eq(segment_schemas_file_name(topic, 1, name, &error), ERROR_INVALID);
    cr_assert_not_null(strstr(error.text, "is too long to have a schema"), "%s", error.text);
    topic[244] = '\0';
    cr_assert_eq(segment_schemas_file_name(topic, 1, name, &error), OK);
    add(topic, "true", 5);
    load();
    expect_text(present(topic), "true");
}

Test(schemas, may_be_older_than_the_log_that_a_backup_has_brought_back)
{
    add("door", "true", 500);
    add("door", "false", 301);
    load();
    cr_assert_eq(present("door")->since, 301);
    cr_assert_eq(present("door")->version, 2);
}

static void expect_owner(const char *name, uid_t owner)
{
    struct stat status;
    cr_assert_eq(stat(scratch_path("%s", name), &status), 0);
    cr_assert_eq(status.st_uid, owner, "%s", name);
    cr_assert_eq(status.st_mode & 0777, S_ISDIR(status.st_mode) ? 0750 : 0640, "%s", name);
}

/* Only root can be somebody else; a daemon that is not could not read what is root's. */
Test(schemas, belong_to_the_owner_of_the_log_whoever_adds_them)
{
    uid_t owner = geteuid() == 0 ? 4711 : geteuid();
    if (geteuid() == 0)
        cr_assert_eq(chown(scratch_directory(), owner, 4711), 0);
    cr_assert_eq(chmod(scratch_directory(), 0750), 0);
    add("door", "true", 5);
    expect_owner("schemas", owner);
    expect_owner("schemas/catalogue", owner);
    expect_owner("schemas/door.1.json", owner);
}

Test(schemas, are_changed_by_one_at_a_time)
{
    int first = -1, second = -1;
    cr_assert_eq(segment_lock_take(log_fd, LOCK_SCHEMAS, &first, &error), OK);
    cr_assert_eq(segment_lock_take(log_fd, LOCK_SCHEMAS, &second, &error), ERROR_BUSY);
    cr_assert_not_null(strstr(error.text, "changing the schemas"), "%s", error.text);
    file_close(&first);
}
