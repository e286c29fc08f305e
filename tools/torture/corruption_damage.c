#include "tools/torture/corruption_damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct doing {
    struct corruption_state *state;
    const struct corruption_specimen *specimen;
    const struct corruption_specimen *foreign;
    uint64_t *random;
    char *text;
    struct error *error;
};

enum { TEXT_BYTES = sizeof(((struct corruption_damage_done *)0)->text) };

#define TELL(doing, ...) snprintf((doing)->text, TEXT_BYTES, __VA_ARGS__)

static uint64_t below(struct doing *doing, uint64_t limit)
{
    return chance_below(doing->random, limit);
}

static size_t any_segment(struct doing *doing)
{
    return (size_t)below(doing, doing->specimen->options.segment_count);
}

/* Another one, when there is one. */
static size_t other_segment(struct doing *doing, size_t than)
{
    size_t count = doing->specimen->options.segment_count;
    return count == 1 ? than : (than + 1 + (size_t)below(doing, count - 1)) % count;
}

static struct corruption_state_file *file_of(struct doing *doing, size_t index)
{
    return &doing->state->files[index];
}

/* A place where something is: unused zeros are far more than half of a young segment. */
static uint64_t any_offset(struct doing *doing, size_t segment)
{
    const struct corruption_file *file = &doing->specimen->files[segment];
    const struct segment_format_block_header *last =
        &doing->specimen->blocks[file->block_end - 1].header;
    uint64_t used = last->offset + last->size_bytes;
    uint64_t dice = below(doing, 16);

    if (dice == 0)
        return below(doing, file->bytes.size);
    if (dice == 1)
        return file->bytes.size - 1 - below(doing, FORMAT_TRAILER_BYTES);
    if (dice == 2)
        return below(doing, FORMAT_SEGMENT_HEADER_BYTES);
    if (dice == 3)
        return last->offset + below(doing, last->size_bytes);
    return below(doing, used);
}

static uint64_t any_unit(struct doing *doing)
{
    return below(doing, 2) ? 512 : 4096;
}

static uint64_t any_sector(struct doing *doing, size_t segment, uint64_t unit)
{
    return any_offset(doing, segment) / unit * unit;
}

static enum error_code flip_bits(struct doing *doing)
{
    unsigned count = 1 + (unsigned)below(doing, 3);
    int at = TELL(doing, "bits flipped:");

    for (unsigned i = 0; i < count; i++) {
        size_t segment = any_segment(doing);
        uint64_t offset = any_offset(doing, segment);
        unsigned bit = (unsigned)below(doing, 8);
        uint8_t byte = file_of(doing, segment)->bytes.data[offset] ^ (uint8_t)(1u << bit);
        corruption_state_write(doing->state, segment, offset, &byte, 1);
        at += snprintf(doing->text + at, (size_t)(TEXT_BYTES - at),
                       " bit %u of byte %" PRIu64 " of %s,", bit, offset,
                       file_of(doing, segment)->name);
    }
    return OK;
}

static enum error_code zero_sector(struct doing *doing)
{
    static const uint8_t zeros[4096];
    size_t segment = any_segment(doing);
    uint64_t unit = any_unit(doing), offset = any_sector(doing, segment, unit);

    corruption_state_write(doing->state, segment, offset, zeros, unit);
    TELL(doing, "%" PRIu64 " bytes zeroed at byte %" PRIu64 " of %s", unit, offset,
         file_of(doing, segment)->name);
    return OK;
}

static enum error_code garble_sector(struct doing *doing)
{
    uint8_t noise[4096];
    size_t segment = any_segment(doing);
    uint64_t unit = any_unit(doing), offset = any_sector(doing, segment, unit);

    for (uint64_t i = 0; i < unit; i++)
        noise[i] = (uint8_t)(chance_draw(doing->random) >> 56);
    corruption_state_write(doing->state, segment, offset, noise, unit);
    TELL(doing, "%" PRIu64 " bytes of noise at byte %" PRIu64 " of %s", unit, offset,
         file_of(doing, segment)->name);
    return OK;
}

static enum error_code swap_sectors(struct doing *doing)
{
    uint8_t kept[4096];
    size_t segment = any_segment(doing);
    uint64_t unit = any_unit(doing);
    uint64_t a = any_sector(doing, segment, unit), b = any_sector(doing, segment, unit);
    const uint8_t *bytes = file_of(doing, segment)->bytes.data;

    memcpy(kept, bytes + a, unit);
    corruption_state_write(doing->state, segment, a, bytes + b, unit);
    corruption_state_write(doing->state, segment, b, kept, unit);
    TELL(doing, "%" PRIu64 " bytes at %" PRIu64 " and %" PRIu64 " of %s swapped", unit, a, b,
         file_of(doing, segment)->name);
    return OK;
}

/* Copy a sector of `from` over one of a segment: to the same offset, or to any. */
static enum error_code bring_sector(struct doing *doing, size_t segment, const char *name,
                                    const struct buffer *from)
{
    uint64_t unit = any_unit(doing);
    uint64_t source = any_sector(doing, segment, unit);
    uint64_t target = below(doing, 2) ? source : any_sector(doing, segment, unit);

    if (source + unit > from->size)
        source = from->size - unit;
    corruption_state_write(doing->state, segment, target, from->data + source, unit);
    TELL(doing, "%" PRIu64 " bytes at %" PRIu64 " of %s written to %" PRIu64 " of %s", unit, source,
         name, target, file_of(doing, segment)->name);
    return OK;
}

static enum error_code duplicate_sector(struct doing *doing)
{
    size_t segment = any_segment(doing);
    uint64_t unit = any_unit(doing);
    uint64_t a = any_sector(doing, segment, unit), b = any_sector(doing, segment, unit);

    corruption_state_write(doing->state, segment, b, file_of(doing, segment)->bytes.data + a, unit);
    TELL(doing, "%" PRIu64 " bytes at %" PRIu64 " of %s written to %" PRIu64 " too", unit, a,
         file_of(doing, segment)->name, b);
    return OK;
}

static enum error_code bring_from_segment(struct doing *doing)
{
    size_t segment = any_segment(doing), other = other_segment(doing, segment);
    return bring_sector(doing, segment, file_of(doing, other)->name, &file_of(doing, other)->bytes);
}

static enum error_code bring_foreign(struct doing *doing)
{
    size_t segment = any_segment(doing);
    return bring_sector(doing, segment, "another log", &doing->foreign->files[segment].bytes);
}

static enum error_code truncate_segment(struct doing *doing)
{
    size_t segment = any_segment(doing);
    struct corruption_state_file *file = file_of(doing, segment);
    uint64_t size = below(doing, 8) ? any_offset(doing, segment) : below(doing, 2) * 4096;
    struct buffer whole = file->bytes;

    TELL(doing, "%s cut to %" PRIu64 " bytes", file->name, size);
    return corruption_state_replace(doing->state, segment, whole.data, size, doing->error);
}

static enum error_code extend_segment(struct doing *doing)
{
    size_t segment = any_segment(doing);
    struct corruption_state_file *file = file_of(doing, segment);
    uint64_t more = below(doing, 2) ? 1 + below(doing, 9000) : 4096;
    uint8_t value = (uint8_t)(below(doing, 2) ? 0 : below(doing, 256));
    struct buffer longer = {0};

    enum error_code code = buffer_append(&longer, file->bytes.data, file->bytes.size, doing->error);
    if (!code)
        code = buffer_reserve(&longer, more, doing->error);
    if (!code) {
        memset(longer.data + longer.size, value, more);
        code = corruption_state_replace(doing->state, segment, longer.data, longer.size + more,
                                        doing->error);
    }
    buffer_release(&longer);
    TELL(doing, "%s made longer by %" PRIu64 " bytes of %u", file->name, more, value);
    return code;
}

static enum error_code swap_segments(struct doing *doing)
{
    size_t a = any_segment(doing), b = other_segment(doing, a);
    char name[sizeof file_of(doing, a)->name];

    memcpy(name, file_of(doing, a)->name, sizeof name);
    TELL(doing, "%s and %s exchanged", name, file_of(doing, b)->name);
    corruption_state_rename(doing->state, a, file_of(doing, b)->name);
    corruption_state_rename(doing->state, b, name);
    return OK;
}

/* A segment's name that no segment has: near to its own, or anywhere. */
static void free_name(struct doing *doing, size_t segment, char *name_out, size_t size)
{
    char name[FORMAT_SEGMENT_NAME_BYTES + 1];
    uint64_t own = doing->specimen->files[segment].header.sequence_first;
    bool taken = true;

    while (taken) {
        uint64_t number =
            below(doing, 2) ? own + 1 + below(doing, 30) : 2 + below(doing, 2 * own + 100);
        segment_format_segment_name(number, name);
        snprintf(name_out, size, "segments/%s", name);
        taken = false;
        for (size_t i = 0; i < doing->specimen->options.segment_count; i++)
            taken |= doing->specimen->files[i].header.sequence_first == number;
    }
}

static enum error_code rename_segment(struct doing *doing)
{
    size_t segment = any_segment(doing);
    char name[48];

    free_name(doing, segment, name, sizeof name);
    if (below(doing, 4) == 0)
        snprintf(name, sizeof name, "segments/backup.seg");
    TELL(doing, "%s renamed to %s", file_of(doing, segment)->name, name);
    corruption_state_rename(doing->state, segment, name);
    return OK;
}

static enum error_code remove_segment(struct doing *doing)
{
    size_t segment = any_segment(doing);

    TELL(doing, "%s removed", file_of(doing, segment)->name);
    corruption_state_rename(doing->state, segment, "");
    return OK;
}

static enum error_code copy_segment(struct doing *doing)
{
    size_t segment = any_segment(doing), extra = doing->specimen->file_count;
    const struct buffer *bytes = &file_of(doing, segment)->bytes;
    char name[48];

    free_name(doing, segment, name, sizeof name);
    TELL(doing, "%s copied to %s", file_of(doing, segment)->name, name);
    corruption_state_rename(doing->state, extra, name);
    return corruption_state_replace(doing->state, extra, bytes->data, bytes->size, doing->error);
}

static enum error_code replace_by_foreign(struct doing *doing)
{
    size_t segment = any_segment(doing);
    const struct buffer *bytes = &doing->foreign->files[segment].bytes;

    TELL(doing, "%s replaced by that of another log", file_of(doing, segment)->name);
    return corruption_state_replace(doing->state, segment, bytes->data, bytes->size, doing->error);
}

static enum error_code bring_foreign_header(struct doing *doing)
{
    size_t segment = any_segment(doing);

    corruption_state_write(doing->state, segment, 0, doing->foreign->files[segment].bytes.data,
                           FORMAT_SEGMENT_HEADER_BYTES);
    TELL(doing, "the header of %s replaced by that of another log", file_of(doing, segment)->name);
    return OK;
}

static enum error_code age_header(struct doing *doing)
{
    size_t segment = any_segment(doing);
    struct segment_format_segment_header header = doing->specimen->files[segment].header;
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    uint32_t checksum;

    header.epoch--;
    header.created_ns -= (int64_t)below(doing, 1000000000);
    segment_format_encode_segment_header(&header, bytes, &checksum);
    corruption_state_write(doing->state, segment, 0, bytes, sizeof bytes);
    TELL(doing, "the header of %s as it was in an earlier epoch", file_of(doing, segment)->name);
    return OK;
}

/* Only blocks before some block are there yet, and no trailer. */
static enum error_code make_stale(struct doing *doing)
{
    static const uint8_t zeros[4096];
    size_t segment = any_segment(doing);
    const struct corruption_file *file = &doing->specimen->files[segment];
    size_t block = file->block_first + (size_t)below(doing, file->block_end - file->block_first);
    uint64_t end = doing->specimen->blocks[block].header.offset;

    for (uint64_t at = end; at < file->bytes.size; at += sizeof zeros) {
        uint64_t size = file->bytes.size - at < sizeof zeros ? file->bytes.size - at : sizeof zeros;
        corruption_state_write(doing->state, segment, at, zeros, size);
    }
    TELL(doing, "%s as it was when it ended at byte %" PRIu64, file_of(doing, segment)->name, end);
    return OK;
}

/*
 * Where the log is cut short at a place that a crash could leave behind, nothing but a witness can
 * tell: these cases keep the witness, and say so.
 */
struct way {
    const char *text;
    enum error_code (*make)(struct doing *doing);
    bool needs_witness;
};

static const struct way ways[CORRUPTION_DAMAGES] = {
    [CORRUPTION_BITS] = {"1 to 3 bits flipped", flip_bits, false},
    [CORRUPTION_SECTOR_ZEROED] = {"sector zeroed", zero_sector, false},
    [CORRUPTION_SECTOR_NOISE] = {"sector of noise", garble_sector, false},
    [CORRUPTION_SECTORS_SWAPPED] = {"sectors swapped", swap_sectors, false},
    [CORRUPTION_SECTOR_DUPLICATED] = {"sector duplicated elsewhere", duplicate_sector, false},
    [CORRUPTION_SECTOR_FROM_SEGMENT] = {"sector of another segment", bring_from_segment, false},
    [CORRUPTION_SECTOR_FOREIGN] = {"sector of another log", bring_foreign, false},
    [CORRUPTION_TRUNCATED] = {"file truncated", truncate_segment, false},
    [CORRUPTION_EXTENDED] = {"file extended", extend_segment, false},
    [CORRUPTION_SEGMENTS_SWAPPED] = {"segments swapped", swap_segments, false},
    [CORRUPTION_SEGMENT_RENAMED] = {"segment renamed", rename_segment, true},
    [CORRUPTION_SEGMENT_MISSING] = {"segment missing", remove_segment, true},
    [CORRUPTION_SEGMENT_COPIED] = {"segment copied to another name", copy_segment, false},
    [CORRUPTION_SEGMENT_FOREIGN] = {"segment of another log", replace_by_foreign, true},
    [CORRUPTION_HEADER_FOREIGN] = {"header of another log", bring_foreign_header, false},
    [CORRUPTION_HEADER_OLD] = {"header of an older epoch", age_header, false},
    [CORRUPTION_SEGMENT_STALE] = {"stale copy of the segment", make_stale, true},
};

const char *corruption_damage_text(enum corruption_damage damage)
{
    return ways[damage].text;
}

enum error_code corruption_damage_do(struct corruption_state *state,
                                     const struct corruption_specimen *foreign,
                                     enum corruption_damage damage, uint64_t *random,
                                     struct corruption_damage_done *done_out, struct error *error)
{
    struct corruption_damage_done done = {.page = true};
    struct doing doing = {state, state->specimen, foreign, random, done.text, error};

    /* Without the witness of the page: as after a copy of the segments alone. */
    if (!ways[damage].needs_witness && below(&doing, 2)) {
        corruption_state_rename(state, corruption_specimen_page(state->specimen), "");
        done.page = false;
    }
    enum error_code code = ways[damage].make(&doing);
    *done_out = done;
    return code;
}
