/* Which numbers of producers the index says are missing, and why. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/gap.h"
#include "indexer/follower.h"
#include "indexer/gaps.h"
#include "indexer/producers.h"
#include "indexer/reindex.h"
#include "indexer/retention.h"
#include "segment/packer.h"
#include "segment/producers.h"
#include "tests/indexer/scene.h"

#define MAX EVENT_NUMBER_MAX

static struct segment_log *open_log;

static void begin(void)
{
    scene_begin();
    open_log = scene_open_log();
}

static void close_log(void)
{
    struct error error = {0};
    if (open_log)
        cr_assert_eq(segment_log_close(open_log, &error), OK, "%s", error.text);
    open_log = NULL;
}

static void end(void)
{
    close_log();
    scene_end();
}

TestSuite(gaps, .init = begin, .fini = end);

static void wait_durable(void)
{
    struct error error = {0};
    cr_assert_eq(segment_log_wait(open_log, segment_log_appended(open_log), &error), OK, "%s",
                 error.text);
}

static void append(const struct event *event)
{
    enum segment_log_outcome outcome;
    uint64_t sequence;
    struct error error = {0};
    enum error_code code;
    while ((code = segment_log_append(open_log, event, &outcome, &sequence, &error)) == ERROR_BUSY)
        segment_log_wait_room(open_log);
    cr_assert_eq(code, OK, "%s", error.text);
}

/* Times that tell events apart: the n-th of the log is at n seconds. */
static struct event event_of(const char *producer, uint64_t number)
{
    static const uint8_t nothing[] = {0xc0};
    return (struct event){
        .time_ns = (int64_t)(segment_log_appended(open_log) + 1) * 1000000000,
        .topic = "t",
        .topic_bytes = 1,
        .payload = nothing,
        .payload_bytes = sizeof nothing,
        .producer = producer,
        .producer_bytes = strlen(producer),
        .number = number,
    };
}

static void store(const char *producer, uint64_t number)
{
    struct event event = event_of(producer, number);
    append(&event);
}

static void store_from(const char *producer, uint64_t first, uint64_t last)
{
    for (uint64_t number = first; number <= last; number++)
        store(producer, number);
}

/* An event of topic _gap: of the log's writer (`number` 0), or of `speaker`. */
static void tell(const char *speaker, uint64_t number, const struct gap *gap)
{
    struct buffer payload = {0};
    cr_assert_eq(gap_write(gap, &payload, NULL), OK);
    struct event event = event_of(speaker, number);
    event.topic = GAP_TOPIC;
    event.topic_bytes = strlen(GAP_TOPIC);
    event.payload = payload.data;
    event.payload_bytes = payload.size;
    append(&event);
    buffer_release(&payload);
}

static struct gap gap_of(const char *producer, uint64_t first, uint64_t last, enum gap_cause cause)
{
    return (struct gap){
        .producer = producer,
        .producer_bytes = strlen(producer),
        .first = first,
        .last = last,
        .count = last - first + 1,
        .cause = cause,
        .reason = cause == GAP_REFUSED ? "no good" : "no room",
        .reason_bytes = 7,
    };
}

static void refuse(const char *producer, uint64_t first, uint64_t last)
{
    struct gap gap = gap_of(producer, first, last, GAP_REFUSED);
    tell("", 0, &gap);
}

static void refuse_some(const char *producer, uint64_t first, uint64_t last, uint64_t count)
{
    struct gap gap = gap_of(producer, first, last, GAP_REFUSED);
    gap.count = count;
    tell("", 0, &gap);
}

/* The producer's own report, under the number behind. */
static void drop(const char *producer, uint64_t first, uint64_t last)
{
    struct gap gap = gap_of(producer, first, last, GAP_DROPPED);
    tell(producer, last + 1, &gap);
}

static void index_now(void)
{
    wait_durable();
    scene_index();
}

static char *all_gaps(void)
{
    sqlite3 *database = scene_open_database();
    char *rows = scene_rows(database, "SELECT * FROM gaps ORDER BY first_seq, producer,"
                                      " length(first_number), first_number");
    sqlite3_close(database);
    return rows;
}

/* The followed index and one made anew say the same of everything. */
static void expect_same_anew(void)
{
    struct error error = {0};
    char *followed = all_gaps();
    cr_assert_eq(indexer_reindex(scene_directory(), NULL, NULL, NULL, &error), OK, "%s",
                 error.text);
    char *anew = all_gaps();
    cr_assert_str_eq(followed, anew, "followed:\n%sanew:\n%s", followed, anew);
    free(followed);
    free(anew);
}

/* Of the numbers only: "producer first-last missing cause", one a line. */
static void expect_gaps(const char *rows)
{
    static const char sql[] =
        "SELECT producer || ' ' || first_number || '-' || last_number || ' ' || missing || ' '"
        " || cause FROM gaps WHERE producer IS NOT NULL"
        " ORDER BY producer, length(first_number), first_number";
    index_now();
    scene_expect_rows(sql, rows);
    expect_same_anew();
}

Test(gaps, are_none_where_numbers_follow_each_other_from_wherever_they_begin)
{
    store_from("a", 1, 5);
    store_from("clock", UINT64_C(1757386981642318000), UINT64_C(1757386981642318004));
    store("a", 6);
    store("", 0);

    expect_gaps("");
}

Test(gaps, of_numbers_that_were_jumped_over_never_arrived)
{
    store_from("a", 3, 4);
    store("a", 8);
    store("a", 9);
    store("a", 11);

    expect_gaps("a 5-7 3 never arrived\na 10-10 1 never arrived\n");
    scene_expect_rows("SELECT first_seq, last_seq, segment, time, reason FROM gaps LIMIT 1",
                      "NULL|NULL|1|1970-01-01T00:00:03.000000000Z|NULL\n");
}

Test(gaps, of_producers_that_take_turns_are_each_ones_own)
{
    for (uint64_t i = 1; i <= 6; i++) {
        store("a", i);
        store("b", 10 * i);
        store("c", i < 4 ? i : i + 1);
    }

    expect_gaps("b 11-19 9 never arrived\nb 21-29 9 never arrived\nb 31-39 9 never arrived\n"
                "b 41-49 9 never arrived\nb 51-59 9 never arrived\nc 4-4 1 never arrived\n");
}

Test(gaps, go_on_over_the_ends_of_transactions_and_of_followers)
{
    store("a", 1);
    index_now();
    store("a", 4);
    index_now();
    store("a", 5);
    index_now();
    store("a", 7);

    expect_gaps("a 2-3 2 never arrived\na 6-6 1 never arrived\n");
}

Test(gaps, that_were_refused_say_so_whether_that_is_told_before_or_after_the_next_event)
{
    store("before", 1);
    refuse("before", 2, 2);
    store("before", 3);
    store("after", 1);
    store("after", 3);
    refuse("after", 2, 2);

    expect_gaps("after 2-2 1 refused\nbefore 2-2 1 refused\n");
    scene_expect_rows("SELECT reason, time FROM gaps WHERE producer = 'before'",
                      "no good|1970-01-01T00:00:02.000000000Z\n");
    scene_expect_rows("SELECT reason, time FROM gaps WHERE producer = 'after'",
                      "no good|1970-01-01T00:00:06.000000000Z\n");
}

Test(gaps, that_were_refused_are_known_before_anything_is_stored_behind_them)
{
    store("a", 1);
    refuse("a", 2, 4);
    refuse("new", 1, 1);

    expect_gaps("a 2-4 3 refused\nnew 1-1 1 refused\n");
}

Test(gaps, are_none_where_a_refused_number_was_sent_again_and_stored)
{
    store("a", 1);
    refuse("a", 2, 5);
    index_now();
    expect_gaps("a 2-5 4 refused\n");
    store_from("a", 2, 3);
    expect_gaps("a 4-5 2 refused\n");
    store("a", 5);
    store("a", 7);
    refuse("a", 1, 3); /* stored all the same: what is stored is in no gap */

    expect_gaps("a 4-4 1 refused\na 6-6 1 never arrived\n");
}

Test(gaps, name_the_refused_among_those_that_never_arrived)
{
    store("a", 1);
    store("a", 10);
    index_now();
    refuse("a", 3, 4);
    index_now();
    refuse("a", 9, 12);

    expect_gaps("a 2-2 1 never arrived\na 3-4 2 refused\na 5-8 4 never arrived\na 9-9 1 refused\n"
                "a 11-12 2 refused\n");
}

/* The daemon tells of many with one event; which of them are missing is seen by the others. */
Test(gaps, of_a_range_with_stored_numbers_in_it_are_only_those_that_are_missing)
{
    store_from("a", 1, 2);
    store("a", 4);
    store("a", 6);
    refuse_some("a", 3, 8, 4); /* 3, 5, 7, 8 */
    expect_gaps("a 3-3 1 refused\na 5-5 1 refused\na 7-8 2 refused\n");
    store("a", 9);

    expect_gaps("a 3-3 1 refused\na 5-5 1 refused\na 7-8 2 refused\n");
}

Test(gaps, that_a_producer_reports_were_dropped)
{
    store_from("a", 1, 3);
    drop("a", 4, 9);
    store("a", 11);
    store_from("a", 12, 13);
    drop("b", 1, 7); /* before anything else of it */

    expect_gaps("a 4-9 6 dropped\nb 1-7 7 dropped\n");
    scene_expect_rows("SELECT DISTINCT reason FROM gaps", "no room\n");
}

Test(gaps, are_not_believed_of_a_producer_that_speaks_of_another_or_of_the_future)
{
    store("victim", 1);
    store("victim", 3);
    struct gap other = gap_of("victim", 2, 2, GAP_DROPPED);
    struct gap refusal = gap_of("liar", 1, 1, GAP_REFUSED);
    struct gap future = gap_of("liar", 100, 200, GAP_DROPPED);
    tell("liar", 5, &other);
    tell("liar", 6, &refusal);
    tell("liar", 7, &future);

    expect_gaps("victim 2-2 1 never arrived\n");
}

static void store_payload(const char *bytes, size_t size)
{
    struct event event = event_of("", 0);
    event.topic = GAP_TOPIC;
    event.topic_bytes = strlen(GAP_TOPIC);
    event.payload = bytes;
    event.payload_bytes = size;
    append(&event);
}

Test(gaps, are_not_made_of_events_that_only_have_the_topic)
{
    store("a", 1);
    store_payload("\xc0", 1);
    store_payload("\x80", 1);
    store_payload("\x81\xa8producer\x01", 11);
    store_payload("\x83\xa8producer\xa1"
                  "a\xa5"
                  "first\x05\xa4last\x02",
                  25);

    expect_gaps("");
}

Test(gaps, of_the_highest_numbers_that_there_are)
{
    store("a", 1);
    store("a", (UINT64_C(1) << 63) - 1);
    store("a", (UINT64_C(1) << 63) + 1);
    store("a", MAX - 1);
    store("a", MAX);
    store("b", MAX);
    refuse("b", 1, MAX);
    refuse("c", 1, MAX);

    expect_gaps("a 2-9223372036854775806 8796093022208 never arrived\n"
                "a 9223372036854775808-9223372036854775808 1 never arrived\n"
                "a 9223372036854775810-18446744073709551612 8796093022208 never arrived\n"
                "b 1-18446744073709551613 8796093022208 refused\n"
                "c 1-18446744073709551614 8796093022208 refused\n");
    /* Whoever adds them up gets a number: the sum of any that a log can have fits. */
    cr_assert_eq(scene_number("SELECT sum(missing) FROM gaps"), 4 * INT64_C(8796093022208) + 1);
}

Test(gaps, of_one_producer_beyond_so_many_share_a_row_and_say_so)
{
    uint64_t jumps = 3 * INDEXER_GAPS_MAX;
    store("a", 1);
    for (uint64_t i = 1; i <= jumps; i++)
        store("a", 1 + 3 * i);
    index_now();

    cr_assert_eq(scene_number("SELECT count(*) FROM gaps"), INDEXER_GAPS_MAX);
    cr_assert_eq((uint64_t)scene_number("SELECT sum(missing) FROM gaps"), 2 * jumps);
    scene_expect_rows("SELECT count(*), max(last_number) FROM gaps WHERE reason LIKE 'and more%'",
                      "1|2304\n");
    refuse("a", 2, 3);
    refuse("a", 2302, 2304);
    refuse_some("a", 760, 2304, 900);
    index_now();
    cr_assert_leq(scene_number("SELECT count(*) FROM gaps"), INDEXER_GAPS_MAX + 2);
    cr_assert_eq((uint64_t)scene_number("SELECT sum(missing) FROM gaps"), 2 * jumps);
    expect_same_anew();
}

/* Numbers that were refused and come in part, each one a cut through what is left of the range. */
Test(gaps, of_one_producer_stay_few_however_a_range_is_cut)
{
    refuse_some("a", 1, 100000, 90000);
    for (uint64_t i = 1; i <= 3 * INDEXER_GAPS_MAX; i++)
        store("a", 2 * i);
    index_now();

    cr_assert_leq(scene_number("SELECT count(*) FROM gaps"), INDEXER_GAPS_MAX + 2);
    expect_same_anew();
}

Test(gaps, of_more_producers_than_the_cache_holds_are_all_told)
{
    char name[32];
    for (uint64_t round = 1; round <= 3; round++)
        for (unsigned i = 0; i < INDEXER_PRODUCERS_MAX + 100; i++) {
            snprintf(name, sizeof name, "p%u", i);
            store(name, round == 3 ? 4 : round);
        }
    index_now();

    cr_assert_eq(scene_number("SELECT count(*) FROM gaps"), INDEXER_PRODUCERS_MAX + 100);
    cr_assert_eq(scene_number("SELECT count(*) FROM gaps WHERE first_number = 3"
                              " AND last_number = 3 AND cause = 'never arrived'"),
                 INDEXER_PRODUCERS_MAX + 100);
    expect_same_anew();
}

Test(gaps, are_the_same_of_a_producer_that_was_silent_while_many_others_published)
{
    char name[32];
    store("a", 5);
    store("a", 9);
    for (unsigned i = 0; i < PRODUCERS_MAX; i++) {
        snprintf(name, sizeof name, "p%u", i);
        store(name, 1);
    }
    store_from("a", 1, 10); /* but for the last, the log has them */

    expect_gaps("a 6-8 3 never arrived\n");
}

/* ---- Retention, packing, damage ---- */

static void fill_segment(void)
{
    uint64_t rolls = segment_log_rolls(open_log);
    do {
        scene_append(open_log, 100);
    } while (segment_log_rolls(open_log) == rolls);
}

/* All segments but for the last `keep`. */
static void retire_all_but(uint64_t keep)
{
    uint64_t bytes = 0;
    size_t count = scene_segment_count();
    for (size_t i = count - keep; i < count; i++)
        bytes += scene_segment_bytes(i);
    struct indexer_retention_options options = {.max_bytes = bytes};
    struct indexer_retention_totals totals;
    struct error error = {0};
    cr_assert_eq(indexer_retention_run(scene_directory(), &options, NULL, NULL, &totals, &error),
                 OK, "%s", error.text);
    cr_assert_eq(scene_segment_count(), keep);
}

Test(gaps, go_with_the_events_behind_them_and_the_last_numbers_stay)
{
    store("a", 1);
    store("a", 5);
    refuse("b", 1, 3);
    store("late", 1);
    store("early", 5);
    fill_segment();
    store("late", 3);
    refuse("a", 3, 3); /* of a gap that will be gone */
    fill_segment();
    index_now();
    retire_all_but(2);
    store("a", 7);
    store("b", 9);
    refuse("early", 1, 2); /* before a first number that is gone: nobody knows any more */

    expect_gaps("a 6-6 1 never arrived\nlate 2-2 1 never arrived\n");
}

/* Of which an index made anew can only say that they never arrived: nothing tells it more. */
Test(gaps, stay_with_their_cause_as_long_as_the_event_behind_them_is_there)
{
    store("a", 1);
    refuse("a", 2, 3);
    fill_segment();
    store("a", 4);
    index_now();
    retire_all_but(1);
    index_now();

    static const char sql[] = "SELECT first_number, last_number, cause FROM gaps"
                              " WHERE producer = 'a'";
    scene_expect_rows(sql, "2|3|refused\n");
    cr_assert_eq(unlink(scene_path("events.db")), 0);
    scene_index();
    scene_expect_rows(sql, "2|3|never arrived\n");
}

Test(gaps, are_not_made_of_what_retention_took_before_the_index_had_seen_it)
{
    store("a", 1);
    index_now();
    fill_segment();
    store_from("a", 2, 50);
    fill_segment();
    retire_all_but(1);
    store("a", 51);
    store("a", 53);

    expect_gaps("a 52-52 1 never arrived\n");
}

/* The reader finds out first, or the follower; which of them depends on the clock. */
Test(gaps, are_not_made_of_what_retention_takes_under_a_follower)
{
    struct indexer_follower *follower = NULL;
    struct indexer_step step;
    struct error error = {0};
    store("a", 1);
    fill_segment();
    cr_assert_eq(indexer_follower_open(scene_directory(), &follower, &error), OK, "%s", error.text);
    for (uint64_t round = 1; round <= 4; round++) {
        cr_assert_eq(indexer_follower_step(follower, &step, &error), OK, "%s", error.text);
        fill_segment();
        store_from("a", 100 * round, 100 * round + 5);
        fill_segment();
        retire_all_but(1);
        store_from("a", 100 * round + 6, 100 * round + 8);
        wait_durable();
        cr_assert_eq(indexer_follower_step(follower, &step, &error), OK, "%s", error.text);
    }
    cr_assert_eq(indexer_follower_catch_up(follower, &error), OK, "%s", error.text);
    indexer_follower_close(follower);
    store("a", 410);

    expect_gaps("a 409-409 1 never arrived\n");
}

Test(gaps, stay_the_same_when_segments_are_packed)
{
    store("a", 1);
    store("a", 3);
    fill_segment();
    store("a", 5);
    refuse("a", 4, 4);
    fill_segment();
    fill_segment();
    index_now();
    close_log();
    struct segment_packer_watcher watcher = {0};
    struct segment_packer_totals totals = {0};
    struct error error = {0};
    cr_assert_eq(segment_packer_run(scene_directory(), &watcher, &totals, &error), OK, "%s",
                 error.text);
    cr_assert_gt(totals.segments_packed, 1);
    retire_all_but(3);
    scene_index();
    expect_same_anew();
    open_log = scene_open_log();
    store("a", 7);

    expect_gaps("a 4-4 1 refused\na 6-6 1 never arrived\n");
}

Test(gaps, of_numbers_that_damage_may_have_taken_have_its_cause)
{
    store("a", 1);
    store("b", 1);
    wait_durable();
    store_from("a", 2, 4);
    wait_durable();
    store("a", 5);
    store("b", 3);
    wait_durable();
    scene_index();
    uint64_t offset = (uint64_t)scene_number("SELECT offset FROM events WHERE seq = 3");
    close_log();
    scene_flip("segments/00000000000000000001.seg", offset + 150);
    cr_assert_eq(unlink(scene_path("events.db")), 0);
    scene_index();

    scene_expect_rows(
        "SELECT producer, first_number, last_number, missing, cause, reason FROM gaps"
        " WHERE producer IS NOT NULL ORDER BY producer",
        "a|2|4|3|damage, not repaired|they may have been among the lost sequences 3 to 5\n"
        "b|2|2|1|damage, not repaired|they may have been among the lost sequences 3 to 5\n");
    scene_expect_rows("SELECT first_seq, last_seq, missing, cause FROM gaps WHERE producer IS NULL",
                      "3|5|3|damage, not repaired\n");
}

/* Random traffic, indexed in pieces of every size: the order of transactions changes nothing. */
Test(gaps, do_not_depend_on_where_transactions_end)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    uint64_t numbers[4] = {0};
    uint32_t state = 20261129;
    for (unsigned i = 0; i < 1500; i++) {
        state = state * 1664525 + 1013904223;
        unsigned who = (state >> 28) % 4, what = (state >> 20) % 16;
        uint64_t next = numbers[who] + 1;
        if (what < 10) {
            store(names[who], numbers[who] = next);
        } else if (what < 12) {
            store(names[who], numbers[who] = next + what);
        } else if (what == 12) {
            refuse(names[who], next, next + 2);
        } else if (what == 13 && next > 4) {
            refuse_some(names[who], next - 3, next + 1, 2);
        } else if (what == 14) {
            drop(names[who], next, next + 3);
            numbers[who] = next + 4;
        }
        if ((state >> 16) % 64 == 0)
            index_now();
    }
    index_now();
    expect_same_anew();
    cr_assert_gt(scene_number("SELECT count(*) FROM gaps"), 100);
    cr_assert_gt(scene_number("SELECT count(*) FROM gaps WHERE cause = 'refused'"), 20);
    cr_assert_gt(scene_number("SELECT count(*) FROM gaps WHERE cause = 'dropped'"), 20);
}
