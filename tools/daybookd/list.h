/*
 * tools/daybookd/list.h - a doubly linked list whose links live inside its members.
 *
 * A member is in at most one list for each link that it has; an unlinked link points at nothing.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_LIST_H
#define DAYBOOK_TOOLS_DAYBOOKD_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_link {
    struct list_link *next;
    struct list_link *previous;
};

/* The list itself is a link, too: its next is the first member, itself when there is none. */
static inline void list_init(struct list_link *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool list_is_empty(const struct list_link *list)
{
    return list->next == list;
}

static inline bool list_contains(const struct list_link *link)
{
    return link->next != NULL;
}

static inline void list_append(struct list_link *list, struct list_link *link)
{
    link->next = list;
    link->previous = list->previous;
    list->previous->next = link;
    list->previous = link;
}

/* Does nothing when the link is in no list. */
static inline void list_remove(struct list_link *link)
{
    if (!link->next)
        return;
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = NULL;
    link->previous = NULL;
}

/* The struct that holds the link. */
#define LIST_MEMBER(link, type, field) ((type *)(void *)((char *)(link)-offsetof(type, field)))

#endif
