/* A log with damage of several kinds is repaired, while memory runs out. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checksum.h"
#include "segment/log.h"
#include "segment/reader.h"
#include "segment/repair.h"
#include "segment/verify.h"
#include "tests/campaigns/campaign.h"
#include "tests/campaigns/out_of_memory.h"

enum { EVENTS = 200, SEGMENTS_MAX = 64 };

static char master[600], place[600];
static uint64_t kept; /* a checksum of what a repair with all the memory it wants has kept */

/* ---- Damage ---- */

static void run_command(struct faults_case *c, const char *format, const char *a, const char *b)
{
    char command[1400];
    snprintf(command, sizeof command, format, a, b);
    if (system(command))
        faults_case_blame(c, "this fails: %s", command);
}

static void make_master(struct faults_case *c)
{
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN};
    struct segment_log *log = NULL;
    struct error error;
    enum error_code code = segment_log_open(master, &options, &log, NULL, &error);

    for (uint64_t i = 1; !code && i <= EVENTS; i++) {
        enum segment_log_outcome outcome;
        uint64_t sequence;
        char name[16];
        uint8_t *payload = faults_case_payload(i, 3000);
        struct event event = {
            .time_ns = (int64_t)i * 1000000000,
            .topic = "t",
            .topic_bytes = 1,
            .payload = payload,
            .payload_bytes = 3000,
            .producer = name,
            .producer_bytes = (size_t)snprintf(name, sizeof name, "p%u", (unsigned)i % 20),
            .number = i,
        };
        code = segment_log_append(log, &event, &outcome, &sequence, &error);
        free(payload);
        if (!code)
            code = segment_log_wait(log, sequence, &error);
    }
    if (code || segment_log_close(log, &error))
        faults_case_blame(c, "the log cannot be made: %s", error.text);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The names of the segments, in order. */
static size_t list_segments(const char *path, char names[SEGMENTS_MAX][32])
{
    char folder[700];
    size_t count = 0;
    snprintf(folder, sizeof folder, "%s/segments", path);
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory)) && count < SEGMENTS_MAX;)
        if (strlen(entry->d_name) == 24)
            memcpy(names[count++], entry->d_name, 25);
    if (directory)
        closedir(directory);
    qsort(names, count, sizeof names[0], compare_names);
    return count;
}

static void flip(struct faults_case *c, const char *name, off_t offset)
{
    char path[800];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/segments/%s", master, name);
    int fd = open(path, O_RDWR);
    if (fd < 0 || pread(fd, &byte, 1, offset) != 1)
        faults_case_blame(c, "%s cannot be damaged", path);
    byte ^= 0x10;
    if (pwrite(fd, &byte, 1, offset) != 1)
        faults_case_blame(c, "%s cannot be damaged", path);
    close(fd);
}

/* ---- The repair ---- */

static void ignore_sentence(void *context, const char *text)
{
    (void)context;
    (void)text;
}

static enum error_code repair(const char *path, struct error *error)
{
    struct segment_repair_options options = {.accept_loss = true, .tell = ignore_sentence};
    struct segment_repair_totals totals;
    return segment_repair_run(path, &options, &totals, error);
}

/* Damage in blocks, a segment that is gone, a header and a list of producers that are spoilt; and
 * an older repair, whose gaps are on record. */
static void prepare(struct faults_case *c)
{
    static char names[SEGMENTS_MAX][32];
    struct error error;
    snprintf(master, sizeof master, "%s/master", campaign_directory());
    snprintf(place, sizeof place, "%s/place", campaign_directory());
    make_master(c);
    size_t count = list_segments(master, names);
    if (count < 8) {
        faults_case_blame(c, "only %zu segments", count);
        return;
    }
    flip(c, names[1], 4096 + 9000);
    if (repair(master, &error))
        faults_case_blame(c, "the first repair: %s", error.text);
    flip(c, names[1], 4096 + 20000);
    flip(c, names[2], 40);
    run_command(c, "rm '%s/segments/%s'", master, names[3]);
    flip(c, names[5], 4096 + 130);
    flip(c, names[5], 4096 + 30000);
    flip(c, names[count - 1], 4096 + 130);
}

static void count_finding(void *context, const struct segment_verify_finding *finding)
{
    struct faults_case *c = context;
    faults_case_blame(c, "a repaired log is not sound: %s", finding->text);
}

/* All events that are left, and that the log is sound. */
static uint64_t look(struct faults_case *c)
{
    struct segment_verify_totals totals;
    struct segment_reader *reader = NULL;
    struct event event;
    struct error error;
    uint32_t checksum = 0;
    if (segment_verify_log(place, count_finding, NULL, c, &totals, &error) ||
        segment_reader_open(place, &reader, &error)) {
        faults_case_blame(c, "a repaired log cannot be read: %s", error.text);
        return 0;
    }
    enum error_code code;
    uint64_t count = 0;
    while ((code = segment_reader_next(reader, &event, &error)) == OK) {
        checksum = checksum_extend(checksum, &event.sequence, sizeof event.sequence);
        checksum = checksum_extend(checksum, event.payload, event.payload_bytes);
        count++;
    }
    segment_reader_close(reader);
    if (code != ERROR_END || count < EVENTS / 2)
        faults_case_blame(c, "a repaired log ends after %" PRIu64 " events: %s", count, error.text);
    return count << 32 | checksum;
}

void out_of_memory_repair(struct faults_case *c)
{
    struct error error = {0};
    faults_case_exempt++;
    if (!master[0])
        prepare(c);
    run_command(c, "rm -rf '%s'%s", place, "");
    run_command(c, "cp -a '%s' '%s'", master, place);
    faults_case_exempt--;

    enum error_code code = repair(place, &error);
    faults_case_took(c, code, &error);

    faults_case_exempt++;
    if (code && repair(place, &error))
        faults_case_blame(c, "repaired again, with memory: %s", error.text);
    uint64_t seen = look(c);
    if (kept == 0)
        kept = seen;
    if (seen != kept)
        faults_case_blame(c, "%" PRIu64 " events are kept, and %" PRIu64 " with memory", seen >> 32,
                          kept >> 32);
    faults_case_exempt--;
}
