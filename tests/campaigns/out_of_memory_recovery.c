/*
 * A log whose last commit is compressed, and for which nothing but its own bytes speaks, is opened
 * while memory runs out: all of it is there afterwards, or the opening says why not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/log.h"
#include "segment/reader.h"
#include "tests/campaigns/campaign.h"
#include "tests/campaigns/out_of_memory.h"

enum { EVENTS = 3, PAYLOAD_BYTES = 8000 };

static char master[600], place[600];

static void run_command(struct faults_case *c, const char *format, const char *a, const char *b)
{
    char command[1400];
    snprintf(command, sizeof command, format, a, b);
    if (system(command))
        faults_case_blame(c, "this fails: %s", command);
}

/* As a power cut leaves it: no stop mark, and no page that has seen the last commit. */
static void prepare(struct faults_case *c)
{
    static uint8_t payload[5 + PAYLOAD_BYTES] = {0xdb, 0, 0, PAYLOAD_BYTES >> 8,
                                                 PAYLOAD_BYTES & 255};
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN};
    char working[600];
    struct segment_log *log = NULL;
    struct error error;
    memset(payload + 5, 'x', PAYLOAD_BYTES);
    snprintf(working, sizeof working, "%s/working", campaign_directory());
    snprintf(master, sizeof master, "%s/killed", campaign_directory());
    snprintf(place, sizeof place, "%s/opened", campaign_directory());
    enum error_code code = segment_log_open(working, &options, &log, NULL, &error);
    for (int i = 0; !code && i < EVENTS; i++) {
        enum segment_log_outcome outcome;
        uint64_t sequence;
        struct event event = {.time_ns = 1,
                              .topic = "t",
                              .topic_bytes = 1,
                              .payload = payload,
                              .payload_bytes = sizeof payload};
        code = segment_log_append(log, &event, &outcome, &sequence, &error);
        if (!code)
            code = segment_log_wait(log, sequence, &error);
    }
    run_command(c, "cp -a '%s' '%s'", working, master);
    run_command(c, "rm '%s/watermark'%s", master, "");
    if (code || segment_log_close(log, &error))
        faults_case_blame(c, "the log cannot be made: %s", error.text);
}

static void look(struct faults_case *c)
{
    struct segment_reader *reader = NULL;
    struct event event;
    struct error error;
    uint64_t count = 0;
    enum error_code code = segment_reader_open(place, &reader, &error);
    while (!code && (code = segment_reader_next(reader, &event, &error)) == OK)
        count++;
    segment_reader_close(reader);
    if (code != ERROR_END || count != EVENTS)
        faults_case_blame(c, "%" PRIu64 " of %d acknowledged events are left: %s", count, EVENTS,
                          code == ERROR_END ? "and no word of it" : error.text);
}

void out_of_memory_recovery(struct faults_case *c)
{
    struct segment_log_options options = {.segment_bytes = FORMAT_SEGMENT_BYTES_MIN};
    struct segment_log *log = NULL;
    struct error error = {0};
    faults_case_exempt++;
    if (!master[0])
        prepare(c);
    run_command(c, "rm -rf '%s'%s", place, "");
    run_command(c, "cp -a '%s' '%s'", master, place);
    faults_case_exempt--;

    enum error_code code = segment_log_open(place, &options, &log, NULL, &error);
    if (faults_case_took(c, code, &error))
        faults_case_took(c, segment_log_close(log, &error), &error);

    faults_case_exempt++;
    look(c);
    faults_case_exempt--;
}
