#include "tools/torture/disk.h"

#include <isa-l/crc64.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/torture/disk_inside.h"

/* One lock for all disks: a snapshot is an instant of everything. A watcher is inside of it. */
static pthread_mutex_t mutex;
static pthread_once_t mutex_once = PTHREAD_ONCE_INIT;

static void init_mutex(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void torture_disk_lock(void)
{
    pthread_once(&mutex_once, init_mutex);
    pthread_mutex_lock(&mutex);
}

void torture_disk_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

struct disk_node *disk_node_create(struct torture_disk *disk, mode_t mode, bool directory)
{
    struct disk_node *node = disk_allocate_zeroed(1, sizeof *node);
    node->mode = (directory ? S_IFDIR : S_IFREG) | (mode & 07755);
    if (directory) {
        node->directory = disk_allocate_zeroed(1, sizeof *node->directory);
    } else {
        node->now = disk_image_create();
        node->durable = disk_image_hold(node->now);
    }
    if (disk->node_count == disk->node_capacity) {
        size_t wanted = disk->node_capacity ? disk->node_capacity * 2 : 16;
        struct disk_node **grown = disk_allocate_zeroed(wanted, sizeof *grown);
        if (disk->node_count > 0)
            memcpy(grown, disk->nodes, disk->node_count * sizeof *grown);
        free(disk->nodes);
        disk->nodes = grown;
        disk->node_capacity = wanted;
    }
    disk->nodes[disk->node_count++] = node;
    node->number = disk->node_count;
    return node;
}

struct disk_node *disk_node_find(const struct torture_disk *disk, uint64_t number)
{
    return number > 0 && number <= disk->node_count ? disk->nodes[number - 1] : NULL;
}

void disk_node_free(struct disk_node *node)
{
    if (node->directory) {
        free(node->directory->now.array);
        free(node->directory->durable.array);
        free(node->directory->acts.array);
        free(node->directory);
    }
    disk_image_release(node->now);
    disk_image_release(node->durable);
    disk_changes_release(node->changes);
    while (node->locks) {
        struct disk_lock *next = node->locks->next;
        free(node->locks);
        node->locks = next;
    }
    free(node->flat.bytes);
    free(node);
}

/* Could a power cut bring a name of it back? */
static bool may_come_back(const struct torture_disk *disk, uint64_t number)
{
    for (size_t i = 0; i < disk->node_count; i++) {
        const struct disk_directory *directory = disk->nodes[i] ? disk->nodes[i]->directory : NULL;
        if (!directory)
            continue;
        for (size_t j = 0; j < directory->durable.count; j++)
            if (directory->durable.array[j].node == number)
                return true;
        for (size_t j = 0; j < directory->acts.count; j++)
            if (directory->acts.array[j].node == number)
                return true;
    }
    return false;
}

void disk_node_settle(struct torture_disk *disk, struct disk_node *node)
{
    if (node->names > 0 || node->opened > 0 || node->flat.maps > 0)
        return;
    disk->used -= node->allocated;
    node->allocated = 0;
    if (may_come_back(disk, node->number))
        return;
    disk->nodes[node->number - 1] = NULL;
    disk_node_free(node);
}

void disk_nodes_settle(struct torture_disk *disk)
{
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i])
            disk_node_settle(disk, disk->nodes[i]);
}

struct torture_disk *torture_disk_create(uint64_t capacity_bytes)
{
    torture_disk_lock();
    struct torture_disk *disk = disk_allocate_zeroed(1, sizeof *disk);
    disk->capacity = capacity_bytes;
    disk->user = geteuid();
    disk_node_create(disk, 0755, true)->names = 1;
    torture_disk_unlock();
    return disk;
}

void torture_disk_set_capacity(struct torture_disk *disk, uint64_t capacity_bytes)
{
    torture_disk_lock();
    disk->capacity = capacity_bytes;
    torture_disk_unlock();
}

uint64_t torture_disk_used(struct torture_disk *disk)
{
    torture_disk_lock();
    uint64_t used = disk->used;
    torture_disk_unlock();
    return used;
}

void torture_disk_watch(struct torture_disk *disk, torture_disk_watcher watcher, void *context)
{
    torture_disk_lock();
    disk->watcher = watcher;
    disk->watcher_context = context;
    torture_disk_unlock();
}

uint64_t torture_disk_operations(struct torture_disk *disk)
{
    torture_disk_lock();
    uint64_t operations = disk->operations;
    torture_disk_unlock();
    return operations;
}

void disk_tell(struct torture_disk *disk, enum torture_disk_kind kind, const char *name,
               uint64_t offset, uint64_t size)
{
    struct torture_disk_operation operation = {
        .kind = kind,
        .number = ++disk->operations,
        .name = name,
        .offset = offset,
        .size = size,
    };
    if (disk->watcher)
        disk->watcher(disk->watcher_context, disk, &operation);
}

static uint64_t hash_directory(const struct torture_disk *disk, const struct disk_node *node,
                               uint64_t seed)
{
    const struct disk_entries *entries = &node->directory->now;
    uint64_t sum = seed; /* the order of entries means nothing */
    for (size_t i = 0; i < entries->count; i++) {
        struct disk_node *child = disk_node_find(disk, entries->array[i].node);
        const char *name = entries->array[i].name;
        uint64_t hash = crc64_ecma_refl(seed, (const unsigned char *)name, strlen(name));
        if (child->directory) {
            sum += hash_directory(disk, child, hash);
            continue;
        }
        disk_file_harvest(child);
        uint64_t words[2] = {hash, disk_image_hash(child->now)};
        sum += crc64_ecma_refl(0, (const unsigned char *)words, sizeof words);
    }
    return sum;
}

uint64_t torture_disk_hash(struct torture_disk *disk)
{
    torture_disk_lock();
    uint64_t hash = hash_directory(disk, disk->nodes[0], 1);
    torture_disk_unlock();
    return hash;
}
