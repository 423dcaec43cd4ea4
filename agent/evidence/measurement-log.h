/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The log of what userspace measured: TCG Canonical Event Log (CEL), JSON encoding, in the dialect of systemd's
 * /run/log/systemd/tpm2-measure.log (systemd's TPM2_PCR_MEASUREMENTS page and systemd-pcrlock(8)), so that whatever
 * replays that replays ours:
 *
 *   RS (0x1E), one JSON object, LF: an RFC 7464 sequence. No "recnum": readers number the records themselves.
 *
 *   {"pcr": N,
 *    "digests": [{"hashAlg": "sha384", "digest": hex}, ...],
 *    "content_type": "systemd",
 *    "content": {"string": the text that was measured,
 *                "description": the same in words,
 *                "bootId": 32 hex digits,
 *                "timestamp": CLOCK_BOOTTIME in microseconds,
 *                "eventType": "sealboot-model"}}
 *
 * "string" is there only when the digests are of it, and when it is UTF-8 of at most 64 KiB. Writers hold an exclusive
 * flock. Between its TPM command and the end of its record, a writer sets the file's sticky bit: when the writer dies
 * there, the bit stays and tells that a record is missing. */

#include "basic/failure.h"

#define MEASUREMENT_LOG_PATH "/run/log/systemd/tpm2-measure.log"

/* What to say about a measurement. */
struct measurement {
        const char *event_type;  /* "sealboot-model" */
        const char *description; /* "model llama-8b version 3"; may be NULL */
};

struct measured_digest {
        const char *algorithm;
        const uint8_t *digest;
        size_t size;
};

struct measurement_log;

/* Does everything that can fail before the TPM command is sent: opens the log (or creates it, mode 0600, with its
 * directory), locks it, composes the record, reserves space for it and marks the file as unfinished. `text` may be
 * NULL. FAILURE_MEASURE. */
int measurement_log_begin(const char *path, unsigned pcr, const struct measured_digest *digests, size_t n_digests,
                          const struct measurement *what, const void *text, size_t text_size,
                          struct measurement_log **ret, struct error *e);
/* Call when the PCR was extended: appends the record and removes the mark. */
int measurement_log_commit(struct measurement_log *l, struct error *e);
/* Call when the PCR was not extended: removes the mark. Without either call the mark stays. */
void measurement_log_abort(struct measurement_log *l);
void measurement_log_close(struct measurement_log *l);
DEFINE_CLEANUP(struct measurement_log *, measurement_log_close, measurement_log_closep)

/* Writes into `text` what the log's records of this PCR say: "\"machine-id:...\" (machine-id), ...". Skips records that
 * are not well-formed. Returns how many records name the PCR; 0, and an empty text, when none does or there is no log.
 */
size_t measurement_log_explain(const char *path, unsigned pcr, char *text, size_t size);
