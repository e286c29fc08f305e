#include "segment/cursors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"

struct listing {
    struct segment_cursors cursors;
    size_t capacity;
    bool out_of_memory;
};

static bool make_room(struct listing *listing)
{
    if (listing->cursors.count < listing->capacity)
        return true;
    size_t capacity = listing->capacity ? listing->capacity * 2 : 16;
    struct segment_cursors_cursor *list =
        reallocarray(listing->cursors.list, capacity, sizeof *list);
    if (!list)
        return false;
    listing->cursors.list = list;
    listing->capacity = capacity;
    return true;
}

static int add_name(void *context, const char *name)
{
    struct listing *listing = context;
    if (segment_cursor_check_name(name, strlen(name), NULL)) {
        listing->cursors.names_ignored++;
        return 0;
    }
    if (!make_room(listing)) {
        listing->out_of_memory = true;
        return 1;
    }
    struct segment_cursors_cursor *cursor = &listing->cursors.list[listing->cursors.count++];
    *cursor = (struct segment_cursors_cursor){0};
    snprintf(cursor->name, sizeof cursor->name, "%s", name);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct segment_cursors_cursor *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static enum error_code list_names(int log_fd, struct listing *listing, struct error *error)
{
    int fd = -1;
    enum error_code code =
        file_open_directory_to_read_at(log_fd, SEGMENT_CURSORS_DIRECTORY, &fd, error);
    if (code == ERROR_NOT_FOUND)
        return OK;
    if (!code)
        code = file_list(fd, SEGMENT_CURSORS_DIRECTORY, add_name, listing, error);
    if (!code && listing->out_of_memory)
        code = error_set(error, ERROR_MEMORY, "no memory for the list of cursors");
    file_close(&fd);
    return code;
}

/* One that was removed since it was listed is none. */
static void look_at_each(int log_fd, const uint8_t *log_id, struct segment_cursors *cursors)
{
    size_t kept = 0;
    for (size_t i = 0; i < cursors->count; i++) {
        struct segment_cursors_cursor *cursor = &cursors->list[i];
        enum error_code code = segment_cursor_look(log_fd, cursor->name, log_id, &cursor->look,
                                                   &cursor->trouble);
        if (code == ERROR_NOT_FOUND)
            continue;
        if (!code)
            cursor->trouble = (struct error){0};
        cursors->list[kept++] = *cursor;
    }
    cursors->count = kept;
}

enum error_code segment_cursors_load(int log_fd, const uint8_t *log_id,
                                     struct segment_cursors *cursors_out, struct error *error)
{
    struct listing listing = {0};
    enum error_code code = list_names(log_fd, &listing, error);
    if (code) {
        segment_cursors_free(&listing.cursors);
        return code;
    }
    look_at_each(log_fd, log_id, &listing.cursors);
    if (listing.cursors.count)
        qsort(listing.cursors.list, listing.cursors.count, sizeof *listing.cursors.list,
              compare_names);
    *cursors_out = listing.cursors;
    return OK;
}

const struct segment_cursors_cursor *segment_cursors_find(const struct segment_cursors *cursors,
                                                          const char *name)
{
    for (size_t i = 0; i < cursors->count; i++)
        if (strcmp(cursors->list[i].name, name) == 0)
            return &cursors->list[i];
    return NULL;
}

void segment_cursors_free(struct segment_cursors *cursors)
{
    free(cursors->list);
    *cursors = (struct segment_cursors){0};
}
