#include "tools/torture/corruption_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"

enum error_code corruption_state_open(const char *path, const struct corruption_specimen *specimen,
                                      struct corruption_state *state_out, struct error *error)
{
    struct corruption_state state = {
        .specimen = specimen,
        .log_fd = -1,
        .segments_fd = -1,
        .file_count = specimen->file_count + 1,
    };
    enum error_code code = file_open_directory(path, false, &state.log_fd, error);
    if (!code)
        code = file_open_directory_at(state.log_fd, "segments", false, &state.segments_fd, error);
    for (size_t i = 0; !code && i < specimen->file_count; i++) {
        const struct corruption_file *original = &specimen->files[i];
        struct corruption_state_file *file = &state.files[i];
        memcpy(file->name, original->name, sizeof file->name);
        memcpy(file->name_before, original->name, sizeof file->name_before);
        code = buffer_append(&file->bytes, original->bytes.data, original->bytes.size, error);
    }
    if (code)
        corruption_state_close(&state);
    else
        *state_out = state;
    return code;
}

void corruption_state_close(struct corruption_state *state)
{
    for (size_t i = 0; i < CORRUPTION_STATE_FILES; i++)
        buffer_release(&state->files[i].bytes);
    file_close(&state->segments_fd);
    file_close(&state->log_fd);
}

static void note_change(struct corruption_state_file *file, uint64_t from, uint64_t to)
{
    if (!file->changed || from < file->from)
        file->from = from;
    if (!file->changed || to > file->to)
        file->to = to;
    file->changed = true;
}

void corruption_state_write(struct corruption_state *state, size_t index, uint64_t offset,
                            const void *data, size_t size)
{
    struct corruption_state_file *file = &state->files[index];
    memmove(file->bytes.data + offset, data, size);
    note_change(file, offset, offset + size);
}

enum error_code corruption_state_replace(struct corruption_state *state, size_t index,
                                         const void *data, size_t size, struct error *error)
{
    struct corruption_state_file *file = &state->files[index];
    struct buffer bytes = {0};
    enum error_code code = buffer_append(&bytes, data, size, error);
    if (code)
        return code;
    buffer_release(&file->bytes);
    file->bytes = bytes;
    file->changed = file->whole = true;
    return OK;
}

void corruption_state_rename(struct corruption_state *state, size_t index, const char *name)
{
    struct corruption_state_file *file = &state->files[index];
    snprintf(file->name, sizeof file->name, "%s", name);
    file->changed = file->whole = true;
}

static enum error_code write_file(const struct corruption_state *state,
                                  struct corruption_state_file *file, struct error *error)
{
    int fd = openat(state->log_fd, file->name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return error_set_errno(error, errno, "open '%s'", file->name);
    uint64_t from = file->whole ? 0 : file->from;
    uint64_t to = file->whole ? file->bytes.size : file->to;
    ssize_t written = pwrite(fd, file->bytes.data + from, to - from, (off_t)from);
    int reason = written < 0 ? errno : ENOSPC;
    bool good = written == (ssize_t)(to - from);
    if (good && file->whole && ftruncate(fd, (off_t)file->bytes.size)) {
        good = false;
        reason = errno;
    }
    close(fd);
    return good ? OK : error_set_errno(error, reason, "write '%s'", file->name);
}

enum error_code corruption_state_put(struct corruption_state *state, struct error *error)
{
    enum error_code code = OK;

    for (size_t i = 0; i < state->file_count; i++) {
        struct corruption_state_file *file = &state->files[i];
        if (file->name_before[0] && strcmp(file->name, file->name_before) != 0)
            unlinkat(state->log_fd, file->name_before, 0);
    }
    for (size_t i = 0; !code && i < state->file_count; i++) {
        struct corruption_state_file *file = &state->files[i];
        if (file->changed && file->name[0])
            code = write_file(state, file, error);
        memcpy(file->name_before, file->name, sizeof file->name);
    }
    return code;
}

struct sweep {
    const struct corruption_state *state;
    const char *prefix;
    int directory_fd;
};

/* Files that are not the specimen's. */
static int sweep_name(void *context, const char *name)
{
    const struct sweep *sweep = context;
    const struct corruption_specimen *specimen = sweep->state->specimen;
    char path[320];

    snprintf(path, sizeof path, "%s%s", sweep->prefix, name);
    for (size_t i = 0; i < specimen->file_count; i++)
        if (strcmp(path, specimen->files[i].name) == 0)
            return 0;
    unlinkat(sweep->directory_fd, name, 0); /* A directory stays. */
    return 0;
}

static enum error_code sweep_all(const struct corruption_state *state, struct error *error)
{
    struct sweep sweep = {state, "", state->log_fd};
    enum error_code code = file_list(state->log_fd, "the log", sweep_name, &sweep, error);
    sweep = (struct sweep){state, "segments/", state->segments_fd};
    if (!code)
        code = file_list(state->segments_fd, "segments", sweep_name, &sweep, error);
    int quarantine_fd = openat(state->log_fd, "quarantine", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (quarantine_fd < 0)
        return code;
    sweep = (struct sweep){state, "quarantine/", quarantine_fd};
    if (!code)
        code = file_list(quarantine_fd, "quarantine", sweep_name, &sweep, error);
    close(quarantine_fd);
    return code;
}

static enum error_code take_back(struct corruption_state_file *file,
                                 const struct corruption_file *original, struct error *error)
{
    if (file->whole) {
        file->bytes.size = 0;
        enum error_code code =
            buffer_append(&file->bytes, original->bytes.data, original->bytes.size, error);
        if (code)
            return code;
    } else {
        memcpy(file->bytes.data + file->from, original->bytes.data + file->from,
               file->to - file->from);
    }
    memcpy(file->name, original->name, sizeof file->name);
    return OK;
}

/* The writer has gone on in the segment that was the last one, under whatever name. */
static void expect_writer_changes(struct corruption_state *state)
{
    struct corruption_state_file *last = NULL;
    for (size_t i = 0; i < state->file_count; i++) {
        struct corruption_state_file *file = &state->files[i];
        if (strncmp(file->name, "segments/", 9) == 0 &&
            (!last || strcmp(file->name, last->name) > 0))
            last = file;
    }
    if (last)
        last->changed = last->whole = true;
    struct corruption_state_file *page = &state->files[corruption_specimen_page(state->specimen)];
    page->changed = page->whole = true;
}

enum error_code corruption_state_restore(struct corruption_state *state, bool written,
                                         struct error *error)
{
    const struct corruption_specimen *specimen = state->specimen;
    struct corruption_state_file *extra = &state->files[specimen->file_count];
    enum error_code code = OK;

    if (written)
        expect_writer_changes(state);
    for (size_t i = 0; !code && i < specimen->file_count; i++)
        if (state->files[i].changed)
            code = take_back(&state->files[i], &specimen->files[i], error);
    extra->name[0] = '\0';
    extra->bytes.size = 0;
    if (!code)
        code = corruption_state_put(state, error);
    for (size_t i = 0; i < state->file_count; i++)
        state->files[i].changed = state->files[i].whole = false;
    return code ? code : sweep_all(state, error);
}

bool corruption_state_is_intact(const struct corruption_state *state, size_t index, uint64_t offset,
                                uint64_t size)
{
    const struct corruption_state_file *file = &state->files[index];
    const struct corruption_file *original = &state->specimen->files[index];

    if (!file->changed)
        return true;
    if (!file->whole && (offset + size <= file->from || offset >= file->to))
        return true;
    return strcmp(file->name, original->name) == 0 && file->bytes.size >= offset + size &&
           memcmp(file->bytes.data + offset, original->bytes.data + offset, size) == 0;
}

bool corruption_state_differs(const struct corruption_state *state)
{
    for (size_t i = 0; i <= corruption_specimen_last(state->specimen); i++) {
        const struct corruption_state_file *file = &state->files[i];
        const struct corruption_file *original = &state->specimen->files[i];
        if (file->changed && (file->bytes.size != original->bytes.size ||
                              !corruption_state_is_intact(state, i, 0, original->bytes.size)))
            return true;
    }
    return state->files[state->specimen->file_count].name[0] != '\0';
}
