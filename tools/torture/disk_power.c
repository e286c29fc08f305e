/*
 * What a power cut leaves of a simulated disk.
 *
 * A cut makes a number of choices, one after the other: how many of the directory operations, which
 * length of a file, which version of each of its units. Who chooses is either chance or a counter:
 * with the counter's digits in the mixed radix of the choices every outcome is met once.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/torture/chance.h"
#include "tools/torture/disk_inside.h"

struct torture_snapshot {
    struct torture_disk *disk; /* frozen: nobody opens or changes it */
};

struct chooser {
    const struct torture_power *power;
    bool exact;
    uint64_t state; /* of chance; or what is left of the index */
    struct torture_disk_losses losses;
    uint64_t cuts; /* the product of all choices so far, UINT64_MAX when it is larger */
};

static uint64_t draw(struct chooser *chooser)
{
    return chance_draw(&chooser->state);
}

static bool happens(struct chooser *chooser, unsigned percent)
{
    return chance_happens(&chooser->state, percent);
}

/* A number from 0 to `last`: nothing survives, or one of `last` versions, the last one most often.
 */
static size_t choose(struct chooser *chooser, size_t last, unsigned percent)
{
    if (chooser->exact) {
        uint64_t digit = chooser->state % (last + 1);
        chooser->state /= last + 1;
        if (__builtin_mul_overflow(chooser->cuts, last + 1, &chooser->cuts))
            chooser->cuts = UINT64_MAX;
        return (size_t)digit;
    }
    if (!happens(chooser, percent))
        return 0;
    return last == 1 || percent == 100 || happens(chooser, 50) ? last : 1 + draw(chooser) % last;
}

static void copy_node(const struct disk_node *from, struct disk_node *to)
{
    *to = (struct disk_node){
        .number = from->number,
        .mode = from->mode,
        .names = from->names,
        .allocated = from->allocated,
        .lost = from->lost,
    };
    if (from->directory) {
        to->directory = disk_allocate_zeroed(1, sizeof *to->directory);
        disk_entries_copy(&from->directory->now, &to->directory->now);
        disk_entries_copy(&from->directory->durable, &to->directory->durable);
        for (size_t i = 0; i < from->directory->acts.count; i++)
            disk_acts_add(&to->directory->acts, &from->directory->acts.array[i]);
        return;
    }
    to->now = disk_image_hold(from->now);
    to->durable = disk_image_hold(from->durable);
    to->changes = disk_changes_hold(from->changes);
}

/* The same disk with nothing open and nothing mapped. */
static struct torture_disk *copy_disk(const struct torture_disk *from)
{
    struct torture_disk *to = disk_allocate_zeroed(1, sizeof *to);
    to->node_count = to->node_capacity = from->node_count;
    to->nodes = disk_allocate_zeroed(from->node_count, sizeof *to->nodes);
    to->capacity = from->capacity;
    to->user = from->user;
    to->operations = from->operations;
    for (size_t i = 0; i < from->node_count; i++) {
        if (!from->nodes[i])
            continue;
        to->nodes[i] = disk_allocate(sizeof *to->nodes[i]);
        copy_node(from->nodes[i], to->nodes[i]);
        to->used += to->nodes[i]->allocated;
    }
    return to;
}

struct torture_snapshot *torture_disk_snapshot(struct torture_disk *disk)
{
    struct torture_snapshot *snapshot = disk_allocate(sizeof *snapshot);
    torture_disk_lock();
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i] && !disk->nodes[i]->directory)
            disk_file_harvest(disk->nodes[i]);
    snapshot->disk = copy_disk(disk);
    torture_disk_unlock();
    return snapshot;
}

void torture_snapshot_free(struct torture_snapshot *snapshot)
{
    if (!snapshot)
        return;
    torture_disk_free(snapshot->disk);
    free(snapshot);
}

struct torture_disk *torture_disk_after_kill(const struct torture_snapshot *snapshot)
{
    torture_disk_lock();
    struct torture_disk *disk = copy_disk(snapshot->disk);
    disk->operations = 0;
    disk_nodes_settle(disk);
    torture_disk_unlock();
    return disk;
}

/* All acts of all directories in the order in which they were done. */
struct act_list {
    const struct disk_act **acts;
    struct disk_directory **directories;
    bool *kept;
    size_t count;
};

static void insert_act(struct act_list *list, const struct disk_act *act,
                       struct disk_directory *directory)
{
    size_t at = list->count++;
    for (; at > 0 && list->acts[at - 1]->number > act->number; at--) {
        list->acts[at] = list->acts[at - 1];
        list->directories[at] = list->directories[at - 1];
    }
    list->acts[at] = act;
    list->directories[at] = directory;
}

static void collect_acts(const struct torture_disk *disk, struct act_list *list)
{
    size_t count = 0;
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i] && disk->nodes[i]->directory)
            count += disk->nodes[i]->directory->acts.count;
    list->acts = disk_allocate(count * sizeof *list->acts);
    list->directories = disk_allocate(count * sizeof *list->directories);
    list->kept = disk_allocate_zeroed(count, sizeof *list->kept);
    for (size_t i = 0; i < disk->node_count; i++) {
        struct disk_directory *directory = disk->nodes[i] ? disk->nodes[i]->directory : NULL;
        for (size_t j = 0; directory && j < directory->acts.count; j++)
            insert_act(list, &directory->acts.array[j], directory);
    }
}

static bool share_a_name(const struct disk_act *a, const struct disk_act *b)
{
    return strcmp(a->name, b->name) == 0 || strcmp(a->to, b->name) == 0 ||
           strcmp(a->name, b->to) == 0 || (a->to[0] && strcmp(a->to, b->to) == 0);
}

/* Who is kept needs those before it that made what it is about. */
static void keep_what_is_needed(struct act_list *list)
{
    for (size_t i = list->count; i > 0; i--)
        for (size_t j = 0; list->kept[i - 1] && j < i - 1; j++)
            if (list->acts[j]->node == list->acts[i - 1]->node ||
                (list->directories[j] == list->directories[i - 1] &&
                 share_a_name(list->acts[j], list->acts[i - 1])))
                list->kept[j] = true;
}

static void choose_acts(struct chooser *chooser, struct act_list *list)
{
    unsigned percent = chooser->power->names_survive_percent;
    if (chooser->power->names == TORTURE_NAMES_EACH) {
        for (size_t i = 0; i < list->count; i++)
            list->kept[i] = choose(chooser, 1, percent) == 1;
        keep_what_is_needed(list);
        return;
    }
    size_t kept = 0;
    if (chooser->exact)
        kept = choose(chooser, list->count, percent);
    else
        while (kept < list->count && happens(chooser, percent))
            kept++;
    for (size_t i = 0; i < kept; i++)
        list->kept[i] = true;
}

/* Every directory becomes what the kept acts make of its durable entries. */
static void cut_names(struct chooser *chooser, struct torture_disk *disk)
{
    struct act_list list = {0};
    collect_acts(disk, &list);
    choose_acts(chooser, &list);
    for (size_t i = 0; i < list.count; i++) {
        if (list.kept[i])
            disk_act_apply(list.acts[i], &list.directories[i]->durable);
        *(list.kept[i] ? &chooser->losses.names_kept : &chooser->losses.names_lost) += 1;
    }
    free(list.acts);
    free(list.directories);
    free(list.kept);
    for (size_t i = 0; i < disk->node_count; i++) {
        struct disk_directory *directory = disk->nodes[i] ? disk->nodes[i]->directory : NULL;
        if (!directory)
            continue;
        directory->acts.count = 0;
        disk_entries_copy(&directory->durable, &directory->now);
    }
}

/* One file under the cut. */
struct file_cut {
    struct chooser *chooser;
    const struct disk_change **changes;
    size_t count;
    const struct disk_image *durable;
    struct disk_image *image; /* what is left */
    uint64_t size_before;     /* durable */
    uint64_t end;             /* behind everything that was ever in the file */
    uint64_t lost_first;      /* the first byte of a unit that is older than it should be */
    uint8_t *unit, *version;
};

/* A large unit need not be read behind everything. */
static size_t unit_size(const struct file_cut *cut, uint64_t offset)
{
    uint32_t unit = cut->chooser->power->unit_bytes;
    return cut->end - offset < unit ? (size_t)(cut->end - offset) : unit;
}

/* The bytes of the unit after the first `versions` changes that made it another. */
static void load_version(const struct file_cut *cut, uint64_t offset, size_t versions, uint8_t *to)
{
    size_t unit = unit_size(cut, offset);
    disk_image_read(cut->durable, offset, to, unit);
    for (size_t i = 0; i < cut->count && versions > 0; i++) {
        if (!disk_change_touches(cut->changes[i], offset, unit))
            continue;
        disk_change_apply(cut->changes[i], offset, to, unit);
        versions--;
    }
}

/* How many changes touch the unit; and is `from` the first? */
static size_t count_versions(const struct file_cut *cut, uint64_t offset, size_t from,
                             bool *first_out)
{
    size_t unit = unit_size(cut, offset);
    size_t versions = 0;
    *first_out = true;
    for (size_t i = 0; i < cut->count; i++) {
        if (!disk_change_touches(cut->changes[i], offset, unit))
            continue;
        *first_out &= i >= from;
        versions++;
    }
    return versions;
}

/* The page cache writes whole pages: what shares one with a change is on its way as well. */
static void tear_unit(struct file_cut *cut, uint64_t offset, uint8_t *bytes)
{
    size_t unit = unit_size(cut, offset);
    struct chooser *chooser = cut->chooser;
    if (!happens(chooser, 10))
        return;
    size_t from = (size_t)(draw(chooser) % unit);
    size_t end = happens(chooser, 50) ? unit : from + (size_t)(draw(chooser) % (unit - from)) + 1;
    for (size_t i = from; i < end; i++)
        bytes[i] = (uint8_t)draw(chooser);
    chooser->losses.units_torn++;
    disk_image_write(&cut->image, offset, bytes, unit);
}

/* The versions which are equal to their neighbours are no choice. */
static size_t distinct_versions(const struct file_cut *cut, uint64_t offset, size_t versions,
                                size_t *last_out)
{
    size_t unit = unit_size(cut, offset);
    size_t distinct = 0;
    *last_out = 0;
    load_version(cut, offset, 0, cut->version);
    for (size_t i = 1; i <= versions; i++) {
        load_version(cut, offset, i, cut->unit);
        if (memcmp(cut->unit, cut->version, unit) == 0)
            continue;
        memcpy(cut->version, cut->unit, unit);
        distinct++;
        *last_out = i;
    }
    return distinct;
}

/* The `wanted`-th distinct version, counted from 1. */
static void load_distinct(const struct file_cut *cut, uint64_t offset, size_t wanted)
{
    size_t unit = unit_size(cut, offset);
    load_version(cut, offset, 0, cut->version);
    for (size_t i = 1; wanted > 0; i++) {
        load_version(cut, offset, i, cut->unit);
        if (memcmp(cut->unit, cut->version, unit) == 0)
            continue;
        memcpy(cut->version, cut->unit, unit);
        wanted--;
    }
}

static void note_unit(struct torture_disk_losses *losses, size_t chosen, size_t last)
{
    if (chosen == last)
        losses->units_kept++;
    else
        *(chosen == 0 ? &losses->units_lost : &losses->units_between) += 1;
}

static void cut_unit(struct file_cut *cut, uint64_t offset, size_t versions)
{
    const struct torture_power *power = cut->chooser->power;
    size_t last;
    size_t distinct = distinct_versions(cut, offset, versions, &last);
    if (distinct > 0) {
        size_t chosen = choose(cut->chooser, distinct, power->survive_percent);
        load_distinct(cut, offset, chosen);
        if (chosen > 0)
            disk_image_write(&cut->image, offset, cut->version, unit_size(cut, offset));
        note_unit(&cut->chooser->losses, chosen, distinct);
        if (chosen < distinct && offset < cut->lost_first)
            cut->lost_first = offset;
    }
    if (power->torn && !cut->chooser->exact)
        tear_unit(cut, offset, cut->version);
}

/* Zeros onto nothing: no unit of it has two versions. */
static bool is_plain_zeros(const struct file_cut *cut, size_t index)
{
    const struct disk_change *change = cut->changes[index];
    if (!change->zero || change->offset < disk_image_size(cut->durable))
        return false;
    for (size_t i = 0; i < cut->count; i++)
        if (i != index && disk_change_touches(cut->changes[i], change->offset, change->size))
            return false;
    return true;
}

/* Every unit that the change touches and no earlier one did. */
static void cut_change(struct file_cut *cut, size_t index)
{
    uint64_t end = cut->end;
    const struct torture_power *power = cut->chooser->power;
    const struct disk_change *change = cut->changes[index];
    uint64_t unit = power->unit_bytes, first = change->offset / unit * unit;
    if (change->size < end && change->offset + change->size < end)
        end = change->offset + change->size;
    if (is_plain_zeros(cut, index) && !power->torn)
        return;
    if (power->torn && first % DISK_PAGE_BYTES)
        first -= first % DISK_PAGE_BYTES;
    if (power->torn && !change->zero)
        end = (end + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
    if (end > cut->end)
        end = cut->end;
    for (uint64_t offset = first; offset < end; offset += unit) {
        bool is_first;
        size_t versions = count_versions(cut, offset, index, &is_first);
        if (is_first)
            cut_unit(cut, offset, versions);
    }
}

static uint64_t largest_size(const struct file_cut *cut)
{
    uint64_t largest = cut->size_before;
    for (size_t i = 0; i < cut->count; i++)
        if (cut->changes[i]->file_size > largest)
            largest = cut->changes[i]->file_size;
    return largest;
}

/* Which length does the file have? Without size_first it covers no data that is not there. */
static uint64_t cut_size(struct file_cut *cut)
{
    const struct torture_power *power = cut->chooser->power;
    uint64_t last = cut->count ? cut->changes[cut->count - 1]->file_size : cut->size_before;
    if (last == cut->size_before)
        return last;
    if (choose(cut->chooser, 1, power->survive_percent) == 0)
        return cut->size_before;
    if (power->size_first || last < cut->size_before || cut->lost_first >= last)
        return last;
    return cut->lost_first > cut->size_before ? cut->lost_first : cut->size_before;
}

static void cut_file(struct chooser *chooser, struct disk_node *node)
{
    struct file_cut cut = {
        .chooser = chooser,
        .count = disk_changes_count(node->changes),
        .durable = node->durable,
        .image = disk_image_hold(node->durable),
        .size_before = disk_image_size(node->durable),
        .lost_first = UINT64_MAX,
    };
    if (cut.count > 0) {
        cut.changes = disk_allocate(cut.count * sizeof *cut.changes);
        cut.unit = disk_allocate(2 * (size_t)chooser->power->unit_bytes);
        cut.version = cut.unit + chooser->power->unit_bytes;
        disk_changes_to_array(node->changes, cut.changes);
        cut.end = (largest_size(&cut) + 511) / 512 * 512;
        for (size_t i = 0; i < cut.count; i++)
            cut_change(&cut, i);
        uint64_t size = cut_size(&cut);
        chooser->losses.lengths_lost += size != disk_image_size(node->now);
        disk_image_resize(&cut.image, size);
        free(cut.changes);
        free(cut.unit);
    }
    disk_image_release(node->now);
    disk_image_release(node->durable);
    disk_changes_release(node->changes);
    node->now = cut.image;
    node->durable = disk_image_hold(cut.image);
    node->changes = NULL;
    node->lost = false;
    uint64_t pages = (disk_image_size(cut.image) + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES;
    node->allocated = pages * DISK_PAGE_BYTES;
}

/* How many names lead to each node now, and what they take. */
static void recount(struct torture_disk *disk)
{
    disk->used = 0;
    for (size_t i = 1; i < disk->node_count; i++)
        if (disk->nodes[i])
            disk->nodes[i]->names = 0;
    for (size_t i = 0; i < disk->node_count; i++) {
        struct disk_directory *directory = disk->nodes[i] ? disk->nodes[i]->directory : NULL;
        for (size_t j = 0; directory && j < directory->now.count; j++)
            disk_node_find(disk, directory->now.array[j].node)->names++;
    }
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i])
            disk->used += disk->nodes[i]->allocated;
    disk_nodes_settle(disk);
}

static struct torture_disk *cut_power(const struct torture_snapshot *snapshot,
                                      struct chooser *chooser)
{
    torture_disk_lock();
    struct torture_disk *disk = copy_disk(snapshot->disk);
    disk->operations = 0;
    cut_names(chooser, disk);
    /* A counter needs the same choices every time, also for files whose names are lost. */
    if (!chooser->exact)
        recount(disk);
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i] && !disk->nodes[i]->directory)
            cut_file(chooser, disk->nodes[i]);
    recount(disk);
    disk->losses = chooser->losses;
    torture_disk_unlock();
    return disk;
}

void torture_disk_read_losses(const struct torture_disk *disk,
                              struct torture_disk_losses *losses_out)
{
    *losses_out = disk->losses;
}

struct torture_disk *torture_disk_after_power_cut(const struct torture_snapshot *snapshot,
                                                  const struct torture_power *power, uint64_t seed)
{
    struct chooser chooser = {.power = power, .state = seed, .cuts = 1};
    return cut_power(snapshot, &chooser);
}

struct torture_disk *torture_disk_after_nth_cut(const struct torture_snapshot *snapshot,
                                                const struct torture_power *power, uint64_t index)
{
    struct chooser chooser = {.power = power, .exact = true, .state = index, .cuts = 1};
    return cut_power(snapshot, &chooser);
}

uint64_t torture_snapshot_cuts(const struct torture_snapshot *snapshot,
                               const struct torture_power *power)
{
    struct chooser chooser = {.power = power, .exact = true, .cuts = 1};
    torture_disk_free(cut_power(snapshot, &chooser));
    return chooser.cuts;
}
