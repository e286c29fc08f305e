#include "tools/torture/corruption.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"

struct corruption {
    char path[512];     /* the log's directory */
    char log_path[540]; /* below it */
    struct corruption_specimen specimen;
    struct corruption_specimen foreign;
    struct corruption_state state;
    struct corruption_look look;
};

static int remove_name(void *context, const char *name)
{
    int fd = *(const int *)context;
    if (unlinkat(fd, name, 0))
        unlinkat(fd, name, AT_REMOVEDIR);
    return 0;
}

/* The files of a directory that we have made, and the directory. */
static void remove_directory(const char *path, const char *below)
{
    char name[600];
    snprintf(name, sizeof name, "%s%s", path, below);
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    file_list(fd, name, remove_name, &fd, NULL);
    close(fd);
    rmdir(name);
}

static void remove_log(const char *path)
{
    remove_directory(path, "/segments");
    remove_directory(path, "/quarantine");
    remove_directory(path, "");
}

static enum error_code make_specimens(struct corruption *c,
                                      const struct corruption_specimen_options *options,
                                      struct error *error)
{
    char foreign_path[540];
    int fd = -1;

    snprintf(c->log_path, sizeof c->log_path, "%s/log", c->path);
    snprintf(foreign_path, sizeof foreign_path, "%s/foreign", c->path);
    enum error_code code = file_open_directory(c->path, true, &fd, error);
    file_close(&fd);
    if (!code)
        code = corruption_specimen_make(c->log_path, options, &c->specimen, error);
    if (!code)
        code = corruption_specimen_make_foreign(foreign_path, &c->specimen, &c->foreign, error);
    remove_log(foreign_path);
    return code;
}

enum error_code corruption_open(const char *path, const struct corruption_specimen_options *options,
                                struct corruption **corruption_out, struct error *error)
{
    if (strlen(path) >= sizeof(((struct corruption *)0)->path))
        return error_set(error, ERROR_INVALID, "the directory's name '%s' is too long", path);
    struct corruption *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(error, ERROR_MEMORY, "no memory for a log to be damaged");
    snprintf(c->path, sizeof c->path, "%s", path);
    c->state.log_fd = c->state.segments_fd = -1;
    enum error_code code = make_specimens(c, options, error);
    if (!code)
        code = corruption_state_open(c->log_path, &c->specimen, &c->state, error);
    if (!code)
        code = corruption_look_init(&c->look, &c->specimen, error);
    if (code) {
        corruption_close(c);
        return error_prefix(error, "make a log to be damaged in '%s'", path);
    }
    *corruption_out = c;
    return OK;
}

void corruption_close(struct corruption *c)
{
    if (!c)
        return;
    corruption_look_release(&c->look);
    corruption_state_close(&c->state);
    corruption_specimen_release(&c->specimen);
    corruption_specimen_release(&c->foreign);
    remove_log(c->log_path);
    rmdir(c->path);
    free(c);
}

const struct corruption_specimen *corruption_specimen(const struct corruption *c)
{
    return &c->specimen;
}

const struct corruption_look *corruption_look(const struct corruption *c)
{
    return &c->look;
}

/* The state is changed in memory: onto the disk, look, judge, and back. `seek` 0: only from 1. */
static enum error_code try_state(struct corruption *c, bool page, bool write, uint64_t seek,
                                 struct corruption_result *result, struct error *error)
{
    enum error_code code = corruption_state_put(&c->state, error);

    corruption_look_clear(&c->look);
    if (code)
        return code;
    corruption_look_verify(&c->look, c->log_path);
    corruption_look_read(&c->look, c->log_path);
    if (seek > 0)
        corruption_look_seek(&c->look, c->log_path, seek);
    if (write)
        corruption_look_write(&c->look, c->log_path);
    corruption_judge(&c->state, &c->look, page, &result->verdict);
    snprintf(result->fault, sizeof result->fault, "%s", c->look.fault);
    return corruption_state_restore(&c->state, write && c->look.writer_code == OK, error);
}

enum error_code corruption_run(struct corruption *c, enum corruption_damage damage, uint64_t seed,
                               struct corruption_result *result_out, struct error *error)
{
    uint64_t random = seed;
    struct corruption_damage_done done;

    *result_out = (struct corruption_result){0};
    enum error_code code =
        corruption_damage_do(&c->state, &c->foreign, damage, &random, &done, error);
    if (code)
        return code;
    snprintf(result_out->damage, sizeof result_out->damage, "%s", done.text);
    return try_state(c, done.page, true, 1 + chance_below(&random, c->specimen.event_count),
                     result_out, error);
}

enum error_code corruption_flip(struct corruption *c, size_t file, uint64_t offset, unsigned bit,
                                bool page, bool write, struct corruption_result *result_out,
                                struct error *error)
{
    uint8_t byte = c->state.files[file].bytes.data[offset] ^ (uint8_t)(1u << bit);

    *result_out = (struct corruption_result){0};
    corruption_state_write(&c->state, file, offset, &byte, 1);
    if (!page)
        corruption_state_rename(&c->state, corruption_specimen_page(&c->specimen), "");
    snprintf(result_out->damage, sizeof result_out->damage, "bit %u of byte %" PRIu64 " of %s", bit,
             offset, c->state.files[file].name);
    return try_state(c, page, write, 0, result_out, error);
}
