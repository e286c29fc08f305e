/*
 * tools/daybookd/subscriber_take.h - what a subscriber may say, as frames or as lines.
 *
 * subscriber.c finds where a frame or line ends; this finds out what it says, and does it.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_SUBSCRIBER_TAKE_H
#define DAYBOOK_TOOLS_DAYBOOKD_SUBSCRIBER_TAKE_H

#include <stddef.h>
#include <stdint.h>

struct subscriber;

/* One frame, without its length. */
void subscriber_take_frame(struct subscriber *subscriber, const uint8_t *data, size_t size);
/* One line, without its newline. */
void subscriber_take_line(struct subscriber *subscriber, const char *text, size_t bytes);

#endif
