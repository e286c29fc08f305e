#include "tests/campaigns/faults_sqlite.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "tools/torture/faults.h"

/* Behind it, in the same memory, stands the file of the layer below. */
struct faulty_file {
    sqlite3_file base; /* must be first: SQLite's view of it */
    sqlite3_file *real;
};

static sqlite3_vfs *below;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

/* SQLITE_OK: the call may be made. */
static int fault(enum faults_call call, int error)
{
    switch (faults_ask(call)) {
    case FAULTS_KINDS:
        return SQLITE_OK;
    case FAULTS_ENOSPC:
        return SQLITE_FULL;
    default:
        return error;
    }
}

static int faulty_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int faulty_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    int result = fault(FAULTS_SQL_READ, SQLITE_IOERR_READ);
    return result ? result : real_of(file)->pMethods->xRead(real_of(file), data, size, offset);
}

static int faulty_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    int result = fault(FAULTS_SQL_WRITE, SQLITE_IOERR_WRITE);
    return result ? result : real_of(file)->pMethods->xWrite(real_of(file), data, size, offset);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int result = fault(FAULTS_SQL_TRUNCATE, SQLITE_IOERR_TRUNCATE);
    return result ? result : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

/* Nobody cuts the power of this machine: there a sync costs time and proves nothing. */
static int faulty_sync(sqlite3_file *file, int flags)
{
    (void)file, (void)flags;
    return fault(FAULTS_SQL_SYNC, SQLITE_IOERR_FSYNC);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int faulty_reserved(sqlite3_file *file, int *answer)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), answer);
}

static int faulty_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int faulty_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int faulty_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **map)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, map);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int delete)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete);
}

/* Version 2: without maps of the database itself, whose pages no xRead would pass. */
static const sqlite3_io_methods faulty_methods = {
    .iVersion = 2,
    .xClose = faulty_close,
    .xRead = faulty_read,
    .xWrite = faulty_write,
    .xTruncate = faulty_truncate,
    .xSync = faulty_sync,
    .xFileSize = faulty_size,
    .xLock = faulty_lock,
    .xUnlock = faulty_unlock,
    .xCheckReservedLock = faulty_reserved,
    .xFileControl = faulty_control,
    .xSectorSize = faulty_sector,
    .xDeviceCharacteristics = faulty_device,
    .xShmMap = faulty_shm_map,
    .xShmLock = faulty_shm_lock,
    .xShmBarrier = faulty_shm_barrier,
    .xShmUnmap = faulty_shm_unmap,
};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                       int *flags_out)
{
    struct faulty_file *file = (struct faulty_file *)base;
    (void)vfs;
    file->base.pMethods = NULL;
    file->real = (sqlite3_file *)(file + 1);
    int result = fault(FAULTS_SQL_OPEN, SQLITE_CANTOPEN);
    if (!result)
        result = below->xOpen(below, name, file->real, flags, flags_out);
    if (!result)
        file->base.pMethods = &faulty_methods;
    return result;
}

void faults_sqlite_install(void)
{
    static sqlite3_vfs vfs;

    if (below)
        return;
    below = sqlite3_vfs_find(NULL);
    if (!below)
        abort();
    vfs = *below;
    vfs.zName = "faults";
    vfs.szOsFile = (int)sizeof(struct faulty_file) + below->szOsFile;
    vfs.xOpen = faulty_open;
    sqlite3_vfs_register(&vfs, 1);
}
