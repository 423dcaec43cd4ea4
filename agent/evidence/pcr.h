/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Platform Configuration Registers: reading them, and measuring into one. A TPM keeps a bank of 24 PCRs for each digest
 * algorithm; which banks are active is the firmware's choice. */

#include "evidence/measurement-log.h"
#include "evidence/registers.h"
#include "evidence/tpm.h"

enum { PCR_BANKS_MAX = 8 };

struct pcr_algorithm {
        TPM2_ALG_ID id;
        const char *name; /* as in tpm2-tools, the kernel's sysfs, CEL-JSON and OpenSSL: "sha384" */
        size_t size;      /* of a digest, in bytes */
};

/* NULL when there is no such algorithm, or it is none a bank may have. */
const struct pcr_algorithm *pcr_algorithm(TPM2_ALG_ID id);
const struct pcr_algorithm *pcr_algorithm_named(const char *name);

/* The active banks, in the TPM's order. FAILURE_TPM when we cannot compute the algorithm of one of them: that bank
 * could not be extended, and would still say that no model was loaded. */
int tpm_pcr_banks(struct tpm *t, const struct pcr_algorithm *ret[static PCR_BANKS_MAX], size_t *ret_n, struct error *e);

/* The PCRs of one bank that are named in `mask` (bit n for PCR n), all from one moment; other values are zeroed. */
int tpm_pcr_read(struct tpm *t, TPM2_ALG_ID bank, uint32_t mask, uint8_t values[static PCR_COUNT][PCR_DIGEST_MAX],
                 struct error *e);

/* FAILURE_PCR_BANK unless the SHA-384 bank is active: attestation documents hold no other bank, so that a measurement
 * into other banks would prove nothing. FAILURE_PCR_NOT_ZERO unless the register is all zero in every active bank; the
 * reason then quotes the records of this PCR in the measurement log at `log` (NULL: none). */
int tpm_pcr_require_zero(struct tpm *t, unsigned pcr, const char *log, struct error *e);

/* What a measurement did to one bank. */
struct pcr_change {
        const struct pcr_algorithm *algorithm;
        uint8_t before[PCR_DIGEST_MAX];
        uint8_t digest[PCR_DIGEST_MAX]; /* what it was extended with */
        uint8_t after[PCR_DIGEST_MAX];  /* read back, and equal to H(before || digest) */
};

struct pcr_changes {
        size_t n;
        struct pcr_change banks[PCR_BANKS_MAX];
};

/* Extends every active bank of one PCR, in one command, with the bank's digest of `text`, and appends the event to the
 * measurement log at `log` (NULL: to none). The register must be all zero (otherwise FAILURE_PCR_NOT_ZERO), because
 * this is for a measurement that is made once per boot. Everything that can fail without the TPM is done before the
 * command is sent. Afterwards the register is read back and compared with the prediction. Other failures are
 * FAILURE_MEASURE. */
int tpm_pcr_measure(struct tpm *t, unsigned pcr, const void *text, size_t n, const struct measurement *what,
                    const char *log, struct pcr_changes *ret, struct error *e);

/* The same, but the SHA-384 bank is extended with `digest` itself, so that PCR = SHA384(0^48 || digest), as
 * `tpm2_pcrextend N:sha384=DIGEST` does after `sha384sum`. Each other active bank is extended with its own digest of
 * these 48 bytes. */
int tpm_pcr_measure_sha384(struct tpm *t, unsigned pcr, const uint8_t digest[static SHA384_SIZE],
                           const struct measurement *what, const char *log, struct pcr_changes *ret, struct error *e);
