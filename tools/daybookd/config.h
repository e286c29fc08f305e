/*
 * tools/daybookd/config.h - what the daemon was told: by its flags, else by its configuration file,
 * else by the environment, else the defaults. See tools/settings.h.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_CONFIG_H
#define DAYBOOK_TOOLS_DAYBOOKD_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "segment/log.h"
#include "tools/allowed_users.h"
#include "tools/settings.h"

struct config {
    char directory[PATH_MAX];
    char socket[PATH_MAX];
    struct segment_log_options log; /* its settings; callbacks and witness are not ours */
    bool pack;
    size_t connections_max;
    size_t user_connections_max;
    size_t input_bytes_max;
    struct allowed_users allowed;
    char index[SETTINGS_INDEX_BYTES]; /* fields to be indexed: settings.h */
    bool verbose;
    bool help; /* only print the help, or the version, and go */
    bool version;
};

/* ERROR_INVALID: the text names the flag, or the file and line. */
enum error_code config_parse(int argc, char **argv, struct config *config_out, struct error *error);
void config_print_help(FILE *out);
/*
 * What the daemon may hold in memory at most, whatever its clients do; mapped files, which the
 * kernel takes back when it wants, are not counted. docs/operations.md tells the sum.
 */
size_t config_memory_max(const struct config *config);

#endif
