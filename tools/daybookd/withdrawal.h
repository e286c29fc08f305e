/*
 * tools/daybookd/withdrawal.h - what becomes of answers whose events were withdrawn.
 *
 * On a full disk the log takes back what was appended and never written (segment/log.h). The acks
 * for it are encoded already and wait. This turns them into what is true now.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOKD_WITHDRAWAL_H
#define DAYBOOK_TOOLS_DAYBOOKD_WITHDRAWAL_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"

/*
 * Append to `out` the whole frames of `data`, where acks of unnumbered events count as stored what
 * is at or below `durable`, and refuse the rest with no_space and `reason`. Other frames stay.
 */
enum error_code withdrawal_rewrite(const uint8_t *data, size_t size, uint64_t durable,
                                   const char *reason, struct buffer *out, struct error *error);

#endif
