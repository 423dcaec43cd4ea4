/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The condition keys of KMS (KMS developer guide, "AWS KMS condition keys"). Names are case-insensitive.
 *
 * A policy may test a key that KMS does not have: KMS takes the policy, and no request ever carries the key. So
 * Null is always true of it and StringEquals never, which its author did not intend. */

#include "basic/macros.h"

#define ATTESTATION_KEY "kms:RecipientAttestation:" /* followed by NitroTPMPCR4, PCR0, ImageSha384 ... */
#define CONTEXT_KEY "kms:EncryptionContext:"        /* followed by a name of the encryption context */

enum { ATTESTATION_KEY_SIZE = 64 };

enum attestation_key {
        ATTESTATION_NONE,     /* not a key of kms:RecipientAttestation */
        ATTESTATION_UNKNOWN,  /* spelled like one of them, but KMS has none of this name */
        ATTESTATION_NITROTPM, /* NitroTPMPCR0 to NitroTPMPCR23 */
        ATTESTATION_ENCLAVE,  /* PCR0 to PCR31, and ImageSha384, which is PCR0 */
};

/* ret_pcr may be NULL. */
enum attestation_key attestation_key(const char *key, unsigned *ret_pcr);
/* Whether this is an attestation key that KMS has. */
bool is_attestation_key(const char *key);
/* The name of the key for a PCR of a NitroTPM's or an enclave's document. */
void attestation_key_name(bool nitrotpm, unsigned pcr, char ret[static ATTESTATION_KEY_SIZE]);

/* Whether this is a key of kms: that KMS does not have, as far as this program knows: its list of attestation keys is
 * complete, and AWS may add others. False for keys of aws: and of other services. */
bool is_unknown_kms_key(const char *key);

/* Whether this is "kms:EncryptionContext:NAME", for any NAME. */
bool is_context_key(const char *key);

/* Whether a request for this action may carry an attestation document. A request for another action has no
 * attestation keys. */
bool action_takes_document(const char *action);
