/* Scenarios of the fault campaign: recovery, retention, reading, checking. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "indexer/retention.h"
#include "segment/bound.h"
#include "segment/reader.h"
#include "segment/verify.h"
#include "tests/campaigns/faults.h"

enum { SMALL = 65536 };

/* ---- Starting points: a process was killed in the middle of something ------------------------ */

/* Bytes of a file of the log; the calls in force are healthy. */
static void read_bytes(struct faults_case *c, const char *name, uint8_t bytes[SMALL])
{
    int log_fd = -1, directory_fd = -1, fd = -1;

    if (file_open_directory(faults_place_path(c->place), false, &log_fd, NULL) ||
        file_open_directory_at(log_fd, "segments", false, &directory_fd, NULL) ||
        file_open(directory_fd, name, FILE_READ, &fd, NULL) ||
        file_read(fd, name, bytes, SMALL, 0, NULL))
        abort();
    file_close(&fd);
    file_close(&directory_fd);
    file_close(&log_fd);
}

static void write_bytes(struct faults_case *c, const char *name, const uint8_t *bytes, size_t size,
                        uint64_t offset)
{
    int log_fd = -1, directory_fd = -1, fd = -1;

    if (file_open_directory(faults_place_path(c->place), false, &log_fd, NULL) ||
        file_open_directory_at(log_fd, "segments", false, &directory_fd, NULL) ||
        file_open(directory_fd, name, FILE_WRITE, &fd, NULL) ||
        file_write(fd, name, bytes, size, offset, NULL))
        abort();
    file_close(&fd);
    file_close(&directory_fd);
    file_close(&log_fd);
}

static void delete_file(struct faults_case *c, bool segment, const char *name)
{
    int log_fd = -1, directory_fd = -1;

    if (file_open_directory(faults_place_path(c->place), false, &log_fd, NULL) ||
        file_open_directory_at(log_fd, "segments", false, &directory_fd, NULL) ||
        file_unlink(segment ? directory_fd : log_fd, name, NULL) ||
        file_sync_directory(segment ? directory_fd : log_fd, name, NULL))
        abort();
    file_close(&directory_fd);
    file_close(&log_fd);
}

static const char first_segment[] = "00000000000000000001.seg";

/*
 * A few committed events, and behind them one of which only a part reached the file before the
 * process was killed: `sectors` of it, with one byte wrong when it is `damaged`.
 */
static void prepare_tail(struct faults_case *c, size_t sectors, bool damaged)
{
    static uint8_t before[SMALL], after[SMALL];
    size_t first = 0, end = SMALL;

    faults_case_open(c, SMALL);
    for (uint64_t i = 2 + faults_case_random(c, 4); i > 0; i--)
        faults_case_append(c, 30 + faults_case_random(c, 1000));
    faults_case_commit(c);
    faults_place_keep(c->place);
    read_bytes(c, first_segment, before);
    faults_case_append(c, 4000);
    faults_case_commit(c);
    read_bytes(c, first_segment, after);
    faults_case_close(c);
    c->ledger.events[c->ledger.count].acknowledged = false;

    faults_place_restore(c->place);
    while (first < SMALL && before[first] == after[first])
        first++;
    while (end > first && before[end - 1] == after[end - 1])
        end--;
    if (sectors)
        end = first / 512 * 512 + sectors * 512;
    if (damaged)
        after[first + 2000] ^= 0x55;
    write_bytes(c, first_segment, after + first, end - first, first);
    faults_place_keep(c->place);
}

static void prepare_torn(struct faults_case *c)
{
    prepare_tail(c, 3 + (size_t)faults_case_random(c, 3), false);
}

static void prepare_damaged(struct faults_case *c)
{
    prepare_tail(c, 0, true);
}

static void prepare_killed(struct faults_case *c)
{
    faults_case_open(c, SMALL);
    for (uint64_t i = 2 + faults_case_random(c, 12); i > 0; i--) {
        faults_case_append(c, 30 + faults_case_random(c, 3000));
        faults_case_commit(c);
    }
    faults_place_keep(c->place);
    faults_case_close(c);
}

static void prepare_unused(struct faults_case *c)
{
    faults_case_open(c, SMALL);
    faults_place_keep(c->place);
    faults_case_close(c);
}

/* Killed between the seal of one segment and the birth of the next. */
static void prepare_sealed(struct faults_case *c)
{
    struct segment_log_counters counters;
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];

    faults_case_open(c, SMALL);
    do {
        faults_case_append(c, 9000);
        faults_case_commit(c);
        segment_log_count(c->log, &counters);
    } while (counters.rolls == 0);
    /* What came last rolled the segment, and so stands alone in the new one. */
    segment_format_segment_name(segment_log_appended(c->log), name);
    c->ledger.events[c->ledger.count].acknowledged = false;
    faults_place_keep(c->place);
    faults_case_close(c);
    c->ledger.events[c->ledger.count].acknowledged = false;
    faults_place_restore(c->place);
    delete_file(c, true, name);
    delete_file(c, false, "watermark");
    faults_place_keep(c->place);
}

static void prepare_without_page(struct faults_case *c)
{
    prepare_killed(c);
    faults_place_restore(c->place);
    delete_file(c, false, "watermark");
    faults_place_keep(c->place);
}

static void prepare_segments(struct faults_case *c)
{
    faults_case_open(c, SMALL);
    for (int i = 0; i < 26; i++) {
        faults_case_append(c, 7000 + faults_case_random(c, 4000));
        faults_case_commit(c);
    }
    faults_case_close(c);
    faults_place_keep(c->place);
}

/* ---- What is done ---------------------------------------------------------------------------- */

static void recover(struct faults_case *c)
{
    if (faults_case_open(c, SMALL) && faults_case_append(c, 700))
        faults_case_commit(c);
}

static void retain(struct faults_case *c)
{
    struct indexer_retention_options options = {.max_bytes = 2 * SMALL};
    struct indexer_retention_totals totals;
    struct error error = {0};
    enum error_code code =
        indexer_retention_run(faults_place_path(c->place), &options, NULL, NULL, &totals, &error);
    faults_case_took(c, code, &error);
    if (!code && totals.segments_deleted == 0 && totals.blocked[0] == '\0')
        faults_case_blame(c, "retention deletes nothing and says nothing");
    /* Again, beside a writer. */
    if (faults_case_open(c, SMALL) && faults_case_append(c, 9000) && faults_case_commit(c)) {
        code = indexer_retention_run(faults_place_path(c->place), &options, NULL, NULL, &totals,
                                     &error);
        faults_case_took(c, code, &error);
    }
}

/* Retention keeps what it was not asked to delete. */
static void check_retained(struct faults_case *c)
{
    uint64_t last = 0, seen = 0;

    for (uint64_t id = 1; id <= c->ledger.count; id++) {
        seen += c->ledger.events[id].seen;
        if (c->ledger.events[id].sequence > last)
            last = c->ledger.events[id].sequence;
    }
    if (seen < 4)
        faults_case_blame(c, "of %" PRIu64 " events only %" PRIu64 " are left", last, seen);
}

/* Nothing durable may be left out between two events without a word. */
static void check_between(struct faults_case *c, uint64_t before, uint64_t behind)
{
    for (uint64_t id = 1; id <= c->ledger.count; id++)
        if (c->ledger.events[id].acknowledged && c->ledger.events[id].sequence > before &&
            c->ledger.events[id].sequence < behind)
            faults_case_blame(c, "a reader leaves event %" PRIu64 " out silently",
                              c->ledger.events[id].sequence);
}

/* Read on until the end; each hole must be told. */
static void read_on(struct faults_case *c, struct segment_reader *reader, uint64_t *last,
                    uint64_t *told)
{
    enum { TOLD_MAX = 40 };
    struct error error = {0};
    struct event event;

    while (*told < TOLD_MAX) {
        enum error_code code = segment_reader_next(reader, &event, &error);
        if (code == ERROR_END)
            return;
        if (code) {
            ++*told;
            faults_case_took(c, code, &error);
            continue;
        }
        uint64_t id = event.number;
        if (event.sequence <= *last)
            faults_case_blame(c, "event %" PRIu64 " comes behind event %" PRIu64, event.sequence,
                              *last);
        if (id == 0 || id > c->ledger.count || c->ledger.events[id].sequence != event.sequence)
            faults_case_blame(c, "event %" PRIu64 " was never sent", event.sequence);
        else if (*told == 0)
            check_between(c, *last, event.sequence);
        *last = event.sequence;
    }
}

static void read_beside_a_writer(struct faults_case *c)
{
    struct segment_reader *reader = NULL;
    struct error error = {0};
    uint64_t last = 0, told = 0;

    if (!faults_case_open(c, SMALL))
        return;
    enum error_code code = segment_reader_open(faults_place_path(c->place), &reader, &error);
    if (!faults_case_took(c, code, &error))
        return;
    for (int i = 0; i < 4 && segment_log_failure(c->log, NULL) == OK; i++) {
        if (faults_case_append(c, 200 + faults_case_random(c, 20000)))
            faults_case_commit(c);
        read_on(c, reader, &last, &told);
        /* A page that cannot be read for a moment makes a reader late, no more. */
        if (atomic_load(&c->failed_hits) == 0 && last < segment_log_durable(c->log))
            faults_case_blame(c, "event %" PRIu64 " is durable, a reader is at its end at %" PRIu64,
                              segment_log_durable(c->log), last);
        segment_reader_wait(reader, 0);
    }
    uint64_t again = 1 + faults_case_random(c, 4);
    last = again - 1;
    code = segment_reader_seek(reader, again, &error);
    if (faults_case_took(c, code, &error))
        read_on(c, reader, &last, &told);
    faults_heal();
    read_on(c, reader, &last, &told);
    if (told == 0 && last < segment_log_durable(c->log))
        faults_case_blame(c, "event %" PRIu64 " is durable, a reader stays at its end at %" PRIu64,
                          segment_log_durable(c->log), last);
    segment_reader_close(reader);
}

struct findings {
    struct faults_case *c;
    uint64_t count;
};

static void found(void *context, const struct segment_verify_finding *finding)
{
    struct findings *findings = context;
    findings->count++;
    if (atomic_load(&findings->c->failed_hits) == 0)
        faults_case_blame(findings->c, "damage is found where there is none: %s", finding->text);
}

/* It says what it could not check, or it has checked everything. */
static void verify(struct faults_case *c)
{
    struct findings findings = {.c = c};
    struct segment_verify_totals totals = {0};
    struct error error = {0};
    enum error_code code =
        segment_verify_log(faults_place_path(c->place), found, NULL, &findings, &totals, &error);

    if (!faults_case_took(c, code, &error))
        return;
    if (findings.count == 0 && totals.events != c->ledger.count)
        faults_case_blame(c, "%" PRIu64 " of %" PRIu64 " events are checked, and no word of it",
                          totals.events, c->ledger.count);
    if (findings.count != totals.findings)
        faults_case_blame(c, "%" PRIu64 " findings are told, %" PRIu64 " are counted",
                          findings.count, totals.findings);
}

const struct faults_scenario faults_recovery_scenarios[] = {
    {.title = "a killed log is recovered", .prepare = prepare_killed, .run = recover},
    {.title = "a torn tail is recovered", .prepare = prepare_torn, .run = recover},
    {.title = "a torn tail is recovered, by a map",
     .by_map = true,
     .prepare = prepare_torn,
     .run = recover},
    {.title = "a damaged tail is put into quarantine", .prepare = prepare_damaged, .run = recover},
    {.title = "a sealed end is recovered", .prepare = prepare_sealed, .run = recover},
    {.title = "an unused segment is replaced", .prepare = prepare_unused, .run = recover},
    {.title = "the watermark's page is made anew", .prepare = prepare_without_page, .run = recover},
    {.title = "retention deletes segments",
     .prepare = prepare_segments,
     .run = retain,
     .check = check_retained},
    {.title = "a reader follows a writer", .prepare = prepare_killed, .run = read_beside_a_writer},
    {.title = "a log is verified", .prepare = prepare_segments, .run = verify},
};
const size_t faults_recovery_scenario_count =
    sizeof faults_recovery_scenarios / sizeof faults_recovery_scenarios[0];
