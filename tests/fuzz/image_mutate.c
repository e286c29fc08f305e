/*
 * The half of image.h that changes images: blocks are moved, fields set, bodies replaced, sectors
 * lost, and then, mostly, the checksums are made right again, or nearly every change would die at
 * the first header.
 */
#include <string.h>

#include "core/bytes.h"
#include "segment/format.h"
#include "tests/fuzz/image.h"

/* Missing where there is no libFuzzer: in the programs that only replay. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

enum { BLOCKS_MAX = 1024, TRAILER_BYTES = FORMAT_TRAILER_BYTES };

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 24;
}

static uint32_t below(uint64_t bound)
{
    return (uint32_t)(random_next() % bound);
}

/* A number that somebody may have forgotten to think of. */
static uint64_t odd_number(uint64_t old)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       7,
                                       8,
                                       104,
                                       4095,
                                       4096,
                                       4097,
                                       65472,
                                       65535,
                                       65536,
                                       UINT32_MAX,
                                       INT64_MAX,
                                       (uint64_t)INT64_MIN,
                                       UINT64_MAX - 4096,
                                       UINT64_MAX - 1,
                                       UINT64_MAX};
    switch (below(4)) {
    case 0:
        return numbers[below(sizeof numbers / sizeof *numbers)];
    case 1:
        return old + below(17) - 8;
    case 2:
        return old ^ UINT64_C(1) << below(64);
    default:
        return random_next();
    }
}

/* ---- One change to a file ---- */

static void set_field(uint8_t *at, uint32_t width)
{
    if (width == 1)
        *at = (uint8_t)odd_number(*at);
    else if (width == 4)
        bytes_store32(at, (uint32_t)odd_number(bytes_load32(at)));
    else
        bytes_store64(at, odd_number(bytes_load64(at)));
}

static void change_block_header(const struct image_file *file, const struct image_block *block)
{
    static const struct {
        uint8_t at, width;
    } fields[] = {{8, 1},  {9, 1},  {12, 4}, {16, 8}, {24, 8}, {32, 8}, {40, 4}, {44, 4}, {48, 4},
                  {52, 4}, {56, 4}, {60, 4}, {64, 4}, {72, 8}, {72, 8}, {80, 8}, {88, 8}, {96, 8}};
    uint8_t *header = file->bytes + block->at;
    size_t field = below(sizeof fields / sizeof *fields);
    if (fields[field].at == 8)
        header[8] = (uint8_t)(1 + below(6)); /* mostly a kind that there is */
    else if (fields[field].at == 72 && below(2))
        bytes_store64(header + 72, block->at - IMAGE_SEGMENT_HEADER_BYTES + 4096); /* a promise */
    else
        set_field(header + fields[field].at, fields[field].width);
}

static void change_segment_header(const struct image_file *file)
{
    static const uint8_t fields[][2] = {{12, 4}, {16, 8}, {24, 8}, {32, 8}, {40, 8},
                                        {48, 8}, {56, 4}, {60, 4}, {64, 8}, {72, 8},
                                        {80, 8}, {88, 4}, {92, 4}, {96, 8}};
    const uint8_t *field = fields[below(sizeof fields / sizeof *fields)];
    set_field(file->bytes + field[0], field[1]);
}

/* Put `size` bytes in the place of a block, as long as all fits. */
static bool replace_range(struct image_file *file, uint32_t at, uint32_t old_size,
                          const uint8_t *bytes, uint32_t size)
{
    if (file->bytes_count - old_size + size > IMAGE_BYTES_MAX)
        return false;
    memmove(file->bytes + at + size, file->bytes + at + old_size,
            file->bytes_count - at - old_size);
    if (size > 0)
        memcpy(file->bytes + at, bytes, size);
    file->bytes_count = file->bytes_count - old_size + size;
    return true;
}

/* The body changes as libFuzzer likes, in length too; the block grows or shrinks around it. */
static void change_body(struct image_file *file, const struct image_block *block)
{
    static uint8_t made[IMAGE_BYTES_MAX];
    uint32_t stored = bytes_load32(file->bytes + block->at + 52);
    uint32_t room = block->size - FORMAT_BLOCK_HEADER_BYTES;
    if (stored > room || block->size > IMAGE_BYTES_MAX / 2)
        return;
    memcpy(made, file->bytes + block->at, FORMAT_BLOCK_HEADER_BYTES + stored);
    size_t size = stored + 1;
    if (LLVMFuzzerMutate)
        size = LLVMFuzzerMutate(made + FORMAT_BLOCK_HEADER_BYTES, stored, stored + 256);
    bytes_store32(made + 52, (uint32_t)size);
    bytes_store32(made + 56, (uint32_t)size);
    if (made[9] == FORMAT_CODEC_LZ4)
        bytes_store32(made + 56, bytes_load32(file->bytes + block->at + 56));
    uint64_t offset = block->at - IMAGE_SEGMENT_HEADER_BYTES + 4096 + FORMAT_BLOCK_HEADER_BYTES;
    size_t whole = FORMAT_BLOCK_HEADER_BYTES + size +
                   4 * (size_t)segment_format_piece_count(offset, (uint32_t)size);
    memset(made + FORMAT_BLOCK_HEADER_BYTES + size, 0, whole - FORMAT_BLOCK_HEADER_BYTES - size);
    size_t aligned = (size_t)bytes_align(whole, FORMAT_ALIGNMENT);
    memset(made + whole, 0, aligned - whole);
    bytes_store32(made + 48, (uint32_t)aligned);
    replace_range(file, block->at, block->size, made, (uint32_t)aligned);
}

/* A whole block again, elsewhere, or not at all. */
static void move_block(struct image_file *file, const struct image_block *from,
                       const struct image_block *to)
{
    static uint8_t copy[IMAGE_BYTES_MAX];
    memcpy(copy, file->bytes + from->at, from->size);
    switch (below(3)) {
    case 0:
        replace_range(file, to->at, 0, copy, from->size);
        break;
    case 1:
        replace_range(file, to->at, to->size, copy, from->size);
        break;
    default:
        replace_range(file, from->at, from->size, NULL, 0);
        break;
    }
}

static void change_trailer(struct image_file *file)
{
    static const uint8_t empty[TRAILER_BYTES] = {'D', 'E', 'N', 'D'};
    static const uint8_t fields[] = {8, 16, 24, 32, 40, 48, 56};
    if (!(file->flags & IMAGE_TRAILER)) {
        if (replace_range(file, file->bytes_count, 0, empty, TRAILER_BYTES))
            file->flags |= IMAGE_TRAILER;
    } else if (file->bytes_count >= TRAILER_BYTES && below(3) == 0) {
        file->bytes_count -= TRAILER_BYTES;
        file->flags &= (uint8_t)~IMAGE_TRAILER;
    } else if (file->bytes_count >= TRAILER_BYTES) {
        set_field(file->bytes + file->bytes_count - TRAILER_BYTES + fields[below(7)], 8);
    }
}

static void change_length(struct image_file *file)
{
    if (below(2) && file->bytes_count > IMAGE_SEGMENT_HEADER_BYTES)
        file->bytes_count -= below(file->bytes_count - IMAGE_SEGMENT_HEADER_BYTES);
    else
        file->size = below(2) ? (1 + below(4)) * 65536 : (uint32_t)odd_number(file->size);
    if (file->size > IMAGE_SIZE_MAX)
        file->size = IMAGE_SIZE_MAX;
}

static void change_segment(struct image_file *file)
{
    static struct image_block blocks[BLOCKS_MAX];
    size_t count = image_blocks(file, blocks, BLOCKS_MAX);
    if (file->bytes_count < IMAGE_SEGMENT_HEADER_BYTES)
        return;
    const struct image_block *block = count ? &blocks[below(count)] : NULL;
    switch (block ? below(10) : 6 + below(4)) {
    case 0:
    case 1:
    case 2:
        change_block_header(file, block);
        break;
    case 3:
    case 4:
        change_body(file, block);
        break;
    case 5:
        move_block(file, block, &blocks[below(count)]);
        break;
    case 6:
        change_segment_header(file);
        break;
    case 7:
        change_trailer(file);
        break;
    case 8:
        change_length(file);
        break;
    default:
        file->name = below(4) ? file->name + below(9) - 4 : odd_number(file->name);
        break;
    }
}

static void change_bytes(struct image_file *file)
{
    size_t size = file->bytes_count;
    if (LLVMFuzzerMutate)
        size = LLVMFuzzerMutate(file->bytes, size, size + 64 < IMAGE_BYTES_MAX ? size + 64 : size);
    file->bytes_count = (uint32_t)size;
}

/* "lower-bound 00000000000000000001 …": another number. */
static void change_number(struct image_file *file)
{
    for (uint32_t i = 1 + below(3); i > 0; i--)
        if (file->bytes_count > 31)
            file->bytes[12 + below(20)] = (uint8_t)('0' + below(10));
}

static void change_page(struct image_file *file)
{
    static const uint8_t fields[][2] = {{8, 4},  {16, 8}, {32, 8}, {48, 4},
                                        {52, 4}, {56, 4}, {64, 8}, {72, 8}};
    const uint8_t *field = fields[below(8)];
    if (file->bytes_count >= 80)
        set_field(file->bytes + field[0], field[1]);
}

static void change_file(struct image_file *file)
{
    if (below(8) == 0)
        change_bytes(file);
    else if (file->kind == IMAGE_SEGMENT)
        change_segment(file);
    else if (file->kind == IMAGE_WATERMARK)
        change_page(file);
    else if (file->kind == IMAGE_BOUND)
        change_number(file);
    else
        change_bytes(file);
}

/* ---- What becomes of the checksums, and damage after it ---- */

static void damage(struct image_file *file)
{
    enum { SECTOR = 512 };
    if (file->bytes_count == 0)
        return;
    uint32_t at = below(file->bytes_count), left = file->bytes_count - at;
    switch (below(3)) {
    case 0:
        file->bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        memset(file->bytes + at, 0, left < SECTOR ? left : SECTOR);
        break;
    default:
        memset(file->bytes + at, (int)below(256), left < 8 ? left : 8);
        break;
    }
}

static void repair_all(struct image *image, bool links)
{
    for (size_t i = 0; i < image->count; i++) {
        struct image_file *file = &image->files[i];
        const struct image_file *before = i > 0 ? &image->files[i - 1] : NULL;
        image_repair(file, file->kind == IMAGE_WATERMARK && image->count ? image->files : before,
                     links);
    }
}

static void add_or_remove_file(struct image *image)
{
    if (image->count > 1 && below(2)) {
        size_t gone = below(image->count);
        struct image_file file = image->files[gone];
        image->files[gone] = image->files[image->count - 1];
        image->files[image->count - 1] = file;
        image->files[image->count - 1].bytes_count = 0;
    } else {
        image->options = (uint8_t)odd_number(image->options);
    }
}

size_t image_mutate(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    struct image image;
    random_state = seed;
    random_next();
    image_read(&image, data, size);
    for (uint32_t changes = 1 + below(3); changes > 0 && image.count > 0; changes--) {
        if (below(12) == 0)
            add_or_remove_file(&image);
        else
            change_file(&image.files[below(image.count)]);
    }
    uint32_t repair = below(8);
    if (repair > 0)
        repair_all(&image, repair > 2);
    if (below(3) == 0 && image.count > 0)
        damage(&image.files[below(image.count)]);
    size = image_write(&image, data, size_max);
    image_release(&image);
    return size;
}
