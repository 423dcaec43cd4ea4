/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The condition keys of KMS (KMS developer guide, "AWS KMS condition keys"). Names are case-insensitive.
 *
 * A policy may test a key that KMS does not have: KMS takes the policy, and no request ever carries the key. So
 * Null is always true of it and StringEquals never, which is not what its author had in mind. */

#include "basic/macros.h"

enum attestation_key {
        ATTESTATION_NONE,     /* not a key of kms:RecipientAttestation */
        ATTESTATION_UNKNOWN,  /* spelled like one of them, but KMS has none of this name */
        ATTESTATION_NITROTPM, /* NitroTPMPCR0 to NitroTPMPCR23 */
        ATTESTATION_ENCLAVE,  /* PCR0 to PCR31, and ImageSha384, which is PCR0 */
};

/* ret_pcr may be NULL. */
enum attestation_key attestation_key(const char *key, unsigned *ret_pcr);

/* A key of kms: that KMS does not have, as far as this program knows: the family of attestation is complete, and of
 * the others AWS may add some. Never one of aws: or of another service. */
bool is_unknown_kms_key(const char *key);

/* "kms:EncryptionContext:NAME", whatever NAME is. */
bool is_context_key(const char *key);

/* Whether a request for this action may carry an attestation document. Of all others the attestation keys are
 * absent. */
bool action_takes_document(const char *action);
