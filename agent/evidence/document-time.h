/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* The timestamp (milliseconds since the epoch) that an attestation document of ours claims, for the boot report. Nothing is
 * verified: KMS does that, and `sealboot verify`. -EBADMSG when it cannot be found. Source: EC2 User Guide, "NitroTPM
 * Attestation Document content". */
int document_timestamp(const uint8_t *document, size_t n, uint64_t *ret);
