/*
 * tests/support/forge.h - segments as a broken or hostile writer would leave them: fields are
 * changed, and then every checksum is made right again.
 *
 * Each call changes one number in a segment of a log at rest, then repairs the table of the block
 * concerned and the chain of all blocks behind it, up to the trailer, so that only the number
 * itself is wrong. Offsets are those of docs/format.md.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_FORGE_H
#define DAYBOOK_TESTS_SUPPORT_FORGE_H

#include <stdint.h>

struct forge {
    const char *log_path;
    uint64_t segment_first;
};

enum forge_width { FORGE_8 = 1, FORGE_16 = 2, FORGE_32 = 4, FORGE_64 = 8 };

/* In the segment's header. */
void forge_header(struct forge forge, unsigned at, enum forge_width width, uint64_t value);
/* In the header of the block at `offset`. */
void forge_block(struct forge forge, uint64_t offset, unsigned at, enum forge_width width,
                 uint64_t value);
/* The same, but the chain breaks behind it: what follows stays as it was. */
void forge_block_alone(struct forge forge, uint64_t offset, unsigned at, enum forge_width width,
                       uint64_t value);
/* In the body of the block at `offset`, which must be stored as it is. */
void forge_body(struct forge forge, uint64_t offset, unsigned at, enum forge_width width,
                uint64_t value);
/* In the trailer. */
void forge_trailer(struct forge forge, unsigned at, enum forge_width width, uint64_t value);

/* Where the `number`-th block (from 0) of the segment stands, whatever its kind. */
uint64_t forge_find(struct forge forge, unsigned number);
/* Where the first block of this kind stands; fails when there is none. */
uint64_t forge_find_kind(struct forge forge, uint8_t kind);

#endif
