/*
 * tools/settings.h - the settings of a log and its daemon: flags of daybookd and of the verbs that
 * write, and lines `name = value` of a configuration file that both read.
 *
 * One table describes every setting: its flag, its key in the file (the same name), its text for
 * --help, and how its value is read.
 */
#ifndef DAYBOOK_TOOLS_SETTINGS_H
#define DAYBOOK_TOOLS_SETTINGS_H

#include <limits.h>
#include <stdbool.h>

#include "segment/log.h"
#include "tools/allowed_users.h"

enum { SETTINGS_INDEX_BYTES = 16384 };

struct settings {
    char directory[PATH_MAX]; /* "": not told */
    char socket[PATH_MAX];
    struct segment_log_options log; /* its settings; callbacks and witness are not ours */
    bool pack;                      /* the daemon's, from here on: pack sealed segments */
    size_t connections_max;
    size_t user_connections_max;    /* 0: as many as there are */
    size_t input_bytes_max;
    struct allowed_users allowed;
    char index[SETTINGS_INDEX_BYTES]; /* lines "TOPIC FIELD…" for indexer_wishes_add_text */
    bool verbose;
};

enum settings_id {
    SETTINGS_DIRECTORY,
    SETTINGS_SOCKET,
    SETTINGS_SEGMENT_SIZE,
    SETTINGS_SEGMENT_AGE,
    SETTINGS_WRITE_PATH,
    SETTINGS_COMMIT_ALIGN,
    SETTINGS_PACK,
    SETTINGS_PENDING_MEMORY,
    SETTINGS_INPUT_MEMORY,
    SETTINGS_MAX_CONNECTIONS,
    SETTINGS_MAX_USER_CONNECTIONS,
    SETTINGS_ALLOW_USERS,
    SETTINGS_INDEX, /* may be given again and again, and adds up */
    SETTINGS_VERBOSE,
    SETTINGS_COUNT,
};

/* For --help and getopt. */
struct settings_text {
    const char *name;  /* flag and key */
    int letter;        /* 0: none */
    const char *value; /* what --help calls it; NULL: the flag takes none */
    const char *help;
};
const struct settings_text *settings_describe(enum settings_id id);

/* What holds when nobody says anything. */
void settings_init(struct settings *settings);
/* Take the value of a flag. ERROR_INVALID: the text begins with the flag's name. */
enum error_code settings_set(struct settings *settings, enum settings_id id, const char *value,
                             struct error *error);
/*
 * Take the lines of a configuration file. ERROR_INVALID: the text names the file and the line;
 * other errors say why it could not be read.
 */
enum error_code settings_load(struct settings *settings, const char *path, struct error *error);

#endif
