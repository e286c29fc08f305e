#include "tools/daybook/bench_scratch.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#include "core/units.h"

static const struct {
    uint32_t type;
    const char *name;
} file_systems[] = {
    {0xef53, "ext4"},      {0x58465342, "xfs"},     {0x9123683e, "btrfs"},
    {0x01021994, "tmpfs"}, {0x794c7630, "overlay"}, {0x2fc12fc1, "zfs"},
    {0xf2f52010, "f2fs"},  {0x65735546, "fuse"},    {0xca451a4e, "bcachefs"},
};

static enum error_code check_space(const char *path, uint64_t needed_bytes, struct error *error)
{
    struct statfs info;
    if (statfs(path, &info))
        return error_set_errno(error, errno, "look at the file system of '%s'", path);
    uint64_t free_bytes = (uint64_t)info.f_bavail * (uint64_t)info.f_bsize;
    if (free_bytes >= needed_bytes)
        return OK;
    char needed[UNITS_TEXT_SIZE], available[UNITS_TEXT_SIZE];
    units_format_size(needed_bytes, needed);
    units_format_size(free_bytes, available);
    return error_set(error, ERROR_NO_SPACE,
                     "'%s' has %s free and the benchmark may need %s for a moment: name another "
                     "directory with --dir, or fewer --seconds",
                     path, available, needed);
}

enum error_code bench_scratch_create(const char *parent, uint64_t needed_bytes,
                                     char path_out[PATH_MAX], struct error *error)
{
    char absolute[PATH_MAX];
    char path[PATH_MAX + 32];
    if (!realpath(parent, absolute))
        return error_set_errno(error, errno, "find the directory '%s'", parent);
    enum error_code code = check_space(absolute, needed_bytes, error);
    if (code)
        return code;
    snprintf(path, sizeof path, "%s/daybook-bench-XXXXXX", absolute);
    if (strlen(path) >= PATH_MAX)
        return error_set(error, ERROR_INVALID, "the path of '%s' is too long", parent);
    if (!mkdtemp(path))
        return error_set_errno(error, errno, "make a directory inside '%s'", absolute);
    memcpy(path_out, path, strlen(path) + 1);
    return OK;
}

static int delete_one(const char *path, const struct stat *info, int type, struct FTW *position)
{
    (void)info;
    (void)type;
    (void)position;
    remove(path);
    return 0;
}

void bench_scratch_delete(const char *path)
{
    enum { DESCRIPTORS = 8 };
    nftw(path, delete_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void bench_scratch_file_system(const char *path, char name_out[24])
{
    struct statfs info;
    if (statfs(path, &info)) {
        snprintf(name_out, 24, "unknown");
        return;
    }
    uint32_t type = (uint32_t)info.f_type;
    snprintf(name_out, 24, "%#" PRIx32, type);
    for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems; i++)
        if (file_systems[i].type == type)
            snprintf(name_out, 24, "%s", file_systems[i].name);
}
