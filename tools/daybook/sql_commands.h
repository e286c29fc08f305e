/*
 * tools/daybook/sql_commands.h - the dot commands of `daybook sql`.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_COMMANDS_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_COMMANDS_H

#include <stddef.h>

#include "tools/daybook/sql_session.h"

/* What an argument is, for completion. */
enum sql_commands_argument {
    SQL_ARGUMENT_NONE,
    SQL_ARGUMENT_SWITCH, /* on, off */
    SQL_ARGUMENT_FORMAT, /* rows_format_names */
    SQL_ARGUMENT_TABLE,
    SQL_ARGUMENT_FILE,
};

struct sql_command {
    const char *name;  /* with its dot */
    const char *usage; /* what follows it; "" when nothing does */
    enum sql_commands_argument argument;
    enum error_code (*run)(struct sql_session *session, const char *argument,
                           struct error *error); /* "" when none was given */
    const char *help;
};

/* All of them in the order of .help; name NULL ends. */
extern const struct sql_command sql_commands[];

/*
 * Run a line that begins with a dot, or is quit, exit or help alone. The beginning of a name will
 * do when no other begins so. ERROR_INVALID says which command was probably meant.
 */
enum error_code sql_commands_run(struct sql_session *session, const char *line, size_t line_bytes,
                                 struct error *error);

#endif
