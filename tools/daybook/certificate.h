/*
 * tools/daybook/certificate.h - what a replay did, and how faithfully, for people and as JSON.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_CERTIFICATE_H
#define DAYBOOK_TOOLS_DAYBOOK_CERTIFICATE_H

#include "core/error.h"
#include "tools/daybook/replay_player.h"

struct certificate {
    const struct replay_player *player;
    const struct replay_target_counts *counts;
    const char *to; /* NULL: standard output */
    int64_t merge_window_ns;
};

/* Events that were not handed over, or that did not arrive as far as anybody told us. */
uint64_t certificate_missing(const struct certificate *certificate);
/* A few sentences on stderr. */
void certificate_print(const struct certificate *certificate);
/* One JSON object into the file `path`, which is made or replaced. */
enum error_code certificate_write(const struct certificate *certificate, const char *path,
                                  struct error *error);

#endif
