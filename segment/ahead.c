#include "segment/ahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/signals.h"
#include "segment/block.h"

enum {
    SLOTS = 6, /* blocks that are open at the same time, the reader's present one among them */
    SLOTS_WAKE = SLOTS / 2, /* so many must be free before the helper is woken for them */
};

enum slot_state { FREE, CLAIMED, READY, FAILED };

struct slot {
    enum slot_state state;
    struct segment_format_block_header header;
    struct buffer scratch;
    const uint8_t *raw; /* when READY */
};

struct segment_ahead {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work;   /* for the helper: there may be something to claim */
    pthread_cond_t opened; /* for the reader: the helper's block is not CLAIMED any more */
    bool stopping;
    bool asleep; /* the helper is */
    struct segment_ahead_stretch stretch;
    uint64_t next; /* where the first block begins that nobody has claimed; UINT64_MAX: none */
    struct slot slots[SLOTS];
    struct slot *given; /* what the reader has now */
};

bool segment_ahead_pays(const struct segment_format_block_header *header)
{
    return header->kind == FORMAT_BLOCK_EVENTS && header->codec == FORMAT_CODEC_LZ4 &&
           header->raw_bytes >= AHEAD_RAW_BYTES_MIN;
}

static const uint8_t *bytes_at(const struct segment_ahead *ahead, uint64_t offset)
{
    return ahead->stretch.bytes + (offset - ahead->stretch.offset);
}

/* The header of the whole block at `offset`, where it lies in the stretch with all its bytes. */
static bool find_block(const struct segment_ahead *ahead, uint64_t offset,
                       struct segment_format_block_header *header_out)
{
    const struct segment_ahead_stretch *stretch = &ahead->stretch;
    uint64_t end = stretch->offset + stretch->size;

    return offset >= stretch->offset && offset < end && end - offset >= FORMAT_BLOCK_HEADER_BYTES &&
           segment_format_decode_block_header(stretch->seed, bytes_at(ahead, offset), offset,
                                              stretch->segment_bytes, header_out) == FORMAT_VALID &&
           header_out->size_bytes <= end - offset;
}

static struct slot *find_slot(struct segment_ahead *ahead, enum slot_state state)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (ahead->slots[i].state == state)
            return &ahead->slots[i];
    return NULL;
}

static size_t count_free(const struct segment_ahead *ahead)
{
    size_t count = 0;
    for (size_t i = 0; i < SLOTS; i++)
        count += ahead->slots[i].state == FREE;
    return count;
}

/* With the mutex held: the next block becomes the caller's to open. NULL: none, or no slot. */
static struct slot *claim(struct segment_ahead *ahead)
{
    struct slot *slot = find_slot(ahead, FREE);
    if (!slot)
        return NULL;
    while (find_block(ahead, ahead->next, &slot->header)) {
        ahead->next += slot->header.size_bytes;
        if (segment_ahead_pays(&slot->header)) {
            slot->state = CLAIMED;
            return slot;
        }
    }
    ahead->next = UINT64_MAX;
    return NULL;
}

/* With the mutex held, and given up for the work. */
static void open_claimed(struct segment_ahead *ahead, struct slot *slot)
{
    const uint8_t *block = bytes_at(ahead, slot->header.offset);

    pthread_mutex_unlock(&ahead->mutex);
    enum error_code code =
        segment_block_open(&slot->header, block, &slot->scratch, &slot->raw, NULL);
    pthread_mutex_lock(&ahead->mutex);
    slot->state = code ? FAILED : READY;
}

static void *help(void *context)
{
    struct segment_ahead *ahead = context;

    pthread_setname_np(pthread_self(), "read-ahead");
    pthread_mutex_lock(&ahead->mutex);
    while (!ahead->stopping) {
        struct slot *slot = claim(ahead);
        if (slot) {
            open_claimed(ahead, slot);
            pthread_cond_signal(&ahead->opened);
            continue;
        }
        ahead->asleep = true;
        pthread_cond_wait(&ahead->work, &ahead->mutex);
        ahead->asleep = false;
    }
    pthread_mutex_unlock(&ahead->mutex);
    return NULL;
}

enum error_code segment_ahead_create(struct segment_ahead **ahead_out, struct error *error)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return error_set(error, ERROR_NOT_FOUND, "there is one processor only");
    struct segment_ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead)
        return error_set(error, ERROR_MEMORY, "no memory for reading ahead");
    ahead->next = UINT64_MAX;
    pthread_mutex_init(&ahead->mutex, NULL);
    pthread_cond_init(&ahead->work, NULL);
    pthread_cond_init(&ahead->opened, NULL);
    sigset_t before;
    signals_hold(&before);
    int failed = pthread_create(&ahead->thread, NULL, help, ahead);
    signals_let(&before);
    if (failed) {
        pthread_cond_destroy(&ahead->opened);
        pthread_cond_destroy(&ahead->work);
        pthread_mutex_destroy(&ahead->mutex);
        free(ahead);
        return error_set_errno(error, failed, "start the thread that reads ahead");
    }
    *ahead_out = ahead;
    return OK;
}

/* With the mutex held. */
static void wake(struct segment_ahead *ahead)
{
    if (ahead->asleep && ahead->next != UINT64_MAX && count_free(ahead) >= SLOTS_WAKE)
        pthread_cond_signal(&ahead->work);
}

/* With the mutex held: nothing is claimed, nothing will be, and what is open is forgotten. */
static void drop_all(struct segment_ahead *ahead)
{
    ahead->next = UINT64_MAX;
    while (find_slot(ahead, CLAIMED))
        pthread_cond_wait(&ahead->opened, &ahead->mutex);
    for (size_t i = 0; i < SLOTS; i++)
        if (&ahead->slots[i] != ahead->given)
            ahead->slots[i].state = FREE;
}

void segment_ahead_begin(struct segment_ahead *ahead, const struct segment_ahead_stretch *stretch)
{
    pthread_mutex_lock(&ahead->mutex);
    drop_all(ahead);
    ahead->stretch = *stretch;
    ahead->next = stretch->offset;
    wake(ahead);
    pthread_mutex_unlock(&ahead->mutex);
}

void segment_ahead_end(struct segment_ahead *ahead)
{
    pthread_mutex_lock(&ahead->mutex);
    drop_all(ahead);
    ahead->stretch = (struct segment_ahead_stretch){0};
    pthread_mutex_unlock(&ahead->mutex);
}

/* With the mutex held: the slot of the block, opened by whom ever; blocks before it are passed. */
static struct slot *slot_of(struct segment_ahead *ahead,
                            const struct segment_format_block_header *header)
{
    struct slot *found = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &ahead->slots[i];
        if (slot->state == FREE)
            continue;
        if (slot->header.offset == header->offset)
            found = slot;
        else if (slot->header.offset < header->offset && slot->state != CLAIMED)
            slot->state = FREE;
    }
    if (found || ahead->next > header->offset)
        return found;
    ahead->next = header->offset;
    found = claim(ahead);
    if (found && found->header.offset != header->offset) {
        found->state = FREE;
        found = NULL;
    }
    wake(ahead);
    if (found)
        open_claimed(ahead, found);
    return found;
}

static bool is_same(const struct segment_format_block_header *a,
                    const struct segment_format_block_header *b)
{
    return a->offset == b->offset && a->checksum == b->checksum && a->chain == b->chain &&
           a->size_bytes == b->size_bytes && a->stored_bytes == b->stored_bytes &&
           a->raw_bytes == b->raw_bytes && a->raw_checksum == b->raw_checksum &&
           a->table_checksum == b->table_checksum;
}

const uint8_t *segment_ahead_take(struct segment_ahead *ahead,
                                  const struct segment_format_block_header *header)
{
    const uint8_t *raw = NULL;

    pthread_mutex_lock(&ahead->mutex);
    if (ahead->given)
        ahead->given->state = FREE;
    ahead->given = NULL;
    struct slot *slot = slot_of(ahead, header);
    while (slot && slot->state == CLAIMED) {
        struct slot *other = claim(ahead);
        if (other)
            open_claimed(ahead, other);
        else
            pthread_cond_wait(&ahead->opened, &ahead->mutex);
    }
    if (slot && slot->state == READY && is_same(&slot->header, header)) {
        ahead->given = slot;
        raw = slot->raw;
    } else if (slot) {
        slot->state = FREE;
    }
    wake(ahead);
    pthread_mutex_unlock(&ahead->mutex);
    return raw;
}

void segment_ahead_free(struct segment_ahead *ahead)
{
    if (!ahead)
        return;
    pthread_mutex_lock(&ahead->mutex);
    ahead->stopping = true;
    pthread_cond_signal(&ahead->work);
    pthread_mutex_unlock(&ahead->mutex);
    pthread_join(ahead->thread, NULL);
    for (size_t i = 0; i < SLOTS; i++)
        buffer_release(&ahead->slots[i].scratch);
    pthread_cond_destroy(&ahead->opened);
    pthread_cond_destroy(&ahead->work);
    pthread_mutex_destroy(&ahead->mutex);
    free(ahead);
}
