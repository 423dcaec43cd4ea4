/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"
#include "evidence/registers.h"

/* What our own attestation document claims, for the boot report and for the message after a refusal.
 *
 * This reader is lenient, because the agent has no use for a refusal: it skips what it does not look for, so that a
 * field which AWS adds does not hide the PCRs. Nothing is verified here. Whoever relies on a document uses the strict
 * reader of policy/verify/document.h.
 *
 * PCRs that the document leaves out are zero. -EBADMSG when a claim cannot be found. Source: EC2 User Guide, "NitroTPM
 * Attestation Document content". */
struct document_claims {
        uint64_t timestamp_ms;                /* since the epoch */
        uint8_t pcrs[PCR_COUNT][SHA384_SIZE]; /* the SHA-384 bank */
};

int document_claims(const uint8_t *document, size_t n, struct document_claims *ret);
