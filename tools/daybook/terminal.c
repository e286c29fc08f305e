#include "tools/daybook/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/units.h"

enum { WIDTH_UNKNOWN = 80, BAR_COLUMNS = 30 };
#define BAR_INTERVAL_NS INT64_C(100000000)

unsigned terminal_width(int fd)
{
    if (!isatty(fd))
        return 0;
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return WIDTH_UNKNOWN;
}

bool terminal_has_colour(int fd)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    if (no_colour && no_colour[0])
        return false;
    return isatty(fd) && kind && strcmp(kind, "dumb") != 0;
}

size_t terminal_fit(const char *text, size_t text_bytes, size_t columns)
{
    size_t at = 0;
    for (size_t used = 0; at < text_bytes && used < columns; used++) {
        at++;
        while (at < text_bytes && ((unsigned char)text[at] & 0xc0) == 0x80)
            at++; /* continuation bytes belong to the character before them */
    }
    return at;
}

static void format_duration(uint64_t ns, char *text)
{
    /* Whole seconds: more would only flicker. */
    units_format_duration((int64_t)(ns / 1000000000) * 1000000000, text);
}

void terminal_progress_show(struct terminal_progress *progress, uint64_t done, uint64_t total)
{
    int64_t now_ns = clock_monotonic_ns();
    if (!isatty(STDERR_FILENO) || (progress->shown && now_ns - progress->last_ns < BAR_INTERVAL_NS))
        return;
    progress->shown = true;
    progress->last_ns = now_ns;

    double share = total ? (double)done / (double)total : 0;
    if (share > 1)
        share = 1;
    char bar[BAR_COLUMNS + 1];
    int full = (int)(share * (double)BAR_COLUMNS);
    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(BAR_COLUMNS - full));
    bar[BAR_COLUMNS] = '\0';
    char done_text[UNITS_TEXT_SIZE + 8], total_text[UNITS_TEXT_SIZE + 8];
    void (*format)(uint64_t, char *) = progress->duration ? format_duration
                                       : progress->counts ? units_format_count
                                                          : units_format_size;
    format(done, done_text);
    format(total, total_text);
    fprintf(stderr, "\r%s [%s] %3d %% %s of %s\x1b[K", progress->what, bar, (int)(share * 100),
            done_text, total_text);
    fflush(stderr);
}

void terminal_progress_clear(struct terminal_progress *progress)
{
    if (!progress->shown)
        return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    progress->shown = false;
}
