/*
 * tests/campaigns/faults_sqlite.h - SQLite's layer of files with the fault injector's faults in it.
 *
 * SQLite makes its own system calls, so core/file_calls.h does not reach them: this is a layer
 * around its default one, which asks faults_ask() before it opens, reads, writes, syncs, truncates.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_FAULTS_SQLITE_H
#define DAYBOOK_TESTS_CAMPAIGNS_FAULTS_SQLITE_H

/* Make it the default of all connections opened from now on. More than once does no harm. */
void faults_sqlite_install(void);

#endif
