#include "indexer/wishes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/clock.h"
#include "core/file.h"
#include "segment/lock.h"

enum {
    HEAD_BYTES = sizeof "daybook-fields 1 00000000\n" - 1,
    FILE_BYTES_MAX = HEAD_BYTES + INDEXER_WISHES_MAX * (int)sizeof(struct indexer_wish),
};

/* Who holds the lock writes a small file and goes; longer than this nobody does. */
#define LOCK_WAIT_NS (INT64_C(5) * 1000000000)
#define LOCK_PAUSE_NS (INT64_C(10) * 1000000)

static int compare(const struct indexer_wish *left, const struct indexer_wish *right)
{
    int by_topic = strcmp(left->topic, right->topic);
    return by_topic ? by_topic : strcmp(left->path, right->path);
}

/* Where the wish is, or belongs; *found_out says which. */
static size_t find(const struct indexer_wishes *wishes, const struct indexer_wish *wish,
                   bool *found_out)
{
    size_t at = 0;
    while (at < wishes->count && compare(&wishes->list[at], wish) < 0)
        at++;
    *found_out = at < wishes->count && compare(&wishes->list[at], wish) == 0;
    return at;
}

static enum error_code insert(struct indexer_wishes *wishes, const struct indexer_wish *wish,
                              struct error *error)
{
    bool found;
    size_t at = find(wishes, wish, &found);
    if (found)
        return OK;
    if (wishes->count == INDEXER_WISHES_MAX)
        return error_set(error, ERROR_FULL,
                         "no more than %d fields of a log can be indexed; drop one that nobody "
                         "asks for",
                         INDEXER_WISHES_MAX);
    struct indexer_wish *list = realloc(wishes->list, (wishes->count + 1) * sizeof *list);
    if (!list)
        return error_set(error, ERROR_MEMORY, "no memory for the list of indexed fields");
    memmove(list + at + 1, list + at, (wishes->count - at) * sizeof *list);
    list[at] = *wish;
    wishes->list = list;
    wishes->count++;
    return OK;
}

/* `text` need not end with NUL. */
static enum error_code make_wish(const char *topic, size_t topic_bytes, const char *path_text,
                                 size_t path_bytes, struct indexer_wish *wish_out,
                                 struct error *error)
{
    struct msgpack_path path;
    struct indexer_wish wish = {0};
    enum error_code code = event_check_topic(topic, topic_bytes, error);
    if (!code)
        code = msgpack_path_parse(path_text, path_bytes, &path, error);
    if (!code)
        code = msgpack_path_text(&path, wish.path, error);
    if (code)
        return code;
    memcpy(wish.topic, topic, topic_bytes);
    *wish_out = wish;
    return OK;
}

enum error_code indexer_wishes_add(struct indexer_wishes *wishes, const char *topic,
                                   const char *path, struct error *error)
{
    struct indexer_wish wish;
    enum error_code code =
        make_wish(topic, strlen(topic), path, strlen(path), &wish, error);
    return code ? code : insert(wishes, &wish, error);
}

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " \t");
}

/* A word ends at a space that is not within double quotes. */
static const char *skip_word(const char *at)
{
    bool quoted = false;
    for (; *at && (quoted || (*at != ' ' && *at != '\t')); at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (quoted && *at == '\\' && at[1])
            at++;
    }
    return at;
}

enum error_code indexer_wishes_add_text(struct indexer_wishes *wishes, const char *text,
                                        struct error *error)
{
    const char *topic = skip_spaces(text);
    const char *topic_end = skip_word(topic);
    const char *at = skip_spaces(topic_end);
    if (!*at)
        return error_set(error, ERROR_INVALID, "'%s' is not 'TOPIC FIELD…'", text);
    while (*at) {
        struct indexer_wish wish;
        const char *end = skip_word(at);
        enum error_code code = make_wish(topic, (size_t)(topic_end - topic), at,
                                         (size_t)(end - at), &wish, error);
        if (!code)
            code = insert(wishes, &wish, error);
        if (code)
            return code;
        at = skip_spaces(end);
    }
    return OK;
}

void indexer_wishes_release(struct indexer_wishes *wishes)
{
    free(wishes->list);
    *wishes = (struct indexer_wishes){0};
}

/* One line, without its end: "TOPIC PATH", as store writes it. */
static bool take_line(struct indexer_wishes *wishes, const char *line, size_t bytes)
{
    struct indexer_wish wish;
    const char *space = memchr(line, ' ', bytes);
    if (!space)
        return false;
    const char *path = space + 1;
    return !make_wish(line, (size_t)(space - line), path, (size_t)(line + bytes - path), &wish,
                      NULL) &&
           !insert(wishes, &wish, NULL);
}

static enum error_code refuse_file(const char *why, struct error *error)
{
    return error_set(error, ERROR_DAMAGED,
                     "the list of indexed fields, '" INDEXER_WISHES_NAME "', %s; remove the file "
                     "and add the fields again ('daybook index list' shows them)",
                     why);
}

static enum error_code parse_file(const struct buffer *text, struct indexer_wishes *wishes,
                                  struct error *error)
{
    char head[HEAD_BYTES + 1] = "";
    unsigned version;
    uint32_t checksum;
    int used = 0;
    if (text->size > 0)
        memcpy(head, text->data, text->size < HEAD_BYTES ? text->size : HEAD_BYTES);
    if (sscanf(head, "daybook-fields %u", &version) == 1 && version > 1)
        return error_set(error, ERROR_VERSION,
                         "the list of indexed fields, '" INDEXER_WISHES_NAME "', is of a newer "
                         "Daybook");
    if (sscanf(head, "daybook-fields 1 %8" SCNx32 "%n", &checksum, &used) != 1 ||
        used != HEAD_BYTES - 1 || head[HEAD_BYTES - 1] != '\n' ||
        checksum != checksum_extend(0, text->data + HEAD_BYTES, text->size - HEAD_BYTES))
        return refuse_file("is damaged", error);

    const char *at = (const char *)text->data + HEAD_BYTES;
    const char *end = (const char *)text->data + text->size;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end || !take_line(wishes, at, (size_t)(line_end - at)))
            return refuse_file("has a line that is no 'TOPIC FIELD'", error);
        at = line_end + 1;
    }
    return OK;
}

enum error_code indexer_wishes_load(int log_fd, struct indexer_wishes *wishes_out,
                                    struct error *error)
{
    struct buffer text = {0};
    struct indexer_wishes wishes = {0};
    enum error_code code = file_load(log_fd, INDEXER_WISHES_NAME, FILE_BYTES_MAX, &text, error);
    if (!code)
        code = parse_file(&text, &wishes, error);
    else if (code == ERROR_NOT_FOUND)
        code = OK;
    buffer_release(&text);
    if (code) {
        indexer_wishes_release(&wishes);
        return code;
    }
    *wishes_out = wishes;
    return OK;
}

static enum error_code store(int log_fd, const struct indexer_wishes *wishes, struct error *error)
{
    struct buffer lines = {0}, text = {0};
    enum error_code code = OK;
    for (size_t i = 0; !code && i < wishes->count; i++)
        code = buffer_printf(&lines, error, "%s %s\n", wishes->list[i].topic, wishes->list[i].path);
    if (!code)
        code = buffer_printf(&text, error, "daybook-fields 1 %08" PRIx32 "\n",
                             checksum_extend(0, lines.data, lines.size));
    if (!code)
        code = buffer_append(&text, lines.data, lines.size, error);
    if (!code)
        code = file_replace(log_fd, INDEXER_WISHES_NAME, text.data, text.size, error);
    buffer_release(&lines);
    buffer_release(&text);
    return code;
}

static enum error_code add_all(struct indexer_wishes *wishes, const struct indexer_wishes *fields,
                               struct error *error)
{
    enum error_code code = OK;
    for (size_t i = 0; !code && i < fields->count; i++)
        code = insert(wishes, &fields->list[i], error);
    return code;
}

static enum error_code drop_all(struct indexer_wishes *wishes, const struct indexer_wishes *fields,
                                struct error *error)
{
    for (size_t i = 0; i < fields->count; i++) {
        bool found;
        size_t at = find(wishes, &fields->list[i], &found);
        if (!found)
            return error_set(error, ERROR_INVALID,
                             "the field '%s' of topic '%s' is not indexed; nothing was dropped",
                             fields->list[i].path, fields->list[i].topic);
        wishes->count--;
        memmove(wishes->list + at, wishes->list + at + 1,
                (wishes->count - at) * sizeof *wishes->list);
    }
    return OK;
}

/* Under the lock. */
static enum error_code change_list(int log_fd, enum indexer_wishes_change change,
                                   const struct indexer_wishes *fields, size_t *changed_out,
                                   struct error *error)
{
    struct indexer_wishes wishes = {0};
    enum error_code code = indexer_wishes_load(log_fd, &wishes, error);
    size_t before = wishes.count;
    if (!code && change == WISHES_ADD)
        code = add_all(&wishes, fields, error);
    else if (!code)
        code = drop_all(&wishes, fields, error);
    size_t changed = change == WISHES_ADD ? wishes.count - before : before - wishes.count;
    if (!code && changed)
        code = store(log_fd, &wishes, error);
    indexer_wishes_release(&wishes);
    if (!code)
        *changed_out = changed;
    return code;
}

static enum error_code take_lock(int log_fd, int *fd_out, struct error *error)
{
    int64_t until_ns = clock_monotonic_ns() + LOCK_WAIT_NS;
    for (;;) {
        enum error_code code = segment_lock_take(log_fd, LOCK_FIELDS, fd_out, error);
        if (code != ERROR_BUSY || clock_monotonic_ns() > until_ns)
            return code;
        clock_sleep_until_ns(clock_monotonic_ns() + LOCK_PAUSE_NS);
    }
}

/* So that a mistaken path does not get a lock and a list in it. */
static enum error_code check_log(int log_fd, const char *path, struct error *error)
{
    int fd = -1;
    enum error_code code = file_open_directory_at(log_fd, "segments", false, &fd, error);
    file_close(&fd);
    return code == ERROR_NOT_FOUND
               ? error_set(error, ERROR_NOT_FOUND, "there is no log in '%s'", path)
               : code;
}

enum error_code indexer_wishes_change(const char *path, enum indexer_wishes_change change,
                                      const struct indexer_wishes *fields, size_t *changed_out,
                                      struct error *error)
{
    int log_fd = -1, lock_fd = -1;
    enum error_code code = file_open_directory(path, false, &log_fd, error);
    if (!code)
        code = check_log(log_fd, path, error);
    if (!code)
        code = take_lock(log_fd, &lock_fd, error);
    if (!code)
        code = change_list(log_fd, change, fields, changed_out, error);
    file_close(&lock_fd);
    file_close(&log_fd);
    return code;
}
