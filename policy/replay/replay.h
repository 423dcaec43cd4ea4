/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The PCR values that logs lead to: each PCR starts at zero (PCR0 at the startup locality, PCR17 to 22 at all ones) and
 * is extended with each event's digest. */

#include "replay/log.h"

struct replay {
        const struct pcr_algorithm *bank;
        uint8_t pcr[PCR_COUNT][PCR_DIGEST_MAX];
        uint32_t touched; /* bit n: some event extended PCR n */
        uint32_t unknown; /* bit n: an event of PCR n has no digest for this bank, so the value is not known */
};

/* The bank to replay: the one of that name; NULL: SHA-384, which key policies are about, where the log has it,
 * otherwise the bank that the fewest events lack. FAILURE_USAGE when the log has no such bank, FAILURE_EVENT_LOG when
 * it has none.
 */
int replay_choose_bank(const struct event_log *log, const char *name, const struct pcr_algorithm **ret,
                       struct error *e);

/* The values after the whole log. */
int replay_log(const struct event_log *log, const struct pcr_algorithm *bank, struct replay *ret, struct error *e);

/* The values before the first event, and after one more event. */
void replay_start(struct replay *r, const struct pcr_algorithm *bank, unsigned locality);
int replay_event(struct replay *r, const struct log_event *event, struct error *e);
/* value = H(value || digest) */
int pcr_extend(const struct pcr_algorithm *bank, uint8_t *value, const uint8_t *digest, struct error *e);
