/*
 * tools/daybook/sql_statement.h - run SQL and print what it answers.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SQL_STATEMENT_H
#define DAYBOOK_TOOLS_DAYBOOK_SQL_STATEMENT_H

#include "tools/daybook/sql_session.h"

/*
 * Run the statements of `text` one after another up to the first mistake, each answer on stdout in
 * the session's form; for a person the log is looked at anew before. What came before a mistake is
 * printed all the same. ERROR_END: interrupted. ERROR_CLOSED: nobody reads stdout any more.
 */
enum error_code sql_statement_run(struct sql_session *session, const char *text,
                                  struct error *error);

#endif
