#include "tools/torture/corruption_judge.h"

#include <inttypes.h>
#include <string.h>

/* What the files still are, by comparison with what they were. */
struct judging {
    const struct corruption_state *state;
    const struct corruption_specimen *specimen;
    struct corruption_look *look;
    bool page;
    bool only_last;   /* nothing but bytes of the last segment has changed */
    uint64_t vouched; /* in the last segment: before this offset a later, whole block vouches */
};

static bool block_is_intact(const struct judging *judging, const struct corruption_block *block)
{
    return corruption_state_is_intact(judging->state, block->file, block->header.offset,
                                      block->header.size_bytes);
}

static bool header_is_intact(const struct judging *judging, size_t file)
{
    return corruption_state_is_intact(judging->state, file, 0, FORMAT_SEGMENT_HEADER_BYTES);
}

static bool trailer_is_intact(const struct judging *judging, size_t file)
{
    uint64_t size = judging->specimen->files[file].bytes.size;
    return corruption_state_is_intact(judging->state, file, size - FORMAT_TRAILER_BYTES,
                                      FORMAT_TRAILER_BYTES);
}

/* The header as it is now, if it is one that could stand there. */
static bool read_header(const struct judging *judging, size_t file,
                        struct segment_format_segment_header *header_out)
{
    const struct corruption_state_file *now = &judging->state->files[file];
    uint32_t checksum;

    return now->bytes.size >= FORMAT_SEGMENT_HEADER_BYTES &&
           segment_format_decode_segment_header(now->bytes.data, header_out, &checksum) ==
               FORMAT_VALID &&
           header_out->sequence_first == judging->specimen->files[file].header.sequence_first;
}

/* A valid header of another log: then none of its blocks is asked for. */
static bool header_is_foreign(const struct judging *judging, size_t file)
{
    struct segment_format_segment_header header;

    return judging->state->files[file].changed && read_header(judging, file, &header) &&
           memcmp(header.log_id, judging->specimen->files[file].header.log_id,
                  FORMAT_LOG_ID_BYTES) != 0;
}

/* An earlier header of the same segment: only its first block tells, and that is verify's to read.
 */
static bool header_is_old(const struct judging *judging, size_t file)
{
    struct segment_format_segment_header header;

    return file < corruption_specimen_last(judging->specimen) &&
           read_header(judging, file, &header) && !header_is_foreign(judging, file);
}

static bool whole_file_changed(const struct judging *judging, size_t file)
{
    const struct corruption_state_file *now = &judging->state->files[file];
    return now->whole && !corruption_state_is_intact(judging->state, file, 0,
                                                     judging->specimen->files[file].bytes.size);
}

static uint64_t find_vouched(const struct judging *judging)
{
    size_t last = corruption_specimen_last(judging->specimen);
    const struct corruption_file *file = &judging->specimen->files[last];
    uint64_t vouched = FORMAT_SEGMENT_HEADER_BYTES;

    if (header_is_intact(judging, last))
        vouched = file->header.published_bytes;
    for (size_t i = file->block_first; i < file->block_end; i++) {
        const struct corruption_block *block = &judging->specimen->blocks[i];
        if (block->header.durable_offset > vouched && block_is_intact(judging, block))
            vouched = block->header.durable_offset;
    }
    return vouched;
}

static void examine(struct judging *judging)
{
    size_t last = corruption_specimen_last(judging->specimen);

    judging->only_last = judging->state->files[judging->specimen->file_count].name[0] == '\0';
    for (size_t i = 0; i < last; i++)
        judging->only_last &= !judging->state->files[i].changed;
    judging->only_last &= !judging->state->files[last].whole;
    judging->vouched = find_vouched(judging);
}

/* Nothing vouches for what has changed: it may look like an unfinished write. */
static bool is_undecidable(const struct judging *judging)
{
    size_t last = corruption_specimen_last(judging->specimen);
    const struct corruption_state_file *now = &judging->state->files[last];
    bool sealed = judging->specimen->options.ending == CORRUPTION_SEALED;

    /* A crash may come between seal and trailer; before the seal nobody writes a trailer. */
    return judging->only_last && sealed != trailer_is_intact(judging, last) &&
           now->from >= judging->vouched;
}

static uint64_t last_given(const struct judging *judging)
{
    uint64_t sequence = judging->specimen->event_count;
    while (sequence > 0 && !(judging->look->marks[sequence - 1] & CORRUPTION_GIVEN))
        sequence--;
    return sequence;
}

/*
 * Nobody names the event as lost. With a witness each one is known to have been there. Without one
 * the log's end is known to nobody: then the damage itself must be told, or undecidable. That is
 * the last commit, and those before it that the same sector has taken along.
 */
static void judge_unreported(const struct judging *judging, uint64_t sequence, uint64_t end)
{
    const struct corruption_look *look = judging->look;
    bool told = look->findings > 0 || look->verify_code != OK;
    bool undecidable = is_undecidable(judging);

    if (judging->page || sequence <= end || !(told || undecidable))
        corruption_look_fault(judging->look,
                              "SILENT LOSS: nobody says that event %" PRIu64 " is lost", sequence);
}

/*
 * Recovery keeps an unbroken row of blocks: behind damage in a commit that nothing vouches for it
 * cuts, and keeps the bytes in quarantine.
 */
static bool is_cut(const struct judging *judging, size_t index)
{
    const struct corruption_specimen *specimen = judging->specimen;
    const struct corruption_block *block = &specimen->blocks[index];
    size_t last = corruption_specimen_last(specimen);

    if (judging->page || block->file != last || block->header.offset < judging->vouched)
        return false;
    for (size_t i = specimen->files[last].block_first; i < index; i++)
        if (specimen->blocks[i].header.offset >= judging->vouched &&
            !block_is_intact(judging, &specimen->blocks[i]))
            return true;
    return false;
}

static void judge_event(const struct judging *judging, uint64_t sequence, uint64_t end,
                        struct corruption_verdict *verdict)
{
    const struct corruption_event *event = &judging->specimen->events[sequence - 1];
    const struct corruption_block *block = &judging->specimen->blocks[event->block];
    struct corruption_look *look = judging->look;
    uint8_t mark = look->marks[sequence - 1];
    bool given = mark & CORRUPTION_GIVEN;

    if (given && (mark & CORRUPTION_READER_LOST))
        corruption_look_fault(
            look, "the reader told that event %" PRIu64 " cannot be read, and gave it", sequence);
    if (given && (mark & CORRUPTION_VERIFY_LOST))
        corruption_look_fault(look, "verify calls event %" PRIu64 " lost, and the reader gave it",
                              sequence);
    if (!given && block_is_intact(judging, block) && !header_is_foreign(judging, block->file) &&
        !is_cut(judging, event->block))
        corruption_look_fault(look, "event %" PRIu64 " is whole and was not given", sequence);
    verdict->lost += !given;
    if (given || (mark & (CORRUPTION_READER_LOST | CORRUPTION_VERIFY_LOST)))
        return;
    verdict->unreported++;
    verdict->beyond_last_commit |= sequence < judging->specimen->last_group_first;
    judge_unreported(judging, sequence, end);
}

static void judge_events(const struct judging *judging, struct corruption_verdict *verdict)
{
    uint64_t end = last_given(judging);

    for (uint64_t i = 1; i <= judging->specimen->event_count; i++)
        if (judging->specimen->events[i - 1].exists)
            judge_event(judging, i, end, verdict);
}

/*
 * The identity of the log seeds every checksum. When neither a segment's header nor the page tells
 * it, nothing can be read, and everybody must say so.
 */
static bool identity_is_lost(const struct judging *judging)
{
    struct segment_format_segment_header header;

    for (size_t i = 0; i <= corruption_specimen_last(judging->specimen); i++)
        if (read_header(judging, i, &header))
            return false;
    return !judging->page;
}

static void judge_without_identity(const struct judging *judging,
                                   struct corruption_verdict *verdict)
{
    struct corruption_look *look = judging->look;

    if (look->findings == 0 && look->verify_code == OK)
        corruption_look_fault(look, "SILENT DAMAGE: verify does not tell that nothing can be read");
    if (look->reader_code == ERROR_END)
        corruption_look_fault(look,
                              "SILENT LOSS: the reader does not say that it can read nothing");
    for (size_t i = 0; i < judging->specimen->event_count; i++)
        verdict->lost += judging->specimen->events[i].exists;
}

/* Damage that a writer must not write behind. */
static bool must_refuse(const struct judging *judging)
{
    const struct corruption_specimen *specimen = judging->specimen;
    size_t last = corruption_specimen_last(specimen);
    const struct corruption_file *file = &specimen->files[last];

    if (judging->state->files[specimen->file_count].name[0] != '\0')
        return true;
    for (size_t i = 0; i <= last; i++)
        if (whole_file_changed(judging, i) || (i < last && !trailer_is_intact(judging, i)) ||
            (!header_is_intact(judging, i) && !header_is_old(judging, i)))
            return true;
    bool closed = specimen->options.ending == CORRUPTION_SEALED && trailer_is_intact(judging, last);
    for (size_t i = file->block_first; i < file->block_end; i++) {
        const struct corruption_block *block = &specimen->blocks[i];
        bool witnessed = judging->page && block->header.kind == FORMAT_BLOCK_EVENTS;
        if ((closed || witnessed || block->header.offset < judging->vouched) &&
            !block_is_intact(judging, block))
            return true;
    }
    return false;
}

/* Only unused zeros behind the last block have changed: nothing that anybody needs. */
static bool must_accept(const struct judging *judging)
{
    size_t last = corruption_specimen_last(judging->specimen);
    const struct corruption_file *file = &judging->specimen->files[last];
    const struct segment_format_block_header *end =
        &judging->specimen->blocks[file->block_end - 1].header;

    return judging->only_last && judging->specimen->options.ending != CORRUPTION_SEALED &&
           judging->state->files[last].from >= end->offset + end->size_bytes;
}

static void judge_writer(const struct judging *judging, struct corruption_verdict *verdict)
{
    struct corruption_look *look = judging->look;

    if (!look->writer_asked)
        return;
    verdict->refused = look->writer_code != OK;
    if (!verdict->refused && must_refuse(judging))
        corruption_look_fault(look, "a writer accepted damage of what was durable (%s)",
                              segment_recovery_verdict_text(look->report.verdict));
    if (verdict->refused && must_accept(judging))
        corruption_look_fault(look, "a writer refused unused bytes: %s", look->writer_text);
    if (!verdict->refused && look->sequence_after <= judging->specimen->event_count)
        corruption_look_fault(look, "the writer gave sequence %" PRIu64 " a second time",
                              look->sequence_after);
}

void corruption_judge(const struct corruption_state *state, struct corruption_look *look, bool page,
                      struct corruption_verdict *verdict_out)
{
    struct judging judging = {
        .state = state, .specimen = state->specimen, .look = look, .page = page};
    struct corruption_verdict verdict = {.changed = corruption_state_differs(state)};

    examine(&judging);
    if (identity_is_lost(&judging))
        judge_without_identity(&judging, &verdict);
    else if (look->reader_code != ERROR_END)
        corruption_look_fault(look, "the reader gave up: %s", look->reader_text);
    else
        judge_events(&judging, &verdict);
    judge_writer(&judging, &verdict);
    verdict.by_verify = look->findings > 0 || look->verify_code != OK;
    verdict.by_reader = look->damages > 0 || look->reader_code != ERROR_END;
    bool loud = verdict.by_verify || verdict.by_reader || verdict.refused;
    verdict.as_torn = !loud && look->torn_bytes > 0;
    verdict.undecidable = verdict.changed && !loud && (verdict.lost > 0 || !verdict.as_torn);
    if (verdict.undecidable && !is_undecidable(&judging))
        corruption_look_fault(look, "SILENT DAMAGE: nobody noticed it");
    if (!verdict.changed && loud)
        corruption_look_fault(look, "FALSE ALARM: nothing has changed, but: %s%s%s",
                              look->verify_text, look->reader_text, look->writer_text);
    *verdict_out = verdict;
}
