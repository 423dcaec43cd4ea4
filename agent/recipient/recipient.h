/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The ephemeral key that an attestation document carries, and the opening of what KMS encrypts to it. */

#include "basic/failure.h"
#include "basic/secret.h"

struct recipient;

/* Makes an RSA-2048 key: rsa-key.h. The time varies by chance. Call it on a thread of its own. */
int recipient_new(struct recipient **ret, struct error *e);
void recipient_free(struct recipient *r);
DEFINE_CLEANUP(struct recipient *, recipient_free, recipient_freep)
#define _cleanup_recipient_ _cleanup_(recipient_freep)

/* DER SubjectPublicKeyInfo; borrowed from r. */
void recipient_public_key(const struct recipient *r, const uint8_t **ret, size_t *ret_size);

/* Opens KMS's CiphertextForRecipient: CMS EnvelopedData (RFC 5652) in BER with definite or indefinite lengths, of the
 * one kind that KMS sends: version 2, one KeyTransRecipientInfo by subject key identifier, RSAES-OAEP with SHA-256 and
 * MGF1-SHA-256 (RFC 4055), AES-256-CBC, 32 bytes of plaintext. Anything else is refused.
 *
 * FAILURE_KMS_ANSWER. Malformed structure is told in detail; failed decryption is one error, whichever step failed. */
int recipient_open(struct recipient *r, const uint8_t *cms, size_t n, struct secret **ret_key, struct error *e);

/* The parts of such a message, borrowed from it; for tests and fuzzing. */
struct enveloped_key {
        const uint8_t *key_identifier;
        size_t key_identifier_size;
        const uint8_t *encrypted_key; /* RSA-2048: 256 bytes */
        const uint8_t *iv;            /* 16 bytes */
        uint8_t ciphertext[DATA_KEY_SIZE + 16];
};

int enveloped_key_parse(const uint8_t *cms, size_t n, struct enveloped_key *ret, struct error *e);
