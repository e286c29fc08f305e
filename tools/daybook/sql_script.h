/*
 * tools/daybook/sql_script.h - lines that become statements and dot commands.
 *
 * A statement runs as soon as its semicolon is there; a dot command is a line of its own that
 * begins with a dot, between statements. White space and comments alone are no statement.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_SCRIPT_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_SCRIPT_H

#include <stdio.h>

#include "core/bytes.h"
#include "tools/daybook/sql_session.h"

/* Zero is an empty one. */
struct sql_script {
    struct buffer text; /* of the statement that is not complete, without its NUL */
};

/*
 * Take one line, with or without its line break, and run what is complete by it. *ran_out (may be
 * NULL): something was run, or failed, so that nothing is pending any more.
 */
enum error_code sql_script_add(struct sql_session *session, struct sql_script *script,
                               const char *line, size_t line_bytes, bool *ran_out,
                               struct error *error);
/* Is a statement begun? */
bool sql_script_is_pending(const struct sql_script *script);
/* Run what is left: the last semicolon may be missing. */
enum error_code sql_script_finish(struct sql_session *session, struct sql_script *script,
                                  struct error *error);
/* Forget what is pending. */
void sql_script_clear(struct sql_script *script);
void sql_script_release(struct sql_script *script);

/*
 * Run all of a stream up to the first mistake or .quit. With `name`, errors begin with it and the
 * line at which the failed statement begins.
 */
enum error_code sql_script_run_stream(struct sql_session *session, FILE *stream, const char *name,
                                      struct error *error);
/* The same for a file, which may .read others, sixteen deep. */
enum error_code sql_script_run_file(struct sql_session *session, const char *path,
                                    struct error *error);

#endif
