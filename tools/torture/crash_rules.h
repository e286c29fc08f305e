/*
 * tools/torture/crash_rules.h - what other rules of recovery would have made of the same states.
 *
 * Two questions to each rule: of the states in which one to three bits of acknowledged data were
 * flipped, in how many would acknowledged events be cut away without a word? And of the states that
 * an honest power cut leaves, in how many would it raise an alarm?
 *
 * The rules are masks over the evidence that recovery gathers at the first position without a
 * valid, chained block of the last segment (segment/recovery.h). The index is a witness of
 * everything acknowledged in half of the states, and knows nothing in the others.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CRASH_RULES_H
#define DAYBOOK_TOOLS_TORTURE_CRASH_RULES_H

#include "tools/torture/crash.h"

enum torture_rule {
    TORTURE_RULE_TRUNCATE,  /* R0: cut at the first bad checksum */
    TORTURE_RULE_ZEROS,     /* R1: torn only when nothing but zeros follows, as etcd */
    TORTURE_RULE_WATERMARK, /* R2: damage when a later block says that it was durable */
    TORTURE_RULE_WITNESS,   /* R3: … or a seal, a successor or a witness does */
    TORTURE_RULE_SECTORS,   /* R4: R2, or a sector is neither as written nor zero */
    TORTURE_RULE_ALL,       /* R5: R3 and R4: Daybook's */
    TORTURE_RULES
};
const char *torture_rule_text(enum torture_rule rule);

struct torture_rule_figures {
    uint64_t flipped; /* states with flipped bits that cost acknowledged events */
    uint64_t silent[TORTURE_RULES];
    uint64_t honest; /* states of power cuts with powersafe overwrite, nothing flipped */
    uint64_t torn;   /* of them: with something behind the last valid block */
    uint64_t alarms[TORTURE_RULES];
};

/* options->states counts those with flipped bits. */
bool torture_rules_run(const struct torture_crash_options *options,
                       struct torture_rule_figures *figures_out, struct error *failure_out);

#endif
