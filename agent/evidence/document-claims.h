/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"
#include "evidence/registers.h"

/* What an attestation document of ours claims, for the boot report and for the words on a refusal. Nothing is verified:
 * KMS does that, and `sealboot verify`. PCRs that the document leaves out are zero. -EBADMSG when a claim cannot be
 * found. Source: EC2 User Guide, "NitroTPM Attestation Document content". */
struct document_claims {
        uint64_t timestamp_ms;                /* since the epoch */
        uint8_t pcrs[PCR_COUNT][SHA384_SIZE]; /* the SHA-384 bank */
};

int document_claims(const uint8_t *document, size_t n, struct document_claims *ret);
