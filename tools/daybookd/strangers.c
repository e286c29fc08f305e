#include "tools/daybookd/strangers.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "segment/format.h"

enum { NAMES_TOLD = 5 };

struct strangers {
    int count;
    char names[400];
};

/* Ours are segments, and what is on its way to become one. */
static bool is_ours(const char *name)
{
    static const char UNFINISHED[] = ".tmp";
    uint64_t sequence_first;
    size_t bytes = strlen(name);
    return segment_format_parse_segment_name(name, &sequence_first) ||
           (bytes >= sizeof UNFINISHED - 1 &&
            strcmp(name + bytes - (sizeof UNFINISHED - 1), UNFINISHED) == 0);
}

static int look_at(void *context, const char *name)
{
    struct strangers *strangers = context;
    if (is_ours(name))
        return 0;
    size_t at = strlen(strangers->names);
    if (strangers->count++ < NAMES_TOLD)
        snprintf(strangers->names + at, sizeof strangers->names - at, "%s'%.60s'", at ? ", " : "",
                 name);
    return 0;
}

static enum error_code list(const char *directory, struct strangers *strangers)
{
    int log_fd = -1, segments_fd = -1;
    enum error_code code = file_open_directory_to_read(directory, &log_fd, NULL);
    if (!code)
        code = file_open_directory_to_read_at(log_fd, "segments", &segments_fd, NULL);
    if (!code)
        code = file_list(segments_fd, "segments", look_at, strangers, NULL);
    file_close(&segments_fd);
    file_close(&log_fd);
    return code;
}

void strangers_report(const char *directory, const struct report *report)
{
    struct strangers strangers = {0};
    if (list(directory, &strangers) || strangers.count == 0)
        return;
    report_line(report, REPORT_WARNING, "%d %s in '%s/segments' no segment, and left alone: %s%s",
                strangers.count, strangers.count == 1 ? "file is" : "files are", directory,
                strangers.names, strangers.count > NAMES_TOLD ? ", …" : "");
}
