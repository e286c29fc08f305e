/*
 * indexer/where_text.h - the tokens of a condition, as far as its limits are concerned.
 *
 * SQLite parses the text. Before that, it is made sure that within "(text)" it cannot be anything
 * but what stands in these parentheses: no comment that hides the closing one, no parenthesis that
 * closes ours, no semicolon, no parameter. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_WHERE_TEXT_H
#define DAYBOOK_INDEXER_WHERE_TEXT_H

#include <stddef.h>

#include "core/bytes.h"

/* ERROR_INVALID says what is wrong, and at which byte, counted from 1. */
enum error_code indexer_where_text_check(const char *text, size_t text_bytes, struct error *error);

/*
 * How often can what the text names be copied from one text into another? As deep as its
 * parentheses are, for functions, and once for each "||", "->" and "->>". The text has passed the
 * check.
 */
size_t indexer_where_text_passes(const char *text, size_t text_bytes);

/*
 * The next name from *at on, without its quotes, replaces what is in `name`, with a NUL; and *at
 * becomes the place behind it. ERROR_END: there is none. Keywords and names of functions are passed
 * over. The text has passed the check.
 */
enum error_code indexer_where_text_name(const char *text, size_t text_bytes, size_t *at,
                                        struct buffer *name, struct error *error);

#endif
