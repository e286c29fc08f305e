#include "tests/campaigns/campaign.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

static uint64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 0);
    if (errno || end == text || *end) {
        fprintf(stderr, "'%s' is not a number\n", text);
        exit(2);
    }
    return number;
}

void campaign_parse(struct campaign *campaign, int count, char **arguments)
{
    campaign->deadline_ns = INT64_MAX;
    for (int i = 1; i < count; i += 2) {
        const char *name = arguments[i];
        if (i + 1 == count || (strcmp(name, "--cases") != 0 && strcmp(name, "--seed") != 0 &&
                               strcmp(name, "--seconds") != 0)) {
            fprintf(stderr, "usage: %s [--cases N] [--seed S] [--seconds T]\n", arguments[0]);
            exit(2);
        }
        uint64_t number = number_of(arguments[i + 1]);
        if (strcmp(name, "--cases") == 0)
            campaign->cases = number;
        else if (strcmp(name, "--seed") == 0)
            campaign->seed = number;
        else
            campaign->deadline_ns = clock_monotonic_ns() + (int64_t)number * 1000000000;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
}

bool campaign_is_over(const struct campaign *campaign)
{
    return clock_monotonic_ns() >= campaign->deadline_ns;
}

void campaign_say(struct campaign *campaign, bool holds, const char *format, ...)
{
    va_list arguments;
    fputs(holds ? "ok - " : "not ok - ", stdout);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    campaign->failures += !holds;
}

void campaign_count(uint64_t number, const char *format, ...)
{
    va_list arguments;
    printf("cases: %" PRIu64 " ", number);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

static char path[512]; /* of the directory; an exit handler takes no argument */

static int remove_entry(const char *name, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    remove(name);
    return 0;
}

static void remove_directory(void)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *campaign_directory(void)
{
    const char *parent = getenv("TMPDIR");
    if (path[0])
        return path;
    snprintf(path, sizeof path, "%s/daybook-campaign-XXXXXX", parent ? parent : "/var/tmp");
    if (!mkdtemp(path)) {
        fprintf(stderr, "cannot make the directory '%s': %s\n", path, strerror(errno));
        exit(2);
    }
    atexit(remove_directory);
    return path;
}
