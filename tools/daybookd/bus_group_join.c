/* Who becomes a member of a group, and goes. See tools/daybookd/bus_group.h. */
#include <stdlib.h>
#include <string.h>

#include "tools/daybookd/bus_state.h"

static struct subscriber *member_of(struct list_link *link)
{
    return LIST_MEMBER(link, struct subscriber, in_group);
}

static struct bus_group *find(const struct bus *bus, const char *name, size_t name_bytes)
{
    for (struct list_link *link = bus->groups.next; link != &bus->groups; link = link->next) {
        struct bus_group *group = LIST_MEMBER(link, struct bus_group, in_groups);
        if (strlen(group->name) == name_bytes && memcmp(group->name, name, name_bytes) == 0)
            return group;
    }
    return NULL;
}

bool bus_group_is_open(const struct bus *bus, const char *name, size_t name_bytes)
{
    const struct bus_group *group = find(bus, name, name_bytes);
    return group && bus_group_has_members(group);
}

static enum error_code check_member(struct bus_group *group, const struct subscriber *newcomer,
                                    const struct filter *filter,
                                    const struct wire_subscribe *subscribe, struct error *error)
{
    const struct subscriber *other = member_of(group->members.next);
    if (newcomer->peer.uid != 0 && other->peer.uid != newcomer->peer.uid)
        return error_set(error, ERROR_BUSY, "cursor '%s' is in use by user %u", group->name,
                         (unsigned)other->peer.uid);
    const char *differs = NULL;
    if (!filter_is_equal(&group->filter, filter))
        differs = "topics or where";
    else if (subscribe->ack_timeout_ns && subscribe->ack_timeout_ns != group->ack_timeout_ns)
        differs = "ack_timeout";
    else if (subscribe->tries && subscribe->tries != group->tries)
        differs = "tries";
    if (!differs)
        return OK;
    return error_set(error, ERROR_INVALID,
                     "the group '%s' has members, and their %s is another than this one",
                     group->name, differs);
}

static void take_settings(struct bus_group *group, struct filter *filter,
                          const struct wire_subscribe *subscribe)
{
    filter_release(&group->filter);
    group->filter = *filter;
    *filter = (struct filter){0};
    group->ack_timeout_ns =
        subscribe->ack_timeout_ns ? subscribe->ack_timeout_ns : WIRE_ACK_TIMEOUT_NS_DEFAULT;
    group->tries = subscribe->tries ? subscribe->tries : WIRE_TRIES_DEFAULT;
    group->stale = group->busy || group->handle; /* in this order: it may be the keeper's */
}

static struct bus_group *create(struct bus *bus, const struct wire_text *name)
{
    struct bus_group *group = calloc(1, sizeof *group);
    if (group)
        group->snapshot = calloc(GROUP_PENDING_MAX, sizeof *group->snapshot);
    if (!group || !group->snapshot) {
        free(group);
        return NULL;
    }
    group->bus = bus;
    list_init(&group->members);
    memcpy(group->name, name->text, name->bytes);
    list_append(&bus->groups, &group->in_groups);
    bus->group_count++;
    return group;
}

static enum error_code join(struct bus *bus, struct subscriber *subscriber, struct filter *filter,
                            const struct wire_subscribe *subscribe, struct error *error)
{
    const struct wire_text *name = &subscribe->cursor;
    struct bus_group *group = find(bus, name->text, name->bytes);
    enum error_code code = OK;
    if (group && bus_group_has_members(group))
        code = check_member(group, subscriber, filter, subscribe, error);
    if (code)
        return code;
    if (!group && bus->group_count == BUS_GROUPS)
        return error_set(error, ERROR_MEMORY, "there are %d groups, as many as there may be",
                         BUS_GROUPS);
    if (!group)
        group = create(bus, name);
    if (!group)
        return error_set(error, ERROR_MEMORY, "no memory for a group");
    if (!bus_group_has_members(group))
        take_settings(group, filter, subscribe);
    list_append(&group->members, &subscriber->in_group);
    subscriber->group = group;
    bus_group_step(group);
    return OK;
}

enum error_code bus_group_join(struct bus *bus, struct subscriber *subscriber,
                               const struct wire_subscribe *subscribe, struct error *error)
{
    struct filter filter;
    const struct wire_text *name = &subscribe->cursor;
    enum error_code code = segment_cursor_check_name(name->text, name->bytes, error);
    if (!code && bus_cursor_is_open(bus, name->text, name->bytes))
        code = error_set(error, ERROR_INVALID,
                         "cursor '%.*s' is in use by one consumer alone; take another name",
                         (int)name->bytes, name->text);
    if (!code)
        code = filter_init(&filter, subscribe, false, error);
    if (code)
        return code;
    code = join(bus, subscriber, &filter, subscribe, error);
    filter_release(&filter);
    return code;
}

void bus_group_leave(struct subscriber *subscriber)
{
    struct bus_group *group = subscriber->group;
    if (!group)
        return;
    subscriber->group = NULL;
    list_remove(&subscriber->in_group);
    buffer_release(&subscriber->given);
    subscriber->given_count = 0;
    if (subscriber->begun && group->group)
        group_leave(group->group, &subscriber->share, group->bus->now_ns);
    for (size_t i = 0; i < group->settling_count; i++)
        if (group->settlings[i].member == subscriber)
            group->settlings[i].member = NULL;
    /* Who was to find out where a new cursor begins has gone without: another one may. */
    if (group->missing && !group->may_make && bus_group_has_members(group) && !group->busy)
        group->missing = false;
    group->due = true;
}
