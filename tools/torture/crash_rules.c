#include "tools/torture/crash_rules.h"

#include <string.h>

#include "core/file.h"
#include "segment/recovery.h"
#include "segment/set.h"
#include "tools/torture/chance.h"
#include "tools/torture/crash_inside.h"

enum { FLIPS_PER_STATE = 4, BITS_MAX = 3 };

const char *torture_rule_text(enum torture_rule rule)
{
    static const char *const texts[TORTURE_RULES] = {
        "R0 truncate at the first bad checksum",
        "R1 torn only if the rest is zero (etcd)",
        "R2 watermark",
        "R3 watermark, seal and witness",
        "R4 watermark, old-or-new sectors",
        "R5 all of them (Daybook)",
    };
    return texts[rule];
}

/* Does the rule say that durable data is damaged? */
static bool alarms(enum torture_rule rule, const struct segment_recovery_evidence *evidence)
{
    struct segment_recovery_evidence seen = *evidence;
    if (rule == TORTURE_RULE_TRUNCATE)
        return false;
    if (rule == TORTURE_RULE_ZEROS)
        return !evidence->rest_is_zero;
    if (rule == TORTURE_RULE_WATERMARK || rule == TORTURE_RULE_SECTORS)
        seen.closed = seen.witness = false;
    if (rule == TORTURE_RULE_WATERMARK || rule == TORTURE_RULE_WITNESS)
        seen.not_torn = false;
    enum segment_recovery_verdict verdict = segment_recovery_decide(&seen);
    return verdict == RECOVERY_CORRUPT || verdict == RECOVERY_DAMAGED_TAIL;
}

/* The last segment of a log, open on the simulated disk. */
struct specimen {
    int log_fd, segments_fd, fd;
    struct segment_set set;
    const struct segment_set_segment *last; /* NULL: nothing to judge */
    uint64_t acknowledged;
    uint64_t acknowledged_end; /* behind the block with the last acknowledged event */
};

static enum error_code note_block(void *context, const struct segment_format_block_header *header,
                                  const uint8_t *raw, struct error *error)
{
    struct specimen *specimen = context;
    (void)raw, (void)error;
    if (header->kind == FORMAT_BLOCK_EVENTS && header->sequence_first <= specimen->acknowledged)
        specimen->acknowledged_end = header->offset + header->size_bytes;
    return OK;
}

static enum error_code open_specimen(struct specimen *specimen, struct error *error)
{
    enum error_code code = file_open_directory(CRASH_PATH, false, &specimen->log_fd, error);
    if (!code)
        code = file_open_directory_at(specimen->log_fd, "segments", false, &specimen->segments_fd,
                                      error);
    if (!code)
        code = segment_set_load(specimen->log_fd, specimen->segments_fd, &specimen->set, error);
    if (code || specimen->set.count == 0)
        return code == ERROR_NOT_FOUND ? OK : code;
    const struct segment_set_segment *last = &specimen->set.segments[specimen->set.count - 1];
    if (last->header_verdict != FORMAT_VALID || last->sealed)
        return OK;
    specimen->last = last;
    return file_open(specimen->segments_fd, last->name, FILE_WRITE, &specimen->fd, error);
}

static void close_specimen(struct specimen *specimen)
{
    file_close(&specimen->fd);
    file_close(&specimen->segments_fd);
    file_close(&specimen->log_fd);
    segment_set_free(&specimen->set);
}

static enum error_code flip(const struct specimen *specimen, uint64_t offset, uint8_t mask,
                            struct error *error)
{
    uint8_t byte;
    enum error_code code = file_read(specimen->fd, specimen->last->name, &byte, 1, offset, error);
    byte ^= mask;
    return code ? code : file_write(specimen->fd, specimen->last->name, &byte, 1, offset, error);
}

static enum error_code judge_flipped(struct crash_campaign *campaign, struct specimen *specimen,
                                     uint64_t witness, struct error *error)
{
    struct torture_rule_figures *figures = campaign->judge_context;
    uint64_t offsets[BITS_MAX];
    uint8_t masks[BITS_MAX];
    size_t bits = 1 + (size_t)chance_below(&campaign->chance, BITS_MAX);
    struct segment_recovery_scan scan;
    enum error_code code = OK;
    for (size_t i = 0; !code && i < bits; i++) {
        uint64_t span = specimen->acknowledged_end - FORMAT_SEGMENT_HEADER_BYTES;
        offsets[i] = FORMAT_SEGMENT_HEADER_BYTES + chance_below(&campaign->chance, span);
        masks[i] = (uint8_t)(1u << chance_below(&campaign->chance, 8));
        code = flip(specimen, offsets[i], masks[i], error);
    }
    if (!code)
        code = segment_recovery_scan(specimen->fd, specimen->last, false, witness, NULL, NULL,
                                     &scan, error);
    for (size_t i = bits; !code && i > 0; i--)
        code = flip(specimen, offsets[i - 1], masks[i - 1], error);
    /* Two of the bits may be the same one. */
    if (code || scan.sequence_next > specimen->acknowledged)
        return code;
    figures->flipped++;
    campaign->counts.states++;
    for (enum torture_rule rule = 0; rule < TORTURE_RULES; rule++)
        figures->silent[rule] += !alarms(rule, &scan.evidence);
    return OK;
}

static enum error_code judge_specimen(struct crash_campaign *campaign, struct specimen *specimen,
                                      struct error *error)
{
    struct torture_rule_figures *figures = campaign->judge_context;
    uint64_t witness = chance_happens(&campaign->chance, 50) ? specimen->acknowledged : 0;
    struct segment_recovery_scan scan;
    enum error_code code = segment_recovery_scan(specimen->fd, specimen->last, false, witness,
                                                 note_block, specimen, &scan, error);
    if (code)
        return code;
    figures->honest++;
    figures->torn += !scan.evidence.rest_is_zero;
    for (enum torture_rule rule = 0; rule < TORTURE_RULES; rule++)
        figures->alarms[rule] += alarms(rule, &scan.evidence);
    for (int i = 0; !code && i < FLIPS_PER_STATE && specimen->acknowledged_end > 0; i++)
        code = judge_flipped(campaign, specimen, witness, error);
    return code;
}

/* Only what an honest power cut leaves, with powersafe overwrite. */
static bool judge(struct crash_campaign *campaign, struct torture_disk *disk,
                  const struct torture_mark *mark, const struct crash_cause *cause)
{
    struct specimen specimen = {.log_fd = -1, .segments_fd = -1, .fd = -1};
    enum error_code code = OK;
    specimen.acknowledged = mark->acknowledged;
    if (!cause->kill && !cause->torn && mark->acknowledged > 0 &&
        crash_seen_add(&campaign->seen, torture_disk_hash(disk))) {
        torture_disk_mount(disk, CRASH_MOUNT);
        code = open_specimen(&specimen, campaign->failure);
        if (!code && specimen.last)
            code = judge_specimen(campaign, &specimen, campaign->failure);
        close_specimen(&specimen);
    }
    torture_disk_free(disk);
    return code == OK || crash_blame(campaign, cause);
}

bool torture_rules_run(const struct torture_crash_options *options,
                       struct torture_rule_figures *figures_out, struct error *failure_out)
{
    *figures_out = (struct torture_rule_figures){0};
    struct crash_campaign campaign = {
        .options = *options,
        .judge = judge,
        .judge_context = figures_out,
        .failure = failure_out,
    };
    return crash_run(&campaign);
}
