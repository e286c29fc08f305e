/*
 * tools/daybook/options.h - a verb's flags: described once, for the parser and for --help.
 *
 * Mistakes are sticky: the first one is said on stderr, parsing ends, and the verb returns
 * options->status. So a verb reads
 *
 *     struct options options;
 *     options_init(&options, &read_verb, argc, argv);
 *     while ((flag = options_next(&options, &value)) != OPTIONS_DONE)
 *         switch (flag) { … }
 *     if (options.finished)
 *         return options.status;
 *
 * One options a process: getopt keeps its state for itself.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_OPTIONS_H
#define DAYBOOK_TOOLS_DAYBOOK_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/settings.h"

struct options_flag {
    int id;               /* the short letter, or OPTIONS_LONG + n when there is none */
    const char *name;     /* the long name */
    const char *argument; /* what --help calls its value; "[N]" is optional; NULL: takes none */
    const char *help;
};

enum {
    OPTIONS_DONE = -1,
    OPTIONS_LONG = 256, /* first id of a flag without a letter */
    OPTIONS_CONFIG = 'c',
    OPTIONS_SETTING = 512, /* … of a flag that is a setting; its settings_id is added */
    OPTIONS_FLAG_MAX = 40, /* flags a verb may have */
};

/* -D and -s, which options_next handles itself. */
#define OPTIONS_DIRECTORY_FLAG                                                                     \
    {                                                                                              \
        'D', "dir", "DIR", "the log's directory (default $DAYBOOK_DIR, else ./daybook-data)"       \
    }
#define OPTIONS_SOCKET_FLAG                                                                        \
    {                                                                                              \
        's', "socket", "SOCKET",                                                                   \
            "the daemon's socket (default $DAYBOOK_SOCKET, else DIR/daybook.sock)"                 \
    }

/* The settings of a log, for writing verbs, which options_next keeps for options_settings. */
#define OPTIONS_SETTING_FLAGS                                                                      \
    {OPTIONS_CONFIG, "config", "FILE", "settings as lines 'name = value', as for daybookd"},       \
        {OPTIONS_SETTING + SETTINGS_SEGMENT_SIZE, "segment-size", "SIZE",                          \
         "largest segment (default 64M)"},                                                         \
        {OPTIONS_SETTING + SETTINGS_SEGMENT_AGE, "segment-age", "AGE",                             \
         "roll a segment after this long (default 1d)"},                                           \
        {OPTIONS_SETTING + SETTINGS_WRITE_PATH, "write-path", "PATH", "pwrite (default) or mmap"}, \
    {                                                                                              \
        OPTIONS_SETTING + SETTINGS_COMMIT_ALIGN, "commit-align", "BYTES",                          \
            "8 (default), 512 or 4096"                                                             \
    }

struct options_verb {
    const char *name;
    const char *usage;                /* what follows "daybook NAME" */
    const char *about;                /* a sentence or a few */
    const struct options_flag *flags; /* ends with a name of NULL */
    const char *example;              /* lines, each with its newline */
};

struct options {
    const struct options_verb *verb;
    int argc;
    char **argv;
    bool finished; /* --help was printed, or a mistake was said: return status */
    int status;
    const char *directory_flag; /* as given, or NULL */
    const char *socket_flag;
    const char *config_flag;
    const char *setting_flags[SETTINGS_COUNT];
    struct settings settings; /* after options_settings: file and flags, without -D and -s */
    char socket_path[PATH_MAX];
};

void options_init(struct options *options, const struct options_verb *verb, int argc, char **argv);
/* The next flag's id; its value is in *value_out (NULL: none). OPTIONS_DONE: see `finished`. */
int options_next(struct options *options, const char **value_out);
/* What is left behind the flags. */
int options_operand_count(const struct options *options);
char **options_operands(const struct options *options);
/* For verbs that take no operands: a mistake when there is one. */
void options_refuse_operands(struct options *options);

/* A mistake: "daybook VERB: text: try 'daybook VERB --help'". Returns STATUS_USAGE. */
int options_refuse(struct options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Values; a mistake leaves *out as it was. `flag` is its name for the text ("-n"). */
void options_count(struct options *options, const char *flag, const char *value,
                   uint64_t *count_out);
void options_size(struct options *options, const char *flag, const char *value,
                  uint64_t *bytes_out);
void options_duration(struct options *options, const char *flag, const char *value,
                      int64_t *ns_out);
/* Which of `choices` (ends with NULL) is it? */
void options_choice(struct options *options, const char *flag, const char *value,
                    const char *const *choices, int *index_out);
/*
 * For verbs with OPTIONS_SETTING_FLAGS, after the last flag: read the configuration file, and let
 * the flags win over it. A mistake in either is one like any other.
 */
void options_settings(struct options *options, struct segment_log_options *log_out);

/* -D, else `dir` in the configuration file, else $DAYBOOK_DIR, else ./daybook-data. */
const char *options_directory(const struct options *options);
/* -s, else `socket` in the configuration file, else $DAYBOOK_SOCKET, else DIR/daybook.sock. */
const char *options_socket(struct options *options);
/*
 * Did the user name a socket, so that only the daemon behind it will do? Yes with -s; also in
 * another way as long as no directory was named.
 */
bool options_socket_is_explicit(const struct options *options);
/* Were directory and socket named apart from each other, so that they may not belong together? */
bool options_may_disagree(const struct options *options);

#endif
