/* The words, and what fits what: the constant half of tools/torture/faults.h. */
#include "tools/torture/faults.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

const char *faults_call_text(enum faults_call call)
{
    static const char *const texts[FAULTS_CALLS] = {
        [FAULTS_OPEN] = "open",
        [FAULTS_CREATE] = "create",
        [FAULTS_CLOSE] = "close",
        [FAULTS_STATUS] = "stat",
        [FAULTS_FILE_SYSTEM] = "statfs",
        [FAULTS_READ] = "read",
        [FAULTS_WRITE] = "write",
        [FAULTS_SYNC_DATA] = "fdatasync",
        [FAULTS_SYNC] = "fsync of a directory",
        [FAULTS_ALLOCATE] = "fallocate",
        [FAULTS_TRUNCATE] = "truncate",
        [FAULTS_DROP_CACHE] = "fadvise",
        [FAULTS_RENAME] = "rename",
        [FAULTS_UNLINK] = "unlink",
        [FAULTS_MAKE_DIRECTORY] = "mkdir",
        [FAULTS_LIST] = "readdir",
        [FAULTS_MAP] = "mmap",
        [FAULTS_FORGET_MAP] = "madvise",
        [FAULTS_LOCK] = "fcntl",
        [FAULTS_KEEP_IN_PLACE] = "ioctl",
        [FAULTS_SQL_OPEN] = "SQLite's open",
        [FAULTS_SQL_READ] = "SQLite's read",
        [FAULTS_SQL_WRITE] = "SQLite's write",
        [FAULTS_SQL_SYNC] = "SQLite's sync",
        [FAULTS_SQL_TRUNCATE] = "SQLite's truncate",
    };
    return call < FAULTS_CALLS ? texts[call] : "any call";
}

const char *faults_file_text(enum faults_file file)
{
    static const char *const texts[FAULTS_FILES] = {
        [FAULTS_FILE_SEGMENT] = "segment",     [FAULTS_FILE_PREPARED] = "prepared segment",
        [FAULTS_FILE_WATERMARK] = "watermark", [FAULTS_FILE_OTHER] = "other file",
        [FAULTS_FILE_DIRECTORY] = "directory",
    };
    return file < FAULTS_FILES ? texts[file] : "?";
}

#define BIT(call) (1u << FAULTS_##call)
#define EVERY     ((1u << FAULTS_CALLS) - 1)
#define CHANGES                                                                                    \
    (BIT(CREATE) | BIT(WRITE) | BIT(SYNC_DATA) | BIT(SYNC) | BIT(ALLOCATE) | BIT(RENAME) |         \
     BIT(MAKE_DIRECTORY) | BIT(SQL_WRITE))
/* What core/file.c does again when a signal interrupts it. */
#define REPEATED (BIT(READ) | BIT(WRITE) | BIT(ALLOCATE))

static const struct {
    const char *text;
    int reason; /* an errno; 0: its words may differ */
    unsigned calls;
} kinds[FAULTS_KINDS] = {
    [FAULTS_EIO] = {"EIO", EIO, EVERY & ~BIT(MAP)},
    [FAULTS_ENOSPC] = {"ENOSPC", ENOSPC, CHANGES},
    [FAULTS_EDQUOT] = {"EDQUOT", EDQUOT, CHANGES & ~BIT(SQL_WRITE)},
    [FAULTS_EINTR] = {"EINTR", EINTR, REPEATED | BIT(SYNC_DATA) | BIT(SYNC) | BIT(CLOSE)},
    [FAULTS_EROFS] = {"EROFS", EROFS,
                      (CHANGES & ~BIT(SQL_WRITE)) | BIT(OPEN) | BIT(UNLINK) | BIT(TRUNCATE)},
    [FAULTS_EMFILE] = {"EMFILE", EMFILE, BIT(OPEN) | BIT(CREATE) | BIT(LIST) | BIT(SQL_OPEN)},
    [FAULTS_ENOMEM] = {"ENOMEM", ENOMEM, BIT(OPEN) | BIT(CREATE) | BIT(LIST) | BIT(MAP)},
    [FAULTS_SHORT] = {"half of the bytes", 0, BIT(READ) | BIT(WRITE)},
    [FAULTS_NOTHING] = {"no byte", 0, BIT(WRITE)},
    [FAULTS_SYNC_LOSES] = {"EIO and pages lost", EIO, BIT(SYNC_DATA)},
    [FAULTS_SYNC_LOSES_LATER] = {"EIO and pages lost from the disk only", EIO, BIT(SYNC_DATA)},
    [FAULTS_LATE] = {"a success that the next sync takes back", EIO, BIT(WRITE)},
};

const char *faults_kind_text(enum faults_kind kind)
{
    return kind < FAULTS_KINDS ? kinds[kind].text : "none";
}

const char *faults_kind_reason(enum faults_kind kind)
{
    return kind < FAULTS_KINDS && kinds[kind].reason ? strerrordesc_np(kinds[kind].reason) : NULL;
}

bool faults_fits(enum faults_kind kind, enum faults_call call, bool for_ever)
{
    if (kind >= FAULTS_KINDS || !(kinds[kind].calls & (1u << call)))
        return false;
    return !(for_ever && kind == FAULTS_EINTR && (REPEATED & (1u << call)));
}
