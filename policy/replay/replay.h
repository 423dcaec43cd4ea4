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

/* One event at a time, for whoever wants the values in between. */
void replay_start(struct replay *r, const struct pcr_algorithm *bank, unsigned locality);
int replay_event(struct replay *r, const struct log_event *event, struct error *e);
/* value = H(value || digest) */
int pcr_extend(const struct pcr_algorithm *bank, uint8_t *value, const uint8_t *digest, struct error *e);
