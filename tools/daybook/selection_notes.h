/*
 * tools/daybook/selection_notes.h - nothing was selected: was a name mistyped?
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_SELECTION_NOTES_H
#define DAYBOOK_TOOLS_DAYBOOK_SELECTION_NOTES_H

#include "tools/daybook/selection.h"

/*
 * When no event has passed: say on stderr which patterns match no topic that the index of the log
 * in `directory` knows, with what may have been meant, and which field of --where no event had.
 * Without an index nothing is known of topics, and nothing is said of them.
 */
void selection_notes_tell(const struct selection *selection, const char *verb,
                          const char *directory);

#endif
