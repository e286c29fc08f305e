/*
 * tests/fuzz/image.h - a log's directory as the one run of bytes that a fuzzer knows, and back.
 *
 * An image is a byte of options for the target, then files, one behind the other:
 *
 *     u8 kind | u8 flags | u64 name | u32 size of the file | u32 bytes that follow | the bytes
 *
 * Of a segment the first 136 bytes are those of its header (the rest of which is zero), the others
 * stand behind the header; with IMAGE_TRAILER the last 64 are its trailer; all else is zero, so
 * that a megabyte of segment is a few hundred bytes of image. Other files are their bytes. Any
 * bytes at all are an image: whatever does not fit is cut.
 *
 * tests/fuzz/pack_log.py makes images of directories.
 */
#ifndef DAYBOOK_TESTS_FUZZ_IMAGE_H
#define DAYBOOK_TESTS_FUZZ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_kind { IMAGE_SEGMENT, IMAGE_BOUND, IMAGE_WATERMARK, IMAGE_CLOCK, IMAGE_KINDS };

enum {
    IMAGE_FILES_MAX = 6,
    IMAGE_HEAD_BYTES = 18,
    IMAGE_SEGMENT_HEADER_BYTES = 136, /* those that are not always zero, and a few more */
    IMAGE_TRAILER = 1,
    IMAGE_BYTES_MAX = 65536, /* of one file's bytes */
    IMAGE_SIZE_MAX = 262144, /* of a file */
};

struct image_file {
    enum image_kind kind;
    uint8_t flags;
    uint64_t name;
    uint32_t size;
    uint32_t bytes_count;
    uint8_t *bytes; /* owned, IMAGE_BYTES_MAX of room */
};

struct image {
    uint8_t options;
    size_t count;
    struct image_file files[IMAGE_FILES_MAX];
};

void image_read(struct image *image_out, const uint8_t *data, size_t size);
/* At most `size_max` bytes; files that do not fit are left out. Returns the size. */
size_t image_write(const struct image *image, uint8_t *data, size_t size_max);
void image_release(struct image *image);

/* A scratch directory in memory where there is one; made at the first call, removed at the exit. */
const char *image_directory(void);
/* Remove whatever is in it, and make the files of the image. */
void image_unpack(const struct image *image);

/*
 * Make every checksum of the file right, and what links blocks and segments with each other where
 * `links` says so: places, chain, sequences, identities. `before` (may be NULL) is the segment that
 * precedes.
 */
void image_repair(struct image_file *file, const struct image_file *before, bool links);

/* The blocks of a segment, as far as their sizes can be followed; offsets in file->bytes. */
struct image_block {
    uint32_t at;
    uint32_t size;
};
size_t image_blocks(const struct image_file *file, struct image_block *blocks_out,
                    size_t blocks_max);

/* For LLVMFuzzerCustomMutator: change the image in `data` as one who knows the format would. */
size_t image_mutate(uint8_t *data, size_t size, size_t size_max, unsigned seed);

#endif
