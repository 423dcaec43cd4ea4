/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is in PCR15: the records of the measurement log, the value that they lead to, and the kernel's view of it. */

#include "basic/json.h"
#include "evidence/registers.h"
#include "replay/log.h"

/* Zero-initialise. */
struct pcr15 {
        struct event_log log;
        const char *why_not; /* there is no log to show; NULL: there is */
        bool has_value, has_tpm;
        uint8_t value[SHA384_SIZE]; /* after the records */
        uint8_t tpm[SHA384_SIZE];   /* by the kernel, without a TPM command */
        bool differs;
};

/* `path` NULL: no log. A log that is not there or not readable is an error only if it is `required`; then FAILURE_IO.
 * FAILURE_EVENT_LOG when it is not well-formed. `here`: on the instance, the kernel's view is read, too. */
int pcr15_read(const char *path, bool required, bool here, struct pcr15 *ret, struct error *e);
void pcr15_done(struct pcr15 *p);
#define _cleanup_pcr15_ _cleanup_(pcr15_done)

void pcr15_print(FILE *f, const struct pcr15 *p);
void pcr15_draw(FILE *f, const struct pcr15 *p);
json_object *pcr15_json(const struct pcr15 *p);
