/*
 * tests/campaigns/corruption.c - every change of a log's files is noticed, and no change makes a
 * reader give out what was never published (tools/torture/corruption.h).
 *
 * Three campaigns. Each byte of a sealed segment of 16 MiB, and of an active one that is larger
 * than what it holds, with one bit flipped: in memory, where the block that holds the byte is
 * decoded as every reader does, and for a part of the bytes through whole programs on files, which
 * must find the same place and the same loss. Structural damage to logs of several segments. And
 * two or three flipped bits.
 *
 * --cases is the number of structural cases; 100000 of them stand for every byte, fewer for as
 * large a part of the bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment/block.h"
#include "tests/campaigns/campaign.h"
#include "tools/torture/corruption.h"

enum { EVERYTHING = 100000, WHOLE_PATH_STRIDE = 5000 };

static struct campaign campaign = {.cases = 600, .seed = 1};

static void die(const struct error *error)
{
    printf("not ok - the campaign could not go on: %s\n", error->text);
    exit(1);
}

static struct corruption *open_log(const struct corruption_specimen_options *options)
{
    char path[600];
    struct corruption *corruption;
    struct error error = {0};

    snprintf(path, sizeof path, "%s/corruption", campaign_directory());
    if (corruption_open(path, options, &corruption, &error))
        die(&error);
    return corruption;
}

/* Where a byte of a segment stands, and what its block holds. */
enum place { SEGMENT_HEADER, BLOCK_HEADER, BODY, PADDING, UNUSED, TRAILER, PLACES };

static const char *const place_names[PLACES] = {
    "segment header", "block headers", "bodies and their checksums",
    "padding",        "unused zeros",  "trailer",
};

struct segment_flips {
    struct corruption *corruption;
    const struct corruption_specimen *specimen;
    size_t file;
    const struct corruption_file *segment;
    uint8_t *bytes; /* a copy to flip in */
    struct buffer scratch;
    uint64_t used; /* behind the last block */
    uint64_t cases[PLACES];
    uint64_t struck; /* different bytes, of which a random bit was flipped */
    uint64_t undetected, whole, different, as_torn;
};

static enum place place_of(const struct segment_flips *flips, uint64_t offset, size_t *block_out)
{
    *block_out = SIZE_MAX;
    if (offset < FORMAT_SEGMENT_HEADER_BYTES)
        return SEGMENT_HEADER;
    if (offset >= flips->segment->bytes.size - FORMAT_TRAILER_BYTES)
        return TRAILER;
    if (offset >= flips->used)
        return UNUSED;
    *block_out = corruption_specimen_block_at(flips->specimen, flips->file, offset);
    const struct segment_format_block_header *header = &flips->specimen->blocks[*block_out].header;
    uint64_t within = offset - header->offset;
    uint64_t table = 4 * (uint64_t)segment_format_piece_count(
                             header->offset + FORMAT_BLOCK_HEADER_BYTES, header->stored_bytes);
    if (within < FORMAT_BLOCK_HEADER_BYTES)
        return BLOCK_HEADER;
    return within < FORMAT_BLOCK_HEADER_BYTES + header->stored_bytes + table ? BODY : PADDING;
}

/* As every reader decodes the place: is it still valid? */
static bool still_valid(struct segment_flips *flips, enum place place, size_t block,
                        uint64_t offset)
{
    uint64_t size = flips->segment->bytes.size;
    struct segment_format_segment_header segment_header;
    struct segment_format_block_header header;
    struct segment_format_trailer trailer;
    uint32_t checksum;
    const uint8_t *raw;

    switch (place) {
    case SEGMENT_HEADER:
        return segment_format_decode_segment_header(flips->bytes, &segment_header, &checksum) ==
               FORMAT_VALID;
    case TRAILER:
        return segment_format_decode_trailer(flips->segment->seed,
                                             flips->bytes + size - FORMAT_TRAILER_BYTES,
                                             &trailer) != FORMAT_BAD;
    case UNUSED:
        return bytes_are_zero(flips->bytes + offset - offset % 8, 8);
    default:
        break;
    }
    uint64_t at = flips->specimen->blocks[block].header.offset;
    return segment_format_decode_block_header(flips->segment->seed, flips->bytes + at, at, size,
                                              &header) == FORMAT_VALID &&
           segment_block_open(&header, flips->bytes + at, &flips->scratch, &raw, NULL) == OK;
}

static bool is_detected(struct segment_flips *flips, enum place place, size_t block,
                        uint64_t offset, unsigned bit)
{
    flips->bytes[offset] ^= (uint8_t)(1u << bit);
    bool valid = still_valid(flips, place, block, offset);
    flips->bytes[offset] ^= (uint8_t)(1u << bit);
    return !valid;
}

/* Verify must name this place, and exactly the block's events must be lost. */
static bool finds_the_same(const struct segment_flips *flips, enum place place, size_t block,
                           uint64_t offset, const struct corruption_verdict *verdict)
{
    const struct corruption_look *look = corruption_look(flips->corruption);
    const struct corruption_specimen *specimen = flips->specimen;
    bool active = flips->file == corruption_specimen_last(specimen);
    uint64_t expected = place == SEGMENT_HEADER ? 0
                        : place == TRAILER      ? flips->segment->bytes.size - FORMAT_TRAILER_BYTES
                        : place == UNUSED       ? (active ? flips->used : offset)
                                                : specimen->blocks[block].header.offset;
    bool found = place == UNUSED && active && verdict->as_torn;

    for (uint64_t i = 0; i < look->findings && i < CORRUPTION_FINDINGS_KEPT; i++)
        found |= look->places[i].segment_first == flips->segment->header.sequence_first &&
                 look->places[i].offset == expected;
    for (size_t i = 0; i < specimen->event_count; i++) {
        bool lost = specimen->events[i].exists && specimen->events[i].block == block;
        if (specimen->events[i].exists && lost == !!(look->marks[i] & CORRUPTION_GIVEN))
            return false;
    }
    return found;
}

static void try_whole_path(struct segment_flips *flips, enum place place, size_t block,
                           uint64_t offset, unsigned bit)
{
    struct corruption_result result;
    struct error error = {0};

    if (corruption_flip(flips->corruption, flips->file, offset, bit, true, true, &result, &error))
        die(&error);
    flips->whole++;
    flips->as_torn += result.verdict.as_torn;
    if (result.fault[0] == '\0' && finds_the_same(flips, place, block, offset, &result.verdict))
        return;
    if (flips->different++ < 10)
        printf("# seed %" PRIu64 ", %s (%s): %s; verify: %s\n", campaign.seed, result.damage,
               place_names[place], result.fault[0] ? result.fault : "another place or loss",
               corruption_look(flips->corruption)->verify_text);
}

static void flip_one(struct segment_flips *flips, uint64_t offset, unsigned bit)
{
    size_t block;
    enum place place = place_of(flips, offset, &block);

    flips->cases[place]++;
    if (is_detected(flips, place, block, offset, bit))
        return;
    if (flips->undetected++ < 10)
        printf("# seed %" PRIu64 ": bit %u of byte %" PRIu64 " (%s) is not noticed\n",
               campaign.seed, bit, offset, place_names[place]);
}

/* One random bit of every stride-th byte. */
static void flip_bytes(struct segment_flips *flips, uint64_t stride, uint64_t whole_stride)
{
    uint64_t random = campaign.seed;
    uint64_t start = chance_below(&random, stride);
    uint64_t whole = chance_below(&random, whole_stride);

    for (uint64_t offset = start; offset < flips->segment->bytes.size; offset += stride) {
        unsigned bit = (unsigned)chance_below(&random, 8);
        size_t block = SIZE_MAX;
        flip_one(flips, offset, bit);
        flips->struck++;
        if (whole-- > 0)
            continue;
        whole = 2 * chance_below(&random, whole_stride);
        if (!campaign_is_over(&campaign)) {
            enum place place = place_of(flips, offset, &block);
            try_whole_path(flips, place, block, offset, bit);
        }
    }
}

/* Every bit of the segment's header, of each block's header, and of the trailer. */
static void flip_headers(struct segment_flips *flips)
{
    for (uint64_t at = 0; at < FORMAT_SEGMENT_HEADER_BYTES; at++)
        for (unsigned bit = 0; bit < 8; bit++)
            flip_one(flips, at, bit);
    for (size_t i = flips->segment->block_first; i < flips->segment->block_end; i++)
        for (uint64_t at = 0; at < FORMAT_BLOCK_HEADER_BYTES; at++)
            for (unsigned bit = 0; bit < 8; bit++)
                flip_one(flips, flips->specimen->blocks[i].header.offset + at, bit);
    for (uint64_t at = 0; at < FORMAT_TRAILER_BYTES; at++)
        for (unsigned bit = 0; bit < 8; bit++)
            flip_one(flips, flips->segment->bytes.size - FORMAT_TRAILER_BYTES + at, bit);
}

/* The places that a stride over all bytes seldom meets: some of each, and each kind of block. */
static void try_rare_places(struct segment_flips *flips)
{
    uint64_t random = campaign.seed + 2;
    uint64_t size = flips->segment->bytes.size;
    unsigned met[8] = {0};
    size_t block;

    for (int i = 0; i < 4; i++) {
        uint64_t rare[] = {
            chance_below(&random, FORMAT_SEGMENT_HEADER_BYTES),
            size - 1 - chance_below(&random, FORMAT_TRAILER_BYTES),
            flips->used + chance_below(&random, 104),
        };
        for (size_t j = 0; j < sizeof rare / sizeof *rare; j++) {
            enum place place = place_of(flips, rare[j], &block);
            try_whole_path(flips, place, block, rare[j], (unsigned)i);
        }
    }
    for (block = flips->segment->block_end; block-- > flips->segment->block_first;) {
        const struct segment_format_block_header *header = &flips->specimen->blocks[block].header;
        if (met[header->kind]++ >= 3)
            continue;
        uint64_t rare[] = {header->offset + chance_below(&random, 104), header->offset + 104,
                           header->offset + header->size_bytes - 1};
        for (size_t j = 0; j < sizeof rare / sizeof *rare; j++) {
            size_t same;
            enum place place = place_of(flips, rare[j], &same);
            if (same == block)
                try_whole_path(flips, place, block, rare[j], (unsigned)j);
        }
    }
}

/* Two or three bits of one block. */
static uint64_t flip_several(struct segment_flips *flips, uint64_t cases)
{
    uint64_t random = campaign.seed + 1;
    uint64_t undetected = 0;

    for (uint64_t i = 0; i < cases; i++) {
        size_t count = flips->segment->block_end - flips->segment->block_first;
        size_t block = flips->segment->block_first + chance_below(&random, count);
        const struct segment_format_block_header *header = &flips->specimen->blocks[block].header;
        uint64_t at[3];
        unsigned bits[3], flipped = 2 + (unsigned)chance_below(&random, 2);
        for (unsigned j = 0; j < flipped; j++) {
            at[j] = header->offset + chance_below(&random, header->size_bytes);
            bits[j] = (unsigned)chance_below(&random, 8);
            flips->bytes[at[j]] ^= (uint8_t)(1u << bits[j]);
        }
        bool same = memcmp(flips->bytes + header->offset,
                           flips->segment->bytes.data + header->offset, header->size_bytes) == 0;
        if (!same && still_valid(flips, BODY, block, at[0]) && undetected++ < 10)
            printf("# seed %" PRIu64 ": case %" PRIu64 " of several bits is not noticed\n",
                   campaign.seed, i);
        for (unsigned j = 0; j < flipped; j++)
            flips->bytes[at[j]] ^= (uint8_t)(1u << bits[j]);
    }
    return undetected;
}

static void report_flips(const struct segment_flips *flips, const char *what)
{
    uint64_t sum = 0;
    for (int i = 0; i < PLACES; i++) {
        campaign_count(flips->cases[i], "flipped bits in the %s of %s", place_names[i], what);
        sum += flips->cases[i];
    }
    campaign_count(flips->struck, "bytes of %s, one bit flipped in each", what);
    campaign_count(flips->whole, "of them through verify, reader and writer on files");
    campaign_count(flips->as_torn, "of these told as a torn tail, which is cut");
    campaign_say(&campaign, flips->undetected == 0,
                 "each of %" PRIu64 " flipped bits in %s is noticed", sum, what);
    campaign_say(&campaign, flips->whole > 0 && flips->different == 0,
                 "whole programs find the same places and losses in %s (%" PRIu64 " of %" PRIu64
                 " differ)",
                 what, flips->different, flips->whole);
}

static void run_flips(const struct corruption_specimen_options *options, size_t file,
                      uint64_t several, uint64_t whole_stride, const char *what)
{
    struct segment_flips flips = {.corruption = open_log(options), .file = file};

    flips.specimen = corruption_specimen(flips.corruption);
    flips.segment = &flips.specimen->files[file];
    const struct segment_format_block_header *last =
        &flips.specimen->blocks[flips.segment->block_end - 1].header;
    flips.used = last->offset + last->size_bytes;
    flips.bytes = malloc(flips.segment->bytes.size);
    if (!flips.bytes)
        die(&(struct error){.text = "no memory"});
    memcpy(flips.bytes, flips.segment->bytes.data, flips.segment->bytes.size);
    printf("# %s: %zu blocks, %" PRIu64 " of %zu bytes used, %zu events in the log\n", what,
           flips.segment->block_end - flips.segment->block_first, flips.used,
           flips.segment->bytes.size, flips.specimen->event_count);

    uint64_t stride = campaign.cases >= EVERYTHING ? 1 : EVERYTHING / (campaign.cases + 1) + 1;
    flip_headers(&flips);
    flip_bytes(&flips, stride, whole_stride);
    try_rare_places(&flips);
    if (several > 0) {
        uint64_t undetected = flip_several(&flips, several);
        campaign_count(several, "times two or three flipped bits in a block of %s", what);
        campaign_say(&campaign, undetected == 0, "two or three flipped bits are noticed in %s",
                     what);
    }
    report_flips(&flips, what);
    buffer_release(&flips.scratch);
    free(flips.bytes);
    corruption_close(flips.corruption);
}

struct structural {
    uint64_t cases[CORRUPTION_DAMAGES];
    uint64_t unchanged, by_verify, by_reader, refused, as_torn, undecidable, faults;
    uint64_t lost, silent, silent_most, beyond_last_commit;
};

static void note_result(struct structural *sums, enum corruption_damage damage, uint64_t seed,
                        const struct corruption_specimen *specimen,
                        const struct corruption_result *result)
{
    const struct corruption_verdict *verdict = &result->verdict;

    if (result->fault[0] && sums->faults++ < 20)
        printf("# case %" PRIu64 " (log %" PRIu64 ", %s, aligned to %u): %s: %s\n", seed,
               specimen->options.seed, corruption_ending_text(specimen->options.ending),
               specimen->options.commit_align, result->damage, result->fault);
    if (!verdict->changed) {
        sums->unchanged++;
        return;
    }
    sums->cases[damage]++;
    sums->by_verify += verdict->by_verify;
    sums->by_reader += verdict->by_reader;
    sums->refused += verdict->refused;
    sums->as_torn += verdict->as_torn;
    sums->undecidable += verdict->undecidable;
    sums->lost += verdict->lost;
    if (!verdict->undecidable)
        return;
    sums->silent += verdict->unreported;
    sums->beyond_last_commit += verdict->beyond_last_commit;
    if (verdict->unreported > sums->silent_most)
        sums->silent_most = verdict->unreported;
}

static void run_log_of_structural(struct structural *sums, uint64_t log, uint64_t cases)
{
    static const uint32_t aligns[] = {8, 512, 4096};
    struct corruption_specimen_options options = {
        .seed = campaign.seed * 1000 + log,
        .segment_count = 3,
        .segment_bytes = {FORMAT_SEGMENT_BYTES_MIN, FORMAT_SEGMENT_BYTES_MIN,
                          FORMAT_SEGMENT_BYTES_MIN},
        .used_bytes = 30000,
        .commit_align = aligns[log % 3],
        .payload_bytes_max = 1500,
        .ending = (enum corruption_ending)(log % 4),
    };
    struct corruption *corruption = open_log(&options);
    struct corruption_result result;
    struct error error = {0};

    for (uint64_t i = 0; i < cases && !campaign_is_over(&campaign); i++) {
        uint64_t seed = log * 1000000 + i;
        enum corruption_damage damage =
            (enum corruption_damage)((log * cases + i) % CORRUPTION_DAMAGES);
        if (corruption_run(corruption, damage, seed, &result, &error))
            die(&error);
        note_result(sums, damage, seed, corruption_specimen(corruption), &result);
    }
    corruption_close(corruption);
}

static void run_structural(void)
{
    enum { LOGS = 12 };
    struct structural sums = {0};
    uint64_t changed = 0, kinds = 0;
    /* One in twenty or so writes what was there already, and does not count. */
    uint64_t wanted = campaign.cases + campaign.cases / 16 + CORRUPTION_DAMAGES;

    for (uint64_t log = 0; log < LOGS; log++)
        run_log_of_structural(&sums, log, (wanted + LOGS - 1) / LOGS);
    for (int i = 0; i < CORRUPTION_DAMAGES; i++) {
        campaign_count(sums.cases[i], "%s", corruption_damage_text((enum corruption_damage)i));
        changed += sums.cases[i];
        kinds += sums.cases[i] > 0;
    }
    campaign_count(changed, "structural corruptions");
    campaign_count(sums.by_verify, "of them told by verify");
    campaign_count(sums.by_reader, "of them told by a reader");
    campaign_count(sums.refused, "of them refused by a writer");
    campaign_count(sums.as_torn, "of them told as a torn tail only");
    campaign_count(sums.undecidable, "of them undecidable: the unvouched end, without a witness");
    campaign_count(sums.beyond_last_commit,
                   "of these took more than the last commit: a sector that held several");
    campaign_count(sums.silent, "events lost without a word in these, at most %" PRIu64 " in one",
                   sums.silent_most);
    campaign_count(sums.lost, "events lost in all");
    campaign_count(sums.unchanged, "cases that changed nothing, not counted");
    campaign_say(&campaign, kinds == CORRUPTION_DAMAGES, "all %d kinds of damage were done",
                 CORRUPTION_DAMAGES);
    campaign_say(&campaign, sums.faults == 0,
                 "structural damage is told, gives no false record and loses nothing that is whole "
                 "(%" PRIu64 " of %" PRIu64 " cases failed)",
                 sums.faults, changed);
}

int main(int count, char **arguments)
{
    campaign_parse(&campaign, count, arguments);
    printf("# seed %" PRIu64 "\n", campaign.seed);

    const struct corruption_specimen_options sealed = {
        .seed = campaign.seed,
        .segment_count = 3,
        .segment_bytes = {FORMAT_SEGMENT_BYTES_MIN, UINT64_C(16) << 20, FORMAT_SEGMENT_BYTES_MIN},
        .used_bytes = 20000,
        .commit_align = 512,
        .payload_bytes_max = EVENT_PAYLOAD_BYTES_MAX,
        .ending = CORRUPTION_STOPPED,
    };
    const struct corruption_specimen_options active = {
        .seed = campaign.seed,
        .segment_count = 2,
        .segment_bytes = {FORMAT_SEGMENT_BYTES_MIN, UINT64_C(1) << 20},
        .used_bytes = 500000,
        .commit_align = 4096,
        .payload_bytes_max = EVENT_PAYLOAD_BYTES_MAX,
        .ending = CORRUPTION_STOPPED,
    };
    run_flips(&sealed, 1, campaign.cases * 3, WHOLE_PATH_STRIDE, "a sealed segment of 16 MiB");
    run_flips(&active, 1, campaign.cases, WHOLE_PATH_STRIDE / 4, "an active segment of 1 MiB");
    run_structural();
    return campaign.failures > 0;
}
