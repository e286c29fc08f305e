/*
 * indexer/time_text.h - which times can have a text that begins like this one?
 *
 * The column `time` is compared as text, "2026-01-02T03:04:05.000000000Z": such texts are in the
 * order of the times. So what a comparison with any text allows lies within a range of times: that
 * of the longest beginning of the text that is the beginning of a time. Internal to indexer/.
 */
#ifndef DAYBOOK_INDEXER_TIME_TEXT_H
#define DAYBOOK_INDEXER_TIME_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * *first_ns_out and *last_ns_out become the first and the last time whose text begins with that
 * beginning: of "2026-01-02 03:04" the 2nd of January, of "x" all times. A time whose text is not
 * before `text` is not before the first; one whose text is not behind it is not behind the last.
 */
void indexer_time_text_range(const char *text, size_t text_bytes, int64_t *first_ns_out,
                             int64_t *last_ns_out);

#endif
