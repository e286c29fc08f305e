/*
 * tools/daybook/sql_shell.h - `daybook sql` for a person at a terminal.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_SHELL_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_SHELL_H

#include "tools/daybook/sql_session.h"

/*
 * Ask for lines until .quit or Ctrl-D. Mistakes are told, and it goes on; so it does after Ctrl-C,
 * which leaves the line that is being typed, or stops the statement that runs. Each statement sees
 * the log as it is then. An error only when it could not begin.
 */
enum error_code sql_shell_run(struct sql_session *session, struct error *error);

#endif
