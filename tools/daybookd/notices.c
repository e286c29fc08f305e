#include "tools/daybookd/notices.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const int64_t second_ns = 1000000000;

void notices_init(struct notices *notices, const struct report *report, int64_t now_ns)
{
    *notices = (struct notices){
        .report = report,
        .refilled_ns = now_ns,
        .summarized_ns = now_ns,
        .left = NOTICES_AT_ONCE,
    };
}

static bool take_one(struct notices *notices, enum report_level level)
{
    if (level > notices->report->level_max)
        return false;
    if (notices->left > 0) {
        notices->left--;
        return true;
    }
    notices->left_out++;
    return false;
}

void notices_line(struct notices *notices, enum report_level level, const char *format, ...)
{
    if (!take_one(notices, level))
        return;
    char text[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report_line(notices->report, level, "%s", text);
}

static void count_left_out(struct notices *notices, const char *code)
{
    struct notices_count *count = notices->left_out_closings;
    for (int i = 0; i < NOTICES_CODES - 1 && count->code && strcmp(count->code, code) != 0; i++)
        count++;
    count->code = code;
    count->times++;
}

void notices_closing(struct notices *notices, uint64_t connection, const char *code,
                     const char *text)
{
    notices->closed++;
    if (take_one(notices, REPORT_WARNING))
        report_line(notices->report, REPORT_WARNING, "connection %" PRIu64 ": closed by us: %s: %s",
                    connection, code, text);
    else
        count_left_out(notices, code);
}

static void summarize(struct notices *notices, int64_t now_ns)
{
    char closings[400] = "";
    size_t at = 0;
    for (int i = 0; i < NOTICES_CODES && notices->left_out_closings[i].code; i++) {
        const struct notices_count *count = &notices->left_out_closings[i];
        int length = snprintf(closings + at, sizeof closings - at, "%s%s %" PRIu64,
                              at ? ", " : "; closed by us: ", count->code, count->times);
        if (length > 0 && (size_t)length < sizeof closings - at)
            at += (size_t)length;
    }
    report_line(notices->report, REPORT_WARNING,
                "%" PRIu64 " lines about clients were left out in the last %" PRId64 " s%s",
                notices->left_out, (now_ns - notices->summarized_ns) / second_ns, closings);
    memset(notices->left_out_closings, 0, sizeof notices->left_out_closings);
    notices->left_out = 0;
    notices->summarized_ns = now_ns;
}

void notices_tick(struct notices *notices, int64_t now_ns)
{
    int64_t seconds = (now_ns - notices->refilled_ns) / second_ns;
    if (seconds > 0) {
        int64_t left = (int64_t)notices->left + seconds * NOTICES_PER_SECOND;
        notices->left = left < NOTICES_AT_ONCE ? (unsigned)left : NOTICES_AT_ONCE;
        notices->refilled_ns += seconds * second_ns;
    }
    if (notices->left_out == 0)
        return;
    if (now_ns - notices->summarized_ns >= NOTICES_SUMMARY_SECONDS * second_ns)
        summarize(notices, now_ns);
}
